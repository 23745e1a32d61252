"""Two label maps of one picture held against each other, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion(labels: NDArray[np.uint8], truth: NDArray[np.uint8], n: int) -> NDArray[np.int64]:
    """(n, n) int64: how many pixels of each class, a row, are said to be of each, a column.

    Args:
        labels: (H, W) uint8, what is said of each pixel: a class id below n.
        truth: (H, W) uint8, what it is; a pixel that is of none of the n classes counts nowhere.

    Raises:
        ValueError: the maps are of two sizes, or a pixel that counts is said to be of no class.
    """
    if labels.shape != truth.shape:
        raise ValueError(f"expected two maps of one size, got {labels.shape} and {truth.shape}")
    counts = truth < n
    said, is_really = labels[counts], truth[counts]
    highest = int(said.max(initial=0))
    if highest >= n:
        raise ValueError(f"expected labels below {n}, got {highest}")
    pairs = is_really.astype(np.intp) * n + said
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def class_ious(counted: NDArray[np.integer]) -> NDArray[np.float64]:
    """(..., n) intersection over union of the pixels of each class; NaN where it neither is nor is said to be anywhere.

    Args:
        counted: (..., n, n), see `confusion`.

    Source: the Jaccard index, as the PASCAL VOC challenge counts it: Everingham et al., IJCV 2015, section 4.
    """
    both = np.diagonal(counted, axis1=-2, axis2=-1).astype(np.float64)
    either = counted.sum(axis=-1) + counted.sum(axis=-2) - both
    return np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)
