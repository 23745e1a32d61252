"""Values into messages and back."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from edged.clock import ClockQuality
from edged.errors import MessageError, SourceCause
from edged.events import wire
from edged.events.areas import Areas, ZoneAreas
from edged.events.counts import Counts, LineCount, ZoneCount
from edged.events.event import Event, EventType
from edged.events.schema import MAX_NAMES, EventMessage, ObjectMessage
from edged.rules.settings import MAX_COVER_RULES, MAX_LINES, MAX_NAME_LENGTH, MAX_ZONES
from edged.runtime.camera_status import CameraState, FrameCounts
from edged.types import FaceDecisionKind

LONG = "n" * MAX_NAME_LENGTH
CAMERA_STATE = {
    "device": "gate",
    "camera": "door",
    "epoch": "0123456789ab",
    "at": 1_700_000_000.0,
    "state": "offline",
    "cause": SourceCause.TIMEOUT,
    "message": "no frame for 10 s",
    "since_at": 1_699_999_990.5,
    "last_frame_at": 1_699_999_980.25,
    "width": 640,
    "height": 360,
    "fps_captured": 14.987,
    "fps_analysed": 4.999,
    "frames": {"captured": 9, "skipped": 4, "dropped": 1, "gated": 2, "detected": 2},
    "reconnects": 3,
    "next_retry_s": 4.26,
}


@pytest.mark.parametrize(
    ("at", "text"),
    [
        pytest.param(0.0, "1970-01-01T00:00:00.000Z", id="the beginning"),
        pytest.param(1_700_000_000.1239, "2023-11-14T22:13:20.124Z", id="rounded to ms"),
        pytest.param(1_700_000_000.9996, "2023-11-14T22:13:21.000Z", id="rounded into the next second"),
        pytest.param(4_102_444_800.0, "2100-01-01T00:00:00.000Z", id="far ahead"),
        pytest.param(-0.001, "1969-12-31T23:59:59.999Z", id="before the beginning"),
    ],
)
def test_utc_text_is_iso_with_milliseconds_and_z(at, text):
    """One form for every time on the wire."""
    assert wire.utc_text(at) == text


def test_event_with_every_field_is_encoded_as_documented(full_event, full_stamp):
    """Ids, rounding and names of all fields, in their order."""
    assert json.loads(wire.encode_event(full_event, full_stamp)) == {
        "schema_version": 1,
        "type": "zone.dwell",
        "id": "gate/0123456789ab/door/17",
        "device": "gate",
        "camera": "door",
        "epoch": "0123456789ab",
        "seq": 17,
        "captured_at": "2023-11-14T22:13:32.346Z",
        "frame": {"seq": 123, "width": 640, "height": 360},
        "object": {
            "id": "door-0123456789ab-5",
            "class": "person",
            "score": 0.8765,
            "top_score": 0.95,
            "box_norm": [0.1, 0.1, 0.2, 0.5],
            "stationary": True,
            "first_seen_at": "2023-11-14T22:13:30.000Z",
            "zones": ["porch", "road"],
            "best": {
                "captured_at": "2023-11-14T22:13:31.000Z",
                "box_norm": [0.05, 0.1, 0.15, 0.5],
                "score": 0.95,
                "quality": 0.41,
            },
            "identity": {"kind": "match", "subject": "p4k2", "name": "Anna"},
            "surface": "road",
        },
        "zone": "porch",
        "line": "gate",
        "direction": "in",
        "dwell_s": 10.0,
        "count": 2,
        "identity": {
            "kind": "match",
            "subject": "p4k2",
            "name": "Anna",
            "score": 0.7123,
            "margin": 0.31,
            "threshold": 0.5,
            "false_match_rate": 0.0001,
            "votes": 3,
            "live": 0.9877,
            "gallery_version": 12,
            "model": "0123456789abcdef" * 4,
            "former": {"kind": "unknown"},
        },
        "details": {"reason": "left", "nothing": None, "changes": ["class"]},
        "stages_ms": {"decode": 0.612, "infer": 10.9},
        "clock": {"synchronised": True, "max_error_ms": 3.25},
    }


def test_event_field_that_changes_changes_the_message(full_event, full_object, full_stamp):
    """No field of the event, its object, its best shot or its stamp is dropped by the encoder."""
    other = {
        "type": EventType.ZONE_ENTER, "captured_s": 1.0, "frame_seq": 1, "width": 320, "height": 240, "object": None,
        "zone": "x", "line": "x", "direction": None, "dwell_s": 1.0, "count": 1, "details": {},
        "identity": None, "former": None,
        "number": 6, "class_name": "car", "score": 0.1, "top_score": 0.1, "box": np.zeros(4, np.float32),
        "is_stationary": False, "first_s": 1.0, "zones": (), "best": None, "quality": 0.1, "surface": None,
        "device": "x", "epoch": "x", "camera": "x", "seq": 1, "captured_at": lambda captured_s: captured_s,
        "clock": ClockQuality(is_synchronised=False, max_error_ms=None), "stages_ms": {},
    }  # fmt: skip
    variants = [(f"event.{f.name}", replace(full_event, **{f.name: other[f.name]}), full_stamp) for f in fields(full_event)]
    variants += [(f"stamp.{f.name}", full_event, replace(full_stamp, **{f.name: other[f.name]})) for f in fields(full_stamp)]
    for f in fields(full_object):
        thing = replace(full_object, **{f.name: other[f.name]})
        variants.append((f"object.{f.name}", replace(full_event, object=thing), full_stamp))
    for f in fields(full_object.best):
        thing = replace(full_object, best=replace(full_object.best, **{f.name: other[f.name]}))
        variants.append((f"best.{f.name}", replace(full_event, object=thing), full_stamp))
    before = wire.encode_event(full_event, full_stamp)

    dropped = [name for name, event, stamp in variants if wire.encode_event(event, stamp) == before]

    assert dropped == []


@pytest.mark.parametrize("kind", [FaceDecisionKind.AMBIGUOUS, FaceDecisionKind.SPOOF])
def test_event_of_who_it_may_be_names_nobody_as_subject(full_event, full_object, full_stamp, kind):
    """Who reads `subject` and passes over `kind` takes nobody for somebody; who is nearest is said elsewhere."""
    decision = replace(full_object.identity, kind=kind)
    event = replace(full_event, object=replace(full_object, identity=decision), identity=decision, former=decision)

    message = json.loads(wire.encode_event(event, full_stamp))

    assert message["object"]["identity"] == {"kind": kind.value}
    assert message["identity"]["nearest"] == "p4k2"
    assert not {"subject", "name"} & message["identity"].keys()
    assert message["identity"]["former"] == {"kind": kind.value}


def test_event_has_no_place_for_embeddings(full_event, full_stamp):
    """What a face is compared by never leaves the process: no list of numbers on the wire but boxes."""
    body = json.loads(wire.encode_event(full_event, full_stamp))

    def lists(value):
        if isinstance(value, dict):
            return [found for each in value.values() for found in lists(each)]
        return [value] if isinstance(value, list) else []

    assert all(len(found) <= 4 for found in lists(body))


def test_event_decoded_and_encoded_again_gives_equal_bytes(full_event, full_stamp):
    """Reading loses nothing."""
    body = wire.encode_event(full_event, full_stamp)

    message = wire.decode_event(body)

    assert message.model_dump_json(by_alias=True, exclude_none=True).encode() == body
    assert all(value is not None for value in dict(message).values())
    assert set(dict(message)) == set(EventMessage.model_fields)
    assert all(value is not None for value in dict(message.object).values())
    assert set(dict(message.object)) == set(ObjectMessage.model_fields)


def test_event_of_a_replay_has_neither_stage_times_nor_clock(full_event, full_stamp):
    """What differs from run to run is left out."""
    stamp = replace(full_stamp, clock=None, stages_ms={}, epoch=wire.REPLAY_EPOCH)

    message = json.loads(wire.encode_event(full_event, stamp))

    assert "stages_ms" not in message
    assert "clock" not in message
    assert message["id"] == "gate/replay/door/17"


def test_event_of_the_device_has_no_camera(full_stamp):
    """Its id has the reserved word in place of a camera's."""
    event = Event(EventType.CLOCK_STEP, 1.0, 0, 0, 0, details={"step_s": 3600.0})

    message = json.loads(wire.encode_event(event, replace(full_stamp, camera=None)))

    assert message["id"] == "gate/0123456789ab/event/17"
    assert "camera" not in message
    assert message["details"] == {"step_s": 3600.0}


