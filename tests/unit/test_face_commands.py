"""`edged faces`: what is said, what is written, and how it exits. The networks are a stand-in, the gallery is real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
from models_onnx import make_encoder_manifest, make_liveness_manifest
from stand_ins.faces import StandInFaceReader, draw_portrait

from edged import cli, face_commands
from edged.config import find_gallery_key
from edged.errors import ModelError
from edged.face_assembly import FaceEngines
from edged.identity.gallery import open_gallery


@pytest.fixture
def edged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Runs `edged faces …` in a state directory of the test's own: exit status, output lines, errors."""
    encoder, liveness = make_encoder_manifest(), make_liveness_manifest()
    engines = FaceEngines((tmp_path, None), (tmp_path, encoder), (tmp_path, liveness))
    monkeypatch.setattr(face_commands.Site, "find_engines", lambda site: engines)
    reader = StandInFaceReader(look_alikes={7: (3, 0.8)}, model_digest=encoder.onnx.sha256)
    monkeypatch.setattr(face_commands, "open_reader", lambda engines, faces, *, state_dir: reader)

    def run(*arguments: object) -> SimpleNamespace:
        status = cli.main(["faces", *map(str, arguments), "--state-dir", str(tmp_path / "state")])
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, lines=captured.out.splitlines(), err=captured.err)

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """Writes a photograph of somebody."""

    def write(number: int, **changes: object) -> Path:
        path = tmp_path / f"{number}-{len(list(tmp_path.iterdir()))}.png"
        cv2.imwrite(str(path), cv2.cvtColor(draw_portrait(number, **changes), cv2.COLOR_RGB2BGR))
        return path

    return write


def test_person_enrolled_is_identified_verified_shown_and_forgotten(edged, photo):
    """The whole life of somebody, in words."""
    enrolled = edged("enrol", photo(3), "--name", "Anna", "--consent", "form 12", "--days", 30)
    identified = edged("identify", photo(3))
    verified = edged("verify", photo(3), "--person", "anna")
    refuted = edged("verify", photo(5), "--person", "Anna")
    listed = edged("list")
    shown = edged("show", "Anna")
    forgotten = edged("forget", "Anna")

    assert (enrolled.status, enrolled.lines[0].startswith("Anna (p")) == (0, True)
    assert identified.lines[0].startswith("match: Anna, score 1.000 (threshold 0.500, false-match rate 0.001)")
    assert (verified.status, refuted.status) == (0, 1)
    assert refuted.lines[0].startswith("unknown, score")
    assert listed.lines[0].split() == ["NAME", "ID", "ENROLLED", "EXPIRES", "TEMPLATES", "STATE"]
    assert (listed.lines[1].split()[0], listed.lines[1].split()[-1]) == ("Anna", "matching")
    assert "consent          form 12" in shown.lines
    assert forgotten.lines[0].startswith("forgotten: p")
    assert edged("list").lines == ["nobody is enrolled: edged faces enrol PICTURE --name NAME --consent TEXT"]


