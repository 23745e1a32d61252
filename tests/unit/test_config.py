"""The configuration: every key, every mistake, no secret."""

from __future__ import annotations

import copy
import errno
import json
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import time
from pathlib import Path
from typing import Any

import jsonschema
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.config import Config, check_against_manifest, load_config, parse_config
from edged.config.schema import encode_schema, make_schema
from edged.config.secret import SecretOrigin
from edged.config.source import FolderSourceConfig, StreetSourceConfig
from edged.errors import ConfigError, Mistake
from edged.street.truth import STREET_LINES, STREET_ZONES
from edged.strict_yaml import load_yaml
from edged.vision.boxes import Anchor
from tools.schemas import find_stale

ROOT = Path(__file__).resolve().parents[2]
PINNED_PYDANTIC = re.search(r"(?m)^pydantic==(\S+)", (ROOT / "requirements" / "test.txt").read_text(encoding="utf-8"))[1]
EXAMPLE = ROOT / "configs" / "edged.yaml"
PASSWORD = "hunter2%/@ secret"
CAMERA = "cameras: {door: {source: 'street:'}}\n"


def read(text: str, **given: Any) -> Config:
    """The configuration of a text on a machine with nothing on it."""
    given = {"directory": Path("/nowhere"), "environ": {"HOME": "/home/edged"}, "host_name": "Gate_1.example", **given}
    return parse_config(text, source="test.yaml", **given)


def mistakes(text: str, **given: Any) -> list[Mistake]:
    """What is wrong with a text."""
    with pytest.raises(ConfigError) as caught:
        read(text, **given)
    return list(caught.value.mistakes)


def example_with_everything() -> str:
    """The explained example with all that is commented out switched on."""
    text = re.sub(r"(\{\}|\[\])(.*\n *#  )", r"\2", EXAMPLE.read_text(encoding="utf-8"))
    return re.sub(r"(?m)^( *)#(?! \S)( *\S.*)$", r"\1\2", text)


def test_config_minimal_file_has_every_default() -> None:
    """One camera with a source is a whole configuration."""
    config = read(CAMERA)

    assert config.version == 1
    assert config.device == "gate_1"
    assert config.state_dir == Path("/home/edged/.local/state/edged")
    assert (config.log.level, config.log.format) == ("info", "text")
    assert config.mqtt is None
    assert not config.commands.enabled
    assert (config.detector.engine, config.detector.threads, config.detector.batch) == ("detector", 1, "auto")
    assert config.cameras["door"].fps == 5
    assert config.cameras["door"].motion.enabled
    assert config.warnings == ()


def test_config_state_directory_of_systemd_goes_before_home() -> None:
    """The service's own state directory is the default; of several the first counts."""
    config = read(CAMERA, environ={"STATE_DIRECTORY": "/var/lib/edged:/var/lib/other", "HOME": "/root"})

    assert config.state_dir == Path("/var/lib/edged")


def test_config_without_home_or_state_directory_names_the_key() -> None:
    """A default that cannot be found is a mistake, not a guess."""
    assert [(found.code, found.where) for found in mistakes(CAMERA, environ={})] == [("config.missing_key", "state_dir")]


def test_config_relative_paths_start_beside_the_file(tmp_path: Path) -> None:
    """A file means the same wherever edged is started."""
    (tmp_path / "pictures").mkdir()
    text = "cameras: {a: {source: clip.mp4}, b: {source: pictures}, c: {source: ~/clip.mp4}}"

    cameras = read(text, directory=tmp_path).cameras

    assert cameras["a"].source.path == tmp_path / "clip.mp4"
    assert isinstance(cameras["b"].source, FolderSourceConfig)
    assert cameras["c"].source.path == Path("/home/edged/clip.mp4")


def test_config_full_camera_is_read_as_written() -> None:
    """Aliases, lists and times become what their names say."""
    config = read("""
cameras:
  door:
    source: 'street:'
    schedule: [{from: "22:00", to: "24:00"}]
    zones: {porch: {polygon: [[0, 0], [1, 0], [1, 1]], classes: [person], anchor: centre, crowd: {at: 3}}}
    lines: {gate: {from: [0, 0.5], to: [1, 0.5], classes: {car: {min_score: 0.5}}}}
""")

    door = config.cameras["door"]
    assert (door.schedule[0].from_, door.schedule[0].to, len(door.schedule[0].days)) == (time(22), time(0), 7)
    assert list(door.zones["porch"].classes) == ["person"]
    assert door.zones["porch"].anchor is Anchor.CENTRE
    assert door.zones["porch"].crowd.at == 3
    assert (door.lines["gate"].from_, door.lines["gate"].to) == ((0, 0.5), (1, 0.5))
    assert door.lines["gate"].classes["car"].min_score == 0.5


@pytest.mark.parametrize(
    ("tls", "port"),
    [
        pytest.param("", 1883, id="plain"),
        pytest.param("tls: {}, ", 8883, id="tls"),
        pytest.param("port: 1, tls: {}, ", 1, id="given"),
    ],
)
def test_config_port_follows_tls_unless_given(tls: str, port: int) -> None:
    """The registered ports of MQTT are the defaults."""
    assert read(CAMERA + f"mqtt: {{{tls}host: broker}}").mqtt.port == port


def _door(line: str) -> str:
    return f"cameras:\n  door:\n    source: 'street:'\n    {line}\n"


