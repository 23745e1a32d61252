"""How good label maps are against the truth: whatever a count of who was taken for whom says.

Source: Long, Shelhamer and Darrell, Fully convolutional networks for semantic segmentation, CVPR 2015, section 5 (pixel accuracy,
mean IoU).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.vision.confusion import class_ious


@dataclass(frozen=True, slots=True)
class MapFigures:
    """What one count of pixels says.

    Attributes:
        iou: of each class, by name; None where it neither is nor is said to be anywhere.
        mean_iou: the mean of those that are known; None without any.
        pixel_accuracy: the share of pixels that are said to be what they are; None without pixels.
    """

    iou: Mapping[str, float | None]
    mean_iou: float | None
    pixel_accuracy: float | None


def measure_confusion(counted: NDArray[np.integer], classes: Sequence[str]) -> MapFigures:
    """The figures of pixels that were counted, over however many pictures.

    Args:
        counted: (n, n), a row for what they are, a column for what they are said to be; see `edged.vision.confusion`.
        classes: the n names.

    Raises:
        ValueError: there are not n names.
    """
    if counted.shape != (len(classes), len(classes)):
        raise ValueError(f"expected a count for {len(classes)} classes, got {counted.shape}")
    ious = class_ious(counted)
    known = ious[~np.isnan(ious)]
    n_pixels = int(counted.sum())
    return MapFigures(
        iou={name: None if np.isnan(iou) else float(iou) for name, iou in zip(classes, ious, strict=True)},
        mean_iou=float(known.mean()) if len(known) else None,
        pixel_accuracy=float(np.trace(counted) / n_pixels) if n_pixels else None,
    )
