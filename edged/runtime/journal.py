"""Gives what happened its id, its form on the wire and its way to the sinks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from edged.clock import Clock, ClockQuality, now_at
from edged.events import wire
from edged.events.areas import Areas
from edged.events.counts import Counts
from edged.events.event import Event
from edged.events.topics import areas_topic, camera_state_topic, counters_topic, event_topic, retained_topics
from edged.rules.counters import CounterState
from edged.runtime.camera_status import CameraSnapshot
from edged.sinks.base import Message, MessageKind, Sink


class Journal:
    """Where events, camera states, counters and areas become messages. Every method may be called from any thread.

    Args:
        device: id of this device.
        epoch: of this start.
        clock: turns the time of an event into wall time.
        quality: how far the wall clock can be trusted just now; None where no wall clock takes part.
        sinks: take every message.
    """

    def __init__(
        self, *, device: str, epoch: str, clock: Clock, quality: Callable[[], ClockQuality | None], sinks: Sequence[Sink]
    ) -> None:
        self._device = device
        self._epoch = epoch
        self._clock = clock
        self._quality = quality
        self._sinks = sinks
        self._lock = threading.Lock()
        self._seqs: Counter[str | None] = Counter()
        self._kept: dict[str, CounterState] = {}

    @property
    def kept_counters(self) -> Mapping[str, CounterState]:
        """The newest totals of each camera, to be kept over a restart."""
        return dict(self._kept)

    def publish_events(self, camera: str | None, events: Iterable[Event], *, stages_ms: Mapping[str, float]) -> None:
        """Number and send events of one camera, or of the device (None), in their order."""
        for event in events:
            with self._lock:  # held over the sinks, so that numbers leave in order
                self._seqs[camera] += 1
                stamp = wire.Stamp(
                    device=self._device,
                    epoch=self._epoch,
                    camera=camera,
                    seq=self._seqs[camera],
                    captured_at=self._clock.at,
                    clock=self._quality(),
                    stages_ms=stages_ms,
                )
                topic = event_topic(event.type, camera=camera)
                self._send(Message(MessageKind.EVENT, topic, wire.encode_event(event, stamp), event.captured_s))

    def publish_counts(self, camera: str, counts: Counts, *, kept: CounterState) -> None:
        """Send what a camera has counted, and note what is to be kept of it."""
        self._kept[camera] = kept
        body = wire.encode_counters(counts, device=self._device, camera=camera, epoch=self._epoch, at=now_at(self._clock))
        self._send(Message(MessageKind.STATE, counters_topic(camera), body))

    def publish_areas(self, camera: str, areas: Areas | None) -> None:
        """Send what a camera's picture and zones are made of; None: nothing is known now."""
        body = wire.encode_areas(
            areas,
            device=self._device,
            camera=camera,
            epoch=self._epoch,
            at=now_at(self._clock),
            captured_at=self._clock.at,
        )
        self._send(Message(MessageKind.STATE, areas_topic(camera), body))

    def publish_camera_state(
        self,
        camera: str,
        snapshot: CameraSnapshot,
        *,
        fps_captured: float,
        fps_analysed: float,
        fallback: str | None = None,
        faces_fallback: str | None = None,
        maps_fallback: str | None = None,
    ) -> None:
        """Send how a camera is, and why the processor computes for it, its faces or its maps where TensorRT should."""
        now_s, at = self._clock.now_s(), self._clock.at
        frames = snapshot.frames
        body = wire.encode_camera_state(
            device=self._device,
            camera=camera,
            epoch=self._epoch,
            at=at(now_s),
            state=snapshot.state.value,
            cause=snapshot.cause,
            message=snapshot.message,
            since_at=at(snapshot.since_s),
            last_frame_at=None if snapshot.last_frame_s is None else at(snapshot.last_frame_s),
            width=snapshot.width,
            height=snapshot.height,
            fps_captured=fps_captured,
            fps_analysed=fps_analysed,
            frames={
                "captured": frames.captured,
                "skipped": frames.skipped,
                "dropped": frames.dropped,
                "gated": frames.gated,
                "detected": frames.detected,
            },
            reconnects=snapshot.reconnects,
            next_retry_s=None if snapshot.next_try_s is None else max(0.0, snapshot.next_try_s - now_s),
            fallback=fallback,
            scene=None if snapshot.scene is None else snapshot.scene.value,
            faces_fallback=faces_fallback,
            maps_fallback=maps_fallback,
        )
        self._send(Message(MessageKind.STATE, camera_state_topic(camera), body))

    def take_back(self, camera: str) -> None:
        """Have the broker keep nothing more of a camera: an empty retained message, by MQTT 3.1.1 section 3.3.1.3."""
        for topic in retained_topics(camera):
            self._send(Message(MessageKind.STATE, topic, b""))

    def _send(self, message: Message) -> None:
        for sink in self._sinks:
            sink.publish(message)