def test_answers_in_json_are_those_of_mqtt(edged, photo):
    """One object each, with the same keys."""
    enrolled = json.loads(edged("enrol", photo(3), "--name", "Anna", "--consent", "form 12", "--json").out)
    identified = json.loads(edged("identify", photo(3), "--json").out)
    verified = json.loads(edged("verify", photo(5), "--reference", photo(5, face_px=90), "--json").out)
    forgotten = json.loads(edged("forget", enrolled["person_id"], "--json").out)

    assert (enrolled["name"], enrolled["templates"]) == ("Anna", 1)
    assert identified["faces"][0]["identity"]["kind"] == "match"
    assert identified["faces"][0]["identity"]["subject"] == enrolled["person_id"]
    assert verified["verified"] is True
    assert (forgotten["person_id"], forgotten["left"]) == (enrolled["person_id"], [])


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        pytest.param(["show", "Carl"], "faces.unknown_person", 78, id="nobody"),
        pytest.param(["forget", "Carl"], "faces.unknown_person", 78, id="nobody to forget"),
        pytest.param(["calibrate"], "calibrate.too_few", 78, id="too few"),
        pytest.param(["calibrate", "--false-match-rate", "2"], "faces.arguments", 78, id="no rate"),
        pytest.param(["audit", "--most", "1000"], "faces.arguments", 78, id="too many lines"),
    ],
)
def test_refusal_has_its_code_on_standard_output_and_its_exit_status(edged, arguments, code, status):
    """For programs; without --json it is a line for people."""
    as_json = edged(*arguments, "--json")
    in_words = edged(*arguments)

    assert (as_json.status, in_words.status) == (status, status)
    assert json.loads(as_json.out)["error"]["code"] == code
    assert json.loads(as_json.out)["error"]["mend"]
    assert in_words.err.startswith("edged: ")
    assert in_words.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["enrol", "a.jpg", "--name", "Anna", "--consent", "form 12"],
        ["verify", "a.jpg", "--person", "Anna"],
        ["identify", "a.jpg"],
        ["list"],
        ["show", "Anna"],
        ["forget", "Anna"],
        ["export", "people.edged", "--key-file", "people.key"],
        ["import", "people.edged", "--key-file", "people.key"],
        ["audit"],
        ["calibrate"],
        ["reencode"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_wrong_configuration_is_told_in_json_by_every_command(edged, tmp_path, monkeypatch, arguments):
    """Every mistake with its place, and nothing was begun: no key of an export was made either."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text("faces: {votez: 3}\ncameras: {door: {source: 'street:', fps: 0}}\n")

    told = edged(*arguments, "--config", tmp_path / "site.yaml", "--json")

    error = json.loads(told.out)["error"]
    assert (told.status, told.err, error["code"]) == (78, "", "config.mistakes")
    assert error["mend"]
    assert [(each["code"], each["where"], each["line"]) for each in error["mistakes"]] == [
        ("config.unknown_key", "faces.votez", 1),
        ("config.range", "cameras.door.fps", 2),
    ]
    assert not (tmp_path / "people.key").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["identify", "missing.jpg"], "input.unusable", id="no such picture"),
        pytest.param(["list", "--config", "missing.yaml"], "config.mistakes", id="no such configuration"),
        pytest.param(["forget", "Anna", "--media", "missing"], "input.unusable", id="no such directory"),
    ],
)
def test_what_is_not_there_is_told_in_json(edged, arguments, code):
    """As every other error."""
    told = edged(*arguments, "--json")

    error = json.loads(told.out)["error"]
    assert (told.status, told.err, error["code"]) == (78, "", code)
    assert "missing" in error["message"]


def test_networks_that_are_not_there_are_told_in_json(edged, photo, monkeypatch):
    """As every other error, where they are needed."""

    def find(site):
        raise ModelError("no engine 'face-encoder' [model.not_found]")

    monkeypatch.setattr(face_commands.Site, "find_engines", find)

    told = edged("identify", photo(3), "--json")

    assert (told.status, json.loads(told.out)["error"]["code"]) == (78, "model.unusable")


@pytest.mark.parametrize(
    ("said", "crops"),
    [
        pytest.param(["false"], 0, id="off"),
        pytest.param(["true"], 1, id="configured"),
        pytest.param(["true", "--no-keep-crops"], 0, id="not of this one"),
        pytest.param(["false", "--keep-crops"], 1, id="of this one"),
    ],
)
def test_crops_are_kept_as_configured_unless_told_otherwise(edged, photo, tmp_path, said, crops):
    """The command line goes before the configuration."""
    configured, *flags = said
    (tmp_path / "site.yaml").write_text(f"faces: {{keep_crops: {configured}}}\ncameras: {{door: {{source: 'street:'}}}}\n")
    site = ["--config", tmp_path / "site.yaml"]

    edged("enrol", photo(3), "--name", "Anna", "--consent", "form 12", *flags, *site)

    assert json.loads(edged("show", "Anna", "--json", *site).out)["crops"] == crops


def test_picture_that_will_not_do_is_refused(edged, photo, tmp_path):
    """A junk file, one that is not there, a face that is somebody else's."""
    (tmp_path / "junk.jpg").write_bytes(b"junk")
    edged("enrol", photo(3), "--name", "Anna", "--consent", "form 12")

    junk = edged("enrol", tmp_path / "junk.jpg", "--name", "Bert", "--consent", "x", "--json")
    missing = edged("enrol", tmp_path / "missing.jpg", "--name", "Bert", "--consent", "x")
    twin = edged("enrol", photo(7), "--name", "Bert", "--consent", "x", "--json")
    no_consent = edged("enrol", photo(5), "--name", "Bert", "--json")

    assert [json.loads(each.out)["error"]["code"] for each in (junk, twin, no_consent)] == [
        "enrol.not_a_picture",
        "enrol.duplicate_of",
        "enrol.consent",
    ]
    assert (missing.status, "cannot be read: No such file" in missing.err) == (78, True)
    assert edged("enrol", photo(7), "--name", "Bert", "--consent", "x", "--allow-look-alike").status == 0


def test_person_in_a_picture_is_forgotten_if_it_is_surely_them(edged, photo):
    """A stranger's picture forgets nobody."""
    edged("enrol", photo(3), "--name", "Anna", "--consent", "form 12")

    stranger = edged("forget", photo(9))
    known = edged("forget", photo(3))

    assert (stranger.status, "but: unknown" in stranger.err) == (78, True)
    assert known.lines[0].startswith("forgotten: p")


def test_people_exported_are_imported_with_the_key_that_was_made(edged, photo, tmp_path):
    """The key file is of mode 0600 and is not made for an import."""
    edged("enrol", photo(3), "--name", "Anna", "--consent", "form 12")
    key, file = tmp_path / "archive.key", tmp_path / "people"

    missing = edged("import", file, "--key-file", key)
    exported = edged("export", file, "--key-file", key)
    conflict = edged("import", file, "--key-file", key)
    replaced = edged("import", file, "--key-file", key, "--replace", "--json")

    assert (missing.status, key.stat().st_mode & 0o777) == (1, 0o600)
    assert exported.lines[0].startswith(f"{file}: 1 person")
    assert "enrolled already" in conflict.err
    assert json.loads(replaced.out) == {"file": str(file), "people": 1}


def test_passphrase_comes_from_a_file_or_a_terminal(edged, photo, tmp_path):
    """Without either nothing is written."""
    edged("enrol", photo(3), "--name", "Anna", "--consent", "form 12")
    (tmp_path / "passphrase").write_text("correct horse battery\n")

    asked = edged("export", tmp_path / "people")
    given = edged("export", tmp_path / "people", "--passphrase-file", tmp_path / "passphrase")
    again = edged("import", tmp_path / "people", "--passphrase-file", tmp_path / "passphrase", "--replace")

    assert "there is no terminal" in asked.err
    assert (given.status, again.lines) == (0, ["1 person imported"])


def test_calibration_is_told_with_its_bound_and_the_look_alikes(edged, photo):
    """Three people show little, which is said; two of them are named."""
    edged("enrol", photo(3), "--name", "Anna", "--consent", "x")
    edged("enrol", photo(7), "--name", "Anna's sister", "--consent", "x", "--allow-look-alike")
    edged("enrol", photo(5), "--name", "Bert", "--consent", "x")

    told = edged("calibrate", "--dry-run")

    assert told.lines[0].startswith("3 people, 3 pairs of two: threshold 0.")
    assert "so few pairs show no rate of 0.001: it takes about 3689" in told.out
    assert "look alike: Anna" in told.out
    assert told.lines[-1] == "nothing was changed"


def test_audit_tells_who_did_what_with_whom(edged, photo):
    """Of one person, the newest first, also when they were forgotten."""
    enrolled = json.loads(edged("enrol", photo(3), "--name", "Anna", "--consent", "x", "--json").out)
    edged("forget", "Anna")

    told = edged("audit", "--person", enrolled["person_id"])

    assert [line.split()[2] for line in told.lines[1:]] == ["forget", "enrol"]
    assert all(line.split()[1].startswith("cli:") for line in told.lines[1:])


def test_commands_that_need_no_network_work_without_one(edged, photo, monkeypatch):
    """Somebody can be forgotten where the engine was removed; that nobody can match is said."""
    edged("enrol", photo(3), "--name", "Anna", "--consent", "x")

    def find_engines(site):
        raise ModelError("no engine face-encoder")

    monkeypatch.setattr(face_commands.Site, "find_engines", find_engines)
    listed, refused, forgotten = edged("list"), edged("identify", photo(3)), edged("forget", "Anna")

    assert listed.lines[1].split()[-1] == "stale"
    assert "nobody can match at present: no engine face-encoder" in listed.err
    assert (refused.status, refused.err) == (78, "edged: no engine face-encoder\n")
    assert forgotten.status == 0


def test_daemon_that_runs_sees_what_a_command_does(edged, photo, tmp_path):
    """The gallery's file is where they meet: its version tells."""
    edged("list")
    with open_gallery(tmp_path / "state", find_gallery_key(tmp_path / "state")) as daemon:
        before = daemon.version()
        edged("enrol", photo(3), "--name", "Anna", "--consent", "x")
        enrolled = daemon.version()
        edged("forget", "Anna")
        people = daemon.people()

    assert before < enrolled
    assert people == []


def test_media_directory_that_is_none_is_refused_before_anything_is_forgotten(edged, photo, tmp_path):
    """A slip of the keyboard must not look as if all had been searched."""
    edged("enrol", photo(3), "--name", "Anna", "--consent", "x")

    refused = edged("forget", "Anna", "--media", tmp_path / "missing")

    assert (refused.status, "is no directory" in refused.err) == (78, True)
    assert edged("show", "Anna").status == 0


def test_expiry_is_the_end_of_a_local_day(edged, photo):
    """The last day on which somebody matches is the one that was given."""
    edged("enrol", photo(3), "--name", "Anna", "--consent", "x", "--expires", "2031-01-31")

    expires_at = json.loads(edged("show", "Anna", "--json").out)["expires_at"]

    assert expires_at[:10] in ("2031-01-31", "2031-02-01")
    with pytest.raises(SystemExit):
        edged("enrol", photo(3), "--name", "Anna", "--consent", "x", "--expires", "soon")
