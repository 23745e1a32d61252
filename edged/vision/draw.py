"""Draw what the daemon believes onto a picture, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels, SegmentationMap, Track, TrackState
from edged.vision.draw_map import draw_legend, tint_by_class
from edged.vision.masks import Polygon
from edged.vision.palette import Colour, class_colours, readable_on
from edged.vision.redact import PublicPicture
from edged.vision.writing import SMALL, line_height, text_scale, write_on_ground

_ZONE_COLOUR: Colour = (255, 255, 255)
_LINE_COLOUR: Colour = (255, 0, 255)
_LINE_GROUND: Colour = (110, 0, 110)
_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)
_TINT = 0.12


def draw_overlay(
    picture: PublicPicture,
    *,
    tracks: Sequence[Track],
    class_names: Sequence[str],
    object_notes: Mapping[int, str] | None = None,
    zones: Mapping[str, Polygon] | None = None,
    lines: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] | None = None,
    zone_notes: Mapping[str, Sequence[str]] | None = None,
    scene: SegmentationMap | None = None,
    caption: str = "",
) -> None:
    """Draw a map, boxes, numbers, classes, names, zones and lines into a picture.

    A confirmed track has a thick box and a label, one lost from sight a thin box and a label, a tentative one a thin box.
    The map tints the picture where nothing is hidden; a legend along the lower rim says in which colours, and how much of the
    picture each class is.

    Args:
        class_names: by class id.
        object_notes: what else is written at an object, e.g. who it is, by the number of its track.
        zones: name to polygon, shares of the picture.
        lines: name to its two ends, shares of the picture; the arrow at its middle points where crossing counts as `in`.
        zone_notes: lines of text below a zone's name.
        scene: of about this picture.
        caption: a line of text at the top left.
    """
    drawn = picture.pixels_rgb
    scale = text_scale(drawn.shape[0])
    if scene is not None:
        tint_by_class(drawn, scene, but_not=picture.hidden)
    for polygon in (zones or {}).values():
        _draw_zone(drawn, polygon)
    for name, (start_norm, end_norm) in (lines or {}).items():
        _draw_line(drawn, name, start_norm, end_norm)
    colours = class_colours(class_names)
    for track in sorted(tracks, key=lambda each: float(each.box[3])):  # what is nearer lies on top
        note = (object_notes or {}).get(track.number, "")
        _draw_track(drawn, track, class_names[track.class_id], note, colour=colours[track.class_id])
    free = drawn if scene is None else drawn[: max(1, draw_legend(drawn, scene))]
    for name, polygon in (zones or {}).items():
        _name_zone(free, name, _to_pixels(polygon, drawn), notes=(zone_notes or {}).get(name, ()), scale=scale)
    if caption:
        write_on_ground(drawn, caption, (2, 2), colour=_WHITE, ground=_BLACK, scale=scale)


def _draw_track(drawn: Pixels, track: Track, class_name: str, note: str, *, colour: Colour) -> None:
    x1, y1, x2, y2 = (round(float(edge)) for edge in track.box)
    thickness = 2 if track.state is TrackState.CONFIRMED else 1
    cv2.rectangle(drawn, (x1, y1), (x2 - 1, y2 - 1), colour, thickness)
    if track.state is not TrackState.TENTATIVE:
        label = f"{class_name} {track.number} {note}".rstrip()
        scale = text_scale(drawn.shape[0])
        write_on_ground(drawn, label, (x1, y1), colour=readable_on(colour), ground=colour, scale=scale, above=True)


def _draw_zone(drawn: Pixels, polygon: Polygon) -> None:
    corners = _to_pixels(polygon, drawn)
    tinted = cv2.fillPoly(drawn.copy(), [corners], _ZONE_COLOUR)
    cv2.addWeighted(tinted, _TINT, drawn, 1 - _TINT, 0, dst=drawn)
    cv2.polylines(drawn, [corners], True, _ZONE_COLOUR, 1, cv2.LINE_AA)


def _name_zone(drawn: Pixels, name: str, corners: NDArray[np.int32], *, notes: Sequence[str], scale: float) -> None:
    """A zone's name at its top left corner; its notes below where the zone is high enough for them, else beside it."""
    x, y = corners[np.argmin(corners.sum(axis=1))].tolist()
    if (1 + len(notes)) * line_height(scale) > np.ptp(corners[:, 1]):
        name, notes = "  ".join([name, *notes]), ()
    for text, size in ((name, scale), *((note, SMALL * scale) for note in notes)):
        y = write_on_ground(drawn, text, (x, y), colour=_BLACK, ground=_ZONE_COLOUR, scale=size)


def _draw_line(drawn: Pixels, name: str, start_norm: tuple[float, float], end_norm: tuple[float, float]) -> None:
    start, end = _to_pixels((start_norm, end_norm), drawn)
    cv2.line(drawn, tuple(map(int, start)), tuple(map(int, end)), _LINE_COLOUR, 2, cv2.LINE_AA)
    middle = (start + end) / 2
    along = (end - start) / max(1.0, float(np.linalg.norm(end - start)))
    tip = middle + np.array([-along[1], along[0]]) * drawn.shape[0] / 18  # a quarter turn to the right, y points down
    cv2.arrowedLine(drawn, tuple(map(round, middle)), tuple(map(round, tip)), _LINE_COLOUR, 2, cv2.LINE_AA, tipLength=0.4)
    scale = text_scale(drawn.shape[0])
    write_on_ground(drawn, name, (int(start[0]), int(start[1])), colour=_WHITE, ground=_LINE_GROUND, scale=scale)


def _to_pixels(points_norm: Polygon, drawn: Pixels) -> np.ndarray:
    height, width = drawn.shape[:2]
    return np.round(np.array(points_norm, np.float64) * (width - 1, height - 1)).astype(np.int32)
