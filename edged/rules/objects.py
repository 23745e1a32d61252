"""The life of one object: when it is announced, when news of it is due, and when it was seen best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edged.events.event import BestShot, ObjectFacts
from edged.rules.settings import ClassLimits, ObjectSettings
from edged.types import FaceDecision, Track

TIME_TOLERANCE_S = 1e-6
"""Sums of frame times are not exact: a duration that falls short of its threshold by this little has reached it."""

FULL_SIZE_RATIO = 0.1
"""An object that fills this share of the picture is as large as its best shot can use."""

CUT_QUALITY_RATIO = 0.5
"""What is left of the quality of a shot that the edge of the picture cuts."""

SURFACE_SETTLE_S = 1.0
"""An object on the border of two kinds of ground is on the other one once it has been for so long."""

EDGE_PX = 1.0
"""A box that comes this near to the edge of the picture is taken as cut by it."""


class Change(str, Enum):
    """Why an object is reported again."""

    CLASS = "class"
    BEST = "best"
    ZONES = "zones"
    STATIONARY = "stationary"
    SURFACE = "surface"
    PERIODIC = "periodic"


@dataclass(frozen=True, slots=True)
class _Told:
    """What the last report about an object said."""

    at_s: float
    class_name: str
    best_quality: float
    zones: tuple[str, ...]
    is_stationary: bool
    surface: str | None


@dataclass(slots=True, eq=False)
class KnownObject:
    """What the rules know about one confirmed object, from its confirmation to its end.

    Attributes:
        number, class_name, score, box, is_stationary, first_s, seen_s: as its track said last.
        top_score: the highest score so far.
        corners: x1, y1, x2, y2 of the box as plain numbers.
        size_px: square root of the box's area.
        width_ratio, height_ratio: the box's size as shares of the picture, at most 1.
        zones: names of the zones that it is in; kept by the engine.
        best: its best shot, None until a detection was seen.
        identity: whose face it shows, as far as that is known.
        surface: class of the ground that it stands on, as far as that is known.
    """

    number: int
    class_name: str = ""
    score: float = 0.0
    top_score: float = 0.0
    box: NDArray[np.float32] = field(default_factory=lambda: np.zeros(4, np.float32))
    corners: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    is_stationary: bool = False
    first_s: float = 0.0
    seen_s: float = 0.0
    size_px: float = 0.0
    width_ratio: float = 0.0
    height_ratio: float = 0.0
    zones: tuple[str, ...] = ()
    best: BestShot | None = None
    identity: FaceDecision | None = None
    surface: str | None = None
    _other_surface: str | None = None
    _other_since_s: float = 0.0
    _scores: float = 0.0
    _n_scores: int = 0
    _told: _Told | None = None

    @property
    def mean_score(self) -> float:
        """Of all its detections since it was confirmed."""
        return self._scores / max(1, self._n_scores)

    @property
    def is_announced(self) -> bool:
        """object.new was sent."""
        return self._told is not None

    def follow(self, track: Track, class_name: str, *, now_s: float, width: int, height: int) -> None:
        """Take over what its track says in this frame of `width` x `height` pixels."""
        self.corners = x1, y1, x2, y2 = tuple(track.box.tolist())
        self.class_name = class_name
        self.score = track.score
        self.box = track.box
        self.is_stationary = track.is_stationary
        self.first_s = track.first_s
        self.seen_s = track.seen_s
        self.size_px = math.sqrt(max(0.0, x2 - x1) * max(0.0, y2 - y1))
        self.width_ratio = min(1.0, (x2 - x1) / width)
        self.height_ratio = min(1.0, (y2 - y1) / height)
        if track.is_detected:
            self.top_score = max(self.top_score, track.score)
            self._scores += track.score
            self._n_scores += 1
            quality = shot_quality(self.corners, track.score, width=width, height=height)
            if self.best is None or quality > self.best.quality:
                self.best = BestShot(now_s, track.box, track.score, quality)

    def stand_on(self, surface: str | None, *, now_s: float) -> None:
        """Take over the ground below it; another one than before is believed after `SURFACE_SETTLE_S`, None never."""
        if surface in (None, self.surface):
            self._other_surface = None
        elif surface != self._other_surface:
            self._other_surface, self._other_since_s = surface, now_s
        if self._other_surface is None:
            return
        if self.surface is None or now_s - self._other_since_s >= SURFACE_SETTLE_S - TIME_TOLERANCE_S:
            self.surface, self._other_surface = self._other_surface, None

    def facts(self) -> ObjectFacts:
        """The object as an event tells it."""
        return ObjectFacts(
            number=self.number,
            class_name=self.class_name,
            score=self.score,
            top_score=max(self.top_score, self.score),
            box=self.box,
            is_stationary=self.is_stationary,
            first_s=self.first_s,
            zones=self.zones,
            best=self.best,
            identity=self.identity,
            surface=self.surface,
        )

    def changes(self, settings: ObjectSettings, *, now_s: float) -> tuple[Change, ...]:
        """What is due to be reported now; empty before it is announced and while the last report is too recent."""
        told = self._told
        if told is None or now_s - told.at_s < settings.update_min_s - TIME_TOLERANCE_S:
            return ()
        found = []
        if self.class_name != told.class_name:
            found.append(Change.CLASS)
        if self.best is not None and self.best.quality > told.best_quality * (1 + settings.best_gain_ratio):
            found.append(Change.BEST)
        if self.zones != told.zones:
            found.append(Change.ZONES)
        if self.is_stationary != told.is_stationary:
            found.append(Change.STATIONARY)
        if self.surface != told.surface:
            found.append(Change.SURFACE)
        if not found and self._is_overdue(settings.update_every_s, now_s - told.at_s):
            found.append(Change.PERIODIC)
        return tuple(found)

    def _is_overdue(self, every_s: float | None, since_s: float) -> bool:
        return every_s is not None and not self.is_stationary and since_s >= every_s - TIME_TOLERANCE_S

    def tell(self, *, now_s: float) -> None:
        """Note that its present facts are being sent."""
        best_quality = 0.0 if self.best is None else self.best.quality
        self._told = _Told(now_s, self.class_name, best_quality, self.zones, self.is_stationary, self.surface)


def is_same_answer(one: FaceDecision, other: FaceDecision) -> bool:
    """Whether two decisions name the same person, or nobody for the same reason; how sure they are does not count."""
    return (one.kind, one.subject) == (other.kind, other.subject)


def admits(classes: Mapping[str, ClassLimits] | None, thing: KnownObject) -> bool:
    """Whether an object is of a class that counts, has scored well enough once, and has a size within the limits now."""
    if classes is None:
        return True
    limits = classes.get(thing.class_name)
    return (
        limits is not None
        and thing.top_score >= limits.min_score
        and limits.min_width_ratio <= thing.width_ratio <= limits.max_width_ratio
        and limits.min_height_ratio <= thing.height_ratio <= limits.max_height_ratio
    )


def shot_quality(box: tuple[float, float, float, float], score: float, *, width: int, height: int) -> float:
    """How well one detection shows its object, 0..1: score x size, halved where the edge of the picture cuts it.

    Size is the side of a square of the box's area against that of `FULL_SIZE_RATIO` of the picture, at most 1. How sharp
    the picture is does not count: pixels are not looked at.

    Args:
        box: xyxy, frame pixels.
        score: of the detection, [0, 1].
        width, height: of the picture, pixels.
    """
    x1, y1, x2, y2 = box
    area_px = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
    quality = score * math.sqrt(min(1.0, area_px / (FULL_SIZE_RATIO * width * height)))
    is_cut = x1 < EDGE_PX or y1 < EDGE_PX or x2 > width - EDGE_PX or y2 > height - EDGE_PX
    return quality * CUT_QUALITY_RATIO if is_cut else quality
