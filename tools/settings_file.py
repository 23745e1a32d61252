"""Settings of a tool in a YAML file: read strictly, every mistake with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edged.config.schema import known_keys
from edged.errors import ConfigError, InputError, Mistake
from edged.strict_yaml import Document, format_path, read_yaml, shorten
from tools.datasets.classes import hint_at

Model = TypeVar("Model", bound=BaseModel)

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def read_settings(model: type[Model], path: Path) -> Model:
    """A YAML file as the model's settings.

    Raises:
        InputError: it cannot be read, or with every mistake in it.
    """
    document = read_document(path)
    return validate_settings(model, document.data, document)


def read_document(path: Path) -> Document:
    """A YAML file as plain data; what is wrong with its values is for `validate_settings`.

    Raises:
        InputError: it cannot be read, or is no YAML.
    """
    try:
        return read_yaml(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except ConfigError as error:
        raise InputError(str(error)) from error


def validate_settings(model: type[Model], data: Any, document: Document) -> Model:
    """Settings of a kind.

    Args:
        data: what of the document is meant, at the place where it stands there.

    Raises:
        InputError: with every mistake of the document.
    """
    mistakes = list(document.mistakes)
    try:
        settings = model.model_validate(data)
    except ValidationError as error:
        mistakes += [_mistake(details, model, document) for details in error.errors()]
    if mistakes:
        raise InputError(str(ConfigError(document.source, mistakes)))
    return settings


def _mistake(details: ErrorDetails, model: type[BaseModel], document: Document) -> Mistake:
    path = details["loc"]
    line = document.line_of(path) if path else None
    if details["type"] in _UNKNOWN:
        known = known_keys(model.model_json_schema(), path[:-1])
        return Mistake("settings.unknown_key", format_path(path), f"unknown key; {hint_at(str(path[-1]), known)}", line)
    if details["type"] == "missing":
        return Mistake("settings.missing_key", format_path(path), "is missing: add it", line)
    message = details["msg"].removeprefix("Value error, ")
    if not isinstance(details["input"], dict | list | BaseModel):
        message += f", got {shorten(str(details['input']))}"
    return Mistake("settings.value", format_path(path), message, line)
