"""Whoever is forgotten is gone: from the file, its log, exports and whatever mentions them; what is left is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins.faces import STAND_IN_DIGEST, embedding_of

from edged.errors import GalleryError, SinkError
from edged.identity.archive import ArchiveSecret, export_gallery
from edged.identity.encryption import KeyPlace
from edged.identity.forgetting import Erased, MediaTrace, forget
from edged.identity.gallery import Gallery, open_gallery
from edged.identity.people import Person

from .conftest import NOW_AT, add

SECRET = ArchiveSecret(key=bytes(range(32)))


def sealed_bytes(gallery: Gallery, person_id: str) -> list[bytes]:
    """Everything encrypted that the file holds of somebody."""
    connection = gallery._connection
    rows = connection.execute("SELECT name_token, record FROM person WHERE id = ?", (person_id,)).fetchall()
    rows += connection.execute("SELECT id, sealed, crop FROM template WHERE person_id = ?", (person_id,)).fetchall()
    return [value for row in rows for value in row if value is not None]


def raw_bytes(state_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(state_dir.rglob("*")) if path.is_file())


@pytest.mark.parametrize("n_others", [0, 3, 300])
def test_nothing_of_whoever_is_forgotten_is_in_the_raw_files(gallery, open_here, state_dir, n_others):
    """Neither plain nor encrypted bytes, in file and log, with another process reading; others still match."""
    others = [add(gallery, f"person {number}", number) for number in range(10, 10 + n_others // 2)]
    anna = add(gallery, "Anna Müller", 1)
    others += [add(gallery, f"person {number}", number) for number in range(10 + n_others // 2, 10 + n_others)]
    with gallery.transaction():
        gallery.add_template(anna, embedding_of(2), model_digest=STAND_IN_DIGEST, crop_png=b"a face " * 900)
    gallery.record(at=NOW_AT, actor="cli:root", action="enrol", person_id=anna)
    daemon = open_here()
    daemon.take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT)
    before = sealed_bytes(gallery, anna)
    assert all(value in raw_bytes(state_dir) for value in before[:3])

    found = forget(gallery, gallery.get("Anna Müller"))

    raw = raw_bytes(state_dir)
    plain = ["Anna Müller".encode(), b"form 12", b"a face a face", embedding_of(1).tobytes(), embedding_of(2).tobytes()[:16]]
    pieces = [value[start : start + 32] for value in before for start in range(0, len(value), 32)]
    assert [value for value in (*plain, *pieces) if len(value) >= 12 and value in raw] == []
    assert (len(found.erased), found.left) == (1, ())
    assert daemon.take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT).matcher.person_ids == tuple(others)
    assert [entry.person_id for entry in gallery.audit(most=9)] == [anna]


def test_somebody_forgotten_on_a_full_disk_matches_no_more_and_is_erased_later(gallery, open_here, state_dir, monkeypatch):
    """Overwriting needs room: until there is, it is said, and whoever opens the gallery next tries again."""
    anna = add(gallery, "Anna", 1)
    before = sealed_bytes(gallery, anna)

    def fail(connection):
        raise GalleryError("gallery.disk", "no room", mend="make room")

    monkeypatch.setattr("edged.identity.gallery.erase_deleted", fail)
    found = forget(gallery, gallery.get("Anna"))
    gallery.close()
    monkeypatch.undo()

    assert "not yet overwritten" in found.left[0]
    assert open_here().take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT).matcher.person_ids == ()
    assert not any(value in raw_bytes(state_dir) for value in before)


def test_exports_that_hold_somebody_are_removed_with_them(gallery, tmp_path):
    """Those from before they came stay; one that was moved or changed is named."""
    early, held, moved, changed = (tmp_path / name for name in ("early", "held", "moved", "changed"))
    add(gallery, "Bert", 2)
    export_gallery(gallery, early, SECRET, now_at=NOW_AT)
    add(gallery, "Anna", 1)
    for path in (held, moved, changed):
        export_gallery(gallery, path, SECRET, now_at=NOW_AT)
    moved.rename(tmp_path / "elsewhere")
    changed.write_bytes(b"another file")

    found = forget(gallery, gallery.get("Anna"))

    assert early.exists()
    assert not held.exists()
    assert changed.read_bytes() == b"another file"
    assert [str(held) in line for line in found.erased] == [False, True]
    assert [line.split(":")[0] for line in found.left] == [str(moved), str(changed)]
    assert [each.path for each in gallery.exports()] == [early, moved, changed]


def test_exports_are_kept_where_that_is_asked_for(gallery, tmp_path):
    """And named, since they hold somebody who should be forgotten."""
    add(gallery, "Anna", 1)
    export_gallery(gallery, tmp_path / "people", SECRET, now_at=NOW_AT)

    found = forget(gallery, gallery.get("Anna"), keeps_exports=True)

    assert (tmp_path / "people").exists()
    assert "kept as asked" in found.left[0]


def test_media_that_mention_somebody_are_erased(gallery, tmp_path):
    """Lines of events, sidecars, pictures named after them; nothing else is touched."""
    anna, bert = add(gallery, "Anna", 1), add(gallery, "Bert", 2)
    media = tmp_path / "media"
    (media / "door").mkdir(parents=True)
    (media / "events.jsonl").write_text(f'{{"subject":"{anna}"}}\n{{"subject":"{bert}"}}\n{{"type":"zone.enter"}}\n')
    (media / "door" / f"{anna}-7.jpg").write_bytes(b"a picture")
    (media / "door" / "shot.json").write_text(f'{{"subject":"{anna}"}}')
    (media / "door" / "other.json").write_text(f'{{"subject":"{bert}"}}')
    (media / "large.bin").write_bytes(bytes(2**20 - 5) + anna.encode() + bytes(100))  # over the edge of what is read at once
    (media / "link").symlink_to(tmp_path / "state")

    found = MediaTrace(media).erase(gallery.get("Anna"))

    assert {Path(line).name for line in found.erased} == {"events.jsonl", f"{anna}-7.jpg", "shot.json", "large.bin"}
    assert (media / "events.jsonl").read_text() == f'{{"subject":"{bert}"}}\n{{"type":"zone.enter"}}\n'
    assert sorted(path.name for path in media.rglob("*")) == ["door", "events.jsonl", "link", "other.json"]
    assert anna.encode() not in raw_bytes(media)


class BrokenTrace:
    """A place that cannot be reached."""

    def erase(self, person: Person) -> Erased:
        raise SinkError("broker: no answer")


def test_place_that_cannot_be_reached_is_named_and_the_others_are_erased(gallery, tmp_path):
    """Forgetting goes as far as it can."""
    anna = add(gallery, "Anna", 1)
    (tmp_path / f"{anna}.jpg").write_bytes(b"")

    found = forget(gallery, gallery.get("Anna"), traces=[BrokenTrace(), MediaTrace(tmp_path)])

    assert found.left == ("broker: no answer",)
    assert str(tmp_path / f"{anna}.jpg") in found.erased


def test_somebody_forgotten_can_be_enrolled_again(gallery, state_dir):
    """As somebody new, with another id."""
    anna = add(gallery, "Anna", 1)
    forget(gallery, gallery.get("Anna"))

    again = add(gallery, "Anna", 1)

    assert again != anna
    with open_gallery(state_dir, KeyPlace(state_dir / "gallery.key")) as other:
        assert [person.person_id for person in other.people()] == [again]