@pytest.mark.parametrize(
    ("text", "code", "where", "line", "hint"),
    [
        pytest.param("", "config.missing_key", "", None, "edged init", id="empty file"),
        pytest.param("[1]", "config.type", "", 1, "keys and values", id="list"),
        pytest.param("version: 2\n" + CAMERA, "config.choice", "version", 1, "expected 1", id="version of tomorrow"),
        pytest.param("log: {}\n", "config.missing_key", "cameras", 1, "by id", id="no cameras"),
        pytest.param("cameras: {}\n", "config.length", "cameras", 1, "at least 1", id="cameras empty"),
        pytest.param(CAMERA + "mqqt: {}\n", "config.unknown_key", "mqqt", 2, "did you mean mqtt?", id="unknown section"),
        pytest.param(CAMERA + "device: ../x\n", "config.id", "device", 2, "did you mean x?", id="device as path"),
        pytest.param(
            CAMERA + "log: {level: warn}\n", "config.choice", "log.level", 2, "did you mean warning?", id="unknown choice"
        ),
        pytest.param(CAMERA + "mqtt: {port: 0}\n", "config.range", "mqtt.port", 2, "at least 1", id="port below range"),
        pytest.param(CAMERA + "mqtt: {port: 65536}\n", "config.range", "mqtt.port", 2, "at most 65535", id="port above range"),
        pytest.param(
            CAMERA + "mqtt: {port: '1883'}\n", "config.type", "mqtt.port", 2, "found the text '1883'", id="number as text"
        ),
        pytest.param(CAMERA + "mqtt: {port: true}\n", "config.type", "mqtt.port", 2, "found true", id="flag as number"),
        pytest.param(CAMERA + "mqtt: {host: mqtt://b}\n", "config.host", "mqtt.host", 2, "bare host name", id="host as url"),
        pytest.param(CAMERA + "mqtt: {prefix: a/#}\n", "config.id", "mqtt.prefix", 2, "single slashes", id="wildcard in prefix"),
        pytest.param(CAMERA + "mqtt: {qos: {event: 2}}\n", "config.range", "mqtt.qos.event", 2, "at most 1", id="qos"),
        pytest.param(CAMERA + "mqtt: {protocol: 4}\n", "config.choice", "mqtt.protocol", 2, "'3.1.1'", id="protocol"),
        pytest.param(
            CAMERA + "mqtt: {tls: {ca: no.pem}}\n", "config.file", "mqtt.tls.ca", 2, "No such file", id="no such certificate"
        ),
        pytest.param(
            CAMERA + "mqtt: {tls: {ca: /}}\n", "config.file", "mqtt.tls.ca", 2, "is no file", id="certificate is a directory"
        ),
        pytest.param(
            CAMERA + "mqtt: {password: {env: A}, username: u}\n",
            "config.secret",
            "mqtt.password",
            2,
            "no variable 'A'",
            id="variable not set",
        ),
        pytest.param(
            CAMERA + "mqtt: {password: {fil: A}, username: u}\n",
            "config.secret",
            "mqtt.password",
            2,
            "did you mean file?",
            id="kind of secret",
        ),
        pytest.param(
            CAMERA + "mqtt: {password: {file: A}, username: u}\n",
            "config.secret",
            "mqtt.password",
            2,
            "No such file",
            id="no secret file",
        ),
        pytest.param(
            CAMERA + "mqtt: {password: {credential: A}, username: u}\n",
            "config.secret",
            "mqtt.password",
            2,
            "LoadCredential=A",
            id="no credentials",
        ),
        pytest.param(
            CAMERA + "mqtt: {password: {credential: ../A}, username: u}\n",
            "config.secret",
            "mqtt.password",
            2,
            "no name",
            id="credential as path",
        ),
        pytest.param(CAMERA + "mqtt: {password: ''}\n", "config.secret", "mqtt.password", 2, "is empty", id="empty password"),
        pytest.param(
            CAMERA + "mqtt: {password: abc}\n", "config.missing_key", "mqtt.password", 2, "username", id="password alone"
        ),
        pytest.param(
            CAMERA + "detector: {score: 0.01}\n", "config.range", "detector.score", 2, "at least 0.05", id="score below the floor"
        ),
        pytest.param(
            CAMERA + "detector: {score: 1}\n", "config.range", "detector.score", 2, "less than 1", id="score that none reaches"
        ),
        pytest.param(CAMERA + "commands: {enabled: true}\n", "config.missing_key", "commands", 2, "add mqtt", id="no broker"),
        pytest.param(
            CAMERA + "commands: {rate_per_s: 0}\n", "config.range", "commands.rate_per_s", 2, "at least 0.1", id="rate of none"
        ),
        pytest.param(CAMERA + "detector: {batch: 0}\n", "config.choice", "detector.batch", 2, "auto or", id="batch"),
        pytest.param(
            CAMERA + "detector: {backend: tensorrt, tensorrt: {dla_core: 0}}\n",
            "config.choice",
            "detector.tensorrt",
            2,
            "fp16 and int8",
            id="dla",
        ),
        pytest.param(CAMERA + "segmentation: {batch: 8}\n", "config.choice", "segmentation.batch", 2, "one at a time", id="maps"),
        pytest.param(CAMERA + "detector: {engine: ''}\n", "config.length", "detector.engine", 2, "empty", id="empty engine"),
        pytest.param("cameras: {event: {source: 'street:'}}", "camera.id", "cameras.event", 1, "reserved", id="reserved id"),
        pytest.param("cameras: {a/+/b: {source: 'street:'}}", "camera.id", "cameras['a/+/b']", 1, "a-b", id="topic in id"),
        pytest.param("cameras: {'': {source: 'street:'}}", "camera.id", "cameras['']", 1, "1 to 64", id="empty id"),
        pytest.param(
            f"cameras: {{{'x' * 65}: {{source: 'street:'}}}}", "camera.id", f"cameras['{'x' * 39}…']", 1, "1 to 64", id="id of 65"
        ),
        pytest.param("cameras:\n  door:\n", "config.missing_key", "cameras.door.source", 2, "pictures come from", id="no source"),
        pytest.param("cameras: {door: street}", "config.type", "cameras.door", 1, "expected a mapping", id="camera as text"),
        pytest.param(
            "cameras: {door: {source: 5}}", "config.type", "cameras.door.source", 1, "text such as", id="source as number"
        ),
        pytest.param(
            "cameras: {door: {source: {type: network, url: 'rtsp://cam', tls: {verify: false}}}}",
            "camera.tls",
            "cameras.door.source.tls",
            1,
            "only rtsps:// and https:// are encrypted",
            id="tls without encryption",
        ),
        pytest.param(
            "cameras: {door: {source: {type: network, url: 'rtsps://cam', transport: udp}}}",
            "camera.transport",
            "cameras.door.source.transport",
            1,
            "leave udp out",
            id="UDP of RTSPS",
        ),
        pytest.param("cameras: {door: {source: ''}}", "camera.url", "cameras.door.source", 1, "empty", id="empty source"),
        pytest.param(
            "cameras: {door: {source: 'file:///etc/shadow'}}", "camera.url", "cameras.door.source", 1, "bare path", id="file url"
        ),
        pytest.param(
            "cameras: {door: {source: 'concat:a|b'}}", "camera.url", "cameras.door.source", 1, "not allowed", id="concat"
        ),
        pytest.param(
            "cameras: {door: {source: 'rstp://cam/1'}}",
            "camera.url",
            "cameras.door.source",
            1,
            "did you mean rtsp?",
            id="scheme misspelt",
        ),
        pytest.param(
            "cameras: {door: {source: 'rtsp://'}}", "camera.url", "cameras.door.source", 1, "expected a URL", id="no host"
        ),
        pytest.param(
            "cameras: {door: {source: 'gstreamer: videotestsrc'}}",
            "camera.url",
            "cameras.door.source",
            1,
            "needs {type: gstreamer",
            id="pipeline as text",
        ),
        pytest.param("cameras: {door: {source: 'street:x'}}", "camera.url", "cameras.door.source", 1, "whole number", id="seed"),
        pytest.param(
            "cameras: {door: {source: {url: 'rtsp://a'}}}",
            "config.choice",
            "cameras.door.source",
            1,
            "expected type:",
            id="no type",
        ),
        pytest.param(
            "cameras: {door: {source: {type: fil}}}",
            "config.choice",
            "cameras.door.source",
            1,
            "did you mean file?",
            id="unknown type",
        ),
        pytest.param(
            "cameras: {door: {source: {type: file, path: a, pth: b}}}",
            "config.unknown_key",
            "cameras.door.source.pth",
            1,
            "did you mean path?",
            id="unknown key of source",
        ),
        pytest.param(
            "cameras: {door: {source: {type: gstreamer, pipeline: a, width: 64}}}",
            "config.missing_key",
            "cameras.door.source.height",
            1,
            "Height",
            id="no height",
        ),
        pytest.param(
            "cameras: {door: {source: {type: gstreamer, pipeline: videotestsrc !, width: 64, height: 64}}}",
            "camera.pipeline",
            "cameras.door.source.pipeline",
            1,
            "without a sink",
            id="pipeline with an open end",
        ),
        pytest.param(
            "cameras: {door: {source: {type: snapshot, url: 'rtsp://a'}}}",
            "camera.url",
            "cameras.door.source.url",
            1,
            "http or https",
            id="snapshot over rtsp",
        ),
        pytest.param(
            "cameras: {door: {source: {type: v4l2, device: /etc/shadow}}}",
            "config.type",
            "cameras.door.source.device",
            1,
            "/dev/",
            id="device elsewhere",
        ),
        pytest.param(_door("fps: 0"), "config.range", "cameras.door.fps", 4, "more than 0", id="fps at its bound"),
        pytest.param(_door("thresold: 1"), "config.unknown_key", "cameras.door.thresold", 4, "known here:", id="unknown key"),
        pytest.param(
            _door("schedule: [{from: '7:00', to: '08:00'}]"),
            "config.schedule",
            "cameras.door.schedule[0].from",
            4,
            "time of day",
            id="time of day",
        ),
        pytest.param(
            _door("schedule: [{days: [], from: '07:00', to: '08:00'}]"),
            "config.length",
            "cameras.door.schedule[0].days",
            4,
            "at least 1",
            id="no days",
        ),
        pytest.param(
            _door("schedule: [{days: [Monday], from: '07:00', to: '08:00'}]"),
            "config.choice",
            "cameras.door.schedule[0].days[0]",
            4,
            "did you mean mon?",
            id="day",
        ),
        pytest.param(
            _door("motion: {ignore: [[[0, 0], [1, 0]]]}"),
            "config.polygon",
            "cameras.door.motion.ignore[0]",
            4,
            "at least 3",
            id="two corners",
        ),
        pytest.param(
            _door("detect: {classes: {car: {min_width_ratio: 0.5, max_width_ratio: 0.4}}}"),
            "config.range",
            "cameras.door.detect.classes.car.max_width_ratio",
            4,
            "min_width_ratio",
            id="no box fits",
        ),
        pytest.param(
            _door("objects: {classes: []}"), "config.length", "cameras.door.objects.classes", 4, "at least 1", id="no classes"
        ),
        pytest.param(
            _door("objects: {classes: [car, car]}"),
            "config.duplicate_key",
            "cameras.door.objects.classes",
            4,
            "twice",
            id="class twice",
        ),
        pytest.param(
            _door("zones: {a b: {polygon: [[0, 0], [1, 0], [1, 1]]}}"),
            "config.id",
            "cameras.door.zones['a b']",
            4,
            "a-b",
            id="zone's name",
        ),
        pytest.param(
            _door("zones: {a: {polygon: [[0, 0], [1.5, 0], [1, 1]]}}"),
            "config.range",
            "cameras.door.zones.a.polygon[1][0]",
            4,
            "at most 1",
            id="outside the picture",
        ),
        pytest.param(
            _door("zones: {a: {polygon: [[0, 0], [1, 0], [1]]}}"),
            "config.polygon",
            "cameras.door.zones.a.polygon[2]",
            4,
            "[x, y]",
            id="point of one number",
        ),
        pytest.param(
            _door("zones: {a: {polygon: [[0, 0], [1, 1], [1, 0], [0, 1]]}}"),
            "config.polygon",
            "cameras.door.zones.a.polygon",
            4,
            "corners 1 and 3",
            id="bow tie",
        ),
        pytest.param(
            _door("zones: {a: {polygon: [[0, 0], [0.5, 0.5], [1, 1]]}}"),
            "config.polygon",
            "cameras.door.zones.a.polygon",
            4,
            "no area",
            id="flat",
        ),
        pytest.param(
            _door("zones: {a: {polygon: [[0, 0], [1, 0], [1, 1], [0, 0]]}}"),
            "config.polygon",
            "cameras.door.zones.a.polygon",
            4,
            "repeats the first",
            id="closed",
        ),
        pytest.param(
            _door("zones: {a: {polygon: [[0, 0], [1, 0], [1, 0], [1, 1]]}}"),
            "config.polygon",
            "cameras.door.zones.a.polygon",
            4,
            "corners 2 and 3",
            id="corner twice",
        ),
        pytest.param(
            _door("zones: {a: {polygon: [[0, 0], [1, 0], [1, 1]], dwell_repeat_s: 3}}"),
            "config.missing_key",
            "cameras.door.zones.a.dwell_repeat_s",
            4,
            "dwell_s",
            id="repeat alone",
        ),
        pytest.param(
            _door("zones: {a: {polygon: [[0, 0], [1, 0], [1, 1]], anchor: bottom}}"),
            "config.choice",
            "cameras.door.zones.a.anchor",
            4,
            "bottom_centre",
            id="anchor",
        ),
        pytest.param(
            _door("lines: {a: {from: [0.5, 0.5], to: [0.5, 0.5]}}"),
            "config.line",
            "cameras.door.lines.a.to",
            4,
            "length",
            id="line without length",
        ),
        pytest.param(
            _door("lines: {a: {to: [0.5, 0.5]}}"),
            "config.missing_key",
            "cameras.door.lines.a.from",
            4,
            "Where it begins",
            id="line without beginning",
        ),
        pytest.param(
            _door("lines: {a: {form: [0, 0], from: [1, 1], to: [0.5, 0.5]}}"),
            "config.unknown_key",
            "cameras.door.lines.a.form",
            4,
            "did you mean from?",
            id="alias suggested",
        ),
        pytest.param(
            _door("privacy: {hide: []}"), "config.length", "cameras.door.privacy.hide", 4, "leave the key out", id="hide nothing"
        ),
        pytest.param(
            _door("privacy: {show: null}"),
            "config.length",
            "cameras.door.privacy.show",
            4,
            "leave the key out",
            id="show left empty",
        ),
        pytest.param(
            _door("privacy: {polygons: [[[0, 0], [1, 1]]]}"),
            "config.polygon",
            "cameras.door.privacy.polygons[0]",
            4,
            "at least 3 corners",
            id="private area of two corners",
        ),
        pytest.param(
            _door("privacy: {style: blur}"), "config.choice", "cameras.door.privacy.style", 4, "fill", id="no such style"
        ),
    ],
)
def test_config_mistake_has_code_place_line_and_mend(text: str, code: str, where: str, line: int | None, hint: str) -> None:
    """Each kind of mistake is found, alone, where it stands, with what to do."""
    (found,) = mistakes(text)

    assert (found.code, found.where, found.line) == (code, where, line)
    assert hint in found.message


