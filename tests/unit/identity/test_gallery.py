"""The gallery keeps people, whatever happens to it, and tells nobody who they are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stand_ins.faces import STAND_IN_DIGEST, embedding_of

from edged.errors import FaceError, GalleryError
from edged.identity.encryption import KeyPlace
from edged.identity.gallery import Gallery, open_gallery
from edged.identity.people import check_name
from edged.identity.snapshots import CurrentSnapshot

from .conftest import NOW_AT, add

OTHER_DIGEST = "7" * 64


def raw_bytes(state_dir: Path) -> bytes:
    """Everything in the state directory but the key."""
    return b"".join(path.read_bytes() for path in sorted(state_dir.iterdir()) if path.name != "gallery.key")


# -- what is kept


def test_people_enrolled_are_there_after_closing(gallery, open_here):
    """Names as they were written, found in any case, with their templates."""
    anna = add(gallery, "Anna Müller", 1, expires_at=NOW_AT + 60)
    add(gallery, "Bert", 2)
    gallery.close()

    people = open_here().people()

    assert [(person.name, dict(person.templates), person.n_crops) for person in people] == [
        ("Anna Müller", {STAND_IN_DIGEST: 1}, 0),
        ("Bert", {STAND_IN_DIGEST: 1}, 0),
    ]
    assert people[0].person_id == anna
    assert (people[0].consent, people[0].enrolled_at, people[0].expires_at) == ("form 12", NOW_AT, NOW_AT + 60)


@pytest.mark.parametrize("asked", ["Anna Müller", "anna müller", " ANNA  MÜLLER", "Anna Mu\u0308ller"])
def test_person_is_found_by_name_as_people_write_it(gallery, asked):
    """Case, blanks and the way an umlaut is coded make no difference."""
    anna = add(gallery, "Anna Müller", 1)

    assert gallery.get(asked).person_id == anna
    assert gallery.get(anna).name == "Anna Müller"


def test_name_taken_is_refused(gallery):
    """Two people of one name could not be told apart in an event."""
    add(gallery, "Anna", 1)

    with pytest.raises(FaceError, match="already enrolled as 'ANNA'") as caught:
        add(gallery, "ANNA", 2)

    assert caught.value.code == "enrol.name_taken"
    assert len(gallery.people()) == 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param(" \t", id="blank"),
        pytest.param("x" * 129, id="129 characters"),
        pytest.param("a" * 1_000_000, id="a megabyte"),
        pytest.param("An\0na", id="NUL"),
        pytest.param("An\nna", id="two lines"),
        pytest.param("Anna\u202egnp", id="direction turned"),
        pytest.param("An\u200bna", id="invisible blank"),
        pytest.param("\ud800", id="half a character"),
        pytest.param("p0123456789abcdef", id="an id"),
    ],
)
def test_name_that_is_none_is_refused(name):
    """What cannot be seen cannot be told apart."""
    with pytest.raises(FaceError, match="this is no name") as caught:
        check_name(name)

    assert caught.value.code == "enrol.name"


def test_person_unknown_is_told(gallery):
    """With the way to see who is there."""
    with pytest.raises(FaceError, match=r"nobody is enrolled as 'Anna'.*faces list") as caught:
        gallery.get("Anna")

    assert caught.value.code == "faces.unknown_person"


@pytest.mark.parametrize(
    "embedding",
    [
        pytest.param(np.full(128, np.nan, np.float32), id="NaN"),
        pytest.param(np.full(128, np.inf, np.float32), id="infinite"),
        pytest.param(np.zeros(128, np.float32), id="zero"),
        pytest.param(np.ones(128, np.float32), id="not of unit length"),
        pytest.param(embedding_of(3, dimension=64), id="other dimension"),
    ],
)
def test_template_that_is_no_direction_is_refused_with_all_that_came_with_it(gallery, embedding):
    """Nobody is left without templates, and no NaN makes everybody unknown."""
    add(gallery, "Anna", 1)
    before = gallery.version()

    with pytest.raises(FaceError) as caught:
        add(gallery, "Bert", 2, embedding=embedding)

    assert caught.value.code == "enrol.embedding"
    assert [person.name for person in gallery.people()] == ["Anna"]
    assert gallery.version() == before


def test_gallery_changed_outside_of_a_transaction_is_refused(gallery):
    """Half an enrolment is never written."""
    with pytest.raises(RuntimeError, match="inside of a transaction"):
        gallery.add_person("Anna", consent="", enrolled_at=NOW_AT)


# -- what others see of it


def test_gallery_copied_without_its_key_tells_nothing(gallery, state_dir, tmp_path):
    """Neither name nor consent nor template stands in the raw files, and another key opens nothing."""
    add(gallery, "Anna Müller", 1)
    gallery.close()
    raw = raw_bytes(state_dir)
    thief = tmp_path / "thief"
    thief.mkdir()
    (thief / "gallery.db").write_bytes((state_dir / "gallery.db").read_bytes())
    (thief / "gallery.db").chmod(0o600)

    for secret in ("Anna Müller".encode(), b"anna", b"form 12", embedding_of(1).tobytes(), embedding_of(1).tobytes()[:16]):
        assert secret not in raw
    with pytest.raises(GalleryError) as caught:
        open_gallery(thief, KeyPlace(thief / "gallery.key"))
    assert caught.value.code == "gallery.key_missing"
    assert not (thief / "gallery.key").exists()


def test_gallery_with_the_key_of_another_is_refused(gallery, state_dir):
    """The message says that nobody can read it without the right one."""
    add(gallery, "Anna", 1)
    gallery.close()
    (state_dir / "gallery.key").write_text("ab" * 32)

    with pytest.raises(GalleryError, match="encrypted with another key") as caught:
        open_gallery(state_dir, KeyPlace(state_dir / "gallery.key"))

    assert caught.value.code == "gallery.key_wrong"


def test_gallery_files_are_ours_alone(gallery, state_dir):
    """File, log and directory, whatever the umask."""
    add(gallery, "Anna", 1)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state_dir.iterdir()}

    assert modes == dict.fromkeys(["gallery.db", "gallery.db-shm", "gallery.db-wal", "gallery.key"], 0o600)
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700


def test_gallery_that_others_may_read_is_refused(gallery, state_dir):
    """As its key would be."""
    gallery.close()
    (state_dir / "gallery.db").chmod(0o644)

    with pytest.raises(GalleryError, match=r"gallery\.db: other users may use it") as caught:
        open_gallery(state_dir, KeyPlace(state_dir / "gallery.key"))

    assert caught.value.code == "gallery.mode"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE template SET person_id = (SELECT id FROM person ORDER BY number LIMIT 1)", id="given to another"),
        pytest.param("UPDATE template SET sealed = (SELECT sealed FROM template ORDER BY number LIMIT 1)", id="copied"),
        pytest.param(f"UPDATE template SET model_digest = '{OTHER_DIGEST}'", id="of another encoder"),
        pytest.param("UPDATE template SET sealed = x'00'", id="cut off"),
        pytest.param("UPDATE template SET sealed = 'text'", id="not even bytes"),
        pytest.param("UPDATE person SET record = (SELECT record FROM person ORDER BY number LIMIT 1)", id="a name copied"),
        pytest.param("UPDATE person SET id = 'p' || number; UPDATE template SET person_id = 'p1'", id="renamed"),
    ],
)
def test_rows_swapped_by_somebody_who_can_write_the_file_are_refused(gallery, state_dir, open_here, change):
    """Without the key nobody puts their face under another's name."""
    add(gallery, "Anna", 1)
    add(gallery, "Bert", 2)
    gallery.close()
    with sqlite3.connect(state_dir / "gallery.db") as connection:
        connection.executescript(change)
    connection.close()

    with pytest.raises(GalleryError, match="changed it") as caught:
        open_here().take_snapshot(OTHER_DIGEST if OTHER_DIGEST in change else STAND_IN_DIGEST, now_at=NOW_AT)

    assert caught.value.code == "gallery.tampered"


