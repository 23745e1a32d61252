"""`edged watch`: the events of a broker, one line each, as they come."""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from edged.assembly import make_mqtt_settings
from edged.config import load_config
from edged.errors import InputError, MessageError
from edged.events.schema import CameraStateMessage, EventMessage
from edged.events.topics import STATUS_TOPIC
from edged.events.wire import decode_camera_state, decode_event
from edged.runtime.backoff import Backoff
from edged.sinks.base import Received
from edged.sinks.mqtt_connection import MqttError, open_connection
from edged.sinks.mqtt_settings import MqttSettings, MqttTls

ANY_DEVICE = "+"

_TURN_S = 0.5
_DIM, _BOLD, _RESET = "\033[2m", "\033[1m", "\033[0m"
_COLOURS = {"object": "\033[36m", "zone": "\033[33m", "line": "\033[35m", "state": "\033[32m"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged watch`."""
    broker = parser.add_argument_group("broker")
    broker.add_argument("--config", type=Path, metavar="FILE", help="take broker and device from a configuration")
    broker.add_argument("--host", help="default 127.0.0.1")
    broker.add_argument("--port", type=int, help="default 1883, with TLS 8883")
    broker.add_argument("--username", metavar="NAME")
    broker.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    broker.add_argument("--tls-ca", type=Path, metavar="FILE", help="encrypt, and trust what these certificates signed")
    broker.add_argument("--tls-certificate", type=Path, metavar="FILE", help="prove ourselves with this")
    broker.add_argument("--tls-key", type=Path, metavar="FILE", help="private key of that certificate")
    shown = parser.add_argument_group("what to show")
    shown.add_argument("--prefix", help="head of the topics, default edged")
    shown.add_argument("--device", help="of one device only")
    shown.add_argument("--camera", metavar="NAME", help="of one camera only")
    shown.add_argument("--json", action="store_true", help="every message as a line of JSON with its topic")
    shown.add_argument("--count", type=int, metavar="N", help="end after N events")


def run(arguments: argparse.Namespace) -> int:
    """Show messages until Ctrl-C or `--count`."""
    settings = _make_settings(arguments)
    printer = Printer(sys.stdout, as_json=arguments.json, camera=arguments.camera, in_colour=sys.stdout.isatty())
    try:
        for received in _receive(settings):
            printer.show(received)
            if arguments.count is not None and printer.events >= arguments.count:
                break
    except KeyboardInterrupt:
        pass
    return 0


class Printer:
    """Writes one line a message.

    Args:
        stream: where to.
        as_json: the message as it came, in an object with its topic.
        camera: show only this one's.
        in_colour: the stream is a terminal.
    """

    def __init__(self, stream: TextIO, *, as_json: bool, camera: str | None, in_colour: bool) -> None:
        self.events = 0
        self._stream = stream
        self._as_json = as_json
        self._camera = camera
        self._in_colour = in_colour

    def show(self, received: Received) -> None:
        """Write a message, unless it is of another camera. What is not ours is shown by its topic."""
        levels = received.topic.split("/")
        is_event = "event" in levels[-3:-1]
        if self._camera is not None and self._camera not in levels:
            return
        line = _as_json(received) if self._as_json else self._as_text(received, is_event=is_event)
        if line is not None:
            print(line, file=self._stream, flush=True)
            self.events += is_event

    def _as_text(self, received: Received, *, is_event: bool) -> str | None:
        last = received.topic.rsplit("/", maxsplit=1)[-1]
        if not received.body and not is_event:
            return self._painted(f"{_now():<13} {_plain(received.topic)} is no more", _DIM)
        try:
            if is_event:
                event = decode_event(received.body)
                return self._painted(event_line(event), _COLOURS.get(event.type.value.split(".")[0], ""))
            if last == "state":
                return self._painted(state_line(decode_camera_state(received.body)), _COLOURS["state"])
        except MessageError:
            pass
        if last in ("counters", "areas"):
            return None
        if last == STATUS_TOPIC:
            return self._painted(f"{_now():<13} {_plain(received.topic)} {_plain(received.body)}", _BOLD)
        return self._painted(f"{_now():<13} {_plain(received.topic)}: not a message of edged, {len(received.body)} bytes", _DIM)

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._in_colour and colour else text


def event_line(event: EventMessage) -> str:
    """An event for people: time, camera, type, what, where, and the object's id."""
    place = event.zone or event.line or ""
    if event.direction:
        place += f" {event.direction.value}"
    facts = []
    if event.dwell_s is not None:
        facts.append(f"{event.dwell_s:.1f}s")
    if event.count is not None:
        facts.append(f"count={event.count}")
    facts += [f"{name}={value}" for name, value in event.details.items()]
    thing = event.object
    what = f"{thing.class_name} {thing.score:.2f}" if thing else ""
    text = f"{_local(event.captured_at):<13} {event.camera or event.device:<12} {event.type.value:<14} {what:<16} {place:<16}"
    return _plain(" ".join([text, *facts, thing.id if thing else ""])).rstrip()


def state_line(state: CameraStateMessage) -> str:
    """A camera's state for people."""
    cause = f" ({state.cause.value}: {state.message})" if state.cause else ""
    size = f" {state.width}x{state.height}" if state.width else ""
    rate = f" {state.fps_analysed:.1f} fps analysed" if state.fps_analysed else ""
    view = ", shows another view" if state.scene == "changed" else ""
    return _plain(f"{_local(state.at):<13} {state.camera:<12} is {state.state}{cause}{size}{rate}{view}")


def _receive(settings: MqttSettings) -> Iterator[Received]:
    """Messages for ever, over lost connections; the state of the connection goes to standard error."""
    backoff = Backoff(first_s=0.5, most_s=10.0, rng=random.Random())
    while True:
        try:
            with open_connection(settings) as connection:
                backoff.reset()
                topic_filter = f"{settings.topic_head}#"
                connection.subscribe(topic_filter, qos=1)
                _say(f"watching {topic_filter} at {settings.broker}, MQTT {connection.protocol.value}; Ctrl-C ends")
                while not connection.lost:
                    connection.turn(_TURN_S)
                    yield from connection.take_received()
                raise connection.lost
        except MqttError as error:
            wait_s = backoff.next_s()
            _say(f"{error}; next try in {wait_s:.1f} s")
            time.sleep(wait_s)


def _make_settings(arguments: argparse.Namespace) -> MqttSettings:
    if arguments.config:
        settings = make_mqtt_settings(load_config(arguments.config))
        if settings is None:
            raise InputError(f"{arguments.config} has no broker: add mqtt, or give --host")
    else:
        settings = MqttSettings(host="127.0.0.1", device=ANY_DEVICE)
    tls = settings.tls
    if arguments.tls_ca or arguments.tls_certificate:
        tls = MqttTls(ca=arguments.tls_ca, certificate=arguments.tls_certificate, key=arguments.tls_key)
    default_port = 8883 if tls and not settings.tls else settings.port
    return replace(
        settings,
        host=arguments.host or settings.host,
        port=arguments.port or default_port,
        device=arguments.device or settings.device,
        username=arguments.username or settings.username,
        password=_read_password(arguments.password_file) if arguments.password_file else settings.password,
        tls=tls,
        prefix=arguments.prefix or settings.prefix,
        client_id=f"edged-watch-{secrets.token_hex(4)}",
    )


def _read_password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").split("\n", maxsplit=1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the password file {path}: {error}") from error


def _as_json(received: Received) -> str:
    try:
        payload = json.loads(received.body)
    except ValueError:
        payload = received.body.decode(errors="replace")
    return json.dumps({"topic": received.topic, "retained": received.is_retained, "payload": payload}, ensure_ascii=False)


def _local(utc_text: str) -> str:
    """A wire time as local time of day."""
    with contextlib.suppress(ValueError):
        moment = datetime.strptime(utc_text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
        return f"{moment.astimezone():%H:%M:%S.%f}"[:-3]
    return utc_text


def _now() -> str:
    return f"{datetime.now():%H:%M:%S.%f}"[:-3]


def _plain(text: str | bytes) -> str:
    """Text without characters that could command a terminal."""
    if isinstance(text, bytes):
        text = text[:200].decode(errors="replace")
    return "".join(character if character.isprintable() else "?" for character in text)


def _say(text: str) -> None:
    print(f"edged watch: {_plain(text)}", file=sys.stderr, flush=True)
