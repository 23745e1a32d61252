"""What became of every detection and every object, picture by picture: matched once, counted in many ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.types import Detections
from edged.vision.boxes import Boxes, area
from tools.metrics import Matches, Truth, pair_class

SIZES = ("small", "medium", "large")
SIZE_LIMITS_PX = (32, 96)
"""COCO's: an object is medium from 32 x 32 pixels of its picture on, large from 96 x 96 on."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureMatches:
    """Matches of a class that know their pictures.

    Attributes:
        pictures: (D,) int64, the picture of each match.
        objects: (P,) int64, how many objects each picture holds.
    """

    matches: Matches
    pictures: NDArray[np.int64]
    objects: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """All classes of one engine over P pictures, at overlap 0.5.

    Attributes:
        n_pictures: P.
        scores, class_ids, pictures: (D,) of the detections that count.
        hits: (D,) bool: it is the best one on an object.
        sizes: (D,) int64 into SIZES: of the object hit, of the detection itself where it hit none.
        object_class_ids, object_pictures, object_sizes: (M,) of the objects that count.
        object_scores: (M,) float32, the score with which each was found; NaN where it was not.
    """

    n_pictures: int
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    pictures: NDArray[np.int64]
    hits: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    object_class_ids: NDArray[np.int64]
    object_pictures: NDArray[np.int64]
    object_sizes: NDArray[np.int64]
    object_scores: NDArray[np.float32]

    def of_class(self, class_id: int, *, size: int | None = None) -> PictureMatches:
        """The matches of one class, or of its objects of one size alone.

        A detection that hit an object of another size counts neither way, as in COCO's evaluation. There each size is matched
        anew; here it is the one matching of all sizes, so a detection between two sizes can fall to the other one.
        """
        mine, objects = self.class_ids == class_id, self.object_class_ids == class_id
        if size is not None:
            mine, objects = mine & (self.sizes == size), objects & (self.object_sizes == size)
        counts = np.bincount(self.object_pictures[objects], minlength=self.n_pictures)
        return PictureMatches(Matches(self.scores[mine], self.hits[mine], int(objects.sum())), self.pictures[mine], counts)


def size_of(boxes: Boxes) -> NDArray[np.int64]:
    """(N,) which of SIZES each box has."""
    return np.searchsorted(np.square(SIZE_LIMITS_PX), area(boxes), side="right")


def judge(truths: Sequence[Truth], detections: Sequence[Detections], *, class_ids: Sequence[int]) -> Outcomes:
    """Match the detections of some classes to the objects of one set, each picture where it labels the class."""
    parts = [_judge_picture(*each, class_ids) for each in zip(truths, detections, strict=True)]
    return join_outcomes(parts)


def join_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """Pictures of several outcomes as one, in order."""
    starts = np.cumsum([0, *(part.n_pictures for part in parts)])
    columns = {}
    for name in list(Outcomes.__dataclass_fields__)[1:]:
        values = [getattr(part, name) for part in parts]
        if name in ("pictures", "object_pictures"):
            values = [value + start for value, start in zip(values, starts, strict=False)]
        columns[name] = np.concatenate(values)
    return Outcomes(n_pictures=int(starts[-1]), **columns)


def _judge_picture(truth: Truth, found: Detections, class_ids: Sequence[int]) -> Outcomes:
    classes = [class_id for class_id in class_ids if truth.labelled[class_id]]
    pairings = [pair_class(truth, found, class_id) for class_id in classes]
    rows = np.concatenate([np.zeros(0, np.int64), *(each.rows[~each.excused] for each in pairings)])
    objects = np.concatenate([np.zeros(0, np.int64), *(each.objects[~each.excused] for each in pairings)])
    hits = objects >= 0
    found_with = np.full(len(truth.boxes), np.nan, np.float32)
    found_with[objects[hits]] = found.scores[rows[hits]]
    sizes, object_sizes = size_of(found.boxes[rows]), size_of(truth.boxes)
    sizes[hits] = object_sizes[objects[hits]]
    counting = ~truth.ignored & np.isin(truth.class_ids, classes)
    return Outcomes(
        n_pictures=1,
        scores=found.scores[rows],
        class_ids=found.class_ids[rows],
        pictures=np.zeros(len(rows), np.int64),
        hits=hits,
        sizes=sizes,
        object_class_ids=truth.class_ids[counting],
        object_pictures=np.zeros(int(counting.sum()), np.int64),
        object_sizes=object_sizes[counting],
        object_scores=found_with[counting],
    )
