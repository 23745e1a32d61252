"""The classes and the split that are wanted of a set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from tools.datasets.classes import ONE_CLASS, hint_at, place_of, same_name
from tools.datasets.pictures import VOID, Mask, Part, Picture, PictureSet


def choose_classes(found: PictureSet, classes: Sequence[str]) -> PictureSet:
    """The same set with these classes, by name; what is of other classes is left out and counted.

    A class that the set does not know is not labelled in it. In masks what is not wanted becomes `VOID`.

    Raises:
        InputError: two of the wanted names are one class.
    """
    found = name_objects(found, classes)
    if tuple(classes) == found.classes:
        return found
    places = place_of(classes)
    table = np.array([places.get(same_name(name), -1) for name in found.classes], np.int64)  # ours by theirs
    labelled = np.zeros(len(classes), np.bool_)
    np.logical_or.at(labelled, table[table >= 0], found.labelled[table >= 0])
    chosen: list[Picture] = []
    left_out: Counter[str] = Counter()
    meaning = _mask_meaning(table) if found.part is Part.MASK else None
    for one in found.pictures:
        if found.part is Part.BOXES:
            chosen.append(_with_objects(one, table))
            left_out.update(found.classes[number] for number in one.class_ids if table[number] < 0)
        elif found.part is Part.MASK:
            chosen.append(_with_mask(one, meaning))
        elif same_name(one.label) in places:
            chosen.append(replace(one, label=classes[places[same_name(one.label)]]))
        else:
            left_out[one.label] += 1
    return replace(found, labelled=labelled, pictures=tuple(chosen), classes=tuple(classes), left_out=dict(left_out))


def name_objects(found: PictureSet, classes: Sequence[str]) -> PictureSet:
    """The same set; where its table has no column for the class of a box, the boxes are of the only class that is meant."""
    if found.part is Part.BOXES and found.classes == (ONE_CLASS,) and len(classes) == 1:
        return replace(found, classes=tuple(classes))
    return found


def without_picture_labels(found: PictureSet) -> PictureSet:
    """The same set; if its labels are of whole pictures, without them: of the objects in its pictures nothing is known."""
    if found.part is not Part.LABEL:
        return found
    pictures = tuple(replace(one, label="") for one in found.pictures)
    return replace(found, labelled=np.zeros(0, np.bool_), classes=(), part=Part.BOXES, pictures=pictures)


def choose_points(found: PictureSet, names: Sequence[str]) -> PictureSet:
    """The same set with these points of each object, by name; one that the set does not know is NaN everywhere.

    Args:
        names: none: the set has no points from there on.
    """
    if tuple(names) == found.point_names:
        return found
    table = {name: place for place, name in enumerate(found.point_names)}
    places = [table.get(name) for name in names]
    return replace(found, point_names=tuple(names), pictures=tuple(_with_points(one, places) for one in found.pictures))


def _with_points(one: Picture, places: Sequence[int | None]) -> Picture:
    if not places:
        return replace(one, points=None)
    points = np.full((len(one.boxes), len(places), 2), np.nan, np.float32)
    for column, place in enumerate(places):
        if place is not None and one.points is not None:
            points[:, column] = one.points[:, place]
    return replace(one, points=points)


def _with_objects(one: Picture, table: NDArray[np.int64]) -> Picture:
    class_ids = table[one.class_ids] if len(table) else one.class_ids
    kept = class_ids >= 0
    return replace(
        one,
        boxes=one.boxes[kept],
        class_ids=class_ids[kept],
        ignored=one.ignored[kept],
        points=None if one.points is None else one.points[kept],
    )


def _mask_meaning(table: NDArray[np.int64]) -> NDArray[np.uint8]:
    meaning = np.full(256, VOID, np.uint8)
    meaning[: len(table)] = np.where(table >= 0, table, VOID)
    return meaning


def _with_mask(one: Picture, meaning: NDArray[np.uint8] | None) -> Picture:
    return replace(one, mask=None if one.mask is None else Mask(one.mask.name, one.mask.source, meaning))


def refuse_unseen(sets: Sequence[PictureSet]) -> None:
    """Stop where a class was asked for of which no set has one object, or one picture. Masks are not looked into.

    Raises:
        InputError: naming each such class and what the files have instead.
    """
    boxes = [one for one in sets if one.part is not Part.MASK]
    if not boxes:
        return
    counts = sum((count_classes(one) for one in boxes), Counter())
    left_out = sum((Counter(one.left_out) for one in boxes), Counter())
    unseen = [name for name in boxes[0].classes if not counts[name]]
    if unseen:
        where = ", ".join(one.name for one in sets)
        others = [name for name, _ in left_out.most_common()]
        lines = [f"{where}: class {name!r} is never seen; {hint_at(name, others or list(counts))}" for name in unseen]
        raise InputError("\n".join([*lines, "correct the name, label some, or allow classes without objects"]))


def count_classes(found: PictureSet) -> Counter[str]:
    """Objects of each class that count, or pictures where the label is what is classed."""
    if found.part is Part.LABEL:
        return Counter(one.label for one in found.pictures)
    counts: Counter[str] = Counter()
    for one in found.pictures:
        counts.update(found.classes[number] for number in one.class_ids[~one.ignored])
    return counts
