"""The messages that edged publishes, as models: the one home of their fields, from which the JSON Schemas are made.

What is encoded, decoded and documented all goes through these models, so a field cannot be in one and missing in another.
Readers must pass over fields that they do not know: new ones may be added without a new `schema_version`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edged.errors import SourceCause
from edged.events.event import Direction, EventType
from edged.types import FaceDecisionKind

SCHEMA_VERSION = 1
"""Rises when a field is removed or changes its meaning."""

MAX_NAMES = 32
"""Most names in any list or mapping of a message."""

UtcTime = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", description="UTC, ISO 8601 with ms")]
Share = Annotated[float, Field(ge=0, le=1)]
BoxNorm = Annotated[
    list[Share], Field(min_length=4, max_length=4, description="x1, y1, x2, y2 as shares of the frame; x2, y2 exclusive")
]
Name = Annotated[str, Field(min_length=1, max_length=64)]
PersonId = Annotated[str, Field(min_length=1, max_length=128)]
Amount = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
ByClass = Annotated[dict[str, Amount], Field(description="class name to how many; `*` stands for all classes together")]
ShareByClass = Annotated[dict[str, Share], Field(description="class name to its share of the area, largest first")]


class WireModel(BaseModel):
    """What all parts of a message share: frozen, finite numbers, unknown fields passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, populate_by_name=True)


class FrameFacts(WireModel):
    """The frame that decided."""

    seq: Amount = Field(description="number of the decoded frame on this camera, from 1; 0 where no frame decided")
    width: Amount = Field(description="pixels")
    height: Amount = Field(description="pixels")


class BestShotFacts(WireModel):
    """The moment at which the object was seen best so far."""

    captured_at: UtcTime
    box_norm: BoxNorm
    score: Share
    quality: Share = Field(description="score x size, halved where the edge of the picture cuts the object")


class AnswerFacts(WireModel):
    """Whose face an object shows."""

    kind: FaceDecisionKind = Field(
        description="match: somebody enrolled; unknown: nobody who is; ambiguous: two are as near; spoof: no living face; "
        "low_quality: no picture was good enough to ask"
    )
    subject: PersonId | None = Field(None, description="match only: id of who it is")
    name: str | None = Field(None, max_length=128, description="match only: what they are called")


class IdentityFacts(AnswerFacts):
    """Whose face an object shows, with the evidence."""

    nearest: PersonId | None = Field(None, description="ambiguous, spoof: id of who is nearest; not who it is")
    score: float | None = Field(None, ge=-1, le=1, description="cosine of the nearest person, weighted mean over the pictures")
    margin: float | None = Field(None, ge=0, le=2, description="by how much that is above the next person's")
    threshold: float = Field(ge=-1, le=1, description="score from which on it is a match")
    false_match_rate: Share | None = Field(
        None, description="share of pairs of two people that reach the threshold; absent where that was never measured"
    )
    votes: Amount = Field(description="pictures that counted")
    live: Share | None = Field(None, description="probability of a living face over them; absent where nothing judges it")
    gallery_version: Amount | None = Field(None, description="of the enrolled people: rises with every change")
    model: str = Field(max_length=64, description="SHA-256 of the encoder")
    former: AnswerFacts | None = Field(None, description="what was said of the object before; absent in the first answer")


class ObjectMessage(WireModel):
    """The object that an event is about."""

    id: str = Field(description="<camera>-<epoch>-<n>: the same over the life of the object, never used again")
    class_name: Name = Field(alias="class")
    score: Share = Field(description="of the newest detection")
    top_score: Share = Field(description="the highest so far")
    box_norm: BoxNorm
    stationary: bool = Field(description="it has not moved for a while")
    first_seen_at: UtcTime
    zones: list[Name] = Field(max_length=MAX_NAMES, description="zones that it is in after the event")
    best: BestShotFacts | None = None
    identity: AnswerFacts | None = Field(None, description="whose face it shows; absent until that is known")
    surface: str | None = Field(None, description="class of the ground that it stands on; absent until that is known")


class ClockFacts(WireModel):
    """How far the times of this message can be trusted."""

    synchronised: bool = Field(description="the device's clock was set from the network since it was switched on")
    max_error_ms: float | None = Field(None, ge=0, description="where the system knows it")


class EventMessage(WireModel):
    """Something happened. Topic: <prefix>/<device>/<camera>/event/<type>, or <prefix>/<device>/event/<type>; not retained."""

    schema_version: Literal[1]
    type: EventType
    id: str = Field(description="<device>/<epoch>/<camera>/<seq>; `event` in place of the camera for events of the device")
    device: Name
    camera: Name | None = Field(None, description="absent for events of the device")
    epoch: Name = Field(description="made new at each start; `replay` when a file is replayed")
    seq: Amount = Field(description="number of the event on this camera since the start, from 1, without gaps")
    captured_at: UtcTime = Field(description="when the frame that decided was captured")
    frame: FrameFacts
    object: ObjectMessage | None = None
    zone: Name | None = None
    line: Name | None = None
    direction: Direction | None = Field(None, description="line.crossed: from left of the line to its right is in")
    dwell_s: Seconds | None = Field(None, description="zone.dwell, zone.leave: how long the object has been in the zone")
    count: Amount | None = Field(None, description="zone.* about objects: how many are in the zone after the event")
    identity: IdentityFacts | None = Field(None, description="object.identity: whose face it is, with the evidence")
    details: dict[str, Any] = Field(description="facts of single types of event")
    stages_ms: dict[str, Seconds] | None = Field(
        None, max_length=MAX_NAMES, description="how long each stage took for this frame; absent in replay"
    )
    clock: ClockFacts | None = Field(None, description="absent in replay")


