"""Filling the gaps of labels: what a set does not label, a network that knows it says.

Rules, for every detection of the teacher in a picture:

- It is left out where a box of its class is already: that object is known.
- It is left out where it contradicts a label: a box of another class that fills the same place. What people labelled stands.
- Where it contradicts a better detection, nobody knows what it is: it is ignored.
- A person of whom half or more lies in a labelled bicycle or motorcycle is ignored: a rider, or the motorcycle taken for one.
- Else it becomes a label from `sure` on, and an ignored box from `doubtful` on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from edged.assembly import open_detector
from edged.errors import InputError, ModelError
from edged.models.detector import Detector, DetectorThresholds
from edged.types import Detections
from edged.vision.boxes import iou_matrix
from tools.datasets import Picture, PictureSet
from tools.engines import EngineFolder
from tools.metrics import share_inside

log = logging.getLogger(__name__)

SAME_OBJECT_IOU = 0.3
"""Two boxes of one class that overlap by this much are one object, badly framed by one of them: an ignored box there would
switch off what the label teaches around it."""
SAME_PLACE_IOU = 0.5
"""Boxes of two classes that overlap by this much cannot both be right."""
INSIDE_RATIO = 0.5
RIDDEN = ("bicycle", "motorcycle")
"""A rider stands in these, so they and a person do not contradict each other."""

Scores = float | Mapping[str, float]
"""One score for all classes, or one by name for each class that is meant."""


class GapSettings(BaseModel):
    """Who fills the gaps of a training's sets.

    Attributes:
        engine: directory of an engine of any origin.
        sure, doubtful: as in `fill_gaps`.
        also_ignore_unlabelled: the sets in which what is labelled has gaps, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: EngineFolder
    sure: float | dict[str, float]
    doubtful: float | dict[str, float]
    also_ignore_unlabelled: tuple[str, ...] = ()

    def check(self, *, sets: Sequence[str], classes: Sequence[str]) -> None:
        """Refuse what does not belong to a training, before anything is read.

        Raises:
            ValueError: scores that cannot be, a class or a set that it does not have.
        """
        _pair_scores(self.sure, self.doubtful, known=classes, whose="of this training")
        strange = [name for name in self.also_ignore_unlabelled if name not in sets]
        if strange:
            raise ValueError(f"also_ignore_unlabelled: {', '.join(strange)}: expected names under sets: {', '.join(sets)}")


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What to do with each class of a set.

    Attributes:
        classes: their names.
        fills: (classes,) bool: not labelled so far, labelled from now on.
        ignores: (classes,) bool: labelled, but with gaps.
        sure, doubtful: (classes,) scores; of no meaning for all other classes.
        excludes: (classes, classes) bool: one object can be only one of the two.
    """

    classes: tuple[str, ...]
    fills: NDArray[np.bool_]
    ignores: NDArray[np.bool_]
    sure: NDArray[np.float32]
    doubtful: NDArray[np.float32]
    excludes: NDArray[np.bool_]


def fill_sets(sets: Mapping[str, PictureSet], settings: GapSettings, *, threads: int) -> list[PictureSet]:
    """The sets in their order, each filled by `fill_gaps`.

    Args:
        sets: by the names that the settings use.
        threads: of ONNX Runtime.

    Raises:
        InputError: the engine cannot be opened; a class that it or a set does not have; a picture cannot be decoded.
    """
    try:
        teacher = open_detector(settings.engine, threads=threads)
    except ModelError as error:
        hint = "name a directory with model.yaml and its network, e.g. one made by tools.import_darknet"
        raise InputError(f"gaps: engine: {settings.engine} cannot be used: {hint}\n{error}") from error
    with teacher:
        log.info("filling gaps: pictures=%d teacher=%s", sum(len(one.pictures) for one in sets.values()), teacher.label)
        return [
            fill_gaps(
                one,
                teacher,
                sure=settings.sure,
                doubtful=settings.doubtful,
                also_ignore_unlabelled=name in settings.also_ignore_unlabelled,
            )
            for name, one in sets.items()
        ]


def fill_gaps(
    pictures: PictureSet, teacher: Detector, *, sure: Scores, doubtful: Scores, also_ignore_unlabelled: bool = False
) -> PictureSet:
    """The set with labels and ignored boxes of the teacher added, by the rules above. Classes are told by name.

    A class that is filled counts as labelled everywhere from then on: where the teacher is silent, nothing is there. So leave
    classes out that the teacher hardly ever finds, by naming the others.

    Args:
        sure: from here on a detection of a class that the set does not label becomes a label.
        doubtful: from here on it becomes an ignored box; at most `sure`. Where one of the two is a number and the other has
            names, it is the number of those.
        also_ignore_unlabelled: detections from `doubtful` on of classes that the set labels, where there is no label, become
            ignored boxes: for sets known to have gaps. They never become labels.

    Raises:
        InputError: a score or a class that cannot be; a picture cannot be decoded.
    """
    plan = _plan(pictures, teacher, sure=sure, doubtful=doubtful, also_ignore_unlabelled=also_ignore_unlabelled)
    filled = tuple(_fill(picture, _detect(teacher, picture, plan), plan) for picture in pictures.pictures)
    for class_id in np.flatnonzero(plan.fills | plan.ignores):
        _log_added(pictures, filled, class_id, teacher)
    return replace(pictures, labelled=pictures.labelled | plan.fills, pictures=filled)


def _plan(pictures: PictureSet, teacher: Detector, *, sure: Scores, doubtful: Scores, also_ignore_unlabelled: bool) -> _Plan:
    classes = pictures.classes
    known = [name for name in classes if name in teacher.class_names]
    if not known:
        raise InputError(f"gaps: {teacher.manifest.name} finds none of {', '.join(classes)}: take a network that does")
    try:
        pairs = _pair_scores(sure, doubtful, known=known, whose=f"that are ours and the teacher's, {teacher.manifest.name}")
    except ValueError as error:
        raise InputError(f"gaps: {error}") from error
    meant = np.array([name in pairs for name in classes])
    scores = np.array([pairs.get(name, (np.inf, np.inf)) for name in classes], np.float32)
    return _Plan(
        classes=classes,
        fills=meant & ~pictures.labelled,
        ignores=meant & pictures.labelled & also_ignore_unlabelled,
        sure=scores[:, 0],
        doubtful=scores[:, 1],
        excludes=np.array([[_excludes(one, other) for other in classes] for one in classes]),
    )


def _pair_scores(sure: Scores, doubtful: Scores, *, known: Sequence[str], whose: str) -> dict[str, tuple[float, float]]:
    """(sure, doubtful) of every class that is meant: of those that are named, or of all that are known.

    Raises:
        ValueError: naming the key.
    """
    named = {key: scores for key, scores in (("sure", sure), ("doubtful", doubtful)) if isinstance(scores, Mapping)}
    for key, scores in named.items():
        if strange := [name for name in scores if name not in known]:
            raise ValueError(f"{key}: {', '.join(strange)}: expected classes {whose}: {', '.join(known)}")
    if len(named) == 2 and sure.keys() != doubtful.keys():
        raise ValueError(f"sure is for {sorted(sure)}, doubtful for {sorted(doubtful)}: name the same classes")
    meant = next(iter(named.values()), known)
    pairs = {name: tuple(float(one[name] if isinstance(one, Mapping) else one) for one in (sure, doubtful)) for name in meant}
    for name, (high, low) in pairs.items():
        if not 0 < low <= high <= 1 or low == 1:
            raise ValueError(
                f"{name}: expected 0 < doubtful <= sure <= 1 and doubtful below 1, got doubtful {low:g}, sure {high:g}"
            )
    return pairs


def _detect(teacher: Detector, picture: Picture, plan: _Plan) -> Detections:
    """What the teacher sees of the classes that are planned for, from doubtful on, our class ids, in descending score."""
    used = plan.fills | plan.ignores
    if not used.any():
        return Detections.empty()
    low = DetectorThresholds(
        score=float(plan.doubtful[used].min()),
        nms_iou=teacher.thresholds.nms_iou,
        nms_iou_by_class=teacher.thresholds.nms_iou_by_class,
        floor=float(plan.doubtful[used].min()),
    )
    (found,) = teacher.detect([picture.pixels_rgb()], thresholds=[low])
    ours = np.array([plan.classes.index(name) if name in plan.classes else -1 for name in teacher.class_names])
    found = Detections(found.boxes, found.scores, ours[found.class_ids])
    found = found[found.class_ids >= 0]
    return found[used[found.class_ids] & (found.scores >= plan.doubtful[found.class_ids])]


def _fill(picture: Picture, found: Detections, plan: _Plan) -> Picture:
    """The picture with what is new in the detections."""
    against_labels = _contradicts(found, picture.boxes, picture.class_ids, plan) & ~picture.ignored  # (N, M)
    found = found[~_is_known(picture, found) & ~against_labels.any(axis=1)]
    better = np.tri(len(found), k=-1, dtype=np.bool_)  # [i, j]: j has the higher score
    is_open = (_contradicts(found, found.boxes, found.class_ids, plan) & better).any(axis=1)
    is_open |= _may_ride(picture, found, plan)
    points = picture.points
    if points is not None:
        points = np.concatenate([points, np.full((len(found), *points.shape[1:]), np.nan, np.float32)])
    is_label = plan.fills[found.class_ids] & (found.scores >= plan.sure[found.class_ids]) & ~is_open
    return replace(
        picture,
        boxes=np.concatenate([picture.boxes, found.boxes]),
        class_ids=np.concatenate([picture.class_ids, found.class_ids]),
        ignored=np.concatenate([picture.ignored, ~is_label]),
        points=points,
    )


def _is_known(picture: Picture, found: Detections) -> NDArray[np.bool_]:
    """(N,) a box of the same class, label or ignored, is there already."""
    same = found.class_ids[:, None] == picture.class_ids[None, :]  # (N, M)
    return (same & (iou_matrix(found.boxes, picture.boxes) >= SAME_OBJECT_IOU)).any(axis=1)


def _may_ride(picture: Picture, found: Detections, plan: _Plan) -> NDArray[np.bool_]:
    """(N,) a person who stands in a bicycle or motorcycle of the labels."""
    is_ridden, is_person = np.isin(plan.classes, RIDDEN), np.isin(plan.classes, "person")  # (classes,)
    inside = share_inside(found.boxes, picture.boxes[is_ridden[picture.class_ids]]) >= INSIDE_RATIO
    return is_person[found.class_ids] & inside


def _contradicts(found: Detections, boxes: NDArray[np.float32], class_ids: NDArray[np.int64], plan: _Plan) -> NDArray[np.bool_]:
    """(N, M) whether a detection and a box claim the same place for classes that exclude each other."""
    overlaps = iou_matrix(found.boxes, boxes) >= SAME_PLACE_IOU
    return overlaps & plan.excludes[found.class_ids[:, None], class_ids[None, :]]


def _excludes(one: str, other: str) -> bool:
    return one != other and not ("person" in (one, other) and (one in RIDDEN or other in RIDDEN))


def _log_added(pictures: PictureSet, filled: tuple[Picture, ...], class_id: int, teacher: Detector) -> None:
    counts = [0, 0]
    for before, after in zip(pictures.pictures, filled, strict=True):
        new = after.ignored[len(before.boxes) :][after.class_ids[len(before.boxes) :] == class_id]
        counts[0] += int((~new).sum())
        counts[1] += int(new.sum())
    message = "gaps filled: set=%s class=%s labels=%d ignored=%d teacher=%s"
    log.info(message, pictures.name, pictures.classes[class_id], *counts, teacher.manifest.name)