@pytest.mark.parametrize(
    ("box", "box_norm"),
    [
        pytest.param([-10, -10, 700, 400], [0, 0, 1, 1], id="larger than the picture"),
        pytest.param([650, 10, 700, 20], [1, 0.0278, 1, 0.0556], id="right of the picture"),
        pytest.param([0, 0, 640, 360], [0, 0, 1, 1], id="the whole picture"),
    ],
)
def test_event_box_is_clipped_to_the_picture(full_event, full_object, full_stamp, box, box_norm):
    """Shares stay within 0 to 1, whatever the filter foresees."""
    event = replace(full_event, object=replace(full_object, box=np.array(box, np.float32)))

    assert json.loads(wire.encode_event(event, full_stamp))["object"]["box_norm"] == box_norm


def test_event_at_every_bound_is_within_the_limit(full_event, full_object, full_stamp):
    """Longest names, most zones and most stages are under 8 KiB."""
    zones = tuple(f"{number:02d}" + LONG[2:] for number in range(MAX_ZONES))
    event = replace(full_event, object=replace(full_object, class_name=LONG, zones=zones), zone=LONG, line=LONG)
    stamp = replace(full_stamp, device=LONG, camera=LONG, stages_ms={f"{n:02d}" + LONG[2:]: 1e5 / 3 for n in range(MAX_NAMES)})

    body = wire.encode_event(event, stamp)

    assert len(body) <= wire.MAX_BODY_BYTES
    assert wire.decode_event(body).object.zones == list(zones)


