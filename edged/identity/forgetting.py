"""Somebody is forgotten: what the gallery holds of them, the archives that they are in, and whatever else mentions them.

First they match no more; then every byte that is within our reach is erased; and what is not is named, so that a person can see
to it. What no program can promise: that a disk or a file system keeps no older copy of a block, no snapshot, no backup.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edged.errors import EdgedError, GalleryError
from edged.identity.gallery import Gallery
from edged.identity.people import Export, Person

_CHUNK_BYTES = 1024 * 1024
_LINE_SUFFIXES = frozenset({".jsonl", ".ndjson", ".log"})
"""Files of which single lines are erased; any other file that mentions somebody goes as a whole."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of the traces of somebody, for people to read.

    Attributes:
        erased: what was found and is gone.
        left: what is known and could not be erased, with the reason.
    """

    erased: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Trace(Protocol):
    """A place outside of the gallery where something of people may be."""

    def erase(self, person: Person) -> Erased:
        """Erase what is there of somebody. Raises `EdgedError` where the place cannot be used."""
        ...


class MediaTrace:
    """Files below a directory that mention somebody's id: events, sidecars, and the media named after them.

    Args:
        directory: searched with all below it; links are not followed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def erase(self, person: Person) -> Erased:
        erased: list[str] = []
        left: list[str] = []
        for path in sorted(_files(self._directory)):
            try:
                if _erase_from(path, person.person_id.encode()):
                    erased.append(str(path))
            except OSError as error:
                left.append(f"{path}: {error.strerror}")
        return Erased(tuple(erased), tuple(left))


def forget(
    gallery: Gallery,
    person: Person,
    *,
    traces: Iterable[Trace] = (),
    keeps_exports: bool = False,
    on_removed: Callable[[], None] = lambda: None,
) -> Erased:
    """Delete somebody and erase what there is of them. Once this returns, nobody matches them; what is left is named.

    Args:
        traces: places outside of the gallery.
        keeps_exports: leave the archives that they are in, and name them; otherwise the files are removed where they are
            still what was written.
        on_removed: called in the transaction that removes them.
    """
    with gallery.transaction():
        gallery.remove_person(person.person_id)
        on_removed()
    erased: list[str] = []
    left: list[str] = []
    try:
        gallery.erase()
        erased.append(f"{gallery.path}: templates, name, consent and kept crops")
    except GalleryError as error:
        left.append(f"{gallery.path}: deleted, but not yet overwritten, which is tried again whenever it is opened: {error}")
    for export in gallery.exports():
        if export.version >= person.since:
            found = _erase_export(gallery, export, keeps=keeps_exports)
            erased += found.erased
            left += found.left
    for trace in traces:
        try:
            found = trace.erase(person)
        except EdgedError as error:
            left.append(str(error))
        else:
            erased += found.erased
            left += found.left
    return Erased(tuple(erased), tuple(left))


def _erase_export(gallery: Gallery, export: Export, *, keeps: bool) -> Erased:
    """Remove an archive that holds somebody who is forgotten, with everybody else in it."""
    if keeps:
        return Erased(left=(f"{export.path}: an export that holds them, kept as asked",))
    try:
        if _digest(export.path) != export.sha256:
            return Erased(left=(f"{export.path}: an export that holds them was there, now it is another file",))
        _overwrite_and_remove(export.path)
    except FileNotFoundError:
        return Erased(left=(f"{export.path}: an export that holds them was written there; where it was moved, remove it",))
    except OSError as error:
        return Erased(left=(f"{export.path}: an export that holds them: {error.strerror}",))
    with gallery.transaction():
        gallery.remove_export(export.number)
    return Erased(erased=(f"{export.path}: an export that held them; make a new one",))


def _files(directory: Path) -> Iterable[Path]:
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _erase_from(path: Path, person_id: bytes) -> bool:
    """Erase a file that is named after somebody or mentions them, or its lines that do; whether it did."""
    is_named = person_id in os.fsencode(path.name)
    if not is_named and not _mentions(path, person_id):
        return False
    if is_named or path.suffix not in _LINE_SUFFIXES:
        _overwrite_and_remove(path)
        return True
    kept = b"".join(line for line in path.read_bytes().splitlines(keepends=True) if person_id not in line)
    part = path.with_name(f"{path.name}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, path.stat().st_mode & 0o777), "wb") as file:
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    _overwrite(path)
    os.replace(part, path)
    return True


def _mentions(path: Path, text: bytes) -> bool:
    with path.open("rb") as file:
        before = b""
        while chunk := file.read(_CHUNK_BYTES):
            if text in before + chunk:
                return True
            before = chunk[-len(text) :]
    return False


def _overwrite_and_remove(path: Path) -> None:
    _overwrite(path)
    path.unlink()


def _overwrite(path: Path) -> None:
    """Write zeros over a file where it lies, as far as its file system writes in place."""
    with path.open("r+b") as file:
        left = path.stat().st_size
        while left > 0:
            left -= file.write(bytes(min(left, _CHUNK_BYTES)))
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
