"""Faces pasted into other pictures: `python -m tools.paste_faces FACES… --into SET… --out FOLDER --count 3000`.

Sets of faces show one large face a picture. This makes a COCO set of them whose pictures have several faces of all sizes, in
front of anything, with boxes and points. A face comes with a soft edge: either the whole of its picture fades into the
background, or an ellipse around the head alone, so that no one kind of edge gives a face away.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.types import Pixels
from edged.vision.alignment import POINT_NAMES
from edged.vision.boxes import iou_matrix
from tools.datasets import Picture, PictureSet, coco
from tools.datasets.choosing import choose_classes, choose_points
from tools.datasets.encoding import encode_jpeg
from tools.datasets.opening import load_set
from tools.engines import write_whole

CLASS = "face"
MAY_HAVE_FACES = ("person", CLASS)
"""Labelled things of a background in which nothing is to be taught."""
FADE_RATIO = 0.15
"""From each edge of a face's picture, over so much of its shorter side, it fades out."""
HEAD_RATIO = 0.95
"""Half axes of the ellipse around a head, in sides of the face's box."""
HEAD_CORE = 0.65
"""Up to so much of these axes nothing fades."""
ROOM_RATIO = 1.6
"""Boxes grown by this keep apart from each other: a head is larger than its face."""
_TRIES = 20


