"""Squares around boxes."""

from __future__ import annotations

import numpy as np
import pytest

from edged.vision.crops import cut_square


def ramp(width: int, height: int) -> np.ndarray:
    """A picture that says where it is: red is the column, green the row."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return np.dstack([columns, rows, np.full_like(rows, 7)]).astype(np.uint8)


def test_cut_square_inside_the_picture_is_its_pixels() -> None:
    """At its own size the square is what the picture holds around the middle of the box, whatever the box's shape."""
    crop = cut_square(ramp(100, 80), np.array([40, 30, 50, 50]), margin=1.5, side_px=30)

    assert np.array_equal(crop, ramp(100, 80)[25:55, 30:60])


@pytest.mark.parametrize("side_px", [16, 48, 100], ids=["shrinks", "same", "grows"])
def test_cut_square_at_another_size_shows_the_same_places(side_px: int) -> None:
    """The middle of the crop is the middle of the box, its corners those of the square."""
    crop = cut_square(ramp(200, 200), np.array([80, 90, 104, 114]), margin=2.0, side_px=side_px)

    assert crop.shape == (side_px, side_px, 3)
    scale = 48 / side_px
    for row in (2, side_px // 2, side_px - 3):
        x, y = 68 + (row + 0.5) * scale - 0.5, 78 + (row + 0.5) * scale - 0.5
        assert crop[row, row, 0] == pytest.approx(x, abs=1)
        assert crop[row, row, 1] == pytest.approx(y, abs=1)


@pytest.mark.parametrize(
    ("box", "places"),
    [
        pytest.param((0, 40, 20, 60), {(0, 20): (0, 50), (39, 20): (29, 50)}, id="at the left"),
        pytest.param((80, 40, 100, 60), {(0, 20): (70, 50), (39, 20): (99, 50)}, id="at the right"),
        pytest.param((40, 0, 60, 20), {(20, 0): (50, 0), (20, 39): (50, 29)}, id="at the top"),
        pytest.param((90, 90, 110, 110), {(20, 20): (99, 99), (0, 0): (80, 80), (39, 39): (99, 99)}, id="beyond a corner"),
    ],
)
def test_cut_square_beyond_the_picture_goes_on_with_its_edge(
    box: tuple[float, ...], places: dict[tuple[int, int], tuple[int, int]]
) -> None:
    """No grey that a network could take for the rim of a screen."""
    crop = cut_square(ramp(100, 100), np.array(box, np.float32), margin=2.0, side_px=40).astype(int)

    assert crop.shape == (40, 40, 3)
    for (column, row), (x, y) in places.items():
        assert crop[row, column, 0] == pytest.approx(x, abs=1)
        assert crop[row, column, 1] == pytest.approx(y, abs=1)


@pytest.mark.parametrize(
    ("size", "box", "margin"),
    [
        pytest.param((1, 1), (0, 0, 1, 1), 1.0, id="one pixel"),
        pytest.param((4000, 3), (0, 0, 4000, 3), 4.0, id="a thread, wide around"),
        pytest.param((100, 100), (50.2, 50.2, 50.3, 50.3), 1.0, id="less than a pixel"),
        pytest.param((100, 100), (99.9, 99.9, 100, 100), 0.5, id="the last part of a pixel"),
    ],
)
def test_cut_square_of_any_box_in_the_picture_has_its_size(size: tuple[int, int], box: tuple[float, ...], margin: float) -> None:
    """Small or long, a square comes out."""
    assert cut_square(ramp(*size), np.array(box, np.float32), margin=margin, side_px=32).shape == (32, 32, 3)


@pytest.mark.parametrize(
    "box",
    [(10, 10, 10, 20), (20, 10, 10, 20), (200, 10, 210, 20), (10, -30, 20, -20), (np.nan, 0, 10, 10)],
    ids=["no width", "inside out", "beside", "above", "no number"],
)
def test_cut_square_of_no_box_in_the_picture_is_refused(box: tuple[float, ...]) -> None:
    """There is nothing to show."""
    with pytest.raises(ValueError, match="expected a box in a picture of 100x80"):
        cut_square(ramp(100, 80), np.array(box, np.float32), margin=1.0, side_px=32)
