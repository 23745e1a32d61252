"""The journal numbers what happened and gives it its topic."""

import json

from fakes import FakeClock

from edged.clock import ClockQuality
from edged.errors import SourceCause
from edged.events.areas import Areas
from edged.events.counts import Counts
from edged.events.event import Event, EventType
from edged.rules.counters import CounterState
from edged.runtime.camera_status import CameraState, CameraStatus
from edged.runtime.journal import Journal
from edged.sinks.base import MessageKind


class ListSink:
    dropped = 0

    def __init__(self):
        self.messages = []

    def publish(self, message):
        self.messages.append(message)

    def close(self):
        pass


def make_journal(sink, clock=None):
    quality = ClockQuality(is_synchronised=True, max_error_ms=1.5)
    return Journal(device="gate", epoch="abc", clock=clock or FakeClock(), quality=lambda: quality, sinks=[sink])


def make_event(captured_s=100.0):
    return Event(EventType.ZONE_CROWDED, captured_s, 7, 640, 360, zone="hall", count=5)


def test_journal_numbers_each_camera_from_one():
    """A consumer sees a gap as a missing number."""
    sink = ListSink()
    journal = make_journal(sink)

    journal.publish_events("door", [make_event(), make_event()], stages_ms={})
    journal.publish_events("yard", [make_event()], stages_ms={})
    journal.publish_events("door", [make_event()], stages_ms={})

    ids = [json.loads(message.body)["id"] for message in sink.messages]
    assert ids == ["gate/abc/door/1", "gate/abc/door/2", "gate/abc/yard/1", "gate/abc/door/3"]


def test_journal_takes_back_what_a_broker_keeps_of_a_camera():
    """All that it ever says of one, retained and empty."""
    sink = ListSink()
    journal = make_journal(sink)
    journal.publish_counts("door", Counts({}, {}), kept=CounterState())
    journal.publish_areas("door", None)
    status = CameraStatus(CameraState.ONLINE, now_s=0).snapshot()
    journal.publish_camera_state("door", status, fps_captured=5, fps_analysed=5)
    said = {message.topic for message in sink.messages}
    sink.messages.clear()

    journal.take_back("door")

    assert {message.topic for message in sink.messages} == said
    assert {(message.kind, message.body) for message in sink.messages} == {(MessageKind.STATE, b"")}


def test_journal_stamps_the_time_of_the_frame_not_of_the_sending():
    """captured_at is the frame's moment on the wall clock; the message keeps its monotonic time for latency."""
    sink, clock = ListSink(), FakeClock(offset_s=1_700_000_000.0)
    journal = make_journal(sink, clock)
    clock.advance(50)

    journal.publish_events("door", [make_event(captured_s=100.0)], stages_ms={"infer": 11.25})

    body = json.loads(sink.messages[0].body)
    assert body["captured_at"] == "2023-11-14T22:15:00.000Z"
    assert sink.messages[0].captured_s == 100.0
    assert body["stages_ms"] == {"infer": 11.25}
    assert body["clock"] == {"synchronised": True, "max_error_ms": 1.5}


def test_journal_sends_events_of_the_device_on_its_own_topic():
    """A clock step concerns no camera."""
    sink = ListSink()

    make_journal(sink).publish_events(
        None, [Event(EventType.CLOCK_STEP, 100.0, 0, 0, 0, details={"step_s": 3600.0})], stages_ms={}
    )

    assert sink.messages[0].topic == "event/clock.step"
    assert json.loads(sink.messages[0].body)["id"] == "gate/abc/event/1"


def test_journal_publishes_states_as_states():
    """They are retained by the broker; events are not."""
    sink, clock = ListSink(), FakeClock()
    status = CameraStatus(CameraState.CONNECTING, now_s=clock.now_s())
    status.enter(CameraState.OFFLINE, now_s=clock.now_s(), cause=SourceCause.AUTH, message="no", next_try_s=clock.now_s() + 60)

    make_journal(sink, clock).publish_camera_state("door", status.snapshot(), fps_captured=14.9, fps_analysed=5.0)

    (message,) = sink.messages
    body = json.loads(message.body)
    assert (message.kind, message.topic) == (MessageKind.STATE, "door/state")
    assert (body["state"], body["cause"], body["next_retry_s"]) == ("offline", "auth", 60.0)


def test_journal_publishes_areas_as_a_state_with_their_age():
    """Of the picture, by the wall clock; and that nothing is known."""
    sink, clock = ListSink(), FakeClock(100.0, offset_s=1_700_000_000.0)
    journal = make_journal(sink, clock)

    journal.publish_areas("door", Areas(captured_s=97.5, model="5" * 64, picture={"road": 1.0}))
    journal.publish_areas("door", None)

    known, unknown = (json.loads(message.body) for message in sink.messages)
    assert {(message.kind, message.topic) for message in sink.messages} == {(MessageKind.STATE, "door/areas")}
    assert (known["age_s"], known["at"], known["captured_at"]) == (2.5, "2023-11-14T22:15:00.000Z", "2023-11-14T22:14:57.500Z")
    assert "captured_at" not in unknown


def test_journal_keeps_the_newest_counters_for_the_disk():
    """What is published is what is kept."""
    sink = ListSink()
    journal = make_journal(sink)
    newest = CounterState(zones={"hall": {"person": 3}})

    journal.publish_counts("door", Counts(), kept=CounterState())
    journal.publish_counts("door", Counts(), kept=newest)

    assert journal.kept_counters == {"door": newest}
    assert [message.topic for message in sink.messages] == ["door/counters"] * 2
