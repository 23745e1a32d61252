"""Brokers of our own for the demo and the tests: Mosquitto where it is installed, else amqtt; child processes on loopback."""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.errors import InputError, SinkError
from edged.sinks.mqtt_settings import MqttProtocol

_HOST = "127.0.0.1"
_READY_S = 15.0
_STOP_S = 5.0
_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"  # MQTT 3.1.1, clean session, keepalive 5 s, no client id


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that answers.

    Attributes:
        name: `mosquitto` or `amqtt`.
        host, port: where.
        protocol: what to ask it for: amqtt does not even refuse a CONNECT of MQTT 5 with a will, it falls silent.
        process: the child.
    """

    name: str
    host: str
    port: int
    protocol: MqttProtocol
    process: subprocess.Popen[bytes]


def find_mosquitto() -> str | None:
    """Path of the Mosquitto broker; None if it is not installed. Debian keeps it outside a user's search path."""
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])
    return shutil.which("mosquitto", path=search)


def has_amqtt() -> bool:
    """Whether the extra `demo` is installed."""
    return importlib.util.find_spec("amqtt") is not None


def free_port() -> int:
    """A TCP port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def open_broker(*, port: int | None = None) -> Iterator[RunningBroker]:
    """Mosquitto if it is installed, else amqtt.

    Raises:
        InputError: neither is there; the message says how to get one.
        SinkError: it did not start.
    """
    if find_mosquitto():
        opened = open_mosquitto(port=port)
    elif has_amqtt():
        opened = open_amqtt(port=port)
    else:
        raise InputError("no MQTT broker: install Mosquitto (`apt install mosquitto`) or `pip install 'edged[demo]'`")
    with opened as broker:
        yield broker


@contextlib.contextmanager
def open_mosquitto(*, port: int | None = None, settings: Sequence[str] | None = None) -> Iterator[RunningBroker]:
    """Mosquitto on loopback, nothing kept on disk.

    Args:
        port: None for a free one.
        settings: lines of mosquitto.conf after the listener's; None for "everybody may do everything".

    Raises:
        SinkError: it is not installed, or did not start.
    """
    program = find_mosquitto()
    if program is None:
        raise SinkError("mosquitto is not installed")
    port = port or free_port()
    lines = [
        f"user {getpass.getuser()}",  # started by root it would become another user, who cannot read our files
        "persistence false",
        f"listener {port} {_HOST}",
        *(["allow_anonymous true"] if settings is None else settings),
    ]
    with tempfile.TemporaryDirectory(prefix="edged-broker-") as directory:
        config = Path(directory, "mosquitto.conf")
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with _run("mosquitto", [program, "-c", str(config)], port, Path(directory)) as broker:
            yield broker


@contextlib.contextmanager
def open_amqtt(*, port: int | None = None) -> Iterator[RunningBroker]:
    """amqtt on loopback: MQTT 3.1.1 only, everybody may do everything.

    Raises:
        SinkError: it did not start.
    """
    port = port or free_port()
    config_text = (
        f"listeners:\n  default:\n    type: tcp\n    bind: {_HOST}:{port}\n"
        "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
    )
    with tempfile.TemporaryDirectory(prefix="edged-broker-") as directory:
        config = Path(directory, "amqtt.yaml")
        config.write_text(config_text, encoding="utf-8")
        command = [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(config)]
        with _run("amqtt", command, port, Path(directory)) as broker:
            yield broker


@contextlib.contextmanager
def _run(name: str, command: list[str], port: int, directory: Path) -> Iterator[RunningBroker]:
    log = directory / "broker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle: the daemon says goodbye first
        )
    try:
        _wait_ready(process, port, name, log)
        protocol = MqttProtocol.V3 if name == "amqtt" else MqttProtocol.AUTO
        yield RunningBroker(name, _HOST, port, protocol, process)
    finally:
        _end(process)


def _wait_ready(process: subprocess.Popen[bytes], port: int, name: str, log: Path) -> None:
    until_s = time.monotonic() + _READY_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > until_s:
            tail = log.read_text(encoding="utf-8", errors="replace")[-500:].strip()
            raise SinkError(f"{name} did not start on {_HOST}:{port}: {tail or 'it said nothing'}")
        time.sleep(0.02)


def _answers(port: int) -> bool:
    """Whether CONNECT brings any answer; a refusal, or the end that a TLS port gives us, is one too."""
    try:
        with socket.create_connection((_HOST, port), timeout=1.0) as connection:
            connection.sendall(_CONNECT)
            connection.recv(4)
    except ConnectionResetError:
        return True
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:  # frozen: SIGTERM waits until it is woken
        process.kill()
        process.wait()
