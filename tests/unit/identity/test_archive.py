"""An export holds everybody, and opens for its secret only; an import brings everybody, or nobody."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from stand_ins.faces import STAND_IN_DIGEST, embedding_of

from edged.errors import FaceError, GalleryError
from edged.identity import archive
from edged.identity.archive import ArchiveSecret, export_gallery, import_gallery
from edged.identity.encryption import KeyPlace
from edged.identity.gallery import Gallery, open_gallery

from .conftest import NOW_AT, add

SECRET = ArchiveSecret(key=bytes(range(32)))


@pytest.fixture
def other(tmp_path: Path):
    with open_gallery(tmp_path / "other", KeyPlace(tmp_path / "other" / "gallery.key")) as gallery:
        yield gallery


def contents(gallery: Gallery) -> list[tuple]:
    return [
        (
            (person.person_id, person.name, person.consent, person.enrolled_at, person.expires_at),
            [(each.model_digest, each.embedding.tobytes(), each.crop_png) for each in gallery.templates(person.person_id)],
        )
        for person in gallery.people()
    ]


def export(gallery: Gallery, path: Path, secret: ArchiveSecret = SECRET) -> Path:
    export_gallery(gallery, path, secret, now_at=NOW_AT)
    return path


def test_export_imported_elsewhere_is_the_same_gallery(gallery, other, tmp_path):
    """Ids, names, consents, times, templates and crops, under another gallery's key."""
    add(gallery, "Anna Müller", 1, expires_at=NOW_AT + 60)
    bert = add(gallery, "Bert", 2)
    with gallery.transaction():
        gallery.add_template(bert, embedding_of(3), model_digest="7" * 64, crop_png=b"a picture")
    path = export(gallery, tmp_path / "people")

    n = import_gallery(other, path, SECRET)

    assert n == 2
    assert contents(other) == contents(gallery)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other", "people", "state"]


def test_export_of_nobody_is_imported(gallery, other, tmp_path):
    """It is whole, though empty."""
    assert import_gallery(other, export(gallery, tmp_path / "people"), SECRET) == 0


def test_export_tells_nothing_without_its_secret(gallery, other, tmp_path):
    """No name, no template, and another key or passphrase opens nothing."""
    add(gallery, "Anna Müller", 1)
    path = export(gallery, tmp_path / "people")

    raw = path.read_bytes()
    for secret in ("Anna Müller".encode(), b"form 12", embedding_of(1).tobytes()[:16]):
        assert secret not in raw
    with pytest.raises(FaceError) as caught:
        import_gallery(other, path, ArchiveSecret(key=bytes(32)))
    assert caught.value.code == "archive.key_wrong"
    with pytest.raises(FaceError, match="give a key file") as caught:
        import_gallery(other, path, ArchiveSecret(passphrase="correct horse battery"))
    assert caught.value.code == "archive.secret"


def test_export_with_a_passphrase_opens_with_it(monkeypatch, gallery, other, tmp_path):
    """However its accents are typed."""
    monkeypatch.setattr(archive, "_COST", 2**14)
    add(gallery, "Anna", 1)
    path = export(gallery, tmp_path / "people", ArchiveSecret(passphrase="Müller horse battery"))

    with pytest.raises(FaceError, match="another passphrase"):
        import_gallery(other, path, ArchiveSecret(passphrase="Muller horse battery"))
    assert import_gallery(other, path, ArchiveSecret(passphrase="Mu\u0308ller horse battery")) == 1


def test_passphrase_that_is_short_is_refused():
    """An export travels; whoever finds it has all the time there is."""
    with pytest.raises(FaceError, match="8 characters, it takes 12"):
        ArchiveSecret(passphrase="password")


def test_export_over_a_file_is_refused(gallery, tmp_path):
    """Nobody's file is lost."""
    (tmp_path / "people").write_text("mine")

    with pytest.raises(FaceError, match="is there already") as caught:
        export(gallery, tmp_path / "people")

    assert caught.value.code == "archive.exists"
    assert (tmp_path / "people").read_text() == "mine"


def test_export_that_cannot_be_written_leaves_nothing(gallery, tmp_path):
    """Neither a file nor a note of one."""
    with pytest.raises(GalleryError, match="cannot be written") as caught:
        export(gallery, tmp_path / "missing" / "people")

    assert caught.value.code == "archive.write"
    assert gallery.exports() == []


