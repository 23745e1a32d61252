"""Labelled pictures for people to look at: boxes, points and masks on them, many on a sheet, and a histogram of sizes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from edged.vision.palette import colour_of
from tools.datasets.pictures import VOID, Part, Picture, PictureSet

Colour = tuple[int, int, int]

TILE_PX = 320
"""Longer side of a picture on a sheet."""
COLUMNS = 4
LARGEST_PX = 1280
"""Longer side of a single picture; smaller ones are enlarged, so that names can be read."""
NAMED_FROM_PX = 24
"""A box whose longer side is shorter on the drawing has no name at it: names would hide what is there."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TINT = 0.45
_GREY: Colour = (150, 150, 150)
_GROUND: Colour = (32, 32, 32)
_HISTOGRAM_EDGES_PX = (0, 4, 8, 16, 32, 64, 96, 128, 192, 256, 1e9)


def draw_labels(one: Picture, found: PictureSet, *, side_px: int, caption: str = "") -> Pixels:
    """The picture scaled to a longer side, with everything known of it: ignored boxes are grey, masks tinted.

    Raises:
        InputError: the picture or its mask cannot be decoded.
    """
    pixels = one.pixels_rgb()
    scale = side_px / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    drawn = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if one.mask is not None:
        drawn = _tint(drawn, cv2.resize(one.mask.indexes(), size, interpolation=cv2.INTER_NEAREST))
    for row in np.argsort(one.boxes[:, 3], kind="stable"):  # what is nearer lies on top
        colour = _GREY if one.ignored[row] else colour_of(int(one.class_ids[row]))
        x1, y1, x2, y2 = (round(float(edge) * scale) for edge in one.boxes[row])
        cv2.rectangle(drawn, (x1, y1), (x2 - 1, y2 - 1), colour, 1 if one.ignored[row] else 2)
        if max(x2 - x1, y2 - y1) >= NAMED_FROM_PX:
            name = found.classes[one.class_ids[row]] + (" ignored" if one.ignored[row] else "")
            _write(drawn, name, x1, y1, colour, is_above=True)
    if one.points is not None:
        _draw_points(drawn, one.points * scale)
    lines = [text for text in (one.label, caption) if text]
    for number, text in enumerate(lines):
        _write(drawn, text, 0, 16 * number, _GROUND)
    return drawn


def draw_sheet(pictures: Sequence[Picture], found: PictureSet, *, columns: int = COLUMNS, tile_px: int = TILE_PX) -> Pixels:
    """Pictures side by side, each with its name and split; classes and their colours below."""
    drawings = [
        draw_labels(one, found, side_px=tile_px, caption=f"{one.origin.file or one.name} {one.origin.split}") for one in pictures
    ]
    rows = []
    for start in range(0, len(drawings), columns):
        mine = drawings[start : start + columns]
        row = np.full((max(len(one) for one in mine) + 4, columns * tile_px, 3), _GROUND, np.uint8)
        for number, one in enumerate(mine):
            row[: one.shape[0], number * tile_px : number * tile_px + one.shape[1]] = one
        rows.append(row)
    if found.part is not Part.LABEL:
        rows.append(_legend(found.classes, width_px=columns * tile_px))
    return np.vstack(rows)


def draw_histogram(sides_px: NDArray[np.float32], *, title: str, width_px: int, height_px: int = 220) -> Pixels:
    """How many objects have which side: a bar each step of `_HISTOGRAM_EDGES_PX`, the number on it.

    Args:
        sides_px: (M,) square roots of areas.
    """
    drawn = np.full((height_px, width_px, 3), _GROUND, np.uint8)
    counts, _ = np.histogram(sides_px, bins=_HISTOGRAM_EDGES_PX)
    step, room = width_px / len(counts), height_px - 64
    for number, count in enumerate(counts.tolist()):
        x, tall = round(number * step), round(room * count / max(1, int(counts.max())))
        bottom = height_px - 22
        cv2.rectangle(drawn, (x + 4, bottom - tall), (round(x + step) - 4, bottom), colour_of(1), -1)
        low, high = _HISTOGRAM_EDGES_PX[number : number + 2]
        _write(drawn, f"{low}-{high}" if high < 1e9 else f"{low} on", x + 4, height_px - 19, _GROUND)
        _write(drawn, str(count), x + 4, bottom - tall - 17, _GROUND)
    _write(drawn, title, 4, 2, _GROUND)
    return drawn


def _tint(drawn: Pixels, indexes: NDArray[np.uint8]) -> Pixels:
    """Class 0 and what is unknown stay as they are: mostly the ground that things stand before."""
    colours = np.array([colour_of(number) for number in range(256)], np.uint8)
    tinted = cv2.addWeighted(colours[indexes], _TINT, drawn, 1 - _TINT, 0)
    return np.where(((indexes == VOID) | (indexes == 0))[..., None], drawn, tinted)


def _draw_points(drawn: Pixels, points: NDArray[np.float32]) -> None:
    """Known points (M, K, 2), each a dot with a dark rim."""
    for x, y in points[np.isfinite(points).all(axis=2)].round().astype(int).tolist():
        cv2.circle(drawn, (x, y), 3, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(drawn, (x, y), 2, colour_of(3), -1, cv2.LINE_AA)


def _legend(names: Sequence[str], *, width_px: int) -> Pixels:
    drawn = np.full((22, width_px, 3), _GROUND, np.uint8)
    x = 4
    for number, name in enumerate(names):
        x += _write(drawn, name, x, 3, colour_of(number)) + 8
    return drawn


def _write(drawn: Pixels, text: str, left: int, top: int, ground: Colour, *, is_above: bool = False) -> int:
    """Text on a filled ground, kept inside the picture; its width."""
    (width, height), baseline = cv2.getTextSize(text, _FONT, 0.4, 1)
    tall = height + baseline + 3
    left = max(0, min(left, drawn.shape[1] - width - 4))
    top = max(0, min(top - tall if is_above else top, drawn.shape[0] - tall))
    cv2.rectangle(drawn, (left, top), (left + width + 3, top + tall - 1), ground, -1)
    luminance = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2]
    ink = (0, 0, 0) if luminance > 110 else (255, 255, 255)
    cv2.putText(drawn, text, (left + 2, top + height + 1), _FONT, 0.4, ink, 1, cv2.LINE_AA)
    return width + 4
