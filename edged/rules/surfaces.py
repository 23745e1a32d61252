"""What areas are made of, and what objects stand on: maps in, events and shares out. Pure, as all rules are.

A map comes now and then, of a moment that is past. What it says holds until the next one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edged.events.areas import Areas, Shares, ZoneAreas
from edged.events.event import Event, EventType
from edged.rules.objects import TIME_TOLERANCE_S
from edged.rules.settings import PATIENT_S, SHARE_TOLERANCE, AreaRuleSettings, AreaSettings, ShareRule
from edged.types import SegmentationMap

REMOVED = "removed"
"""Why something is said to be over that no map has ended: the rule was taken out of the configuration."""

REFRESH_S = 60.0
"""Shares are told again after so long though they have not changed, so that their age stays known."""

BELOW_FEET_RATIO = 0.15
ABOVE_FEET_RATIO = 0.05
"""Where an object stands is looked for so far below and above the lower edge of its box, in heights of the box."""

FEET_WIDTH_RATIO = 0.6
"""So wide is what it stands on, in widths of the box."""

BESIDE_FEET_RATIO = 0.5
"""Where nothing below is ground, so far to the left and right of the box, in widths of it."""

MOVING = frozenset(
    {"person", "pedestrian", "rider", "cyclist", "bicyclist", "bicycle", "motorcyclist", "motorcycle"}
    | {"car", "van", "truck", "bus", "train", "tram", "caravan", "trailer", "boat", "vehicle"}
    | {"animal", "bird", "cat", "dog", "horse", "cow", "sheep"}
)
"""Names of classes that come and go: the view of a camera does not consist of them."""

GROUND = frozenset(
    {"road", "pavement", "sidewalk", "curb", "crosswalk", "parking", "driveway", "path", "bike_lane", "rail_track", "platform"}
    | {"ground", "terrain", "grass", "lawn", "earth", "dirt", "gravel", "sand", "snow", "water"}
    | {"floor", "stairs", "ramp", "carpet", "rug"}
)
"""Names of classes that one can stand on."""


@dataclass(frozen=True, slots=True)
class AreaShares:
    """What one map says of the areas.

    Attributes:
        picture: share of each class of the network in the whole picture, (C,).
        zones: likewise in each zone, by its name.
    """

    picture: NDArray[np.float64]
    zones: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class MapMoment:
    """The picture that a map is of.

    Attributes:
        captured_s: when it was captured, on the events' clock.
        frame_seq: its number.
        width, height: its size, pixels.
    """

    captured_s: float
    frame_seq: int
    width: int
    height: int

    def event(self, type: EventType, *, zone: str | None = None, details: Mapping[str, object]) -> Event:
        """Something that this picture decided."""
        return Event(type, self.captured_s, self.frame_seq, self.width, self.height, zone=zone, details=details)


@dataclass(slots=True)
class _Watched:
    """One rule about one zone and where it stands.

    Attributes:
        began, ended: the events that say so.
        is_on: what was said last.
        differs_since_s: since when the maps have said otherwise; None while they agree.
        on_since_s: captured when, the first picture of those that made it be said.
    """

    rule: ShareRule
    class_ids: tuple[int, ...]
    began: EventType
    ended: EventType
    is_on: bool = False
    differs_since_s: float | None = None
    on_since_s: float = 0.0

    def update(self, shares: NDArray[np.float64], now_s: float) -> bool:
        """Take over what a map says; whether that is to be said now."""
        if self.rule.is_met(self.sum_of(shares), was_met=self.is_on) == self.is_on:
            self.differs_since_s = None
            return False
        if self.differs_since_s is None:
            self.differs_since_s = now_s
        if now_s - self.differs_since_s < self.rule.for_s - TIME_TOLERANCE_S:
            return False
        if not self.is_on:
            self.on_since_s = self.differs_since_s
        self.is_on, self.differs_since_s = not self.is_on, None
        return True

    @property
    def key(self) -> tuple[EventType, str]:
        """What it is called within its zone."""
        return self.began, self.rule.name

    def go_on_from(self, former: _Watched) -> None:
        """It stands where the one that it replaces stood; what that was waiting for begins anew if it is another rule."""
        self.is_on, self.on_since_s = former.is_on, former.on_since_s
        if self.rule == former.rule:
            self.differs_since_s = former.differs_since_s

    @property
    def is_waiting(self) -> bool:
        """Whether the next map may decide it, and it cannot wait for that."""
        return self.differs_since_s is not None and self.rule.for_s <= PATIENT_S

    def sum_of(self, shares: NDArray[np.float64]) -> float:
        """What the classes take of the area together."""
        return float(sum(shares[class_id] for class_id in self.class_ids))

    def details(self, shares: NDArray[np.float64], now_s: float) -> dict[str, object]:
        """The facts of an event."""
        by_class = {name: round(float(shares[i]), 4) for name, i in zip(self.rule.classes, self.class_ids, strict=True)}
        name = {"rule": self.rule.name} if self.rule.name else {}
        lasted = {} if self.is_on else {"lasted_s": round(now_s - self.on_since_s, 3)}
        return {**name, "share": round(self.sum_of(shares), 4), "classes": by_class, **lasted}


@dataclass(slots=True)
class _Zone:
    settings: AreaSettings
    blocked: _Watched | None
    covered_by: tuple[_Watched, ...]

    @property
    def rules(self) -> tuple[_Watched, ...]:
        return self.covered_by if self.blocked is None else (self.blocked, *self.covered_by)


@dataclass(slots=True, eq=False)
class _Told:
    """What was published last: every share that counts, in one row, and when; and whether the newest map says otherwise."""

    shares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    rules: tuple[bool, ...] = ()
    captured_s: float = -math.inf
    is_doubted: bool = False


class AreaRules:
    """What the zones of one camera are made of, what blocks and covers them. Used by one thread.

    Shares are told when two maps in a row find one changed by `min_change_ratio` since it was last told, when a rule has changed,
    and every `REFRESH_S`. What blocks a zone stays so while the camera gives no pictures: that nothing is seen frees no way.

    Args:
        settings: what is told, and when.
        class_names: the network's.
        model: SHA-256 of the network.

    Raises:
        ValueError: a class is not one of the network's.
    """

    def __init__(self, settings: AreaRuleSettings, *, class_names: Sequence[str], model: str) -> None:
        self._class_names = tuple(class_names)
        self._model = model
        self._zones = self._watch_all(settings)
        self._settings = settings
        self._told = _Told()
        self._shares: Mapping[str, NDArray[np.float64]] = {}
        self._areas: Areas | None = None
        self._changes = 0

    @property
    def changes(self) -> int:
        """How often `areas()` has changed enough to be told; a reader that sees a new number publishes."""
        return self._changes

    @property
    def is_undecided(self) -> bool:
        """Whether something waits impatiently for the next map: a rule, or a share that has changed."""
        return self._told.is_doubted or any(watched.is_waiting for watched in self._rules())

    def areas(self) -> Areas | None:
        """What the areas are made of; None before the first map, and after `forget`."""
        return self._areas

    def update(self, shares: AreaShares, moment: MapMoment) -> list[Event]:
        """What one map has made happen; maps come in the order of their pictures.

        Args:
            shares: of the whole picture and of every zone.
            moment: its picture.
        """
        events = []
        self._shares = shares.zones
        for name, zone in self._zones.items():
            for watched in zone.rules:
                if watched.update(shares.zones[name], moment.captured_s):
                    type = watched.began if watched.is_on else watched.ended
                    details = watched.details(shares.zones[name], moment.captured_s)
                    events.append(moment.event(type, zone=name, details=details))
        self._tell(shares, moment.captured_s)
        return events

    def change(self, settings: AreaRuleSettings, moment: MapMoment) -> list[Event]:
        """From the next map on this is told; where a rule stands goes on by its zone and name.

        What a rule that is no more has said is over now. Of the areas nothing is known until that map.

        Args:
            settings: as those before; where nothing of them differs, nothing happens.
            moment: of the newest picture.

        Raises:
            ValueError: a class is not one of the network's; nothing has changed then.
        """
        if settings == self._settings:
            return []
        former, self._zones = self._zones, self._watch_all(settings)
        self._settings = settings
        self.forget()
        events = []
        for name, zone in former.items():
            heirs = {watched.key: watched for watched in self._zones[name].rules} if name in self._zones else {}
            for watched in zone.rules:
                if watched.key in heirs:
                    heirs[watched.key].go_on_from(watched)
                elif watched.is_on:
                    watched.is_on = False
                    details = watched.details(self._shares[name], moment.captured_s)
                    events.append(moment.event(watched.ended, zone=name, details={**details, "reason": REMOVED}))
        return events

    def forget(self) -> None:
        """The camera is gone: nothing is known of the areas. What was said of zones stays until a map says otherwise."""
        self.forget_zones(self._zones)

    def forget_zones(self, names: Collection[str]) -> None:
        """Nothing is known of the areas, and rules of these zones begin to wait anew: they lie elsewhere, or are not seen."""
        self._changes += self._areas is not None
        self._areas, self._told = None, _Told()
        for watched in (rule for name, zone in self._zones.items() if name in names for rule in zone.rules):
            watched.differs_since_s = None

    def _rules(self) -> Iterator[_Watched]:
        for zone in self._zones.values():
            yield from zone.rules

    def _watch_all(self, settings: AreaRuleSettings) -> dict[str, _Zone]:
        self._ids(settings.picture.classes or ())
        return {name: self._watch(zone) for name, zone in settings.zones.items()}

    def _watch(self, settings: AreaSettings) -> _Zone:
        blocked = None
        if settings.blocked is not None:
            ids = self._ids(settings.blocked.classes)
            blocked = _Watched(settings.blocked, ids, EventType.ZONE_BLOCKED, EventType.ZONE_FREE)
        covered_by = tuple(
            _Watched(rule, self._ids(rule.classes), EventType.ZONE_COVERED_BY, EventType.ZONE_UNCOVERED)
            for rule in settings.covered_by
        )
        self._ids(settings.classes or ())
        return _Zone(settings, blocked, covered_by)

    def _ids(self, names: Sequence[str]) -> tuple[int, ...]:
        unknown = [name for name in names if name not in self._class_names]
        if unknown:
            raise ValueError(f"the network has no class {', '.join(unknown)}; it knows {', '.join(self._class_names)}")
        return tuple(self._class_names.index(name) for name in names)

    def _tell(self, shares: AreaShares, now_s: float) -> None:
        areas = Areas(
            captured_s=now_s,
            model=self._model,
            picture=self._published(self._settings.picture, shares.picture),
            zones={name: self._zone_areas(zone, shares.zones[name]) for name, zone in self._zones.items()},
        )
        row = np.array([share for each in (areas.picture, *(z.shares for z in areas.zones.values())) for share in each.values()])
        rules = tuple(watched.is_on for watched in self._rules())
        told = self._told
        if now_s - told.captured_s < REFRESH_S - TIME_TOLERANCE_S and rules == told.rules:
            has_changed = bool((np.abs(row - told.shares) >= self._settings.min_change_ratio - SHARE_TOLERANCE).any())
            if not (has_changed and told.is_doubted):
                told.is_doubted = has_changed
                return
        self._told, self._areas = _Told(row, rules, now_s), areas
        self._changes += 1

    def _zone_areas(self, zone: _Zone, shares: NDArray[np.float64]) -> ZoneAreas:
        return ZoneAreas(
            self._published(zone.settings, shares),
            is_blocked=None if zone.blocked is None else zone.blocked.is_on,
            covered_by=tuple(each.rule.name for each in zone.covered_by if each.is_on) if zone.covered_by else None,
        )

    def _published(self, settings: AreaSettings, shares: NDArray[np.float64]) -> Shares:
        names = self._class_names if settings.classes is None else settings.classes
        return {name: float(shares[self._class_names.index(name)]) for name in names}


class Ground:
    """On what the objects of one camera stand, as its newest map says.

    The map shows an object itself where it is, so the ground is looked for just below its feet, and where nothing there is
    ground, beside them.

    Args:
        scene: the map.
        surfaces: names of the classes that can be stood on; those that the map does not know are passed over.
    """

    def __init__(self, scene: SegmentationMap, surfaces: Collection[str]) -> None:
        self._labels = scene.labels
        self._names = scene.classes
        self._is_surface = np.array([name in surfaces for name in scene.classes])
        height, width = scene.labels.shape
        self._per_pixel_x, self._per_pixel_y = width / scene.frame_width, height / scene.frame_height

    def under(self, box: Sequence[float]) -> str | None:
        """The class of the ground below a box (x1, y1, x2, y2), frame pixels; None where none is seen there."""
        x1, y1, x2, y2 = box
        width, height = x2 - x1, y2 - y1
        middle, half = (x1 + x2) / 2, FEET_WIDTH_RATIO * width / 2
        top = y2 - ABOVE_FEET_RATIO * height
        below = self._commonest(middle - half, top, middle + half, y2 + BELOW_FEET_RATIO * height)
        if below is not None:
            return below
        aside = BESIDE_FEET_RATIO * width
        return self._commonest(x1 - aside, y2 - BELOW_FEET_RATIO * height, x2 + aside, y2 + BELOW_FEET_RATIO * height)

    def _commonest(self, x1: float, y1: float, x2: float, y2: float) -> str | None:
        """The commonest class of ground in a rectangle, frame pixels; every map's pixel that it touches counts."""
        rows, columns = self._labels.shape
        left, right = _span(x1 * self._per_pixel_x, x2 * self._per_pixel_x, columns)
        top, bottom = _span(y1 * self._per_pixel_y, y2 * self._per_pixel_y, rows)
        found = np.bincount(self._labels[top:bottom, left:right].ravel(), minlength=len(self._names))
        found = np.where(self._is_surface, found, 0)
        best = int(found.argmax())
        return self._names[best] if found[best] else None


def _span(start: float, end: float, size: int) -> tuple[int, int]:
    """The pixels that an interval touches, at least one, inside the map."""
    first = min(max(math.floor(start), 0), size - 1)
    return first, min(max(math.ceil(end), first + 1), size)
