"""Greedy suppression class by class."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest

from edged.vision.boxes import iou_matrix
from edged.vision.nms import nms


def suppress_slowly(
    boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, iou_threshold: float | Mapping[int, float]
) -> list[int]:
    """The definition, one pair at a time."""
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    kept: list[int] = []
    for index in order:
        limit = iou_threshold[int(class_ids[index])] if isinstance(iou_threshold, Mapping) else iou_threshold
        rivals = [other for other in kept if class_ids[other] == class_ids[index]]
        if all(iou_matrix(boxes[[other]], boxes[[index]])[0, 0] <= np.float32(limit) for other in rivals):
            kept.append(index)
    return kept


def make_crowd(rng: np.random.Generator, n: int, *, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes that overlap a lot, with equal scores and equal boxes among them."""
    corners = rng.integers(0, 20, (n, 2))
    sizes = rng.integers(1, 15, (n, 2))
    boxes = np.hstack([corners, corners + sizes]).astype(np.float32)
    scores = (rng.integers(1, 20, n) / 20).astype(np.float32)
    return boxes, scores, rng.integers(0, classes, n)


@pytest.mark.parametrize("seed", range(300))
def test_nms_of_random_crowds_equals_the_definition(seed: int) -> None:
    """The fast form gives the very indices, in the very order, of the slow one."""
    rng = np.random.default_rng(seed)
    boxes, scores, class_ids = make_crowd(rng, int(rng.integers(0, 60)))
    threshold = float(rng.choice([0.0, 0.25, 0.5, 0.6, 0.95]))

    kept = nms(boxes, scores, class_ids, iou_threshold=threshold)

    assert kept.dtype == np.int64
    assert kept.tolist() == suppress_slowly(boxes, scores, class_ids, threshold)


def test_nms_of_more_than_a_block_equals_the_definition() -> None:
    """Hundreds of candidates are compared in blocks; the seams do not show."""
    rng = np.random.default_rng(11)
    corners = rng.uniform(0, 90, (700, 2))
    boxes = np.hstack([corners, corners + rng.uniform(4, 12, (700, 2))]).astype(np.float32)
    scores = (rng.integers(1, 200, 700) / 200).astype(np.float32)
    class_ids = rng.integers(0, 2, 700)

    kept = nms(boxes, scores, class_ids, iou_threshold=0.4)

    expected = suppress_slowly(boxes, scores, class_ids, 0.4)
    assert kept.tolist() == expected
    assert len(expected) > 128


@pytest.mark.parametrize("seed", range(200))
def test_nms_of_random_boxes_equals_that_of_opencv(seed: int) -> None:
    """Where no scores tie and no IoU meets the threshold, OpenCV class by class keeps the same boxes."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 200, (50, 2))
    boxes = np.hstack([corners, corners + rng.uniform(20, 80, (50, 2))]).astype(np.float32)
    scores = rng.permutation(np.linspace(0.06, 0.99, 50)).astype(np.float32)
    class_ids = rng.integers(0, 3, 50)

    kept = nms(boxes, scores, class_ids, iou_threshold=0.45)

    xywh = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    expected: set[int] = set()
    for class_id in range(3):
        own = np.flatnonzero(class_ids == class_id)
        chosen = cv2.dnn.NMSBoxes(xywh[own].tolist(), scores[own].tolist(), 0.0, 0.45)
        expected |= set(own[np.array(chosen, int).ravel()].tolist())
    assert set(kept.tolist()) == expected


@pytest.mark.parametrize(
    ("boxes", "scores", "class_ids", "threshold", "expected"),
    [
        pytest.param([], [], [], 0.5, [], id="none"),
        pytest.param([(0, 0, 1, 1)], [0.3], [4], 0.5, [0], id="one"),
        pytest.param([(0, 0, 4, 4), (0, 0, 4, 4)], [0.5, 0.5], [0, 0], 0.5, [0], id="tie keeps the lower index"),
        pytest.param([(0, 0, 4, 4), (0, 0, 4, 4)], [0.5, 0.6], [0, 0], 0.5, [1], id="higher score wins"),
        pytest.param([(0, 0, 4, 4), (0, 0, 4, 4)], [0.5, 0.6], [0, 1], 0.5, [1, 0], id="classes do not meet"),
        pytest.param([(0, 0, 4, 4), (0, 0, 4, 2)], [0.9, 0.8], [0, 0], 0.5, [0, 1], id="exactly at the threshold stays"),
        pytest.param([(0, 0, 4, 4), (0, 0, 4, 2)], [0.9, 0.8], [0, 0], 0.4999, [0], id="just above the threshold goes"),
        pytest.param(
            [(0, 0, 5, 1), (0, 0, 3, 1)], [0.9, 0.8], [0, 0], 0.6, [0, 1], id="at 0.6, which no binary number is, stays"
        ),
        pytest.param(
            [(0, 0, 9, 9), (3, 0, 12, 9), (6, 0, 15, 9)],
            [0.9, 0.8, 0.7],
            [0, 0, 0],
            0.4,
            [0, 2],
            id="the suppressed suppress nobody",
        ),
        pytest.param([(0, 0, 4, 4), (0, 0, 4, 3)], [0.9, 0.8], [0, 0], {0: 0.8}, [0, 1], id="a class's own threshold"),
        pytest.param(
            [(0, 0, 4, 4), (0, 0, 4, 3)] * 2, [0.9, 0.8] * 2, [0, 0, 1, 1], {0: 0.8, 1: 0.5}, [0, 2, 1], id="classes differ"
        ),
    ],
)
def test_nms_of_a_known_case_keeps(boxes: list, scores: list, class_ids: list, threshold: float, expected: list[int]) -> None:
    """Order, ties, equality and classes as stated."""
    arrays = np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(class_ids, np.int64)

    kept = nms(*arrays, iou_threshold=threshold)

    assert kept.tolist() == expected
