"""The key of the gallery: names, templates and pictures are encrypted with it, each bound to the place it was written to.

AES-256 in Galois/counter mode, with a random nonce of 96 bits for each value. What a value is bound to (its row, its person, its
encoder) is authenticated with it, so that a value copied into another row is refused like one of which a bit was changed.

Source: NIST SP 800-38D, 8.2.2 and 8.3: random nonces are safe for 2^32 values under one key; RFC 5869 for the keys of each use.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.errors import GalleryError

KEY_BYTES = 32
KEY_NAME = "gallery.key"
"""The key's file in the state directory."""
CREDENTIAL_NAME = "edged.gallery-key"
"""What the key is called among systemd's credentials."""

_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_TEXT = re.compile(r"[0-9a-f]{64}")
_LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the key is.

    Attributes:
        path: its file.
        is_credential: systemd made the file and looks after who may read it; otherwise it is ours, made on first use.
    """

    path: Path
    is_credential: bool = False


class Cipher:
    """Encrypts values and makes tokens by which equal ones are found. Used by any number of threads.

    Args:
        key: 32 random bytes.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if len(key) != KEY_BYTES:
            raise ValueError(f"expected a key of {KEY_BYTES} bytes, got {len(key)}")
        self._aead = AESGCM(_derive(key, b"edged gallery values"))
        self._token_key = _derive(key, b"edged gallery tokens")

    def seal(self, plain: bytes, *, bound_to: bytes) -> bytes:
        """A value, encrypted; 28 bytes longer."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, bound_to)

    def open(self, sealed: bytes, *, bound_to: bytes) -> bytes:
        """What was encrypted.

        Raises:
            ValueError: it was encrypted with another key or for another place, or it was changed.
        """
        if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
            raise ValueError(f"an encrypted value has {_NONCE_BYTES + _TAG_BYTES} bytes at least, this one {len(sealed)}")
        return self.open_all([sealed], bound_to=[bound_to])[0]

    def open_all(self, sealed: Sequence[bytes], *, bound_to: Sequence[bytes]) -> list[bytes]:
        """The same of many values, each bound to its own place, in a fraction of the time.

        Raises:
            ValueError: as for `open`, of any of them.
        """
        from cryptography.exceptions import InvalidTag

        decrypt = self._aead.decrypt
        try:
            return [
                decrypt(each[:_NONCE_BYTES], each[_NONCE_BYTES:], place) for each, place in zip(sealed, bound_to, strict=True)
            ]
        except InvalidTag:
            raise ValueError("encrypted with another key or for another place, or changed") from None

    def token(self, text: str) -> bytes:
        """32 bytes, the same for the same text under this key, and telling nothing of it without the key."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.hmac import HMAC

        keyed = HMAC(self._token_key, SHA256())
        keyed.update(text.encode())
        return keyed.finalize()


def bind(*parts: str | bytes) -> bytes:
    """One text of several parts that no other parts give: each follows its own length, so texts of parts can be joined."""
    bound = b""
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        bound += len(encoded).to_bytes(4, "big") + encoded
    return bound


def load_key(place: KeyPlace) -> bytes:
    """The key in a file: 64 hexadecimal digits and the end of the line.

    Raises:
        GalleryError: it is not there, not ours alone, or holds no key.
    """
    path = place.path
    try:
        # without waiting: a pipe in its place must not hang the start
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_LONGEST_TEXT) or b""
    except FileNotFoundError:
        raise GalleryError(
            "gallery.key_missing",
            f"{path}: the key of the gallery is not there",
            mend="put it back from where it is kept, or begin anew: move gallery.db away and enrol again",
        ) from None
    except OSError as error:
        raise GalleryError(
            "gallery.key",
            f"{path}: the key cannot be read: {error.strerror}",
            mend="let the user that runs edged own and read it",
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise GalleryError("gallery.key", f"{path}: expected the key in a file, found something else", mend="put a file there")
    if not place.is_credential:
        check_access(path, status)
    key = text.decode("ascii", errors="replace").strip()
    if not _KEY_TEXT.fullmatch(key):
        raise GalleryError(
            "gallery.key",
            f"{path}: expected a key of 64 hexadecimal digits, found {len(text)} bytes that are none",
            mend="put the key back from where it is kept",
        )
    return bytes.fromhex(key)


def make_key(path: Path) -> bytes:
    """A new key in a file of mode 0600, there whole or not at all; if another process was quicker, its key.

    Raises:
        GalleryError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(part)
        _sync_names(path.parent)
    except OSError as error:
        raise GalleryError(
            "gallery.key",
            f"{path}: no key can be written there: {error.strerror}",
            mend="make room, or make the directory writable",
        ) from error
    return load_key(KeyPlace(path))


def check_access(path: Path, status: os.stat_result) -> None:
    """See that a file belongs to the user of this process, and that nobody else may read or write it.

    Raises:
        GalleryError: it does not, or others may.
    """
    if status.st_uid != os.geteuid():
        raise GalleryError(
            "gallery.owner",
            f"{path}: belongs to user {status.st_uid}, this process runs as {os.geteuid()}",
            mend=f"run edged as its owner, or chown {os.geteuid()} {path}",
        )
    if status.st_mode & 0o077:
        raise GalleryError(
            "gallery.mode",
            f"{path}: other users may use it (mode {stat.S_IMODE(status.st_mode):04o}, expected 0600)",
            mend=f"chmod 600 {path}, and ask who read it meanwhile",
        )


def _derive(key: bytes, use: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=use).derive(key)


def _sync_names(directory: Path) -> None:
    """A new name is on disk only once its directory is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
