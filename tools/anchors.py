"""Anchor sizes that fit the boxes of the training pictures: `python -m tools.anchors DATA`.

Source: Redmon & Farhadi, YOLO9000, 2017: k-means with 1 - IoU as the distance.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.vision.letterbox import make_transform
from tools.datasets import PictureSet, load_coco

ZOOMS = (1.0, 0.5)
"""The sizes at which training shows a picture: alone, and as a part of a mosaic."""


def find_anchors(sizes: NDArray[np.float32], *, count: int, rounds: int = 100) -> NDArray[np.float32]:
    """(count, 2) widths and heights by rising area, each the mean of the sizes (M, 2) that overlap it most."""
    order = np.argsort(sizes.prod(axis=1))
    anchors = sizes[order[np.linspace(0, len(sizes) - 1, count + 2)[1:-1].astype(int)]].astype(np.float64)
    for _ in range(rounds):
        nearest = size_overlaps(sizes, anchors).argmax(axis=1)
        means = [sizes[nearest == k].mean(axis=0) if (nearest == k).any() else anchors[k] for k in range(count)]
        anchors = np.array(means)
    return anchors[np.argsort(anchors.prod(axis=1))].astype(np.float32)


def size_overlaps(sizes: NDArray[np.floating], anchors: NDArray[np.floating]) -> NDArray[np.floating]:
    """(M, K) IoU of boxes of these widths and heights laid on the same centre."""
    inner = np.minimum(sizes[:, None], anchors[None]).prod(axis=2)
    return inner / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - inner)


def collect_sizes(sets: Sequence[PictureSet], *, side: int) -> NDArray[np.float32]:
    """(M, 2) widths and heights of all boxes that count, in pixels of a square input of that side, at each zoom."""
    sizes = []
    for picture in (picture for one in sets for picture in one.pictures):
        h, w = picture.pixels_rgb().shape[:2]
        transform = make_transform(w, h, width=side, height=side)
        boxes = transform.to_input(picture.boxes[~picture.ignored])
        sizes.append(boxes[:, 2:] - boxes[:, :2])
    once = np.concatenate(sizes)
    return np.concatenate([once * zoom for zoom in ZOOMS])


def main() -> None:
    """Print nine anchors, three a stride, as the training configuration wants them."""
    parser = argparse.ArgumentParser(prog="python -m tools.anchors", description=main.__doc__)
    parser.add_argument("data", type=Path, help="folder of sets, each with annotations.json")
    parser.add_argument("--side", type=int, default=320, help="of the square input, pixels")
    arguments = parser.parse_args()
    folders = sorted(path.parent for path in arguments.data.glob("*/annotations.json"))
    sizes = collect_sizes([load_coco(folder, split="train") for folder in folders], side=arguments.side)
    sizes = sizes[(sizes > 3).all(axis=1)]
    anchors = find_anchors(sizes, count=9)
    print("mean best overlap", round(float(size_overlaps(sizes, anchors).max(axis=1).mean()), 3))
    print("anchors:", [[[round(float(side)) for side in anchor] for anchor in three] for three in anchors.reshape(3, 3, 2)])


if __name__ == "__main__":
    main()
