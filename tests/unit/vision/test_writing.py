"""Text in pictures."""

from __future__ import annotations

import numpy as np
import pytest

from edged.vision.writing import text_scale, text_size, write_on_ground

INK, GROUND = (255, 255, 255), (0, 0, 200)


def write(at: tuple[int, int], *, above: bool = False) -> tuple[np.ndarray, int]:
    """Which pixels (H, W) were written on, and the row below."""
    drawn = np.full((60, 200, 3), 100, np.uint8)
    below = write_on_ground(drawn, "gate", at, colour=INK, ground=GROUND, scale=0.4, above=above)
    return np.any(drawn != 100, axis=2), below


@pytest.mark.parametrize(
    ("at", "above", "left", "top"),
    [
        pytest.param((20, 10), False, 20, 10, id="below the point"),
        pytest.param((20, 50), True, 20, None, id="above the point"),
        pytest.param((-5, -5), False, 0, 0, id="pushed in from the top left"),
    ],
)
def test_write_on_ground_fills_a_box_at_the_point(at: tuple[int, int], above: bool, left: int, top: int | None) -> None:
    """The box is as large as its text, and begins or ends at the point."""
    written, below = write(at, above=above)

    rows, columns = np.nonzero(written)
    assert columns.min() == left
    assert rows.min() == (at[1] - (np.ptp(rows) + 1) if top is None else top)
    assert rows.max() + 1 == below
    assert np.ptp(columns) + 1 == text_size("gate", 0.4)[0] + 4


def test_write_on_ground_beyond_the_end_is_pushed_in() -> None:
    """At the last corner it ends there."""
    written, below = write((500, 500))

    assert below == 60
    assert written[59, 199]


def test_text_scale_grows_with_the_picture_from_a_least_size_on() -> None:
    """Small pictures have small text that can still be read."""
    assert text_scale(90) == text_scale(240) == 0.35
    assert text_scale(1680) == 2 * text_scale(840) == 2.0
