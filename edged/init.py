"""`edged init`: a first configuration, by asking or by flags; passwords go into files of their own."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic_core import PydanticCustomError

from edged.config import parse_config
from edged.config.source import parse_source
from edged.config.values import check_camera_id, check_name, make_name_safe
from edged.errors import ConfigError, InputError
from edged.sources.url import SCHEMES, Address, scheme_of, split_credentials
from edged.strict_yaml import load_yaml

DRAWN = "street:"
_ZONE_HINT = """\
    # An area, in shares of the picture from the top left: objects that enter and leave it become events.
    #zones:
    #  porch:
    #    polygon: [[0.1, 0.5], [0.9, 0.5], [0.9, 1], [0.1, 1]]
    #    classes: [person]
"""
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera to begin with.

    Attributes:
        name: its id.
        source: what it is reached by, as in the configuration; without credentials.
        username, password: what it asks for, if anything.
    """

    name: str
    source: str = field(repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker to begin with."""

    host: str
    port: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Starter:
    """What is written.

    Attributes:
        text: the configuration.
        secrets: password by the name of its file, beside the configuration.
    """

    text: str
    secrets: Mapping[str, str] = field(repr=False)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged init`."""
    parser.add_argument("file", type=Path, nargs="?", default=Path("edged.yaml"), metavar="FILE", help="default: edged.yaml")
    camera_help = "a camera, e.g. door=rtsp://192.168.1.20/main; again for more (default: the drawn street)"
    parser.add_argument("--camera", action="append", default=[], metavar="NAME=SOURCE", help=camera_help)
    parser.add_argument("--mqtt", metavar="HOST[:PORT]", help="the broker (default: events go to standard output)")
    parser.add_argument("--device", metavar="NAME", help="name of this machine (default: its host name)")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(arguments: argparse.Namespace) -> int:
    """Write the configuration and say what to do next."""
    path: Path = arguments.file
    if path.exists() and not arguments.force:
        raise InputError(f"{path} exists: choose another name, or --force to replace it")
    device = parse_device(arguments.device or make_name_safe(socket.gethostname().split(".")[0]) or "edge")
    cameras = [parse_camera(text) for text in arguments.camera]
    broker = parse_broker(arguments.mqtt) if arguments.mqtt else None
    if sys.stdin.isatty() and not arguments.yes:
        questions = Questions(ask=input, ask_secret=getpass.getpass)
        try:
            device = device if arguments.device else questions.device(device)
            cameras = cameras or questions.cameras()
            broker = broker or questions.broker()
        except EOFError:
            raise InputError("stopped: nothing was written") from None
    starter = make_starter(device=device, cameras=cameras or [Camera("street", DRAWN)], broker=broker)
    write_starter(starter, path, replace=arguments.force)
    print(f"wrote {path}" + "".join(f" and {name}" for name in starter.secrets))
    print(f"next: edged check {path} && edged run --config {path}")
    return 0


def parse_device(text: str) -> str:
    """The name of a device.

    Raises:
        InputError: it is no name.
    """
    return _checked(check_name, text.strip(), what="device")


def parse_camera(text: str) -> Camera:
    """`NAME=SOURCE` as a camera.

    Raises:
        InputError: the name or the source is wrong.
    """
    name, equals, source = text.partition("=")
    if not equals:
        raise InputError("--camera: expected NAME=SOURCE, e.g. door=rtsp://192.168.1.20/main")
    return make_camera(parse_camera_id(name), source)


def parse_camera_id(text: str) -> str:
    """The id of a camera.

    Raises:
        InputError: it is none.
    """
    return _checked(check_camera_id, text.strip(), what="camera")


def make_camera(name: str, source: str) -> Camera:
    """A camera with its credentials apart.

    Raises:
        InputError: the source is none that edged can open.
    """
    source = source.strip()
    address = split_credentials(source) if scheme_of(source) in SCHEMES else Address(source)
    is_path = scheme_of(source) is None and source
    camera = Camera(name, str(Path(source).absolute()) if is_path else address.url, address.username, address.password)
    if is_path and (source.endswith("/") or Path(source).is_dir()):
        camera = Camera(name, camera.source.rstrip("/") + "/")
    make_starter(device="check", cameras=[camera], broker=None)
    return camera


def parse_broker(text: str) -> Broker:
    """`HOST[:PORT]` as a broker; an IPv6 address with a port stands in brackets.

    Raises:
        InputError: it is neither.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:]+)\]|([^\s/@:]+))(?::([0-9]{1,5}))?|([0-9A-Fa-f:]*:[0-9A-Fa-f:]*)", text.strip())
    if not found or (found[3] and not 1 <= int(found[3]) <= 65_535):
        raise InputError("broker: expected HOST or HOST:PORT, e.g. 192.168.1.10:1883")
    return Broker(found[1] or found[2] or found[4], int(found[3]) if found[3] else None)


@dataclass(frozen=True, slots=True)
class Questions:
    """Asks until the answer will do.

    Attributes:
        ask: shows a question and returns the answer.
        ask_secret: the same, without showing what is typed.
    """

    ask: Callable[[str], str]
    ask_secret: Callable[[str], str]

    def device(self, default: str) -> str:
        """Name of this machine."""
        return self._until(parse_device, f"name of this machine [{default}]: ", default=default)

    def cameras(self) -> list[Camera]:
        """Every camera; none if the first name is left empty."""
        print("cameras: rtsp://user:password@host/path, http://…, /dev/video0, a file, a folder/ or street: (drawn)")
        cameras: dict[str, Camera] = {}
        while True:
            hint = "empty: no more" if cameras else "empty: the drawn street"
            name = self._until(lambda text: parse_camera_id(text) if text else "", f"camera's name ({hint}): ")
            if not name:
                return list(cameras.values())
            cameras[name] = self._until(lambda text, name=name: make_camera(name, text), f"source of {name}: ")

    def broker(self) -> Broker | None:
        """The broker; None if left empty."""
        broker = self._until(
            lambda text: parse_broker(text) if text else None, "broker, HOST or HOST:PORT (empty: events to standard output): "
        )
        if broker is None:
            return None
        username = self.ask("broker's user name (empty: none): ").strip()
        password = self.ask_secret("broker's password (empty: none): ") if username else ""
        return Broker(broker.host, broker.port, username or None, password or None)

    def _until(self, parse: Callable[[str], _Answer], question: str, *, default: str = "") -> _Answer:
        while True:
            try:
                return parse(self.ask(question).strip() or default)
            except (InputError, ConfigError) as error:
                print(f"  {error}")


def make_starter(*, device: str, cameras: Iterable[Camera], broker: Broker | None) -> Starter:
    """A configuration that passes `edged check` where its sources are there.

    Raises:
        InputError: two cameras have one name, or an answer cannot stand in a configuration.
    """
    secrets: dict[str, str] = {}
    lines = [
        "# yaml-language-server: $schema=edged.schema.json",
        "# Written by `edged init`. configs/edged.yaml explains every key; `edged check` tries this file.",
        "version: 1",
        f"device: {_quoted(device)}",
        "",
        *_broker_lines(broker, secrets),
        "",
        "cameras:",
    ]
    names = set()
    for camera in cameras:
        if camera.name in names:
            raise InputError(f"camera {camera.name}: the name is given twice")
        names.add(camera.name)
        lines += _camera_lines(camera, secrets)
    text = "\n".join(lines) + "\n" + _ZONE_HINT
    try:
        parse_config(text, source="answers", directory=Path(), environ={"HOME": "/"}, reads_secrets=False)
    except ConfigError as error:
        raise InputError("; ".join(f"{mistake.where}: {mistake.message}" for mistake in error.mistakes)) from None
    return Starter(text, secrets)


def write_starter(starter: Starter, path: Path, *, replace: bool) -> None:
    """Write the configuration, and its passwords beside it, readable by their owner only.

    Raises:
        InputError: a file exists already, or cannot be written.
    """
    files = {path.parent / name: value + "\n" for name, value in starter.secrets.items()} | {path: starter.text}
    for file in files:
        if file.exists() and not replace:
            raise InputError(f"{file} exists: move it away, or --force to replace it")
    for file, text in files.items():
        mode = 0o644 if file == path else 0o600
        try:
            if replace:
                file.unlink(missing_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from error


def _broker_lines(broker: Broker | None, secrets: dict[str, str]) -> list[str]:
    if broker is None:
        return ["# Without a broker, events go to standard output as JSON lines.", "#mqtt:", "#  host: 127.0.0.1"]
    lines = ["mqtt:", f"  host: {_quoted(broker.host)}"]
    if broker.port is not None:
        lines.append(f"  port: {broker.port}")
    if broker.username is not None:
        lines.append(f"  username: {_quoted(broker.username)}")
    if broker.password is not None:
        secrets["mqtt.password"] = broker.password
        lines.append("  password: {file: mqtt.password}")
    return lines


def _camera_lines(camera: Camera, secrets: dict[str, str]) -> list[str]:
    lines = [f"  {_quoted(camera.name)}:"]
    if camera.username is None:
        lines.append(f"    source: {_quoted(camera.source)}")
    else:
        lines += ["    source:", f"      type: {parse_source(camera.source).type}", f"      url: {_quoted(camera.source)}"]
        lines.append(f"      username: {_quoted(camera.username)}")
    if camera.password:
        file = f"camera-{camera.name}.password"
        secrets[file] = camera.password
        lines.append(f"      password: {{file: {file}}}")
    return [*lines, "    fps: 5"]


def _quoted(text: str) -> str:
    """A text as it stands where YAML takes it for itself, else in JSON's quotes, which are YAML's, too."""
    try:
        is_plain = re.fullmatch(r"[a-z][a-z0-9_-]*", text) and load_yaml(text, source="answer").data == text
    except ConfigError:
        is_plain = False
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _checked(check: Callable[[str], str], text: str, *, what: str) -> str:
    try:
        return check(text)
    except PydanticCustomError as error:
        raise InputError(f"{what}: {error.message()}") from None