# -- snapshots


def test_snapshot_finds_who_is_enrolled(gallery):
    """With the name to show."""
    anna = add(gallery, "Anna", 1)
    add(gallery, "Bert", 2)

    matcher = gallery.take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT).matcher

    ((first, second),) = matcher.search(embedding_of(1)[None])
    assert (first.person_id, matcher.names[first.person_id], matcher.names[second.person_id]) == (anna, "Anna", "Bert")
    assert first.score == pytest.approx(1, abs=1e-5)
    assert (matcher.version, matcher.model_digest) == (gallery.version(), STAND_IN_DIGEST)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_snapshot_is_the_same_however_many_rows_are_decrypted_at_once(gallery, monkeypatch, rows):
    """Person by person in the order of enrolment, also where a template came later, without those who have expired."""
    monkeypatch.setattr("edged.identity.gallery._CHUNK_ROWS", rows)
    people = [("Anna", None), ("Bert", NOW_AT - 1), ("Carl", NOW_AT - 1), ("Dora", NOW_AT + 9), ("Emil", None)]
    ids = [add(gallery, name, number, expires_at=end) for number, (name, end) in enumerate(people)]
    with gallery.transaction():
        gallery.add_template(ids[0], embedding_of(7), model_digest=STAND_IN_DIGEST)
        gallery.add_template(ids[4], embedding_of(8), model_digest=OTHER_DIGEST)

    snapshot = gallery.take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT)

    templates, owners = snapshot.matcher.rows()
    assert owners == [ids[0], ids[0], ids[3], ids[4]]
    np.testing.assert_array_equal(templates, np.stack([embedding_of(number) for number in (0, 7, 3, 4)]))
    assert dict(snapshot.matcher.names) == {ids[0]: "Anna", ids[3]: "Dora", ids[4]: "Emil"}
    assert (snapshot.n_people, snapshot.n_stale, snapshot.renew_at) == (5, 0, NOW_AT + 9)
    assert [person.name for person in gallery.people()] == ["Anna", "Bert", "Carl", "Dora", "Emil"]


