"""The one box convention, and arithmetic on boxes.

A box is xyxy in frame pixels, float32: its left and top edge belong to it, x2 and y2 do not, and nowhere is a pixel added.
Pixel number i of a row covers [i, i + 1), so its centre is i + 0.5, a picture of width W is the box (0, 0, W, H), and a box
that reaches its right edge has x2 = W.
Normalised boxes (0..1 of the frame) exist only on the wire and in configurations, under names that end in `_norm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
"""(N, 4) float32 xyxy."""

_TINY_AREA = np.float32(1e-12)
"""Stands for the union of two empty boxes, so that their IoU is 0."""


class Anchor(str, Enum):
    """The point of a box that stands for the object, e.g. when it is asked which zone it is in."""

    BOTTOM_CENTRE = "bottom_centre"
    CENTRE = "centre"
    TOP_CENTRE = "top_centre"


def area(boxes: Boxes) -> NDArray[np.float32]:
    """The areas of boxes (N, 4), in square pixels (N,); 0 where a box is turned inside out."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def iou_matrix(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """Intersection over union of every box of `a` (N, 4) with every box of `b` (M, 4): (N, M); 0 where both are empty."""
    ax1, ay1, ax2, ay2 = np.ascontiguousarray(a.T, dtype=np.float32)[:, :, None]
    bx1, by1, bx2, by2 = np.ascontiguousarray(b.T, dtype=np.float32)[:, None, :]
    shared = np.minimum(ax2, bx2)
    shared -= np.maximum(ax1, bx1)
    np.maximum(shared, 0, out=shared)
    height = np.minimum(ay2, by2)
    height -= np.maximum(ay1, by1)
    np.maximum(height, 0, out=height)
    shared *= height  # (N, M)
    union = area(a)[:, None] + area(b)[None, :]
    union -= shared
    np.maximum(union, _TINY_AREA, out=union)
    shared /= union
    return shared


def anchor_points(boxes: Boxes, anchor: Anchor) -> NDArray[np.float32]:
    """The anchor point of each box (N, 4) as xy (N, 2), in the unit of the boxes."""
    points = (boxes[:, :2] + boxes[:, 2:]) * np.float32(0.5)
    if anchor is Anchor.BOTTOM_CENTRE:
        points[:, 1] = boxes[:, 3]
    elif anchor is Anchor.TOP_CENTRE:
        points[:, 1] = boxes[:, 1]
    return points


def anchor_point(box: Sequence[float], anchor: Anchor) -> tuple[float, float]:
    """The anchor point xy of one box xyxy, as `anchor_points` has it; for a few boxes, plain numbers are quicker."""
    x1, y1, x2, y2 = box
    if anchor is Anchor.BOTTOM_CENTRE:
        y = y2
    elif anchor is Anchor.TOP_CENTRE:
        y = y1
    else:
        y = (y1 + y2) / 2
    return (x1 + x2) / 2, y


def scaled(boxes: Boxes, size: tuple[int, int], other: tuple[int, int]) -> Boxes:
    """Boxes (N, 4) of a picture of `size`, width and height, in the pixels of one of `other` size that shows the same."""
    if size == other:
        return boxes
    return boxes * np.array([other[0] / size[0], other[1] / size[1]] * 2, np.float32)


def to_norm(boxes: Boxes, *, width: int, height: int) -> NDArray[np.float32]:
    """Boxes (N, 4) in pixels as shares of a picture of this size."""
    return boxes / np.array([width, height, width, height], np.float32)
