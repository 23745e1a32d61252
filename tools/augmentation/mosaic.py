"""Four pictures in one: more and smaller objects, other surroundings.

Source: Bochkovskiy, Wang and Liao, "YOLOv4: Optimal Speed and Accuracy of Object Detection", 2020, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tools.augmentation.chance import Chance
from tools.augmentation.geometry import place
from tools.augmentation.sample import Sample

if TYPE_CHECKING:
    from tools.augmentation.settings import AugmentationSettings

MIDDLE = (0.35, 0.65)
"""Where the four meet, in parts of the picture's sides."""


def make_mosaic(
    sources: Sequence[Sample],
    *,
    size: tuple[int, int],
    middle: tuple[float, float],
    settings: AugmentationSettings,
    chance: Chance,
) -> Sample:
    """Four pictures, each cropped and moved by chance, around one point of a picture of that (width, height).

    Args:
        sources: four; all with points and masks, or none.
        middle: x, y where they meet, in parts of width and height.
    """
    w, h = size
    cx, cy = int(w * middle[0]), int(h * middle[1])
    pixels = np.empty((h, w, 3), np.uint8)
    mask = None if sources[0].mask is None else np.empty((h, w), np.uint8)
    parts = []
    corners = ((0, 0, cx, cy), (cx, 0, w, cy), (0, cy, cx, h), (cx, cy, w, h))
    for number, (source, (x1, y1, x2, y2)) in enumerate(zip(sources, corners, strict=True)):
        part = place(source, size=(x2 - x1, y2 - y1), settings=settings, chance=chance, tile=number)
        pixels[y1:y2, x1:x2] = part.pixels_rgb
        if mask is not None:
            mask[y1:y2, x1:x2] = part.mask
        parts.append((part, np.float32([x1, y1, x1, y1])))
    return Sample(
        pixels,
        np.concatenate([part.boxes + corner for part, corner in parts]),
        np.concatenate([part.class_ids for part, _ in parts]),
        np.concatenate([part.ignored for part, _ in parts]),
        None if sources[0].points is None else np.concatenate([part.points + corner[:2] for part, corner in parts]),
        mask,
    )
