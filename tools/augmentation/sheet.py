"""A sheet of changed pictures for people to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.types import Pixels
from tools.augmentation.augment import augment
from tools.augmentation.sample import Sample, decode_picture
from tools.augmentation.settings import AugmentationSettings
from tools.datasets import Picture
from tools.datasets.opening import find_signs, load_set
from tools.datasets.pictures import VOID

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
N_COLUMNS = 6
GAP_PX = 4
TAUGHT, IGNORED, POINT = (0, 230, 0), (150, 150, 150), (255, 220, 0)
_MOST_PICTURES = 64
"""More are not needed for mosaics, and take a while to decode."""


def load_samples(path: Path) -> list[Sample]:
    """The first pictures of a labelled set, of a folder without labels, or one picture.

    Raises:
        InputError: there is none, or one that cannot be read.
    """
    if find_signs(path):
        return [decode_picture(picture) for picture in load_set(path).pictures[:_MOST_PICTURES]]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: expected labels or pictures ({', '.join(SUFFIXES)}), found neither")
    try:
        encoded = {file: file.read_bytes() for file in files[:_MOST_PICTURES]}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return [decode_picture(Picture(str(file), content, *nothing)) for file, content in encoded.items()]


def draw_sheet(
    samples: list[Sample], *, number: int, size: tuple[int, int], settings: AugmentationSettings, n_seeds: int
) -> Pixels:
    """Sample `number` under the seeds from 0 on, row by row, its labels drawn over it; all samples are there for mosaics."""
    width, height = size
    n_rows = -(-n_seeds // N_COLUMNS)
    sheet = np.full((n_rows * (height + GAP_PX), min(n_seeds, N_COLUMNS) * (width + GAP_PX), 3), 255, np.uint8)
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        sample = augment(samples[number], partners=samples, size=size, settings=settings, rng=rng)
        y, x = seed // N_COLUMNS * (height + GAP_PX), seed % N_COLUMNS * (width + GAP_PX)
        sheet[y : y + height, x : x + width] = draw_labels(sample)
    return sheet


def draw_labels(sample: Sample) -> Pixels:
    """The picture with mask, boxes and points over it."""
    pixels = sample.pixels_rgb.copy()
    if sample.mask is not None:
        pixels = cv2.addWeighted(pixels, 0.6, _paint(sample.mask), 0.4, 0)
    for box, ignored in zip(np.round(sample.boxes).astype(int).tolist(), sample.ignored, strict=True):
        cv2.rectangle(pixels, (box[0], box[1]), (box[2] - 1, box[3] - 1), IGNORED if ignored else TAUGHT, 1)
    if sample.points is not None:
        for x, y in sample.points[np.isfinite(sample.points).all(axis=2)].tolist():
            cv2.circle(pixels, (int(x), int(y)), 1, POINT, -1)
    return pixels


def _paint(mask: NDArray[np.uint8]) -> Pixels:
    """A colour for each class; VOID stays black."""
    numbers = np.arange(256)[:, None]
    colours = (numbers * [67, 151, 233] + [60, 120, 200]) % 256
    colours[VOID] = 0
    return colours.astype(np.uint8)[mask]


def write_sheet(path: Path, pixels_rgb: Pixels) -> None:
    """Write the sheet in the format that its name says.

    Raises:
        InputError: it cannot be written there, or not in that format.
    """
    try:
        done, encoded = cv2.imencode(path.suffix, cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise InputError(f"{path}: expected a name that ends in .jpg or .png: {error.err}") from error
    if not done:
        raise InputError(f"{path}: OpenCV cannot encode the sheet")
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from error
