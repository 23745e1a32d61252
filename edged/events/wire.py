"""Values into messages and back: one encoder for each kind, through the models of `schema.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edged.clock import ClockQuality
from edged.errors import MessageError, SourceCause
from edged.events.areas import Areas, Shares, ZoneAreas
from edged.events.counts import Counts, Totals
from edged.events.event import BestShot, Event, ObjectFacts
from edged.events.schema import (
    MAX_NAMES,
    SCHEMA_VERSION,
    AnswerFacts,
    AreasMessage,
    BestShotFacts,
    CameraStateMessage,
    ClockFacts,
    CountersMessage,
    EventMessage,
    FrameFacts,
    FrameTotals,
    IdentityFacts,
    LineTotals,
    ObjectMessage,
    WireModel,
    ZoneAreasMessage,
    ZoneTotals,
)
from edged.types import FaceDecision, FaceDecisionKind

MAX_BODY_BYTES = 8 * 1024
"""No message is longer: there are consumers that refuse what exceeds 10 KiB."""

MAX_MESSAGE_CHARACTERS = 300
"""Most characters of a text for people."""

DEVICE_EVENTS = "event"
"""Stands for the camera in the id of an event of the device; no camera may be called so."""

REPLAY_EPOCH = "replay"
"""The epoch of every replay, so that two runs give equal bytes."""

_ALL_CLASSES = 256
_AREAS_CUTS = ((_ALL_CLASSES, True), (8, True), (4, True), (2, True), (1, True), (0, True), (0, False))
"""Most classes of an area, and whether its rules are told: what is tried until a message is short enough."""

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_Message = TypeVar("_Message", bound=WireModel)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes an event that happened on some camera a message of this device.

    Attributes:
        device: id of the device.
        epoch: of this start of the daemon.
        camera: id of the camera, None for events of the device.
        seq: number of the event on this camera since the start, from 1.
        captured_at: UTC seconds since 1970 of a moment on the events' clock (monotonic, or stream time in replay).
        clock: None in replay.
        stages_ms: how long each stage took; empty in replay.
    """

    device: str
    epoch: str
    camera: str | None
    seq: int
    captured_at: Callable[[float], float]
    clock: ClockQuality | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)


def object_id(camera: str, epoch: str, number: int) -> str:
    """The id of an object, unique over cameras and restarts of a device."""
    return f"{camera}-{epoch}-{number}"


def event_id(device: str, epoch: str, camera: str | None, seq: int) -> str:
    """The id of an event, unique over devices and restarts."""
    return f"{device}/{epoch}/{camera or DEVICE_EVENTS}/{seq}"


def utc_text(at: float) -> str:
    """UTC seconds since 1970 as ISO 8601 with milliseconds and Z."""
    moment = _UNIX_EPOCH + timedelta(milliseconds=round(at * 1000))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode_event(event: Event, stamp: Stamp) -> bytes:
    """The body of an event's message: compact JSON, at most `MAX_BODY_BYTES`.

    Details that would make it longer are replaced by `{"too_long": true}`.
    """
    message = _event_message(event, stamp)
    body = _encode(message)
    if len(body) > MAX_BODY_BYTES:
        body = _encode(message.model_copy(update={"details": {"too_long": True}}))
    return body


def decode_event(body: bytes | str) -> EventMessage:
    """The event that a message holds; fields that we do not know are passed over.

    Raises:
        MessageError: the body is not an event of ours.
    """
    return _decode(EventMessage, body)


