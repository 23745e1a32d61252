"""Where the head is in a person's box."""

from __future__ import annotations

import numpy as np
import pytest

from edged.vision.heads import face_region, head_areas, head_point


@pytest.mark.parametrize(
    ("box", "bottom"),
    [
        pytest.param((0, 0, 40, 160), 40, id="standing: a quarter"),
        pytest.param((0, 0, 100, 160), 75, id="close, cut at the waist: by the width"),
        pytest.param((0, 0, 160, 80), 80, id="lying: all of it"),
    ],
)
def test_head_areas_go_down_as_far_as_a_head_may(box: tuple[float, ...], bottom: float) -> None:
    """By the height of who stands, by the width of who is cut by the edge."""
    (area,) = head_areas(np.array([box], np.float32))

    np.testing.assert_allclose(area, (0, 0, box[2], bottom))


def test_head_areas_of_nobody_are_none() -> None:
    """The empty input keeps its form."""
    assert head_areas(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_head_point_and_face_region_hold_the_head() -> None:
    """The point lies in the upper middle; the region ends where no face is."""
    box = np.array([100, 50, 150, 200], np.float32)

    x, y = head_point(box)

    assert (x, y) == (125, 60)
    np.testing.assert_allclose(face_region(box), (100, 50, 150, 140))
    np.testing.assert_allclose(face_region(np.array([0, 0, 80, 60], np.float32)), (0, 0, 80, 60))
