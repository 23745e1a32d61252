"""Detections as a middling detector would make them of the drawn street's truth: misses, jitter, doubles, phantoms.

What a detector gets wrong it gets wrong for a while: scores and jitter drift from frame to frame with a time constant,
so the same faults come at every frame rate. Everything follows from the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.street.scene import StreetTruth
from edged.types import Detections
from edged.vision.boxes import iou_matrix
from edged.vision.nms import nms

CONFUSED_WITH = {"car": "truck", "truck": "car", "bus": "truck", "bicycle": "motorcycle", "motorcycle": "bicycle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorFaults:
    """How bad the simulated detector is.

    Attributes:
        mean_score, hidden_score: mean score of an object in full view and of one that is hidden altogether.
        score_spread: standard deviation of an object's score around its mean.
        miss_ratio: share of detections left out at random, frame by frame.
        jitter_ratio: standard deviation of each side of a box, shares of the mean of width and height.
        double_ratio: share of objects that also get a second box, of a part of them.
        merged_ratio: share of pairs of one class that overlap at least `merged_iou` and come out as one box around both.
        confused_ratio: share of detections with the class that is easily confused with theirs.
        phantoms_per_s: how many things that are not there appear in a second, for half a second on average.
        drift_s: time constant of scores and jitter.
        nms_iou: boxes of one class that overlap more are one.
    """

    mean_score: float = 0.7
    hidden_score: float = -0.2
    score_spread: float = 0.2
    miss_ratio: float = 0.1
    jitter_ratio: float = 0.04
    double_ratio: float = 0.03
    merged_ratio: float = 0.1
    merged_iou: float = 0.2
    confused_ratio: float = 0.1
    phantoms_per_s: float = 1.0
    drift_s: float = 0.6
    nms_iou: float = 0.5


@dataclass(slots=True)
class _Phantom:
    box: NDArray[np.float64]
    class_id: int
    score: float
    until_s: float


class SimulatedDetector:
    """Turns the truth of one frame after the other into detections. Deterministic by its seed."""

    def __init__(self, faults: DetectorFaults, *, class_names: list[str], width: int, height: int, seed: int) -> None:
        self._faults = faults
        self._class_names = class_names
        self._size = np.array([width, height, width, height], np.float64)
        self._rng = np.random.default_rng(seed)
        self._drift: dict[int, NDArray[np.float64]] = {}  # track id -> (5,) unit normal: score, four sides
        self._phantoms: list[_Phantom] = []

    def detect(self, truth: StreetTruth, *, now_s: float, step_s: float) -> Detections:
        """What it sees of a frame, after suppression; scores of at least 0.05."""
        boxes: list[NDArray[np.float64]] = []
        scores: list[float] = []
        class_ids: list[int] = []
        for index in range(len(truth)):
            self._see(truth, index, step_s, (boxes, scores, class_ids))
        self._merge(boxes, scores, class_ids)
        self._imagine(now_s, step_s, (boxes, scores, class_ids))
        kept = [row for row, score in enumerate(scores) if score >= 0.05]
        found = Detections(
            np.clip(np.array(boxes).reshape(-1, 4), 0, self._size).astype(np.float32)[kept],
            np.minimum(np.array(scores), 0.98).astype(np.float32)[kept],
            np.array(class_ids, np.int64)[kept],
        )
        return found[nms(found.boxes, found.scores, found.class_ids, iou_threshold=self._faults.nms_iou)]

    def _see(self, truth: StreetTruth, index: int, step_s: float, out: tuple[list, list, list]) -> None:
        faults, rng = self._faults, self._rng
        box, name, track_id = truth.boxes[index].astype(np.float64), truth.class_names[index], int(truth.track_ids[index])
        left = math.exp(-step_s / faults.drift_s)
        before = self._drift.get(track_id)
        fresh = rng.normal(size=5)
        drift = fresh if before is None else left * before + math.sqrt(1 - left * left) * fresh
        self._drift[track_id] = drift
        missed, doubled, confused = rng.random(3) < [faults.miss_ratio, faults.double_ratio, faults.confused_ratio]
        if missed:
            return
        side = (box[2] - box[0] + box[3] - box[1]) / 2
        jitter = faults.jitter_ratio * side * (0.7 * drift[1:] + 0.7 * rng.normal(size=4))
        mean = faults.hidden_score + (faults.mean_score - faults.hidden_score) * float(truth.visible[index])
        score = mean + faults.score_spread * (0.8 * drift[0] + 0.6 * rng.normal())
        shown = CONFUSED_WITH.get(name, name) if confused else name
        _append(out, box + jitter, score, self._class_names.index(shown))
        if doubled:
            half = box.copy()
            half[3] = (box[1] + box[3]) / 2
            _append(out, half + jitter, score * rng.uniform(0.3, 0.9), self._class_names.index(shown))

    def _merge(self, boxes: list[NDArray[np.float64]], scores: list[float], class_ids: list[int]) -> None:
        """Two people close together come out as one now and then: the better box grows, the other gets no score."""
        if len(boxes) < 2:
            return
        overlaps = iou_matrix(np.array(boxes, np.float32), np.array(boxes, np.float32))
        for a, b in zip(*np.nonzero(np.triu(overlaps >= self._faults.merged_iou, 1)), strict=True):
            if class_ids[a] == class_ids[b] and self._rng.random() < self._faults.merged_ratio:
                better, other = (a, b) if scores[a] >= scores[b] else (b, a)
                boxes[better] = np.concatenate([np.minimum(boxes[a][:2], boxes[b][:2]), np.maximum(boxes[a][2:], boxes[b][2:])])
                scores[other] = 0.0

    def _imagine(self, now_s: float, step_s: float, out: tuple[list, list, list]) -> None:
        faults, rng = self._faults, self._rng
        for _ in range(rng.poisson(faults.phantoms_per_s * step_s)):
            height = self._size[1] * rng.uniform(0.08, 0.3)
            centre = rng.uniform(0, self._size[:2])
            half = np.array([height * rng.uniform(0.2, 0.6), height / 2])
            box = np.concatenate([centre - half, centre + half])
            class_id = int(rng.integers(len(self._class_names)))
            self._phantoms.append(_Phantom(box, class_id, rng.uniform(0.1, 0.65), now_s + rng.exponential(0.5)))
        self._phantoms = [phantom for phantom in self._phantoms if phantom.until_s >= now_s]
        for phantom in self._phantoms:
            jitter = 2 * faults.jitter_ratio * (phantom.box[3] - phantom.box[1]) * rng.normal(size=4)
            _append(out, phantom.box + jitter, phantom.score + 0.1 * rng.normal(), phantom.class_id)


def _append(out: tuple[list, list, list], box: NDArray[np.float64], score: float, class_id: int) -> None:
    boxes, scores, class_ids = out
    boxes.append(np.concatenate([np.minimum(box[:2], box[2:] - 1), box[2:]]))
    scores.append(float(score))
    class_ids.append(class_id)
