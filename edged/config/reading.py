"""From a file to a `Config`, or to every mistake in it at once."""

from __future__ import annotations

import copy
import difflib
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from edged.config.context import ReadingContext, default_state_directory
from edged.config.models import Config, Reading, is_below
from edged.config.schema import describe, known_keys, make_schema
from edged.config.warnings import find_warnings
from edged.errors import ConfigError, InputError, Mistake
from edged.identity.encryption import CREDENTIAL_NAME, KEY_NAME, KeyPlace
from edged.strict_yaml import MAX_BYTES, Document, KeyPath, format_path, load_yaml, read_yaml, shorten

_HIDDEN = frozenset({"password", "url", "source", "detect_source", "pipeline", "username"})
"""Keys whose text no message repeats: it may hold a secret."""

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}
_RANGES = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
_LENGTHS = {"too_short": "at least {min_length}", "too_long": "at most {max_length}"}


def load_config(
    path: Path | str,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, str] | None = None,
    host_name: str | None = None,
    reads_secrets: bool = True,
) -> Config:
    """The configuration in a file.

    Args:
        path: the file.
        environ: where secrets and the state directory may come from.
        overrides: values by dotted path that replace the file's, e.g. `{"mqtt.port": "1884"}`, written as in YAML.
        host_name: the machine's name for itself; asked of the system if absent.
        reads_secrets: False checks how secrets are given, but reads none.

    Raises:
        ConfigError: with every mistake.
    """
    path = Path(path)
    return parse_config(
        _read_text(path),
        source=str(path),
        directory=path.parent,
        environ=environ,
        overrides=overrides,
        host_name=host_name,
        reads_secrets=reads_secrets,
    )


def parse_config(
    text: str,
    *,
    source: str,
    directory: Path,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, str] | None = None,
    host_name: str | None = None,
    reads_secrets: bool = True,
) -> Config:
    """The configuration in a text: `load_config` without the file.

    Args:
        text: YAML.
        source: what it was read from, for messages.
        directory: where relative paths start.

    Raises:
        ConfigError: with every mistake.
    """
    document = read_yaml(text, source=source)
    if not isinstance(document.data, dict):
        raise ConfigError(source, [*document.mistakes, _no_mapping(document.data)])
    data, override_mistakes = _override(document.data, overrides or {})
    context = ReadingContext(directory.absolute(), environ, host_name or socket.gethostname(), reads_secrets)
    config, details = _validate(data, context)
    overridden = frozenset(tuple(name.split(".")) for name in overrides or {})
    explain = _Explainer(document, overridden)
    mistakes = [*document.mistakes, *override_mistakes]
    mistakes += [found for found in map(explain.mistake, details) if not _is_known(found, mistakes)]
    if config is None or mistakes:
        raise ConfigError(source, sorted(mistakes, key=lambda found: found.line or 0))
    reading = Reading(
        source, context.directory, document.lines(), overridden=overridden, notify_socket=environ.get("NOTIFY_SOCKET")
    )
    config = config.with_reading(reading)
    return config.with_reading(replace(reading, warnings=tuple(find_warnings(config))))


def find_state_directory(*, environ: Mapping[str, str] = os.environ) -> Path:
    """Where state is kept when no configuration says where.

    Raises:
        InputError: it cannot be guessed.
    """
    try:
        return default_state_directory(ReadingContext(environ=environ))
    except PydanticCustomError as error:
        raise InputError(f"no state directory: it {error.message()}, or name one with --state-dir") from error


def find_gallery_key(state_dir: Path, *, environ: Mapping[str, str] = os.environ) -> KeyPlace:
    """Where the gallery's key is: among systemd's credentials if it is one of them, else in the state directory.

    Source: systemd.exec(5), LoadCredentialEncrypted and CREDENTIALS_DIRECTORY.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory and (credential := Path(directory, CREDENTIAL_NAME)).exists():
        return KeyPlace(credential, is_credential=True)
    return KeyPlace(state_dir / KEY_NAME)


def _validate(data: Any, context: ReadingContext) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        return Config.model_validate(data, context=context), []
    except ValidationError as error:
        # Not raised on from here: pydantic's own error holds the values, secrets among them.
        return None, [details for details in error.errors(include_url=False) if not _is_echo(details)]


def _is_echo(details: ErrorDetails) -> bool:
    """Whether a list seems too short only because its wrong items, reported already, were left out."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "; `edged init` writes a first one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(str(path), [Mistake("config.unreadable", "", f"{error.strerror}{hint}")]) from error
    except ValueError as error:
        raise ConfigError(shorten(str(path)), [Mistake("config.unreadable", "", "is no path")]) from error
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 text: byte {error.start + 1} is 0x{body[error.start]:02X}"
        mistake = Mistake("config.encoding", "", message, line)
    raise ConfigError(str(path), [mistake])


def _no_mapping(data: Any) -> Mistake:
    if data is None:
        return Mistake("config.missing_key", "", "is empty; `edged init` writes a first configuration")
    return Mistake("config.type", "", "expected keys and values, such as `cameras:`", 1)


