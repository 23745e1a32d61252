"""What of a configuration that was read again counts at once, and what only after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edged.config.classes import check_against_manifest, check_against_segmenter
from edged.config.models import Config
from edged.config.values import Section
from edged.errors import ConfigError
from edged.strict_yaml import KeyPath

LIVE_KEYS = ("objects", "areas", "privacy", "zones", "lines")
"""Of a camera: what changes while it runs, without losing what is known of its objects."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What reading a configuration again amounts to.

    Attributes:
        config: what counts from now on: the one before, with the `LIVE_KEYS` of the new one.
        cameras: those for which that is something else.
        waiting: other keys that differ: they count after a restart.
    """

    config: Config
    cameras: tuple[str, ...]
    waiting: tuple[KeyPath, ...]


def find_changes(
    before: Config, read: Config, *, class_names: tuple[str, ...], map_class_names: tuple[str, ...] | None
) -> Changes:
    """Compare the configuration that counts with the one that was read.

    Args:
        class_names: of the detector that runs.
        map_class_names: of the segmenter that runs; None where none does.

    Raises:
        ConfigError: what would count from now on names classes that these networks do not know.
    """
    cameras = {
        name: camera.model_copy(update={key: getattr(read.cameras[name], key) for key in LIVE_KEYS})
        if name in read.cameras
        else camera
        for name, camera in before.cameras.items()
    }
    config = before.model_copy(update={"cameras": cameras}).with_reading(read.reading)
    mistakes = check_against_manifest(config, class_names)
    if map_class_names is not None:
        mistakes = [*mistakes, *check_against_segmenter(config, map_class_names)]
    if mistakes:
        raise ConfigError(config.source, mistakes)
    changed = tuple(name for name, camera in before.cameras.items() if camera.enabled and camera != cameras[name])
    return Changes(config, changed, tuple(_differences(config, read, ())))


def _differences(before: object, now: object, path: KeyPath) -> Iterator[KeyPath]:
    """The keys below which two values differ; a key that only one has, as a whole."""
    if isinstance(before, Section) and type(before) is type(now):
        for name, field in type(before).model_fields.items():
            yield from _differences(getattr(before, name), getattr(now, name), (*path, field.alias or name))
    elif isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            yield from _differences(before.get(key), now.get(key), (*path, key))
    elif before != now:
        yield path
