"""Labelled pictures, for every task: objects with boxes and points, a mask, a label of the whole.

A set says which classes it labels everywhere (`labelled`); of the others nothing is known: the loss is silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.types import Pixels
from tools.datasets.classes import CLASSES
from tools.datasets.encoding import decode_indexes, decode_rgb
from tools.datasets.files import StoredFile

VOID = 255
"""The index in a mask of what counts neither way."""


class Part(str, Enum):
    """The part of a picture that a set's classes are classes of."""

    BOXES = "boxes"
    MASK = "mask"
    LABEL = "label"


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The class of every pixel, decoded when asked for.

    Attributes:
        name: where it comes from, for messages.
        source: the bytes of an 8-bit PNG of indexes, or where they lie.
        meaning: (256,) uint8, the class id of each index, `VOID` for none; None: as stored.
    """

    name: str
    source: bytes | StoredFile
    meaning: NDArray[np.uint8] | None = None

    def indexes(self) -> NDArray[np.uint8]:
        """(H, W) uint8 class ids, `VOID` where nothing is known.

        Raises:
            InputError: it is no PNG of indexes.
        """
        stored = decode_indexes(read_source(self.source))
        if stored is None:
            raise InputError(f"{self.name}: expected a PNG of one 8-bit channel, a class index each pixel; replace the file")
        return stored if self.meaning is None else self.meaning[stored]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a picture stands in its set.

    Attributes:
        file: its name in the folder.
        place: what names it there: `labels.csv, line 7`.
        split: `train`, `val`, `test`, or empty.
        group: pictures of one group belong to one split; empty where the set was read without groups.
        size_px: width and height that the labels tell; None where they do not.
    """

    file: str = ""
    place: str = ""
    split: str = ""
    group: str = ""
    size_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One labelled picture.

    Attributes:
        name: where it comes from, for messages.
        source: the file's bytes, or where they lie.
        boxes: (M, 4) float32 xyxy, its own pixels.
        class_ids: (M,) int64 into the set's classes.
        ignored: (M,) bool: too small or too crowded to count.
        points: (M, K, 2) float32 xy, its own pixels, NaN where unknown; None where the set has no points.
        mask: the class of every pixel; None where the set has no masks.
        label: of the whole picture: an identity, `live`; empty where the set has none.
        origin: where it stands in its set.
    """

    name: str
    source: bytes | StoredFile = field(repr=False)
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    points: NDArray[np.float32] | None = None
    mask: Mask | None = None
    label: str = ""
    origin: Origin = Origin()

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.class_ids.shape != (n,) or self.ignored.shape != (n,):
            shapes = f"{self.boxes.shape}, {self.class_ids.shape}, {self.ignored.shape}"
            raise ValueError(f"{self.name}: expected boxes (M, 4), class_ids (M,), ignored (M,), got {shapes}")
        if self.points is not None and (self.points.ndim != 3 or self.points.shape[::2] != (n, 2)):
            raise ValueError(f"{self.name}: expected points ({n}, K, 2), got {self.points.shape}")

    @property
    def encoded(self) -> bytes:
        """The file's bytes, read anew each time where they are not held.

        Raises:
            InputError: the file cannot be read.
        """
        return read_source(self.source)

    def pixels_rgb(self) -> Pixels:
        """Decode the file: (H, W, 3) uint8.

        Raises:
            InputError: it is no picture that OpenCV reads.
        """
        pixels = decode_rgb(self.encoded)
        if pixels is None:
            raise InputError(f"{self.name}: not a picture that OpenCV can decode; replace the file or take it out of the labels")
        return pixels


@dataclass(frozen=True, slots=True, eq=False)
class PictureSet:
    """Pictures labelled by one rule.

    Attributes:
        name: of its folder.
        labelled: (classes,) bool: labelled everywhere in it.
        pictures: in the order of the file.
        classes: names, by class id.
        part: what they are classes of.
        point_names: (K,) names of the points of an object.
        left_out: how many objects (pictures, where `part` is the label) of each class were not wanted.
    """

    name: str
    labelled: NDArray[np.bool_]
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...] = CLASSES
    part: Part = Part.BOXES
    point_names: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labelled.shape != (len(self.classes),):
            raise ValueError(f"{self.name}: expected labelled ({len(self.classes)},), got {self.labelled.shape}")


def read_source(source: bytes | StoredFile) -> bytes:
    """The bytes, held or stored."""
    return source if isinstance(source, bytes) else source.read()


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """One object of a picture as a reader finds it.

    Attributes:
        box: x1, y1, x2, y2.
        points: K pairs x, y, NaN where unknown.
    """

    box: tuple[float, float, float, float]
    class_id: int
    is_ignored: bool = False
    points: Sequence[tuple[float, float]] = ()


def make_picture(
    name: str,
    source: bytes | StoredFile,
    objects: Sequence[LabelledObject],
    *,
    point_count: int = 0,
    mask: Mask | None = None,
    label: str = "",
    origin: Origin = Origin(),
) -> Picture:
    """A picture from its objects, one array a field."""
    points = None
    if point_count:
        points = np.full((len(objects), point_count, 2), np.nan, np.float32)
        for row, one in enumerate(objects):
            if one.points:
                points[row, : len(one.points)] = one.points
    return Picture(
        name,
        source,
        np.array([one.box for one in objects], np.float32).reshape(-1, 4),
        np.array([one.class_id for one in objects], np.int64),
        np.array([one.is_ignored for one in objects], np.bool_),
        points,
        mask,
        label,
        origin,
    )