@dataclass(frozen=True, slots=True)
class PasteSettings:
    """What the pictures look like.

    Attributes:
        side_px: longer side of a picture.
        faces: the most in one picture; the least is one.
        smallest_px, largest_px: height of a face's box; its logarithm is spread evenly.
        enlarged: a face is shown at most so many times as large as it is stored.
        gain: its brightness changes by at most this factor, up or down.
    """

    side_px: int = 352
    faces: int = 5
    smallest_px: float = 18.0
    largest_px: float = 160.0
    enlarged: float = 1.5
    gain: float = 1.3

    def __post_init__(self) -> None:
        if not 0 < self.smallest_px <= self.largest_px < self.side_px or min(self.faces, self.enlarged, self.gain) < 1:
            raise ValueError(f"expected 0 < smallest <= largest < side, and faces, enlarged and gain from 1 on, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A face in its own picture.

    Attributes:
        pixels_rgb: (H, W, 3) uint8.
        box: (4,) float32 xyxy, its pixels.
        points: (K, 2) float32 x, y, its pixels, NaN where unknown.
    """

    pixels_rgb: Pixels
    box: NDArray[np.float32]
    points: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """A picture with faces in it, all in its pixels.

    Attributes:
        pixels_rgb: (H, W, 3) uint8.
        boxes: (M, 4) float32 xyxy.
        points: M of (K, 2) float32 x, y, NaN where unknown.
        ignored: (N, 4) float32 xyxy: what may have a face of its own.
    """

    pixels_rgb: Pixels
    boxes: NDArray[np.float32]
    points: list[NDArray[np.float32]]
    ignored: NDArray[np.float32]


def main(argv: list[str] | None = None) -> int:
    """Write pictures with pasted faces as a set; faces and backgrounds come from one split, and all pictures are of it."""
    parser = argparse.ArgumentParser(prog="python -m tools.paste_faces", description=main.__doc__)
    parser.add_argument("faces", type=Path, nargs="+", metavar="FACES", help="sets with a box around every face")
    parser.add_argument("--into", type=Path, nargs="+", required=True, metavar="SET", help="whose pictures are the background")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the set goes; must not exist or be empty"
    )
    parser.add_argument("--split", choices=("train", "val"), default="train", help="of all sets; default: %(default)s")
    parser.add_argument("--count", type=int, default=3000, metavar="N", help="of pictures; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same set; default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        n_faces = write_pasted(
            arguments.faces,
            arguments.into,
            arguments.out,
            split=arguments.split,
            count=arguments.count,
            seed=arguments.seed,
            settings=PasteSettings(),
        )
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(f"{arguments.out}: {arguments.count} pictures, {n_faces} faces")
    return 0


def write_pasted(
    faces: Sequence[Path],
    backgrounds: Sequence[Path],
    out: Path,
    *,
    split: str,
    count: int,
    seed: int,
    settings: PasteSettings,
) -> int:
    """Write `images/000001.jpg …` and `annotations.json`; returns how many faces they show.

    Raises:
        InputError: no picture is asked for, a set is wrong or has no box of a face, or the folder is in use.
    """
    if count < 1:
        raise InputError(f"--count {count}: expected 1 or more")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: is not empty: name a new folder")
    cutouts = [cutout for folder in faces for cutout in _load_cutouts(folder, split)]
    grounds = [(one, found) for found in (load_set(folder, split=split) for folder in backgrounds) for one in found.pictures]
    (out / coco.FOLDER).mkdir(parents=True, exist_ok=True)
    labels = _Labels(split)
    for number in range(1, count + 1):
        rng = np.random.default_rng((seed, number))
        ground, found = grounds[rng.integers(len(grounds))]
        chosen = [cutouts[place] for place in rng.integers(len(cutouts), size=rng.integers(1, settings.faces + 1))]
        made = compose(ground.pixels_rgb(), chosen, ignored=_may_have_faces(ground, found), settings=settings, rng=rng)
        file = f"{coco.FOLDER}/{number:06d}.jpg"
        write_whole(out / file, encode_jpeg(made.pixels_rgb, quality=90))
        labels.add(file, made)
    write_whole(out / coco.FILE, json.dumps(labels.content(), indent=1).encode())
    return sum(not annotation["iscrowd"] for annotation in labels.annotations)


def _load_cutouts(folder: Path, split: str) -> list[Cutout]:
    found = choose_points(choose_classes(load_set(folder, split=split), (CLASS,)), POINT_NAMES)
    cutouts = [
        Cutout(one.pixels_rgb(), one.boxes[row], one.points[row])
        for one in found.pictures
        for row in np.flatnonzero(~one.ignored & (one.boxes[:, :2] < one.boxes[:, 2:]).all(axis=1))
    ]
    if not cutouts:
        raise InputError(f"{folder}: no box of a {CLASS} in split {split}; name a set that has some")
    return cutouts


def _may_have_faces(picture: Picture, found: PictureSet) -> NDArray[np.float32]:
    ids = [number for number, name in enumerate(found.classes) if name in MAY_HAVE_FACES]
    return picture.boxes[np.isin(picture.class_ids, ids)]


def compose(
    background_rgb: Pixels,
    cutouts: Sequence[Cutout],
    *,
    ignored: NDArray[np.float32],
    settings: PasteSettings,
    rng: np.random.Generator,
) -> Composition:
    """The faces in front of the background, apart from each other; one for which no room is found is left out.

    Args:
        background_rgb: (H, W, 3) uint8 of any size.
        ignored: (N, 4) xyxy, its pixels.
    """
    scale = settings.side_px / max(background_rgb.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = cv2.resize(background_rgb, None, fx=scale, fy=scale, interpolation=interpolation)
    boxes, points = np.zeros((0, 4), np.float32), []
    for cutout in cutouts:
        scaled, alpha = _scale(cutout, settings, rng)
        offset = _find_room(scaled.box, boxes, pixels.shape[:2], rng)
        if offset is not None:
            _blend(pixels, scaled.pixels_rgb, alpha, offset)
            boxes = np.concatenate([boxes, [scaled.box + np.tile(offset, 2)]]).astype(np.float32)
            points.append((scaled.points + offset).astype(np.float32))
    return Composition(pixels, boxes, points, (ignored * scale).astype(np.float32))


def _scale(cutout: Cutout, settings: PasteSettings, rng: np.random.Generator) -> tuple[Cutout, NDArray[np.float32]]:
    """The face at the size and brightness that it is to have, and how much of it is to be seen, (h, w) in 0 to 1."""
    height, width = cutout.pixels_rgb.shape[:2]
    wanted = np.exp(rng.uniform(*np.log([settings.smallest_px, settings.largest_px])))
    ratio = min(wanted / (cutout.box[3] - cutout.box[1]), settings.enlarged)
    gain = np.exp(rng.uniform(-1, 1) * np.log(settings.gain))
    alpha = _fade_edges(height, width) * (1.0 if rng.random() < 0.5 else _fade_head(cutout))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    interpolation = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    bright = np.minimum(cutout.pixels_rgb * gain, 255).astype(np.uint8)
    pixels, alpha = (cv2.resize(each, size, interpolation=interpolation) for each in (bright, alpha))
    scales = np.array(size) / (width, height)
    return Cutout(pixels, cutout.box * np.tile(scales, 2), cutout.points * scales), alpha


def _fade_edges(height: int, width: int) -> NDArray[np.float32]:
    """(h, w) 1 inside, falling to 0 at each edge."""
    ramps = [np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) / (FADE_RATIO * min(height, width)) for n in (height, width)]
    return np.minimum(*np.meshgrid(*ramps, indexing="ij")).clip(0, 1).astype(np.float32)


def _fade_head(cutout: Cutout) -> NDArray[np.float32]:
    """(h, w) 1 on the head, falling to 0 around it."""
    height, width = cutout.pixels_rgb.shape[:2]
    centre, axes = (cutout.box[:2] + cutout.box[2:]) / 2, HEAD_RATIO * (cutout.box[2:] - cutout.box[:2])
    y, x = np.mgrid[:height, :width] + 0.5
    distance = np.hypot((x - centre[0]) / axes[0], (y - centre[1]) / axes[1])
    return ((1 - distance) / (1 - HEAD_CORE)).clip(0, 1).astype(np.float32)


def _find_room(
    box: NDArray[np.float32], others: NDArray[np.float32], size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """(2,) x, y, whole pixels by which a box must move to lie inside (height, width) and apart from others; None: no room."""
    low, high = np.ceil(-box[:2]), np.floor(np.array(size[::-1]) - box[2:])
    if (high < low).any():
        return None
    for _ in range(_TRIES):
        offset = rng.integers(low, high, endpoint=True)
        if not (iou_matrix(_grow(box[None] + np.tile(offset, 2)), _grow(others)) > 0).any():
            return offset
    return None


def _grow(boxes: NDArray) -> NDArray[np.float32]:
    centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, ROOM_RATIO * (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)


def _blend(pixels: Pixels, shown: Pixels, alpha: NDArray[np.float32], offset: NDArray[np.int64]) -> None:
    """Draw a picture as far as its alpha, (h, w), shows it, with its corner at the offset; what lies outside is left out."""
    x, y = (int(number) for number in offset)
    y1, x1 = max(y, 0), max(x, 0)
    y2, x2 = min(y + shown.shape[0], pixels.shape[0]), min(x + shown.shape[1], pixels.shape[1])
    part, share = shown[y1 - y : y2 - y, x1 - x : x2 - x], alpha[y1 - y : y2 - y, x1 - x : x2 - x, None]
    place = pixels[y1:y2, x1:x2]
    place[:] = np.rint(share * part + (1 - share) * place)


@dataclass(slots=True)
class _Labels:
    """The COCO file on its way."""

    split: str
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, file: str, made: Composition) -> None:
        height, width = made.pixels_rgb.shape[:2]
        number = len(self.images) + 1
        self.images.append({"id": number, "file_name": file, "width": width, "height": height, "split": self.split})
        for box, points in zip(made.boxes, made.points, strict=True):
            seen = np.isfinite(points).all(axis=1)
            keypoints = np.column_stack([np.where(seen[:, None], points, 0.0), 2 * seen]).ravel()
            self._annotate(number, box, iscrowd=0, keypoints=[round(float(value), 2) for value in keypoints])
        for box in made.ignored:
            self._annotate(number, box, iscrowd=1)

    def _annotate(self, image: int, box: NDArray[np.float32], **more: Any) -> None:
        x1, y1, x2, y2 = (round(float(edge), 2) for edge in box)
        sides = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
        self.annotations.append({"id": len(self.annotations) + 1, "image_id": image, "category_id": 1, "bbox": sides, **more})

    def content(self) -> dict[str, Any]:
        categories = [{"id": 1, "name": CLASS, "keypoints": list(POINT_NAMES)}]
        return {"images": self.images, "annotations": self.annotations, "categories": categories, "labelled_categories": [1]}


if __name__ == "__main__":
    raise SystemExit(main())
