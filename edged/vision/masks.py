"""Areas that people draw: polygons in shares of the picture, asked for points or turned into masks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""(h, w): which pixels are meant."""

Polygon = Sequence[tuple[float, float]]
"""At least three corners (x, y) in shares of the picture; the last joins the first."""


def polygon_area(points: Polygon) -> float:
    """The area inside a polygon that does not cross itself, in the square of its own unit.

    Source: the shoelace formula.
    """
    corners = tuple(points)
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2


def points_inside(points_norm: NDArray[np.floating], polygon_norm: Polygon) -> NDArray[np.bool_]:
    """Which points (N, 2) lie in a polygon: (N,).

    Its edges and corners belong to it, so that a zone drawn to the rim of the picture holds what stands on the rim.
    Where a polygon crosses itself, what is inside alternates (even-odd rule).
    """
    x, y = np.asarray(points_norm, np.float64).T[:, :, None]  # (N, 1)
    start_x, start_y = np.asarray(polygon_norm, np.float64).T[:, None, :]  # (1, K)
    end_x, end_y = np.roll(start_x, -1), np.roll(start_y, -1)
    side = (end_x - start_x) * (y - start_y) - (end_y - start_y) * (x - start_x)  # (N, K), 0 on the edge's line
    on_edge = (
        (side == 0)
        & (np.minimum(start_x, end_x) <= x)
        & (x <= np.maximum(start_x, end_x))
        & (np.minimum(start_y, end_y) <= y)
        & (y <= np.maximum(start_y, end_y))
    )
    upwards = (start_y <= y) & (y < end_y)
    downwards = (end_y <= y) & (y < start_y)
    crosses = (upwards & (side > 0)) | (downwards & (side < 0))  # a ray to the left
    return on_edge.any(axis=1) | (np.count_nonzero(crosses, axis=1) % 2 == 1)


def points_inside_any(points_norm: NDArray[np.floating], polygons_norm: Sequence[Polygon]) -> NDArray[np.bool_]:
    """Which points (N, 2) lie in at least one of the polygons: (N,)."""
    inside = np.zeros(len(points_norm), np.bool_)
    for polygon in polygons_norm:
        inside |= points_inside(points_norm, polygon)
    return inside


def polygon_mask(polygons_norm: Sequence[Polygon], *, width: int, height: int) -> Mask:
    """Which pixels have their centre in at least one of the polygons: (height, width). Make it once, it is slow."""
    y, x = np.mgrid[0:height, 0:width]
    centres_norm = np.column_stack([(x.ravel() + 0.5) / width, (y.ravel() + 0.5) / height])
    return points_inside_any(centres_norm, polygons_norm).reshape(height, width)


def covering_mask(polygons_norm: Sequence[Polygon], *, width: int, height: int) -> Mask:
    """Every pixel that one of the polygons touches, and a little around it: (height, width). Quick, for what must be covered."""
    drawn = np.zeros((height, width), np.uint8)
    for polygon in polygons_norm:
        edges = np.asarray(polygon, np.float64) * (width, height) - 0.5  # OpenCV's pixels have their centres at whole numbers
        cv2.fillPoly(drawn, [np.rint(edges).astype(np.int32)], 1)
    return cv2.dilate(drawn, np.ones((3, 3), np.uint8)) > 0


def spread(mask: Mask, *, width: int, height: int) -> Mask:
    """A mask in another size: (height, width), each pixel that holds a part of one of the mask's."""
    for axis, size in enumerate((height, width)):
        n = mask.shape[axis]
        if n == size:
            continue
        counts = np.insert(np.cumsum(mask, axis=axis, dtype=np.int32), 0, 0, axis=axis)
        first = np.arange(size) * n // size
        end = -(-np.arange(1, size + 1) * n // size)
        mask = np.take(counts, end, axis=axis) > np.take(counts, first, axis=axis)
    return mask
