"""YAML as people mean it: plain data with the line of everything, and no surprises.

YAML 1.1 reads `no` as false, `12:30:45` as 45045 and `010` as 8, keeps the last of two equal keys and lets nine lines
grow into a billion nodes. Here each of those is a mistake with its line. Numbers and `true`, `false`, `null` are read
as YAML 1.2's core schema reads them; everything else unquoted is text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from edged.errors import ConfigError, Mistake

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 50_000
"""More than a thousand cameras need; bounds the time that a hostile file can take."""

KeyPath = tuple[str | int, ...]
"""Keys and positions from the top of a document, e.g. ("cameras", "door", "fps")."""

_HIDDEN_KEYS = frozenset({"password"})
"""Keys whose values are never repeated in a message."""

_MAX_MISTAKES = 100
_MAX_NUMBER_LENGTH = 40
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS.update({"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False})
_SURPRISES = (
    (
        re.compile(r"(?i)yes|no|on|off"),
        "is true or false to some readers of YAML and text to others: write true or false, or quote it",
    ),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-9]+)+(\.[0-9]*)?"), "is a number in base 60 to some readers of YAML: quote it"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?"), "is a date to some readers of YAML: quote it"),
    (
        re.compile(r"[-+]?0[0-9_]+|[-+]?0[box][0-9a-fA-F_]+"),
        "is not a decimal number: write it without leading zeros, or quote it",
    ),
    (re.compile(r"[-+]?0[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?"), "is not a plain number: write it without leading zeros, or quote it"),
    (
        re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?"),
        "is a number to some readers of YAML: leave the underscores out, or quote it",
    ),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), "is not a finite number"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one value stands.

    Attributes:
        line: from 1; of the key where the value has one.
        text: the scalar as typed; None for mappings and lists.
    """

    line: int
    text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document as plain data.

    Attributes:
        source: what the text was read from, for messages.
        data: dict with text keys, list, str, int, float, bool or None.
        mistakes: what must not stay as it is, in file order. `data` then holds a stand-in at that place: the first of
            two equal keys, nothing for an alias, the text or number as typed for a surprise.
        places: where each value stands.
    """

    source: str
    data: Any = field(repr=False)
    mistakes: tuple[Mistake, ...]
    places: Mapping[KeyPath, Place] = field(repr=False)

    def line_of(self, path: KeyPath) -> int:
        """The line of a value, or of the nearest thing above it that is in the document."""
        return self._nearest(path).line

    def lines(self) -> dict[KeyPath, int]:
        """The line of every value."""
        return {path: place.line for path, place in self.places.items()}

    def text_of(self, path: KeyPath) -> str | None:
        """A scalar as it was typed; None where the document has no scalar at that path."""
        place = self.places.get(path)
        return place.text if place else None

    def _nearest(self, path: KeyPath) -> Place:
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, None))


def load_yaml(text: str, *, source: str) -> Document:
    """A document without mistakes.

    Args:
        text: the whole of it.
        source: what it was read from, for messages.

    Raises:
        ConfigError: with every mistake of the text.
    """
    document = read_yaml(text, source=source)
    if document.mistakes:
        raise ConfigError(source, list(document.mistakes))
    return document


def read_yaml(text: str, *, source: str) -> Document:
    """A document with its mistakes beside it, for readers that have more to say about the same file.

    Raises:
        ConfigError: the text is no YAML, or too large or deep to be read at all.
    """
    _refuse_oversize(text, source=source)
    _refuse_unprintable(text, source=source)
    reading = _Reading(source)
    try:
        data = reading.document(text)
    except yaml.YAMLError as error:
        # Not chained: the parser's own error quotes the line, which may hold a password.
        raise ConfigError(source, [*reading.mistakes, _syntax_mistake(error, text)]) from None
    return Document(source, data, tuple(reading.mistakes), reading.places)


def format_path(path: KeyPath) -> str:
    """A path as people read it: `cameras.door.zones.porch.polygon[2]`."""
    parts = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif re.fullmatch(r"[A-Za-z0-9_-]+", step) and len(step) <= 64:
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{shorten(step)}]")
    return "".join(parts)


def shorten(text: str, *, length: int = 40) -> str:
    """A value in quotes for a message, escaped, cut to about `length` characters."""
    shown = text if len(text) <= length else text[: length - 1] + "…"
    return repr(shown)


def _refuse_oversize(text: str, *, source: str) -> None:
    size_bytes = len(text.encode("utf-8", "surrogatepass"))
    if size_bytes > MAX_BYTES:
        message = f"{size_bytes} bytes are too many: at most {MAX_BYTES} (1 MiB)"
        raise ConfigError(source, [Mistake("config.too_large", "", message)])


def _refuse_unprintable(text: str, *, source: str) -> None:
    found = _UNPRINTABLE.search(text)
    if found:
        message = f"not YAML: holds the unprintable character U+{ord(found.group()):04X}; is this a text file?"
        line = text.count("\n", 0, found.start()) + 1
        raise ConfigError(source, [Mistake("config.syntax", "", message, line)])


def _syntax_mistake(error: yaml.YAMLError, text: str) -> Mistake:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Mistake("config.syntax", "", "not YAML: cannot be read as characters")
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    lines = text.splitlines()
    hint = ""
    if line and line <= len(lines) and re.match(r" *\t", lines[line - 1]):
        hint = "; indent with spaces, not with tabs"
    context = f"{error.context}, " if error.context else ""
    return Mistake("config.syntax", "", f"not YAML: {context}{error.problem or 'cannot be read'}{hint}", line)


class _Reading:
    """One pass over a document's events, in file order."""

    def __init__(self, source: str) -> None:
        self.mistakes: list[Mistake] = []
        self.places: dict[KeyPath, Place] = {}
        self._source = source
        self._nodes = 0
        self._events: Iterator[yaml.Event] = iter(())

    def document(self, text: str) -> Any:
        """The data of the only document in `text`; None where there is none."""
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        self._events = yaml.parse(text, Loader=loader)
        data = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._fail("config.syntax", (), "holds more than one document: remove what follows `---`", event)
                data = self._node(next(self._events), ())
        return data

    def _node(self, event: yaml.Event, path: KeyPath) -> Any:
        """The value that begins with `event`; its last event has been taken when this returns."""
        self._count(event, path)
        self.places.setdefault(path, Place(_line(event), getattr(event, "value", None)))
        if isinstance(event, yaml.AliasEvent):
            self._note("config.alias_forbidden", path, f"the alias *{event.anchor} is not allowed: write the value out", event)
            return None
        if event.anchor is not None:
            self._note("config.alias_forbidden", path, f"the anchor &{event.anchor} is not allowed: write the value out", event)
        if event.tag is not None:
            self._note("config.tag_forbidden", path, f"the tag {shorten(event.tag)} is not allowed: leave it out", event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            if key in entries:
                first = self.places[(*path, key)].line
                message = f"the key {shorten(key)} stands twice, first on line {first}: keep one"
                self._note("config.duplicate_key", (*path, key), message, event)
                self._discard(next(self._events))
                continue
            self.places[(*path, key)] = Place(_line(event), None)
            value_event = next(self._events)
            if isinstance(value_event, yaml.ScalarEvent):
                self.places[(*path, key)] = Place(_line(event), value_event.value)
            entries[key] = self._node(value_event, (*path, key))
        return entries

    def _key(self, event: yaml.Event, path: KeyPath) -> str:
        """The key as text. One that is no text is noted, and stands for itself as typed."""
        if not isinstance(event, yaml.ScalarEvent):
            self._note("config.type", path, "a key must be text, not a mapping, a list or an alias", event)
            self._discard(event)
            return f"key on line {_line(event)}"
        self._count(event, path)
        if event.anchor is not None or event.tag is not None:
            self._note("config.alias_forbidden", (*path, event.value), "a key can have neither anchor nor tag", event)
        if not isinstance(self._scalar(event, (*path, event.value)), str):
            self._note("config.type", (*path, event.value), f"the key {event.value} is no text to YAML: quote it", event)
        return event.value

    def _sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Any:
        text = event.value
        if _UNPRINTABLE.search(text):
            self._note("config.type", path, "holds an unprintable character", event)
        if event.style:  # quoted, or a block of text
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        for pattern, meaning in _SURPRISES:
            if pattern.fullmatch(text):
                self._note("config.type", path, f"{_shown(text, path)} {meaning}", event)
                return text
        if _NUMBER.fullmatch(text):
            return self._number(text, path, event)
        return text

    def _number(self, text: str, path: KeyPath, event: yaml.Event) -> int | float | str:
        if len(text) > _MAX_NUMBER_LENGTH:
            self._note(
                "config.type", path, f"{_shown(text, path)} has too many digits for a number; quote it if it is text", event
            )
            return text
        if _INTEGER.fullmatch(text):
            return int(text)
        number = float(text)
        if not math.isfinite(number):
            self._note("config.type", path, f"{_shown(text, path)} is not a finite number", event)
            return text
        return number

    def _discard(self, event: yaml.Event) -> None:
        """Take the rest of a value that has no place of its own."""
        depth = 0
        while True:
            self._count(event, ())
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth == 0:
                return
            event = next(self._events)

    def _count(self, event: yaml.Event, path: KeyPath) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._fail("config.too_large", (), f"holds more than {MAX_NODES} values", event)
        if len(path) > MAX_DEPTH:
            self._fail("config.too_large", path[:4], f"nests deeper than {MAX_DEPTH} levels", event)

    def _note(self, code: str, path: KeyPath, message: str, event: yaml.Event) -> None:
        if len(self.mistakes) >= _MAX_MISTAKES:
            self._fail("config.too_many", (), f"more than {_MAX_MISTAKES} mistakes: the rest was not read", event)
        self.mistakes.append(Mistake(code, format_path(path), message, _line(event)))

    def _fail(self, code: str, path: KeyPath, message: str, event: yaml.Event) -> None:
        """Give the document up: reading on would take too long, or make no sense."""
        raise ConfigError(self._source, [*self.mistakes, Mistake(code, format_path(path), message, _line(event))])


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1


def _shown(text: str, path: KeyPath) -> str:
    return "this value" if _HIDDEN_KEYS.intersection(path) else shorten(text)
