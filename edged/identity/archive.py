"""Everybody in one encrypted file, to keep elsewhere or to carry to another machine.

    a line of JSON: what this is, and how its key is made
    for each person, and once for the end: length (4 bytes, big-endian), nonce and ciphertext

Every part is bound to the line, to its number and to whether it is the last, so that parts cannot be left out, doubled or put in
another order. Nothing of the gallery's own key is inside.

Source: RFC 7914 for scrypt, which makes a key of a passphrase.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from edged.errors import FaceError, GalleryError
from edged.identity.encryption import KEY_BYTES, Cipher, bind
from edged.identity.gallery import Gallery
from edged.identity.people import LONGEST_CONSENT, LONGEST_NAME

LEAST_PASSPHRASE = 12
_FORMAT = "edged gallery"
_VERSION = 1
_COST = 2**16
"""Of scrypt: 64 MiB and a fraction of a second for every guess."""
_LONGEST_HEADER = 4096
_LONGEST_PART = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ArchiveSecret:
    """What an archive is encrypted with: a passphrase, or 32 bytes of a key file. One of them is given."""

    passphrase: str | None = None
    key: bytes | None = None

    def __post_init__(self) -> None:
        if (self.passphrase is None) == (self.key is None):
            raise ValueError("expected either a passphrase or a key")
        if self.passphrase is not None and len(self.passphrase) < LEAST_PASSPHRASE:
            raise FaceError(
                "archive.passphrase",
                f"the passphrase has {len(self.passphrase)} characters, it takes {LEAST_PASSPHRASE}",
                mend="choose a longer one: five or six words that nobody would guess together",
            )


def _from_base64(value: Any) -> Any:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


_Bytes = Annotated[
    bytes, BeforeValidator(_from_base64), PlainSerializer(lambda value: base64.b64encode(value).decode(), return_type=str)
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class _Derivation(_Part):
    name: Literal["scrypt", "key"]
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    cost: Annotated[int, Field(ge=2**14, le=2**18)] = _COST


class _Header(_Part):
    format: Literal["edged gallery"]
    version: int
    derivation: _Derivation


class _Template(_Part):
    model_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    embedding: Annotated[_Bytes, Field(min_length=8, max_length=4 * 4096)]
    crop: _Bytes | None = None


class _Person(_Part):
    person_id: Annotated[str, Field(pattern=r"^p[0-9a-f]{16}$")]
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    consent: Annotated[str, Field(max_length=LONGEST_CONSENT)]
    enrolled_at: float
    expires_at: float | None
    templates: Annotated[tuple[_Template, ...], Field(min_length=1, max_length=1000)]


class _End(_Part):
    n_people: int


def export_gallery(gallery: Gallery, path: Path, secret: ArchiveSecret, *, now_at: float) -> int:
    """Write everybody into a new file of mode 0600, there whole or not at all; how many there are.

    Raises:
        FaceError: there is a file of this name.
        GalleryError: it cannot be written.
    """
    if path.exists():
        raise FaceError("archive.exists", f"{path}: is there already", mend="name another file, or remove that one")
    derivation = _Derivation(name="scrypt" if secret.passphrase else "key", salt=secrets.token_hex(16))
    header = _Header(format=_FORMAT, version=_VERSION, derivation=derivation).model_dump_json().encode() + b"\n"
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            with gallery.reading():
                version = gallery.version()
                written = _write(file, header, _entries(gallery), _cipher(secret, derivation))
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, path)
    except BaseException as error:  # whatever broke it off: no half file is left
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise GalleryError(
                "archive.write", f"{path}: cannot be written: {error.strerror}", mend="make room, or name another place"
            ) from error
        raise
    with gallery.transaction():
        gallery.note_export(path.absolute(), at=now_at, sha256=written.sha256, version=version)
    return written.n_people


def import_gallery(gallery: Gallery, path: Path, secret: ArchiveSecret, *, replaces: bool = False) -> int:
    """Add everybody of an archive, or nobody; how many they are.

    Args:
        replaces: who is enrolled already, by id or name, is replaced; otherwise nobody is added.

    Raises:
        FaceError: there is no such file, it is no archive, damaged or of another secret, or somebody in it is enrolled already.
        GalleryError: the gallery cannot be written.
    """
    try:
        with path.open("rb") as file, gallery.transaction():
            n = 0
            for person in _read(file, path, secret):
                _add(gallery, person, replaces=replaces)
                n += 1
            return n
    except OSError as error:
        raise FaceError("archive.read", f"{path}: cannot be read: {error.strerror}", mend="name the file of an export") from error


@dataclass(frozen=True, slots=True)
class _Written:
    n_people: int
    sha256: str


def _entries(gallery: Gallery) -> Iterator[_Person]:
    for person in gallery.people():
        yield _Person(
            person_id=person.person_id,
            name=person.name,
            consent=person.consent,
            enrolled_at=person.enrolled_at,
            expires_at=person.expires_at,
            templates=tuple(
                _Template(model_digest=each.model_digest, embedding=each.embedding.astype("<f4").tobytes(), crop=each.crop_png)
                for each in gallery.templates(person.person_id)
            ),
        )


def _add(gallery: Gallery, person: _Person, *, replaces: bool) -> None:
    for known in (gallery.find(person.person_id), gallery.find(person.name)):
        if known is None:
            continue
        if not replaces:
            raise FaceError(
                "archive.conflict",
                f"{known.name!r} ({known.person_id}) is enrolled already; nobody was imported",
                mend="import with --replace, or forget that person first",
            )
        gallery.remove_person(known.person_id)
    gallery.add_person(
        person.name,
        consent=person.consent,
        enrolled_at=person.enrolled_at,
        expires_at=person.expires_at,
        person_id=person.person_id,
    )
    for template in person.templates:
        if len(template.embedding) % 4:
            raise _damaged("a template is no row of numbers")
        embedding = np.frombuffer(template.embedding, "<f4").astype(np.float32)
        gallery.add_template(person.person_id, embedding, model_digest=template.model_digest, crop_png=template.crop)


def _write(file: BinaryIO, header: bytes, people: Iterator[_Person], cipher: Cipher) -> _Written:
    digest = hashlib.sha256(header)
    file.write(header)
    n = 0

    def put(part: BaseModel, kind: str) -> None:
        sealed = cipher.seal(part.model_dump_json().encode(), bound_to=bind(header, str(n), kind))
        framed = len(sealed).to_bytes(4, "big") + sealed
        file.write(framed)
        digest.update(framed)

    for person in people:
        put(person, "person")
        n += 1
    put(_End(n_people=n), "end")
    return _Written(n, digest.hexdigest())


def _read(file: BufferedReader, path: Path, secret: ArchiveSecret) -> Iterator[_Person]:
    """The people of an archive, each checked as it comes; that it ends where it was ended is known with the last."""
    line = file.readline(_LONGEST_HEADER)
    header = _read_header(line, path)
    if (header.derivation.name == "scrypt") != (secret.passphrase is not None):
        wanted = "a passphrase" if header.derivation.name == "scrypt" else "a key file"
        raise FaceError("archive.secret", f"{path}: was encrypted with {wanted}", mend=f"give {wanted}")
    cipher = _cipher(secret, header.derivation)
    n = 0
    while True:
        sealed = _read_part(file)
        is_last = not file.peek(1)
        try:
            plain = cipher.open(sealed, bound_to=bind(line, str(n), "end" if is_last else "person"))
        except ValueError:
            if n:
                raise _damaged(f"part {n + 1} was changed, or parts are missing") from None
            raise FaceError(
                "archive.key_wrong",
                f"{path}: another passphrase or key, or the file is damaged",
                mend="try the right one, or another export",
            ) from None
        try:
            if is_last:
                _End.model_validate_json(plain)
                return
            yield _Person.model_validate_json(plain)
        except ValidationError as error:
            raise _damaged(f"part {n + 1} has {error.error_count()} mistakes") from None
        n += 1


def _read_header(line: bytes, path: Path) -> _Header:
    try:
        data = json.loads(line)
        version = data["version"]
        if data["format"] != _FORMAT:
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise FaceError("archive.format", f"{path}: is no export of a gallery", mend="name the file of an export") from None
    if version != _VERSION:
        raise FaceError(
            "archive.version",
            f"{path}: has version {version!r:.20}, this edged reads {_VERSION}",
            mend="use the edged that wrote it",
        )
    try:
        return _Header.model_validate(data)
    except ValidationError as error:
        raise _damaged(f"its head has {error.error_count()} mistakes") from None


def _read_part(file: BinaryIO) -> bytes:
    length = int.from_bytes(head, "big") if len(head := file.read(4)) == 4 else 0
    if not 0 < length <= _LONGEST_PART:
        raise _damaged("it is cut off")
    sealed = file.read(length)
    if len(sealed) < length:
        raise _damaged("it is cut off")
    return sealed


def _cipher(secret: ArchiveSecret, derivation: _Derivation) -> Cipher:
    salt = bytes.fromhex(derivation.salt)
    if secret.key is not None:
        return Cipher(hashlib.blake2b(salt, key=secret.key, digest_size=KEY_BYTES).digest())
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    passphrase = unicodedata.normalize("NFC", secret.passphrase or "").encode()
    return Cipher(Scrypt(salt=salt, length=KEY_BYTES, n=derivation.cost, r=8, p=1).derive(passphrase))


def _damaged(what: str) -> FaceError:
    return FaceError("archive.damaged", f"the archive is damaged: {what}; nobody was imported", mend="try another export")
