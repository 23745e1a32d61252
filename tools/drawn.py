"""Pictures of the drawn street, as one more labelled set. The tests draw seeds below 1000, training others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edged.street import surfaces
from edged.street.plan import Traffic
from edged.street.scene import Street, StreetTruth
from edged.types import Pixels
from tools.datasets import CLASSES, Picture, PictureSet
from tools.datasets.encoding import encode_indexes, encode_jpeg
from tools.datasets.pictures import Mask, Part, make_picture

DRAWN = "drawn"
"""Name of the set."""
FIRST_SEED = {"test": 0, "train": 1000, "val": 900_000}
PICTURES_PER_SEED = 8
SECONDS_APART = 7
COMMON = ("person", "car", "bicycle")
RARE_TRAFFIC = Traffic(motorcycles=0.4, heavy=0.3)
"""Of every second training street: with the usual traffic a network sees six bicycles for a truck, and answers accordingly."""
LEAST_VISIBLE = 0.3
"""An object with less of it to be seen is ignored: neither taught nor held against anyone."""


def draw_set(count: int, *, split: str) -> PictureSet:
    """So many frames of streets of the split's own seeds, `PICTURES_PER_SEED` of each, seconds apart."""
    pictures = [
        _picture(f"drawn/{street.seed}/{frame}", street.frame(frame), street.truth(frame))
        for street, frame in _draw(count, split=split)
    ]
    return PictureSet(DRAWN, np.ones(len(CLASSES), np.bool_), tuple(pictures))


def draw_masks(count: int, *, split: str) -> PictureSet:
    """The same frames with what every pixel shows, in the names of `edged/street/surfaces.py`."""
    pictures = []
    for street, frame in _draw(count, split=split):
        name = f"drawn/{street.seed}/{frame}"
        mask = Mask(f"{name}, mask", encode_indexes(street.labels(frame)))
        pictures.append(make_picture(name, encode_jpeg(street.frame(frame)), [], mask=mask))
    return PictureSet(DRAWN, np.ones(len(surfaces.CLASSES), np.bool_), tuple(pictures), surfaces.CLASSES, Part.MASK)


def _draw(count: int, *, split: str) -> Iterator[tuple[Street, int]]:
    """Streets and the frames of them that are shown."""
    for number in range(0, count, PICTURES_PER_SEED):
        seed = FIRST_SEED[split] + number // PICTURES_PER_SEED
        street = Street(seed, fps=1.0, traffic=RARE_TRAFFIC if split == "train" and seed % 2 else None)
        for frame in _choose_frames(street, min(PICTURES_PER_SEED, count - number), split=split):
            yield street, frame


def _choose_frames(street: Street, count: int, *, split: str) -> list[int]:
    """The first ones; for training, of three times as many, those with the most of what is rarely seen."""
    if split != "train":
        return [(1 + index) * SECONDS_APART for index in range(count)]
    frames = [(1 + index) * SECONDS_APART for index in range(3 * count)]
    rare = {frame: sum(name not in COMMON for name in street.truth(frame).class_names) for frame in frames}
    return sorted(sorted(frames, key=lambda frame: -rare[frame])[:count])


def _picture(name: str, pixels_rgb: Pixels, truth: StreetTruth) -> Picture:
    class_ids = np.array([CLASSES.index(kind) for kind in truth.class_names], np.int64)
    return Picture(name, encode_jpeg(pixels_rgb), truth.boxes, class_ids, truth.visible < LEAST_VISIBLE)
