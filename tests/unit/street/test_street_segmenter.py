"""The stand-in that knows what the street shows."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins.street_segmenter import StreetSegmenter

from edged.sources.street import StreetSource
from edged.street.scene import Street
from edged.street.surfaces import CLASSES

STREET = StreetSource(seed=7, width=320, height=180, fps=5.0, is_live=False)


def test_segment_of_any_frame_is_its_truth() -> None:
    """Frames may be left out, come again and come back."""
    segmenter = StreetSegmenter(STREET)
    street = Street(7, width=320, height=180, fps=5.0)

    for index in (12, 3, 12, 40):
        answer = segmenter.segment(street.frame(index))
        assert np.array_equal(answer.labels, street.labels(index))
        assert (answer.classes, answer.frame_width, answer.frame_height) == (CLASSES, 320, 180)
    assert segmenter.seen == [12, 3, 12, 40]


def test_segment_in_another_size_is_of_the_same_frame() -> None:
    """A map is as large as the network's, not as the frame."""
    answer = StreetSegmenter(STREET, width=160, height=60).segment(Street(7, width=320, height=180, fps=5.0).frame(2))

    assert answer.labels.shape == answer.confidence.shape == (60, 160)
    assert (answer.frame_width, answer.frame_height) == (320, 180)


def test_segment_of_another_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never guesses."""
    monkeypatch.setattr("stand_ins.street_segmenter.MOST_FRAMES", 20)

    with pytest.raises(ValueError, match="first 20 frames of street:7"):
        StreetSegmenter(STREET).segment(np.zeros((180, 320, 3), np.uint8))
