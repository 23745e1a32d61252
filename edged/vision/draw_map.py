"""Draw what a picture is made of onto it, for people."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from edged.types import Pixels, SegmentationMap
from edged.vision.label_maps import N_LABELS, class_shares, mask_of, resized
from edged.vision.masks import Mask
from edged.vision.palette import class_colours
from edged.vision.writing import SMALL, line_height, text_scale, text_size, write

BACKGROUND: Final = "background"
"""The class that is only what other things stand before: it has no colour."""

_TINT, _BORDER_TINT = 0.4, 0.9
_WHITE = (255, 255, 255)
_MOST_NAMED = 12
_GAP_PX = 5


def tint_by_class(drawn: Pixels, scene: SegmentationMap, *, but_not: Mask) -> None:
    """Give each pixel some of the colour of its class, much of it along the borders between classes.

    Args:
        but_not: (H, W), pixels that stay as they are.
    """
    height, width = drawn.shape[:2]
    labels = resized(scene.labels, width=width, height=height)
    colours = np.zeros((N_LABELS, 3), np.uint8)
    colours[: len(scene.classes)] = class_colours(scene.classes)
    painted = colours[labels]
    is_border = np.zeros((height, width), np.bool_)
    is_border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    is_border[1:] |= labels[1:] != labels[:-1]
    is_tinted = ~(but_not | mask_of(labels, [number for number, name in enumerate(scene.classes) if name == BACKGROUND]))
    for opacity, mask in ((_TINT, is_tinted & ~is_border), (_BORDER_TINT, is_tinted & is_border)):
        cv2.copyTo(cv2.addWeighted(painted, opacity, drawn, 1 - opacity, 0), mask.astype(np.uint8), drawn)


def draw_legend(drawn: Pixels, scene: SegmentationMap) -> int:
    """Say along the lower rim which class has which colour, and its share of the picture.

    Every class keeps its place in all pictures; of more than twelve only the twelve that cover most are named.

    Returns:
        The row where the legend begins.
    """
    height, width = drawn.shape[:2]
    shares = class_shares(scene.labels, len(scene.classes))
    named = [number for number, name in enumerate(scene.classes) if name != BACKGROUND]
    named = sorted(sorted(named, key=lambda number: -shares[number])[:_MOST_NAMED])
    scale = text_scale(height) * SMALL
    side = text_size("Ag", scale)[1]
    places, x, row = [], _GAP_PX, 0
    for number in named:
        item_width = side + 3 + text_size(f"{scene.classes[number]} 100%", scale)[0] + _GAP_PX
        if x + item_width > width and x > _GAP_PX:
            x, row = _GAP_PX, row + 1
        places.append((x, row))
        x += item_width
    top = max(0, height - (row + 1) * line_height(scale))
    drawn[top:] //= 4
    colours = class_colours(scene.classes)
    for number, (x, row) in zip(named, places, strict=True):
        y = top + row * line_height(scale) + 2
        cv2.rectangle(drawn, (x, y), (x + side, y + side), colours[number], -1)
        cv2.rectangle(drawn, (x, y), (x + side, y + side), _WHITE, 1)
        write(drawn, f"{scene.classes[number]} {100 * shares[number]:.0f}%", (x + side + 3, y + side), colour=_WHITE, scale=scale)
    return top
