"""How well the borders between the classes of label maps lie: the boundary F1.

A border pixel has a neighbour, beside, above or below it, of another class. Of a class's border pixels in what is said, the
precision is the share that lie within a tolerance of one in the truth; the recall, the other way round. What is void in the truth
is void in both, and no border runs along it.

Source: Csurka, Larlus, Perronnin, What is a good evaluation measure for semantic segmentation?, BMVC 2013, section 3; the
tolerance of 0.75 % of the picture's diagonal is theirs.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a border may lie from where it is.

    Attributes:
        amount: pixels, or a share of the picture's diagonal.
        is_ratio: it is a share.
    """

    amount: float
    is_ratio: bool

    def in_pixels(self, *, width: int, height: int) -> float:
        """What it is in a picture of a size."""
        return self.amount * math.hypot(width, height) if self.is_ratio else self.amount

    def __str__(self) -> str:
        return f"{100 * self.amount:g} % of the diagonal" if self.is_ratio else f"{self.amount:g} px"


PUBLISHED = Tolerance(0.0075, is_ratio=True)


def parse_tolerance(text: str) -> Tolerance:
    """What `0.75%` or `3px` stands for.

    Raises:
        InputError: it is neither.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|px)", text.strip())
    if not found:
        raise InputError(f"--tolerance {text}: expected a share of the diagonal such as 0.75%, or pixels such as 3px")
    amount, is_ratio = float(found[1]), found[2] == "%"
    return Tolerance(amount / 100 if is_ratio else amount, is_ratio)


def boundary_f1(labels: NDArray[np.uint8], truth: NDArray[np.uint8], n: int, *, tolerance_px: float) -> NDArray[np.float64]:
    """(n,) F1 of each class's borders in one picture; 0 where only one map has some, NaN where neither has.

    Args:
        labels: (H, W) uint8, what is said of each pixel.
        truth: (H, W) uint8, what it is; void where that is none of the n classes.
        tolerance_px: so far from it a border still is where it should be, pixels between centres.
    """
    is_void = truth >= n
    said, actual = (_Borders.find(each, is_void) for each in (labels, truth))
    scores = np.full(n, np.nan)
    for class_id in np.union1d(said.classes, actual.classes):
        ours, theirs = said.of_class(class_id), actual.of_class(class_id)
        precision, recall = _share_near(ours, theirs, tolerance_px), _share_near(theirs, ours, tolerance_px)
        scores[class_id] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Borders:
    """The border pixels of one map: (H, W) class ids, and which pixels are some."""

    labels: NDArray[np.uint8]
    is_border: NDArray[np.bool_]

    @classmethod
    def find(cls, labels: NDArray[np.uint8], is_void: NDArray[np.bool_]) -> _Borders:
        is_border = np.zeros(labels.shape, np.bool_)
        for first, second in (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1)))):
            differs = (labels[first] != labels[second]) & ~(is_void[first] | is_void[second])
            is_border[first] |= differs
            is_border[second] |= differs
        return cls(labels, is_border)

    @property
    def classes(self) -> NDArray[np.uint8]:
        """Those that have some."""
        return np.unique(self.labels[self.is_border])

    def of_class(self, class_id: int) -> NDArray[np.bool_]:
        """(H, W) those of one class."""
        return self.is_border & (self.labels == class_id)


def _share_near(pixels: NDArray[np.bool_], others: NDArray[np.bool_], tolerance_px: float) -> float:
    """The share of some pixels that lie near one of the others; 0 where there are none of either."""
    if not (pixels.any() and others.any()):
        return 0.0
    distances_px = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distances_px[pixels] <= tolerance_px).mean())
