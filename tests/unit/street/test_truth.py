"""The referee of zones and lines."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from edged.street.scene import Street, StreetTruth
from edged.street.truth import STREET_LINES, STREET_ZONES, StreetLine, StreetZone, truth_events

FPS = 10.0
ZONE = StreetZone("yard", ((0.4, 0.4), (0.6, 0.4), (0.6, 0.9), (0.4, 0.9)), ("person",), 2.0)
LINE = StreetLine("gate", (0.5, 0.9), (0.5, 0.4), ("person",))


@dataclass
class Walk:
    """Stands in for a street: one object whose bottom centre is at the given x on each frame, None: not there."""

    xs: list[float | None]
    name: str = "person"
    box_height: float = 40.0
    hidden: set[int] = field(default_factory=set)
    fps: float = FPS
    width: int = 1000
    height: int = 100

    def truth(self, index: int) -> StreetTruth:
        x = self.xs[index] if index < len(self.xs) else None
        if x is None:
            return StreetTruth(np.zeros((0, 4), np.float32), (), np.zeros(0, np.int64), np.zeros(0, np.float32))
        box = np.array([[x - 10, 70 - self.box_height, x + 10, 70]], np.float32)
        visible = np.array([0.2 if index in self.hidden else 1.0], np.float32)
        return StreetTruth(box, (self.name,), np.array([8]), visible)


def _events(walk: Walk, *, first: int = 0, zones=(ZONE,), lines=(LINE,)) -> list[tuple]:
    found = truth_events(walk, first, len(walk.xs) - 1, zones=zones, lines=lines)
    return [(event.frame, event.kind, event.direction, event.is_clear) for event in found]


def test_truth_events_way_through_zone_and_line_gives_each_event_once() -> None:
    """Walking through reports enter, dwell, crossing and leave on the first frame on which each is so."""
    walk = Walk([303.0 + 5 * index for index in range(80)])

    events = _events(walk)

    assert events == [
        (20, "zone.enter", None, True),
        (40, "line.crossed", "in", True),
        (40, "zone.dwell", None, True),
        (60, "zone.leave", None, True),
    ]


def test_truth_events_way_back_crosses_out() -> None:
    """From right to left of the line, seen from its start, is out."""
    walk = Walk([698.0 - 5 * index for index in range(80)])

    events = _events(walk, zones=())

    assert events == [(40, "line.crossed", "out", True)]


def test_truth_events_crossing_beyond_the_end_of_a_line_is_none() -> None:
    """Going round the line counts nothing."""
    walk = Walk([303.0 + 5 * index for index in range(80)])
    short = StreetLine("short", (0.5, 0.6), (0.5, 0.4), ("person",))

    assert _events(walk, zones=(), lines=(short,)) == []


def test_truth_events_other_class_counts_nothing() -> None:
    """Zones and lines look at their classes only."""
    walk = Walk([303.0 + 5 * index for index in range(80)], name="dog")

    assert _events(walk) == []


@pytest.mark.parametrize(
    "walk",
    [
        pytest.param(Walk([303.0 + 5 * index for index in range(80)], hidden={22}), id="hidden near the border"),
        pytest.param(Walk([303.0 + 5 * index for index in range(80)], box_height=20.0), id="too small"),
        pytest.param(Walk([None] * 16 + [383.0 + 5 * index for index in range(60)]), id="appears shortly before"),
        pytest.param(Walk([303.0 + 5 * index for index in range(20)] + [405.0, 395.0] * 20), id="turns back"),
    ],
)
def test_truth_events_unfair_entry_is_not_clear(walk: Walk) -> None:
    """An entry that a fair observer may miss is reported, but not as clear."""
    entries = [event for event in _events(walk, lines=()) if event[1] == "zone.enter"]

    assert entries
    assert not any(is_clear for *_, is_clear in entries)


def test_truth_events_inside_from_the_first_frame_enters_there_unclear() -> None:
    """Who is inside when watching begins enters on that frame, and the dwell that follows is not clear either."""
    walk = Walk([500.0] * 60)

    assert _events(walk, first=5, lines=()) == [(5, "zone.enter", None, False), (25, "zone.dwell", None, False)]


def test_truth_events_vanishing_inside_leaves_unclear() -> None:
    """Who disappears inside the zone leaves it on the next frame."""
    walk = Walk([303.0 + 5 * index for index in range(30)] + [None] * 30)

    assert _events(walk, lines=())[-1] == (30, "zone.leave", None, False)


def test_truth_events_of_a_street_are_the_same_in_any_window() -> None:
    """Clear events do not depend on when watching begins or ends."""
    street = Street(2, fps=5.0)

    whole = {event for event in truth_events(street, 0, 240) if event.is_clear}
    late = {event for event in truth_events(street, 100, 180) if event.is_clear}

    assert late
    assert late <= whole
    assert {event for event in whole if 100 < event.frame <= 180 and event.kind in ("zone.enter", "line.crossed")} <= late


def test_truth_events_of_a_minute_hold_clear_ones_of_every_kind() -> None:
    """The standard zones and lines see enough for an end-to-end test, most of it clear."""
    totals: Counter[tuple[str, str]] = Counter()
    clear = 0
    for seed in (1, 2):
        events = truth_events(Street(seed, fps=5.0), 0, 599)
        totals.update((event.kind, event.place) for event in events if event.is_clear)
        clear += sum(event.is_clear for event in events)

    wanted = {("zone.enter", zone.name) for zone in STREET_ZONES} | {("line.crossed", line.name) for line in STREET_LINES}

    assert wanted <= set(totals)
    assert {("zone.dwell", "pavement"), ("zone.dwell", "shop"), ("zone.dwell", "bay")} <= set(totals)
    assert clear > 200


def test_street_zones_and_lines_lie_inside_the_picture() -> None:
    """All coordinates are shares of the picture, every name is used once."""
    points = [point for zone in STREET_ZONES for point in zone.polygon_norm]
    points += [point for line in STREET_LINES for point in (line.start_norm, line.end_norm)]
    names = [place.name for place in (*STREET_ZONES, *STREET_LINES)]

    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)
    assert len(set(names)) == len(names)
