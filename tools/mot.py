"""Pictures labelled in the layout of the MOTChallenge: `img1/000001.jpg …` and `gt/gt.txt`. Persons only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edged.errors import InputError
from tools.datasets import CLASSES, Picture, PictureSet


def is_mot(folder: Path) -> bool:
    """Whether a folder looks like a sequence of the MOTChallenge."""
    return (folder / "gt" / "gt.txt").exists() and (folder / "img1").is_dir()


def load_mot(folder: Path) -> PictureSet:
    """Read a sequence; rows with confidence 0 are ignored objects.

    Raises:
        InputError: naming the line of gt.txt, or the picture that is missing.
    """
    rows = _load_rows(folder / "gt" / "gt.txt")
    paths = sorted((folder / "img1").glob("*.jpg"))
    if not paths:
        raise InputError(f"{folder / 'img1'}: no *.jpg in it")
    numbers = {int(path.stem) for path in paths if path.stem.isdigit()}
    if len(numbers) != len(paths) or not set(rows[:, 0].astype(int)) <= numbers:
        raise InputError(f"{folder}: gt.txt names frames that img1 has not; expected img1/<frame number>.jpg for each")
    pictures = []
    for path in paths:
        mine = rows[rows[:, 0] == int(path.stem)]
        boxes = np.concatenate([mine[:, 2:4], mine[:, 2:4] + mine[:, 4:6]], axis=1).astype(np.float32)
        persons = np.full(len(mine), CLASSES.index("person"))
        pictures.append(Picture(f"{folder.name}/{path.name}", path.read_bytes(), boxes, persons, mine[:, 6] == 0))
    return PictureSet(folder.name, np.array([name == "person" for name in CLASSES]), tuple(pictures))


def _load_rows(path: Path) -> np.ndarray:
    """(M, 7) frame, id, x, y, w, h, confidence."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                rows.append([float(cell) for cell in line.split(",")[:7]])
            except ValueError as error:
                raise InputError(f"{path}: line {number}: expected frame,id,x,y,w,h,confidence,…, got {line[:60]!r}") from error
            if len(rows[-1]) < 7:
                raise InputError(f"{path}: line {number}: expected at least 7 numbers, got {len(rows[-1])}")
    return np.array(rows, np.float64).reshape(-1, 7)
