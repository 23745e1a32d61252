"""Maps on pictures, for people."""

from __future__ import annotations

import numpy as np
import pytest

from edged.types import SegmentationMap
from edged.vision.draw_map import draw_legend, tint_by_class
from edged.vision.palette import class_colours

NAMES = ("road", "car", "background")
ROAD, CAR, _ = (np.array(colour) for colour in class_colours(NAMES))


def halves(left: int, right: int, *, names: tuple[str, ...] = NAMES) -> SegmentationMap:
    """A map of two halves side by side, coarser than the picture."""
    labels = np.full((9, 16), left, np.uint8)
    labels[:, 8:] = right
    return SegmentationMap(labels, names, 640, 360)


NOWHERE = np.zeros((360, 640), np.bool_)


def light() -> np.ndarray:
    return np.full((360, 640, 3), 200, np.uint8)


def test_tint_moves_each_pixel_towards_the_colour_of_its_class() -> None:
    """Some of the picture and some of the colour, to the class's last pixel."""
    drawn = light()

    tint_by_class(drawn, halves(0, 1), but_not=NOWHERE)

    np.testing.assert_allclose(drawn[100, 319], 0.6 * 200 + 0.4 * ROAD, atol=1)
    np.testing.assert_allclose(drawn[100, 400], 0.6 * 200 + 0.4 * CAR, atol=1)


def test_tint_draws_the_border_between_classes() -> None:
    """Where two classes meet, the colour is nearly all that is seen."""
    drawn = light()

    tint_by_class(drawn, halves(0, 1), but_not=NOWHERE)

    np.testing.assert_allclose(drawn[100, 320], 0.1 * 200 + 0.9 * CAR, atol=1)


def test_tint_leaves_the_background_as_it_is() -> None:
    """What is only behind things has no colour, and no border of its own."""
    drawn = light()

    tint_by_class(drawn, halves(1, 2), but_not=NOWHERE)

    assert np.all(drawn[:, 320:] == 200)


def test_tint_leaves_what_is_covered_as_it_is() -> None:
    """Neither a colour nor a border tells what is there."""
    drawn, covered = light(), np.zeros((360, 640), np.bool_)
    covered[90:110, 200:500] = True

    tint_by_class(drawn, halves(0, 1), but_not=covered)

    assert np.all(drawn[covered] == 200)
    assert np.all(np.any(drawn[~covered] != 200, axis=1))


def test_legend_names_all_classes_at_the_lower_rim() -> None:
    """Swatches in the colours of the classes, in a darkened strip; above it nothing changes."""
    drawn = light()

    top = draw_legend(drawn, halves(0, 1))

    assert np.all(drawn[:top] == 200)
    assert 300 < top < 345
    assert drawn[top:, 630:].max() < 60
    for colour in (ROAD, CAR):
        assert np.any(np.all(drawn[top:] == colour, axis=2))


def test_legend_keeps_its_places_when_shares_change() -> None:
    """In a film nothing jumps: a class of nothing has its place, too."""
    one, other = light(), light()

    tops = draw_legend(one, halves(0, 0)), draw_legend(other, halves(0, 1))

    assert tops[0] == tops[1]
    assert np.array_equal(*(np.all(drawn == CAR, axis=2) for drawn in (one, other)))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (90, 160), (1080, 1920)], ids=str)
def test_legend_of_a_picture_of_any_size_fits(size: tuple[int, int]) -> None:
    """It is cut where there is no room for it."""
    drawn = np.full((*size, 3), 200, np.uint8)

    assert 0 <= draw_legend(drawn, halves(0, 1)) < size[0]


def test_legend_of_many_classes_names_those_that_cover_most() -> None:
    """Twelve fit; the others are tinted, but not named."""
    names = tuple(f"thing {number}" for number in range(40))
    few, many = light(), light()

    top = draw_legend(few, halves(0, 1, names=names[:12]))

    assert draw_legend(many, halves(30, 31, names=names)) == top
    colours = class_colours(names)
    assert all(np.any(np.all(many[top:] == colours[number], axis=2)) for number in (30, 31))


def test_legend_without_classes_to_name_is_a_strip() -> None:
    """A map of nothing but background."""
    drawn = light()

    assert 300 < draw_legend(drawn, halves(0, 0, names=("background",))) < 360
