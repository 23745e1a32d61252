"""YOLO text: `data.yaml` (or `classes.txt`), `images/{train,val}` and `labels/{train,val}` with a line an object.

A line is `class x y w h`, the centre and the sides as shares of the picture, or `class x1 y1 x2 y2 x3 y3 …`, a polygon of which
the box is taken. A picture without a label file has no objects. Pictures may be in `train/images` as well, and in lists of names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edged.errors import ConfigError, InputError
from edged.strict_yaml import read_yaml
from tools.datasets.encoding import picture_size
from tools.datasets.files import PICTURE_SUFFIXES, StoredFile
from tools.datasets.pictures import LabelledObject, Origin, Part, PictureSet, make_picture
from tools.datasets.reading import SPLITS, Reading, read_text

YAML = "data.yaml"
CLASS_LISTS = ("classes.txt", "labels/classes.txt", "obj.names")


def is_yolo(folder: Path) -> bool:
    """Whether a folder has YOLO's list of classes, and label files."""
    if (folder / YAML).is_file():
        return True
    return any((folder / name).is_file() for name in CLASS_LISTS) and any(folder.glob("**/labels/"))


def read_yolo(reading: Reading) -> PictureSet:
    """What the files say; mistakes are noted and what they concern is left out.

    Raises:
        InputError: the list of classes cannot be read.
    """
    if (reading.folder / YAML).is_file():
        document = _load_yaml(reading.folder / YAML)
        reading.number_classes(_class_names(document, reading))
        places = _listed_places(document, reading) if {"train", "val"} & document.keys() else _usual_places(reading.folder)
    else:
        lists = [reading.folder / name for name in CLASS_LISTS if (reading.folder / name).is_file()]
        reading.number_classes(line.strip() for line in read_text(lists[0]).splitlines() if line.strip())
        places = _usual_places(reading.folder)
    for split, name in dict.fromkeys(_pictures(places, reading)):
        if reading.wants(split):
            _read_picture(split, name, reading)
    return reading.finish(part=Part.BOXES, how_to_split="pictures in images/train and images/val")


def _load_yaml(path: Path) -> dict[str, object]:
    try:
        data = read_yaml(read_text(path), source=str(path)).data
    except ConfigError as error:
        raise InputError(str(error)) from error
    if not isinstance(data, dict) or "names" not in data:
        raise InputError(f"{path}: expected the key names, a list of the classes, and mostly train and val, folders of pictures")
    return data


def _class_names(document: dict[str, object], reading: Reading) -> list[str]:
    """Of a list, or of a mapping from number to name."""
    names = document["names"]
    if isinstance(names, dict):
        by_number = {int(key): str(name) for key, name in names.items() if str(key).isdecimal()}
        if sorted(by_number) == list(range(len(names))):
            return [by_number[number] for number in range(len(names))]
    elif isinstance(names, list):
        return [str(name) for name in names]
    reading.mistakes.add(YAML, "names", f"expected a list of class names, or numbers from 0 to names, got {names!r:.60}")
    return []


def _listed_places(document: dict[str, object], reading: Reading) -> list[tuple[str, str]]:
    """Split and folder or list, as data.yaml names them; paths of the machine that wrote it are tried from the folder, too."""
    root = str(document.get("path") or "")
    places = []
    for key in ("train", "val", "test"):
        values = document.get(key) or []
        for value in values if isinstance(values, list) else [values]:
            found = next((one for one in _possible_places(root, str(value)) if (reading.folder / one).exists()), None)
            if found is not None:
                places.append((key, found))
            elif key != "test":
                reading.mistakes.add(
                    YAML, key, f"{value!r:.60}: there is no such folder or list in {reading.folder}; correct the path"
                )
    return places


def _possible_places(root: str, value: str) -> Iterator[str]:
    if root:
        yield str(PurePosixPath(root) / value)
    yield value
    while value.startswith("../"):  # some exporters count from a folder that only they have
        value = value.removeprefix("../")
        yield value


def _usual_places(folder: Path) -> list[tuple[str, str]]:
    places = []
    for name, split in SPLITS.items():
        places += [(split, place) for place in (f"images/{name}", f"{name}/images") if (folder / place).is_dir()]
    return places or [("train", "images" if (folder / "images").is_dir() else ".")]


def _pictures(places: list[tuple[str, str]], reading: Reading) -> Iterator[tuple[str, str]]:
    """Split and name in the folder of every picture."""
    for split, place in places:
        path = reading.folder / place
        if path.is_file():
            for number, line in enumerate(read_text(path).splitlines(), start=1):
                name = line.strip().removeprefix("./")
                if name and reading.wants(split) and reading.find_file(name, place, f"line {number}"):
                    yield split, name
            continue
        for picture in sorted(path.rglob("*")):
            if picture.suffix.lower() in PICTURE_SUFFIXES:
                yield split, picture.relative_to(reading.folder).as_posix()


def _read_picture(split: str, name: str, reading: Reading) -> None:
    label_name = label_file(name)
    labels = reading.files.find(label_name)
    source = reading.files.find(name)
    if source is None:
        return
    size, objects = None, []
    if labels is not None:
        size = picture_size(source.read())
        if size is None:
            reading.mistakes.add(name, "", "not a picture that OpenCV can decode; replace the file")
            return
        objects = [one for one in _read_objects(labels, label_name, size, reading) if one]
    origin = Origin(name, label_name if labels else f"{label_name} (not there)", split)
    reading.pictures.append(make_picture(f"{reading.name}/{name}", source, objects, origin=origin))


def label_file(name: str) -> str:
    """The label file of a picture: `labels` for the last `images` of its path, `.txt` for its suffix."""
    path = PurePosixPath(name)
    parts = list(path.parent.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    return str(PurePosixPath(*parts, path.stem + ".txt"))


def _read_objects(labels: StoredFile, file: str, size_px: tuple[int, int], reading: Reading) -> Iterator[LabelledObject | None]:
    for number, line in enumerate(labels.read().decode("utf-8", errors="replace").splitlines(), start=1):
        if line.strip():
            yield _read_object(line.split(), size_px, file, f"line {number}", reading)


def _read_object(cells: list[str], size_px: tuple[int, int], file: str, place: str, reading: Reading) -> LabelledObject | None:
    try:
        class_number, *shares = int(cells[0]), *(float(cell) for cell in cells[1:])
    except ValueError:
        reading.mistakes.add(file, place, f"{' '.join(cells):.60}: expected a class number and numbers")
        return None
    if not 0 <= class_number < len(reading.class_names):
        message = (
            f"class {class_number} is unknown; expected 0 to {len(reading.class_names) - 1}, the names in the list of classes"
        )
        reading.mistakes.add(file, place, message)
        return None
    told = " ".join(cells[1:5]) + (" …" if len(cells) > 5 else "")
    if len(shares) == 4:
        x, y, w, h = shares
        corners = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    elif len(shares) >= 6 and len(shares) % 2 == 0:
        corners = (min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2]))
    else:
        reading.mistakes.add(
            file, place, f"{len(cells)} cells: expected `class x y w h`, or a class and the corners of a polygon"
        )
        return None
    if any(math.isfinite(one) and abs(one) > 2 for one in corners):
        reading.mistakes.add(file, place, f"{told}: expected shares of the picture between 0 and 1, not pixels")
        return None
    width, height = size_px
    pixels = (corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height)
    box = reading.box_from_corners(pixels, file, place, told=told)
    return LabelledObject(box, class_number) if box else None
