"""What the readers of all layouts share: one pass over a folder that finds files, numbers classes and notes mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from tools.datasets.classes import hint_at, same_name
from tools.datasets.files import PictureFiles, StoredFile, open_files
from tools.datasets.mistakes import Mistakes
from tools.datasets.pictures import Part, Picture, PictureSet

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names that tools give the splits, and ours."""
UNLISTED = "unlisted"
"""The split of pictures that the lists of a set leave out."""

Box = tuple[float, float, float, float]


class Reading:
    """One pass over a folder.

    Attributes:
        folder: what is read; nothing is written there.
        split: the wanted one; None: all.
        group_column: the column, or key, whose value is a picture's group; empty: none.
        allows_empty: there may be no picture in the wanted split.
        mistakes: what is wrong so far.
        files: where the pictures are.
        pictures: those found so far.
        class_names: by class id; the same for every split, so readers number the classes of all of them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        split: str | None,
        mistakes: Mistakes | None = None,
        group_column: str = "",
        allows_empty: bool = False,
    ) -> None:
        self.folder, self.split, self.group_column, self.allows_empty = folder, split, group_column, allows_empty
        self.mistakes = Mistakes(folder) if mistakes is None else mistakes
        self.files: PictureFiles = open_files(folder)
        self.pictures: list[Picture] = []
        self.class_names: tuple[str, ...] = ()
        self._class_ids: dict[str, int] = {}

    @property
    def name(self) -> str:
        """The folder's own name, also where it was given as `.`."""
        return self.folder.resolve().name

    def wants(self, split: str) -> bool:
        """Whether pictures of a split are read."""
        return self.split is None or split == self.split

    def split_named(self, text: object, file: str, place: str) -> str:
        """Our name of a split; an unknown one is noted and taken as `train`."""
        found = SPLITS.get(str(text).strip().lower())
        if found is None:
            self.mistakes.add(file, place, f"split {text!r:.40}: expected train, val or test")
        return found or "train"

    def number_classes(self, names: Iterable[str]) -> None:
        """Number the classes, in this order."""
        self.class_names = tuple(names)
        self._class_ids = {same_name(name): number for number, name in reversed(list(enumerate(self.class_names)))}

    def number_found_classes(self, names: Iterable[str]) -> None:
        """Number classes of which no list exists: in the order of the alphabet, each spelling of one name once."""
        first = {same_name(name): name for name in sorted(set(names), reverse=True)}
        self.number_classes(first[name] for name in sorted(first))

    def class_id(self, name: str) -> int:
        """The number of a class."""
        return self._class_ids[same_name(name)]

    def expect_group_column(self, names: Sequence[str], file: str) -> None:
        """Stop where the column to group by is none of these.

        Raises:
            InputError: naming those that are there.
        """
        if self.group_column and self.group_column not in names:
            path, hint = self.folder / file, hint_at(self.group_column, names)
            raise InputError(f"{path}: has no {self.group_column!r} to group by, only {', '.join(names):.200}; {hint}")

    def find_file(self, name: str, file: str, place: str, *, also_in: str = "") -> StoredFile | None:
        """A file that the labels name; a missing one is noted.

        Args:
            also_in: a folder that the labels may leave out of the name; empty: none.
        """
        found = self.files.find(name)
        if found is None and also_in:
            found = self.files.find(f"{also_in}/{name}")
        if found is None:
            places = f"beside it, in {also_in}/" if also_in else "beside it"
            message = f"names {name}, which is not {places} nor in images.tar; add the file or take it out of the labels"
            self.mistakes.add(file, place, message)
        return found

    def box_from_sides(self, numbers: Sequence[object], file: str, place: str) -> Box | None:
        """The corners of a box x, y, w, h; what is no box is noted."""
        try:
            x, y, w, h = (float(number) for number in numbers)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            self.mistakes.add(file, place, f"box {numbers!s:.60}: expected four numbers x, y, w, h")
            return None
        return self.box_from_corners((x, y, x + w, y + h), file, place, told=f"x, y, w, h = {x:g}, {y:g}, {w:g}, {h:g}")

    def box_from_corners(self, corners: Box, file: str, place: str, *, told: str) -> Box | None:
        """The box, if it is one; what is none is noted as the file tells it."""
        x1, y1, x2, y2 = corners
        if all(math.isfinite(number) for number in corners) and x2 >= x1 and y2 >= y1:
            return corners
        self.mistakes.add(
            file, place, f"{told} is not a box: expected finite numbers, width and height >= 0; correct or remove it"
        )
        return None

    def finish(
        self,
        *,
        part: Part,
        labelled: NDArray[np.bool_] | None = None,
        point_names: Sequence[str] = (),
        how_to_split: str,
    ) -> PictureSet:
        """The set of what was found.

        Args:
            labelled: (classes,) bool; None: all of them.
            how_to_split: how this layout names splits, for a message.
        """
        may_be_empty = self.allows_empty and self.split is not None
        if not self.pictures and not self.mistakes.count and not may_be_empty:
            what = f"in split {self.split!r}" if self.split else "found"
            self.mistakes.add(self.name, "", f"no picture {what}; expected {how_to_split}")
        known = np.ones(len(self.class_names), np.bool_) if labelled is None else labelled
        return PictureSet(self.name, known, tuple(self.pictures), self.class_names, part, tuple(point_names))


def read_text(path: Path) -> str:
    """A text file, with or without a byte order mark.

    Raises:
        InputError: it cannot be read as UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; expected a file there") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from error