def frames_of(data: bytes) -> list[bytes]:
    """The head of an archive and its parts."""
    head, rest = data.split(b"\n", 1)
    parts = [head + b"\n"]
    while rest:
        length = 4 + int.from_bytes(rest[:4], "big")
        parts.append(rest[:length])
        rest = rest[length:]
    return parts


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda frames: frames[:-1], id="end missing"),
        pytest.param(lambda frames: [frames[0], frames[1], frames[3], frames[4]], id="one left out"),
        pytest.param(lambda frames: [frames[0], frames[2], frames[1], *frames[3:]], id="two exchanged"),
        pytest.param(lambda frames: [*frames[:3], frames[2], *frames[3:]], id="one doubled"),
        pytest.param(lambda frames: [*frames, frames[-1]], id="more after the end"),
        pytest.param(lambda frames: [*frames[:3], frames[3][:-1] + bytes([frames[3][-1] ^ 1]), frames[4]], id="one bit"),
        pytest.param(lambda frames: [*frames[:3], frames[3][:50]], id="cut off in a part"),
        pytest.param(lambda frames: [*frames[:3], b"\xff\xff\xff\xff"], id="a part of four gigabytes"),
        pytest.param(lambda frames: [frames[0].replace(b'"version":1', b'"version": 1'), *frames[1:]], id="head changed"),
        pytest.param(lambda frames: [frames[0]], id="head alone"),
    ],
)
def test_import_of_a_damaged_archive_brings_nobody(gallery, other, tmp_path, change):
    """What was read before the damage was found is taken back."""
    for number, name in enumerate(("Anna", "Bert", "Carl")):
        add(gallery, name, number)
    path = export(gallery, tmp_path / "people")
    path.write_bytes(b"".join(change(frames_of(path.read_bytes()))))

    with pytest.raises(FaceError) as caught:
        import_gallery(other, path, SECRET)

    assert caught.value.code in ("archive.damaged", "archive.key_wrong")
    assert other.people() == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", "archive.format", id="empty"),
        pytest.param(b"\xff" * 5000, "archive.format", id="noise"),
        pytest.param(b"[" * 5000, "archive.format", id="deep"),
        pytest.param(b'{"format": "edged gallery", "version": 9}\n', "archive.version", id="of a newer edged"),
        pytest.param(b'{"format": "edged gallery", "version": 1}\n', "archive.damaged", id="no derivation"),
        pytest.param(
            b'{"format":"edged gallery","version":1,"derivation":{"name":"scrypt","salt":"'
            + b"0" * 32
            + b'","cost":1073741824}}\n',
            "archive.damaged",
            id="a key that takes all memory",
        ),
    ],
)
def test_import_of_another_file_is_refused(other, tmp_path, content, code):
    """With what is wrong with it."""
    (tmp_path / "people").write_bytes(content)

    with pytest.raises(FaceError) as caught:
        import_gallery(other, tmp_path / "people", ArchiveSecret(passphrase="correct horse battery"))

    assert caught.value.code == code


def test_import_of_a_bad_template_brings_nobody(gallery, other, tmp_path):
    """One of a thousand that is no direction, and the other nine hundred and ninety-nine stay out, too."""
    add(gallery, "Anna", 1)
    add(gallery, "Bert", 2)
    good, bad = archive._entries(gallery)
    template = archive._Template(model_digest=STAND_IN_DIGEST, embedding=np.zeros(128, "<f4").tobytes())
    bad = bad.model_copy(update={"templates": (template,)})
    derivation = archive._Derivation(name="key", salt="0" * 32)
    header = archive._Header(format="edged gallery", version=1, derivation=derivation).model_dump_json().encode() + b"\n"
    with (tmp_path / "people").open("wb") as file:
        archive._write(file, header, iter([good, bad]), archive._cipher(SECRET, derivation))

    with pytest.raises(FaceError) as caught:
        import_gallery(other, tmp_path / "people", SECRET)

    assert caught.value.code == "enrol.embedding"
    assert other.people() == []


def test_import_of_somebody_who_is_enrolled_is_refused_unless_asked(gallery, tmp_path):
    """By name or by id; with `replaces` the archive wins, and others stay."""
    add(gallery, "Anna", 1)
    path = export(gallery, tmp_path / "people")
    add(gallery, "Bert", 2)

    with pytest.raises(FaceError, match=r"'Anna'.*enrolled already; nobody was imported") as caught:
        import_gallery(gallery, path, SECRET)

    assert caught.value.code == "archive.conflict"
    assert import_gallery(gallery, path, SECRET, replaces=True) == 1
    assert sorted(person.name for person in gallery.people()) == ["Anna", "Bert"]
