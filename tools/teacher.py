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
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.models.detector import Detector, DetectorThresholds
from edged.types import Detections
from edged.vision.boxes import iou_matrix
from tools.datasets import CLASSES, Picture, PictureSet
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


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What to do with each of our classes.

    Attributes:
        fills: (classes,) bool: not labelled so far, labelled from now on.
        ignores: (classes,) bool: labelled, but with gaps.
        sure, doubtful: (classes,) scores; of no meaning for all other classes.
    """

    fills: NDArray[np.bool_]
    ignores: NDArray[np.bool_]
    sure: NDArray[np.float32]
    doubtful: NDArray[np.float32]


def fill_gaps(
    pictures: PictureSet, teacher: Detector, *, sure: Scores, doubtful: Scores, also_ignore_unlabelled: bool = False
) -> PictureSet:
    """The set with labels and ignored boxes of the teacher added, by the rules above. Classes are told by name.

    A class that is filled counts as labelled everywhere from then on: where the teacher is silent, nothing is there. So leave
    classes out that the teacher hardly ever finds, by naming the others.

    Args:
        sure: from here on a detection of a class that the set does not label becomes a label.
        doubtful: from here on it becomes an ignored box; at most `sure`.
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
    sure_scores, doubtful_scores = _by_class(sure, teacher, "sure"), _by_class(doubtful, teacher, "doubtful")
    if sure_scores.keys() != doubtful_scores.keys():
        raise InputError(
            f"teacher: sure is for {sorted(sure_scores)}, doubtful for {sorted(doubtful_scores)}: name the same classes"
        )
    for name, score in sure_scores.items():
        if not 0 < doubtful_scores[name] <= score <= 1 or doubtful_scores[name] == 1:
            found = f"doubtful {doubtful_scores[name]:g}, sure {score:g}"
            raise InputError(f"teacher: {name}: expected 0 < doubtful <= sure <= 1 and doubtful below 1, got {found}")
    meant = np.array([name in sure_scores for name in CLASSES])
    return _Plan(
        fills=meant & ~pictures.labelled,
        ignores=meant & pictures.labelled & also_ignore_unlabelled,
        sure=np.array([sure_scores.get(name, np.inf) for name in CLASSES], np.float32),
        doubtful=np.array([doubtful_scores.get(name, np.inf) for name in CLASSES], np.float32),
    )


def _by_class(scores: Scores, teacher: Detector, key: str) -> dict[str, float]:
    """The score of every class that is meant."""
    known = [name for name in CLASSES if name in teacher.class_names]
    if not isinstance(scores, Mapping):
        return dict.fromkeys(known, float(scores))
    strange = sorted(set(scores) - set(known))
    if strange:
        raise InputError(
            f"teacher: {key}: {', '.join(strange)}: expected classes that are ours and the teacher's: {', '.join(known)}"
        )
    return {name: float(score) for name, score in scores.items()}


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
    ours = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in teacher.class_names])
    found = Detections(found.boxes, found.scores, ours[found.class_ids])
    found = found[found.class_ids >= 0]
    return found[used[found.class_ids] & (found.scores >= plan.doubtful[found.class_ids])]


def _fill(picture: Picture, found: Detections, plan: _Plan) -> Picture:
    """The picture with what is new in the detections."""
    found = found[
        ~_is_known(picture, found) & ~_contradicts(found, picture.boxes, picture.class_ids, ~picture.ignored).any(axis=1)
    ]
    better = np.tri(len(found), k=-1, dtype=np.bool_)  # [i, j]: j has the higher score
    is_open = (_contradicts(found, found.boxes, found.class_ids, np.ones(len(found), np.bool_)) & better).any(axis=1)
    is_open |= _may_ride(picture, found)
    is_label = plan.fills[found.class_ids] & (found.scores >= plan.sure[found.class_ids]) & ~is_open
    return replace(
        picture,
        boxes=np.concatenate([picture.boxes, found.boxes]),
        class_ids=np.concatenate([picture.class_ids, found.class_ids]),
        ignored=np.concatenate([picture.ignored, ~is_label]),
    )


def _is_known(picture: Picture, found: Detections) -> NDArray[np.bool_]:
    """(N,) a box of the same class, label or ignored, is there already."""
    same = found.class_ids[:, None] == picture.class_ids[None, :]  # (N, M)
    return (same & (iou_matrix(found.boxes, picture.boxes) >= SAME_OBJECT_IOU)).any(axis=1)


def _may_ride(picture: Picture, found: Detections) -> NDArray[np.bool_]:
    """(N,) a person who stands in a bicycle or motorcycle of the labels."""
    ridden = picture.boxes[np.isin(picture.class_ids, [CLASSES.index(name) for name in RIDDEN])]
    inside = share_inside(found.boxes, ridden) >= INSIDE_RATIO
    return (found.class_ids == CLASSES.index("person")) & inside


def _contradicts(
    found: Detections, boxes: NDArray[np.float32], class_ids: NDArray[np.int64], counts: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(N, M) whether a detection and a box claim the same place for classes that exclude each other."""
    overlaps = iou_matrix(found.boxes, boxes) >= SAME_PLACE_IOU
    return overlaps & _EXCLUDES[found.class_ids[:, None], class_ids[None, :]] & counts[None, :]


def _excludes(one: str, other: str) -> bool:
    return one != other and not ("person" in (one, other) and (one in RIDDEN or other in RIDDEN))


_EXCLUDES = np.array([[_excludes(one, other) for other in CLASSES] for one in CLASSES])
"""(classes, classes) whether one object can be only one of the two."""


def _log_added(pictures: PictureSet, filled: tuple[Picture, ...], class_id: int, teacher: Detector) -> None:
    counts = [0, 0]
    for before, after in zip(pictures.pictures, filled, strict=True):
        new = after.ignored[len(before.boxes) :][after.class_ids[len(before.boxes) :] == class_id]
        counts[0] += int((~new).sum())
        counts[1] += int(new.sum())
    message = "gaps filled: set=%s class=%s labels=%d ignored=%d teacher=%s"
    log.info(message, pictures.name, CLASSES[class_id], *counts, teacher.manifest.name)
