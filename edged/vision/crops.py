"""Squares cut out of a picture around a box; one place for training, evaluation and the daemon."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels


def cut_square(pixels_rgb: Pixels, box: NDArray[np.floating], *, margin: float, side_px: int) -> Pixels:
    """The square around the middle of a box, (side_px, side_px, 3) uint8; beyond the picture its edge goes on.

    What lies inside the picture is resized before its edge is drawn out: a wide margin costs nothing.

    Args:
        pixels_rgb: (h, w, 3) uint8, any size from 1x1.
        box: (4,) xyxy, pixels of the picture.
        margin: side of the square as a multiple of the box's longer side.

    Raises:
        ValueError: the box is empty, or outside of the picture.
    """
    height, width = pixels_rgb.shape[:2]
    x1, y1, x2, y2 = (float(each) for each in box)
    if not (x1 < x2 and y1 < y2 and x1 < width and y1 < height and x2 > 0 and y2 > 0):
        raise ValueError(f"expected a box in a picture of {width}x{height}, got {x1:g}, {y1:g}, {x2:g}, {y2:g}")
    side = margin * max(x2 - x1, y2 - y1)
    left, right = _cut((x1 + x2 - side) / 2, side, width)
    top, bottom = _cut((y1 + y2 - side) / 2, side, height)
    scale = side_px / side
    from_left, to_right = _place(left, right, (x1 + x2 - side) / 2, scale, side_px)
    from_top, to_bottom = _place(top, bottom, (y1 + y2 - side) / 2, scale, side_px)
    part = cv2.resize(
        pixels_rgb[top:bottom, left:right],
        (to_right - from_left, to_bottom - from_top),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,  # a fine pattern must not flicker
    )
    edges = from_top, side_px - to_bottom, from_left, side_px - to_right
    return cv2.copyMakeBorder(part, *edges, cv2.BORDER_REPLICATE) if any(edges) else part


def _cut(start: float, side: float, length: int) -> tuple[int, int]:
    """The first pixel of a picture's axis that the square covers, and the one after the last; one pixel at least."""
    first = min(max(0, round(start)), length - 1)
    return first, min(max(first + 1, round(start + side)), length)


def _place(first: int, last: int, start: float, scale: float, side_px: int) -> tuple[int, int]:
    """Where these pixels lie in the square's own pixels, at least one wide."""
    begin = min(max(0, round((first - start) * scale)), side_px - 1)
    return begin, min(side_px, max(round((last - start) * scale), begin + 1))
