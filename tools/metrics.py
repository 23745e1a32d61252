"""How good detections are against the truth: average precision at one overlap, recall and precision at given thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.types import Detections
from edged.vision.boxes import Boxes, area, iou_matrix


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is in one picture; fields as in `datasets.Picture`, boxes in the pixels of the detections."""

    boxes: Boxes
    class_ids: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    labelled: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class over many pictures.

    Attributes:
        n: objects that count.
        ap50: area under precision over recall at overlap 0.5; None without objects.
        recall, precision: at the class's score threshold; None where there is nothing to divide by.
        found, invented: detections at the threshold that hit an object, and that hit none.
    """

    n: int
    ap50: float | None
    recall: float | None
    precision: float | None
    found: int
    invented: int


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """A class's detections in many pictures, held against the truth.

    Attributes:
        scores: (D,) of the detections that count.
        hits: (D,) bool: it is the best one on an object.
        n: objects that count.
    """

    scores: NDArray[np.float32]
    hits: NDArray[np.bool_]
    n: int


def score_class(
    truths: Sequence[Truth], detections: Sequence[Detections], class_id: int, *, threshold: float, iou: float = 0.5
) -> ClassScore:
    """One class's figures over all pictures of sets that label it."""
    matches = collect_matches(truths, detections, class_id, iou=iou)
    shown = matches.hits[matches.scores >= threshold]
    found = int(shown.sum())
    return ClassScore(
        n=matches.n,
        ap50=average_precision(matches) if matches.n else None,
        recall=found / matches.n if matches.n else None,
        precision=found / len(shown) if len(shown) else None,
        found=found,
        invented=len(shown) - found,
    )


def collect_matches(truths: Sequence[Truth], detections: Sequence[Detections], class_id: int, *, iou: float = 0.5) -> Matches:
    """Match a class's detections to its objects, best score first within each picture.

    Pictures of sets that do not label the class are left out. Detections on ignored boxes count neither way.
    """
    scores, hits, n = [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)], 0
    for truth, found in zip(truths, detections, strict=True):
        if truth.labelled[class_id]:
            score, hit = _match(truth, found[found.class_ids == class_id], class_id, iou)
            scores.append(score)
            hits.append(hit)
            n += int((~truth.ignored[truth.class_ids == class_id]).sum())
    return Matches(np.concatenate(scores), np.concatenate(hits), n)


def _match(truth: Truth, found: Detections, class_id: int, iou: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores and hits of one picture's detections, those on ignored boxes left out."""
    found = found[np.argsort(-found.scores, kind="stable")]
    mine = truth.class_ids == class_id
    boxes, ignored = truth.boxes[mine & ~truth.ignored], truth.boxes[mine & truth.ignored]
    overlaps = iou_matrix(found.boxes, boxes)
    hit = np.zeros(len(found), np.bool_)
    free = np.ones(len(boxes), np.bool_)
    for row in range(len(found)):
        if not free.any():
            break
        best = int(np.argmax(np.where(free, overlaps[row], -1.0)))
        if overlaps[row, best] >= iou:
            hit[row], free[best] = True, False
    excused = ~hit & (share_inside(found.boxes, ignored) >= 0.5)
    return found.scores[~excused], hit[~excused]


def share_inside(boxes: Boxes, regions: Boxes) -> NDArray[np.float32]:
    """(N,) the largest share of each box that lies in one of the regions."""
    if len(regions) == 0:
        return np.zeros(len(boxes), np.float32)
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    inside = np.maximum(high - low, 0).prod(axis=2)  # (N, regions)
    return inside.max(axis=1) / np.maximum(area(boxes), 1e-6)


def average_precision(matches: Matches) -> float:
    """The area under the precision envelope over recall, at every point; 0 without detections.

    Source: PASCAL VOC 2010 development kit.
    """
    order = np.argsort(-matches.scores, kind="stable")
    found = np.cumsum(matches.hits[order])
    precision = found / np.arange(1, len(order) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0.0], found / matches.n])
    return float((np.diff(recall) * envelope).sum())
