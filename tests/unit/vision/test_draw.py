"""Pictures for people."""

from __future__ import annotations

import numpy as np
import pytest

from edged.types import SegmentationMap, Track, TrackState
from edged.vision.draw import draw_overlay
from edged.vision.palette import class_colours
from edged.vision.redact import FILL_COLOUR, NOTHING, Cover, redact

NAMES = ["person", "car"]


def make_track(box: tuple[float, float, float, float], *, state: TrackState = TrackState.CONFIRMED, class_id: int = 0) -> Track:
    number = 0 if state is TrackState.TENTATIVE else 7
    return Track(number, class_id, np.array(box, np.float32), 0.9, state, False, True, 0.0, 0.0)


def draw(pixels: np.ndarray, **facts: object) -> np.ndarray:
    """A copy of the pixels with an overlay."""
    picture = redact(pixels, NOTHING)
    draw_overlay(picture, class_names=NAMES, **facts)
    return picture.pixels_rgb


def grey() -> np.ndarray:
    return np.full((360, 640, 3), 100, np.uint8)


def test_draw_overlay_of_nothing_changes_nothing() -> None:
    """Without anything to show the picture stays as it was."""
    drawn = draw(grey(), tracks=[])

    np.testing.assert_array_equal(drawn, grey())


def test_draw_overlay_of_a_track_paints_its_box_in_the_colour_of_its_class() -> None:
    """The box's rim has the class's colour in RGB, its inside and the caller's picture stay."""
    pixels = grey()

    drawn = draw(pixels, tracks=[make_track((200, 100, 260, 220), class_id=1)])

    assert tuple(drawn[160, 200]) == class_colours(NAMES)[1]
    assert tuple(drawn[219, 230]) == class_colours(NAMES)[1]
    assert tuple(drawn[160, 230]) == (100, 100, 100)
    assert (pixels == 100).all()


@pytest.mark.parametrize(
    ("state", "has_label"),
    [(TrackState.CONFIRMED, True), (TrackState.LOST, True), (TrackState.TENTATIVE, False)],
)
def test_draw_overlay_labels_what_is_believed(state: TrackState, has_label: bool) -> None:
    """A tentative track has a box only."""
    drawn = draw(grey(), tracks=[make_track((200, 100, 260, 220), state=state)])

    assert bool((drawn[85:97, 200:240] != 100).any()) is has_label


def test_draw_overlay_writes_who_an_object_is() -> None:
    """A name makes the label longer; a number that has none changes nothing."""
    track = make_track((200, 100, 260, 220))

    plain, named, other = (draw(grey(), tracks=[track], object_notes=notes) for notes in (None, {7: "anna"}, {8: "bert"}))

    assert (named != plain).any()
    np.testing.assert_array_equal(other, plain)


@pytest.mark.parametrize(
    "box",
    [(-50, -50, 10, 10), (630, 350, 700, 400), (0, 0, 640, 360), (-10, -10, -5, -5), (100, 100, 100, 100)],
    ids=["over the top left", "over the bottom right", "all", "outside", "empty"],
)
def test_draw_overlay_of_boxes_at_the_rim_draws_what_fits(box: tuple[float, float, float, float]) -> None:
    """No box breaks the drawing, and a label is moved into the picture."""
    drawn = draw(grey(), tracks=[make_track(box)])

    assert drawn.shape == (360, 640, 3)
    assert (drawn != 100).any()


@pytest.mark.parametrize(
    ("start", "end", "arrow"),
    [
        pytest.param((0.25, 0.5), (0.75, 0.5), (320, 195), id="left to right points down"),
        pytest.param((0.75, 0.5), (0.25, 0.5), (320, 165), id="right to left points up"),
    ],
)
def test_draw_overlay_of_a_line_points_where_crossing_counts_as_in(start: tuple, end: tuple, arrow: tuple[int, int]) -> None:
    """Seen from its start towards its end, the arrow points to the right hand."""
    drawn = draw(grey(), tracks=[], lines={"gate": (start, end)})

    x, y = arrow
    assert tuple(drawn[y, x]) != (100, 100, 100)
    assert tuple(drawn[360 - y, x]) == (100, 100, 100)


