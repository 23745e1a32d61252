"""What the rules say happened, before it has an id, a camera name or a wall time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edged.types import FaceDecision


class EventType(str, Enum):
    """Every kind of event, as it stands on the wire."""

    OBJECT_NEW = "object.new"
    OBJECT_UPDATE = "object.update"
    OBJECT_END = "object.end"
    ZONE_ENTER = "zone.enter"
    ZONE_LEAVE = "zone.leave"
    ZONE_DWELL = "zone.dwell"
    ZONE_CROWDED = "zone.crowded"
    ZONE_CLEARED = "zone.cleared"
    ZONE_BLOCKED = "zone.blocked"
    ZONE_FREE = "zone.free"
    ZONE_COVERED_BY = "zone.covered_by"
    ZONE_UNCOVERED = "zone.uncovered"
    LINE_CROSSED = "line.crossed"
    OBJECT_IDENTITY = "object.identity"
    CAMERA_FORMAT = "camera.format"
    CAMERA_MOVED = "camera.moved"
    CLOCK_STEP = "clock.step"


class Direction(str, Enum):
    """Which way a directed line was crossed."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True, eq=False)
class BestShot:
    """The moment at which an object was seen best so far.

    Attributes:
        captured_s: time of the frame.
        box: (4,) float32 xyxy, frame pixels.
        score: of the detection, [0, 1].
        quality: [0, 1], higher is better; the rule that ranks shots is `rules/objects.py`'s.
    """

    captured_s: float
    box: NDArray[np.float32]
    score: float
    quality: float


@dataclass(frozen=True, slots=True, eq=False)
class ObjectFacts:
    """The object that an event is about.

    Attributes:
        number: the track's number on its camera.
        class_name: from the manifest.
        score: of the newest matched detection, [0, 1].
        top_score: the highest so far.
        box: (4,) float32 xyxy, frame pixels.
        is_stationary: it has not moved for a while.
        first_s: time of its first detection.
        zones: names of the zones that it is in now, in configuration order.
        best: None before its first detection.
        identity: whose face it shows; None while that is not asked, or not yet known.
        surface: class of the ground that it stands on; None while that is not asked, or not yet known.
    """

    number: int
    class_name: str
    score: float
    top_score: float
    box: NDArray[np.float32]
    is_stationary: bool
    first_s: float
    zones: tuple[str, ...]
    best: BestShot | None
    identity: FaceDecision | None = None
    surface: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One thing that happened on one camera.

    Attributes:
        type: what kind.
        captured_s: time of the frame that decided it.
        frame_seq: number of that frame, 0 where no frame did.
        width, height: size of that frame, pixels; boxes are in these.
        object: the object concerned, None for events about a zone as a whole or the camera.
        zone, line: name of the rule concerned.
        direction: for line.crossed.
        dwell_s: seconds the object has been in the zone (zone.dwell, zone.leave).
        count: objects in the zone after the event (zone.*, where it is about objects).
        identity: for object.identity: whose face the object shows.
        former: for object.identity: what was said of the object before; None where this is the first answer.
        details: further plain facts of rarer types, JSON values only.
    """

    type: EventType
    captured_s: float
    frame_seq: int
    width: int
    height: int
    object: ObjectFacts | None = None
    zone: str | None = None
    line: str | None = None
    direction: Direction | None = None
    dwell_s: float | None = None
    count: int | None = None
    identity: FaceDecision | None = None
    former: FaceDecision | None = None
    details: Mapping[str, object] = field(default_factory=dict)
