"""Hands events, answers and states to an MQTT broker, and counts every one that it cannot hand on.

`publish` only queues and wakes; one thread runs `run`, which owns the connection. Always true, at any moment:
accepted == delivered + dropped + queued + in flight, counted in events, of which an answer is one here. States are not
queued: the newest of each topic is kept and published again after every connection. What a subscription brings is given
to its listener at once: no queue for it here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from edged.events.topics import STATUS_TOPIC
from edged.sinks.base import Message, MessageKind, Subscription
from edged.sinks.mqtt_connection import MqttCause, MqttConnection, MqttError, Will, open_connection
from edged.sinks.mqtt_settings import MqttProtocol, MqttSettings
from edged.sinks.pending import Pending, PendingEvent
from edged.sinks.wake import Wake

logger = logging.getLogger(__name__)

ONLINE, OFFLINE = b"online", b"offline"

_WINDOW = 16
_TURN_S = 0.5  # longest wait without a look at the stop event
_DRAIN_S = 4.0
_GOODBYE_S = 1.0
_GOOD_AFTER_S = 10.0  # a connection that lasted this long makes the next failure the first one again
_REPORT_S = 60.0
_STATE_LIMIT = 4096  # topics; a configuration has a few per camera
_WARNED_LIMIT = 256
_TRIES = 5  # connections that one event may cost before it is given up
_NO_SUBSCRIBER = 0x10
_REFUSED_FROM = 0x80
_RETRY_CODES = frozenset({0x80, 0x83, 0x97})  # unspecified, implementation specific, quota: another time perhaps
_SLOW_CAUSES = frozenset({MqttCause.AUTH, MqttCause.TAKEN_OVER})  # hurrying locks accounts, or fights a twin


class DropReason(str, Enum):
    """Why an event was given up."""

    QUEUE_FULL = "queue_full"
    NOT_AUTHORIZED = "not_authorized"
    TOPIC_INVALID = "topic_invalid"
    TOO_LARGE = "too_large"  # for the packet size that the broker announced
    PAYLOAD_INVALID = "payload_invalid"
    REFUSED = "refused"
    UNDELIVERABLE = "undeliverable"  # the connection ended every time it was sent
    STOPPED = "stopped"


_REASONS = {
    0x87: DropReason.NOT_AUTHORIZED,
    0x90: DropReason.TOPIC_INVALID,
    0x99: DropReason.PAYLOAD_INVALID,
}


class RetryWait(Protocol):
    """How long to wait before the next try: `runtime.backoff.Backoff`."""

    def next_s(self, *, at_least_s: float = 0.0) -> float: ...

    def reset(self) -> None: ...


@dataclass(frozen=True, slots=True)
class MqttStatus:
    """The sink at one moment; the counts are of events and fit together.

    Attributes:
        is_connected: a broker has accepted us.
        protocol: version spoken, None while not connected.
        accepted, delivered, queued, inflight: events.
        dropped: events by `DropReason` value; absent means none.
        no_subscriber: delivered events of which the broker said that nobody listens (MQTT 5).
        states_delivered, states_refused: retained messages.
        connections: made since the start.
        cause: why there is no connection (`MqttCause` value); None while there is one.
        error: the same for people.
    """

    is_connected: bool
    protocol: str | None
    accepted: int
    delivered: int
    queued: int
    inflight: int
    dropped: Mapping[str, int]
    no_subscriber: int
    states_delivered: int
    states_refused: int
    connections: int
    cause: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a packet id stands for: an event (or answer), or a state where `event` is None."""

    topic: str
    event: PendingEvent | None
    sent_s: float


