"""What of a configuration that was read again counts at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.config import Changes, Config, find_changes, parse_config
from edged.errors import ConfigError
from edged.strict_yaml import format_path

SQUARE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]
BEFORE = {
    "device": "gate",
    "state_dir": "state",
    "mqtt": {"host": "broker", "username": "edged", "password": "old"},
    "cameras": {
        "door": {"source": "street:", "zones": {"hall": {"polygon": SQUARE}}},
        "yard": {"source": "street:7"},
        "off": {"source": "street:8", "enabled": False},
    },
}


def read(document: dict, *, source: str = "edged.yaml") -> Config:
    return parse_config(json.dumps(document), source=source, directory=Path(), environ={}, host_name="vm")


def changed(**cameras: dict) -> dict:
    """The document with other keys of some cameras."""
    return {**BEFORE, "cameras": {name: {**camera, **cameras.get(name, {})} for name, camera in BEFORE["cameras"].items()}}


def find(document: dict, *, map_class_names: tuple[str, ...] | None = None) -> Changes:
    return find_changes(read(BEFORE), read(document), class_names=("person", "car"), map_class_names=map_class_names)


def waiting(changes: Changes) -> list[str]:
    return [format_path(path) for path in changes.waiting]


def test_nothing_that_changed_is_no_change() -> None:
    """What counts is equal, but for where it was read."""
    changes = find(BEFORE)

    assert (changes.cameras, changes.waiting) == ((), ())


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"zones": {"hall": {"polygon": SQUARE[::-1]}}}, id="corner"),
        pytest.param({"zones": {}}, id="no zone"),
        pytest.param({"lines": {"gate": {"from": [0, 0.5], "to": [1, 0.5]}}}, id="line"),
        pytest.param({"objects": {"update_every_s": 3}}, id="objects"),
        pytest.param({"areas": {"min_change_ratio": 0.1}}, id="areas"),
        pytest.param({"privacy": {"pixelate": "nobody"}}, id="privacy"),
    ],
)
def test_rules_of_a_camera_count_at_once(keys: dict) -> None:
    """And of no other camera."""
    changes = find(changed(door=keys))

    assert (changes.cameras, changes.waiting) == (("door",), ())
    assert changes.config.cameras == read(changed(door=keys)).cameras


def test_all_else_waits_for_a_restart_and_is_named() -> None:
    """A secret, too, and cameras that come or go; what can count at once does."""
    document = changed(door={"fps": 7, "detect": {"score": 0.5}, "zones": {}}, off={"enabled": True})
    document["mqtt"] = {**BEFORE["mqtt"], "password": "new", "port": 1884}
    document["cameras"]["roof"] = {"source": "street:9"}
    del document["cameras"]["yard"]

    changes = find(document)

    assert changes.cameras == ("door",)
    assert sorted(waiting(changes)) == [
        "cameras.door.detect.score",
        "cameras.door.fps",
        "cameras.off.enabled",
        "cameras.roof",
        "cameras.yard",
        "mqtt.password",
        "mqtt.port",
    ]
    assert changes.config.cameras["door"].fps == 5
    assert changes.config.cameras["door"].zones == {}
    assert changes.config.mqtt.password.reveal() == "old"
    assert find_changes(changes.config, read(document), class_names=(), map_class_names=None).cameras == ()


def test_rules_of_a_camera_that_is_off_change_nothing() -> None:
    """There is nobody who would go by them."""
    assert find(changed(off={"zones": {"hall": {"polygon": SQUARE}}})).cameras == ()


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        pytest.param({"classes": {"cat": {}}}, "cat", id="detector"),
        pytest.param({"blocked": {"classes": ["water"], "above": 0.5}}, "water", id="segmenter"),
    ],
)
def test_classes_that_the_networks_do_not_know_are_refused(zone: dict, message: str) -> None:
    """With the place in the file that was read."""
    document = changed(door={"zones": {"hall": {"polygon": SQUARE, **zone}}})
    text = json.dumps(document, indent=1)
    read_again = parse_config(text, source="edged.yaml", directory=Path(), environ={}, host_name="vm")

    with pytest.raises(ConfigError, match=message) as caught:
        find_changes(read(BEFORE), read_again, class_names=("person", "car"), map_class_names=("road",))

    lines = [number for number, line in enumerate(text.splitlines(), start=1) if f'"{message}"' in line]
    assert [mistake.line for mistake in caught.value.mistakes] == lines
