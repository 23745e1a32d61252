"""Labelled pictures: COCO files read, checked and decoded once into memory.

A set says which categories it labels everywhere (`labelled_categories`); of the others nothing is known: the loss is silent.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.types import Pixels

CATEGORY_IDS = {1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 6: "bus", 8: "truck"}
"""COCO's ids of the classes that we detect."""
CLASSES = tuple(CATEGORY_IDS.values())


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One labelled picture.

    Attributes:
        name: where it comes from, for messages.
        encoded: the file's bytes.
        boxes: (M, 4) float32 xyxy, its own pixels.
        class_ids: (M,) int64 into CLASSES.
        ignored: (M,) bool: too small or too crowded to count.
    """

    name: str
    encoded: bytes
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignored: NDArray[np.bool_]

    def pixels_rgb(self) -> Pixels:
        """Decode the file: (H, W, 3) uint8.

        Raises:
            InputError: it is no picture that OpenCV reads.
        """
        pixels = cv2.imdecode(np.frombuffer(self.encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None:
            raise InputError(
                f"{self.name}: not a picture that OpenCV can decode; remove it from annotations.json or replace the file"
            )
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


@dataclass(frozen=True, slots=True, eq=False)
class PictureSet:
    """Pictures labelled by one rule.

    Attributes:
        name: of its folder.
        labelled: (classes,) bool: labelled everywhere in it.
        pictures: in the order of the file.
    """

    name: str
    labelled: NDArray[np.bool_]
    pictures: tuple[Picture, ...]


def load_coco(folder: Path, *, split: str | None) -> PictureSet:
    """Read `annotations.json` of a folder and its pictures, from `images/` or from `images.tar`.

    Args:
        folder: holds the file; nothing is written there.
        split: `train`, `val`, or None for every picture.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    path = folder / "annotations.json"
    data = _load_json(path)
    files = _open_files(folder)
    by_image: dict[int, list[dict]] = {}
    for annotation in _list(data, "annotations", path):
        by_image.setdefault(annotation.get("image_id"), []).append(annotation)
    pictures = []
    for image in _list(data, "images", path):
        if split is None or image.get("split", "train") == split:
            pictures.append(_picture(image, by_image.get(image.get("id"), []), files, path))
    if not pictures:
        raise InputError(f'{path}: no picture in split {split!r}; expected images with "split": "train" or "val"')
    labelled = data.get("labelled_categories", list(CATEGORY_IDS))
    return PictureSet(folder.name, np.array([number in labelled for number in CATEGORY_IDS]), tuple(pictures))


def _load_json(path: Path) -> dict:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; expected a COCO file there") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object with images and annotations, got a {type(data).__name__}")
    return data


def _list(data: dict, key: str, path: Path) -> list[dict]:
    found = data.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InputError(f"{path}: {key}: expected a list of objects")
    return found


def _open_files(folder: Path) -> dict[str, bytes] | None:
    """The tar's files by name, None where the pictures lie beside the json."""
    path = folder / "images.tar"
    if not path.exists():
        return None
    try:
        with tarfile.open(path) as archive:
            return {entry.name.removeprefix("./"): archive.extractfile(entry).read() for entry in archive if entry.isfile()}
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _picture(image: dict, annotations: list[dict], files: dict[str, bytes] | None, path: Path) -> Picture:
    name = image.get("file_name")
    if not isinstance(name, str):
        raise InputError(f"{path}: an image without file_name (id {image.get('id')!r})")
    try:
        encoded = (path.parent / name).read_bytes() if files is None else files[name]
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: names {name}, which is not beside it nor in images.tar") from error
    boxes, class_ids, ignored = [], [], []
    for annotation in annotations:
        if annotation.get("category_id") not in CATEGORY_IDS:
            continue
        boxes.append(_box(annotation, path))
        class_ids.append(list(CATEGORY_IDS).index(annotation["category_id"]))
        ignored.append(bool(annotation.get("iscrowd", 0)))
    return Picture(
        f"{path.parent.name}/{name}",
        encoded,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(class_ids, np.int64),
        np.array(ignored, np.bool_),
    )


def _box(annotation: dict, path: Path) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = (float(number) for number in annotation["bbox"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: annotation {annotation.get('id')!r}: bbox must be four numbers x, y, w, h") from error
    if not (np.isfinite([x, y, w, h]).all() and w >= 0 and h >= 0):
        raise InputError(f"{path}: annotation {annotation.get('id')!r}: bbox {[x, y, w, h]} is not a box; w and h must be >= 0")
    return x, y, x + w, y + h
