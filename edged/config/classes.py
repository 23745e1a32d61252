"""Whether the classes that a configuration names are classes of its engine."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from edged.config.models import Config
from edged.errors import Mistake
from edged.strict_yaml import KeyPath


def check_against_manifest(config: Config, class_names: Collection[str]) -> list[Mistake]:
    """A mistake for each name that the engine's manifest does not have, in file order.

    Args:
        config: as read.
        class_names: the engine's.
    """
    mistakes = [
        config.mistake_at("config.class_unknown", path, _message(str(path[-1]), class_names))
        for path in _named_classes(config)
        if path[-1] not in class_names
    ]
    return sorted(mistakes, key=lambda found: found.line or 0)


def _message(name: str, class_names: Collection[str]) -> str:
    near = difflib.get_close_matches(name.lower(), list(class_names), n=1)
    hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(class_names)}"
    return f"the engine has no class {name!r:.60}; {hint}"


def _named_classes(config: Config) -> Iterator[KeyPath]:
    """The path of every class name in the file."""
    sections: list[tuple[KeyPath, Collection[str] | None]] = [(("detector",), config.detector.classes)]
    for camera_id, camera in config.cameras.items():
        path: KeyPath = ("cameras", camera_id)
        sections.append(((*path, "detect"), camera.detect.classes))
        sections.append(((*path, "objects"), camera.objects.classes))
        sections += [((*path, "zones", name), zone.classes) for name, zone in camera.zones.items()]
        sections += [((*path, "lines", name), line.classes) for name, line in camera.lines.items()]
    for path, classes in sections:
        yield from ((*path, "classes", name) for name in classes or ())
