"""What a person can set about zones, lines and objects, with every default in this one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edged.vision.boxes import Anchor
from edged.vision.masks import polygon_area

Point = tuple[float, float]
"""x and y as shares of the picture, 0..1."""

MAX_ZONES = 32
MAX_LINES = 32
MAX_COVER_RULES = 4
MAX_NAME_LENGTH = 64
"""Bounds of one camera's rules; they keep every message below its limit in bytes."""

PATIENT_S = 60.0
"""What must last for longer before it is said can wait for maps at their usual pace."""

SHARE_TOLERANCE = 1e-9
"""Sums of shares are not exact: one that misses its bound by so little has reached it."""


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """What an object of one class must be like before a rule looks at it; the bounds themselves are allowed.

    Attributes:
        min_score: the object's best score so far must reach this.
        min_width_ratio, min_height_ratio, max_width_ratio, max_height_ratio: size of its box as shares of the picture.
    """

    min_score: float = 0.0
    min_width_ratio: float = 0.0
    min_height_ratio: float = 0.0
    max_width_ratio: float = 1.0
    max_height_ratio: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score must be 0 to 1, got {self.min_score}")
        for least, most in ((self.min_width_ratio, self.max_width_ratio), (self.min_height_ratio, self.max_height_ratio)):
            if not 0 <= least <= most <= 1:
                raise ValueError(f"box sizes must be shares 0 <= least <= most <= 1, got {least} and {most}")


@dataclass(frozen=True, slots=True)
class CrowdSettings:
    """When a zone counts as crowded.

    Attributes:
        at: this many objects or more are a crowd.
        for_s: how long it must be so, and how long it must be over, before it is said.
    """

    at: int
    for_s: float = 2.0

    def __post_init__(self) -> None:
        if self.at < 1:
            raise ValueError(f"a crowd needs at least 1 object, got {self.at}")
        if self.for_s < 0:
            raise ValueError(f"for_s must be 0 or more, got {self.for_s}")


@dataclass(frozen=True, slots=True)
class ShareRule:
    """When an area counts as covered by some classes, or no longer by enough of them.

    Attributes:
        classes: whose shares of the area are added.
        above: it is so from this sum on; None: `below` says.
        below: it is so up to this sum; None: `above` says.
        for_s: how long it must be so, and how long it must be over, before it is said.
        hysteresis_ratio: it is over once the sum is so far back beyond its bound.
        name: of the rule; empty where there is but one.
    """

    classes: tuple[str, ...]
    above: float | None = None
    below: float | None = None
    for_s: float = 10.0
    hysteresis_ratio: float = 0.05
    name: str = ""

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("a rule about shares needs at least 1 class")
        if (self.above is None) == (self.below is None):
            raise ValueError(f"a rule about shares needs above or below, got {self.above} and {self.below}")
        if self.for_s < 0 or self.hysteresis_ratio < 0:
            raise ValueError(f"for_s and hysteresis_ratio must be 0 or more, got {self.for_s} and {self.hysteresis_ratio}")
        if self.above is not None and not self.hysteresis_ratio < self.above <= 1:
            raise ValueError(f"above must exceed hysteresis_ratio {self.hysteresis_ratio}, up to 1, got {self.above}")
        if self.below is not None and not (self.below >= 0 and self.below + self.hysteresis_ratio < 1):
            raise ValueError(f"below must be 0 or more and less than 1 - {self.hysteresis_ratio}, got {self.below}")

    def is_met(self, share: float, *, was_met: bool) -> bool:
        """Whether the sum of the shares says that it is so; the bound itself does."""
        slack = self.hysteresis_ratio if was_met else 0.0
        if self.above is not None:
            return share >= self.above - slack - SHARE_TOLERANCE
        return share <= self.below + slack + SHARE_TOLERANCE


@dataclass(frozen=True, slots=True)
class AreaSettings:
    """What is told of one area, be it a zone or the whole picture.

    Attributes:
        classes: those whose shares are published; None: all.
        blocked: when it counts as blocked; None: never.
        covered_by: by what else it may be covered, each with a name.
    """

    classes: tuple[str, ...] | None = None
    blocked: ShareRule | None = None
    covered_by: tuple[ShareRule, ...] = ()

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.covered_by]
        for name in names:
            _check_name(name)
        if len(set(names)) < len(names) or len(names) > MAX_COVER_RULES:
            raise ValueError(f"expected at most {MAX_COVER_RULES} rules with different names, got {names}")


