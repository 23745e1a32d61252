"""Anchor sizes that fit the boxes of the training pictures: `python -m tools.anchors DATA [--plot anchors.png]`.

Source: Redmon & Farhadi, YOLO9000, 2017, section 2: k-means with 1 - IoU as the distance, and the mean best IoU by k.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import EdgedError, InputError
from edged.vision.letterbox import make_transform
from tools.datasets import PictureSet
from tools.datasets.opening import load_sets

ZOOMS = (1.0, 0.5)
"""The sizes at which training shows a picture: alone, and as a part of a mosaic."""
SMALLEST_PX = 3
"""A box with a shorter side has no shape worth an anchor."""
PER_STRIDE, STRIDES = 3, 3
LARGEST_K = 12
CHART_PX = (640, 400)


def find_anchors(sizes: NDArray[np.float32], *, count: int, rounds: int = 100) -> NDArray[np.float32]:
    """(count, 2) widths and heights by rising area, each the mean of the sizes (M, 2) that overlap it most.

    Raises:
        InputError: there are fewer sizes than anchors.
    """
    if len(sizes) < count:
        raise InputError(f"{len(sizes)} boxes are too few for {count} anchors; label more, or ask for fewer")
    order = np.argsort(sizes.prod(axis=1))
    anchors = sizes[order[np.linspace(0, len(sizes) - 1, count + 2)[1:-1].astype(int)]].astype(np.float64)
    for _ in range(rounds):
        nearest = size_overlaps(sizes, anchors).argmax(axis=1)
        means = [sizes[nearest == k].mean(axis=0) if (nearest == k).any() else anchors[k] for k in range(count)]
        if np.array_equal(means, anchors):
            break
        anchors = np.array(means)
    return anchors[np.argsort(anchors.prod(axis=1))].astype(np.float32)


def size_overlaps(sizes: NDArray[np.floating], anchors: NDArray[np.floating]) -> NDArray[np.floating]:
    """(M, K) IoU of boxes of these widths and heights laid on the same centre."""
    inner = np.minimum(sizes[:, None], anchors[None]).prod(axis=2)
    return inner / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - inner)


def mean_best_overlap(sizes: NDArray[np.floating], anchors: NDArray[np.floating]) -> float:
    """How well the sizes are met by the anchor that fits each best; 1 is exactly."""
    return float(size_overlaps(sizes, anchors).max(axis=1).mean())


def split_by_stride(anchors: NDArray[np.float32]) -> list[list[list[int]]]:
    """Nine anchors by rising area as the configuration wants them: three for stride 8, three for 16, three for 32."""
    return [[[round(float(side)) for side in anchor] for anchor in three] for three in np.split(anchors, STRIDES)]


def collect_sizes(sets: Sequence[PictureSet], *, side: int) -> NDArray[np.float32]:
    """(M, 2) widths and heights of all boxes that count, in pixels of a square input of that side, at each zoom."""
    sizes = []
    for picture in (picture for one in sets for picture in one.pictures):
        h, w = picture.pixels_rgb().shape[:2]
        transform = make_transform(w, h, width=side, height=side)
        boxes = transform.to_input(picture.boxes[~picture.ignored])
        sizes.append(boxes[:, 2:] - boxes[:, :2])
    once = np.concatenate(sizes)
    both = np.concatenate([once * zoom for zoom in ZOOMS])
    return both[(both > SMALLEST_PX).all(axis=1)]


def draw_chart(overlaps: Sequence[float], path: Path) -> None:
    """Write a picture of the mean best overlap against k = 1, 2, …; OpenCV draws it: a plotting library for one curve is a lot.

    Raises:
        InputError: the file cannot be written.
    """
    w, h = CHART_PX
    left, right, top, bottom = 60, w - 20, 20, h - 40
    chart = np.full((h, w, 3), 255, np.uint8)

    def at(k: float, overlap: float) -> tuple[int, int]:
        x = left + (right - left) * (k - 1) / max(len(overlaps) - 1, 1)
        return round(x), round(bottom - (bottom - top) * overlap)

    for tenth in range(0, 11, 2):
        y = at(1, tenth / 10)[1]
        cv2.line(chart, (left, y), (right, y), (220, 220, 220))
        cv2.putText(chart, f"{tenth / 10:.1f}", (20, y + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    points = [at(k, overlap) for k, overlap in enumerate(overlaps, start=1)]
    cv2.polylines(chart, [np.array(points)], False, (180, 90, 20), 2, cv2.LINE_AA)
    for k, (x, y) in enumerate(points, start=1):
        cv2.circle(chart, (x, y), 3, (180, 90, 20), -1, cv2.LINE_AA)
        cv2.putText(chart, str(k), (x - 4, bottom + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(chart, "mean best IoU against k", (left, h - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    try:
        written = cv2.imwrite(str(path), chart)
    except cv2.error as error:
        raise InputError(f"{path}: OpenCV writes no such file; name it .png") from error
    if not written:
        raise InputError(f"{path}: cannot be written; does its folder exist?")


def main(argv: list[str] | None = None) -> int:
    """Print how well k anchors fit the boxes, for k up to 12, and nine anchors as the training configuration wants them."""
    parser = argparse.ArgumentParser(prog="python -m tools.anchors", description=main.__doc__)
    parser.add_argument("data", type=Path, help="a set of any layout, or a folder of sets")
    parser.add_argument("--side", type=int, default=320, help="of the square input, pixels")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw the overlap against k")
    arguments = parser.parse_args(argv)
    try:
        _report(arguments)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 78
    return 0


def _report(arguments: argparse.Namespace) -> None:
    sizes = collect_sizes(load_sets(arguments.data, split="train"), side=arguments.side)
    overlaps = [mean_best_overlap(sizes, find_anchors(sizes, count=k)) for k in range(1, LARGEST_K + 1)]
    print(f"{len(sizes)} boxes, each at {len(ZOOMS)} sizes\n{'k':>3} mean best overlap")
    for k, overlap in enumerate(overlaps, start=1):
        print(f"{k:>3} {overlap:.3f}")
    print("anchors:", split_by_stride(find_anchors(sizes, count=PER_STRIDE * STRIDES)))
    if arguments.plot:
        draw_chart(overlaps, arguments.plot)


if __name__ == "__main__":
    raise SystemExit(main())
