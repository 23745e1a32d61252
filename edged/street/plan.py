"""The motion plan: who is on the street when, as a pure function of seed and time.

Time runs in cycles, like a pedestrian light: first vehicles pass the zebra crossing, then people cross it while a
vehicle may wait. Each cycle is planned from (seed, cycle) alone and nobody stays longer than a few cycles, so the
street goes on for ever at the same cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from edged.street import geometry as place

CYCLE_S = 24.0
PAST_CYCLES = 3
FUTURE_CYCLES = 1
IDS_PER_CYCLE = 64
CROSSING_OPENS_S = 15.6
CROSSING_CLOSES_S = 21.0
OUTSIDE_PX = 60.0


class Kind(str, Enum):
    """What an actor is; riders belong to their bicycle or motorcycle."""

    PERSON = "person"
    BICYCLE = "bicycle"
    CAR = "car"
    MOTORCYCLE = "motorcycle"
    BUS = "bus"
    TRUCK = "truck"


class View(str, Enum):
    """How the camera sees an actor."""

    RIGHT = "right"
    LEFT = "left"
    TOWARD = "toward"
    AWAY = "away"


LENGTH_M = {Kind.CAR: 4.3, Kind.BUS: 7.6, Kind.TRUCK: 5.8, Kind.MOTORCYCLE: 2.1, Kind.BICYCLE: 1.75}


@dataclass(frozen=True, slots=True)
class Traffic:
    """What drives in the lanes; the rest are cars.

    Attributes:
        motorcycles: their share of the vehicles.
        heavy: the share of buses, and that of trucks; in the far lane only: in the near one they would hide the street.
    """

    motorcycles: float = 0.12
    heavy: float = 0.12

    def __post_init__(self) -> None:
        if min(self.motorcycles, self.heavy) < 0 or self.motorcycles + 2 * self.heavy > 1:
            raise ValueError(f"traffic: expected shares of at least 0 that leave none below 0 for cars, got {self}")


@dataclass(frozen=True, slots=True)
class Leg:
    """A stretch of a way with constant acceleration along x and constant speed along y.

    Attributes:
        start_s, end_s: scene seconds.
        x, y: ground point at `start_s`, design pixels.
        speed_x, speed_y: design pixels per second at `start_s`.
        acceleration_x: design pixels per second squared.
        view: how the actor is seen on it.
    """

    start_s: float
    end_s: float
    x: float
    y: float
    speed_x: float
    speed_y: float
    acceleration_x: float
    view: View

    @property
    def is_still(self) -> bool:
        """Whether the actor stands on this leg."""
        return self.speed_x == 0 and self.speed_y == 0 and self.acceleration_x == 0

    def at(self, time_s: float) -> tuple[float, float]:
        """Ground point at a moment, design pixels."""
        passed_s = time_s - self.start_s
        x = self.x + (self.speed_x + 0.5 * self.acceleration_x * passed_s) * passed_s
        return x, self.y + self.speed_y * passed_s


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody or something that moves over the street.

    Attributes:
        track_id: unique for ever; a rider has `track_id + 1`.
        kind: what it is.
        look: seed of its appearance.
        cadence_hz: steps or pedal turns per second while moving.
        legs: its way, without gaps in time.
    """

    track_id: int
    kind: Kind
    look: int
    cadence_hz: float
    legs: tuple[Leg, ...]

    def leg_at(self, time_s: float) -> Leg | None:
        """The leg under way at a moment, None while off the street."""
        for leg in self.legs:
            if leg.start_s <= time_s < leg.end_s:
                return leg
        return None


class _Way:
    """Builds legs one after the other."""

    def __init__(self, *, start_s: float, x: float, y: float) -> None:
        self.time_s, self.x, self.y = start_s, x, y
        self.legs: list[Leg] = []

    def _add(self, duration_s: float, speed_x: float, speed_y: float, acceleration_x: float, view: View) -> None:
        leg = Leg(self.time_s, self.time_s + duration_s, self.x, self.y, speed_x, speed_y, acceleration_x, view)
        self.legs.append(leg)
        self.time_s = leg.end_s
        self.x, self.y = leg.at(leg.end_s)

    def go_x(self, x: float, speed: float) -> None:
        view = View.RIGHT if x > self.x else View.LEFT
        self._add(abs(x - self.x) / speed, math.copysign(speed, x - self.x), 0.0, 0.0, view)

    def go_y(self, y: float, speed: float, *, sway: float = 0.0) -> None:
        view = View.TOWARD if y > self.y else View.AWAY
        duration_s = abs(y - self.y) / speed
        self._add(duration_s, sway / duration_s, math.copysign(speed, y - self.y), 0.0, view)

    def wait(self, duration_s: float, view: View) -> None:
        if duration_s > 0:
            self._add(duration_s, 0.0, 0.0, 0.0, view)

    def change_speed(self, before: float, after: float, distance: float) -> None:
        """Brake or speed up evenly over a signed distance."""
        duration_s = 2 * abs(distance) / (before + after)
        sign = math.copysign(1.0, distance)
        view = View.RIGHT if distance > 0 else View.LEFT
        self._add(duration_s, sign * before, 0.0, sign * (after - before) / duration_s, view)

    def shift(self, shift_s: float) -> tuple[Leg, ...]:
        """The legs, moved in time."""
        return tuple(
            Leg(g.start_s + shift_s, g.end_s + shift_s, g.x, g.y, g.speed_x, g.speed_y, g.acceleration_x, g.view)
            for g in self.legs
        )


