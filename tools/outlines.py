"""Masks of outlines: `python -m tools.outlines SET --classes person --out DIR` makes a set with a class for every pixel.

SET is a COCO folder whose annotations have polygons. What has none, and crowds, are void within their box: nobody knows which of
its pixels they are. Every other pixel is background.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from edged.errors import EXIT_CONFIG, EdgedError, InputError
from tools.datasets.classes import hint_at, place_of, same_name
from tools.datasets.coco import FILE, is_coco, load_coco, load_json
from tools.datasets.encoding import decode_rgb, encode_indexes
from tools.datasets.masks import CLASS_LIST
from tools.datasets.masks import FILE as SPLIT_FILE
from tools.datasets.pictures import Picture

BACKGROUND = "background"
VOID_NAME = "void"


def main(argv: list[str] | None = None) -> int:
    """Draw outlines into masks."""
    parser = argparse.ArgumentParser(prog="python -m tools.outlines", description=__doc__.partition("\n\n")[0])
    parser.add_argument("set", type=Path, help=f"folder with {FILE}")
    parser.add_argument("--classes", nargs="+", required=True, metavar="NAME", help="what is drawn; all else is background")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new set; must not be there")
    arguments = parser.parse_args(argv)
    try:
        count = write_masks(arguments.set, classes=arguments.classes, out=arguments.out)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(f"{arguments.out}: {count} pictures with masks of {', '.join(arguments.classes)}")
    return 0


def write_masks(folder: Path, *, classes: Sequence[str], out: Path) -> int:
    """Write a set with masks; returns how many pictures it has.

    Args:
        folder: a COCO set.
        classes: by name; `background` becomes class 0, these follow.

    Raises:
        InputError: it is no such set, has a mistake, does not know a class, has two pictures of one name, or `out` is there.
    """
    if not is_coco(folder):
        raise InputError(f"{folder}: has no {FILE}; expected a COCO set, whose annotations have polygons")
    document = load_json(folder / FILE)
    ids = _category_ids(document, classes, folder)
    sets = {split: load_coco(folder, split=split) for split in _splits(document)}
    by_file = _annotations_by_file(document)
    _refuse_one_name(picture for found in sets.values() for picture in found.pictures)
    try:
        (out / "images").mkdir(parents=True)
        (out / "masks").mkdir()
    except OSError as error:
        raise InputError(f"{out}: cannot be made: {error.strerror}; name a folder that is not there yet") from error
    rows = []
    for split, found in sets.items():
        for picture in found.pictures:
            name = Path(picture.origin.file)
            mask = draw_mask(picture, by_file.get(picture.origin.file, ()), ids)
            (out / "images" / name.name).write_bytes(picture.encoded)
            (out / "masks" / f"{name.stem}.png").write_bytes(encode_indexes(mask))
            rows.append([f"images/{name.name}", f"masks/{name.stem}.png", split])
    names = [BACKGROUND, *classes, VOID_NAME]
    (out / CLASS_LIST).write_text("".join(f"{number} {name}\n" for number, name in enumerate(names)), encoding="utf-8")
    with (out / SPLIT_FILE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", "mask", "split"], *rows])
    return len(rows)


def draw_mask(picture: Picture, annotations: Sequence[Mapping[str, Any]], ids: Mapping[int, int]) -> NDArray[np.uint8]:
    """(H, W): 0 background, `ids` of the categories that are drawn, and the number after the last of them for void.

    Where outlines overlap the smaller object is in front, as it would otherwise not be seen at all.

    Raises:
        InputError: the picture cannot be decoded, or an outline is none.
    """
    pixels = decode_rgb(picture.encoded)
    if pixels is None:
        raise InputError(f"{picture.name}: not a picture that OpenCV can decode; replace the file or take it out of the labels")
    mask = np.zeros(pixels.shape[:2], np.uint8)
    void = max(ids.values()) + 1
    wanted = [one for one in annotations if one.get("category_id") in ids]
    known = [
        one for one in wanted if isinstance(one.get("segmentation"), list) and one["segmentation"] and not one.get("iscrowd")
    ]
    for one in wanted:
        if one not in known:
            x, y, width, height = one["bbox"]
            mask[max(0, int(y)) : int(np.ceil(y + height)), max(0, int(x)) : int(np.ceil(x + width))] = void
    height, width = mask.shape
    for one in sorted(known, key=lambda each: -each["bbox"][2] * each["bbox"][3]):
        parts = [_corners(part, picture.name) for part in one["segmentation"]]
        runs = coco_mask.merge(coco_mask.frPyObjects(parts, height, width))
        mask[coco_mask.decode(runs) > 0] = ids[one["category_id"]]
    return mask


def _corners(part: object, name: str) -> list[float]:
    """x1, y1, x2, y2, … of a polygon."""
    try:
        corners = np.array(part, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        corners = np.zeros((0, 2))
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise InputError(
            f"{name}: segmentation {part!s:.60}: expected three corners or more, x1, y1, x2, y2, …; correct or remove it"
        )
    return corners.ravel().tolist()


def _category_ids(document: Mapping[str, Any], classes: Sequence[str], folder: Path) -> dict[int, int]:
    """The number in a mask of each category that is drawn."""
    known = {same_name(str(one.get("name"))): one.get("id") for one in document.get("categories", ())}
    if strange := [name for name in classes if same_name(name) not in known]:
        names = [str(one.get("name")) for one in document.get("categories", ())]
        raise InputError(f"{folder / FILE}: has no class {strange[0]!r}; {hint_at(strange[0], names)}")
    return {known[name]: place + 1 for name, place in place_of(classes).items()}


def _refuse_one_name(pictures: Iterable[Picture]) -> None:
    """The new set has one folder: of two pictures that differ by folder or ending only, one would replace the other's mask."""
    seen: dict[str, str] = {}
    for picture in pictures:
        file = picture.origin.file
        former = seen.setdefault(Path(file).stem, file)
        if former != file:
            raise InputError(f"{file}: {former} has the same name, and masks are told apart by it: rename one of them")


def _splits(document: Mapping[str, Any]) -> list[str]:
    return sorted({str(image.get("split", "train")) for image in document.get("images", ())})


def _annotations_by_file(document: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    files = {image["id"]: image["file_name"] for image in document["images"]}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in document["annotations"]:
        found.setdefault(files[one["image_id"]], []).append(one)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
