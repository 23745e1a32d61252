"""What the readers of single values know about the machine and the file they stand in."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError


@dataclass(frozen=True, slots=True)
class ReadingContext:
    """Where a configuration is read.

    Attributes:
        directory: of the configuration file; relative paths start here.
        environ: the process's environment; the only one that settings come from.
        host_name: of this machine, as it calls itself.
        reads_secrets: False checks how secrets are given, but reads none.
    """

    directory: Path = Path()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    host_name: str = "edge"
    reads_secrets: bool = True

    @classmethod
    def of(cls, info: ValidationInfo) -> ReadingContext:
        """The context handed to the validation; a bare one for models made by hand."""
        return info.context if isinstance(info.context, cls) else cls()

    def resolve(self, text: str) -> Path:
        """A path as written in the file: `~` is the home directory, relative ones start beside the file."""
        if text == "~" or text.startswith("~/"):
            text = self.environ.get("HOME", "~") + text[1:]
        return Path(os.path.normpath(self.directory.absolute() / text))


def resolve_path(value: object, info: ValidationInfo) -> Path:
    """Validates a path; it need not exist."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or len(value) > 4096:
        raise mistake("config.type", "expected a path")
    return ReadingContext.of(info).resolve(value)


def resolve_readable_file(value: object, info: ValidationInfo) -> Path:
    """Validates the path of a file that can be read."""
    path = resolve_path(value, info)
    problem = _problem_reading(path)
    if problem:
        raise mistake("config.file", f"{path}: {problem}")
    return path


def default_state_directory(context: ReadingContext) -> Path:
    """Where state is kept unless the file says: systemd's directory for us, else below the home directory.

    Source: systemd.exec(5), STATE_DIRECTORY: several directories are separated by colons.
    """
    given = context.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = context.environ.get("HOME")
    if not home:
        raise mistake("config.missing_key", "cannot be guessed without $STATE_DIRECTORY or $HOME: set it")
    return Path(home, ".local", "state", "edged")


def mistake(code: str, message: str) -> PydanticCustomError:
    """One mistake, to be raised inside a validator; braces in the message are only text."""
    return PydanticCustomError(code, "{message}", {"message": message})  # type: ignore[arg-type]


def _problem_reading(path: Path) -> str | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "is no file"
        with path.open("rb"):
            return None
    except OSError as error:
        return error.strerror or "cannot be read"
