"""Arithmetic on label maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from edged.vision.label_maps import (
    Region,
    class_at,
    class_shares,
    compress_runs,
    decompress_runs,
    find_regions,
    mask_from_runs,
    mask_of,
    resized,
    run_lengths,
    zone_mask,
)
from edged.vision.masks import polygon_mask

LEFT = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]
VOID = 255

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=17))


def square(*, size: int = 12, hole: bool = False) -> np.ndarray:
    """A square of 8 x 8 pixels from (2, 2) on, with a hole of 2 x 2 in it."""
    mask = np.zeros((size, size), np.bool_)
    mask[2:10, 2:10] = True
    mask[4:6, 4:6] = not hole
    return mask


def centres_inside(regions: tuple[Region, ...], *, width: int, height: int) -> np.ndarray:
    """The pixels whose centres lie in an outline and in none of its holes."""
    inside = np.zeros((height, width), np.bool_)
    for region in regions:
        holes = polygon_mask(region.holes, width=width, height=height)
        inside |= polygon_mask([region.outline], width=width, height=height) & ~holes
    return inside


def test_class_shares_of_a_zone_count_the_pixels_inside() -> None:
    """The share is of the zone's pixels, not of the picture's."""
    labels = np.array([[0, 0, 1, 1], [0, 2, 1, 1]], np.uint8)

    shares = class_shares(labels, 4, inside=zone_mask([LEFT], width=4, height=2))

    assert shares.tolist() == [0.75, 0.0, 0.25, 0.0]


def test_class_shares_without_a_zone_are_those_of_the_picture() -> None:
    """None is everything."""
    assert class_shares(np.array([[0, 1], [1, 1]], np.uint8), 2).tolist() == [0.25, 0.75]


def test_class_shares_of_void_leave_the_rest_below_one() -> None:
    """What the classes do not name is in nobody's share."""
    assert class_shares(np.array([[0, VOID]], np.uint8), 2).tolist() == [0.5, 0.0]


def test_class_shares_of_no_pixel_are_zero() -> None:
    """An empty mask divides by nothing."""
    assert class_shares(np.zeros((2, 2), np.uint8), 2, inside=np.zeros((2, 2), np.bool_)).tolist() == [0.0, 0.0]


def test_class_shares_with_a_mask_of_another_size_are_refused() -> None:
    """A mask cached for another size of map is a mistake, not a smaller zone."""
    with pytest.raises(ValueError, match=r"size \(2, 4\), got \(4, 2\)"):
        class_shares(np.zeros((2, 4), np.uint8), 1, inside=np.ones((4, 2), np.bool_))


@settings(max_examples=60, deadline=None)
@given(labels=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_class_shares_of_all_labels_sum_to_one(labels: np.ndarray) -> None:
    """Every pixel is in exactly one share."""
    assert class_shares(labels, 256).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        pytest.param([(0.51, 0.51), (0.52, 0.51), (0.52, 0.52)], [(2, 2)], id="within a pixel"),
        pytest.param([(0.0, 0.01), (1.0, 0.01), (1.0, 0.02), (0.0, 0.02)], [(0, 0), (0, 1), (0, 2), (0, 3)], id="a thin line"),
        pytest.param([(1.0, 1.0), (1.0, 0.99), (0.99, 1.0)], [(3, 3)], id="in the last corner"),
    ],
)
def test_zone_mask_of_a_zone_without_a_centre_is_what_its_edges_touch(polygon: list, expected: list) -> None:
    """A zone never vanishes because the map is coarse."""
    assert np.argwhere(zone_mask([polygon], width=4, height=4)).tolist() == [list(each) for each in expected]


def test_zone_mask_of_several_polygons_is_their_union() -> None:
    """A zone of two parts is both."""
    right = [(1 - x, y) for x, y in LEFT]

    assert zone_mask([LEFT, right], width=4, height=2).all()


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        pytest.param((0.0, 0.0), 0, id="first corner"),
        pytest.param((0.49, 0.0), 0, id="left of the border"),
        pytest.param((0.5, 0.0), 1, id="on the border: the right one's"),
        pytest.param((1.0, 1.0), 3, id="last corner"),
        pytest.param((-0.2, 1.7), 2, id="outside"),
    ],
)
def test_class_at_a_point_is_that_of_its_pixel(point: tuple[float, float], expected: int) -> None:
    """A pixel's left and top edge belong to it; beyond the rim the nearest pixel counts."""
    assert class_at(np.array([[0, 1], [2, 3]], np.uint8), point) == expected


@pytest.mark.parametrize(
    ("class_ids", "expected"),
    [pytest.param((), [0, 0, 0], id="none"), pytest.param((1, VOID), [0, 1, 1], id="two, one of them void")],
)
def test_mask_of_classes_is_where_they_are(class_ids: tuple[int, ...], expected: list[int]) -> None:
    """Any label may be asked for."""
    assert mask_of(np.array([[0, 1, VOID]], np.uint8), class_ids).astype(int).tolist() == [expected]


@settings(max_examples=60, deadline=None)
@given(
    labels=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)),
    zoom=st.integers(min_value=1, max_value=4),
)
def test_resized_by_whole_numbers_repeats_every_label(labels: np.ndarray, zoom: int) -> None:
    """A label is a name: it is never mixed with its neighbour's."""
    height, width = labels.shape

    larger = resized(labels, width=zoom * width, height=zoom * height)

    assert np.array_equal(larger, labels.repeat(zoom, axis=0).repeat(zoom, axis=1))


