"""Pictures changed as cameras change them: moved, scaled, mirrored, tiled, dimmed, blurred, compressed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from edged.vision.letterbox import GREY


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture of training size with its labels, in its pixels; see `Picture` for the fields."""

    pixels_rgb: Pixels
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignored: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AugmentationSettings:
    """How often and how far.

    Attributes:
        mosaic: share of samples put together from four pictures.
        light: share of samples whose colours, light and sharpness change.
        scale: least and most size against a picture that just fits.
        stretch: most change of the ratio of the sides.
        smallest_px: a box with a shorter side is ignored from there on.
        visible_ratio: a box with less of it left in the picture is ignored.
    """

    mosaic: float = 0.5
    light: float = 1.0
    scale: tuple[float, float] = (0.5, 1.5)
    stretch: float = 1.25
    smallest_px: float = 4.0
    visible_ratio: float = 0.35


def tile(source: Sample, *, size: tuple[int, int], settings: AugmentationSettings, rng: np.random.Generator) -> Sample:
    """The source scaled, shifted and perhaps mirrored into a picture of that (width, height)."""
    h, w = source.pixels_rgb.shape[:2]
    fit = min(size[0] / w, size[1] / h)
    scale = fit * float(np.exp(rng.uniform(*np.log(settings.scale))))
    stretch = float(np.exp(rng.uniform(-1, 1) * np.log(settings.stretch) / 2))
    scale_xy = np.array([scale / stretch, scale * stretch])
    free = np.array(size) - np.array([w, h]) * scale_xy  # room left, negative where the picture overhangs
    offset = free * rng.uniform(0, 1, 2)
    mirrored = rng.random() < 0.5
    sign = -1.0 if mirrored else 1.0
    a = np.array([[sign * scale_xy[0], 0, offset[0] + (w * scale_xy[0] if mirrored else 0)], [0, scale_xy[1], offset[1]]])
    centred = a.copy()
    centred[:, 2] += a[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts from the first pixel's centre, boxes from its corner
    pixels = cv2.warpAffine(source.pixels_rgb, centred, size, flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3)
    x = np.sort(source.boxes[:, [0, 2]] * a[0, 0] + a[0, 2], axis=1)
    y = source.boxes[:, [1, 3]] * a[1, 1] + a[1, 2]
    whole = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)
    return _cut(pixels, whole, source, settings)


def _cut(pixels: Pixels, whole: NDArray, source: Sample, settings: AugmentationSettings) -> Sample:
    """Clip boxes to the picture; what is left of some is too little to be taught or held against anyone."""
    h, w = pixels.shape[:2]
    boxes = np.clip(whole, 0, [w, h, w, h])
    sides, whole_sides = boxes[:, 2:] - boxes[:, :2], whole[:, 2:] - whole[:, :2]
    visible = sides.prod(axis=1) / np.maximum(whole_sides.prod(axis=1), 1e-6)
    present = (sides > 0.5).all(axis=1)
    ignored = source.ignored | (sides.min(axis=1, initial=np.inf) < settings.smallest_px) | (visible < settings.visible_ratio)
    return Sample(pixels, boxes[present].astype(np.float32), source.class_ids[present], ignored[present])


def mosaic(sources: list[Sample], *, size: int, settings: AugmentationSettings, rng: np.random.Generator) -> Sample:
    """Four pictures around a random point of one picture: more and smaller objects, other surroundings."""
    cx, cy = (int(size * part) for part in rng.uniform(0.35, 0.65, 2))
    pixels = np.empty((size, size, 3), np.uint8)
    parts = []
    corners = ((0, 0, cx, cy), (cx, 0, size, cy), (0, cy, cx, size), (cx, cy, size, size))
    for source, (x1, y1, x2, y2) in zip(sources, corners, strict=True):
        part = tile(source, size=(x2 - x1, y2 - y1), settings=settings, rng=rng)
        pixels[y1:y2, x1:x2] = part.pixels_rgb
        parts.append(Sample(part.pixels_rgb, part.boxes + np.float32([x1, y1, x1, y1]), part.class_ids, part.ignored))
    return Sample(
        pixels,
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.class_ids for part in parts]),
        np.concatenate([part.ignored for part in parts]),
    )


def change_light(pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
    """Other colours, light, sharpness, noise and compression; boxes stay."""
    gain = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.08, 3))
    bias = rng.normal(0, 12)
    table = np.clip(np.arange(256)[:, None] * gain + bias, 0, 255).astype(np.uint8)  # (256, 3)
    pixels = cv2.LUT(pixels_rgb, table[None])
    if rng.random() < 0.25:
        grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        share = 1.0 if rng.random() < 0.4 else rng.uniform(0.2, 0.8)
        pixels = cv2.addWeighted(grey, share, pixels, 1 - share, 0)
    if rng.random() < 0.15:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.4))
    if rng.random() < 0.15:
        noise = rng.integers(-128, 128, pixels.shape, np.int16) * rng.uniform(0.02, 0.15)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 75))])
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR)  # no colour conversion: out as it went in
    return pixels
