"""A table `labels.csv`: a row a picture, or a row an object; a column `file` and what is known beside it.

| columns | meaning |
| --- | --- |
| `file` | the picture's name in the folder, or in images.tar |
| `split` | train, val or test; train where there is none |
| `x, y, w, h` or `box_x, box_y, box_w, box_h` | a box in pixels; four empty cells: a picture without an object |
| `label` (or `class`) | the class of the box; without boxes the label of the picture |
| `identity` | the label of the picture |
| `NAME_x, NAME_y` and `x0, y0, x1, y1 …` | points of the object in pixels, empty where unknown |
| `width, height` | the picture's size in pixels, compared with the file |
| others | may be named to group by |
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.errors import InputError
from tools.datasets.classes import ONE_CLASS
from tools.datasets.pictures import LabelledObject, Origin, Part, PictureSet, make_picture
from tools.datasets.reading import Reading, read_text

FILE = "labels.csv"
BOX_COLUMNS = (("box_x", "box_y", "box_w", "box_h"), ("x", "y", "w", "h"))
CLASS_COLUMNS = ("label", "class")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: cells by column, and its line in the file."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns mean what; empty where the table has none of them."""

    box: tuple[str, ...]
    object_class: str
    label: str
    points: dict[str, tuple[str, str]]


def is_table(folder: Path) -> bool:
    """Whether a folder has a table of labels."""
    return (folder / FILE).is_file()


def read_table(reading: Reading) -> PictureSet:
    """What the table says; mistakes are noted and what they concern is left out.

    Raises:
        InputError: it is no table with a column `file`.
    """
    names, rows = read_rows(reading, FILE, needed=("file",))
    columns = _find_columns(names, reading.folder / FILE)
    reading.expect_group_column(names, FILE)
    if columns.box:
        reading.number_found_classes(_object_class(row, columns) for row in rows if _object_class(row, columns))
    else:
        reading.number_classes(sorted({row.cells[columns.label] for row in rows} - {""}))
    by_file: dict[str, list[Row]] = {}
    for row in rows:
        by_file.setdefault(row.cells["file"], []).append(row)
    for file, mine in by_file.items():
        _read_picture(file, mine, columns, reading)
    part = Part.BOXES if columns.box else Part.LABEL
    return reading.finish(part=part, point_names=tuple(columns.points), how_to_split="a column split with train or val")


def read_rows(reading: Reading, file: str, *, needed: Sequence[str]) -> tuple[list[str], list[Row]]:
    """The head and the rows of a csv file; rows of another length are noted and left out.

    Raises:
        InputError: it has no head with the needed columns.
    """
    path = reading.folder / file
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[Row] = []
    try:
        names = [cell.strip() for cell in next(reader, [])]
        if set(needed) - set(names) or len(set(names)) < len(names):
            raise InputError(
                f"{path}: line 1: expected different names of columns with {', '.join(needed)}, got {', '.join(names):.200}"
            )
        for cells in reader:
            if len(cells) == len(names):
                rows.append(Row(reader.line_num, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}))
            elif cells:
                reading.mistakes.add(
                    file, f"line {reader.line_num}", f"expected {len(names)} cells as in line 1, got {len(cells)}"
                )
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: cannot be read as csv: {error}") from error
    return names, rows


def _find_columns(names: Sequence[str], path: Path) -> _Columns:
    box = next((columns for columns in BOX_COLUMNS if set(columns) <= set(names)), ())
    named = next((name for name in CLASS_COLUMNS if name in names), "")
    label = "identity" if "identity" in names else "" if box else named
    if not box and not label:
        raise InputError(f"{path}: line 1: expected a column label or identity, or x, y, w, h; got {', '.join(names):.200}")
    points = {}
    if box:
        for name in names:
            stem = name.removesuffix("_x")
            if stem not in (name, "box") and f"{stem}_y" in names:
                points[stem] = (name, f"{stem}_y")
            elif re.fullmatch(r"x\d+", name) and f"y{name[1:]}" in names:
                points[name[1:]] = (name, f"y{name[1:]}")
    return _Columns(box, named if box else "", label, points)


def _object_class(row: Row, columns: _Columns) -> str:
    return row.cells[columns.object_class] if columns.object_class else ONE_CLASS


def _read_picture(file: str, rows: list[Row], columns: _Columns, reading: Reading) -> None:
    first, place = rows[0].cells, f"line {rows[0].line}"
    split = reading.split_named(first.get("split") or "train", FILE, place)
    if not reading.wants(split):
        return
    for row in rows[1:]:
        told = [name for name in ("split", columns.label) if name and row.cells.get(name) != first.get(name)]
        if told or not columns.box:
            what = f"another {' and '.join(told)}" if told else "the same file"
            reading.mistakes.add(FILE, f"line {row.line}", f"{file} stands in line {rows[0].line} with {what}; keep one of them")
    source = reading.find_file(file, FILE, place)
    objects = [_read_object(row, columns, reading) for row in rows] if columns.box else []
    if not columns.box and not first[columns.label]:
        reading.mistakes.add(FILE, place, f"the cell {columns.label} is empty; expected the picture's label")
    if source is None:
        return
    origin = Origin(file, f"{FILE}, {place}", split, first.get(reading.group_column, ""), _size(rows[0], reading))
    picture = make_picture(
        f"{reading.name}/{file}",
        source,
        [one for one in objects if one],
        point_count=len(columns.points),
        label=first[columns.label] if columns.label else "",
        origin=origin,
    )
    reading.pictures.append(picture)


def _read_object(row: Row, columns: _Columns, reading: Reading) -> LabelledObject | None:
    place = f"line {row.line}"
    cells = [row.cells[name] for name in columns.box]
    if not any(cells):
        return None
    box = reading.box_from_sides(cells, FILE, place)
    name = _object_class(row, columns)
    if not name:
        reading.mistakes.add(FILE, place, f"the cell {columns.object_class} is empty; expected the class of the box")
    points = [(_number(row, x, reading), _number(row, y, reading)) for x, y in columns.points.values()]
    return LabelledObject(box, reading.class_id(name), points=points) if box and name else None


def _number(row: Row, name: str, reading: Reading) -> float:
    """NaN for an empty cell, and for one that is noted as a mistake."""
    text = row.cells[name]
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        reading.mistakes.add(FILE, f"line {row.line}, column {name}", f"{text!r:.40}: expected a number, or nothing")
        return math.nan


def _size(row: Row, reading: Reading) -> tuple[int, int] | None:
    if not ("width" in row.cells and "height" in row.cells):
        return None
    width, height = _number(row, "width", reading), _number(row, "height", reading)
    return None if math.isnan(width + height) else (round(width), round(height))
