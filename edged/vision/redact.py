"""The one gate for pictures that leave the process: what must not be recognised is pixelated here.

Whatever writes, sends or shows pictures takes a `PublicPicture`, and only `redact` makes one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from edged.types import Pixels
from edged.vision.boxes import Boxes

BLOCKS: Final = 4
"""So many blocks are left of the shorter side of what is hidden: nobody is recognised in a face of 4 x 4."""

LEAST_BLOCK_PX: Final = 8

NOTHING: Final[Boxes] = np.zeros((0, 4), np.float32)
"""No area: `redact(pixels, NOTHING)` shows everything, and says so."""

_GATE: Final = object()


@dataclass(frozen=True, slots=True, eq=False)
class PublicPicture:
    """A picture that may leave the process: made by `redact`, which owns the only other name of its pixels.

    Attributes:
        pixels_rgb: (H, W, 3) uint8 RGB, a copy of its own; may be drawn into.
    """

    pixels_rgb: Pixels
    _gate: object = field(repr=False)

    def __post_init__(self) -> None:
        if self._gate is not _GATE:
            raise ValueError("only redact() makes pictures that may leave the process")


def redact(pixels_rgb: Pixels, hidden: Boxes) -> PublicPicture:
    """A copy of a picture in which some areas are pixelated.

    Args:
        pixels_rgb: (H, W, 3) uint8 RGB; stays as it is.
        hidden: (N, 4) xyxy, frame pixels; parts outside the picture are passed over.
    """
    pixels = np.array(pixels_rgb, np.uint8, order="C")
    height, width = pixels.shape[:2]
    for x1, y1, x2, y2 in hidden.tolist():
        left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(y1)))
        right, bottom = min(width, int(np.ceil(x2))), min(height, int(np.ceil(y2)))
        if left < right and top < bottom:
            _pixelate(pixels[top:bottom, left:right])
    return PublicPicture(pixels, _GATE)


def _pixelate(area: Pixels) -> None:
    """Replace an area by the mean colours of its blocks, in place."""
    height, width = area.shape[:2]
    block_px = max(LEAST_BLOCK_PX, min(height, width) / BLOCKS)
    blocks = max(1, int(width / block_px)), max(1, int(height / block_px))
    means = cv2.resize(area, blocks, interpolation=cv2.INTER_AREA)
    area[:] = cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST)