def test_config_all_mistakes_come_at_once_in_file_order() -> None:
    """A person mends a file in one go, whatever layer found the mistakes."""
    text = "devise: x\nlog: {level: no}\ncameras:\n  door:\n    fps: 99\n    fps: 5\n  event: {source: ftp://a}\n"

    found = [(mistake.line, mistake.code, mistake.where) for mistake in mistakes(text)]

    assert found == [
        (1, "config.unknown_key", "devise"),
        (2, "config.type", "log.level"),
        (4, "config.missing_key", "cameras.door.source"),
        (6, "config.duplicate_key", "cameras.door.fps"),
        (7, "camera.id", "cameras.event"),
        (7, "camera.url", "cameras.event.source"),
    ]


def test_config_polygon_may_touch_every_border() -> None:
    """The whole picture is a polygon; its corners lie at the allowed bounds."""
    config = read(_door("zones: {all: {polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}}"))

    assert config.cameras["door"].zones["all"].polygon == ((0, 0), (1, 0), (1, 1), (0, 1))


@pytest.mark.parametrize(
    ("overrides", "code", "where"),
    [
        pytest.param({"mqtt.port": "x"}, "config.type", "mqtt.port", id="type"),
        pytest.param({"mqtt.prt": "1"}, "config.unknown_key", "mqtt.prt", id="unknown key"),
        pytest.param({"version.x": "1"}, "config.override", "version.x", id="below a number"),
        pytest.param({"version.x.y": "1"}, "config.override", "version.x.y", id="deep below a number"),
        pytest.param({"": "1"}, "config.override", "", id="no name"),
        pytest.param({"log.level": "no"}, "config.type", "log.level", id="surprise"),
        pytest.param({"log": "{level: info"}, "config.syntax", "log", id="open bracket"),
    ],
)
def test_config_wrong_override_is_a_mistake_without_line(overrides: dict[str, str], code: str, where: str) -> None:
    """Overrides are validated like the file, and named as what they are."""
    (found,) = mistakes("version: 1\n" + CAMERA, overrides=overrides)

    assert (found.code, found.where, found.line, found.is_override) == (code, where, None, True)
    assert str(found).startswith("command line: ")


