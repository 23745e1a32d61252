"""What a segmenter's page shows of a picture."""

from __future__ import annotations

import numpy as np

from edged.vision.palette import class_colours
from tools.report.map_page import draw_judged
from tools.report.map_run import Judged

CLASSES = ("background", "road", "person")
GREY = np.full((40, 80, 3), 100, np.uint8)


def make_judged() -> Judged:
    """Background, road from column 20, a person from 40 that is said to be road, void from 60."""
    truth = np.repeat(np.uint8([0, 1, 2, 255]), 20)[None].repeat(40, axis=0)
    labels = np.repeat(np.uint8([0, 1, 1, 2]), 20)[None].repeat(40, axis=0)
    return Judged(GREY, labels, truth, {}, np.zeros(3))


def test_draw_judged_tints_what_is_said_and_what_is() -> None:
    """The background stays as it is; another class has more of its own colour than any other."""
    said, actual, _ = draw_judged(make_judged(), CLASSES)

    colours = np.array(class_colours(CLASSES), np.float64)
    for drawing, columns in ((said, {0: 0, 20: 1, 40: 1, 60: 2}), (actual, {0: 0, 20: 1, 40: 2})):
        for column, class_id in columns.items():
            tinted = 100.0 if class_id == 0 else 0.55 * colours[class_id] + 45
            np.testing.assert_allclose(drawing[5, column + 5], tinted, atol=1)


def test_draw_judged_marks_wrong_pixels_and_stripes_void() -> None:
    """What nobody knows is neither right nor wrong."""
    drawings = draw_judged(make_judged(), CLASSES)

    wrong = (drawings[2] == (213, 94, 0)).all(axis=2)
    assert wrong[:, 40:60].all()
    assert not wrong[:, :40].any()
    for drawing in drawings[1:]:
        assert np.unique(drawing[:, 60:]).tolist() == [90, 170]
    assert drawings[2][0, 0].tolist() == [50, 50, 50]
    assert (GREY == 100).all()
