"""What a detector gets wrong at its shipped thresholds: each miss and each false alarm, with its likely cause.

Source: the causes follow TIDE (Bolya et al., A General Toolbox for Identifying Object Detection Errors, ECCV 2020), at
overlap 0.5 and 0.1; "crowded" and "weak" split its "missed" by what suppression and threshold did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edged.models.manifest import SCORE_FLOOR
from edged.types import Detections
from edged.vision.boxes import area, iou_matrix
from tools.metrics import Truth, pair_class

HIT_IOU = 0.5
NEAR_IOU = 0.1
"""A box that overlaps an object by less has nothing to do with it."""


class MissCause(str, Enum):
    """Why an object was not found; the first that fits."""

    CONFUSED = "taken for another class"
    WEAK = "found, but below its threshold"
    CROWDED = "one box for two objects"
    OFF = "box too far off"
    NOTHING = "nothing found there"


class AlarmCause(str, Enum):
    """Why a detection is wrong; the first that fits."""

    TWICE = "second box on one object"
    CONFUSED = "object of another class"
    OFF = "box too far off"
    NOTHING = "nothing labelled there"


@dataclass(frozen=True, slots=True)
class Miss:
    """An object that no believed detection of its class hit.

    Attributes:
        picture, row: which picture, and which row of its truth.
        share: of the picture that its box covers.
        nearest: row of the detection that speaks for the cause, where several do the one that overlaps it most; None without.
        overlap: with that one; 0 without.
    """

    picture: int
    row: int
    class_id: int
    share: float
    cause: MissCause
    nearest: int | None
    overlap: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """A believed detection that hit no object of its class.

    Attributes:
        picture, row: which picture, and which row of its detections.
        nearest: row of the object that speaks for the cause, where several do the one that it overlaps most; None without.
        overlap: with that one; 0 without.
    """

    picture: int
    row: int
    class_id: int
    score: float
    cause: AlarmCause
    nearest: int | None
    overlap: float


@dataclass(frozen=True, slots=True, eq=False)
class Mistakes:
    """All mistakes over some pictures.

    Attributes:
        misses, alarms: in the order of the pictures.
        confusion: (C + 1, C + 1) int64, rows the class that it is, columns the class that was said; the last is "nothing".
            Detections of a class that a picture does not label are there only where they take an object for another.
    """

    misses: tuple[Miss, ...]
    alarms: tuple[Alarm, ...]
    confusion: NDArray[np.int64]


def find_mistakes(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    sizes: NDArray[np.int64],
    *,
    thresholds: Mapping[int, float],
    n_classes: int,
) -> Mistakes:
    """Every mistake of one engine.

    Args:
        sizes: (N, 2) width and height of the pictures.
        thresholds: score from which each class is believed, by class id; a class without one cannot be found, nor missed.
    """
    misses, alarms, confusion = [], [], np.zeros((n_classes + 1, n_classes + 1), np.int64)
    for number, (truth, found, (width, height)) in enumerate(zip(truths, detections, sizes, strict=True)):
        scene = _make_scene(truth, found, thresholds)
        misses += [scene.miss(number, row, float(width * height)) for row in scene.missed]
        alarms += [scene.alarm(number, row) for row in scene.invented]
        np.add.at(confusion, tuple(np.array(scene.said(n_classes), np.int64).reshape(-1, 2).T), 1)
    return Mistakes(tuple(misses), tuple(alarms), confusion)


def worst_misses(misses: Iterable[Miss], class_id: int, *, limit: int) -> list[Miss]:
    """The largest missed objects of a class, by share of their picture, one a picture."""
    return _one_a_picture(sorted((each for each in misses if each.class_id == class_id), key=lambda each: -each.share), limit)


def worst_alarms(alarms: Iterable[Alarm], class_id: int, *, limit: int) -> list[Alarm]:
    """The surest false alarms of a class, one a picture."""
    return _one_a_picture(sorted((each for each in alarms if each.class_id == class_id), key=lambda each: -each.score), limit)


def _one_a_picture(ranked: Sequence[Miss] | Sequence[Alarm], limit: int) -> list:
    first = {}
    for each in ranked:
        first.setdefault(each.picture, each)
    return list(first.values())[:limit]


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """One picture: which objects were found by which believed detections, and what is left on both sides.

    Attributes:
        believed: (D,) bool: it reaches the threshold of its class.
        overlaps: (D, M) of every detection with every object.
        hits: believed detection -> the object of its class that it hit.
        missed: objects of the classes with a threshold that none hit.
        confused: believed detection without a hit -> the missed object of another class that it overlaps.
        invented: believed detections of labelled classes that hit nothing and are not excused.
    """

    truth: Truth
    found: Detections
    believed: NDArray[np.bool_]
    overlaps: NDArray[np.float32]
    hits: dict[int, int]
    missed: list[int]
    confused: dict[int, int]
    invented: list[int]

    def said(self, n_classes: int) -> list[tuple[int, int]]:
        """(class that it is, class that was said) of every judged object and every invented detection; n_classes is nothing."""
        is_class, said_class = self.truth.class_ids, self.found.class_ids
        pairs = [(int(is_class[o]), int(said_class[d])) for d, o in [*self.hits.items(), *self.confused.items()]]
        pairs += [(int(is_class[o]), n_classes) for o in self.missed if o not in self.confused.values()]
        return pairs + [(n_classes, int(said_class[d])) for d in self.invented if d not in self.confused]

    def miss(self, picture: int, row: int, picture_area: float) -> Miss:
        class_id, overlaps = int(self.truth.class_ids[row]), self.overlaps[:, row]
        mine, reported = self.found.class_ids == class_id, self.found.scores >= SCORE_FLOOR
        confusing = np.isin(np.arange(len(self.found)), [said for said, missed in self.confused.items() if missed == row])
        cause, fitting = _first_that_fits(
            (MissCause.CONFUSED, confusing),
            (MissCause.WEAK, mine & reported & ~self.believed & (overlaps >= HIT_IOU)),
            (MissCause.CROWDED, mine & self.believed & (overlaps >= HIT_IOU)),
            (MissCause.OFF, mine & self.believed & (overlaps >= NEAR_IOU)),
            (MissCause.NOTHING, reported & (overlaps >= NEAR_IOU)),
        )
        share = float(area(self.truth.boxes[row : row + 1])[0]) / picture_area
        return Miss(picture, row, class_id, share, cause, *_nearest(fitting, overlaps))

    def alarm(self, picture: int, row: int) -> Alarm:
        class_id, overlaps = int(self.found.class_ids[row]), self.overlaps[row]
        mine = self.truth.class_ids == class_id
        cause, fitting = _first_that_fits(
            (AlarmCause.TWICE, mine & (overlaps >= HIT_IOU)),
            (AlarmCause.CONFUSED, ~mine & (overlaps >= HIT_IOU)),
            (AlarmCause.OFF, mine & (overlaps >= NEAR_IOU)),
            (AlarmCause.NOTHING, overlaps >= NEAR_IOU),
        )
        return Alarm(picture, row, class_id, float(self.found.scores[row]), cause, *_nearest(fitting, overlaps))


def _make_scene(truth: Truth, found: Detections, thresholds: Mapping[int, float]) -> _Scene:
    wanted = np.array([thresholds.get(class_id, np.inf) for class_id in found.class_ids.tolist()])
    believed = found.scores >= wanted
    hits: dict[int, int] = {}
    left: list[int] = []
    for class_id in thresholds:
        pairing = pair_class(truth, found[believed], class_id, iou=HIT_IOU)
        rows = np.flatnonzero(believed)[pairing.rows]
        if truth.labelled[class_id]:
            hits.update((int(row), int(hit)) for row, hit in zip(rows, pairing.objects, strict=True) if hit >= 0)
        left += rows[(pairing.objects < 0) & ~pairing.excused].tolist()
    left.sort(key=lambda row: -found.scores[row])
    judged = ~truth.ignored & truth.labelled[truth.class_ids] & np.isin(truth.class_ids, list(thresholds))
    missed = sorted(set(np.flatnonzero(judged).tolist()) - set(hits.values()))
    overlaps = iou_matrix(found.boxes, truth.boxes)
    invented = [row for row in left if truth.labelled[found.class_ids[row]]]
    return _Scene(truth, found, believed, overlaps, hits, missed, _confuse(left, missed, overlaps), invented)


def _confuse(left: Sequence[int], missed: Sequence[int], overlaps: NDArray[np.float32]) -> dict[int, int]:
    """Give each detection that is left, best score first, the missed object that it overlaps most, by HIT_IOU at least."""
    confused, free = {}, list(missed)
    for row in left:
        best = max(free, key=lambda each: overlaps[row, each], default=None)
        if best is not None and overlaps[row, best] >= HIT_IOU:
            confused[row] = best
            free.remove(best)
    return confused


def _first_that_fits(*causes: tuple[Enum, NDArray[np.bool_]]) -> tuple[Enum, NDArray[np.bool_]]:
    """The first cause with a box that speaks for it, and which boxes do; the last one needs none."""
    return next(((cause, fitting) for cause, fitting in causes if fitting.any()), causes[-1])


def _nearest(fitting: NDArray[np.bool_], overlaps: NDArray[np.float32]) -> tuple[int | None, float]:
    """The box that overlaps most among those that fit, and its overlap."""
    if not fitting.any():
        return None, 0.0
    best = int(np.where(fitting, overlaps, -1.0).argmax())
    return best, float(overlaps[best])
