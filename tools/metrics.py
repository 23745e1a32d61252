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
    """What is in one picture; fields as in `datasets.Picture`, boxes and points in the pixels of the detections."""

    boxes: Boxes
    class_ids: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    points: NDArray[np.float32] | None = None


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


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """One picture's detections of one class, best score first, held against its objects.

    Attributes:
        rows: (D,) int64, the detections among those of the picture.
        objects: (D,) int64, the object, a row of the truth, that each is the best one on; -1 where there is none.
        excused: (D,) bool: it is on no object but on an ignored box, and counts neither way.
    """

    rows: NDArray[np.int64]
    objects: NDArray[np.int64]
    excused: NDArray[np.bool_]


def score_class(
    truths: Sequence[Truth], detections: Sequence[Detections], class_id: int, *, threshold: float, iou: float = 0.5
) -> ClassScore:
    """One class's figures over all pictures of sets that label it."""
    return score_matches(collect_matches(truths, detections, class_id, iou=iou), threshold=threshold)


def score_matches(matches: Matches, *, threshold: float) -> ClassScore:
    """The figures of matches that are at hand; a detection at the threshold is shown."""
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
            pairing = pair_class(truth, found, class_id, iou=iou)
            scores.append(found.scores[pairing.rows[~pairing.excused]])
            hits.append(pairing.objects[~pairing.excused] >= 0)
            n += int((~truth.ignored[truth.class_ids == class_id]).sum())
    return Matches(np.concatenate(scores), np.concatenate(hits), n)


def pair_class(truth: Truth, found: Detections, class_id: int, *, iou: float = 0.5) -> Pairing:
    """Give each detection of a class, best score first, the free object that it overlaps most, by `iou` at least."""
    rows = np.flatnonzero(found.class_ids == class_id)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    mine = truth.class_ids == class_id
    counting = np.flatnonzero(mine & ~truth.ignored)
    overlaps = iou_matrix(found.boxes[rows], truth.boxes[counting])
    objects = np.full(len(rows), -1, np.int64)
    free = np.ones(len(counting), np.bool_)
    for position in range(len(rows)):
        if not free.any():
            break
        best = int(np.argmax(np.where(free, overlaps[position], -1.0)))
        if overlaps[position, best] >= iou:
            objects[position], free[best] = counting[best], False
    excused = (objects < 0) & (share_inside(found.boxes[rows], truth.boxes[mine & truth.ignored]) >= 0.5)
    return Pairing(rows, objects, excused)


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
