"""Greedy non-maximum suppression, class by class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edged.vision.boxes import Boxes, iou_matrix

_BLOCK = 128
"""Candidates compared at once: more than a usual frame has, while a crowd of thousands never makes a matrix of millions."""

_IS_BETTER = np.triu(np.ones((_BLOCK, _BLOCK), np.bool_), k=1)
"""Whether the box of a row comes before the box of a column."""


def nms(
    boxes: Boxes, scores: NDArray[np.float32], class_ids: NDArray[np.int64], *, iou_threshold: float | Mapping[int, float]
) -> NDArray[np.int64]:
    """Keep the best box of every object: the highest score first, each kept box suppresses what overlaps it in its class.

    A box is suppressed when its IoU with a kept box is greater than the threshold; one exactly at the threshold stays.
    Of equal scores the lower index goes first.

    Args:
        boxes: (N, 4) float32 xyxy, finite.
        scores: (N,) finite.
        class_ids: (N,).
        iou_threshold: one for all, or one for each class id that occurs.

    Returns:
        (K,) int64, indices of the kept boxes in descending score, ties by rising index.

    Source: the greedy suppression of Felzenszwalb et al., Object detection with discriminatively trained part based models, 2010.
    """
    order = np.argsort(-scores, kind="stable")
    if len(order) <= _BLOCK:
        places = _keep_few(boxes[order].tolist(), class_ids[order].tolist(), iou_threshold)
        return order[places]
    thresholds = _by_class(iou_threshold) if isinstance(iou_threshold, Mapping) else iou_threshold
    kept = np.zeros(0, np.int64)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        if len(kept):
            block = block[~_suppresses(boxes, class_ids, thresholds, kept, block).any(axis=0)]
        kept = np.concatenate([kept, block[_keep_greedily(_suppresses(boxes, class_ids, thresholds, block, block))]])
    return kept


def _keep_few(boxes: list[list[float]], class_ids: list[int], iou_threshold: float | Mapping[int, float]) -> list[int]:
    """The places of the boxes to keep, in descending order; in plain numbers, which for a few boxes takes half as long."""
    kept = []
    is_by_class = isinstance(iou_threshold, Mapping)
    kept_of_class: dict[int, list[tuple[float, float, float, float, float]]] = defaultdict(list)
    for place, ((x1, y1, x2, y2), class_id) in enumerate(zip(boxes, class_ids, strict=True)):
        threshold = iou_threshold[class_id] if is_by_class else iou_threshold
        area = (x2 - x1) * (y2 - y1)
        rivals = kept_of_class[class_id]
        for rival_x1, rival_y1, rival_x2, rival_y2, rival_area in rivals:
            width = (x2 if x2 < rival_x2 else rival_x2) - (x1 if x1 > rival_x1 else rival_x1)
            if width <= 0:
                continue
            height = (y2 if y2 < rival_y2 else rival_y2) - (y1 if y1 > rival_y1 else rival_y1)
            if height <= 0:
                continue
            shared = width * height
            if shared / (area + rival_area - shared) > threshold:
                break
        else:
            kept.append(place)
            rivals.append((x1, y1, x2, y2, area))
    return kept


def _by_class(iou_threshold: Mapping[int, float]) -> NDArray[np.float32]:
    by_class = np.zeros(max(iou_threshold, default=0) + 1, np.float32)
    by_class[list(iou_threshold)] = list(iou_threshold.values())
    return by_class


def _suppresses(
    boxes: Boxes,
    class_ids: NDArray[np.int64],
    thresholds: NDArray[np.float32] | float,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether each box of `first` would suppress each of `second`: (len(first), len(second))."""
    first_ids, second_ids = class_ids[first], class_ids[second]
    overlaps = iou_matrix(boxes[first], boxes[second]) > (thresholds if isinstance(thresholds, float) else thresholds[second_ids])
    overlaps &= first_ids[:, None] == second_ids
    return overlaps


def _keep_greedily(suppresses: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of N boxes in descending order survive, given who would suppress whom (N, N).

    Whether a box survives depends on better ones only. So each round settles at least one more box for good, and all of
    them once a round changes nothing: after as many rounds as the longest chain of suppressions, mostly three.

    Source: Zheng et al., Enhancing Geometric Factors in Model Learning and Inference for Object Detection and Instance
    Segmentation, IEEE Transactions on Cybernetics 2022, Cluster-NMS.
    """
    by_better = suppresses & _IS_BETTER[: len(suppresses), : len(suppresses)]
    kept = ~by_better.any(axis=0)
    while True:
        after = ~(by_better & kept[:, None]).any(axis=0)
        if np.array_equal(after, kept):
            return kept
        kept = after
