"""Pascal VOC: one XML a picture in `Annotations/`, pictures in `JPEGImages/`; or both beside each other.

The lists in `ImageSets/Main/train.txt`, `val.txt` and `test.txt` are the splits where they are there. `difficult` is ignored.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from tools.datasets.files import PICTURE_SUFFIXES, StoredFile
from tools.datasets.pictures import LabelledObject, Origin, Part, PictureSet, make_picture
from tools.datasets.reading import SPLITS, UNLISTED, Reading, read_text

ANNOTATIONS = "Annotations"
LISTS = "ImageSets/Main"
PICTURE_FOLDERS = ("JPEGImages", "images", ANNOTATIONS, ".")


def is_voc(folder: Path) -> bool:
    """Whether a folder has VOC's XML files."""
    return any((folder / ANNOTATIONS).glob("*.xml")) or any(folder.glob("*.xml"))


def read_voc(reading: Reading) -> PictureSet:
    """What the files say; mistakes are noted and what they concern is left out."""
    folder = reading.folder / ANNOTATIONS
    paths = sorted((folder if folder.is_dir() else reading.folder).glob("*.xml"))
    documents = {path: root for path in paths if (root := _parse(path, reading)) is not None}
    names = {_text(one, "name") for root in documents.values() for one in root.iter("object")}
    reading.number_found_classes(name for name in names if name)
    splits = _read_lists(reading, stems={path.stem for path in paths})
    for path, root in documents.items():
        split = splits.get(path.stem, UNLISTED) if splits else "train"
        if reading.wants(split):
            _read_picture(path, root, split, reading)
    return reading.finish(part=Part.BOXES, how_to_split=f"{LISTS}/train.txt and val.txt with a name a line")


def _parse(path: Path, reading: Reading) -> ET.Element | None:
    file = path.relative_to(reading.folder).as_posix()
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        reading.mistakes.add(file, f"line {error.position[0]}", f"cannot be read as XML: {error}")
        return None
    except (OSError, ValueError) as error:
        reading.mistakes.add(file, "", f"cannot be read: {error}")
        return None
    if root.tag != "annotation":
        reading.mistakes.add(file, "line 1", f"expected an element <annotation>, got <{root.tag}>")
        return None
    return root


def _read_lists(reading: Reading, *, stems: set[str]) -> dict[str, str]:
    """Split by stem; empty where there are no lists."""
    splits: dict[str, str] = {}
    for path in sorted((reading.folder / LISTS).glob("*.txt")):
        split = SPLITS.get(path.stem)
        if split is None:  # trainval.txt, and lists of one class
            continue
        file = path.relative_to(reading.folder).as_posix()
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            stem = line.split()[0] if line.split() else ""
            if stem and stem not in stems:
                reading.mistakes.add(file, f"line {number}", f"names {stem}, of which there is no XML; add it or remove the line")
            elif stem and splits.setdefault(stem, split) != split:
                reading.mistakes.add(file, f"line {number}", f"{stem} is in {splits[stem]} too; keep one of them")
    return splits


def _read_picture(path: Path, root: ET.Element, split: str, reading: Reading) -> None:
    file = path.relative_to(reading.folder).as_posix()
    objects = [_read_object(one, number, file, reading) for number, one in enumerate(root.iter("object"), start=1)]
    name, source = _find_picture(path, _text(root, "filename"), reading)
    if source is None:
        where = ", ".join(PICTURE_FOLDERS[:2])
        message = f"no picture {name} in {where} or beside the XML; add it or remove the XML"
        reading.mistakes.add(file, "filename", message)
        return
    origin = Origin(name, file, split, "", _size(root))
    reading.pictures.append(make_picture(f"{reading.name}/{name}", source, [one for one in objects if one], origin=origin))


def _find_picture(path: Path, filename: str, reading: Reading) -> tuple[str, StoredFile | None]:
    """By its name in the XML, or by the XML's own name: tools leave the former as it was before a move."""
    filename = Path(filename.replace("\\", "/")).name
    names = ([filename] if filename else []) + [path.stem + suffix for suffix in PICTURE_SUFFIXES]
    for name in names:
        for folder in PICTURE_FOLDERS:
            inside = name if folder == "." else f"{folder}/{name}"
            if found := reading.files.find(inside):
                return inside, found
    return names[0], None


def _read_object(one: ET.Element, number: int, file: str, reading: Reading) -> LabelledObject | None:
    """A box of pixels counted from 1, both ends included, becomes one of corners from 0, the far ones excluded.

    Source: the VOC 2012 development kit.
    """
    name = _text(one, "name")
    place = f"object {number}" + (f" ({name})" if name else "")
    if not name:
        reading.mistakes.add(file, place, "has no <name>; expected its class")
        return None
    sides = ("xmin", "ymin", "xmax", "ymax")
    texts = [_text(one, f"bndbox/{side}") for side in sides]
    try:
        x1, y1, x2, y2 = (float(text) for text in texts)
    except ValueError:
        found = ", ".join(f"{side} {text or 'missing'}" for side, text in zip(sides, texts, strict=True))
        reading.mistakes.add(file, place, f"bndbox: expected four numbers, got {found}")
        return None
    told = f"xmin, ymin, xmax, ymax = {x1:g}, {y1:g}, {x2:g}, {y2:g}"
    corners = (max(x1 - 1, 0.0), max(y1 - 1, 0.0), x2, y2)  # tools that count from 0 write 0 here
    box = reading.box_from_corners(corners, file, place, told=told)
    return LabelledObject(box, reading.class_id(name), _text(one, "difficult") == "1") if box else None


def _size(root: ET.Element) -> tuple[int, int] | None:
    width, height = _text(root, "size/width"), _text(root, "size/height")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() and int(width) and int(height) else None


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
