"""Pictures that are in two splits: the same bytes, or nearly the same sight. What was trained on must not be measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels

SIDE = 16
"""Of the grey thumbnails that are compared, pixels."""
NEAR = 0.97
"""From this correlation of the thumbnails on, two pictures count as nearly the same.

Of neighbouring frames of a still camera at 15 fps four in five reach it, of 400 unrelated photographs no pair does.
"""
LEAST_CONTRAST = 6.0
"""Standard deviation of a thumbnail's grey values, of 255; fog and night below it look alike without being so."""
_ROWS = 1024
"""So many thumbnails of one split are held against all of the other at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What a picture is recognised by.

    Attributes:
        digest: of its bytes.
        thumbnail: (SIDE, SIDE) uint8 grey.
    """

    digest: bytes
    thumbnail: NDArray[np.uint8]


def make_sight(encoded: bytes, pixels_rgb: Pixels) -> Sight:
    """What to recognise a picture by."""
    small = cv2.resize(pixels_rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return Sight(hashlib.blake2b(encoded, digest_size=16).digest(), cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))


def find_same(sights: Sequence[Sight]) -> list[tuple[int, int]]:
    """Positions of pictures with the same bytes, each with the first of them."""
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(one.digest, number), number) for number, one in enumerate(sights)]
    return [(earlier, later) for earlier, later in pairs if earlier != later]


def find_near(sights: Sequence[Sight], splits: Sequence[str], *, near: float = NEAR) -> list[tuple[int, int]]:
    """Positions of pictures of different splits that look nearly the same: each but of `train` with its nearest in `train`."""
    vectors, is_clear = _vectors(sights)
    is_train = np.array([split == "train" for split in splits], np.bool_)
    train, others = np.flatnonzero(is_train & is_clear), np.flatnonzero(~is_train & is_clear)
    pairs = []
    for start in range(0, len(others) if len(train) else 0, _ROWS):
        rows = others[start : start + _ROWS]
        correlation = vectors[rows] @ vectors[train].T  # (rows, train)
        nearest = correlation.argmax(axis=1)
        for row, column in zip(rows, nearest, strict=True):
            if vectors[row] @ vectors[train[column]] >= near and sights[row].digest != sights[train[column]].digest:
                pairs.append((int(train[column]), int(row)))
    return pairs


def _vectors(sights: Sequence[Sight]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N, SIDE²) of mean 0 and length 1, and (N,) whether there is enough contrast to compare."""
    flat = np.array([one.thumbnail.ravel() for one in sights], np.float32).reshape(len(sights), SIDE * SIDE)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.maximum(lengths, 1e-6), lengths[:, 0] / SIDE >= LEAST_CONTRAST
