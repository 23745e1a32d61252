"""Segmentation: `split.csv` with image, mask and split; `classes.txt` with a name a line; masks are PNGs of class indexes.

The index 255 and a class named `void` (or `ignore`, `unlabelled`) count neither way.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from tools.datasets.classes import VOID_NAMES, same_name
from tools.datasets.pictures import VOID, Mask, Origin, Part, PictureSet, make_picture
from tools.datasets.reading import Reading, read_text
from tools.datasets.table import Row, read_rows

FILE = "split.csv"
CLASS_LIST = "classes.txt"


def is_masks(folder: Path) -> bool:
    """Whether a folder has a table of pictures and masks."""
    path = folder / FILE
    if not path.is_file():
        return False
    head = next(csv.reader([read_text(path).partition("\n")[0]]), [])
    return {"image", "mask"} <= {cell.strip() for cell in head}


def read_masks(reading: Reading) -> PictureSet:
    """What the table says; mistakes are noted and what they concern is left out.

    Raises:
        InputError: there is no table, or no list of classes.
    """
    reading.number_classes(_read_class_list(reading))
    meaning = np.full(256, VOID, np.uint8)
    meaning[: len(reading.class_names)] = np.arange(len(reading.class_names))
    names, rows = read_rows(reading, FILE, needed=("image", "mask"))
    reading.expect_group_column(names, FILE)
    for row in rows:
        _read_row(row, meaning, reading)
    known = np.array([same_name(name) not in VOID_NAMES for name in reading.class_names], np.bool_)
    return reading.finish(part=Part.MASK, labelled=known, how_to_split="a column split with train or val")


def _read_class_list(reading: Reading) -> list[str]:
    """`0 sky` or `sky` a line, in the order of the indexes."""
    names = []
    for number, line in enumerate(read_text(reading.folder / CLASS_LIST).splitlines(), start=1):
        if line.strip():
            told, name = re.fullmatch(r"\s*(?:(\d+)[\s,:]+)?(.*?)\s*", line).groups()
            if told and int(told) != len(names):
                reading.mistakes.add(
                    CLASS_LIST, f"line {number}", f"index {told}: expected {len(names)}, the indexes from 0 in order"
                )
            names.append(name)
    return names


def _read_row(row: Row, meaning: np.ndarray, reading: Reading) -> None:
    place = f"line {row.line}"
    split = reading.split_named(row.cells.get("split") or "train", FILE, place)
    if not reading.wants(split):
        return
    name, mask_name = row.cells["image"], row.cells["mask"]
    source, mask = (reading.find_file(one, FILE, place) for one in (name, mask_name))
    if source is None or mask is None:
        return
    reading.pictures.append(
        make_picture(
            f"{reading.name}/{name}",
            source,
            [],
            mask=Mask(f"{reading.name}/{mask_name}", mask, meaning),
            origin=Origin(name, f"{FILE}, {place}", split, row.cells.get(reading.group_column, "")),
        )
    )
