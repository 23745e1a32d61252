"""Writes a split into the files of a set, each in one piece, the former file kept beside it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

from edged.errors import InputError
from tools.datasets import coco, masks, table, voc, yolo
from tools.datasets.opening import Layout
from tools.datasets.pictures import PictureSet
from tools.datasets.reading import read_text
from tools.engines import write_whole


def make_split_files(folder: Path, layout: Layout, found: PictureSet, splits: Sequence[str]) -> dict[Path, str]:
    """The text of every file that says the split, by its path. No picture is moved: folders of classes get a table.

    Args:
        splits: of each picture of the set.

    Raises:
        InputError: the layout has no place for splits.
    """
    by_file = {one.origin.file: split for one, split in zip(found.pictures, splits, strict=True)}
    match layout:
        case Layout.COCO:
            return {folder / coco.FILE: _coco_text(folder / coco.FILE, by_file)}
        case Layout.TABLE:
            return {folder / table.FILE: _table_text(folder / table.FILE, "file", by_file)}
        case Layout.MASKS:
            return {folder / masks.FILE: _table_text(folder / masks.FILE, "image", by_file)}
        case Layout.VOC:
            stems = {Path(one.origin.place).stem: split for one, split in zip(found.pictures, splits, strict=True)}
            return {folder / voc.LISTS / f"{split}.txt": _list_text(stems, split) for split in _used(splits)}
        case Layout.YOLO:
            return _yolo_texts(folder, found, by_file)
        case Layout.FOLDERS:
            rows = [[one.origin.file, one.label, split] for one, split in zip(found.pictures, splits, strict=True)]
            return {folder / table.FILE: _csv_text([["file", "label", "split"], *rows])}
        case _:
            raise InputError(f"{folder}: a sequence is one scene and cannot be split; use another sequence for val")


def write_files(texts: dict[Path, str]) -> list[Path]:
    """Write each file in one piece; the backups of those that were there.

    Raises:
        InputError: a file cannot be written; those before it have been.
    """
    backups = []
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                backup = _free_name(path)
                backup.write_bytes(path.read_bytes())
                backups.append(backup)
            write_whole(path, text.encode())
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return backups


def _free_name(path: Path) -> Path:
    """`labels.csv.before`, or with a number where an earlier backup has that name."""
    plain = path.with_name(path.name + ".before")
    number, found = 2, plain
    while found.exists():
        found = plain.with_name(f"{plain.name}-{number}")
        number += 1
    return found


def _used(splits: Sequence[str]) -> list[str]:
    return [split for split in ("train", "val", "test") if split in splits]


def _coco_text(path: Path, by_file: dict[str, str]) -> str:
    data = coco.load_json(path)
    for image in data["images"]:
        image["split"] = by_file[image["file_name"]]
    return json.dumps(data, ensure_ascii=False)


def _table_text(path: Path, column: str, by_file: dict[str, str]) -> str:
    """The table with its column `split` filled, or with one more column; every other cell as it was."""
    head, *rows = csv.reader(io.StringIO(read_text(path), newline=""))
    names = [cell.strip() for cell in head]
    if "split" not in names:
        head, names, rows = [*head, "split"], [*names, "split"], [[*row, ""] if row else row for row in rows]
    at_split, at_file = names.index("split"), names.index(column)
    for row in rows:
        if row:
            row[at_split] = by_file[row[at_file].strip()]
    return _csv_text([head, *rows])


def _csv_text(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _list_text(by_name: dict[str, str], split: str) -> str:
    return "".join(f"{name}\n" for name, one in by_name.items() if one == split)


def _yolo_texts(folder: Path, found: PictureSet, by_file: dict[str, str]) -> dict[Path, str]:
    """Lists of pictures beside data.yaml, and data.yaml that names them; its other lines as they were."""
    named = {f"./{name}": split for name, split in by_file.items()}
    splits = _used(list(by_file.values()))
    texts = {folder / f"{split}.txt": _list_text(named, split) for split in splits}
    path = folder / yolo.YAML
    text = read_text(path) if path.exists() else f"names: {json.dumps(list(found.classes), ensure_ascii=False)}\n"
    for split in splits:
        line = f"{split}: {split}.txt\n"
        # A value may go on over indented lines, and over lines of a list that begin with a hyphen.
        text, replaced = re.subn(rf"(?m)^{split}\s*:.*\n?(?:(?:[ \t]+|- ).*\n?)*", line, text, count=1)
        text = text if replaced else text + ("" if text.endswith("\n") else "\n") + line
    text = re.sub(r"(?m)^path\s*:.*\n?", "", text)  # the lists lie beside data.yaml
    return {**texts, path: text}