class MqttSink:
    """The sink. `publish`, `status` and `close` from any thread; `listen` before `run`, which is the body of exactly one.

    Args:
        settings: the broker and our place in it.
        backoff: waits between tries.
        slow_wait_s: least wait after a refused login or a twin with our client id.
    """

    def __init__(self, settings: MqttSettings, *, backoff: RetryWait, slow_wait_s: float = 60.0) -> None:
        self._settings = settings
        self._backoff = backoff
        self._slow_wait_s = slow_wait_s
        self._subscription: Subscription | None = None
        self._stop = threading.Event()
        self._beat: Callable[[], None] = lambda: None
        self._finished = threading.Event()
        self._drain_until_s: float | None = None
        self._hold_until_s = 0.0
        self._window = _WINDOW
        self._suspect: tuple[PendingEvent, int] | None = None  # sent when the connection ended, and how many times
        self._is_fallback_known = False
        self._warned: set[str] = set()
        self._reported_s = 0.0
        self._reported: Counter[DropReason] = Counter()

        self._lock = threading.Lock()  # guards everything below
        self._pending = Pending(settings.queue_limit)
        self._states: dict[str, bytes] = {STATUS_TOPIC: ONLINE}
        self._dirty: dict[str, None] = {}  # topics of states to send, in order
        self._inflight: dict[int, _Sent] = {}  # by packet id
        self._dropped: Counter[DropReason] = Counter()
        self._delivered = self._no_subscriber = 0
        self._states_delivered = self._states_refused = 0
        self._connections = 0
        self._protocol: str | None = None
        self._failure: tuple[MqttCause, str] | None = None  # not the error: it would keep its frames, and their sockets, alive
        self._is_running = self._is_over = False
        self._wake: Wake | None = None

    def publish(self, message: Message) -> None:
        """Queue a message. Never blocks; overflow gives up the oldest event, counted."""
        with self._lock:
            if message.kind is not MessageKind.STATE:
                self._dropped[DropReason.QUEUE_FULL] += self._pending.put(message)
                if self._is_over:
                    self._dropped[DropReason.STOPPED] += self._pending.give_up()
            elif message.topic in self._states or len(self._states) < _STATE_LIMIT:
                self._states[message.topic] = message.body
                self._dirty[message.topic] = None
            if self._wake:
                self._wake.set()

    @property
    def topic_head(self) -> str:
        """What every topic of this device starts with, slash included."""
        return self._settings.topic_head

    def listen(self, subscription: Subscription) -> None:
        """Subscribe, after each connection anew: what was sent while there was none is never heard."""
        self._subscription = subscription

    @property
    def dropped(self) -> int:
        """Events given up since the start."""
        with self._lock:
            return self._dropped.total()

    def status(self) -> MqttStatus:
        """The sink at this moment."""
        with self._lock:
            return MqttStatus(
                is_connected=self._protocol is not None,
                protocol=self._protocol,
                accepted=self._pending.accepted,
                delivered=self._delivered,
                queued=self._pending.waiting,
                inflight=self._pending.in_hand,
                dropped={reason.value: n for reason, n in self._dropped.items() if n},
                no_subscriber=self._no_subscriber,
                states_delivered=self._states_delivered,
                states_refused=self._states_refused,
                connections=self._connections,
                cause=self._failure[0].value if self._failure else None,
                error=self._failure[1] if self._failure else None,
            )

    def run(self, stop: threading.Event, *, beat: Callable[[], None] = lambda: None) -> None:
        """Keep a connection and hand messages on, until `stop` or `close`; then drain for at most 4 s and say goodbye.

        Args:
            stop: asks to end; noticed within 0.5 s, at once when `close` is called.
            beat: called at least twice a second while connected or waiting. One try to connect may take three times
                `connect_timeout_s` and the time of the name look-up, which nobody can cut short.
        """
        with Wake() as wake:
            with self._lock:
                is_closed = self._is_over
                self._stop, self._beat, self._wake, self._is_running = stop, beat, wake, True
            try:
                if not is_closed:
                    self._run(wake)
            finally:
                with self._lock:
                    self._wake = None
                    self._is_over = True
                    self._dropped[DropReason.STOPPED] += self._pending.give_up()
                self._report_drops(is_last=True)
                self._finished.set()

    def close(self) -> None:
        """End `run`, if it runs, and wait for it: what is waiting is handed on within 5 s, the rest counted."""
        with self._lock:
            self._stop.set()
            if self._drain_until_s is None:  # from now on: `run` may be inside a connect that takes long
                self._drain_until_s = time.monotonic() + _DRAIN_S
            if self._wake:
                self._wake.set()
            is_running = self._is_running
            if not is_running:
                self._is_over = True
                self._dropped[DropReason.STOPPED] += self._pending.give_up()
        if is_running and not self._finished.wait(_DRAIN_S + 2 * _GOODBYE_S):
            logger.warning("mqtt did not end in time: broker=%s", self._settings.broker)

    def _run(self, wake: Wake) -> None:
        while self._is_wanted():
            self._beat()
            lost = self._run_once(wake)
            if lost is None:
                return
            wait_s = self._note_failure(lost)
            self._report_drops()
            self._wait(wait_s)

    def _run_once(self, wake: Wake) -> MqttError | None:
        """One connection; returns why it could not be made or was lost, None after a goodbye."""
        try:
            connection = self._connect()
        except MqttError as error:
            return error
        started_s = time.monotonic()
        with connection:
            self._note_connected(connection)
            lost = self._serve(connection, wake)
        if time.monotonic() - started_s >= _GOOD_AFTER_S:
            self._backoff.reset()
            self._window = _WINDOW
        return lost

    def _connect(self) -> MqttConnection:
        settings = self._settings
        timeout_s = settings.connect_timeout_s
        if self._drain_until_s is not None:
            timeout_s = max(0.1, min(timeout_s, self._drain_until_s - time.monotonic()))
        return open_connection(
            settings,
            will=Will(settings.topic_head + STATUS_TOPIC, OFFLINE),
            most_received_bytes=self._subscription and self._subscription.most_bytes,
            timeout_s=timeout_s,
            is_wanted=self._is_wanted,
        )

    def _serve(self, connection: MqttConnection, wake: Wake) -> MqttError | None:
        """Send and listen until told to stop; returns why the connection was lost, None after a goodbye."""
        try:
            self._subscribe(connection)
            while not connection.lost:
                self._beat()
                wake.clear()
                self._send(connection)
                if self._is_unanswered():
                    return MqttError(MqttCause.UNANSWERED, f"{self._settings.broker} acknowledges nothing any more")
                self._report_drops()
                if self._is_stopping() and self._is_drained():
                    self._say_goodbye(connection)
                    return None
                connection.turn(_TURN_S, wake=wake.receiver)
                self._settle(connection)
                self._hear(connection)
            self._suspect_oldest()
            return connection.lost
        finally:
            self._take_back()

    def _subscribe(self, connection: MqttConnection) -> None:
        if self._subscription:
            connection.subscribe_to_new(self._settings.topic_head + self._subscription.topic_filter, qos=1)

    def _hear(self, connection: MqttConnection) -> None:
        """Give the listener what came. A refused subscription costs the commands, never the events."""
        if self._subscription is None:
            return
        for received in connection.take_received():
            self._subscription.listen(received)
        if connection.refused_subscription and self._subscription.topic_filter not in self._warned:
            self._warned.add(self._subscription.topic_filter)
            topic_filter = self._settings.topic_head + self._subscription.topic_filter
            refusal = connection.refused_subscription
            logger.warning("mqtt subscription refused, nothing is heard: topic=%s reason=%s", topic_filter, refusal)

    def _send(self, connection: MqttConnection) -> None:
        """Send what may be sent now: inside the window, states first, events in order."""
        window = 1 if self._suspect else min(self._window, connection.receive_maximum)
        while len(self._inflight) < window and not connection.lost and time.monotonic() >= self._hold_until_s:
            with self._lock:
                if self._dirty:
                    topic = next(iter(self._dirty))
                    del self._dirty[topic]
                    body, sent = self._states[topic], _Sent(topic, None, time.monotonic())
                elif event := self._pending.take():
                    body, sent = event.message.body, _Sent(event.message.topic, event, time.monotonic())
                else:
                    return
            self._send_one(connection, sent, body)

    def _send_one(self, connection: MqttConnection, sent: _Sent, body: bytes) -> None:
        settings = self._settings
        correlation = sent.event and sent.event.message.correlation
        topic = settings.topic_head + sent.topic
        content_type = "text/plain" if sent.topic == STATUS_TOPIC else "application/json"
        most = connection.maximum_packet_bytes
        if most and connection.packet_bytes(topic, body, content_type=content_type, correlation=correlation) > most:
            self._refuse(sent, DropReason.TOO_LARGE, f"the broker takes at most {most} bytes")
            return
        is_state = sent.event is None
        qos = settings.qos_state if is_state else settings.qos_event
        try:
            mid = connection.publish(topic, body, qos=qos, retain=is_state, content_type=content_type, correlation=correlation)
        except ValueError as error:
            self._refuse(sent, DropReason.TOPIC_INVALID, str(error))
            return
        with self._lock:
            self._inflight[mid] = sent

    def _settle(self, connection: MqttConnection) -> None:
        """Count what the broker answered."""
        later: list[PendingEvent] = []
        for mid, code in connection.take_acks():
            with self._lock:
                sent = self._inflight.pop(mid, None)
            if sent is None:
                continue
            if self._suspect and sent.event is self._suspect[0]:
                self._suspect = None
            if code in _RETRY_CODES:
                later += self._hold(sent)
            elif code >= _REFUSED_FROM:
                self._refuse(sent, _REASONS.get(code, DropReason.REFUSED), f"reason code 0x{code:02x}")
            else:
                self._note_delivered(sent, has_subscriber=code != _NO_SUBSCRIBER)
        if later:
            with self._lock:
                self._pending.put_back(later)

    def _note_delivered(self, sent: _Sent, *, has_subscriber: bool) -> None:
        with self._lock:
            if sent.event is None:
                self._states_delivered += 1
                return
            self._pending.settle()
            self._delivered += 1
            self._no_subscriber += not has_subscriber

    def _hold(self, sent: _Sent) -> list[PendingEvent]:
        """Send nothing for a while; returns the event that has to go again."""
        self._hold_until_s = time.monotonic() + self._backoff.next_s()
        if sent.event is not None:
            return [sent.event]
        with self._lock:
            self._dirty[sent.topic] = None
        return []

    def _refuse(self, sent: _Sent, reason: DropReason, why: str) -> None:
        with self._lock:
            if sent.event is None:
                self._states_refused += 1
            else:
                self._pending.settle()
                self._dropped[reason] += 1
        if sent.topic not in self._warned and len(self._warned) < _WARNED_LIMIT:
            self._warned.add(sent.topic)
            topic = self._settings.topic_head + sent.topic
            logger.warning("mqtt message refused: topic=%s reason=%s detail=%s", topic, reason.value, why)

    def _suspect_oldest(self) -> None:
        """The connection was ended: perhaps because of the oldest un-acknowledged event.

        Some brokers answer a message that they dislike so, and it would come first again for ever. Until it is
        acknowledged messages go one by one, so that no other is blamed; after `_TRIES` connections it is given up.
        """
        oldest = next((sent for sent in self._inflight.values() if sent.event), None)
        if oldest is None or oldest.event is None:
            return
        times = self._suspect[1] + 1 if self._suspect and self._suspect[0] is oldest.event else 1
        self._suspect = (oldest.event, times)
        if times >= _TRIES:
            self._suspect = None
            with self._lock:
                self._inflight = {mid: sent for mid, sent in self._inflight.items() if sent is not oldest}
            self._refuse(oldest, DropReason.UNDELIVERABLE, f"{times} connections ended when it was sent")

    def _take_back(self) -> None:
        """Un-acknowledged events wait again; they go out once more after the next connection."""
        with self._lock:
            self._pending.put_back(sent.event for sent in self._inflight.values() if sent.event)
            self._inflight.clear()
            self._protocol = None

    def _note_connected(self, connection: MqttConnection) -> None:
        protocol = connection.protocol
        with self._lock:
            self._protocol = protocol.value
            self._connections += 1
            self._failure = None
            self._dirty = dict.fromkeys(self._states)  # the status is first: it was put in first
        logger.info("mqtt connected: broker=%s protocol=%s", self._settings.broker, protocol.value)
        is_fallback = self._settings.protocol is MqttProtocol.AUTO and protocol is MqttProtocol.V3
        if is_fallback and not self._is_fallback_known:
            self._is_fallback_known = True
            logger.warning("mqtt broker refuses version 5, speaking 3.1.1: a message it does not allow is lost unseen")

    def _note_failure(self, error: MqttError) -> float:
        """Keep and log why there is no connection, each cause once; returns the seconds to wait."""
        wait_s = self._backoff.next_s(at_least_s=self._slow_wait_s if error.cause in _SLOW_CAUSES else 0.0)
        if error.cause is MqttCause.RATE:
            self._window = max(1, self._window // 2)
        with self._lock:
            is_news = self._failure is None or self._failure[0] is not error.cause
            self._failure = (error.cause, str(error))
        level = logging.WARNING if is_news else logging.DEBUG
        logger.log(level, "mqtt not connected: cause=%s error=%s retry=%.1fs", error.cause.value, error, wait_s)
        return wait_s

    def _report_drops(self, *, is_last: bool = False) -> None:
        """Log new drops by reason, at most once a minute."""
        now_s = time.monotonic()
        if now_s - self._reported_s < _REPORT_S and not is_last:
            return
        with self._lock:
            dropped = self._dropped.copy()
        if dropped.total() > self._reported.total():
            new = ", ".join(f"{reason.value}={n}" for reason, n in (dropped - self._reported).items())
            logger.warning("mqtt events dropped: %s", new)
            self._reported_s, self._reported = now_s, dropped

    def _is_stopping(self) -> bool:
        if self._stop.is_set() and self._drain_until_s is None:
            self._drain_until_s = time.monotonic() + _DRAIN_S
        return self._drain_until_s is not None

    def _is_wanted(self) -> bool:
        """Whether a connection is still of use: always, until stopping; then while events wait and there is time."""
        if not self._is_stopping():
            return True
        with self._lock:
            has_events = self._pending.waiting > 0
        return has_events and self._has_drain_time()

    def _is_drained(self) -> bool:
        """Nothing is left to send and to wait for, or the time for it is over."""
        with self._lock:
            has_work = self._pending.waiting or self._dirty or self._inflight
        return not has_work or not self._has_drain_time()

    def _is_unanswered(self) -> bool:
        """Whether the broker, though alive, has not acknowledged the oldest message in twice the keepalive."""
        oldest = next(iter(self._inflight.values()), None)
        return oldest is not None and time.monotonic() - oldest.sent_s > 2 * self._settings.keepalive_s

    def _has_drain_time(self) -> bool:
        return self._drain_until_s is None or time.monotonic() < self._drain_until_s

    def _say_goodbye(self, connection: MqttConnection) -> None:
        """`offline`, then DISCONNECT. A broker that does not answer gets no DISCONNECT, and so publishes our will."""
        with self._lock:
            self._states[STATUS_TOPIC] = OFFLINE
            self._dirty = {STATUS_TOPIC: None}
        self._hold_until_s = 0.0
        until_s = time.monotonic() + _GOODBYE_S
        while not connection.lost and time.monotonic() < until_s:
            self._send(connection)
            connection.turn(until_s - time.monotonic())
            self._settle(connection)
            with self._lock:
                is_told = not self._dirty and all(sent.event for sent in self._inflight.values())
            if is_told:
                connection.close(_GOODBYE_S / 2)
                break
        logger.info("mqtt ended: broker=%s", self._settings.broker)

    def _wait(self, wait_s: float) -> None:
        """Sleep; the moment that stopping begins ends it, so that what waits gets one more try."""
        was_stopping = self._is_stopping()
        until_s = time.monotonic() + (min(wait_s, _TURN_S) if was_stopping else wait_s)
        while (rest_s := until_s - time.monotonic()) > 0 and self._is_stopping() == was_stopping:
            self._beat()
            if was_stopping:
                time.sleep(min(rest_s, 0.05))
            else:
                self._stop.wait(min(rest_s, _TURN_S))
