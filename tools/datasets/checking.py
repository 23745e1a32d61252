"""Whether a folder of labelled pictures can be trained on: every mistake, and what is suspicious."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.types import Pixels
from edged.vision.boxes import iou_matrix
from tools.datasets.choosing import choose_classes, count_classes, refuse_unseen
from tools.datasets.encoding import decode_indexes, decode_rgb, find_damage, is_turned
from tools.datasets.leaks import Sight, find_near, find_same, make_sight
from tools.datasets.mistakes import Mistakes
from tools.datasets.opening import Layout, find_layout, read_set
from tools.datasets.pictures import VOID, Part, Picture, PictureSet, read_source

FEWEST = 20
"""A class with fewer objects in a split is told: its figures would say little, and `tools.calibrate` gives none."""
LEAST_SIDE_PX = 3.0
OUTSIDE_PX = 1.0
"""A box may reach so far over the edge: tools round."""
SAME_OVERLAP = 0.95
"""Two boxes of one class that overlap more are one object labelled twice."""
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something that may be meant, but rarely is.

    Attributes:
        code: stable name for programs, e.g. `leak.same`.
        message: what it is and what to do.
        examples: some of the places.
    """

    code: str
    message: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        found: the set, without what is wrong in it.
        mistakes: what makes a picture or a label unusable.
        suspicions: what may be meant.
    """

    layout: Layout
    found: PictureSet
    mistakes: Mistakes
    suspicions: tuple[Suspicion, ...]


@dataclass(slots=True)
class _Counted:
    """Places of one kind of suspicion: how many, and the first ones."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