def _override(data: dict[str, Any], overrides: Mapping[str, str]) -> tuple[dict[str, Any], list[Mistake]]:
    """The data with some values replaced, and what cannot be replaced."""
    data = copy.deepcopy(data)
    mistakes: list[Mistake] = []
    for name, text in overrides.items():
        *above, last = name.split(".")
        section: Any = data
        for step in above:
            if section.get(step) is None:
                section[step] = {}
            section = section[step]
            if not isinstance(section, dict):
                break
        if not isinstance(section, dict) or not all((*above, last)):
            message = "cannot be set: what stands above it is no mapping"
            mistakes.append(Mistake("config.override", name, message, is_override=True))
            continue
        try:
            section[last] = _override_value(text, name=name)
        except ConfigError as error:
            mistakes += [replace(found, where=name, line=None, is_override=True) for found in error.mistakes]
    return data, mistakes


def _override_value(text: str, *, name: str) -> Any:
    """The value of an override: a scalar as YAML reads it, a list or mapping only in brackets, else text as it stands."""
    is_bracketed = text.lstrip().startswith(("{", "["))
    try:
        value = load_yaml(text, source=f"--set {name}").data
    except ConfigError as error:
        if is_bracketed or error.mistakes[0].code != "config.syntax":
            raise
        return text
    return text if isinstance(value, dict | list) and not is_bracketed else value


def _is_known(found: Mistake, mistakes: list[Mistake]) -> bool:
    """Whether the reading of the YAML already complained about this very place, or the one around it."""
    return any(known.where and re.match(re.escape(known.where) + r"($|[.\[])", found.where) for known in mistakes)


@dataclass(slots=True)
class _Explainer:
    """Says what pydantic found in the words of the file."""

    document: Document
    overridden: frozenset[KeyPath]
    _schema: dict[str, Any] | None = None

    def mistake(self, details: ErrorDetails) -> Mistake:
        """One mistake with its place."""
        location = tuple(step for step in details["loc"] if step != "[key]")
        path = _without_type(location)
        code, message = self._code_and_message(details, location, path)
        if code != "config.missing_key":
            path = self._written(path)
        if is_below(path, self.overridden):
            return Mistake(code, format_path(path), message, is_override=True)
        return Mistake(code, format_path(path), message, self.document.line_of(path))

    def _code_and_message(self, details: ErrorDetails, location: KeyPath, path: KeyPath) -> tuple[str, str]:
        kind = details["type"]
        if "." in kind:  # one of our own, complete
            return kind, details["msg"]
        if kind == "missing":
            return "config.missing_key", f"is missing: {describe(self.schema, location)}"
        if kind == "extra_forbidden":
            return "config.unknown_key", f"unknown key{self._suggestion(str(path[-1]), location[:-1])}"
        if kind in _LENGTHS:
            expected = _LENGTHS[kind].format(**details["ctx"])
            return "config.length", f"expected {expected}, found {details['ctx']['actual_length']}"
        code, expected, hint = _expectation(details)
        return code, f"expected {expected}, found {self._found(details['input'], path)}{hint}"

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema, made only once something is wrong."""
        if self._schema is None:
            self._schema = make_schema()
        return self._schema

    def _suggestion(self, name: str, section: KeyPath) -> str:
        known = known_keys(self.schema, section)
        return _did_you_mean(name, known) or f"; known here: {', '.join(known)}"

    def _written(self, path: KeyPath) -> KeyPath:
        """The nearest place of a path that stands in the file: a text may stand for a whole mapping."""
        while path and self.document.places.get(path) is None and path not in self.overridden:
            path = path[:-1]
        return path

    def _found(self, value: Any, path: KeyPath) -> str:
        if value is None:
            return "nothing"
        if isinstance(value, dict):
            return "a mapping"
        if isinstance(value, list | tuple):
            return "a list"
        if _HIDDEN.intersection(path):
            return "text" if isinstance(value, str) else type(value).__name__
        typed = self.document.text_of(path)
        shown = typed if typed is not None and not is_below(path, self.overridden) else str(value)
        return f"the text {shorten(shown)}" if isinstance(value, str) else shown


def _expectation(details: ErrorDetails) -> tuple[str, str, str]:
    """Code, what was expected, and a guess at what was meant."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _KINDS:
        return "config.type", _KINDS[kind], ""
    if kind in _RANGES:
        return "config.range", _RANGES[kind].format(**context), ""
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return "config.choice", context["expected"], _did_you_mean(details["input"], choices)
    return "config.type", details["msg"].removeprefix("Input should be "), ""


def _without_type(location: KeyPath) -> KeyPath:
    """A place without the step by which pydantic names the type of a source."""
    if len(location) > 3 and location[0] == "cameras" and location[2] in ("source", "detect_source"):
        return (*location[:3], *location[4:])
    return location


def _did_you_mean(name: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name).lower(), known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
