"""Fit a picture of any shape into a network's input, and carry boxes and points there and back.

One place for training, evaluation and the daemon: what differs between them would be lost accuracy that nobody sees.
`letterbox` is the whole of it. `models/network.py` takes its parts, so that it need not draw the grey again for every picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from edged.vision.boxes import Boxes

GREY = 114
"""What surrounds the picture; the textbook's grey, also in training."""


@dataclass(frozen=True, slots=True)
class LetterboxTransform:
    """Where a source picture lies in the network's input: input = source * scale + pad, in the coordinates of `boxes.py`.

    Attributes:
        scale_x, scale_y: input pixels per source pixel. They differ by the rounding to whole pixels only.
        pad_x, pad_y: grey columns on the left and rows on top.
        source_width, source_height: size of the source picture, pixels.
    """

    scale_x: float
    scale_y: float
    pad_x: int
    pad_y: int
    source_width: int
    source_height: int
    _scales: NDArray[np.float32] = field(init=False, repr=False, compare=False)
    _pads: NDArray[np.float32] = field(init=False, repr=False, compare=False)
    _source_sizes: NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scales", np.array([self.scale_x, self.scale_y] * 2, np.float32))
        object.__setattr__(self, "_pads", np.array([self.pad_x, self.pad_y] * 2, np.float32))
        object.__setattr__(self, "_source_sizes", np.array([self.source_width, self.source_height] * 2, np.float32))

    @property
    def rows(self) -> slice:
        """The input's rows that the picture covers."""
        return slice(self.pad_y, self.pad_y + round(self.scale_y * self.source_height))

    @property
    def columns(self) -> slice:
        """The input's columns that the picture covers."""
        return slice(self.pad_x, self.pad_x + round(self.scale_x * self.source_width))

    def to_input(self, boxes: Boxes) -> Boxes:
        """Boxes (N, 4) of the source picture, in input pixels."""
        return boxes * self._scales + self._pads

    def to_source(self, boxes: Boxes) -> Boxes:
        """Boxes (N, 4) in input pixels, in pixels of the source picture, cut at its edges; one outside is empty, on the edge."""
        inside = boxes - self._pads
        inside /= self._scales
        np.maximum(inside, 0, out=inside)
        return np.minimum(inside, self._source_sizes, out=inside)

    def points_to_source(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (..., 2) in input pixels, in pixels of the source picture; those outside of it stay there."""
        return (points - self._pads[:2]) / self._scales[:2]


def make_transform(source_width: int, source_height: int, *, width: int, height: int) -> LetterboxTransform:
    """The transform that fits a picture into (height, width), aspect kept, centred; small pictures grow."""
    scale = min(width / source_width, height / source_height)
    inner_width = min(width, max(1, round(source_width * scale)))
    inner_height = min(height, max(1, round(source_height * scale)))
    return LetterboxTransform(
        scale_x=inner_width / source_width,
        scale_y=inner_height / source_height,
        pad_x=(width - inner_width) // 2,
        pad_y=(height - inner_height) // 2,
        source_width=source_width,
        source_height=source_height,
    )


def letterbox(pixels_rgb: Pixels, *, width: int, height: int, fill: int = GREY) -> tuple[Pixels, LetterboxTransform]:
    """Fit a picture into (height, width, 3) uint8 and say where it lies there.

    Args:
        pixels_rgb: (h, w, 3) uint8, any size from 1x1.
    """
    transform = make_transform(pixels_rgb.shape[1], pixels_rgb.shape[0], width=width, height=height)
    canvas = np.full((height, width, 3), fill, np.uint8)
    resize(pixels_rgb, out=canvas[transform.rows, transform.columns])
    return canvas, transform


def resize(pixels_rgb: Pixels, *, out: Pixels) -> None:
    """Draw a picture (h, w, 3) into an array of any other size.

    Bilinear also where it shrinks: averaging over the area costs ten times as much at sizes that are not whole multiples.
    """
    cv2.resize(pixels_rgb, out.shape[1::-1], dst=out, interpolation=cv2.INTER_LINEAR)
