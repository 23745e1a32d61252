"""Passwords: given by file, environment, systemd credential or, with a warning, as plain text; shown as ***."""

from __future__ import annotations

import difflib
import os
import re
import stat
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from edged.config.context import ReadingContext, mistake
from edged.sources.url import HIDDEN

MAX_SECRET_BYTES = 65_536


class SecretOrigin(str, Enum):
    """Where a secret came from."""

    FILE = "file"
    ENV = "env"
    CREDENTIAL = "credential"
    PLAIN = "plain"
    URL = "url"


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that is shown to nobody. Whoever needs it says so by calling `reveal`.

    Attributes:
        origin: where it came from.
        warning: what is unwise about how it is kept; None where nothing is.
    """

    _value: str = field(repr=False)
    origin: SecretOrigin
    warning: str | None = None

    def reveal(self) -> str:
        """The text itself: for the library that logs in with it, and for nothing else."""
        return self._value

    def __str__(self) -> str:
        return HIDDEN


def read_secret(value: object, info: ValidationInfo) -> Secret:
    """Validates `{file: …}`, `{env: …}`, `{credential: …}` or plain text, and reads it. No message repeats it."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        warning = "stands as plain text in the configuration: better use {file: …}, {env: …} or {credential: …}"
        return Secret(_checked(value), SecretOrigin.PLAIN, warning)
    if not isinstance(value, dict) or len(value) != 1:
        raise mistake("config.secret", "expected one of {file: PATH}, {env: NAME}, {credential: NAME}, or quoted text")
    ((kind, name),) = value.items()
    if kind not in ("file", "env", "credential"):
        near = difflib.get_close_matches(str(kind), ["file", "env", "credential"], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise mistake("config.secret", f"expected one of the keys file, env, credential, found {kind!r:.40}{hint}")
    if not isinstance(name, str) or not name:
        raise mistake("config.secret", f"expected {kind}: followed by text")
    context = ReadingContext.of(info)
    if not context.reads_secrets:
        return Secret("", SecretOrigin(kind))
    if kind == "env":
        return _read_environment(name, context)
    return _read_file(name, context) if kind == "file" else _read_credential(name, context)


def _read_environment(name: str, context: ReadingContext) -> Secret:
    value = context.environ.get(name)
    if value is None:
        raise mistake("config.secret", f"the environment has no variable {name!r:.80}: set it, or use {{file: …}}")
    return Secret(_checked(value), SecretOrigin.ENV)


def _read_file(name: str, context: ReadingContext) -> Secret:
    path = context.resolve(name)
    value, mode = _read_text(path)
    warning = None
    if mode & (stat.S_IRGRP | stat.S_IROTH) == (stat.S_IRGRP | stat.S_IROTH):
        warning = f"every user of this machine can read {path}: chmod 600 it"
    return Secret(value, SecretOrigin.FILE, warning)


def _read_credential(name: str, context: ReadingContext) -> Secret:
    """Source: systemd.exec(5), LoadCredential and CREDENTIALS_DIRECTORY."""
    if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,255}", name) or name in (".", ".."):
        raise mistake("config.secret", f"{name!r:.80} is no name of a credential")
    directory = context.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        hint = f"start edged by systemd with LoadCredential={name}:PATH (`edged check --skip-secrets` reads none)"
        raise mistake("config.secret", f"there is no $CREDENTIALS_DIRECTORY to find {name!r} in: {hint}")
    value, _ = _read_text(Path(directory, name))
    return Secret(value, SecretOrigin.CREDENTIAL)


def _read_text(path: Path) -> tuple[str, int]:
    """The text of a file and its mode, both of the one file that was opened: it may be replaced or vanish meanwhile."""
    try:
        # Opened without waiting: a pipe in place of the file must not hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            body = file.read(MAX_SECRET_BYTES + 1) or b""
    except OSError as error:
        raise mistake("config.secret", f"{path}: {error.strerror}") from None
    if len(body) > MAX_SECRET_BYTES:
        raise mistake("config.secret", f"{path}: more than {MAX_SECRET_BYTES} bytes are no password")
    try:
        return _checked(body.decode("utf-8").rstrip("\r\n")), mode
    except UnicodeDecodeError:
        raise mistake("config.secret", f"{path}: is not UTF-8 text") from None


def _checked(value: str) -> str:
    if not value:
        raise mistake("config.secret", "is empty")
    if "\0" in value or "\n" in value:
        raise mistake("config.secret", "holds more than one line")
    return value


_SECRET_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1, "description": "Plain text: accepted with a warning."},
        *(
            {
                "type": "object",
                "properties": {key: {"type": "string", "description": text}},
                "required": [key],
                "additionalProperties": False,
            }
            for key, text in (
                ("file", "Path of a file that holds nothing else."),
                ("env", "Name of an environment variable."),
                ("credential", "Name of a systemd credential (LoadCredential=)."),
            )
        ),
    ]
}

SecretKey = Annotated[
    Secret,
    PlainValidator(read_secret),
    PlainSerializer(lambda _secret: HIDDEN, return_type=str),
    WithJsonSchema(_SECRET_SCHEMA, mode="validation"),
]
"""The type of a key that takes a secret."""