class CyclePlan:
    """Plans everybody who belongs to one cycle.

    Args:
        seed: of the street.
        cycle: number of the cycle; negative ones fill the street before its first frame.
        traffic: what drives in the lanes.
    """

    def __init__(self, seed: int, cycle: int, traffic: Traffic = Traffic()) -> None:
        self._traffic = traffic
        self._rng = np.random.default_rng([seed, cycle + 2 * PAST_CYCLES])
        self._cycle = cycle
        self._start_s = cycle * CYCLE_S
        self._actors: list[Actor] = []

    def make(self) -> tuple[Actor, ...]:
        """Everybody of this cycle, in a fixed order."""
        has_parker = self._cycle % 2 == 0
        self._plan_lane(place.NEAR_LANE_Y, direction=1, begins_s=1.5)
        # the far lane stays empty while a car drives into the bay behind it
        self._plan_lane(place.FAR_LANE_Y, direction=-1, begins_s=7.0 if has_parker else 1.5)
        self._plan_cyclists()
        if has_parker:
            self._plan_parker()
        self._plan_crossers()
        self._plan_walkers(place.NEAR_WALK_Y, linger_x=(125.0, 225.0))
        self._plan_walkers(place.FAR_WALK_Y, linger_x=(95.0, 180.0))
        return tuple(self._actors)

    def _uniform(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def _add(self, kind: Kind, legs: tuple[Leg, ...], *, cadence_hz: float = 0.0) -> None:
        track_id = (self._cycle + 2 * PAST_CYCLES) * IDS_PER_CYCLE + 2 * len(self._actors)
        self._actors.append(Actor(track_id, kind, int(self._rng.integers(1 << 31)), cadence_hz, legs))

    def _vehicle_kind(self, lane_y: float) -> Kind:
        motorcycles = self._traffic.motorcycles
        heavy = self._traffic.heavy if lane_y == place.FAR_LANE_Y else 0.0
        shares = [1 - motorcycles - 2 * heavy, motorcycles, heavy, heavy]
        return [Kind.CAR, Kind.MOTORCYCLE, Kind.BUS, Kind.TRUCK][int(self._rng.choice(4, p=shares))]

    def _plan_lane(self, lane_y: float, *, direction: int, begins_s: float) -> None:
        """One to three vehicles at one speed; the last may have to wait at the crossing."""
        speed = self._uniform(3.1, 4.3) * place.pixels_per_metre(lane_y)
        passes_s = begins_s + self._uniform(0.0, 3.5)
        while passes_s < CROSSING_OPENS_S - 2.0:
            kind = self._vehicle_kind(lane_y)
            self._plan_vehicle(kind, lane_y, direction, speed, passes_s)
            passes_s += LENGTH_M[kind] * place.pixels_per_metre(lane_y) / speed + self._uniform(1.6, 6.0)
        if self._rng.random() < 0.5 and passes_s < CROSSING_CLOSES_S:
            self._plan_waiter(lane_y, direction, speed, passes_s)

    def _plan_vehicle(self, kind: Kind, lane_y: float, direction: int, speed: float, passes_s: float) -> None:
        margin = OUTSIDE_PX + LENGTH_M[kind] * place.pixels_per_metre(lane_y) / 2
        first, last = (-margin, 640.0 + margin)[::direction]
        way = _Way(start_s=0.0, x=first, y=lane_y)
        way.go_x(last, speed)
        middle = sum(place.ZEBRA_X) / 2
        self._add(kind, way.shift(self._start_s + passes_s - abs(middle - first) / speed))

    def _plan_waiter(self, lane_y: float, direction: int, speed: float, passes_s: float) -> None:
        """A car that brakes before the crossing and goes on when it closes."""
        half = LENGTH_M[Kind.CAR] * place.pixels_per_metre(lane_y) / 2
        first, last = (-half - OUTSIDE_PX, 640.0 + half + OUTSIDE_PX)[::direction]
        stop = (place.ZEBRA_X[0] - 14 - half) if direction > 0 else (place.ZEBRA_X[1] + 14 + half)
        way = _Way(start_s=0.0, x=first, y=lane_y)
        way.go_x(stop - direction * 110.0, speed)
        way.change_speed(speed, 0.0, direction * 110.0)
        arrives_s = max(passes_s, CROSSING_OPENS_S)
        go_s = self._uniform(CROSSING_CLOSES_S, CROSSING_CLOSES_S + 0.6)
        shift_s = arrives_s - way.time_s
        way.wait(go_s - arrives_s, View.RIGHT if direction > 0 else View.LEFT)
        way.change_speed(0.0, speed, direction * 90.0)
        way.go_x(last, speed)
        self._add(Kind.CAR, way.shift(self._start_s + shift_s))

    def _plan_cyclists(self) -> None:
        passes_s = self._uniform(0.5, 6.0)
        while passes_s < CROSSING_OPENS_S - 1.0:
            speed = self._uniform(2.4, 3.4) * place.pixels_per_metre(place.CYCLE_LANE_Y)
            way = _Way(start_s=0.0, x=-OUTSIDE_PX, y=place.CYCLE_LANE_Y)
            way.go_x(640.0 + OUTSIDE_PX, speed)
            shift_s = passes_s - (sum(place.ZEBRA_X) / 2 + OUTSIDE_PX) / speed
            self._add(Kind.BICYCLE, way.shift(self._start_s + shift_s), cadence_hz=self._uniform(0.9, 1.3))
            passes_s += self._uniform(6.0, 12.0)

    def _plan_parker(self) -> None:
        """A car that stops in the bay and leaves in the next cycle."""
        speed = self._uniform(2.2, 2.9) * place.pixels_per_metre(place.BAY_Y)
        way = _Way(start_s=self._start_s + self._uniform(0.0, 1.0), x=640.0 + 90.0, y=place.BAY_Y)
        way.go_x(place.BAY_X + 80.0, speed)
        way.change_speed(speed, 0.0, -80.0)
        way.wait(self._start_s + CYCLE_S + self._uniform(1.0, 6.0) - way.time_s, View.LEFT)
        way.change_speed(0.0, speed, -80.0)
        way.go_x(-90.0, speed)
        self._add(Kind.CAR, way.shift(0.0))

    def _pace(self) -> tuple[float, float]:
        """Metres per second and steps (pairs) per second of a walker."""
        metres = self._uniform(1.15, 1.6)
        return metres, metres / 1.45

    def _plan_crossers(self) -> None:
        for _ in range(int(self._rng.integers(1, 4))):
            ends = [self._uniform(*place.NEAR_WALK_Y), self._uniform(*place.FAR_WALK_Y)]
            if self._rng.random() < 0.5:
                ends.reverse()
            metres, cadence_hz = self._pace()
            before, after = (float(self._rng.choice([-30.0, 670.0])) for _ in range(2))
            x = self._uniform(place.ZEBRA_X[0] + 14, place.ZEBRA_X[1] - 20)
            waits_s = float(self._rng.choice([0.0, self._uniform(1.0, 3.0)]))
            way = _Way(start_s=0.0, x=before, y=ends[0])
            way.go_x(x, metres * place.pixels_per_metre(ends[0]))
            way.wait(waits_s, View.TOWARD if ends[1] > ends[0] else View.AWAY)
            shift_s = self._start_s + CROSSING_OPENS_S + self._uniform(0.0, 1.4) - way.time_s
            way.go_y(ends[1], self._uniform(36.0, 46.0), sway=self._uniform(-8.0, 8.0))
            way.go_x(after, metres * place.pixels_per_metre(ends[1]))
            self._add(Kind.PERSON, way.shift(shift_s), cadence_hz=cadence_hz)

    def _plan_walkers(self, walk_y: tuple[float, float], *, linger_x: tuple[float, float]) -> None:
        """People along a pavement; some stop on their way and linger."""
        for _ in range(int(self._rng.integers(1, 4))):
            metres, cadence_hz = self._pace()
            y = self._uniform(*walk_y)
            speed = metres * place.pixels_per_metre(y)
            first, last = (-30.0, 670.0) if self._rng.random() < 0.5 else (670.0, -30.0)
            way = _Way(start_s=self._start_s + self._uniform(0.0, CYCLE_S), x=first, y=y)
            if self._rng.random() < 0.4:
                way.go_x(self._uniform(*linger_x), speed)
                way.wait(self._uniform(6.0, 14.0), [View.TOWARD, View.AWAY][int(self._rng.integers(2))])
            way.go_x(last, speed)
            self._add(Kind.PERSON, way.shift(0.0), cadence_hz=cadence_hz)
