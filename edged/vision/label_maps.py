"""Arithmetic on label maps: (h, w) uint8, the class of every pixel of a picture, whatever the classes mean.

Zones, points and outlines are in shares of the picture, as everywhere in a configuration and on the wire, so that a map may be
smaller than the picture it is of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.vision.masks import Mask, Polygon, polygon_mask

Labels = NDArray[np.uint8]
"""(h, w) uint8: a class id a pixel."""

Outline = tuple[tuple[float, float], ...]
"""At least three corners (x, y) in shares of the picture; the last joins the first."""

N_LABELS = 256
"""So many classes a byte can name."""

_GRID = 2
"""Outlines are followed on a grid so many times finer than the pixels, on which gaps of one pixel stay open."""


@dataclass(frozen=True, slots=True)
class Region:
    """A connected part of a mask; pixels that touch at a corner are connected.

    Attributes:
        outline: along the outer edges of its pixels.
        holes: along the edges of what it surrounds, largest first.
        area_ratio: share of the picture, before its outline was simplified; off by an eighth of a pixel for a ragged corner.
    """

    outline: Outline
    holes: tuple[Outline, ...]
    area_ratio: float


def zone_mask(polygons_norm: Sequence[Polygon], *, width: int, height: int) -> Mask:
    """The pixels of a zone: (height, width), at least one. Make it once a zone and size of map, it is slow.

    Of a zone in which no pixel has its centre, the pixels that its edges pass through.
    """
    mask = polygon_mask(polygons_norm, width=width, height=height)
    if mask.any():
        return mask
    drawn = np.zeros((height, width), np.uint8)
    size = np.array([width, height])
    for polygon in polygons_norm:
        pixels = np.clip(np.floor(np.asarray(polygon, np.float64) * size), 0, size - 1).astype(np.int32)
        cv2.polylines(drawn, [pixels], True, 1)
    return drawn > 0


def class_shares(labels: Labels, n_classes: int, *, inside: Mask | None = None) -> NDArray[np.float64]:
    """Of the pixels inside, the share of each class: (n_classes,); all 0 where there is no pixel.

    They sum to less than 1 where labels name classes beyond, as void does.

    Args:
        inside: of the map's size, see `zone_mask`; None is the whole picture.

    Raises:
        ValueError: the mask has another size.
    """
    if inside is not None:
        if inside.shape != labels.shape:
            raise ValueError(f"expected a mask of the label map's size {labels.shape}, got {inside.shape}")
        labels = labels[inside]
    counts = np.bincount(labels.ravel(), minlength=N_LABELS)[:n_classes]
    return counts / max(1, labels.size)


def class_at(labels: Labels, point_norm: tuple[float, float]) -> int:
    """The class at a point in shares of the picture; on its rim and beyond, of the nearest pixel."""
    height, width = labels.shape
    x, y = int(np.floor(point_norm[0] * width)), int(np.floor(point_norm[1] * height))
    return int(labels[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])


def mask_of(labels: Labels, class_ids: Collection[int]) -> Mask:
    """Which pixels have one of the classes: the map's shape."""
    is_meant = np.zeros(N_LABELS, np.bool_)
    is_meant[list(class_ids)] = True
    return is_meant[labels]


def resized(labels: Labels, *, width: int, height: int) -> Labels:
    """The map in another size, e.g. its frame's: (height, width), each pixel the class of the one that holds its centre."""
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def find_regions(mask: Mask, *, tolerance_px: float = 1.0, most_regions: int = 32, most_points: int = 64) -> tuple[Region, ...]:
    """The connected parts of a mask as simplified polygons, largest first.

    Args:
        mask: e.g. of `mask_of`.
        tolerance_px: so far an outline may stray, pixels of the mask; further where it would have too many points.
            At 0, the pixels whose centres lie in the outlines and not in the holes are the mask's.
        most_regions: smaller parts beyond are left out; of each part, so are smaller holes beyond.
        most_points: of one outline, at least 4.

    Source: Suzuki and Abe, Topological Structural Analysis of Digitized Binary Images, 1985 (`cv2.findContours`); Douglas and
    Peucker, Algorithms for the Reduction of the Number of Points, 1973 (`cv2.approxPolyDP`).
    """
    contours, tree = cv2.findContours(_corner_grid(mask), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(contour) for contour in contours]
    largest_first = sorted(range(len(contours)), key=areas.__getitem__, reverse=True)
    holes: dict[int, list[int]] = {index: [] for index in largest_first if tree[0, index, 3] < 0}
    for index in largest_first:
        if index not in holes:
            holes[int(tree[0, index, 3])].append(index)
    remaining = {index: areas[index] - sum(areas[hole] for hole in inner) for index, inner in holes.items()}

    def simplify(index: int) -> Outline:
        return _simplified(contours[index], mask.shape, tolerance_px=tolerance_px, most_points=most_points)

    return tuple(
        Region(
            simplify(index),
            tuple(simplify(hole) for hole in holes[index][:most_regions]),
            remaining[index] / (_GRID**2 * mask.size),
        )
        for index in sorted(holes, key=remaining.__getitem__, reverse=True)[:most_regions]
    )


