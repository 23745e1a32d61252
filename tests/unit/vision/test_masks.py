"""Areas that people draw."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edged.vision.masks import covering_mask, points_inside, points_inside_any, polygon_area, polygon_mask, spread

SQUARE = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]
HOLLOW = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.4), (0.0, 1.0)]
DIAMOND = [(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)]
BOW = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize(
    ("point", "polygon", "expected"),
    [
        pytest.param((0.5, 0.5), SQUARE, True, id="inside"),
        pytest.param((0.1, 0.5), SQUARE, False, id="left"),
        pytest.param((0.9, 0.5), SQUARE, False, id="right"),
        pytest.param((0.5, 0.9), SQUARE, False, id="below"),
        pytest.param((0.2, 0.5), SQUARE, True, id="left edge"),
        pytest.param((0.8, 0.5), SQUARE, True, id="right edge"),
        pytest.param((0.5, 0.8), SQUARE, True, id="bottom edge"),
        pytest.param((0.5, 0.2), SQUARE, True, id="top edge"),
        pytest.param((0.8, 0.8), SQUARE, True, id="corner"),
        pytest.param((0.9, 0.8), SQUARE, False, id="on the line of an edge, beyond it"),
        pytest.param((0.1, 0.2), SQUARE, False, id="level with two corners, outside"),
        pytest.param((0.5, 0.7), HOLLOW, False, id="in the notch"),
        pytest.param((0.1, 0.7), HOLLOW, True, id="beside the notch"),
        pytest.param((0.5, 0.4), HOLLOW, True, id="tip of the notch"),
        pytest.param((0.5, 0.2), BOW, False, id="above a bow's knot"),
        pytest.param((0.9, 0.5), BOW, True, id="right wing of a bow"),
        pytest.param((0.4, 0.5), DIAMOND, True, id="level with the corners left and right"),
        pytest.param((0.1, 0.0), DIAMOND, False, id="level with the top corner"),
        pytest.param((1.0, 1.0), [(0.0, 0.9), (1.0, 0.9), (1.0, 1.0), (0.0, 1.0)], True, id="picture's last corner"),
    ],
)
def test_points_inside_of_a_point_holds_edges_too(point: tuple, polygon: list, expected: bool) -> None:
    """Edges and corners belong to a polygon, whichever way round it is drawn."""
    points = np.array([point], np.float32).astype(np.float64).round(7)

    assert points_inside(points, polygon).tolist() == [expected]
    assert points_inside(points, polygon[::-1]).tolist() == [expected]
    assert points_inside(points, polygon[1:] + polygon[:1]).tolist() == [expected]


def test_points_inside_of_random_points_equals_angles_summed() -> None:
    """A point is inside a simple polygon when the corners go once round it."""
    rng = np.random.default_rng(5)
    points = rng.random((2000, 2))
    rays = np.array(HOLLOW)[None] - points[:, None]
    angles = np.arctan2(rays[..., 1], rays[..., 0])
    turns = np.diff(np.concatenate([angles, angles[:, :1]], axis=1), axis=1)
    wound = ((turns + np.pi) % (2 * np.pi) - np.pi).sum(axis=1)

    assert points_inside(points, HOLLOW).tolist() == (np.abs(wound) > np.pi).tolist()


def test_points_inside_any_without_polygons_or_points_is_none() -> None:
    """No polygon holds no point, and no points give no answers."""
    assert points_inside_any(np.zeros((2, 2)), []).tolist() == [False, False]
    assert points_inside_any(np.zeros((0, 2)), [SQUARE]).shape == (0,)


def test_polygon_mask_of_two_areas_is_their_union_by_pixel_centres() -> None:
    """A pixel counts when its centre lies in any of the polygons."""
    left = [(0, 0), (0.25, 0), (0.25, 1), (0, 1)]
    bottom = [(0, 0.75), (1, 0.75), (1, 1), (0, 1)]

    mask = polygon_mask([left, bottom], width=8, height=4)

    expected = np.zeros((4, 8), bool)
    expected[:, :2] = True
    expected[3:] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        pytest.param([(0, 0), (1, 0), (1, 1), (0, 1)], 1.0, id="whole picture"),
        pytest.param([(0, 1), (1, 1), (1, 0), (0, 0)], 1.0, id="the other way round"),
        pytest.param(((0.2, 0.2), (0.6, 0.2), (0.2, 0.5)), 0.06, id="triangle"),
        pytest.param(((0, 0), (4, 0), (4, 4), (2, 1), (0, 4)), 10.0, id="with a bay, in pixels"),
        pytest.param([(0, 0), (0.5, 0.5), (1, 1)], 0.0, id="flat"),
    ],
)
def test_polygon_area_of_corners_is_that_inside(corners, expected):
    """Whatever the direction and the unit."""
    assert polygon_area(corners) == pytest.approx(expected)


@pytest.mark.parametrize("polygon", [SQUARE, HOLLOW, DIAMOND])
@pytest.mark.parametrize(("width", "height"), [(64, 36), (101, 57)])
def test_covering_mask_holds_what_the_polygon_touches_and_little_more(polygon: list, width: int, height: int) -> None:
    """A point anywhere in the polygon lies in a pixel of the mask; two pixels from it nothing is covered."""
    y, x = np.mgrid[0 : 8 * height, 0 : 8 * width]
    fine = np.column_stack([(x.ravel() + 0.5) / (8 * width), (y.ravel() + 0.5) / (8 * height)])
    touched = points_inside(fine, polygon).reshape(height, 8, width, 8).any(axis=(1, 3))

    covered = covering_mask([polygon], width=width, height=height)

    near = cv2.dilate(touched.astype(np.uint8), np.ones((5, 5))) > 0
    assert not np.any(touched & ~covered)
    assert not np.any(covered & ~near)


def test_covering_mask_of_a_polygon_smaller_than_a_pixel_covers_the_pixel() -> None:
    """A small secret is one, too."""
    assert covering_mask([[(0.31, 0.31), (0.32, 0.31), (0.32, 0.32)]], width=10, height=10)[3, 3]


def test_covering_mask_of_two_polygons_covers_where_they_overlap() -> None:
    """What both want hidden is hidden."""
    assert covering_mask([SQUARE, SQUARE], width=20, height=20)[10, 10]


@settings(max_examples=60, deadline=None)
@given(
    mask=arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)),
    width=st.integers(min_value=1, max_value=30),
    height=st.integers(min_value=1, max_value=30),
)
def test_spread_sets_every_pixel_that_overlaps(mask: np.ndarray, width: int, height: int) -> None:
    """Equal to spreading each element over the pixels that share some area with it."""
    rows, columns = mask.shape
    expected = np.zeros((height, width), np.bool_)
    for row, column in np.argwhere(mask):
        top, bottom = row * height // rows, -(-(row + 1) * height // rows)
        left, right = column * width // columns, -(-(column + 1) * width // columns)
        expected[top:bottom, left:right] = True

    assert np.array_equal(spread(mask, width=width, height=height), expected)