def test_draw_overlay_of_a_zone_tints_its_inside() -> None:
    """A zone is a little brighter inside, outlined, and leaves the rest alone."""
    zone = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]

    drawn = draw(grey(), tracks=[], zones={"porch": zone})

    assert drawn[180, 320].min() > 110
    assert drawn[90, 400].min() > 200
    assert tuple(drawn[20, 20]) == (100, 100, 100)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (90, 160), (2160, 3840)], ids=str)
def test_draw_overlay_of_any_size_writes_its_caption(size: tuple[int, int]) -> None:
    """A caption fits or is cut, at any size."""
    drawn = draw(np.full((*size, 3), 100, np.uint8), tracks=[], caption="street: frame 1")

    assert drawn.shape == (*size, 3)
    assert (drawn != 100).any()


def test_draw_overlay_of_a_map_tints_the_picture_below_everything_else() -> None:
    """Boxes and names lie on the tint, the legend below them all."""
    scene = SegmentationMap(np.zeros((36, 64), np.uint8), ("grass",), 640, 360)

    drawn = draw(grey(), tracks=[make_track((200, 100, 260, 220), class_id=1)], scene=scene)

    (green,) = class_colours(("grass",))
    np.testing.assert_allclose(drawn[60, 500], 0.6 * 100 + 0.4 * np.array(green), atol=1)
    assert tuple(drawn[160, 200]) == class_colours(NAMES)[1]
    assert drawn[350, 630].max() < 40


def test_draw_overlay_keeps_the_names_of_zones_above_the_legend() -> None:
    """A zone along the lower rim is named above what explains the colours."""
    scene = SegmentationMap(np.zeros((36, 64), np.uint8), ("grass",), 640, 360)
    zone = [(0.0, 0.99), (1.0, 0.99), (1.0, 1.0), (0.0, 1.0)]

    named, unnamed = (draw(grey(), tracks=[], scene=scene, zones={name: zone}) for name in ("rim", ""))

    changed = np.nonzero(np.any(named != unnamed, axis=2))[0]
    assert 320 < changed.min() < changed.max() < 346


@pytest.mark.parametrize(
    ("bottom", "least", "most"),
    [pytest.param(0.75, 40, 60, id="below each other"), pytest.param(0.3, 10, 20, id="beside each other")],
)
def test_draw_overlay_writes_notes_at_a_zone(bottom: float, least: int, most: int) -> None:
    """Below its name where the zone is high enough, else in one line."""
    zone = [(0.25, 0.25), (0.75, 0.25), (0.75, bottom), (0.25, bottom)]

    plain, noted = (draw(grey(), tracks=[], zones={"a": zone}, zone_notes=notes) for notes in (None, {"a": ["b 1%", "c 2%"]}))

    rows = np.nonzero(np.any(plain != noted, axis=2))[0]
    assert least <= rows.max() - 90 <= most


def test_draw_overlay_of_a_map_says_nothing_of_what_is_covered() -> None:
    """Its polygon stays as grey as the gate has made it; all around is tinted."""
    covered = np.zeros((36, 64), np.bool_)
    covered[10:20, 20:40] = True
    labels = np.zeros((36, 64), np.uint8)
    labels[12:18, 25:30] = 1
    picture = redact(grey(), NOTHING, [Cover(covered, "fill")])

    draw_overlay(picture, class_names=NAMES, tracks=[], scene=SegmentationMap(labels, ("grass", "pedestrian"), 640, 360))

    assert np.all(picture.pixels_rgb[100:200, 200:400] == FILL_COLOUR)
    assert tuple(picture.pixels_rgb[99, 300]) != (100, 100, 100)
