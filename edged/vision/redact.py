"""The one gate for pictures that leave the process: what must not be recognised is pixelated or painted over here.

Whatever writes, sends or shows pictures takes a `PublicPicture`, and only `redact` makes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import cv2
import numpy as np

from edged.types import Pixels
from edged.vision.boxes import Boxes
from edged.vision.masks import Mask, spread

BLOCKS: Final = 4
"""So many blocks are left of the shorter side of what is hidden: nobody is recognised in a face of 4 x 4."""

LEAST_BLOCK_PX: Final = 8

NOTHING: Final[Boxes] = np.zeros((0, 4), np.float32)
"""No area: `redact(pixels, NOTHING)` shows everything, and says so."""

FILL_COLOUR: Final = (72, 72, 72)

Style = Literal["pixelate", "fill"]
"""How a cover hides: coarse blocks of what is there, or one grey, which says nothing of it."""

_GATE: Final = object()


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """Something of any form that is hidden.

    Attributes:
        mask: (h, w) of any size, each element an equal part of the picture; a pixel of the picture is hidden where any of it is.
    """

    mask: Mask
    style: Style


@dataclass(frozen=True, slots=True, eq=False)
class PublicPicture:
    """A picture that may leave the process: made by `redact`, which owns the only other name of its pixels.

    Attributes:
        pixels_rgb: (H, W, 3) uint8 RGB, a copy of its own; may be drawn into.
        hidden: (H, W), where something was hidden: no map of what is there may be drawn.
    """

    pixels_rgb: Pixels
    hidden: Mask
    _gate: object = field(repr=False)

    def __post_init__(self) -> None:
        if self._gate is not _GATE:
            raise ValueError("only redact() makes pictures that may leave the process")


def redact(pixels_rgb: Pixels, hidden: Boxes, covers: Sequence[Cover] = ()) -> PublicPicture:
    """A copy of a picture in which some of it is hidden.

    What is filled leaves no trace at all: not even the blocks beside it depend on it.

    Args:
        pixels_rgb: (H, W, 3) uint8 RGB; stays as it is.
        hidden: (N, 4) xyxy, frame pixels, to be pixelated; parts outside the picture are passed over.
        covers: hidden before that.
    """
    pixels = np.array(pixels_rgb, np.uint8, order="C")
    height, width = pixels.shape[:2]
    all_hidden = np.zeros((height, width), np.bool_)
    for cover in sorted(covers, key=lambda each: each.style != "fill"):
        mask = spread(cover.mask, width=width, height=height)
        all_hidden |= mask
        if cover.style == "fill":
            pixels[mask] = FILL_COLOUR
        else:
            _pixelate_mask(pixels, mask)
    for x1, y1, x2, y2 in hidden.tolist():
        left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(y1)))
        right, bottom = min(width, int(np.ceil(x2))), min(height, int(np.ceil(y2)))
        if left < right and top < bottom:
            _pixelate(pixels[top:bottom, left:right])
            all_hidden[top:bottom, left:right] = True
    return PublicPicture(pixels, all_hidden, _GATE)


def _pixelate_mask(pixels: Pixels, mask: Mask) -> None:
    """Pixelate each connected part of a mask as the area around it would be, in place, but only where the mask is."""
    n_parts, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    for part in range(1, n_parts):
        x, y, width, height = stats[part, :4]
        window = np.s_[y : y + height, x : x + width]
        blocks = pixels[window].copy()
        _pixelate(blocks)
        is_part = parts[window] == part
        pixels[window][is_part] = blocks[is_part]


def _pixelate(area: Pixels) -> None:
    """Replace an area by the mean colours of its blocks, in place."""
    height, width = area.shape[:2]
    block_px = max(LEAST_BLOCK_PX, min(height, width) / BLOCKS)
    blocks = max(1, int(width / block_px)), max(1, int(height / block_px))
    means = cv2.resize(area, blocks, interpolation=cv2.INTER_AREA)
    area[:] = cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST)
