"""Whether the classes that a configuration names are classes of its engines."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from edged.config.models import Config
from edged.errors import Mistake
from edged.strict_yaml import KeyPath


def check_against_manifest(config: Config, class_names: Collection[str]) -> list[Mistake]:
    """A mistake for each name that the detector's manifest does not have, in file order.

    Args:
        config: as read.
        class_names: the detector's.
    """
    named = [(path, str(path[-1])) for path in _named_classes(config)]
    return _unknown(config, named, class_names)


def check_against_segmenter(config: Config, class_names: Collection[str]) -> list[Mistake]:
    """A mistake for each name that the segmenter's manifest does not have, in file order.

    Args:
        config: as read.
        class_names: the segmenter's.
    """
    named = [((*path, index), name) for path, names in _mapped_classes(config) for index, name in enumerate(names or ())]
    return _unknown(config, named, class_names)


def _unknown(config: Config, named: list[tuple[KeyPath, str]], class_names: Collection[str]) -> list[Mistake]:
    mistakes = [
        config.mistake_at("config.class_unknown", path, _message(name, class_names))
        for path, name in named
        if name not in class_names
    ]
    return sorted(mistakes, key=lambda found: found.line or 0)


def _message(name: str, class_names: Collection[str]) -> str:
    near = difflib.get_close_matches(name.lower(), list(class_names), n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return f"the engine has no class {name!r:.60}; {guess}it knows {', '.join(class_names)}"


def _mapped_classes(config: Config) -> Iterator[tuple[KeyPath, Collection[str] | None]]:
    """Every list of classes of the segmenter in the file, with its path."""
    yield ("segmentation", "surfaces"), config.segmentation.surfaces
    yield ("segmentation", "moving"), config.segmentation.moving
    for camera_id, camera in config.cameras.items():
        path: KeyPath = ("cameras", camera_id)
        yield (*path, "areas", "classes"), camera.areas.classes
        yield (*path, "privacy", "hide"), camera.privacy.hide
        yield (*path, "privacy", "show"), camera.privacy.show
        for name, zone in camera.zones.items():
            below = (*path, "zones", name)
            yield (*below, "areas"), zone.areas
            yield (*below, "blocked", "classes"), zone.blocked and zone.blocked.classes
            for index, rule in enumerate(zone.covered_by):
                yield (*below, "covered_by", index, "classes"), rule.classes


def _named_classes(config: Config) -> Iterator[KeyPath]:
    """The path of every class name of the detector in the file."""
    sections: list[tuple[KeyPath, Collection[str] | None]] = [(("detector",), config.detector.classes)]
    for camera_id, camera in config.cameras.items():
        path: KeyPath = ("cameras", camera_id)
        sections.append(((*path, "detect"), camera.detect.classes))
        sections.append(((*path, "objects"), camera.objects.classes))
        sections += [((*path, "zones", name), zone.classes) for name, zone in camera.zones.items()]
        sections += [((*path, "lines", name), line.classes) for name, line in camera.lines.items()]
    for path, classes in sections:
        yield from ((*path, "classes", name) for name in classes or ())