def test_event_with_details_that_are_too_long_says_so(full_event, full_stamp):
    """Details give way, the event does not."""
    body = wire.encode_event(replace(full_event, details={"text": "x" * 9000}), full_stamp)

    assert len(body) <= wire.MAX_BODY_BYTES
    assert wire.decode_event(body).details == {"too_long": True}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda body: b"", "Invalid JSON", id="empty"),
        pytest.param(lambda body: body[:-1], "Invalid JSON", id="cut"),
        pytest.param(lambda body: b"\xff" + body, "Invalid JSON", id="no text"),
        pytest.param(lambda body: b"[]", "EventMessage", id="no object"),
        pytest.param(lambda body: body.replace(b'"seq":17', b'"seq":-1'), "seq", id="negative"),
        pytest.param(lambda body: body.replace(b"zone.dwell", b"zone.wait"), "type", id="unknown type"),
        pytest.param(lambda body: body.replace(b'_version":1', b'_version":2'), "schema_version", id="other version"),
        pytest.param(lambda body: body.replace(b".346Z", b""), "captured_at", id="no time"),
        pytest.param(lambda body: body.replace(b"0.8765", b"1.8765"), "object.score", id="score above 1"),
        pytest.param(lambda body: body.replace(b"[0.1,", b"["), "object.box_norm", id="three numbers"),
    ],
)
def test_event_that_is_malformed_is_refused(full_event, full_stamp, spoil, message):
    """The field that is wrong is named."""
    body = spoil(wire.encode_event(full_event, full_stamp))

    with pytest.raises(MessageError, match=message):
        wire.decode_event(body)