def test_config_mistake_found_after_the_reading_names_the_file_or_the_command_line() -> None:
    """A line of the file is named only where the file said it."""
    config = read("version: 1\n" + CAMERA + "detector: {engine: a, score: 0.5}", overrides={"detector.engine": "b"})

    overridden = config.mistake_at("config.engine", ("detector", "engine"), "none")
    inside = config.mistake_at("config.engine", ("detector", "engine", 0), "none")
    beside = config.mistake_at("config.range", ("detector", "score"), "none")
    above = config.mistake_at("config.type", ("detector",), "none")

    assert str(overridden) == "command line: detector.engine: none [config.engine]"
    assert [(found.is_override, found.line) for found in (overridden, inside)] == [(True, None)] * 2
    assert [(found.is_override, found.line) for found in (beside, above)] == [(False, 3)] * 2


def test_config_overrides_replace_and_add_values() -> None:
    """An override makes the sections above it, and a source is taken as text."""
    overrides = {"mqtt.port": "1884", "cameras.door.source": "street:", "cameras.yard.source": "{type: street, width: 320}"}

    config = read("cameras: {door: {source: clip.mp4}}", overrides=overrides)

    assert config.mqtt.port == 1884
    assert config.cameras["door"].source == StreetSourceConfig(type="street")
    assert config.cameras["yard"].source.width == 320


