"""The one file that the gallery is: how it is made, opened, checked and locked; nothing about people.

SQLite in WAL mode: the daemon reads while a command writes, a second writer waits, and a process that is killed leaves either all
of what it wrote or nothing.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edged.errors import GalleryError
from edged.identity.encryption import check_access

GALLERY_NAME = "gallery.db"
"""The gallery's file in the state directory."""

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x65644741  # "edGA"
_WAIT_S = 10.0
"""How long a writer waits for another one."""
_RETRY_S = 0.01

_SCHEMA = """
CREATE TABLE gallery (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id BLOB NOT NULL,
    version INTEGER NOT NULL,
    key_check BLOB NOT NULL,
    to_erase INTEGER
);
CREATE TABLE person (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name_token BLOB NOT NULL UNIQUE,
    record BLOB NOT NULL
);
CREATE TABLE template (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    person_id TEXT NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    model_digest TEXT NOT NULL,
    sealed BLOB NOT NULL,
    crop BLOB
);
CREATE INDEX template_person ON template (person_id);
CREATE TABLE calibration (
    model_digest TEXT PRIMARY KEY,
    document TEXT NOT NULL
);
CREATE TABLE export (
    number INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
);
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    person_id TEXT,
    outcome TEXT NOT NULL
);
"""


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the gallery's file, which is made, of mode 0600, where there is none. Used by one thread.

    Raises:
        GalleryError: others may use it, it is damaged, newer than this edged, or no gallery.
    """
    with telling(path):
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            check_access(path, path.stat())
        except OSError as error:
            raise GalleryError(
                "gallery.unusable",
                f"{path}: cannot be opened: {error.strerror}",
                mend="make the state directory writable for the user that runs edged",
            ) from error
        connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
        try:
            _prepare(connection, path)
        except BaseException:  # whatever it was: the file is not left open
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _use_write_ahead_log(connection)
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",  # what is deleted is overwritten
        "temp_store = MEMORY",
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    if _pragma(connection, "user_version") == 0:
        with transaction(connection):
            if _pragma(connection, "user_version") == 0 and not _has_tables(connection):  # nobody was quicker
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    if _pragma(connection, "application_id") != _APPLICATION_ID:
        raise GalleryError(
            "gallery.damaged", f"{path}: is a database, but no gallery", mend="move it away, then import the newest export"
        )
    version = _pragma(connection, "user_version")
    if version != SCHEMA_VERSION:
        raise GalleryError(
            "gallery.schema",
            f"{path}: has schema {version}, this edged knows {SCHEMA_VERSION}",
            mend="use the edged that wrote it, export there and import here",
        )
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Of several who do so at once with a new file, SQLite refuses all but one at once, whatever its timeout: they ask again."""
    end_s = time.monotonic() + _WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end_s:
                raise
            time.sleep(_RETRY_S)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing of it. Waits for another writer before anything is read."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:  # also Ctrl-C: all or nothing
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def erase_deleted(connection: sqlite3.Connection) -> None:
    """Leave no byte of what was deleted in the file or its log.

    `secure_delete` overwrites what a deletion frees, but not what moving rows between pages leaves in their gaps: the file is
    written anew, and the log, which holds pages as they were, cut to nothing.

    Raises:
        sqlite3.Error: there is no room, or another process reads or writes for too long.
    """
    connection.execute("VACUUM")
    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise sqlite3.OperationalError("database is locked")


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """What SQLite raises inside, told as what it means for the gallery.

    Raises:
        GalleryError: instead of any error of SQLite but those of our own making.
    """
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as error:
        raise _explain(error, path) from error


def _explain(error: sqlite3.DatabaseError, path: Path) -> GalleryError:
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return GalleryError(
            "gallery.disk", f"{path}: cannot be written: {text}", mend="nothing was changed: make room on the disk and try again"
        )
    if "locked" in text or "busy" in text:
        return GalleryError(
            "gallery.busy",
            f"{path}: another process has held it for {_WAIT_S:.0f} s",
            mend="nothing was changed: try again when that has ended",
        )
    if "readonly" in text or "unable to open" in text:
        return GalleryError(
            "gallery.read_only",
            f"{path}: cannot be written: {text}",
            mend="nothing was changed: make the file and its disk writable",
        )
    return GalleryError(
        "gallery.damaged",
        f"{path}: is damaged: {text}",
        mend="nobody is identified with it: move it and its -wal away, then import the newest export",
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
