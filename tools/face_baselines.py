"""What an encoder must beat: comparisons of faces that nobody taught with faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from edged.vision.alignment import TEMPLATES

LBP_TEMPLATE = TEMPLATES["mean112"]
IMAGENET_TEMPLATE = TEMPLATES["mean112"].scaled(224)
"""The size that ImageNet's network was taught at."""
_CELLS = 7
"""A side of the crop has so many cells, each with a histogram of its own."""
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""Rows and columns of the eight pixels around one, in a ring."""


def lbp_histograms(crops: Sequence[Pixels]) -> NDArray[np.float64]:
    """(N, cells * 59) shares of uniform local binary patterns in each cell of aligned crops, (side, side, 3).

    Source: Ahonen, Hadid, Pietikäinen, Face Description with Local Binary Patterns, IEEE TPAMI 28(12), 2006: radius 1, 8
    neighbours, 7x7 cells; compared by chi-square.
    """
    table = _uniform_patterns()
    return np.array([_histogram(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), table) for crop in crops])


def lbp_scores(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P,) minus the chi-square distances of histograms (P, B)."""
    total = first + second
    return -np.divide((first - second) ** 2, total, out=np.zeros_like(total), where=total > 0).sum(axis=1)


def _histogram(grey: NDArray[np.uint8], table: NDArray[np.int64]) -> NDArray[np.float64]:
    middle = grey[1:-1, 1:-1]
    height, width = middle.shape
    codes = np.zeros(middle.shape, np.int64)
    for bit, (row, column) in enumerate(_NEIGHBOURS):
        codes |= (grey[1 + row : 1 + row + height, 1 + column : 1 + column + width] >= middle).astype(np.int64) << bit
    patterns, kinds = table[codes], int(table.max()) + 1
    parts = [cell for band in np.array_split(patterns, _CELLS) for cell in np.array_split(band, _CELLS, axis=1)]
    return np.concatenate([np.bincount(cell.ravel(), minlength=kinds) / cell.size for cell in parts])


def _uniform_patterns() -> NDArray[np.int64]:
    """(256,) the number of each pattern that changes twice at most around the ring; all others share the last number."""
    changes = [bin(code ^ (code >> 1 | (code & 1) << 7)).count("1") for code in range(256)]
    uniform = [code for code in range(256) if changes[code] <= 2]
    table = np.full(256, len(uniform), np.int64)
    table[uniform] = np.arange(len(uniform))
    return table


def imagenet_embeddings(crops: Sequence[Pixels], weights: Path) -> NDArray[np.float32]:
    """(N, 1280) of unit length: MobileNetV2 1.0 as ImageNet taught it, its last features averaged; crops: (224, 224, 3).

    Raises:
        InputError: the weights are of another network.
    """
    import torch

    from tools.crop_data import stack_pictures
    from tools.nets.embedding import Embedding, EmbeddingSettings
    from tools.weights import initialise_encoder

    network = Embedding(EmbeddingSettings(input_px=224, rows=7, pooling="average")).eval()
    initialise_encoder(network, weights)
    with torch.inference_mode():
        images = stack_pictures(crops)
        features = torch.cat([network.features(part).flatten(1) for part in images.split(16)]).numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)
