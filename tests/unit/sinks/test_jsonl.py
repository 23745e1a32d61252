"""Events as lines on a stream."""

import io
import os

from edged.sinks.base import Message, MessageKind
from edged.sinks.jsonl import JsonLinesSink

EVENT = Message(MessageKind.EVENT, "door/event/x", b'{"n":1}')


def test_json_lines_events_are_lines_flushed_at_once():
    """One event a line, readable before anything is closed."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream, os.fdopen(reader, "rb") as lines:
        sink = JsonLinesSink(stream)
        sink.publish(EVENT)
        sink.publish(EVENT)

        assert lines.readline() == b'{"n":1}\n'
        assert lines.readline() == b'{"n":1}\n'
    assert sink.dropped == 0


def test_json_lines_states_are_not_written():
    """Standard output is for events."""
    stream = io.BytesIO()

    JsonLinesSink(stream).publish(Message(MessageKind.STATE, "door/state", b"{}"))

    assert stream.getvalue() == b""


def test_json_lines_reader_gone_counts_and_goes_on(caplog):
    """A closed pipe raises nothing; every event after it is counted, and it is said once."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "wb", buffering=0)
    sink = JsonLinesSink(stream)
    for _ in range(3):
        sink.publish(EVENT)
    stream.close()

    assert sink.dropped == 3
    assert len(caplog.records) == 1


def test_json_lines_stream_closed_counts():
    """Writing after the owner closed the stream is a drop, not a crash."""
    stream = io.BytesIO()
    sink = JsonLinesSink(stream)
    stream.close()

    sink.publish(EVENT)
    sink.close()

    assert sink.dropped == 1