def test_config_override_of_a_section_by_null_removes_it() -> None:
    """`mqtt=null` sends the events to standard output."""
    assert read(CAMERA + "mqtt: {host: broker}", overrides={"mqtt": "null"}).mqtt is None


def test_config_classes_are_checked_against_the_engine() -> None:
    """Each class that the engine does not know is reported where it stands."""
    config = read("""
detector: {classes: {persn: {score: 0.5}}}
cameras:
  door:
    source: 'street:'
    detect: {classes: {car: {score: 0.5}}}
    objects: {classes: [Person]}
    zones: {a: {polygon: [[0, 0], [1, 0], [1, 1]], classes: [person, dog]}}
    lines:
      b:
        from: [0, 0]
        to: [1, 1]
        classes:
          kar:
""")

    found = check_against_manifest(config, ("person", "car"))

    assert [(mistake.line, mistake.where) for mistake in found] == [
        (2, "detector.classes.persn"),
        (7, "cameras.door.objects.classes.Person"),
        (8, "cameras.door.zones.a.classes.dog"),
        (14, "cameras.door.lines.b.classes.kar"),
    ]
    assert "did you mean person?" in found[1].message
    assert "it knows person, car" in found[2].message


# Secrets


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        pytest.param("{file: secret}", SecretOrigin.FILE, id="file"),
        pytest.param("{env: SECRET}", SecretOrigin.ENV, id="environment"),
        pytest.param("{credential: secret}", SecretOrigin.CREDENTIAL, id="credential"),
        pytest.param(json.dumps(PASSWORD), SecretOrigin.PLAIN, id="plain"),
    ],
)
def test_config_secret_is_read_and_never_shown(given: str, origin: SecretOrigin, tmp_path: Path) -> None:
    """Whoever asks gets the password; nobody else sees it."""
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    (tmp_path / "secret").chmod(0o600)
    environ = {"HOME": "/", "SECRET": PASSWORD, "CREDENTIALS_DIRECTORY": str(tmp_path)}

    config = read(CAMERA + f"mqtt: {{username: u, password: {given}}}", environ=environ, directory=tmp_path)

    secret = config.mqtt.password
    assert secret.reveal() == PASSWORD
    assert secret.origin is origin
    assert str(secret) == "***"
    for shown in (repr(config), str(config), f"{config.mqtt}", config.model_dump_json(), repr(config.warnings)):
        assert PASSWORD not in shown
    assert [warning.where for warning in config.warnings] == (["mqtt.password"] if origin is SecretOrigin.PLAIN else [])


def test_config_password_in_url_is_taken_out_with_a_warning() -> None:
    """The URL that is kept, shown and compared has no credentials any more."""
    url = "rtsp://ad%40min:hun%2Fter2@cam:554/main?channel=1"

    config = read(json.dumps({"cameras": {"door": {"source": url}}}))

    source = config.cameras["door"].source
    assert (source.url, source.username, source.password.reveal()) == ("rtsp://cam:554/main?channel=1", "ad@min", "hun/ter2")
    assert [(warning.code, warning.where, warning.line) for warning in config.warnings] == [
        ("config.secret", "cameras.door.source", 1)
    ]
    assert "hun" not in repr(config) + repr(config.warnings)


def test_config_credentials_in_url_and_beside_it_are_a_mistake() -> None:
    """Which of the two would count is never guessed."""
    source = {"type": "network", "url": "rtsp://a:hunter2@cam", "username": "b"}

    (found,) = mistakes(json.dumps({"cameras": {"door": {"source": source}}}))

    assert (found.code, found.where) == ("camera.url", "cameras.door.source.url")
    assert "hunter2" not in found.message