def _corner_grid(mask: Mask) -> NDArray[np.uint8]:
    """Points on and between the corners of the pixels, 1 where one of the mask's pixels touches: (2h + 1, 2w + 1)."""
    height, width = mask.shape
    grid = np.zeros((_GRID * height + 1, _GRID * width + 1), np.uint8)
    for y in range(_GRID + 1):
        for x in range(_GRID + 1):
            grid[y : y + _GRID * height : _GRID, x : x + _GRID * width : _GRID] |= mask
    return grid


def _simplified(contour: NDArray[np.int32], shape: tuple[int, ...], *, tolerance_px: float, most_points: int) -> Outline:
    tolerance = _GRID * tolerance_px
    points = cv2.approxPolyDP(contour, tolerance, True)
    while len(points) > most_points:
        tolerance = max(1.0, 1.5 * tolerance)
        points = cv2.approxPolyDP(contour, tolerance, True)
    corners = points.reshape(-1, 2)
    if len(corners) < 3:  # smaller than the tolerance
        x, y, width, height = cv2.boundingRect(contour)
        corners = np.array([(x, y), (x + width - 1, y), (x + width - 1, y + height - 1), (x, y + height - 1)])
    shares = corners / (_GRID * shape[1], _GRID * shape[0])
    return tuple((float(x), float(y)) for x, y in shares)


def run_lengths(mask: Mask) -> list[int]:
    """COCO's uncompressed RLE: how many pixels are off, on, off, … down the columns, the left one first.

    Source: Lin et al., COCO API, https://github.com/cocodataset/cocoapi, common/maskApi.c.
    """
    down_columns = mask.ravel(order="F")
    changes = np.flatnonzero(down_columns[1:] != down_columns[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [down_columns.size]]))
    return [0, *runs.tolist()] if down_columns.size and down_columns[0] else runs.tolist()


def mask_from_runs(runs: Sequence[int], *, width: int, height: int) -> Mask:
    """The mask that `run_lengths` gives as these runs: (height, width).

    Raises:
        ValueError: they do not fill it.
    """
    if any(run < 0 for run in runs) or sum(runs) != width * height:
        raise ValueError(f"expected runs >= 0 that sum to {width} x {height} = {width * height} pixels, got {sum(runs)}")
    is_on = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_on, runs).reshape(height, width, order="F")


def compress_runs(runs: Sequence[int]) -> str:
    """COCO's compressed RLE: each run, from the fourth on less the one before the last, in signed groups of 5 bits from `0` on.

    Source: as `run_lengths`.
    """
    text = bytearray()
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            group, value = value & 0x1F, value >> 5
            more = value != (-1 if group & 0x10 else 0)
            text.append(48 + group + (0x20 if more else 0))
    return text.decode("ascii")


def decompress_runs(text: str) -> list[int]:
    """The runs of a compressed RLE.

    Raises:
        ValueError: it is none.
    """
    runs: list[int] = []
    value = bits = 0
    for position, character in enumerate(text):
        group = ord(character) - 48
        if not 0 <= group < 0x40:
            raise ValueError(f"RLE: expected characters from '0' to 'o', got {character!r} at position {position}")
        value |= (group & 0x1F) << bits
        bits += 5
        if not group & 0x20:
            if group & 0x10:
                value -= 1 << bits
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = bits = 0
    if bits:
        raise ValueError(f"RLE: it is cut off after {len(text)} characters")
    return runs