def test_snapshot_of_an_empty_gallery_finds_nobody(gallery):
    """A stranger at the first start."""
    snapshot = gallery.take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT)

    assert snapshot.matcher.search(embedding_of(1)[None]) == [()]
    assert snapshot.renew_at is None


def test_snapshot_for_another_encoder_asks_for_enrolment(gallery):
    """Numbers of two encoders mean nothing to each other."""
    add(gallery, "Anna", 1)

    with pytest.raises(GalleryError, match=r"all 1 people were enrolled with another encoder.*enrol them again") as caught:
        CurrentSnapshot(gallery, model_digest=OTHER_DIGEST).get(NOW_AT)

    assert caught.value.code == "gallery.other_encoder"


def test_snapshot_while_people_are_enrolled_again_counts_those_who_wait(gallery):
    """The ones who have a template of the new encoder match already."""
    add(gallery, "Anna", 1)
    bert = add(gallery, "Bert", 2, model_digest=OTHER_DIGEST)

    snapshot = gallery.take_snapshot(OTHER_DIGEST, now_at=NOW_AT)

    assert snapshot.n_stale == 1
    assert snapshot.matcher.person_ids == (bert,)


def test_snapshot_is_taken_anew_only_when_somebody_changed_something(gallery, open_here):
    """Another process enrols; the next question notices."""
    current = CurrentSnapshot(gallery, model_digest=STAND_IN_DIGEST)
    first = current.get(NOW_AT)

    assert current.get(NOW_AT + 1) is first
    add(open_here(), "Anna", 1)
    assert len(current.get(NOW_AT + 2).matcher) == 1


def test_person_matches_until_the_second_of_their_expiry(gallery):
    """Nobody has to change anything for it, and a clock that is set back brings them back."""
    add(gallery, "Anna", 1, expires_at=NOW_AT + 60)
    add(gallery, "Bert", 2)
    current = CurrentSnapshot(gallery, model_digest=STAND_IN_DIGEST)

    sizes = [len(current.get(NOW_AT + after_s).matcher) for after_s in (0, 59.9, 60, 1000, 10)]

    assert sizes == [2, 2, 1, 1, 2]


def test_snapshot_that_cannot_be_taken_leaves_no_older_one_in_use(gallery, open_here):
    """Whoever was forgotten meanwhile must not match because of an error."""
    add(gallery, "Anna", 1)
    current = CurrentSnapshot(gallery, model_digest=STAND_IN_DIGEST)
    current.get(NOW_AT)
    open_here()._connection.executescript("UPDATE template SET sealed = x'00'; UPDATE gallery SET version = version + 1")

    for _ in range(2):
        with pytest.raises(GalleryError):
            current.get(NOW_AT)


# -- what happens to it


def add_many(gallery: Gallery, prefix: str, *, n: int) -> None:
    for number in range(n):
        add(gallery, f"{prefix} {number}", number)


def enrol_many(state_dir: Path, prefix: str) -> None:
    with open_gallery(state_dir, KeyPlace(state_dir / "gallery.key")) as gallery:
        add_many(gallery, prefix, n=20)