def test_event_with_unknown_fields_is_read(full_event, full_stamp):
    """A newer edged may say more."""
    body = wire.encode_event(full_event, full_stamp)

    assert wire.decode_event(body[:-1] + b',"mood":"good"}') == wire.decode_event(body)


def test_camera_state_says_everything():
    """All fields, rounded, with times as text."""
    assert json.loads(wire.encode_camera_state(**CAMERA_STATE)) == {
        "schema_version": 1,
        "device": "gate",
        "camera": "door",
        "epoch": "0123456789ab",
        "at": "2023-11-14T22:13:20.000Z",
        "state": "offline",
        "cause": "timeout",
        "message": "no frame for 10 s",
        "since": "2023-11-14T22:13:10.500Z",
        "last_frame_at": "2023-11-14T22:13:00.250Z",
        "width": 640,
        "height": 360,
        "fps_captured": 14.99,
        "fps_analysed": 5.0,
        "frames": {"captured": 9, "skipped": 4, "dropped": 1, "gated": 2, "detected": 2},
        "reconnects": 3,
        "next_retry_s": 4.3,
    }


def test_camera_state_leaves_out_what_is_not_known():
    """No cause, message, frame or retry: no such fields."""
    facts = CAMERA_STATE | {"cause": None, "message": "", "last_frame_at": None, "next_retry_s": None}

    message = json.loads(wire.encode_camera_state(**facts))

    assert not {"cause", "message", "last_frame_at", "next_retry_s"} & set(message)


def test_camera_state_says_where_the_processor_computes_instead():
    """Of the detector and of the networks for faces, each in as many words as fit."""
    reasons = {"fallback": "no engine", "faces_fallback": "no device" * 100, "maps_fallback": "none"}
    body = wire.encode_camera_state(**CAMERA_STATE | reasons)

    message = wire.decode_camera_state(body)

    assert message.fallback == "no engine"
    assert message.faces_fallback == ("no device" * 100)[: wire.MAX_MESSAGE_CHARACTERS]
    assert message.maps_fallback == "none"


@pytest.mark.parametrize("state", list(CameraState))
def test_camera_state_of_every_kind_can_be_sent(state):
    """Whatever a camera's status can be, the wire can say, with all its frame counts."""
    counts = {f.name: n for n, f in enumerate(fields(FrameCounts))}

    message = wire.decode_camera_state(wire.encode_camera_state(**CAMERA_STATE | {"state": state.value, "frames": counts}))

    assert message.state == state.value
    assert message.frames.model_dump() == counts


def test_camera_state_with_a_long_text_is_cut():
    """A text for people never makes a message long."""
    body = wire.encode_camera_state(**CAMERA_STATE | {"message": "é" * 5000})

    assert len(body) <= wire.MAX_BODY_BYTES
    assert wire.decode_camera_state(body).message == "é" * wire.MAX_MESSAGE_CHARACTERS


def test_counters_say_everything():
    """Lines by direction, zones by presence and entries, each by class."""
    counts = Counts(
        lines={"gate": LineCount({"person": 3}, {"person": 1, "car": 0})},
        zones={"porch": ZoneCount({"person": 12}, {"person": 2})},
    )

    body = wire.encode_counters(counts, device="gate", camera="door", epoch="0123456789ab", at=1_700_000_000.0)

    assert json.loads(body) == {
        "schema_version": 1,
        "device": "gate",
        "camera": "door",
        "epoch": "0123456789ab",
        "at": "2023-11-14T22:13:20.000Z",
        "lines": {"gate": {"in": {"person": 3}, "out": {"person": 1, "car": 0}}},
        "zones": {"porch": {"present": {"person": 2}, "entered": {"person": 12}}},
        "summed": False,
    }
    assert wire.decode_counters(body).model_dump_json(by_alias=True, exclude_none=True).encode() == body


