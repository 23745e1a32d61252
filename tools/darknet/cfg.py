"""Reading a darknet cfg file: its sections in order, every mistake named by line and layer.

Source: AlexeyAB/darknet @0d0144e, src/parser.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edged.errors import InputError
from tools.darknet.options import KINDS, Net, Options, Route, ScaleChannels, Shortcut

PICTURE = -1
"""Stands for the network's input where a layer's number is expected."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One section.

    Attributes:
        number: darknet's own, from 0.
        inputs: numbers of the layers that it takes, PICTURE for the network's input.
        place: its number, kind and line, for messages.
    """

    number: int
    options: Options
    inputs: tuple[int, ...]
    place: str


@dataclass(frozen=True, slots=True)
class Network:
    """A cfg file. `layers[i].number` is i.

    Attributes:
        source: the file, for messages.
        width, height: of the input that it asks for, pixels.
    """

    source: str
    width: int
    height: int
    layers: tuple[Layer, ...]


@dataclass(slots=True)
class _Section:
    kind: str
    line: int
    options: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


def load_cfg(path: Path) -> Network:
    """Read a cfg file.

    Raises:
        InputError: with every mistake in it, each by line and layer.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a darknet cfg, which is text: {error}") from error
    return parse_cfg(text, source=str(path))


def parse_cfg(text: str, *, source: str) -> Network:
    """The network that a cfg describes.

    Raises:
        InputError: as of `load_cfg`.
    """
    mistakes: list[str] = []
    sections = _split_sections(text, mistakes)
    if not sections or sections[0].kind != "net":
        mistakes.append("expected [net] with width and height as the first section")
    net = _read_options(Net, sections[0], "[net]", mistakes) if sections and sections[0].kind == "net" else None
    layers = [_read_layer(number, section, mistakes) for number, section in enumerate(sections[1:])]
    if net and not any(section.kind == "yolo" for section in sections):
        mistakes.append("no [yolo] section: only detectors with such heads can be imported")
    if mistakes:
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"
        raise InputError(f"{source}: {count} in the network's description\n  " + "\n  ".join(mistakes))
    return Network(source, net.width, net.height, tuple(layers))


def _split_sections(text: str, mistakes: list[str]) -> list[_Section]:
    sections: list[_Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.split("[#;]", raw, maxsplit=1)[0].strip()
        key, equals, value = (part.strip() for part in line.partition("="))
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append(_Section(line[1:-1].strip(), number))
        elif not equals or not sections:
            mistakes.append(f"line {number}: expected [section], and below it key=value, got {line[:40]!r}")
        elif key in sections[-1].options:
            first = sections[-1].lines[key]
            mistakes.append(f"line {number}: {key} stands in this section already, on line {first}: keep one")
        else:
            sections[-1].options[key] = value
            sections[-1].lines[key] = number
    return sections


def _read_layer(number: int, section: _Section, mistakes: list[str]) -> Layer | None:
    place = f"layer {number} [{section.kind}]"
    kind = KINDS.get(section.kind)
    if kind is None:
        known = ", ".join(f"[{name}]" for name in KINDS)
        mistakes.append(f"line {section.line}: {place}: a section that cannot be imported; known: {known}")
        return None
    options = _read_options(kind, section, place, mistakes)
    if options is None:
        return None
    inputs = _inputs_of(options, number)
    for reference in inputs:
        if not (0 <= reference < number or reference == PICTURE == number - 1):
            mistakes.append(f"line {section.line}: {place}: takes a layer that is not one of the {number} before it")
    return Layer(number, options, inputs, f"line {section.line}: {place}")


def _inputs_of(options: Options, number: int) -> tuple[int, ...]:
    """Numbers of the layers that a layer takes. Below 0 a reference counts back from the layer itself."""

    def resolve(reference: int) -> int:
        return reference if reference >= 0 else (number + reference if number + reference >= 0 else PICTURE - 1)

    match options:
        case Route(layers=layers):
            return tuple(map(resolve, layers))
        case Shortcut(layers=layers):
            return number - 1, *map(resolve, layers)
        case ScaleChannels(layer=layer):
            return number - 1, resolve(layer)
        case _:
            return (number - 1,)


def _read_options(kind: type[Options], section: _Section, place: str, mistakes: list[str]) -> Any:
    """The section's options as its kind, or None and what is wrong with them among the mistakes."""
    data = {key: value for key, value in section.options.items() if key not in kind.training_only}
    if kind is Net:
        data = {key: value for key, value in data.items() if key in Net.model_fields}
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        for details in error.errors():
            key = str(details["loc"][0]) if details["loc"] else ""
            line = section.lines.get(key, section.line)
            mistakes.append(f"line {line}: {place}: {_explain(key, details)}")
        return None


def _explain(key: str, details: Any) -> str:
    match details["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is not known here and may change what the layer computes: this network cannot be imported"
        case "value_error":
            return details["msg"].removeprefix("Value error, ")
        case _:
            return f"{key}={details['input']}: {details['msg'][0].lower()}{details['msg'][1:]}"
