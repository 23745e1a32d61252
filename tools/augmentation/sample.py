"""A picture with everything that is known of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from tools.datasets.pictures import Picture


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture of training size with its labels, in its pixels.

    Attributes:
        pixels_rgb: (H, W, 3) uint8.
        boxes: (M, 4) float32 xyxy.
        class_ids: (M,) int64.
        ignored: (M,) bool: neither taught nor held against anyone.
        points: (M, K, 2) float32 x, y of each object, NaN where a point is unknown or out of the picture; None: no such labels.
        mask: (H, W) uint8 class of every pixel, VOID where unknown; None: no such labels.
    """

    pixels_rgb: Pixels
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    points: NDArray[np.float32] | None = None
    mask: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.points is not None and (self.points.ndim != 3 or self.points.shape[::2] != (len(self.boxes), 2)):
            raise ValueError(f"points: expected ({len(self.boxes)}, K, 2), one row a box, got {self.points.shape}")
        if self.mask is not None and self.mask.shape != self.pixels_rgb.shape[:2]:
            raise ValueError(f"mask: expected {self.pixels_rgb.shape[:2]} as the picture, got {self.mask.shape}")


def decode_picture(picture: Picture) -> Sample:
    """A labelled picture with everything that is known of it.

    Raises:
        InputError: its file or its mask cannot be decoded.
    """
    mask = None if picture.mask is None else picture.mask.indexes()
    return Sample(picture.pixels_rgb(), picture.boxes, picture.class_ids, picture.ignored, picture.points, mask)
