"""The key of the gallery: made once, kept close, and of no use to values that were moved or changed."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from edged.errors import GalleryError
from edged.identity import encryption
from edged.identity.encryption import Cipher, KeyPlace, bind, load_key, make_key

KEY = bytes(range(32))


def test_value_sealed_is_opened_in_its_place_only():
    """What it was bound to is as much part of it as the key."""
    cipher = Cipher(KEY)
    sealed = cipher.seal(b"template", bound_to=b"row 1")

    assert cipher.open(sealed, bound_to=b"row 1") == b"template"
    assert b"template" not in sealed
    with pytest.raises(ValueError, match="another place"):
        cipher.open(sealed, bound_to=b"row 2")
    with pytest.raises(ValueError, match="another key"):
        Cipher(KEY[::-1]).open(sealed, bound_to=b"row 1")


@pytest.mark.parametrize("place", [0, 11, 12, -1])
def test_value_changed_in_one_bit_is_refused(place):
    """In its nonce, its text or its tag."""
    cipher = Cipher(KEY)
    sealed = bytearray(cipher.seal(b"template", bound_to=b""))
    sealed[place] ^= 1

    with pytest.raises(ValueError, match="changed"):
        cipher.open(bytes(sealed), bound_to=b"")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(27)])
def test_value_too_short_to_be_one_is_refused(sealed):
    """Cut off, or never sealed."""
    with pytest.raises(ValueError, match="28 bytes at least"):
        Cipher(KEY).open(sealed, bound_to=b"")


def test_value_sealed_twice_differs():
    """Nobody sees that two rows are equal."""
    cipher = Cipher(KEY)

    assert cipher.seal(b"same", bound_to=b"") != cipher.seal(b"same", bound_to=b"")


def test_token_finds_equal_texts_under_one_key():
    """The same name twice is noticed; under another key it is another token."""
    assert Cipher(KEY).token("anna") == Cipher(KEY).token("anna")
    assert Cipher(KEY).token("anna") != Cipher(KEY).token("anne")
    assert Cipher(KEY).token("anna") != Cipher(KEY[::-1]).token("anna")


def test_parts_bound_together_are_not_those_of_other_parts():
    """Where one part ends and the next begins counts."""
    assert bind("ab", "c") != bind("a", "bc") != bind("abc")


def test_cipher_of_a_short_key_is_refused():
    """A key that was cut off protects nothing."""
    with pytest.raises(ValueError, match="32 bytes"):
        Cipher(b"short")


def test_key_made_is_read_again_and_ours_alone(tmp_path):
    """Mode 0600 whatever the umask, and nothing else is left behind."""
    before = os.umask(0)
    try:
        key = make_key(tmp_path / "gallery.key")
    finally:
        os.umask(before)

    assert load_key(KeyPlace(tmp_path / "gallery.key")) == key
    assert len(key) == 32
    assert stat.S_IMODE((tmp_path / "gallery.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.key"]


def test_key_made_by_many_at_once_is_one(tmp_path):
    """Whoever comes second takes the key of the first."""
    keys = []
    threads = [threading.Thread(target=lambda: keys.append(make_key(tmp_path / "gallery.key"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.key"]


def test_key_that_cannot_be_written_names_the_place(tmp_path):
    """There is no such directory."""
    with pytest.raises(GalleryError, match=r"gallery\.key: no key can be written there: No such file") as caught:
        make_key(tmp_path / "missing" / "gallery.key")

    assert caught.value.code == "gallery.key"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_key_that_others_may_use_is_refused(tmp_path, mode):
    """It may have been read already, so the message says to ask."""
    path = tmp_path / "gallery.key"
    make_key(path)
    path.chmod(mode)

    with pytest.raises(GalleryError, match=rf"mode {mode:04o}, expected 0600.*chmod 600") as caught:
        load_key(KeyPlace(path))

    assert caught.value.code == "gallery.mode"


def test_key_of_another_user_is_refused(tmp_path, monkeypatch):
    """Whoever owns it can read and replace it."""
    path = tmp_path / "gallery.key"
    make_key(path)
    monkeypatch.setattr(encryption.os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(GalleryError, match="belongs to user") as caught:
        load_key(KeyPlace(path))

    assert caught.value.code == "gallery.owner"


def test_key_among_credentials_may_have_the_mode_that_systemd_gives(tmp_path):
    """systemd owns them and lets us read by an access list."""
    path = tmp_path / "edged.gallery-key"
    path.write_text(KEY.hex())
    path.chmod(0o440)

    assert load_key(KeyPlace(path, is_credential=True)) == KEY


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "0 bytes that are none", id="empty"),
        pytest.param(b"ab" * 31, "62 bytes", id="short"),
        pytest.param(b"\xff" * 64, "64 bytes", id="not text"),
        pytest.param(b"a" * 100_000, "64 hexadecimal", id="long"),
    ],
)
def test_key_that_is_none_is_refused(tmp_path, content, message):
    """And never shown."""
    path = tmp_path / "gallery.key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(GalleryError, match=message) as caught:
        load_key(KeyPlace(path))

    assert caught.value.code == "gallery.key"


def test_key_that_is_missing_or_no_file_is_told(tmp_path):
    """A pipe in its place hangs nothing."""
    os.mkfifo(tmp_path / "pipe", 0o600)

    with pytest.raises(GalleryError, match="is not there") as missing:
        load_key(KeyPlace(tmp_path / "gallery.key"))
    with pytest.raises(GalleryError, match="found something else"):
        load_key(KeyPlace(tmp_path / "pipe"))

    assert missing.value.code == "gallery.key_missing"