class FrameTotals(WireModel):
    """What became of every frame since the start: captured = skipped + dropped + gated + detected, give or take the newest."""

    captured: Amount = Field(description="decoded")
    skipped: Amount = Field(description="not due by the camera's fps")
    dropped: Amount = Field(description="due, but replaced by a newer one before it was analysed")
    gated: Amount = Field(description="analysed as still, without the detector")
    detected: Amount = Field(description="analysed with the detector")


class CameraStateMessage(WireModel):
    """How a camera is. Topic: <prefix>/<device>/<camera>/state; retained."""

    schema_version: Literal[1]
    device: Name
    camera: Name
    epoch: Name
    at: UtcTime = Field(description="when this was written")
    state: Literal["connecting", "online", "offline", "disabled", "scheduled_off"]
    cause: SourceCause | None = Field(None, description="why it is offline")
    message: str | None = Field(None, max_length=300, description="for people; holds no secrets")
    since: UtcTime = Field(description="when state or cause last changed")
    last_frame_at: UtcTime | None = Field(None, description="absent before the first frame")
    width: Amount = Field(0, description="of the newest frame, pixels; 0 before the first")
    height: Amount = 0
    fps_captured: float = Field(0, ge=0, description="frames decoded a second, lately")
    fps_analysed: float = Field(0, ge=0, description="frames analysed a second, lately")
    frames: FrameTotals
    reconnects: Amount = Field(0, description="connections made after the first")
    next_retry_s: Seconds | None = Field(None, description="offline: seconds until the next try, from `at`")
    fallback: str | None = Field(
        None, max_length=300, description="why the processor computes instead of TensorRT; absent where it is as configured"
    )
    scene: Literal["learning", "same", "changed"] | None = Field(
        None, description="whether it shows a view that was learnt; absent where no maps are made"
    )
    faces_fallback: str | None = Field(None, max_length=300, description="the same of the networks that look at faces")
    maps_fallback: str | None = Field(None, max_length=300, description="the same of the network that makes maps")


class LineTotals(WireModel):
    """Crossings of one line since counting began; they only rise, over restarts too."""

    in_by_class: ByClass = Field(alias="in")
    out_by_class: ByClass = Field(alias="out")


class ZoneTotals(WireModel):
    """Objects of one zone."""

    present: ByClass = Field(description="objects in the zone now")
    entered: ByClass = Field(description="entries since counting began; they only rise, over restarts too")


class CountersMessage(WireModel):
    """What a camera's lines and zones have counted. Topic: <prefix>/<device>/<camera>/counters; retained."""

    schema_version: Literal[1]
    device: Name
    camera: Name
    epoch: Name
    at: UtcTime = Field(description="when this was written")
    lines: dict[Name, LineTotals] = Field(max_length=MAX_NAMES)
    zones: dict[Name, ZoneTotals] = Field(max_length=MAX_NAMES)
    summed: bool = Field(False, description="there were too many classes for one message: only `*` is counted")


class ZoneAreasMessage(WireModel):
    """What one zone is made of."""

    shares: ShareByClass
    blocked: bool | None = Field(None, description="absent where the zone has no `blocked`")
    covered_by: list[Name] | None = Field(
        None, max_length=MAX_NAMES, description="names of the rules by which it is covered; absent where it has none"
    )


class AreasMessage(WireModel):
    """What the picture and the zones of a camera are made of. Topic: <prefix>/<device>/<camera>/areas; retained."""

    schema_version: Literal[1]
    device: Name
    camera: Name
    epoch: Name
    at: UtcTime = Field(description="when this was written")
    captured_at: UtcTime | None = Field(None, description="when the picture was captured; absent where nothing is known now")
    age_s: Seconds | None = Field(None, description="how old the picture was when this was written")
    model: str | None = Field(None, max_length=64, description="SHA-256 of the network")
    picture: ShareByClass | None = Field(None, description="shares of the whole picture")
    zones: dict[Name, ZoneAreasMessage] = Field(max_length=MAX_NAMES)
    cut: bool = Field(False, description="there was too much for one message: of each area the smallest shares are left out")


def make_schemas() -> dict[str, dict[str, object]]:
    """The JSON Schema of each message but commands and answers, by the name of the file that holds it."""
    models = {
        "event": EventMessage,
        "camera_state": CameraStateMessage,
        "counters": CountersMessage,
        "areas": AreasMessage,
    }
    return {f"{name}.schema.json": make_schema(model, mode="serialization") for name, model in models.items()}


def make_schema(model: type[BaseModel], *, mode: Literal["validation", "serialization"]) -> dict[str, object]:
    """The JSON Schema of one message: of one that is read (`validation`) or written (`serialization`)."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | model.model_json_schema(by_alias=True, mode=mode)