def encode_camera_state(
    *,
    device: str,
    camera: str,
    epoch: str,
    at: float,
    state: str,
    cause: SourceCause | None,
    message: str,
    since_at: float,
    last_frame_at: float | None,
    width: int,
    height: int,
    fps_captured: float,
    fps_analysed: float,
    frames: Mapping[str, int],
    reconnects: int,
    next_retry_s: float | None,
    fallback: str | None = None,
    scene: Literal["learning", "same", "changed"] | None = None,
    faces_fallback: str | None = None,
    maps_fallback: str | None = None,
) -> bytes:
    """The body of a camera's state message.

    Args:
        device, camera, epoch: whose state it is.
        at: now, UTC seconds since 1970; so are `since_at` and `last_frame_at`.
        state: connecting, online, offline, disabled or scheduled_off.
        cause: why it is offline.
        message: for people, without secrets; what is too long is cut.
        since_at: when state or cause last changed.
        last_frame_at: None before the first frame.
        width, height: of the newest frame, pixels; 0 before the first.
        fps_captured, fps_analysed: frames a second, lately.
        frames: captured, skipped, dropped, gated and detected since the start.
        reconnects: connections made after the first.
        next_retry_s: seconds until the next try, None where none is due.
        fallback: why the processor computes instead of TensorRT; what is too long is cut.
        scene: whether it shows a view that was learnt; None where nobody looks.
        faces_fallback, maps_fallback: the same of the networks for faces and for maps.
    """
    return _encode(
        CameraStateMessage(
            schema_version=SCHEMA_VERSION,
            device=device,
            camera=camera,
            epoch=epoch,
            at=utc_text(at),
            state=state,
            cause=cause,
            message=message[:MAX_MESSAGE_CHARACTERS] or None,
            since=utc_text(since_at),
            last_frame_at=None if last_frame_at is None else utc_text(last_frame_at),
            width=width,
            height=height,
            fps_captured=round(fps_captured, 2),
            fps_analysed=round(fps_analysed, 2),
            frames=FrameTotals(**frames),
            reconnects=reconnects,
            next_retry_s=None if next_retry_s is None else round(next_retry_s, 1),
            fallback=fallback and fallback[:MAX_MESSAGE_CHARACTERS],
            scene=scene,
            faces_fallback=faces_fallback and faces_fallback[:MAX_MESSAGE_CHARACTERS],
            maps_fallback=maps_fallback and maps_fallback[:MAX_MESSAGE_CHARACTERS],
        )
    )


def decode_camera_state(body: bytes | str) -> CameraStateMessage:
    """The camera state that a message holds.

    Raises:
        MessageError: the body is not a camera state of ours.
    """
    return _decode(CameraStateMessage, body)


def encode_counters(counts: Counts, *, device: str, camera: str, epoch: str, at: float) -> bytes:
    """The body of a camera's counters message, at most `MAX_BODY_BYTES`.

    Where the classes of all lines and zones are too many for that, only their sums are said, under `*`.

    Args:
        counts: what was counted.
        device, camera, epoch: whose counters they are.
        at: now, UTC seconds since 1970.
    """
    whose = {"device": device, "camera": camera, "epoch": epoch, "at": utc_text(at)}
    body = _encode(_counters_message(counts, whose, by_class=dict))
    if len(body) > MAX_BODY_BYTES:
        message = _counters_message(counts, whose, by_class=lambda totals: {"*": sum(totals.values())})
        body = _encode(message.model_copy(update={"summed": True}))
    return body


def decode_counters(body: bytes | str) -> CountersMessage:
    """The counters that a message holds.

    Raises:
        MessageError: the body is not a counters message of ours.
    """
    return _decode(CountersMessage, body)


def encode_areas(
    areas: Areas | None, *, device: str, camera: str, epoch: str, at: float, captured_at: Callable[[float], float]
) -> bytes:
    """The body of a camera's areas message, at most `MAX_BODY_BYTES`.

    Where that is too little, of each area only the largest shares are said, and at last not by which rules a zone is covered.

    Args:
        areas: None where nothing is known now.
        device, camera, epoch: whose areas they are.
        at: now, UTC seconds since 1970.
        captured_at: UTC seconds since 1970 of a moment on the events' clock.
    """
    message = AreasMessage(schema_version=SCHEMA_VERSION, device=device, camera=camera, epoch=epoch, at=utc_text(at), zones={})
    if areas is None:
        return _encode(message)
    map_at = captured_at(areas.captured_s)
    facts = {"captured_at": utc_text(map_at), "age_s": round(max(0.0, at - map_at), 3), "model": areas.model}
    for most, tells_rules in _AREAS_CUTS:
        zones = {name: _zone_areas(zone, most=most, tells_rules=tells_rules) for name, zone in areas.zones.items()}
        picture = _largest(areas.picture, most)
        is_cut = most < _ALL_CLASSES
        body = _encode(message.model_copy(update={**facts, "picture": picture, "zones": zones, "cut": is_cut}))
        if len(body) <= MAX_BODY_BYTES:
            break
    return body


def decode_areas(body: bytes | str) -> AreasMessage:
    """The areas that a message holds.

    Raises:
        MessageError: the body is not an areas message of ours.
    """
    return _decode(AreasMessage, body)


def _zone_areas(zone: ZoneAreas, *, most: int, tells_rules: bool) -> ZoneAreasMessage:
    covered_by = list(zone.covered_by) if tells_rules and zone.covered_by is not None else None
    return ZoneAreasMessage(shares=_largest(zone.shares, most), blocked=zone.is_blocked, covered_by=covered_by)


def _largest(shares: Shares, most: int) -> dict[str, float]:
    """The largest shares, rounded, the largest first; of equal ones the one that comes first."""
    ranked = sorted(shares.items(), key=lambda each: -each[1])
    return {name: _share(share) for name, share in ranked[:most]}


