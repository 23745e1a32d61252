"""What is in a set, in figures: pictures, objects, sizes and shapes, by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.vision.letterbox import make_transform
from tools.datasets.encoding import picture_size
from tools.datasets.pictures import VOID, Part, Picture, PictureSet

SMALL_PX2, MEDIUM_PX2 = 32.0**2, 96.0**2
"""Areas below which an object counts as small, and as medium.

Source: the evaluation of COCO, Lin et al. 2014; there the box stands for the mask here.
"""
SIZES = ("small", "medium", "large")
INPUT_PX = 320
"""Side of the square input that sizes are told at, beside the pictures' own pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class SplitCounts:
    """One split in figures; objects are those that count.

    Attributes:
        pictures: in it.
        without_objects: pictures without an object of the set's classes.
        ignored: objects that count neither way.
        classes: objects (pictures, where the label is classed) by class; thousandths of all pixels for masks.
        sizes_own, sizes_input: objects that are small, medium, large: in their picture, and at the training's input.
        aspect: width / height of the objects at 5, 25, 50, 75 and 95 %; empty without objects.
        sides_input_px: (M,) square roots of the areas at the input.
    """

    pictures: int
    without_objects: int
    ignored: int
    classes: Counter[str]
    sizes_own: dict[str, int]
    sizes_input: dict[str, int]
    aspect: tuple[float, ...]
    sides_input_px: NDArray[np.float32]


def count_set(found: PictureSet, *, input_px: int = INPUT_PX) -> dict[str, SplitCounts]:
    """The figures of every split that has pictures.

    Raises:
        InputError: a picture cannot be read.
    """
    splits = dict.fromkeys(one.origin.split for one in found.pictures)
    return {
        split or "all": _count([one for one in found.pictures if one.origin.split == split], found, input_px=input_px)
        for split in sorted(splits, key=lambda name: (name != "train", name != "val", name))
    }


def _count(pictures: Sequence[Picture], found: PictureSet, *, input_px: int) -> SplitCounts:
    own, at_input = [np.zeros((0, 2), np.float32)], [np.zeros((0, 2), np.float32)]
    for one in pictures:
        boxes = one.boxes[~one.ignored]
        if len(boxes):
            width, height = _size(one)
            inner = make_transform(width, height, width=input_px, height=input_px).to_input(boxes)
            own.append(boxes[:, 2:] - boxes[:, :2])
            at_input.append(inner[:, 2:] - inner[:, :2])
    sides, sides_input = np.concatenate(own), np.concatenate(at_input)
    return SplitCounts(
        pictures=len(pictures),
        without_objects=sum(not (~one.ignored).any() for one in pictures) if found.part is Part.BOXES else 0,
        ignored=int(sum(one.ignored.sum() for one in pictures)),
        classes=_count_classes(pictures, found),
        sizes_own=_sizes(sides),
        sizes_input=_sizes(sides_input),
        aspect=_aspect(sides),
        sides_input_px=np.sqrt(sides_input.prod(axis=1)),
    )


def _size(one: Picture) -> tuple[int, int]:
    size = one.origin.size_px or picture_size(one.encoded)
    if size is None:
        raise InputError(f"{one.name}: not a picture that OpenCV can decode; run `python -m tools.dataset check` first")
    return size


def _count_classes(pictures: Sequence[Picture], found: PictureSet) -> Counter[str]:
    counts: Counter[str] = Counter()
    if found.part is Part.LABEL:
        return Counter(one.label for one in pictures)
    if found.part is Part.BOXES:
        for one in pictures:
            counts.update(found.classes[number] for number in one.class_ids[~one.ignored])
        return counts
    pixels = sum(
        (np.bincount(one.mask.indexes().ravel(), minlength=256) for one in pictures if one.mask), np.zeros(256, np.int64)
    )
    shares = np.round(1000 * pixels / max(1, pixels.sum())).astype(int).tolist()
    counts.update({name: shares[number] for number, name in enumerate(found.classes)})
    if shares[VOID]:
        counts["(nothing known)"] = shares[VOID]
    return counts


def _sizes(sides: NDArray[np.float32]) -> dict[str, int]:
    """How many of these widths and heights (M, 2) are of each of `SIZES`."""
    kinds = np.digitize(sides.prod(axis=1), [SMALL_PX2, MEDIUM_PX2])
    return {name: int((kinds == number).sum()) for number, name in enumerate(SIZES)}


def _aspect(sides: NDArray[np.float32]) -> tuple[float, ...]:
    full = sides[(sides > 0).all(axis=1)]
    if not len(full):
        return ()
    return tuple(round(float(one), 2) for one in np.percentile(full[:, 0] / full[:, 1], [5, 25, 50, 75, 95]))


def counts_table(counts: dict[str, SplitCounts], found: PictureSet, *, input_px: int = INPUT_PX, most_classes: int = 40) -> str:
    """The figures as text, a column a split."""
    splits = list(counts.values())
    rows: list[tuple[str, list[object]]] = [("pictures", [one.pictures for one in splits])]
    if found.part is Part.BOXES:
        rows.append(("  without objects", [one.without_objects for one in splits]))
        rows.append(("objects", [sum(one.classes.values()) for one in splits]))
        rows.append(("  ignored beside them", [one.ignored for one in splits]))
    names = [name for name, _ in sum((one.classes for one in splits), Counter()).most_common()]
    names += [name for name in found.classes if name not in names and found.part is Part.BOXES]
    rows += [(f"  {name}", [one.classes[name] for one in splits]) for name in names[:most_classes]]
    if len(names) > most_classes:
        rows.append((f"  … {len(names) - most_classes} more", ["" for _ in splits]))
    if found.part is Part.BOXES:
        for title, sizes in (
            ("own pixels", [one.sizes_own for one in splits]),
            (f"at {input_px} px", [one.sizes_input for one in splits]),
        ):
            rows += [(f"{name}, {title}", [one[name] for one in sizes]) for name in SIZES]
        rows.append(("width / height, median", [one.aspect[2] if one.aspect else "-" for one in splits]))
        rows.append(("  5 % to 95 %", [f"{one.aspect[0]}-{one.aspect[4]}" if one.aspect else "-" for one in splits]))
    unit = " (classes: thousandths of the pixels)" if found.part is Part.MASK else ""
    wide = max(26, *(len(title) + 1 for title, _ in rows))
    lines = [f"{found.name}{unit}", " " * wide + "".join(f"{name:>12}" for name in counts)]
    lines += [f"{title:<{wide}}" + "".join(f"{cell!s:>12}" for cell in cells) for title, cells in rows]
    return "\n".join(lines)
