"""Tracks in, events out: the rules of one camera.

Pure: no clock, no I/O, no chance. The same tracks at the same times give the same events in the same order: within one
frame object.new, zone.*, line.crossed, object.update, object.end, and within each of these by the object's number and the
order of the configuration; zone.crowded and zone.cleared follow the other zone events. Whose face an object shows comes
between frames; so does what a map says (`surfaces.py`, `scene.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edged.events.counts import Counts, ZoneCount
from edged.events.event import Event, EventType, ObjectFacts
from edged.rules.counters import CounterState
from edged.rules.lines import Line
from edged.rules.objects import KnownObject, admits, is_same_answer
from edged.rules.settings import RuleSettings
from edged.rules.surfaces import Ground
from edged.rules.zones import CrowdChange, Dwelt, Entered, Left, Zone
from edged.types import FaceDecision, Track, Tracks
from edged.vision.boxes import Anchor, anchor_point

_CROWD_EVENTS = {CrowdChange.CROWDED: EventType.ZONE_CROWDED, CrowdChange.CLEARED: EventType.ZONE_CLEARED}


@dataclass(frozen=True, slots=True)
class _Moment:
    """The frame that decides."""

    now_s: float
    frame_seq: int
    width: int
    height: int

    def event(self, type: EventType, **facts: object) -> Event:
        return Event(type, self.now_s, self.frame_seq, self.width, self.height, **facts)  # type: ignore[arg-type]


_Points = Mapping[Anchor, Sequence[Sequence[float]]]
"""Where objects stand, xy in frame pixels: by anchor, then in the order of the objects."""


class Rules:
    """The zones, lines and objects of one camera. Used by one thread.

    An object counts once its track is confirmed. While its track is lost, everything stays as it was; when its track ends,
    it leaves its zones and object.end is said.

    Args:
        settings: zones, lines and objects.
        class_names: the names that the tracks' class ids stand for.
        counters: totals to go on from; None: from 0.
    """

    def __init__(self, settings: RuleSettings, *, class_names: Sequence[str], counters: CounterState | None = None) -> None:
        self._size = (1, 1)
        self._zones: list[Zone] = []
        self._lines: list[Line] = []
        self._class_names = tuple(class_names)
        self._newest_s = 0.0
        self._known: dict[int, KnownObject] = {}
        self._unplaced: set[int] = set()
        self._counters = counters or CounterState()
        self._count_changes = 0
        self._ground: Ground | None = None
        self._take_over(settings)

    @property
    def count_changes(self) -> int:
        """How often `counts()` has changed; a reader that sees a new number publishes."""
        return self._count_changes

    @property
    def settings(self) -> RuleSettings:
        """The zones, lines and objects that count."""
        return self._settings

    @property
    def newest_s(self) -> float:
        """Time of the newest frame; 0 before the first."""
        return self._newest_s

    def counters(self) -> CounterState:
        """The totals to keep over a restart, those of rules that are gone included."""
        return self._counters

    def counts(self) -> Counts:
        """What the configured lines and zones have counted, and who is in the zones now."""
        present = {
            zone.name: Counter(thing.class_name for thing in self._known.values() if zone.name in thing.zones)
            for zone in self._zones
        }
        return Counts(
            lines={line.name: self._counters.lines[line.name] for line in self._lines},
            zones={
                name: ZoneCount(self._counters.zones[name], {**dict.fromkeys(self._counters.zones[name], 0), **counter})
                for name, counter in present.items()
            },
        )

    def update(self, tracks: Tracks, *, now_s: float, frame_seq: int, width: int, height: int) -> list[Event]:
        """What one frame has made happen.

        Args:
            tracks: the tracker's answer to the frame, held tracks of a still frame included.
            now_s: time of the frame; never runs backwards.
            frame_seq: its number.
            width, height: its size, pixels.
        """
        moment = _Moment(now_s, frame_seq, width, height)
        self._newest_s = now_s
        self._resize(width, height)
        confirmed = tracks.confirmed
        seen = self._follow(confirmed, moment)
        points = self._points(seen, moment)
        ended = [self._known[track.number] for track in tracks.ended if track.number in self._known]
        zone_events = self._judge_zones(seen, points, ended, moment)  # first, so that object.new knows its zones
        for zone in self._zones:
            zone_events += self._crowd_event(zone, zone.look_crowd(now_s=now_s), moment)
        return [
            *self._announce(seen, moment),
            *zone_events,
            *self._judge_lines(seen, points, moment),
            *self._report_changes(seen, moment),
            *self._end(ended, moment),
        ]

    def identify(
        self, number: int, decision: FaceDecision, *, now_s: float, frame_seq: int, width: int, height: int
    ) -> list[Event]:
        """Take over whose face an object shows: an event where that is another answer than before.

        Nothing happens where the object has ended. Of one that is not announced nothing is said until it is.

        Args:
            number: of the object's track.
            now_s, frame_seq, width, height: of the frame that decided, which may be older than the newest one.
        """
        thing = self._known.get(number)
        if thing is None:
            return []
        former, thing.identity = thing.identity, decision
        if not thing.is_announced or (former is not None and is_same_answer(former, decision)):
            return []
        return [_identity_event(thing, former, _Moment(now_s, frame_seq, width, height))]

    def change(self, settings: RuleSettings) -> list[Event]:
        """From the next frame on these are the zones, lines and objects that count; what is known by name goes on.

        Who is in a zone that is no more leaves it with the newest frame, and its crowd is over. A zone of the same name keeps
        who is in it, until the next frame shows whether they still are. A line that lies elsewhere forgets where objects were.
        """
        moment = _Moment(self._newest_s, 0, *self._size)
        remaining = {zone.name: zone for zone in settings.zones}
        events = []
        for zone in self._zones:
            for thing in self._known_in_order() if zone.name not in remaining else ():
                move = zone.dissolve(thing, now_s=self._newest_s)
                if move is not None:
                    events.append(self._zone_event(zone, thing, move, moment))
            if zone.name not in remaining or remaining[zone.name].crowd is None:
                events += self._crowd_event(zone, zone.end_crowd(), moment)
        self._take_over(settings)
        self._count_changes += 1
        self._unplaced = set(self._known)
        return events

    def stand_on(self, ground: Ground | None) -> None:
        """From the next frame on objects stand on this ground; None: nobody knows, and they keep what they have."""
        self._ground = ground

    def objects(self) -> dict[int, ObjectFacts]:
        """What is known of every object, by the number of its track; nothing of one that zones of now have not yet looked at."""
        return {number: thing.facts() for number, thing in self._known.items() if number not in self._unplaced}

    def finish(self, *, now_s: float) -> list[Event]:
        """End every object and close every crowd, at a moment that no frame decided."""
        moment = _Moment(now_s, 0, *self._size)
        ended = self._known_in_order()
        events = self._judge_zones([], dict.fromkeys(self._anchors, ()), ended, moment)
        for zone in self._zones:
            events += self._crowd_event(zone, zone.end_crowd(), moment)
        return events + self._end(ended, moment)

    def _known_in_order(self) -> list[KnownObject]:
        return [self._known[number] for number in sorted(self._known)]

    def _take_over(self, settings: RuleSettings) -> None:
        width, height = self._size
        zones, lines = {zone.name: zone for zone in self._zones}, {line.name: line for line in self._lines}
        self._zones = [zones.get(each.name) or Zone(each, width=width, height=height) for each in settings.zones]
        self._lines = [lines.get(each.name) or Line(each, width=width, height=height) for each in settings.lines]
        rules, rule_settings = (*self._zones, *self._lines), (*settings.zones, *settings.lines)
        for rule, each in zip(rules, rule_settings, strict=True):
            rule.change(each, width=width, height=height)
        self._settings = settings
        self._anchors = tuple(dict.fromkeys(each.anchor for each in rule_settings))
        self._counters = self._counters.with_zeros(
            lines={line.name: line.classes or () for line in settings.lines},
            zones={zone.name: zone.classes or () for zone in settings.zones},
        )

    def _resize(self, width: int, height: int) -> None:
        if self._size != (width, height):
            self._size = (width, height)
            for rule in (*self._zones, *self._lines):
                rule.resize(width=width, height=height)

    def _follow(self, confirmed: Sequence[Track], moment: _Moment) -> list[KnownObject]:
        seen = []
        for track in confirmed:
            thing = self._known.get(track.number)
            if thing is None:
                thing = self._known[track.number] = KnownObject(track.number)
            class_name = self._class_names[track.class_id]
            if thing.zones and thing.class_name != class_name:
                self._count_changes += 1
            thing.follow(track, class_name, now_s=moment.now_s, width=moment.width, height=moment.height)
            if self._ground is not None:
                thing.stand_on(self._ground.under(thing.corners), now_s=moment.now_s)
            self._unplaced.discard(track.number)
            seen.append(thing)
        return seen

    def _points(self, seen: Sequence[KnownObject], moment: _Moment) -> _Points:
        width, height = moment.width, moment.height
        points = {}
        for anchor in self._anchors:
            anchored = [anchor_point(thing.corners, anchor) for thing in seen]
            # An object cut by the edge of the picture is still in a zone that ends there.
            points[anchor] = [(min(max(x, 0.0), width), min(max(y, 0.0), height)) for x, y in anchored]
        return points

    def _announce(self, seen: Iterable[KnownObject], moment: _Moment) -> list[Event]:
        events = []
        for thing in seen:
            if not thing.is_announced and admits(self._settings.objects.classes, thing):
                thing.tell(now_s=moment.now_s)
                events.append(moment.event(EventType.OBJECT_NEW, object=thing.facts()))
                if thing.identity is not None:
                    events.append(_identity_event(thing, None, moment))
        return events

    def _judge_zones(
        self, seen: Sequence[KnownObject], points: _Points, ended: Iterable[KnownObject], moment: _Moment
    ) -> list[Event]:
        events = []
        places = [(zone, points[zone.settings.anchor]) for zone in self._zones]
        for row, thing in enumerate(seen):
            for zone, points_of_zone in places:
                move = zone.look(thing, *points_of_zone[row], now_s=moment.now_s)
                if move is not None:
                    events.append(self._zone_event(zone, thing, move, moment))
        for thing in ended:
            for zone in self._zones:
                move = zone.end(thing)
                if move is not None:
                    events.append(self._zone_event(zone, thing, move, moment))
        return events

    def _zone_event(self, zone: Zone, thing: KnownObject, move: Entered | Dwelt | Left, moment: _Moment) -> Event:
        name = zone.name
        if isinstance(move, Dwelt):
            return moment.event(EventType.ZONE_DWELL, object=thing.facts(), zone=name, dwell_s=move.dwell_s, count=zone.count)
        self._count_changes += 1
        if isinstance(move, Entered):
            self._counters = self._counters.entered(name, thing.class_name)
            thing.zones = tuple(z.name for z in self._zones if z.name in (name, *thing.zones))
            return moment.event(EventType.ZONE_ENTER, object=thing.facts(), zone=name, count=zone.count)
        thing.zones = tuple(other for other in thing.zones if other != name)
        return moment.event(
            EventType.ZONE_LEAVE,
            object=thing.facts(),
            zone=name,
            dwell_s=move.dwell_s,
            count=zone.count,
            details={"reason": move.reason.value},
        )

    def _crowd_event(self, zone: Zone, change: CrowdChange | None, moment: _Moment) -> list[Event]:
        if change is None:
            return []
        return [moment.event(_CROWD_EVENTS[change], zone=zone.name, count=zone.count)]

    def _judge_lines(self, seen: Sequence[KnownObject], points: _Points, moment: _Moment) -> list[Event]:
        events = []
        places = [(line, points[line.settings.anchor]) for line in self._lines]
        for row, thing in enumerate(seen):
            for line, points_of_line in places:
                direction = line.look(thing, *points_of_line[row])
                if direction is not None:
                    name = line.name
                    self._count_changes += 1
                    self._counters = self._counters.crossed(name, direction, thing.class_name)
                    facts = thing.facts()
                    events.append(moment.event(EventType.LINE_CROSSED, object=facts, line=name, direction=direction))
        return events

    def _report_changes(self, seen: Iterable[KnownObject], moment: _Moment) -> list[Event]:
        events = []
        for thing in seen:
            changes = thing.changes(self._settings.objects, now_s=moment.now_s)
            if changes:
                thing.tell(now_s=moment.now_s)
                details = {"changes": [change.value for change in changes]}
                events.append(moment.event(EventType.OBJECT_UPDATE, object=thing.facts(), details=details))
        return events

    def _end(self, ended: Iterable[KnownObject], moment: _Moment) -> list[Event]:
        events = []
        for thing in ended:
            del self._known[thing.number]
            self._unplaced.discard(thing.number)
            for line in self._lines:
                line.end(thing)
            if thing.is_announced:
                details = {"duration_s": round(thing.seen_s - thing.first_s, 3)}
                events.append(moment.event(EventType.OBJECT_END, object=thing.facts(), details=details))
        return events


def _identity_event(thing: KnownObject, former: FaceDecision | None, moment: _Moment) -> Event:
    return moment.event(EventType.OBJECT_IDENTITY, object=thing.facts(), identity=thing.identity, former=former)