def check_folder(folder: Path, *, classes: Sequence[str] | None = None, layout: Layout | None = None, most: int = 20) -> Report:
    """Read and decode everything.

    Args:
        classes: the wanted ones; None: those of the files.
        most: so many mistakes are told one by one.

    Raises:
        InputError: nothing can be read at all.
    """
    mistakes = Mistakes(folder, most=most)
    layout = layout or find_layout(folder)
    found = read_set(folder, split=None, layout=layout, mistakes=mistakes)
    looks = [_look_at(one, found, mistakes) for one in found.pictures]
    seen = [(one, look) for one, look in zip(found.pictures, looks, strict=True) if look is not None]
    suspicions = [*_suspect_pictures(seen), *_suspect_leaks(seen), *_suspect_objects(seen, found)]
    if classes is not None:
        found = choose_classes(found, classes)
        try:
            refuse_unseen([found])
        except InputError as error:
            mistakes.add(found.name, "classes", str(error))
    return Report(layout, found, mistakes, (*suspicions, *_suspect_classes(found)))


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What is kept of a decoded picture."""

    sight: Sight
    width: int
    height: int
    is_turned: bool


def _look_at(one: Picture, found: PictureSet, mistakes: Mistakes) -> _Look | None:
    """Decode a picture and its mask; None where that does not go."""
    place = f"named by {one.origin.place}" if one.origin.place else ""
    file = one.origin.file or one.name
    try:
        encoded = one.encoded
        damage = find_damage(encoded)
        pixels = None if damage else decode_rgb(encoded)
    except InputError as error:
        damage, encoded, pixels = str(error), b"", None
    if pixels is None:
        mistakes.add(file, place, f"{damage}; replace the file or take it out of the labels")
        return None
    height, width = pixels.shape[:2]
    turned = is_turned(encoded)
    if one.origin.size_px and one.origin.size_px != (width, height):
        hint = "the EXIF orientation turns it: store it upright" if turned else "was it scaled after labelling?"
        told = "{}x{}".format(*one.origin.size_px)
        mistakes.add(file, place, f"labelled as {told}, but the picture is {width}x{height}; {hint}")
    if one.mask is not None:
        _check_mask(one, pixels, found, mistakes)
    return _Look(make_sight(encoded, pixels), width, height, turned)


def _check_mask(one: Picture, pixels: Pixels, found: PictureSet, mistakes: Mistakes) -> None:
    place = f"mask of {one.origin.file}"
    file = one.mask.name.partition("/")[2]
    encoded = read_source(one.mask.source)
    indexes = decode_indexes(encoded)
    if damage := find_damage(encoded):
        mistakes.add(file, place, f"{damage}; replace the file")
    elif indexes is None:
        mistakes.add(file, place, "expected a PNG of one 8-bit channel, a class index each pixel; replace the file")
    elif indexes.shape != pixels.shape[:2]:
        shapes = [f"{shape[1]}x{shape[0]}" for shape in (indexes.shape, pixels.shape)]
        mistakes.add(file, place, f"is {shapes[0]}, the picture {shapes[1]}; expected the same size")
    else:
        known = len(found.classes)
        unknown = sorted(set(np.unique(indexes).tolist()) - {*range(known), VOID})
        if unknown:
            mistakes.add(
                file, place, f"index {', '.join(map(str, unknown[:8]))}: no such class; expected 0 to {known - 1}, or {VOID}"
            )


def _suspect_pictures(seen: Sequence[tuple[Picture, _Look]]) -> Iterator[Suspicion]:
    turned = [one.name for one, look in seen if look.is_turned]
    if turned:
        message = (
            f"pictures with an EXIF orientation: {len(turned)}; boxes are taken in the picture as stored, better store it upright"
        )
        yield Suspicion("picture.turned", message, tuple(turned[:EXAMPLES]))
    splits = Counter(one.origin.split for one, _ in seen)
    if unlisted := splits.pop("unlisted", 0):
        yield Suspicion("split.unlisted", f"pictures in no list of a split: {unlisted}; they are never used")
    for split in ("train", "val"):
        if seen and not splits[split] and "" not in splits:
            message = f"no picture in split {split}; `python -m tools.dataset split` makes one"
            yield Suspicion("split.empty", message)


def _suspect_leaks(seen: Sequence[tuple[Picture, _Look]]) -> Iterator[Suspicion]:
    sights, splits = [look.sight for _, look in seen], [one.origin.split for one, _ in seen]
    names = [one.origin.file or one.name for one, _ in seen]
    same = find_same(sights)
    across = [pair for pair in same if splits[pair[0]] != splits[pair[1]]]
    within = [pair for pair in same if splits[pair[0]] == splits[pair[1]]]

    def shown(pairs: list[tuple[int, int]]) -> tuple[str, ...]:
        return tuple(f"{names[a]} ({splits[a]}) and {names[b]} ({splits[b]})" for a, b in pairs[:EXAMPLES])

    if across:
        message = f"pictures in two splits: {len(across)}; figures on val will be too good, keep one of each or split by group"
        yield Suspicion("leak.same", message, shown(across))
    if near := find_near(sights, splits):
        message = f"pictures that look nearly like one of train: {len(near)}; if they are of one scene, split by group"
        yield Suspicion("leak.near", message, shown(near))
    if within:
        yield Suspicion("picture.double", f"pictures that are there twice in one split: {len(within)}", shown(within))


def _suspect_objects(seen: Sequence[tuple[Picture, _Look]], found: PictureSet) -> Iterator[Suspicion]:
    if found.part is not Part.BOXES:
        return
    outside, small, twice, points = _Counted(), _Counted(), _Counted(), _Counted()
    for one, look in seen:
        place = one.origin.file or one.name
        for row in np.flatnonzero(reaches_outside(one.boxes, width=look.width, height=look.height)):
            outside.add(f"{place}: {_told(one, row, found)} in {look.width}x{look.height}")
        sides = one.boxes[:, 2:] - one.boxes[:, :2]
        for row in np.flatnonzero((sides < LEAST_SIDE_PX).any(axis=1) & ~one.ignored):
            small.add(f"{place}: {_told(one, row, found)}")
        for row in np.flatnonzero(labelled_twice(one)):
            twice.add(f"{place}: {_told(one, row, found)}")
        if one.points is not None and ((one.points < 0) | (one.points > (look.width, look.height))).any():
            points.add(place)
    kinds = (
        ("box.outside", outside, "boxes that reach out of their picture: {}; they are cut when used"),
        ("box.small", small, f"boxes with a side under {LEAST_SIDE_PX:g} px: {{}}; remove them or mark them as ignored"),
        ("box.twice", twice, "boxes that lie on another of their class: {}; is one object labelled twice?"),
        ("point.outside", points, "pictures with points outside of them: {}"),
    )
    for code, counted, message in kinds:
        if counted.count:
            yield Suspicion(code, message.format(counted.count), tuple(counted.examples))


def reaches_outside(boxes: NDArray[np.float32], *, width: int, height: int) -> NDArray[np.bool_]:
    """(M,) whether each box (M, 4) reaches more than `OUTSIDE_PX` out of a picture of this size."""
    low, high = boxes[:, :2], boxes[:, 2:] - np.array([width, height], np.float32)
    return (low < -OUTSIDE_PX).any(axis=1) | (high > OUTSIDE_PX).any(axis=1)


def labelled_twice(one: Picture) -> NDArray[np.bool_]:
    """(M,) whether an earlier box of the same class lies on each box."""
    same = (iou_matrix(one.boxes, one.boxes) > SAME_OVERLAP) & (one.class_ids[:, None] == one.class_ids[None])
    return np.tril(same, -1).any(axis=1)


def _told(one: Picture, row: int, found: PictureSet) -> str:
    corners = ", ".join(f"{edge:.1f}" for edge in one.boxes[row])
    return f"{found.classes[one.class_ids[row]]} at {corners}"


def _suspect_classes(found: PictureSet) -> Iterator[Suspicion]:
    if found.left_out:
        what = "pictures" if found.part is Part.LABEL else "objects"
        told = ", ".join(f"{name} {count}" for name, count in Counter(found.left_out).most_common(EXAMPLES))
        yield Suspicion("class.left_out", f"{what} of classes that are not wanted: {sum(found.left_out.values())} ({told})")
    if found.part is not Part.BOXES:
        return
    known = [name for name, is_labelled in zip(found.classes, found.labelled, strict=True) if is_labelled]
    for split in ("train", "val"):
        pictures = tuple(one for one in found.pictures if one.origin.split == split)
        counts = count_classes(PictureSet(found.name, found.labelled, pictures, found.classes))
        few = [f"{name} {counts[name]}" for name in known if counts[name] < FEWEST]
        if pictures and few:
            yield Suspicion("class.few", f"fewer than {FEWEST} objects in {split}: {', '.join(few)}")