def test_counters_of_too_many_classes_are_summed():
    """With the most zones and lines, longest names and 80 classes, the sums still fit."""
    by_class = {f"class {number}": 10**9 for number in range(80)}
    counts = Counts(
        lines={f"{n:02d}" + LONG[2:]: LineCount(by_class, by_class) for n in range(MAX_LINES)},
        zones={f"{n:02d}" + LONG[2:]: ZoneCount(by_class, by_class) for n in range(MAX_ZONES)},
    )

    body = wire.encode_counters(counts, device=LONG, camera=LONG, epoch="0123456789ab", at=0.0)

    assert len(body) <= wire.MAX_BODY_BYTES
    message = wire.decode_counters(body)
    assert message.summed
    assert all(line.in_by_class == {"*": 80 * 10**9} for line in message.lines.values())


def encode_areas(areas, **changed):
    facts = {"device": "gate", "camera": "door", "epoch": "0123456789ab", "at": 1_700_000_010.5}
    return wire.encode_areas(areas, **(facts | changed), captured_at=lambda captured_s: 1_700_000_000.0 + captured_s)


def test_areas_say_everything():
    """The largest share first, the age of the picture, and how the rules stand."""
    zones = {
        "way": ZoneAreas({"road": 0.58731, "car": 0.41269}, is_blocked=True),
        "lawn": ZoneAreas({"car": 0.0, "road": 0.25}, covered_by=("van",)),
        "yard": ZoneAreas({}),
    }
    body = encode_areas(Areas(captured_s=10.0, model="5" * 64, picture={"car": 0.1, "road": 0.9}, zones=zones))

    assert json.loads(body) == {
        "schema_version": 1,
        "device": "gate",
        "camera": "door",
        "epoch": "0123456789ab",
        "at": "2023-11-14T22:13:30.500Z",
        "captured_at": "2023-11-14T22:13:30.000Z",
        "age_s": 0.5,
        "model": "5" * 64,
        "picture": {"road": 0.9, "car": 0.1},
        "zones": {
            "way": {"shares": {"road": 0.5873, "car": 0.4127}, "blocked": True},
            "lawn": {"shares": {"road": 0.25, "car": 0.0}, "covered_by": ["van"]},
            "yard": {"shares": {}},
        },
        "cut": False,
    }
    assert list(json.loads(body)["picture"]) == ["road", "car"]
    assert wire.decode_areas(body).model_dump_json(by_alias=True, exclude_none=True).encode() == body


def test_areas_of_which_nothing_is_known_say_so():
    """A camera that is gone leaves no old shares behind."""
    message = json.loads(encode_areas(None))

    assert message["zones"] == {}
    assert not {"picture", "captured_at", "age_s", "model"} & message.keys()


@pytest.mark.parametrize("n_classes", [20, 80, 255])
def test_areas_of_too_many_classes_are_cut(n_classes):
    """With the most zones and rules and longest names the message still fits; the largest share stays where it can."""
    shares = {f"class {number}": 1 / (number + 2) for number in range(n_classes)}
    rules = tuple(f"{number}" + LONG[1:] for number in range(MAX_COVER_RULES))
    few = {f"zone{n}": ZoneAreas(shares, is_blocked=True, covered_by=("van",)) for n in range(MAX_ZONES)}
    many = {f"{n:02d}" + LONG[2:]: ZoneAreas(shares, is_blocked=True, covered_by=rules) for n in range(MAX_ZONES)}

    for zones in (few, many):
        body = encode_areas(Areas(captured_s=0.0, model="5" * 64, picture=shares, zones=zones), device=LONG, camera=LONG)

        assert len(body) <= wire.MAX_BODY_BYTES
        message = wire.decode_areas(body)
        assert message.cut
        assert list(message.zones) == list(zones)
        assert all(zone.blocked for zone in message.zones.values())
        if zones is few:
            assert message.picture["class 0"] == 0.5
            assert all(zone.shares["class 0"] == 0.5 for zone in message.zones.values())


def test_wire_bounds_cover_what_rules_allow():
    """No camera may have more zones or lines than a message can name."""
    assert max(MAX_ZONES, MAX_LINES) <= MAX_NAMES