def _event_message(event: Event, stamp: Stamp) -> EventMessage:
    return EventMessage(
        schema_version=SCHEMA_VERSION,
        type=event.type,
        id=event_id(stamp.device, stamp.epoch, stamp.camera, stamp.seq),
        device=stamp.device,
        camera=stamp.camera,
        epoch=stamp.epoch,
        seq=stamp.seq,
        captured_at=utc_text(stamp.captured_at(event.captured_s)),
        frame=FrameFacts(seq=event.frame_seq, width=event.width, height=event.height),
        object=None if event.object is None else _object_message(event.object, event, stamp),
        zone=event.zone,
        line=event.line,
        direction=event.direction,
        dwell_s=None if event.dwell_s is None else round(event.dwell_s, 3),
        count=event.count,
        identity=None if event.identity is None else identity_facts(event.identity, event.former),
        details=dict(event.details),
        stages_ms={stage: round(ms, 3) for stage, ms in stamp.stages_ms.items()} or None,
        clock=_clock_facts(stamp.clock),
    )


def _object_message(facts: ObjectFacts, event: Event, stamp: Stamp) -> ObjectMessage:
    return ObjectMessage(
        id=object_id(stamp.camera or DEVICE_EVENTS, stamp.epoch, facts.number),
        class_name=facts.class_name,
        score=_share(facts.score),
        top_score=_share(facts.top_score),
        box_norm=_box_norm(facts.box, event),
        stationary=facts.is_stationary,
        first_seen_at=utc_text(stamp.captured_at(facts.first_s)),
        zones=list(facts.zones[:MAX_NAMES]),
        best=None if facts.best is None else _best_shot(facts.best, event, stamp),
        identity=None if facts.identity is None else _answer_facts(facts.identity),
        surface=facts.surface,
    )


def _answer_facts(decision: FaceDecision) -> AnswerFacts:
    """Only a match has a subject on the wire, so that nobody is taken for somebody by a reader who passes over `kind`."""
    if decision.kind is not FaceDecisionKind.MATCH:
        return AnswerFacts(kind=decision.kind)
    return AnswerFacts(kind=decision.kind, subject=decision.subject, name=decision.name)


def identity_facts(decision: FaceDecision, former: FaceDecision | None = None) -> IdentityFacts:
    """A decision as it is sent; `former` is what was said before."""
    answer = _answer_facts(decision)
    return IdentityFacts(
        kind=answer.kind,
        subject=answer.subject,
        name=answer.name,
        nearest=None if answer.subject else decision.subject,
        score=_rounded(decision.score),
        margin=_rounded(decision.margin),
        threshold=_rounded(decision.threshold),
        false_match_rate=decision.false_match_rate,
        votes=decision.votes,
        live=_rounded(decision.live),
        gallery_version=decision.gallery_version,
        model=decision.model,
        former=None if former is None else _answer_facts(former),
    )


def _best_shot(best: BestShot, event: Event, stamp: Stamp) -> BestShotFacts:
    return BestShotFacts(
        captured_at=utc_text(stamp.captured_at(best.captured_s)),
        box_norm=_box_norm(best.box, event),
        score=_share(best.score),
        quality=_share(best.quality),
    )


def _clock_facts(clock: ClockQuality | None) -> ClockFacts | None:
    if clock is None:
        return None
    max_error_ms = None if clock.max_error_ms is None else round(clock.max_error_ms, 3)
    return ClockFacts(synchronised=clock.is_synchronised, max_error_ms=max_error_ms)


def _counters_message(counts: Counts, whose: dict[str, str], *, by_class: Callable[[Totals], Totals]) -> CountersMessage:
    return CountersMessage(
        schema_version=SCHEMA_VERSION,
        **whose,
        lines={
            name: LineTotals(in_by_class=by_class(line.in_by_class), out_by_class=by_class(line.out_by_class))
            for name, line in counts.lines.items()
        },
        zones={
            name: ZoneTotals(present=by_class(zone.present_by_class), entered=by_class(zone.entered_by_class))
            for name, zone in counts.zones.items()
        },
    )


def _box_norm(box: NDArray[np.float32], event: Event) -> list[float]:
    x1, y1, x2, y2 = box.tolist()
    width, height = event.width, event.height
    return [_share(x1 / width), _share(y1 / height), _share(x2 / width), _share(y2 / height)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, float(value))), 4)


def _encode(message: WireModel) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_none=True).encode()


def _decode(model: type[_Message], body: bytes | str) -> _Message:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise MessageError(f"not a {model.__name__} of schema version {SCHEMA_VERSION}: {where}: {first['msg']}") from error
