"""The state directory: what is made on the device and survives a restart."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType

from edged.errors import StateError


class StateDirectory:
    """The state directory, held by one process at a time.

    Use as a context manager: entering makes the directory and takes its lock.

    Args:
        path: where it is; made with mode 0700 if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_file: int | None = None

    def __enter__(self) -> StateDirectory:
        """Make the directory and take its lock.

        Raises:
            StateError: it cannot be made or written, or another edged holds it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(
                f"state directory {self.path}: {error.strerror}; make it writable or set state_dir in the configuration"
            ) from error
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock_file)
            raise StateError(
                f"state directory {self.path} is in use by another edged; stop that one or set another state_dir"
            ) from error
        self._lock_file = lock_file
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def read_json(self, name: str) -> object | None:
        """The document of this name, None if there is none.

        Raises:
            StateError: it is there but cannot be read.
        """
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise StateError(f"{path} cannot be read: {error}") from error

    def set_aside(self, name: str) -> Path:
        """Give a document that is wrong a name that is free: `<name>.corrupt`, `<name>.corrupt.2`, … Returns where it is now.

        Raises:
            StateError: it could not be renamed.
        """
        path = self.path / name
        number, aside = 1, path.with_name(f"{name}.corrupt")
        while aside.exists():
            number += 1
            aside = path.with_name(f"{name}.corrupt.{number}")
        try:
            os.rename(path, aside)
        except OSError as error:
            raise StateError(f"{path} is wrong and cannot be renamed to {aside.name}: {error.strerror}") from error
        return aside

    def write_json(self, name: str, document: object) -> None:
        """Replace the document of this name in one step, on disk before this returns.

        Raises:
            StateError: it could not be written; the one before is untouched.
        """
        path = self.path / name
        part = path.with_name(f"{name}.part")
        try:
            with open(part, "w", encoding="utf-8") as file:
                json.dump(document, file, separators=(",", ":"), allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
            self._sync_names()
        except OSError as error:
            raise StateError(f"{path} could not be written: {error.strerror}") from error
        except ValueError as error:
            raise StateError(f"{path} could not be written: {error}") from error

    def _sync_names(self) -> None:
        """A new name is on disk only once its directory is."""
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