@pytest.mark.parametrize(
    ("mqtt", "warned"),
    [
        pytest.param("{host: broker}", True, id="broker asks for no name"),
        pytest.param("{host: broker, tls: {}}", True, id="encrypted, no name"),
        pytest.param("{host: broker, username: gate}", False, id="name"),
        pytest.param("{host: 127.0.0.1}", False, id="only this machine reaches it"),
    ],
)
def test_config_commands_at_a_broker_without_names_are_a_warning(mqtt: str, warned: bool) -> None:
    """Whoever may publish may command."""
    config = read(CAMERA + f"mqtt: {mqtt}\ncommands: {{enabled: true}}\n")

    expected = [("config.insecure", "commands.enabled")] if warned else []
    assert [(warning.code, warning.where) for warning in config.warnings] == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("cameras: {door: {source: 'rtsp://u:hunter2/x@cam/1'}}", id="slash in password"),
        pytest.param("cameras: {door: {source: 'rtsp://u:hunter2@cam:port/1'}}", id="port"),
        pytest.param("cameras: {door: {source: 'rtps://u:hunter2@cam/1'}}", id="scheme"),
        pytest.param("cameras: {door: {source: {type: network, url: 'rtsp://u:hunter2''x@ cam'}}}", id="quote and space"),
        pytest.param("cameras: {door: {source: {type: network, url: ['rtsp://u:hunter2@cam']}}}", id="list"),
        pytest.param(
            "cameras: {door: {source: {type: network, url: 'rtsp://u:hunter2@cam', transport: x}}}", id="other key wrong"
        ),
        pytest.param("cameras: {door: {source: {type: network, uri: 'rtsp://u:hunter2@cam'}}}", id="key misspelt"),
        pytest.param("cameras: {door: {source: ['rtsp://u:hunter2@cam']}}", id="list of sources"),
        pytest.param(
            "cameras: {door: {source: {type: gstreamer, pipeline: 'rtspsrc location=rtsp://u:hunter2@cam', width: 64}}}",
            id="pipeline",
        ),
        pytest.param(CAMERA + "mqtt: {password: [hunter2]}", id="password in list"),
        pytest.param(CAMERA + "mqtt: {password: {file: a, hunter2: b}}", id="password as key beside another"),
        pytest.param(CAMERA + "mqtt: {password: hunter2}", id="password without user"),
        pytest.param(CAMERA + "mqtt: {pasword: hunter2}", id="password's key misspelt"),
        pytest.param(CAMERA + 'mqtt: {password: "hunter2}', id="quote left open"),
        pytest.param(CAMERA + "mqtt: {username: u, password: hunter2, host: ''}", id="host empty"),
    ],
)
def test_config_error_never_shows_a_password(text: str) -> None:
    """Neither the message nor the traceback of a wrong file repeats what may be secret."""
    with pytest.raises(ConfigError) as caught:
        read(text)

    said = str(caught.value)
    chained = [str(error) for error in (caught.value.__cause__, caught.value.__context__) if error]
    assert "hunter2" not in said + "".join(chained)
    assert "hunter2" not in "".join(traceback.format_exception_only(caught.value))


def test_config_secret_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    """A password file is for its owner."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)

    config = read(CAMERA + "mqtt: {username: u, password: {file: secret}}", directory=tmp_path)

    assert "chmod 600" in config.warnings[0].message


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"\n", "empty", id="line end only"),
        pytest.param(b"a\nb\n", "more than one line", id="two lines"),
        pytest.param(b"\xff", "UTF-8", id="binary"),
        pytest.param(b"x" * 65_537, "no password", id="too large"),
    ],
)
def test_config_secret_file_without_a_password_is_a_mistake(body: bytes, hint: str, tmp_path: Path) -> None:
    """What cannot be a password is refused instead of sent."""
    (tmp_path / "secret").write_bytes(body)

    (found,) = mistakes(CAMERA + "mqtt: {username: u, password: {file: secret}}", directory=tmp_path)

    assert found.code == "config.secret"
    assert hint in found.message


def test_config_secret_file_that_vanishes_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text and mode are those of the one file that was opened, whatever becomes of its name."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)

    def vanish(path: Path, flags: int) -> int:
        descriptor = open_file(path, flags)
        path.unlink()
        return descriptor

    open_file = os.open
    monkeypatch.setattr(os, "open", vanish)

    config = read(CAMERA + "mqtt: {username: u, password: {file: secret}}", directory=tmp_path)

    assert config.mqtt.password.reveal() == "x"
    assert "chmod 600" in config.warnings[0].message


@pytest.mark.parametrize("kind", ["file", "credential"])
def test_config_secret_file_lost_on_the_way_is_a_mistake(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network folder that goes away in between is told with its place, like everything else that is wrong."""
    (tmp_path / "secret").write_text("x")

    def fail(*_: object) -> int:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "open", fail)

    (found,) = mistakes(
        CAMERA + f"mqtt: {{username: u, password: {{{kind}: secret}}}}",
        directory=tmp_path,
        environ={"HOME": "/", "CREDENTIALS_DIRECTORY": str(tmp_path)},
    )

    assert (found.code, found.where, found.line) == ("config.secret", "mqtt.password", 2)
    assert found.message == f"{tmp_path}/secret: Stale file handle"


@pytest.mark.parametrize(
    ("mqtt", "where"),
    [
        pytest.param("{host: broker, username: u, password: {env: P}}", "mqtt.password", id="password without tls"),
        pytest.param("{host: broker, tls: {verify: false}}", "mqtt.tls.verify", id="any broker"),
    ],
)
def test_config_insecure_broker_is_a_warning(mqtt: str, where: str) -> None:
    """Unwise settings work, and say so."""
    config = read(CAMERA + f"mqtt: {mqtt}", environ={"HOME": "/", "P": "x"})

    assert [(warning.code, warning.where) for warning in config.warnings] == [("config.insecure", where)]


@pytest.mark.parametrize(
    ("privacy", "segmentation", "camera", "hint"),
    [
        pytest.param("{hide: [car]}", "{}", "true", "segmentation.enabled", id="no maps"),
        pytest.param("{show: [road]}", "{enabled: true}", "false", "set its segmentation: true", id="no maps of this camera"),
        pytest.param("{hide: [car]}", "{enabled: true, every_s: 3}", "true", "every 3 s and count for 1 s", id="too seldom"),
        pytest.param("{hide: [car], map_age_s: 3}", "{enabled: true, every_s: 3}", "true", None, id="often enough"),
        pytest.param("{}", "{}", "true", None, id="nothing to hide"),
    ],
)
def test_config_classes_hidden_without_maps_are_a_warning(privacy: str, segmentation: str, camera: str, hint: str | None) -> None:
    """Then everything is hidden, which somebody may not have meant."""
    door = f"{{source: 'street:', segmentation: {camera}, privacy: {privacy}}}"

    warnings = read(f"segmentation: {segmentation}\ncameras: {{door: {door}}}").warnings

    private = [warning for warning in warnings if warning.where.startswith("cameras.door.privacy.")]
    assert [hint in warning.message for warning in private] == ([True] if hint else [])


