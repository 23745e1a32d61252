"""Moves, scales and lays sprites over a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels

_Number = TypeVar("_Number", np.uint8, np.int64)


@dataclass(frozen=True, slots=True)
class Rect:
    """A part of a picture, pixels; x2 and y2 exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def is_empty(self) -> bool:
        return self.x1 >= self.x2 or self.y1 >= self.y2

    def of(self, picture: NDArray[_Number]) -> NDArray[_Number]:
        """This part of a picture, as a view."""
        return picture[self.y1 : self.y2, self.x1 : self.x2]

    def cut(self, other: Rect) -> Rect:
        """What both cover; may be empty."""
        return Rect(max(self.x1, other.x1), max(self.y1, other.y1), min(self.x2, other.x2), min(self.y2, other.y2))


def warp(
    pixels: NDArray[np.uint8],
    origin: tuple[float, float],
    *,
    x: float,
    y: float,
    scale: float,
    picture: Rect,
    outside: int = 0,
) -> tuple[Rect, NDArray[np.uint8]]:
    """Scale a sprite and move its origin to (x, y); gives the part inside the picture and where that is."""
    left, top = x - origin[0] * scale, y - origin[1] * scale
    height, width = pixels.shape[:2]
    whole = Rect(int(left) - 1, int(top) - 1, int(left + width * scale) + 2, int(top + height * scale) + 2)
    rect = whole.cut(picture)
    if rect.is_empty:
        empty = Rect(0, 0, 0, 0)
        return empty, np.zeros((0, 0, *pixels.shape[2:]), np.uint8)
    centre = 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, left - rect.x1 + centre], [0, scale, top - rect.y1 + centre]])
    size = (rect.x2 - rect.x1, rect.y2 - rect.y1)
    return rect, cv2.warpAffine(
        pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(outside,) * 4
    )


def blend(region: Pixels, sprite: NDArray[np.uint8]) -> None:
    """Lay a sprite (colours multiplied by opacity) over a region, in place."""
    keep = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(sprite, 3)), cv2.COLOR_GRAY2RGB)
    cv2.multiply(region, keep, dst=region, scale=1 / 255)
    cv2.add(region, cv2.cvtColor(sprite, cv2.COLOR_RGBA2RGB), dst=region)
