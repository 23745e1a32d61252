"""Polygons that objects enter, stay in and leave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from edged.rules.objects import TIME_TOLERANCE_S, KnownObject, admits
from edged.rules.settings import Point, ZoneSettings
from edged.vision.masks import polygon_area

MARGIN_OF_ZONE_RATIO = 0.25
"""The band along the border takes at most this share of area / perimeter: a narrow zone keeps an inside."""

HIDDEN_SCORE_RATIO = 0.5
"""Seen with less than this share of its mean score, an object is probably half hidden, and its box the part that is not."""

HIDDEN_S = 1.0
"""For so long an object that seems half hidden is still where it was."""


class LeaveReason(str, Enum):
    """Why an object is in a zone no more."""

    LEFT = "left"
    ENDED = "ended"  # its track ended inside
    CLASS = "class"  # its class was corrected to one that the zone does not count
    REMOVED = "removed"  # the zone was taken out of the configuration


@dataclass(frozen=True, slots=True)
class Entered:
    """An object is in the zone from now on."""


@dataclass(frozen=True, slots=True)
class Dwelt:
    """An object has been in the zone for `dwell_s`, and that is worth a report."""

    dwell_s: float


@dataclass(frozen=True, slots=True)
class Left:
    """An object is in the zone no more, after `dwell_s`."""

    dwell_s: float
    reason: LeaveReason


class CrowdChange(str, Enum):
    """What became of a zone as a whole."""

    CROWDED = "crowded"
    CLEARED = "cleared"


class Zone:
    """Who is in one zone, and since when.

    Entering is believed at once where the anchor is deeper inside than a band along the border, and after `settle_s`
    within the band; leaving only once the anchor is out by more than the band, and after `HIDDEN_S` where the object is seen
    so badly that something may hide half of it. So an object on the border never flaps, an object that walks in is reported
    within a frame or two, one seen for the first time inside is in at once, and a parked car stays while others pass it.
    """

    def __init__(self, settings: ZoneSettings, *, width: int, height: int) -> None:
        self.settings = settings
        self.name = settings.name
        self.resize(width=width, height=height)
        self._stays: dict[int, _Stay] = {}
        self._inside_since_s: dict[int, float] = {}
        self._seen: set[int] = set()
        self._is_crowded = False
        self._crowd_differs_since_s: float | None = None

    @property
    def count(self) -> int:
        """Objects in the zone."""
        return len(self._stays)

    def resize(self, *, width: int, height: int) -> None:
        """The picture has another size from now on."""
        self._polygon = Polygon(self.settings.polygon_norm, width=width, height=height)

    def change(self, settings: ZoneSettings, *, width: int, height: int) -> None:
        """The zone is another one from now on. Who is in it stays, until their next look says otherwise."""
        former, self.settings = self.settings, settings
        self.resize(width=width, height=height)
        if _place(settings) != _place(former):
            self._seen.clear()  # who is inside now did not walk in: they are in at once
            self._inside_since_s.clear()

    def look(self, thing: KnownObject, x: float, y: float, *, now_s: float) -> Entered | Dwelt | Left | None:
        """What the object's newest anchor point (frame pixels) changes.

        Args:
            thing: an object that is seen in this frame; one that is lost keeps its place and is not looked at.
            x, y: its anchor, frame pixels.
            now_s: time of the frame.
        """
        stay = self._stays.get(thing.number)
        if stay is None:
            return self._look_outside(thing, x, y, now_s)
        classes = self.settings.classes
        if classes is not None and thing.class_name not in classes:
            return self._leave(thing, LeaveReason.CLASS, until_s=now_s)
        if self._polygon.contains(x, y) or self._polygon.border_distance(x, y) <= self._margin_px(thing):
            stay.hidden_since_s = None
        elif not self._may_be_hidden(thing, stay, now_s):
            return self._leave(thing, LeaveReason.LEFT, until_s=now_s)
        return self._look_dwell(stay, now_s)

    def end(self, thing: KnownObject) -> Left | None:
        """Forget an object that is gone; what that means for the zone."""
        self._seen.discard(thing.number)
        self._inside_since_s.pop(thing.number, None)
        return self._leave(thing, LeaveReason.ENDED, until_s=thing.seen_s) if thing.number in self._stays else None

    def dissolve(self, thing: KnownObject, *, now_s: float) -> Left | None:
        """The zone is no more; what that means for an object."""
        return self._leave(thing, LeaveReason.REMOVED, until_s=now_s) if thing.number in self._stays else None

    def look_crowd(self, *, now_s: float) -> CrowdChange | None:
        """Whether the zone has become crowded or cleared; asked once a frame, after all objects."""
        crowd = self.settings.crowd
        if crowd is None or (self.count >= crowd.at) == self._is_crowded:
            self._crowd_differs_since_s = None
            return None
        if self._crowd_differs_since_s is None:
            self._crowd_differs_since_s = now_s
        if now_s - self._crowd_differs_since_s < crowd.for_s - TIME_TOLERANCE_S:
            return None
        return self._turn_crowd()

    def end_crowd(self) -> CrowdChange | None:
        """Close a crowd that is still open when everything ends; one that was only forming is forgotten."""
        self._crowd_differs_since_s = None
        return self._turn_crowd() if self._is_crowded else None

    def _look_outside(self, thing: KnownObject, x: float, y: float, now_s: float) -> Entered | None:
        is_new = thing.number not in self._seen
        self._seen.add(thing.number)
        if not self._polygon.contains(x, y):
            self._inside_since_s.pop(thing.number, None)
            return None
        if not admits(self.settings.classes, thing):
            return None
        since_s = self._inside_since_s.setdefault(thing.number, now_s)
        has_settled = is_new or now_s - since_s >= self.settings.settle_s - TIME_TOLERANCE_S
        if not has_settled and self._polygon.border_distance(x, y) <= self._margin_px(thing):
            return None
        del self._inside_since_s[thing.number]
        self._stays[thing.number] = _Stay(now_s)
        return Entered()

    def _may_be_hidden(self, thing: KnownObject, stay: _Stay, now_s: float) -> bool:
        """Whether an object that is seen outside may still be inside, half hidden."""
        if thing.score >= HIDDEN_SCORE_RATIO * thing.mean_score:
            return False
        if stay.hidden_since_s is None:
            stay.hidden_since_s = now_s
        return now_s - stay.hidden_since_s < HIDDEN_S - TIME_TOLERANCE_S

    def _look_dwell(self, stay: _Stay, now_s: float) -> Dwelt | None:
        dwell_s = now_s - stay.entered_s
        report_after_s = self._next_report(stay)
        if report_after_s is None or dwell_s < report_after_s - TIME_TOLERANCE_S:
            return None
        stay.reported_s = dwell_s
        return Dwelt(dwell_s)

    def _next_report(self, stay: _Stay) -> float | None:
        """After how long in the zone its stay is to be reported next."""
        if stay.reported_s is None:
            return self.settings.dwell_s
        repeat_s = self.settings.dwell_repeat_s
        return None if repeat_s is None else stay.reported_s + repeat_s

    def _leave(self, thing: KnownObject, reason: LeaveReason, *, until_s: float) -> Left:
        stay = self._stays.pop(thing.number)
        return Left(max(0.0, until_s - stay.entered_s), reason)

    def _margin_px(self, thing: KnownObject) -> float:
        return min(self.settings.hysteresis_ratio * thing.size_px, self._polygon.widest_margin_px)

    def _turn_crowd(self) -> CrowdChange:
        self._is_crowded = not self._is_crowded
        self._crowd_differs_since_s = None
        return CrowdChange.CROWDED if self._is_crowded else CrowdChange.CLEARED


def _place(settings: ZoneSettings) -> tuple[object, ...]:
    """What decides who is inside."""
    return settings.polygon_norm, settings.anchor, settings.classes


@dataclass(slots=True)
class _Stay:
    """One object's stay in a zone.

    Attributes:
        entered_s: since when.
        reported_s: after how long in it the last dwell report was given; None: none yet.
        hidden_since_s: since when it seems to be outside, half hidden; None while it is not so.
    """

    entered_s: float
    reported_s: float | None = None
    hidden_since_s: float | None = None


class Polygon:
    """A polygon in frame pixels, fast enough to be asked for every object in every frame."""

    def __init__(self, corners_norm: tuple[Point, ...], *, width: int, height: int) -> None:
        corners = [(x * width, y * height) for x, y in corners_norm]
        self._edges = [(*start, *end) for start, end in zip(corners, corners[1:] + corners[:1], strict=True)]
        self._x1, self._x2 = min(x for x, _ in corners), max(x for x, _ in corners)
        self._y1, self._y2 = min(y for _, y in corners), max(y for _, y in corners)
        perimeter = sum(math.hypot(x2 - x1, y2 - y1) for x1, y1, x2, y2 in self._edges)
        self.widest_margin_px = MARGIN_OF_ZONE_RATIO * polygon_area(corners) / perimeter

    def contains(self, x: float, y: float) -> bool:
        """Whether a point is inside or on the edge. Even-odd rule."""
        if not (self._x1 <= x <= self._x2 and self._y1 <= y <= self._y2):
            return False
        is_inside = False
        for x1, y1, x2, y2 in self._edges:
            side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
            if side == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
                return True
            if (y1 > y) != (y2 > y) and (side > 0) == (y2 > y1):
                is_inside = not is_inside
        return is_inside

    def border_distance(self, x: float, y: float) -> float:
        """Distance of a point from the nearest edge, pixels; the same inside and outside."""
        return min(_segment_distance(x, y, edge) for edge in self._edges)


def _segment_distance(x: float, y: float, edge: tuple[float, float, float, float]) -> float:
    x1, y1, x2, y2 = edge
    dx, dy = x2 - x1, y2 - y1
    length_squared = dx * dx + dy * dy
    share = ((x - x1) * dx + (y - y1) * dy) / length_squared if length_squared else 0.0
    share = min(1.0, max(0.0, share))
    return math.hypot(x - x1 - share * dx, y - y1 - share * dy)