def test_gallery_of_two_writers_has_what_both_wrote(state_dir):
    """They begin at once, with no file there, and wait for each other."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=enrol_many, args=(state_dir, prefix)) for prefix in ("left", "right")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    with open_gallery(state_dir, KeyPlace(state_dir / "gallery.key")) as gallery:
        names = sorted(person.name for person in gallery.people())
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert names == sorted(f"{prefix} {number}" for prefix in ("left", "right") for number in range(20))


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from stand_ins.faces import STAND_IN_DIGEST, embedding_of
from edged.identity.encryption import KeyPlace
from edged.identity.gallery import open_gallery
state_dir = Path(sys.argv[1])
gallery = open_gallery(state_dir, KeyPlace(state_dir / "gallery.key"))
with gallery.transaction():
    person_id = gallery.add_person("Anna", consent="", enrolled_at=0.0)
    gallery.add_template(person_id, embedding_of(1), model_digest=STAND_IN_DIGEST)
    if sys.argv[2] == "inside":
        os.kill(os.getpid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("when", "expected"), [("inside", []), ("after", ["Anna"])])
def test_gallery_whose_writer_was_killed_has_all_or_nothing(state_dir, open_here, when, expected):
    """Killed within an enrolment there is nothing of it, killed just after it there is all."""
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])

    ended = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(state_dir), when], env={**os.environ, "PYTHONPATH": path}, check=False
    )

    gallery = open_here()
    assert ended.returncode == -signal.SIGKILL
    assert [person.name for person in gallery.people()] == expected
    assert len(gallery.take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT).matcher) == len(expected)


def test_gallery_on_a_full_disk_is_as_it_was_before(gallery, open_here):
    """The enrolment is refused as a whole, reading goes on, and it works again once there is room."""
    add(gallery, "Anna", 1)
    pages = gallery._connection.execute("PRAGMA page_count").fetchone()[0]
    gallery._connection.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite sees of a full disk

    with pytest.raises(GalleryError, match="make room") as caught:
        add_many(gallery, "person", n=60)
    n_before = len(gallery.people())

    assert caught.value.code == "gallery.disk"
    assert all(person.templates for person in gallery.people())
    assert len(gallery.take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT).matcher) == n_before
    gallery._connection.execute("PRAGMA max_page_count = 100000")
    add(gallery, "Bert", 2)
    assert len(open_here().people()) == n_before + 1


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"junk" * 1000, id="junk"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut in half"),
        pytest.param(lambda data: data[:100] + bytes(4000) + data[4100:], id="its first page overwritten"),
        pytest.param(lambda data: data[:4096] + b"\x5a" * 200 + data[4296:], id="200 bytes overwritten"),
    ],
)
def test_gallery_that_is_damaged_is_told_and_left_as_it_is(gallery, state_dir, open_here, damage):
    """Nobody is identified with it, and nothing is repaired behind anybody's back."""
    add(gallery, "Anna", 1)
    gallery.close()
    path = state_dir / "gallery.db"
    path.write_bytes(damage(path.read_bytes()))
    content = path.read_bytes()

    with pytest.raises(GalleryError, match=r"gallery\.db") as caught:
        open_here().take_snapshot(STAND_IN_DIGEST, now_at=NOW_AT)

    assert caught.value.code in ("gallery.damaged", "gallery.tampered")
    assert path.read_bytes() == content


def test_database_of_another_program_is_no_gallery(state_dir, gallery):
    """Nothing is written into it."""
    gallery.close()
    path = state_dir / "gallery.db"
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (value)")
    connection.close()
    path.chmod(0o600)

    with pytest.raises(GalleryError, match="no gallery") as caught:
        open_gallery(state_dir, KeyPlace(state_dir / "gallery.key"))

    assert caught.value.code == "gallery.damaged"


def test_gallery_of_a_newer_edged_is_refused(gallery, state_dir, open_here):
    """What it means is not guessed."""
    gallery._connection.execute("PRAGMA user_version = 2")
    gallery.close()

    with pytest.raises(GalleryError, match="has schema 2, this edged knows 1") as caught:
        open_here()

    assert caught.value.code == "gallery.schema"


def test_gallery_that_another_process_holds_is_told_after_waiting(gallery, open_here):
    """Nothing hangs."""
    other = open_here()
    other._connection.execute("PRAGMA busy_timeout = 50")

    with gallery.transaction(), pytest.raises(GalleryError) as caught:
        add(other, "Anna", 1)

    assert caught.value.code == "gallery.busy"


# -- audit


def test_audit_has_the_newest_first_and_names_nobody(gallery, state_dir):
    """Who did what, when, with which id."""
    anna = add(gallery, "Anna", 1)
    gallery.record(at=1.0, actor="cli:root", action="enrol", person_id=anna)
    gallery.record(at=2.0, actor="mqtt", action="list")

    assert [(entry.at, entry.action) for entry in gallery.audit(most=10)] == [(2.0, "list"), (1.0, "enrol")]
    assert [entry.actor for entry in gallery.audit(most=10, person_id=anna)] == ["cli:root"]
    assert len(gallery.audit(most=1)) == 1
    assert b"Anna" not in raw_bytes(state_dir)
