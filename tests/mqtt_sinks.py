"""MQTT sinks as tests use them: quick to try again, run by a thread, counted up at the end."""

import contextlib
import random
import threading
from collections.abc import Iterator

from edged.runtime.backoff import Backoff
from edged.sinks.base import Message, MessageKind
from edged.sinks.mqtt import MqttSink, MqttStatus
from edged.sinks.mqtt_settings import MqttSettings

EVENT_TOPIC = "door/event/zone.enter"


def event(number: int, topic: str = EVENT_TOPIC, size_bytes: int = 0) -> Message:
    """An event that its number tells apart."""
    return Message(MessageKind.EVENT, topic, f'{{"n":{number}}}'.encode().ljust(size_bytes))


def make_sink(port: int, *, slow_wait_s: float = 60.0, **settings: object) -> MqttSink:
    """A sink for a broker on loopback."""
    return MqttSink(
        MqttSettings(**{"host": "127.0.0.1", "port": port, "device": "gate", **settings}),
        backoff=Backoff(first_s=0.02, most_s=0.1, rng=random.Random(1)),
        slow_wait_s=slow_wait_s,
    )


@contextlib.contextmanager
def running(sink: MqttSink) -> Iterator[MqttSink]:
    """Run a sink in a thread of its own; in the end it must stop, and every event be accounted for."""
    thread = threading.Thread(target=sink.run, args=(threading.Event(),), name="mqtt under test")
    thread.start()
    try:
        yield sink
    finally:
        sink.close()
        thread.join(10)
        assert not thread.is_alive()
        assert_adds_up(sink.status())


def assert_adds_up(status: MqttStatus) -> None:
    """No event is lost uncounted."""
    assert status.accepted == status.delivered + sum(status.dropped.values()) + status.queued + status.inflight
