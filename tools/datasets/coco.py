"""COCO: `annotations.json` and its pictures beside it, in `images/` or in `images.tar`; their names may leave `images/` out.

Of our own: `split` of an image, and `labelled_categories`, the ids that are labelled everywhere in the set.
Polygons and run lengths (`segmentation`) are passed over: the boxes are what is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edged.errors import InputError
from tools.datasets.choosing import choose_classes
from tools.datasets.classes import CATEGORY_IDS, CLASSES
from tools.datasets.pictures import LabelledObject, Origin, Part, PictureSet, make_picture
from tools.datasets.reading import Reading, read_text

FILE = "annotations.json"
FOLDER = "images"
HOW_TO_SPLIT = 'images with "split": "train" or "val"'


@dataclass(frozen=True, slots=True)
class _Categories:
    """Names by id; `is_complete` where the file itself lists them, so that another id is a mistake."""

    names: dict[int, str]
    point_names: tuple[str, ...]
    is_complete: bool


def is_coco(folder: Path) -> bool:
    """Whether a folder has a COCO file."""
    return (folder / FILE).is_file()


def load_coco(folder: Path, *, split: str | None, classes: Sequence[str] = CLASSES) -> PictureSet:
    """Read `annotations.json` of a folder and find its pictures, in `images/` or in `images.tar`.

    Args:
        folder: holds the file; nothing is written there.
        split: `train`, `val`, or None for every picture.
        classes: the wanted ones, by name; others are left out and counted.

    Raises:
        InputError: naming the file and what is wrong with it, every mistake of it.
    """
    reading = Reading(folder, split=split)
    found = read_coco(reading)
    reading.mistakes.refuse()
    return choose_classes(found, classes)


def read_coco(reading: Reading) -> PictureSet:
    """What the file says; mistakes are noted and what they concern is left out.

    Raises:
        InputError: it is no COCO file at all.
    """
    path = reading.folder / FILE
    data = load_json(path)
    categories = _read_categories(data, reading)
    reading.number_classes(categories.names.values())
    images = _by_id(_list(data, "images", path), reading)
    reading.expect_group_column(sorted({key for image in images.values() for key in image}), FILE)
    annotations = _by_image(_list(data, "annotations", path), images, reading)
    for number, image in images.items():
        _read_image(image, annotations.get(number, []), categories, reading)
    labelled = data.get("labelled_categories", list(categories.names))
    if not isinstance(labelled, list):
        reading.mistakes.add(FILE, "labelled_categories", f"expected a list of category ids, got {labelled!r:.60}")
        labelled = []
    known = np.array([number in labelled for number in categories.names], np.bool_)
    return reading.finish(part=Part.BOXES, labelled=known, point_names=categories.point_names, how_to_split=HOW_TO_SPLIT)


def load_json(path: Path) -> dict[str, Any]:
    """A COCO file as it is.

    Raises:
        InputError: it is no JSON object.
    """
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object with images and annotations, got a {type(data).__name__}")
    return data


def _list(data: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    found = data.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InputError(f"{path}: {key}: expected a list of objects")
    return found


def _read_categories(data: dict[str, Any], reading: Reading) -> _Categories:
    """The file's own list, or COCO's ids of our classes where it has none."""
    if "categories" not in data:
        return _Categories(dict(CATEGORY_IDS), (), is_complete=False)
    names: dict[int, str] = {}
    point_names: tuple[str, ...] = ()
    for row, entry in enumerate(_list(data, "categories", reading.folder / FILE), start=1):
        number, name = entry.get("id"), entry.get("name")
        if not isinstance(number, int) or not isinstance(name, str) or number in names:
            reading.mistakes.add(
                FILE, f"category {row}", f"id {number!r:.20}, name {name!r:.40}: expected an id of its own and a name"
            )
            continue
        names[number] = name
        points = entry.get("keypoints", ())
        point_names = max(point_names, tuple(map(str, points)) if isinstance(points, list) else (), key=len)
    return _Categories(names, point_names, is_complete=True)


def _by_id(images: list[dict[str, Any]], reading: Reading) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {}
    for row, image in enumerate(images, start=1):
        number = image.get("id")
        if not isinstance(number, int | str) or number in found:
            reading.mistakes.add(FILE, f"images, entry {row}", f"id {number!r:.20}: expected a number that no other image has")
        elif not isinstance(image.get("file_name"), str):
            reading.mistakes.add(FILE, f"image {number}", "an image without file_name; expected the picture's name in the folder")
        else:
            found[number] = image
    return found


def _by_image(
    annotations: list[dict[str, Any]], images: dict[int | str, dict[str, Any]], reading: Reading
) -> dict[int | str, list[dict[str, Any]]]:
    found: dict[int | str, list[dict[str, Any]]] = {}
    for annotation in annotations:
        number = annotation.get("image_id")
        if isinstance(number, int | str) and number in images:
            found.setdefault(number, []).append(annotation)
        else:
            message = f"image_id {number!r:.20} is no image of the file; correct or remove the annotation"
            reading.mistakes.add(FILE, f"annotation {annotation.get('id')!r:.20}", message)
    return found


def _read_image(image: dict[str, Any], annotations: list[dict[str, Any]], categories: _Categories, reading: Reading) -> None:
    place, name = f"image {image['id']}", image["file_name"]
    split = reading.split_named(image.get("split", "train"), FILE, place)
    if not reading.wants(split):
        return
    source = reading.find_file(name, FILE, place, also_in=FOLDER)
    objects = [_read_object(one, name, categories, reading) for one in annotations]
    if source is None:
        return
    origin = Origin(name, f"{FILE}, {place}", split, str(image.get(reading.group_column, "")), _size(image))
    reading.pictures.append(
        make_picture(
            f"{reading.name}/{name}",
            source,
            [one for one in objects if one],
            point_count=len(categories.point_names),
            origin=origin,
        )
    )


def _read_object(annotation: dict[str, Any], name: str, categories: _Categories, reading: Reading) -> LabelledObject | None:
    place = f"annotation {annotation.get('id')!r:.20} of {name}"
    number = annotation.get("category_id")
    if not isinstance(number, int) or number not in categories.names:
        if categories.is_complete or not isinstance(number, int):
            known = ", ".join(map(str, list(categories.names)[:20]))
            reading.mistakes.add(FILE, place, f"category_id {number!r:.20} is unknown; categories has {known}")
        return None
    sides = annotation.get("bbox")
    if not isinstance(sides, list) or len(sides) != 4:
        reading.mistakes.add(FILE, place, f"bbox {sides!r:.60}: expected four numbers x, y, w, h")
        return None
    box = reading.box_from_sides(sides, FILE, place)
    points = _read_points(annotation.get("keypoints"), categories, place, reading)
    if box is None:
        return None
    return LabelledObject(box, list(categories.names).index(number), bool(annotation.get("iscrowd", 0)), points)


def _read_points(found: object, categories: _Categories, place: str, reading: Reading) -> list[tuple[float, float]]:
    """x, y where visibility is over 0, NaN elsewhere."""
    if found is None or not categories.point_names:
        return []
    try:
        rows = np.array(found, np.float64).reshape(-1, 3)
    except (TypeError, ValueError):
        rows = np.zeros((len(categories.point_names) + 1, 3))
    if len(rows) > len(categories.point_names):
        message = f"keypoints: expected x, y, visibility of each of {len(categories.point_names)} points"
        reading.mistakes.add(FILE, place, message)
        return []
    return [(x, y) if seen else (np.nan, np.nan) for x, y, seen in rows.tolist()]


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0 else None
