"""The referee: standard zones and lines of the street, and what truly happened at them.

Written without the daemon's rules on purpose, as plain geometry on the true boxes. An event near which a fair
observer could be unsure (hidden, half outside, turning back at the border) is reported too, but not as clear: tests
demand the clear ones and tolerate the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edged.street.scene import Street

CLEAR_S = 0.7
CLEAR_VISIBLE = 0.6
CLEAR_HEIGHT_PX = 24.0
CLEAR_STAY_SHARE = 0.8

Point = tuple[float, float]

VEHICLES = ("bicycle", "car", "motorcycle", "bus", "truck")


@dataclass(frozen=True, slots=True)
class StreetZone:
    """A zone by shares of the picture; `classes` enter it, and staying `dwell_s` is an event (None: never)."""

    name: str
    polygon_norm: tuple[Point, ...]
    classes: tuple[str, ...]
    dwell_s: float | None


@dataclass(frozen=True, slots=True)
class StreetLine:
    """A line by shares of the picture: for somebody who looks from start to end, left to right is `in`."""

    name: str
    start_norm: Point
    end_norm: Point
    classes: tuple[str, ...]


def _box_zone(
    name: str, corners_px: tuple[float, float, float, float], classes: tuple[str, ...], dwell_s: float | None
) -> StreetZone:
    x1, y1, x2, y2 = (round(value / size, 4) for value, size in zip(corners_px, (640, 360, 640, 360), strict=True))
    return StreetZone(name, ((x1, y1), (x2, y1), (x2, y2), (x1, y2)), classes, dwell_s)


STREET_ZONES = (
    _box_zone("pavement", (90, 308, 262, 358), ("person",), 5.0),
    _box_zone("shop", (70, 170, 205, 202), ("person",), 5.0),
    _box_zone("crossing", (250, 205, 410, 307), ("person", *VEHICLES), None),
    _box_zone("bay", (405, 205, 550, 229), ("car",), 5.0),
)

STREET_LINES = (
    StreetLine("road", (0.34, 0.86), (0.34, 0.56), VEHICLES),
    StreetLine("gate", (0.82, 1.0), (0.82, 0.855), ("person",)),
)


@dataclass(frozen=True, slots=True)
class StreetEvent:
    """Something that truly happened.

    Attributes:
        frame: the first frame on which it is so.
        kind: `zone.enter`, `zone.leave`, `zone.dwell` or `line.crossed`, as on the wire.
        place: name of the zone or line.
        track_id, class_name: whose.
        direction: `in` or `out` for lines, else None.
        is_clear: the object keeps to its side for CLEAR_S before and after, large enough and mostly visible.
    """

    frame: int
    kind: str
    place: str
    track_id: int
    class_name: str
    direction: str | None
    is_clear: bool


@dataclass(frozen=True, slots=True)
class _Sight:
    """One object in one frame: its bottom centre as shares of the picture."""

    x: float
    y: float
    height_px: float
    visible: float

    @property
    def is_fair(self) -> bool:
        return self.visible >= CLEAR_VISIBLE and self.height_px >= CLEAR_HEIGHT_PX


@dataclass(frozen=True, slots=True)
class _Course:
    """All sights of one object, by frame."""

    track_id: int
    class_name: str
    sights: dict[int, _Sight]


def truth_events(
    street: Street,
    first: int,
    last: int,
    *,
    zones: Sequence[StreetZone] = STREET_ZONES,
    lines: Sequence[StreetLine] = STREET_LINES,
) -> list[StreetEvent]:
    """What an observer who watches the frames `first` to `last` sees happen, by frame.

    Whoever is inside a zone on `first` enters it then; that, and whatever follows from it, is not clear.
    """
    margin = round(CLEAR_S * street.fps)
    events: list[StreetEvent] = []
    for course in _courses(street, max(0, first - margin), last + margin):
        for zone in zones:
            if course.class_name in zone.classes:
                events += _zone_events(course, zone, street.fps, first)
        for line in lines:
            if course.class_name in line.classes:
                events += _line_events(course, line, street.fps, first)
    order = {"zone.leave": 0, "line.crossed": 1, "zone.enter": 2, "zone.dwell": 3}
    kept = [event for event in events if first <= event.frame <= last]
    return sorted(kept, key=lambda event: (event.frame, event.track_id, order[event.kind], event.place))


def _courses(street: Street, first: int, last: int) -> list[_Course]:
    courses: dict[int, _Course] = {}
    for index in range(first, last + 1):
        truth = street.truth(index)
        rows = zip(truth.track_ids.tolist(), truth.class_names, truth.boxes.tolist(), truth.visible.tolist(), strict=True)
        for track_id, class_name, (x1, y1, x2, y2), visible in rows:
            course = courses.setdefault(track_id, _Course(track_id, class_name, {}))
            course.sights[index] = _Sight((x1 + x2) / 2 / street.width, y2 / street.height, y2 - y1, visible)
    return list(courses.values())


def _is_in(zone: StreetZone, sight: _Sight) -> bool:
    """Even-odd rule."""
    is_inside = False
    corners = zone.polygon_norm
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 > sight.y) != (y2 > sight.y) and sight.x < x1 + (x2 - x1) * (sight.y - y1) / (y2 - y1):
            is_inside = not is_inside
    return is_inside


def _is_right(line: StreetLine, sight: _Sight) -> bool:
    (x1, y1), (x2, y2) = line.start_norm, line.end_norm
    return (x2 - x1) * (sight.y - y1) - (y2 - y1) * (sight.x - x1) > 0


def _is_clear(course: _Course, sides: dict[int, bool], frame: int, fps: float) -> bool:
    """Whether a change of side on `frame` has a fair, steady time before and after it."""
    margin = round(CLEAR_S * fps)
    around = range(frame - margin, frame + margin)
    return all(
        index in sides and sides[index] == (sides[frame] if index >= frame else not sides[frame]) and course.sights[index].is_fair
        for index in around
    )


def _zone_events(course: _Course, zone: StreetZone, fps: float, first: int) -> list[StreetEvent]:
    inside = {index: _is_in(zone, sight) for index, sight in course.sights.items()}
    events: list[StreetEvent] = []
    entered: StreetEvent | None = None

    def report(frame: int, kind: str, *, is_clear: bool) -> StreetEvent:
        event = StreetEvent(frame, kind, zone.name, course.track_id, course.class_name, None, is_clear)
        events.append(event)
        return event

    frames = [index for index in inside if index >= first]
    for index in frames:
        if inside[index] and entered is None:
            entered = report(index, "zone.enter", is_clear=index > first and _is_clear(course, inside, index, fps))
        elif entered is not None and not inside[index]:
            report(index, "zone.leave", is_clear=entered.frame > first and _is_clear(course, inside, index, fps))
            entered = None
        if entered is not None and zone.dwell_s is not None and index == entered.frame + _frames_of(zone.dwell_s, fps):
            report(index, "zone.dwell", is_clear=entered.is_clear and _is_fair_stay(course, entered.frame, index))
    if entered is not None:
        report(frames[-1] + 1, "zone.leave", is_clear=False)
    return events


def _frames_of(seconds: float, fps: float) -> int:
    """The least number of frames that take at least so long."""
    return int(-(-round(seconds * fps, 6) // 1))


def _is_fair_stay(course: _Course, first: int, last: int) -> bool:
    stay = [course.sights[index].is_fair for index in range(first, last + 1) if index in course.sights]
    return course.sights[last].is_fair and sum(stay) >= CLEAR_STAY_SHARE * (last - first + 1)


def _line_events(course: _Course, line: StreetLine, fps: float, first: int) -> list[StreetEvent]:
    right = {index: _is_right(line, sight) for index, sight in course.sights.items()}
    events: list[StreetEvent] = []
    for index in course.sights:
        if index <= first or index - 1 not in right or right[index] == right[index - 1]:
            continue
        if _passes_between(line, course.sights[index - 1], course.sights[index]):
            direction = "in" if right[index] else "out"
            is_clear = _is_clear(course, right, index, fps)
            events.append(StreetEvent(index, "line.crossed", line.name, course.track_id, course.class_name, direction, is_clear))
    return events


def _passes_between(line: StreetLine, before: _Sight, after: _Sight) -> bool:
    """Whether the ends of the line lie on different sides of the step from `before` to `after`."""

    def side(point: Point) -> bool:
        return (after.x - before.x) * (point[1] - before.y) - (after.y - before.y) * (point[0] - before.x) > 0

    return side(line.start_norm) != side(line.end_norm)