@dataclass(frozen=True, slots=True)
class ZoneSettings:
    """A polygon that objects enter, stay in and leave.

    Attributes:
        name: unique among the zones of its camera.
        polygon_norm: at least three corners, shares of the picture; the edge belongs to the zone.
        classes: limits of each class that counts; None: every class, without limits.
        anchor: the point of the box that must be inside.
        dwell_s: an object that has stayed this long is reported; None: never.
        dwell_repeat_s: it is reported again each time this long has passed; None: once a stay.
        crowd: None: the zone never counts as crowded.
        hysteresis_ratio: width of the band along the border in which a change is not yet believed, as a share of the
            object's size (square root of its box's area).
        settle_s: an object inside, but still in that band, has entered once it has been inside for this long.
    """

    name: str
    polygon_norm: tuple[Point, ...]
    classes: Mapping[str, ClassLimits] | None = None
    anchor: Anchor = Anchor.BOTTOM_CENTRE
    dwell_s: float | None = None
    dwell_repeat_s: float | None = None
    crowd: CrowdSettings | None = None
    hysteresis_ratio: float = 0.06
    settle_s: float = 0.2

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_points(f"zone {self.name}", self.polygon_norm)
        if len(self.polygon_norm) < 3 or polygon_area(self.polygon_norm) == 0:
            raise ValueError(f"zone {self.name} needs at least 3 corners that enclose an area, got {self.polygon_norm}")
        if self.dwell_s is not None and self.dwell_s <= 0:
            raise ValueError(f"zone {self.name}: dwell_s must be above 0, got {self.dwell_s}")
        if self.dwell_repeat_s is not None and (self.dwell_s is None or self.dwell_repeat_s <= 0):
            raise ValueError(f"zone {self.name}: dwell_repeat_s must be above 0 and needs dwell_s")
        if self.hysteresis_ratio < 0 or self.settle_s < 0:
            raise ValueError(f"zone {self.name}: hysteresis_ratio and settle_s must be 0 or more")


@dataclass(frozen=True, slots=True)
class LineSettings:
    """A directed line whose crossings are counted.

    Stand at `start_norm` and look towards `end_norm`, on the picture as you see it: crossing from your left to your
    right is `in`, from right to left `out`. A line drawn from left to right counts as `in` what moves down the picture.

    Attributes:
        name: unique among the lines of its camera.
        start_norm, end_norm: its ends, shares of the picture; passing beyond the ends is no crossing.
        classes: limits of each class that counts; None: every class, without limits.
        anchor: the point of the box that must cross.
        hysteresis_ratio: how far beyond the line the anchor must come before the crossing is believed, as a share of
            the object's size (square root of its box's area).
    """

    name: str
    start_norm: Point
    end_norm: Point
    classes: Mapping[str, ClassLimits] | None = None
    anchor: Anchor = Anchor.BOTTOM_CENTRE
    hysteresis_ratio: float = 0.06

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_points(f"line {self.name}", (self.start_norm, self.end_norm))
        if self.start_norm == self.end_norm:
            raise ValueError(f"line {self.name}: its two ends are the same point")
        if self.hysteresis_ratio < 0:
            raise ValueError(f"line {self.name}: hysteresis_ratio must be 0 or more")


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """Which objects are announced, and how often news of them is sent.

    Attributes:
        classes: limits of each class that is announced; None: every class, without limits.
        update_every_s: a moving object is reported at least this often; a stationary one only on change; None: on
            change only.
        update_min_s: an object is reported at most this often; what changes meanwhile is sent together.
        best_gain_ratio: a better best shot is worth an update when its quality has grown by this share.
    """

    classes: Mapping[str, ClassLimits] | None = None
    update_every_s: float | None = 10.0
    update_min_s: float = 1.0
    best_gain_ratio: float = 0.25

    def __post_init__(self) -> None:
        if self.update_every_s is not None and self.update_every_s <= 0:
            raise ValueError(f"update_every_s must be above 0, got {self.update_every_s}")
        if self.update_min_s < 0 or self.best_gain_ratio < 0:
            raise ValueError("update_min_s and best_gain_ratio must be 0 or more")


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """What one camera's objects are judged by; may change while it runs.

    Attributes:
        zones, lines: in the order of the configuration; each with a name of its own.
        objects: which are announced.
    """

    zones: tuple[ZoneSettings, ...] = ()
    lines: tuple[LineSettings, ...] = ()
    objects: ObjectSettings = field(default_factory=ObjectSettings)

    @property
    def polygons(self) -> dict[str, tuple[Point, ...]]:
        """Where each zone lies, by its name."""
        return {zone.name: zone.polygon_norm for zone in self.zones}

    def __post_init__(self) -> None:
        _check_names("zone", [zone.name for zone in self.zones], most=MAX_ZONES)
        _check_names("line", [line.name for line in self.lines], most=MAX_LINES)


@dataclass(frozen=True, slots=True)
class AreaRuleSettings:
    """What is told of what one camera's pictures are made of; may change while it runs.

    Attributes:
        zones: of each zone, by its name.
        picture: of the whole picture; it has no rules.
        min_change_ratio: a share that has changed by less is not told for that.
    """

    zones: Mapping[str, AreaSettings] = field(default_factory=dict)
    picture: AreaSettings = field(default_factory=AreaSettings)
    min_change_ratio: float = 0.02


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise ValueError(f"a name has 1 to {MAX_NAME_LENGTH} characters, got {name!r}")


def _check_points(of: str, points: tuple[Point, ...]) -> None:
    for x, y in points:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(f"{of}: points are shares of the picture, 0 to 1, got ({x}, {y})")


def _check_names(kind: str, names: list[str], *, most: int) -> None:
    if len(names) > most:
        raise ValueError(f"a camera may have {most} {kind}s, got {len(names)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{kind} names must differ, used twice: {', '.join(twice)}")