@pytest.mark.parametrize(
    ("segmentation", "camera", "where"),
    [
        pytest.param("{}", "{}", ["cameras.door.zones.way.blocked", "cameras.door.zones.way.covered_by"], id="no maps at all"),
        pytest.param("{enabled: true}", "{segmentation: false}", ["segmentation.enabled"], id="of no camera"),
        pytest.param("{enabled: true}", "{}", [], id="maps"),
    ],
)
def test_config_rules_about_maps_that_nobody_makes_are_a_warning(segmentation: str, camera: str, where: list[str]) -> None:
    """They would never say anything."""
    zone = {
        "polygon": [[0, 0], [1, 0], [0, 1]],
        "blocked": {"classes": ["car"], "above": 0.5},
        "covered_by": [{"name": "van", "classes": ["car"], "above": 0.5}],
    }
    door = {"source": "street:", "zones": {"way": zone}, **load_yaml(camera, source="camera").data}

    config = read(f"segmentation: {segmentation}\ncameras: {{door: {json.dumps(door)}}}\n")

    assert [(warning.code, warning.where) for warning in config.warnings] == [("config.idle", place) for place in where]


def test_config_rules_about_maps_of_the_one_camera_without_them_are_a_warning() -> None:
    """Though others have maps; the mend is the camera's own key."""
    zone = {"polygon": [[0, 0], [1, 0], [0, 1]], "blocked": {"classes": ["car"], "above": 0.5}}
    door = {"source": "street:", "segmentation": False, "zones": {"way": zone}}

    config = read(f"segmentation: {{enabled: true}}\ncameras: {{gate: {{source: 'street:'}}, door: {json.dumps(door)}}}\n")

    assert [warning.where for warning in config.warnings] == ["cameras.door.zones.way.blocked"]
    assert "set its segmentation: true" in config.warnings[0].message


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param({"classes": ["car"]}, "needs above (these block it) or below", id="neither bound"),
        pytest.param({"classes": ["car"], "above": 0.5, "below": 0.2}, "not both", id="both bounds"),
        pytest.param({"classes": ["car"], "above": 0.05}, "would never be over", id="at the hysteresis"),
        pytest.param({"classes": ["car"], "below": 0.95}, "would never be over", id="below at the hysteresis"),
        pytest.param({"classes": [], "above": 0.5}, "expected at least 1", id="no class"),
        pytest.param({"classes": ["car", "car"], "above": 0.5}, "the class 'car' stands twice", id="a class twice"),
        pytest.param({"classes": ["car"], "above": 1.5}, "at most 1", id="more than all"),
    ],
)
def test_config_blocked_that_cannot_be_is_refused(rule: dict, message: str) -> None:
    """With what would be right."""
    zone = {"polygon": [[0, 0], [1, 0], [0, 1]], "blocked": rule}

    with pytest.raises(ConfigError) as caught:
        read(json.dumps({"cameras": {"door": {"source": "street:", "zones": {"way": zone}}}}))

    assert message in str(caught.value)


def test_config_cover_rules_of_a_zone_need_names_of_their_own() -> None:
    """Their events could not be told apart."""
    rule = {"name": "van", "classes": ["car"], "above": 0.5}
    zone = {"polygon": [[0, 0], [1, 0], [0, 1]], "covered_by": [rule, rule]}

    with pytest.raises(ConfigError, match="the name 'van' stands twice"):
        read(json.dumps({"cameras": {"door": {"source": "street:", "zones": {"way": zone}}}}))


def test_config_camera_that_may_be_anybody_is_a_warning() -> None:
    """So it may for trying out, and it is said at every start."""
    source = "{type: network, url: 'rtsps://cam/1', tls: {verify: false}}"

    config = read(f"cameras: {{door: {{source: {source}}}}}")

    assert [(warning.code, warning.where) for warning in config.warnings] == [
        ("config.insecure", "cameras.door.source.tls.verify")
    ]


def test_config_secrets_are_not_read_where_they_are_not_wanted() -> None:
    """A configuration of another machine can be checked here."""
    config = read(CAMERA + "mqtt: {username: u, password: {file: /there/only}}", reads_secrets=False)

    assert config.mqtt.password.reveal() == ""


# Files


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        pytest.param(b"a: \xff", "config.encoding", 1, id="not UTF-8"),
        pytest.param(b"a: 1\nb: \x00", "config.syntax", 2, id="NUL"),
        pytest.param(b"#" * (1 << 20) + b"#", "config.too_large", None, id="over 1 MiB"),
    ],
)
def test_load_config_file_that_is_no_text_is_refused(body: bytes, code: str, line: int | None, tmp_path: Path) -> None:
    """Any file gives an error of its own."""
    (tmp_path / "bad.yaml").write_bytes(body)

    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "bad.yaml", environ={})

    assert [(mistake.code, mistake.line) for mistake in caught.value.mistakes] == [(code, line)]


@pytest.mark.parametrize(
    "name", [pytest.param("none.yaml", id="missing"), pytest.param(".", id="directory"), pytest.param("a\0b", id="NUL in name")]
)
def test_load_config_file_that_cannot_be_opened_is_refused(name: str, tmp_path: Path) -> None:
    """A file that is not there is wrong configuration, too."""
    with pytest.raises(ConfigError, match=r"config\.unreadable"):
        load_config(f"{tmp_path}/{name}", environ={})


