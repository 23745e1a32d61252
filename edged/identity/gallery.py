"""The gallery: who is enrolled, encrypted in one SQLite file, and the snapshots of it that faces are matched against.

What is encrypted: name, consent, times, templates, kept crops, paths of exports. What a thief of the file sees: how many people
and templates there are, of which encoder, ids that mean nothing elsewhere, and when what was done (the audit log). What no
encryption prevents: whoever may write the file can put an older copy of it in its place, or delete rows.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.errors import FaceError, GalleryError
from edged.identity.calibration import Calibration, load_calibration
from edged.identity.encryption import Cipher, KeyPlace, bind, load_key, make_key
from edged.identity.gallery_file import GALLERY_NAME, erase_deleted, open_file, telling, transaction
from edged.identity.matching import Combination, Matcher, check_unit_rows
from edged.identity.people import AuditEntry, Export, Person, Snapshot, Template, check_name, compared_name

logger = logging.getLogger(__name__)

_KEY_CHECK = b"edged gallery"
_CHUNK_ROWS = 4096
"""Rows that are decrypted at once."""
_NUMBER_BYTES = 4
"""Of a number of a template: float32, little-endian."""


class Gallery:
    """The gallery's file, open. Used by one thread; any number of processes may have it open. Use as a context manager.

    Whatever changes it stands inside `with gallery.transaction():`, and is there as a whole or not at all.
    Every method raises `GalleryError` where the file cannot be used; what comes from it is checked as it is decrypted.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, cipher: Cipher) -> None:
        self.path = path
        self._connection = connection
        self._cipher = cipher
        self._id = self._identify()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. What remains to be erased is tried once more by whoever opens it next."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside, or nothing of it; waits for another writer first."""
        with telling(self.path), transaction(self._connection):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One state of the file for several questions."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    # -- people

    def version(self) -> int:
        """Rises with every change of who can match: cheap enough to ask for every picture."""
        with telling(self.path):
            return self._row("SELECT version FROM gallery")[0]

    def people(self) -> list[Person]:
        """Everybody, in the order of enrolment."""
        with telling(self.path), self.reading():
            templates: dict[str, dict[str, int]] = {}
            crops: dict[str, int] = {}
            for person_id, digest, count, n_crops in self._connection.execute(
                "SELECT person_id, model_digest, count(*), count(crop) FROM template GROUP BY person_id, model_digest"
            ):
                templates.setdefault(person_id, {})[digest] = count
                crops[person_id] = crops.get(person_id, 0) + n_crops
            return [
                Person(**record, templates=templates.get(record["person_id"], {}), n_crops=crops.get(record["person_id"], 0))
                for record in self._read_records()
            ]

    def find(self, name_or_id: str) -> Person | None:
        """Who is called so, or has this id."""
        with telling(self.path), self.reading():
            row = self._connection.execute(
                "SELECT id, record FROM person WHERE id = ? OR name_token = ?", (name_or_id, self._name_token(name_or_id))
            ).fetchone()
            if row is None:
                return None
            person_id, record = row
            counted = self._connection.execute(
                "SELECT model_digest, count(*), count(crop) FROM template WHERE person_id = ? GROUP BY model_digest", (person_id,)
            ).fetchall()
            return Person(
                **self._open_record(person_id, record),
                templates={digest: count for digest, count, _ in counted},
                n_crops=sum(n_crops for _, _, n_crops in counted),
            )

    def get(self, name_or_id: str) -> Person:
        """Who is called so, or has this id.

        Raises:
            FaceError: nobody.
        """
        person = self.find(name_or_id)
        if person is None:
            raise FaceError(
                "faces.unknown_person",
                f"nobody is enrolled as {name_or_id!r:.140}",
                mend="`edged faces list` shows who is",
                where="arguments.person",
            )
        return person

    def add_person(
        self, name: str, *, consent: str, enrolled_at: float, expires_at: float | None = None, person_id: str | None = None
    ) -> str:
        """Add somebody without templates; their id, a new one unless it is given.

        Raises:
            FaceError: the name is none or taken, or the id is.
        """
        name = check_name(name)
        person_id = person_id or f"p{secrets.token_hex(8)}"
        if self.find(name) is not None or self.find(person_id) is not None:
            raise FaceError(
                "enrol.name_taken",
                f"somebody is already enrolled as {name!r}",
                mend="add a picture to that person, or choose another name",
                where="arguments.name",
            )
        with telling(self.path):
            self._raise_version()
            record = {
                "name": name,
                "consent": consent,
                "enrolled_at": enrolled_at,
                "expires_at": expires_at,
                "since": self.version(),
            }
            self._connection.execute(
                "INSERT INTO person (id, name_token, record) VALUES (?, ?, ?)",
                (person_id, self._name_token(name), self._seal_record(person_id, record)),
            )
        return person_id

    def set_expiry(self, person_id: str, expires_at: float | None) -> None:
        """Change until when somebody matches; None: for ever."""
        with telling(self.path):
            (record,) = self._row("SELECT record FROM person WHERE id = ?", person_id)
            changed = {**self._open_record(person_id, record), "expires_at": expires_at}
            del changed["person_id"]
            self._connection.execute(
                "UPDATE person SET record = ? WHERE id = ?", (self._seal_record(person_id, changed), person_id)
            )
            self._raise_version()

    def remove_person(self, person_id: str) -> None:
        """Delete somebody with all templates and crops. `erase` leaves no byte of them in the file."""
        with telling(self.path):
            self._connection.execute("DELETE FROM person WHERE id = ?", (person_id,))
            self._note_deletion()

    def erase(self) -> bool:
        """Overwrite what was deleted since the last time; whether there was anything to do. Not inside a transaction.

        Raises:
            GalleryError: there is no room, or somebody else holds the file; it is tried again when it is opened next.
        """
        with telling(self.path):
            version = self._row("SELECT to_erase FROM gallery")[0]
            if version is None:
                return False
            erase_deleted(self._connection)
            self._connection.execute("UPDATE gallery SET to_erase = NULL WHERE to_erase = ?", (version,))  # not if more came
            return True

    # -- templates

    def add_template(
        self, person_id: str, embedding: NDArray[np.float32], *, model_digest: str, crop_png: bytes | None = None
    ) -> None:
        """Add what an encoder said of one picture of somebody.

        Args:
            embedding: (D,) float32 of unit length.
            crop_png: the aligned face, to be kept for another encoder.

        Raises:
            FaceError: it is no direction, or has another dimension than the templates of this encoder.
        """
        try:
            check_unit_rows(np.atleast_2d(embedding), "embedding")
        except ValueError as error:
            raise FaceError(
                "enrol.embedding", f"the encoder gave no usable answer: {error}", mend="check the engine: edged engines verify"
            ) from None
        template_id = secrets.token_bytes(16)
        with telling(self.path):
            self._check_dimension(len(embedding), model_digest)
            self._connection.execute(
                "INSERT INTO template (id, person_id, model_digest, sealed, crop) VALUES (?, ?, ?, ?, ?)",
                (
                    template_id,
                    person_id,
                    model_digest,
                    self._cipher.seal(
                        embedding.astype("<f4").tobytes(), bound_to=self._place("template", template_id, person_id, model_digest)
                    ),
                    None
                    if crop_png is None
                    else self._cipher.seal(crop_png, bound_to=self._place("crop", template_id, person_id)),
                ),
            )
            self._raise_version()

    def remove_templates(self, person_id: str) -> None:
        """Delete whatever encoders said of somebody, and the crops."""
        with telling(self.path):
            self._connection.execute("DELETE FROM template WHERE person_id = ?", (person_id,))
            self._note_deletion()

    def templates(self, person_id: str) -> list[Template]:
        """What encoders said of somebody's pictures."""
        with telling(self.path):
            rows = self._connection.execute(
                "SELECT id, model_digest, sealed, crop FROM template WHERE person_id = ? ORDER BY number", (person_id,)
            ).fetchall()
        return [
            Template(
                digest,
                self._open_template(template_id, person_id, digest, sealed),
                None if crop is None else self._open(crop, "crop", template_id, person_id),
            )
            for template_id, digest, sealed, crop in rows
        ]

    def take_snapshot(self, model_digest: str, *, now_at: float, combination: Combination = "best") -> Snapshot:
        """Everybody who has a template of this encoder and has not expired.

        Raises:
            GalleryError: a row was changed or moved.
        """
        with telling(self.path), self.reading():
            version = self.version()
            names: dict[str, str] = {}  # of everybody, in the order of enrolment
            ends: dict[str, float] = {}
            for record in self._read_records():
                names[record["person_id"]] = record["name"]
                if record["expires_at"] is not None:
                    ends[record["person_id"]] = record["expires_at"]
            n_encoded = self._row("SELECT count(DISTINCT person_id) FROM template WHERE model_digest = ?", model_digest)[0]
            expired = {person_id for person_id, end in ends.items() if now_at >= end}
            person_ids, templates = self._read_templates(model_digest, without=expired)
            calibration = self.calibration(model_digest)
        matcher = Matcher(
            templates,
            person_ids,
            version=version,
            model_digest=model_digest,
            combination=combination,
            names={person_id: names[person_id] for person_id in dict.fromkeys(person_ids)},
        )
        renew_at = min((end for end in ends.values() if end > now_at), default=None)
        return Snapshot(matcher, renew_at, len(names), len(names) - n_encoded, calibration)

    def _read_records(self) -> Iterator[dict[str, Any]]:
        """The record of everybody, in the order of enrolment."""
        begin = self._place("person")
        rows = self._connection.execute("SELECT id, record FROM person ORDER BY number")
        while chunk := rows.fetchmany(_CHUNK_ROWS):
            person_ids, sealed = zip(*chunk, strict=True)
            places = [begin + bind(person_id) for person_id in person_ids]
            documents = self._open_all("person", sealed, places)
            records = json.loads(b"[%s]" % b",".join(documents))  # at once: to begin with a text takes longer than to read it
            for person_id, record in zip(person_ids, records, strict=True):
                yield {"person_id": person_id, **record}

    def _read_templates(self, model_digest: str, *, without: Collection[str]) -> tuple[list[str], NDArray[np.float32]]:
        """Whose each template (T, D) is, and the templates, person by person in the order of enrolment."""
        begin, end = self._place("template"), bind(model_digest)
        n = self._row("SELECT count(*) FROM template WHERE model_digest = ?", model_digest)[0]
        templates, person_ids = np.zeros((0, 0), np.float32), []
        rows = self._connection.execute(
            # person by person through the index: CROSS JOIN keeps SQLite from sorting all templates in memory instead
            "SELECT t.id, t.person_id, t.sealed FROM person p CROSS JOIN template t ON t.person_id = p.id "
            "WHERE t.model_digest = ? ORDER BY p.number, t.number",
            (model_digest,),
        )
        while chunk := rows.fetchmany(_CHUNK_ROWS):
            kept = [row for row in chunk if row[1] not in without]
            if not kept:
                continue
            template_ids, owners, sealed = zip(*kept, strict=True)
            places = [begin + bind(*ids) + end for ids in zip(template_ids, owners, strict=True)]
            embeddings = self._open_all("template", sealed, places)
            if not person_ids:
                templates = np.empty((n, len(embeddings[0]) // _NUMBER_BYTES), np.float32)
            for owner, embedding in zip(owners, embeddings, strict=True):
                if len(embedding) != templates.shape[1] * _NUMBER_BYTES:
                    found, expected = len(embedding) // _NUMBER_BYTES, templates.shape[1]
                    raise self._tampered(f"a template of {owner} has {found} numbers, others {expected}")
            numbers = np.frombuffer(b"".join(embeddings), "<f4").reshape(len(embeddings), -1)
            templates[len(person_ids) : len(person_ids) + len(numbers)] = numbers
            person_ids += owners
        return person_ids, templates[: len(person_ids)]

    def _check_dimension(self, dimension: int, model_digest: str) -> None:
        row = self._connection.execute(
            "SELECT id, person_id, sealed FROM template WHERE model_digest = ? LIMIT 1", (model_digest,)
        ).fetchone()
        if row is None:
            return
        template_id, person_id, sealed = row
        expected = len(self._open_template(template_id, person_id, model_digest, sealed))
        if dimension != expected:
            raise FaceError(
                "enrol.embedding",
                f"expected {expected} numbers as in the other templates of this encoder, got {dimension}",
                mend="check the engine: edged engines verify",
            )

    # -- what else is kept

    def record(self, *, at: float, actor: str, action: str, person_id: str | None = None, outcome: str = "ok") -> None:
        """Write a line of the audit log, inside or outside of a transaction."""
        with telling(self.path):
            self._connection.execute(
                "INSERT INTO audit (at, actor, action, person_id, outcome) VALUES (?, ?, ?, ?, ?)",
                (at, actor, action, person_id, outcome),
            )

    def audit(self, *, most: int, person_id: str | None = None) -> list[AuditEntry]:
        """The newest lines of the audit log, the newest first; of one person where an id is given."""
        with telling(self.path):
            rows = self._connection.execute(
                "SELECT at, actor, action, person_id, outcome FROM audit WHERE ?1 IS NULL OR person_id = ?1 "
                "ORDER BY number DESC LIMIT ?2",
                (person_id, most),
            )
            return [AuditEntry(*row) for row in rows]

    def note_export(self, path: Path, *, at: float, sha256: str, version: int) -> None:
        """Remember that an archive of everybody was written there.

        Args:
            version: of the gallery that it holds.
        """
        place = json.dumps({"path": str(path), "at": at, "sha256": sha256, "version": version}).encode()
        with telling(self.path):
            self._connection.execute(
                "INSERT INTO export (sealed) VALUES (?)", (self._cipher.seal(place, bound_to=self._place("export")),)
            )

    def exports(self) -> list[Export]:
        """Archives that were written and not taken off the list."""
        with telling(self.path):
            rows = self._connection.execute("SELECT number, sealed FROM export ORDER BY number").fetchall()
        opened = [(number, json.loads(self._open(sealed, "export"))) for number, sealed in rows]
        return [Export(number, Path(each.pop("path")), **each) for number, each in opened]

    def remove_export(self, number: int) -> None:
        """Take an archive off the list."""
        with telling(self.path):
            self._connection.execute("DELETE FROM export WHERE number = ?", (number,))

    def calibration(self, model_digest: str) -> Calibration | None:
        """What was measured of an encoder's threshold here; None: nothing."""
        with telling(self.path):
            row = self._connection.execute("SELECT document FROM calibration WHERE model_digest = ?", (model_digest,)).fetchone()
        return None if row is None else load_calibration(row[0])

    def set_calibration(self, model_digest: str, calibration: Calibration | None) -> None:
        """Decide by it from now on; None: by the encoder's own threshold."""
        with telling(self.path):
            self._connection.execute("DELETE FROM calibration WHERE model_digest = ?", (model_digest,))
            if calibration is not None:
                self._connection.execute("INSERT INTO calibration VALUES (?, ?)", (model_digest, calibration.model_dump_json()))
            self._raise_version()

    # -- inside

    def _identify(self) -> bytes:
        """The id of this gallery, which every value is bound to. Made with the first opening, when the key is noted, too."""
        with self.transaction():
            row = self._connection.execute("SELECT id, key_check FROM gallery").fetchone()
            if row is None:
                gallery_id = secrets.token_bytes(16)
                key_check = self._cipher.seal(_KEY_CHECK, bound_to=bind("key", gallery_id))
                self._connection.execute(
                    "INSERT INTO gallery (only, id, version, key_check) VALUES (1, ?, 0, ?)", (gallery_id, key_check)
                )
                return gallery_id
        gallery_id, key_check = row
        try:
            self._cipher.open(key_check, bound_to=bind("key", gallery_id))
        except ValueError:
            raise GalleryError(
                "gallery.key_wrong",
                f"{self.path}: was encrypted with another key",
                mend="put the key back that it was made with; without it nobody can read it: move it away and enrol again",
            ) from None
        return gallery_id

    def _row(self, statement: str, *values: object) -> Any:
        row = self._connection.execute(statement, values).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"no row answers {statement!r}")
        return row

    def _raise_version(self) -> None:
        if not self._connection.in_transaction:
            raise RuntimeError("a gallery is changed inside of a transaction only")
        self._connection.execute("UPDATE gallery SET version = version + 1")

    def _note_deletion(self) -> None:
        """What was deleted is to be overwritten, too; `erase` does that."""
        self._raise_version()
        self._connection.execute("UPDATE gallery SET to_erase = version")

    def _name_token(self, name: str) -> bytes:
        return self._cipher.token(compared_name(name))

    def _place(self, kind: str, *parts: str | bytes) -> bytes:
        return bind(kind, self._id, *parts)

    def _seal_record(self, person_id: str, record: Mapping[str, Any]) -> bytes:
        return self._cipher.seal(json.dumps(record).encode(), bound_to=self._place("person", person_id))

    def _open_record(self, person_id: str, sealed: bytes) -> dict[str, Any]:
        return {"person_id": person_id, **json.loads(self._open(sealed, "person", person_id))}

    def _open_template(self, template_id: bytes, person_id: str, model_digest: str, sealed: bytes) -> NDArray[np.float32]:
        embedding = np.frombuffer(self._open(sealed, "template", template_id, person_id, model_digest), "<f4")
        return embedding.astype(np.float32, copy=False)

    def _open(self, sealed: bytes, kind: str, *parts: str | bytes) -> bytes:
        return self._open_all(kind, [sealed], [self._place(kind, *parts)])[0]

    def _open_all(self, kind: str, sealed: Sequence[bytes], places: Sequence[bytes]) -> list[bytes]:
        try:
            return self._cipher.open_all(sealed, bound_to=places)
        except (ValueError, TypeError) as error:
            raise self._tampered(f"a value of kind {kind!r} cannot be decrypted: {error}") from None

    def _tampered(self, what: str) -> GalleryError:
        return GalleryError(
            "gallery.tampered",
            f"{self.path}: somebody or something changed it: {what}",
            mend="nobody is identified with it: move it and its -wal away, then import the newest export",
        )


def open_gallery(state_dir: Path, key: KeyPlace) -> Gallery:
    """The gallery of a state directory; directory, key and file are made where there are none.

    Raises:
        GalleryError: the key is missing, wrong or open to others, or so is the file; or it is damaged, or the disk is full.
    """
    path = state_dir / GALLERY_NAME
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not path.exists() or path.stat().st_size == 0
    except OSError as error:
        raise GalleryError(
            "gallery.unusable",
            f"{state_dir}: cannot be used: {error.strerror}",
            mend="make the state directory writable for the user that runs edged, or name another with --state-dir",
        ) from error
    makes_key = is_new and not key.is_credential and not key.path.exists()
    cipher = Cipher(make_key(key.path) if makes_key else load_key(key))
    connection = open_file(path)
    try:
        gallery = Gallery(path, connection, cipher)
    except BaseException:  # whatever it was: the file is not left open
        connection.close()
        raise
    try:
        gallery.erase()
    except GalleryError as error:
        logger.warning("people who were forgotten are not yet overwritten, tried again when it is opened next: error=%s", error)
    return gallery