@pytest.mark.parametrize(("width", "height"), [(640, 360), (7, 5), (480, 360)])
def test_resized_takes_the_pixel_that_holds_the_centre(width: int, height: int) -> None:
    """The same as asking for the class at each pixel's centre."""
    labels = np.arange(48 * 36, dtype=np.uint16).astype(np.uint8).reshape(36, 48)

    larger = resized(labels, width=width, height=height)

    expected = [[class_at(labels, ((x + 0.5) / width, (y + 0.5) / height)) for x in range(width)] for y in range(height)]
    assert larger.tolist() == expected


def test_find_regions_of_nothing_are_none() -> None:
    """An empty mask has no outline."""
    assert find_regions(np.zeros((4, 4), np.bool_)) == ()


def test_find_regions_of_a_square_is_its_four_corners() -> None:
    """The outline runs along the pixels' outer edges."""
    (region,) = find_regions(square(size=16))

    assert sorted(region.outline) == [(2 / 16, 2 / 16), (2 / 16, 10 / 16), (10 / 16, 2 / 16), (10 / 16, 10 / 16)]
    assert region.holes == ()
    assert region.area_ratio == 64 / 256


def test_find_regions_of_a_square_with_a_hole_names_the_hole() -> None:
    """What a region surrounds is not of it."""
    mask = square(hole=True)

    regions = find_regions(mask, tolerance_px=0.5)

    assert [len(region.holes) for region in regions] == [1]
    assert np.array_equal(centres_inside(regions, width=12, height=12), mask)
    assert regions[0].area_ratio == pytest.approx(60 / 144, abs=1 / 144)


def test_find_regions_are_the_largest_ones() -> None:
    """Where there are too many, the smallest are left out."""
    mask = np.zeros((20, 20), np.bool_)
    mask[0, 0] = mask[10:18, 10:18] = mask[2:6, 2:6] = True

    regions = find_regions(mask, most_regions=2)

    assert [region.area_ratio for region in regions] == [64 / 400, 16 / 400]


def test_find_regions_of_a_ragged_part_have_a_bounded_number_of_points() -> None:
    """A larger tolerance is taken where an outline would have too many points."""
    mask = np.random.default_rng(3).random((60, 60)) < 0.35

    regions = find_regions(mask, tolerance_px=0.0, most_points=9, most_regions=5)

    outlines = [outline for region in regions for outline in (region.outline, *region.holes)]
    assert len(regions) == 5
    assert max(map(len, outlines)) == 9


def test_find_regions_smaller_than_the_tolerance_are_rectangles() -> None:
    """One pixel is still an area."""
    mask = np.zeros((10, 10), np.bool_)
    mask[3, 7] = True

    (region,) = find_regions(mask, tolerance_px=5.0)

    assert sorted(region.outline) == [(0.7, 0.3), (0.7, 0.4), (0.8, 0.3), (0.8, 0.4)]


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_find_regions_without_tolerance_hold_exactly_the_mask(mask: np.ndarray) -> None:
    """Nothing is lost, joined or closed, however ragged: a pixel is inside if and only if it is of the mask."""
    height, width = mask.shape

    regions = find_regions(mask, tolerance_px=0.0, most_regions=1000, most_points=10_000)

    assert np.array_equal(centres_inside(regions, width=width, height=height), mask)


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_run_lengths_equal_those_of_pycocotools(mask: np.ndarray) -> None:
    """Compressed runs are COCO's to the byte."""
    expected = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))

    text = compress_runs(run_lengths(mask))

    assert text.encode() == expected["counts"]
    assert expected["size"] == list(mask.shape)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11 and NumPy 2
@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_run_lengths_uncompressed_are_understood_by_pycocotools(mask: np.ndarray) -> None:
    """COCO's other form is the runs themselves."""
    height, width = mask.shape

    encoded = coco_mask.frPyObjects({"size": [height, width], "counts": run_lengths(mask)}, height, width)

    assert np.array_equal(coco_mask.decode(encoded), mask)


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_mask_from_runs_turns_run_lengths_back(mask: np.ndarray) -> None:
    """There and back, through the compressed form too."""
    height, width = mask.shape

    back = mask_from_runs(decompress_runs(compress_runs(run_lengths(mask))), width=width, height=height)

    assert np.array_equal(back, mask)


def test_run_lengths_of_a_large_mask_equal_those_of_pycocotools() -> None:
    """Runs of many thousand pixels take several groups of bits."""
    mask = np.zeros((1080, 1920), np.bool_)
    mask[:, 700:1500] = True
    mask[300:500, 1600:1610] = True

    assert compress_runs(run_lengths(mask)).encode() == coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        pytest.param([3], "2 x 2 = 4 pixels, got 3", id="too few"),
        pytest.param([3, 2], "2 x 2 = 4 pixels, got 5", id="too many"),
        pytest.param([5, -1], "expected runs >= 0", id="negative"),
    ],
)
def test_mask_from_runs_that_do_not_fill_it_is_refused(runs: list[int], message: str) -> None:
    """A mask is whole."""
    with pytest.raises(ValueError, match=message):
        mask_from_runs(runs, width=2, height=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("4~", "got '~' at position 1", id="no such character"),
        pytest.param("4o", "cut off after 2 characters", id="cut off"),
    ],
)
def test_decompress_runs_of_something_else_is_refused(text: str, message: str) -> None:
    """It says where it stopped."""
    with pytest.raises(ValueError, match=message):
        decompress_runs(text)