def test_load_config_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Editors on other systems write one."""
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + CAMERA.encode())

    config = load_config(tmp_path / "a.yaml", environ={"HOME": "/"})

    assert config.directory == tmp_path
    assert config.mistake_at("", ("cameras", "door", "fps"), "").line == 1


# What ships


def test_example_is_valid_and_says_the_defaults() -> None:
    """What the explained example says of a default is the default."""
    config = read(EXAMPLE.read_text(encoding="utf-8"))
    source = json.dumps({"type": "network", "url": config.cameras["door"].source.url})
    bare = read(f"mqtt: {{}}\ncameras: {{door: {{source: {source}}}}}")

    assert config.model_dump() == bare.model_dump()


def test_example_has_every_key(tmp_path: Path) -> None:
    """No key of the schema is missing in the explained example."""
    text = example_with_everything()
    for name in ("ca.pem", "client.pem", "client.key", "camera.crt"):
        (tmp_path / name).touch()

    read(text, directory=tmp_path, reads_secrets=False)

    assert _schema_keys() - {key for key, _ in _written(load_yaml(text, source="example").data)} == set()


def test_example_of_a_rule_shows_its_defaults() -> None:
    """The commented zone and line show the defaults that RULES chose."""
    door = load_yaml(example_with_everything(), source="example").data["cameras"]["door"]
    plain = read(_door("zones: {a: {polygon: [[0, 0], [1, 0], [1, 1]]}}\n    lines: {b: {from: [0, 0], to: [1, 1]}}"))

    zone, line = plain.cameras["door"].zones["a"], plain.cameras["door"].lines["b"]
    for name in ("hysteresis_ratio", "settle_s", "anchor"):
        assert door["zones"]["porch"][name] == getattr(zone, name)
    for name in ("hysteresis_ratio", "anchor"):
        assert door["lines"]["gate"][name] == getattr(line, name)


def _schema_keys() -> set[str]:
    """Every key that any section knows, with the section's name."""
    definitions = {"Config": make_schema(), **make_schema()["$defs"]}
    return {key for name, schema in definitions.items() if name != "Anchor" for key in schema.get("properties", {})}


def _written(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield key, value
            yield from _written(value)
    elif isinstance(node, list):
        for item in node:
            yield from _written(item)


def test_demo_has_the_zones_and_lines_of_the_street() -> None:
    """The demo shows exactly what the street's referee judges."""
    street = load_config(ROOT / "configs" / "demo.yaml", environ={"HOME": "/"}).cameras["street"]

    zones = {zone.name: (zone.polygon_norm, set(zone.classes), zone.dwell_s) for zone in STREET_ZONES}
    assert {name: (zone.polygon, set(zone.classes), zone.dwell_s) for name, zone in street.zones.items()} == zones
    lines = {line.name: (line.start_norm, line.end_norm, set(line.classes)) for line in STREET_LINES}
    assert {name: (line.from_, line.to, set(line.classes)) for name, line in street.lines.items()} == lines


@pytest.mark.skipif(pydantic.VERSION != PINNED_PYDANTIC, reason=f"schemas are written with pydantic {PINNED_PYDANTIC}")
def test_shipped_schemas_are_those_of_the_code() -> None:
    """Editors and subscribers see what edged reads and writes."""
    assert find_stale(ROOT) == []


def test_schema_accepts_what_ships_and_refuses_a_typo() -> None:
    """The schema and the models agree on the examples."""
    validator = jsonschema.Draft202012Validator(json.loads(encode_schema()))
    example = load_yaml(example_with_everything(), source="example").data
    wrong = copy.deepcopy(example)
    wrong["cameras"]["door"]["fsp"] = 5

    assert list(validator.iter_errors(example)) == []
    assert [list(error.path) for error in validator.iter_errors(wrong)] == [["cameras", "door"]]


def test_schema_every_key_is_described_and_every_number_bounded() -> None:
    """Nobody has to read the code to know what a key means."""
    for name, section in {"Config": make_schema(), **make_schema()["$defs"]}.items():
        for key, schema in section.get("properties", {}).items():
            shapes = [shape for shape in (schema, *schema.get("anyOf", [])) if "const" not in shape]
            assert schema.get("description") or "$ref" in schema, f"{name}.{key}"
            for shape in shapes:
                if shape.get("type") in ("number", "integer"):
                    assert schema.get("unit"), f"{name}.{key}"
                    assert {"minimum", "exclusiveMinimum"} & shape.keys(), f"{name}.{key}"
                    assert {"maximum", "exclusiveMaximum"} & shape.keys(), f"{name}.{key}"


# Any input


_KEYS = st.sampled_from([*sorted(_schema_keys()), "door", "person", "", "a/b", "é"])
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "street:",
            "rtsp://u:p@h/x",
            "rtsp://[",
            "http://h:99999",
            "file:/x",
            "/dev/video0",
            "24:00",
            "a\0b",
            "network",
            "..",
            "~",
        ]
    ),
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4)), max_leaves=12
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES, max_size=5), st.dictionaries(_KEYS, _VALUES, max_size=8))
def test_config_any_data_is_read_or_refused(top: dict[str, Any], door: dict[str, Any]) -> None:
    """Whatever stands in a file, the answer is a configuration or a ConfigError that can be printed."""
    text = json.dumps({**top, "cameras": {"door": door}})

    try:
        read(text)
    except ConfigError as error:
        str(error).encode()


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=30), max_size=3))
def test_config_any_override_is_read_or_refused(overrides: dict[str, str]) -> None:
    """Whatever is given on the command line, the answer is a configuration or a ConfigError."""
    try:
        read(CAMERA, overrides=overrides)
    except ConfigError as error:
        str(error).encode()
