"""Draw what the daemon believes onto a picture, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from edged.types import Pixels, Track, TrackState
from edged.vision.masks import Polygon
from edged.vision.redact import PublicPicture

Colour = tuple[int, int, int]
"""Red, green, blue."""

PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (213, 94, 0),  # vermillion
    (204, 121, 167),  # reddish purple
    (0, 114, 178),  # blue
)
"""Colours that people with any colour vision tell apart.

Source: Okabe and Ito, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/
"""

_SHADE, _SHADES = 0.6, 3
_ZONE_COLOUR: Colour = (255, 255, 255)
_LINE_COLOUR: Colour = (255, 0, 255)
_TINT = 0.12
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINES_OF_TEXT = 28
"""How many lines of text the picture's height would hold."""


def draw_overlay(
    picture: PublicPicture,
    *,
    tracks: Sequence[Track],
    class_names: Sequence[str],
    names: Mapping[int, str] | None = None,
    zones: Mapping[str, Polygon] | None = None,
    lines: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] | None = None,
    caption: str = "",
) -> None:
    """Draw boxes, numbers, classes, names, zones and lines into a picture.

    A confirmed track has a thick box and a label, one lost from sight a thin box and a label, a tentative one a thin box.

    Args:
        class_names: by class id.
        names: who an object is, by the number of its track.
        zones: name to polygon, shares of the picture.
        lines: name to its two ends, shares of the picture; the arrow at its middle points where crossing counts as `in`.
        caption: a line of text at the top left.
    """
    drawn = picture.pixels_rgb
    for name, polygon in (zones or {}).items():
        _draw_zone(drawn, name, polygon)
    for name, (start_norm, end_norm) in (lines or {}).items():
        _draw_line(drawn, name, start_norm, end_norm)
    for track in sorted(tracks, key=lambda each: float(each.box[3])):  # what is nearer lies on top
        _draw_track(drawn, track, class_names[track.class_id], (names or {}).get(track.number, ""))
    if caption:
        _draw_text(drawn, caption, (2, 2), text_colour=(255, 255, 255), ground_colour=(0, 0, 0))


def colour_of(class_id: int) -> Colour:
    """The colour of a class: of the palette, and where that ends a darker shade of it, twice; then it begins anew."""
    shade = _SHADE ** (class_id // len(PALETTE) % _SHADES)
    red, green, blue = PALETTE[class_id % len(PALETTE)]
    return round(red * shade), round(green * shade), round(blue * shade)


def _draw_track(drawn: Pixels, track: Track, class_name: str, name: str) -> None:
    x1, y1, x2, y2 = (round(float(edge)) for edge in track.box)
    colour = colour_of(track.class_id)
    thickness = 2 if track.state is TrackState.CONFIRMED else 1
    cv2.rectangle(drawn, (x1, y1), (x2 - 1, y2 - 1), colour, thickness)
    if track.state is not TrackState.TENTATIVE:
        label = f"{class_name} {track.number} {name}".rstrip()
        _draw_text(drawn, label, (x1, y1), text_colour=_readable_on(colour), ground_colour=colour, above=True)


def _draw_zone(drawn: Pixels, name: str, polygon: Polygon) -> None:
    corners = _to_pixels(polygon, drawn)
    tinted = cv2.fillPoly(drawn.copy(), [corners], _ZONE_COLOUR)
    cv2.addWeighted(tinted, _TINT, drawn, 1 - _TINT, 0, dst=drawn)
    cv2.polylines(drawn, [corners], True, _ZONE_COLOUR, 1, cv2.LINE_AA)
    left_top = corners[np.argmin(corners.sum(axis=1))]
    _draw_text(drawn, name, (int(left_top[0]), int(left_top[1])), text_colour=(0, 0, 0), ground_colour=_ZONE_COLOUR)


def _draw_line(drawn: Pixels, name: str, start_norm: tuple[float, float], end_norm: tuple[float, float]) -> None:
    start, end = _to_pixels((start_norm, end_norm), drawn)
    cv2.line(drawn, tuple(map(int, start)), tuple(map(int, end)), _LINE_COLOUR, 2, cv2.LINE_AA)
    middle = (start + end) / 2
    along = (end - start) / max(1.0, float(np.linalg.norm(end - start)))
    tip = middle + np.array([-along[1], along[0]]) * drawn.shape[0] / 18  # a quarter turn to the right, y points down
    cv2.arrowedLine(drawn, tuple(map(round, middle)), tuple(map(round, tip)), _LINE_COLOUR, 2, cv2.LINE_AA, tipLength=0.4)
    _draw_text(drawn, name, (int(start[0]), int(start[1])), text_colour=(255, 255, 255), ground_colour=(110, 0, 110))


def _draw_text(
    drawn: Pixels, text: str, at: tuple[int, int], *, text_colour: Colour, ground_colour: Colour, above: bool = False
) -> None:
    """Text on a filled ground, its corner at a point, kept inside the picture."""
    height, width = drawn.shape[:2]
    scale = max(0.35, height / _LINES_OF_TEXT / 30)
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    ground_width, ground_height = text_width + 4, text_height + baseline + 3
    left = max(0, min(at[0], width - ground_width))
    top = max(0, min(at[1] - ground_height if above else at[1], height - ground_height))
    cv2.rectangle(drawn, (left, top), (left + ground_width - 1, top + ground_height - 1), ground_colour, -1)
    cv2.putText(drawn, text, (left + 2, top + text_height + 1), _FONT, scale, text_colour, 1, cv2.LINE_AA)


def _to_pixels(points_norm: Polygon, drawn: Pixels) -> np.ndarray:
    height, width = drawn.shape[:2]
    return np.round(np.array(points_norm, np.float64) * (width - 1, height - 1)).astype(np.int32)


def _readable_on(colour: Colour) -> Colour:
    """Black or white, whichever stands out more."""
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (0, 0, 0) if luminance > 110 else (255, 255, 255)
