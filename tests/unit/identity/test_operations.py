"""What can be done with people: each operation answers, or refuses with a code and changes nothing, and leaves a line."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from pydantic import BaseModel, ValidationError
from stand_ins.faces import STAND_IN_DIGEST, StandInFaceReader, draw_face, draw_portrait

from edged.errors import FaceError, GalleryError, InferenceError
from edged.events.command import decode_arguments
from edged.identity import requests as ask
from edged.identity.archive import ArchiveSecret
from edged.identity.decision import DecisionSettings
from edged.identity.gallery import Gallery
from edged.identity.operations import FaceOperations

from .conftest import NOW_AT

SETTINGS = DecisionSettings(threshold=0.5, false_match_rate=0.001, margin=0.1, live_threshold=0.5, least_quality=0.2)
TWIN = {7: (3, 0.8)}
OTHER_DIGEST = "7" * 64


def photo(number: int, **changes: object) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(draw_portrait(number, **changes), cv2.COLOR_RGB2BGR))[1].tobytes()


class Room:
    """Operations with a clock and networks of the test's own."""

    def __init__(self, open_here: Callable[[], Gallery]) -> None:
        self.now_at = NOW_AT
        self._open_here = open_here
        self.reader = StandInFaceReader(look_alikes=TWIN)

    def operations(self, **changes: object) -> FaceOperations:
        settings = {
            "open_gallery": self._open_here,
            "open_reader": lambda: self.reader,
            "model_digest": self.reader.model_digest,
            "settings": SETTINGS,
            "actor": "test",
            "now": lambda: self.now_at,
        }
        return FaceOperations(**{**settings, **changes})


@pytest.fixture
def room(open_here: Callable[[], Gallery]) -> Room:
    return Room(open_here)


@pytest.fixture
def operations(room: Room) -> FaceOperations:
    return room.operations()


def enrol(operations: FaceOperations, name: str, *numbers: int, **changes: object) -> ask.EnrolAnswer:
    pictures = [photo(number) for number in numbers]
    return operations.enrol(ask.EnrolArguments(**{"name": name, "consent": "form 12", "pictures": pictures, **changes}))


def identify(operations: FaceOperations, number: int, **changes: object) -> ask.FaceFacts:
    (face,) = operations.identify(ask.IdentifyArguments(picture=photo(number, **changes))).faces
    return face


def outcomes(gallery: Gallery) -> list[tuple[str, str]]:
    return [(entry.action, entry.outcome) for entry in reversed(gallery.audit(most=100))]


def test_person_enrolled_from_one_photograph_is_identified(operations):
    """By name, with the evidence."""
    answer = enrol(operations, "Anna", 3)

    face = identify(operations, 3, face_px=100)

    assert (answer.name, answer.templates, answer.nearest) == ("Anna", 1, None)
    assert (face.identity.kind.value, face.identity.subject, face.identity.name) == ("match", answer.person_id, "Anna")
    assert face.identity.score > 0.9
    assert (face.identity.threshold, face.identity.false_match_rate, face.identity.model) == (0.5, 0.001, STAND_IN_DIGEST)
    assert face.identity.gallery_version == answer.gallery_version
    assert face.box_norm == [0.25, 0.25, 0.75, 0.75]


def test_stranger_look_alikes_and_a_picture_of_a_picture_are_told_apart(operations):
    """Unknown, ambiguous and spoof are answers like any other."""
    enrol(operations, "Anna", 3)
    enrol(operations, "Anna's sister", 7, allow_look_alike=True)
    operations._settings = DecisionSettings(
        threshold=0.5, false_match_rate=None, margin=0.3, live_threshold=0.5, least_quality=0.2
    )

    kinds = [identify(operations, number, live=live).identity.kind.value for number, live in ((3, True), (9, True), (3, False))]

    assert kinds == ["ambiguous", "unknown", "spoof"]


def test_every_face_of_a_picture_is_identified_largest_first(operations):
    """Whoever is on it."""
    enrol(operations, "Anna", 3)
    picture = np.full((300, 600, 3), 120, np.uint8)
    draw_face(picture, 5, (20, 30, 100, 110))
    draw_face(picture, 3, (300, 50, 500, 250))
    data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()

    faces = operations.identify(ask.IdentifyArguments(picture=data)).faces

    assert [face.identity.kind.value for face in faces] == ["match", "unknown"]


def test_person_is_verified_by_name_and_a_picture_by_another(operations):
    """One against one, with the same evidence."""
    anna = enrol(operations, "Anna", 3).person_id
    ask_for = ask.VerifyArguments

    by_name = operations.verify(ask_for(picture=photo(3), person="anna"))
    other = operations.verify(ask_for(picture=photo(5), person=anna))
    pair = operations.verify(ask_for(picture=photo(5), reference=photo(5, face_px=90)))
    no_pair = operations.verify(ask_for(picture=photo(5), reference=photo(6)))

    assert [each.verified for each in (by_name, other, pair, no_pair)] == [True, False, True, False]
    assert (by_name.identity.subject, by_name.identity.votes) == (anna, 1)
    assert pair.identity.gallery_version is None


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"picture": photo(3)}, id="nothing to compare with"),
        pytest.param({"picture": photo(3), "person": "Anna", "reference": photo(3)}, id="two things to compare with"),
    ],
)
def test_verify_without_one_thing_to_compare_with_is_refused(operations, arguments):
    """What is meant is not guessed."""
    with pytest.raises(FaceError) as caught:
        operations.verify(ask.VerifyArguments(**arguments))

    assert caught.value.code == "faces.arguments"


def test_several_pictures_of_one_person_are_all_kept_or_none(operations, gallery):
    """The second picture shows two people: the first is not kept either."""
    answer = enrol(operations, "Anna", 3, 3)
    with pytest.raises(FaceError):
        operations.enrol(ask.EnrolArguments(name="Bert", consent="x", pictures=[photo(5), b"junk"]))

    assert answer.templates == 2
    assert [person.name for person in gallery.people()] == ["Anna"]


def test_pictures_are_added_to_somebody_who_is_enrolled(operations):
    """With a new end of their consent, if one is given."""
    anna = enrol(operations, "Anna", 3).person_id

    answer = operations.enrol(
        ask.EnrolArguments(person="Anna", pictures=[photo(3, face_px=90)], expires_at="2030-01-31T00:00:00.000Z")
    )
    shown = operations.show(ask.ShowArguments(person=anna))

    assert (answer.person_id, answer.templates) == (anna, 2)
    assert (shown.state, shown.templates, shown.expires_at) == ("matching", 2, "2030-01-31T00:00:00.000Z")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"name": "Bert", "pictures": [photo(3)]}, "enrol.duplicate_of", id="face of another"),
        pytest.param({"name": "Bert", "pictures": [photo(7)]}, "enrol.duplicate_of", id="look-alike of another"),
        pytest.param({"name": "anna", "pictures": [photo(5)]}, "enrol.name_taken", id="name of another"),
        pytest.param({"name": "\u200b", "pictures": [photo(5)]}, "enrol.name", id="no name"),
        pytest.param({"name": "Bert", "pictures": [photo(5)], "consent": None}, "enrol.consent", id="no consent"),
        pytest.param({"name": "Bert", "pictures": [photo(5)], "consent": "  "}, "enrol.consent", id="blank consent"),
        pytest.param({"name": None, "pictures": [photo(5)]}, "enrol.arguments", id="nobody"),
        pytest.param({"person": "Anna", "pictures": [photo(5)]}, "enrol.arguments", id="new and known"),
        pytest.param({"name": None, "person": "Anna", "pictures": [photo(5)]}, "enrol.other_person", id="face of a stranger"),
        pytest.param({"name": None, "person": "Carl", "pictures": [photo(5)]}, "faces.unknown_person", id="person unknown"),
        pytest.param({"name": "Bert", "pictures": [photo(5), photo(6)]}, "enrol.other_person", id="two people as one"),
        pytest.param(
            {"name": "Bert", "pictures": [photo(5)], "expires_at": "2020-01-01T00:00:00.000Z"}, "enrol.expiry", id="over"
        ),
        pytest.param(
            {"name": "Bert", "pictures": [photo(5)], "expires_at": "2030-02-31T00:00:00.000Z"}, "enrol.expiry", id="no day"
        ),
        pytest.param({"name": "Bert", "pictures": [photo(5, face_px=30)]}, "enrol.too_small", id="too small"),
    ],
)
def test_enrolment_that_will_not_do_changes_nothing(operations, gallery, changes, code):
    """It has a code, and the audit log has it, too."""
    enrol(operations, "Anna", 3)
    before = gallery.version()

    with pytest.raises(FaceError) as caught:
        operations.enrol(ask.EnrolArguments(**{"name": "Bert", "consent": "form 13", **changes}))

    assert caught.value.code == code
    assert gallery.version() == before
    assert [person.name for person in gallery.people()] == ["Anna"]
    assert outcomes(gallery)[-1] == ("enrol", code)


def test_person_whose_consent_ended_matches_no_more_and_is_said_to(room, operations):
    """In recognition they are unknown; asked for by name, the reason is told."""
    enrol(operations, "Anna", 3, expires_at="2027-01-16T00:00:00.000Z")
    room.now_at += 86_400

    face = identify(operations, 3)
    with pytest.raises(FaceError, match="ended at 2027-01-16") as caught:
        operations.verify(ask.VerifyArguments(picture=photo(3), person="Anna"))

    assert face.identity.kind.value == "unknown"
    assert caught.value.code == "faces.expired"
    assert operations.show(ask.ShowArguments(person="Anna")).state == "expired"


def test_list_is_given_in_parts(operations):
    """No answer grows beyond what a message may be."""
    for number, name in enumerate(("Anna", "Bert", "Carl")):
        enrol(operations, name, number)

    answer = operations.list(ask.ListArguments(start=1, most=1))

    assert ([person.name for person in answer.people], answer.n_people) == (["Bert"], 3)


def test_person_forgotten_is_unknown_at_once(operations, gallery):
    """Also to who holds a snapshot; the audit log keeps that it was done, not to whom it was."""
    anna = enrol(operations, "Anna", 3).person_id
    identify(operations, 3)

    answer = operations.forget(ask.ForgetArguments(person="Anna"))

    assert (answer.person_id, answer.left) == (anna, [])
    assert identify(operations, 3).identity.kind.value == "unknown"
    assert ("forget", "ok") in outcomes(gallery)
    assert "Anna" not in operations.audit(ask.AuditArguments()).model_dump_json()
    with pytest.raises(FaceError) as caught:
        operations.forget(ask.ForgetArguments(person="Anna"))
    assert caught.value.code == "faces.unknown_person"


def test_audit_tells_who_did_what_when(operations, room):
    """Of one person by name, and by id once they are forgotten."""
    anna = enrol(operations, "Anna", 3).person_id
    enrol(operations, "Bert", 5)
    room.now_at += 60
    operations.verify(ask.VerifyArguments(picture=photo(9), person="Anna"))

    by_name = operations.audit(ask.AuditArguments(person="Anna")).entries
    operations.forget(ask.ForgetArguments(person="Anna"))
    by_id = operations.audit(ask.AuditArguments(person=anna)).entries

    assert [(entry.action, entry.outcome, entry.actor) for entry in by_name] == [
        ("verify", "unknown", "test"),
        ("enrol", "ok", "test"),
    ]
    assert by_name[0].at == "2027-01-15T08:01:00.000Z"
    assert [entry.action for entry in by_id] == ["forget", "verify", "enrol"]


def test_threshold_calibrated_decides_from_then_on(operations):
    """For recognition and verification; a threshold that a person set stays."""
    for number in range(40):
        enrol(operations, f"person {number}", number + 20)
    before = identify(operations, 25).identity

    answer = operations.calibrate(ask.CalibrateArguments(false_match_rate=0.02))
    after = identify(operations, 25).identity

    assert answer.is_shown
    assert answer.n_pairs == 40 * 39 // 2
    assert answer.measured <= answer.high <= 0.02
    assert (before.threshold, after.threshold) == (0.5, pytest.approx(answer.threshold, abs=1e-4))
    assert after.false_match_rate == pytest.approx(answer.high)
    assert answer.any_of_all == pytest.approx(1 - (1 - answer.high) ** 40)


def test_threshold_set_by_a_person_is_not_replaced(room, operations):
    """What is configured goes before what is measured."""
    for number in range(3):
        enrol(operations, f"person {number}", number + 20)
    operations.calibrate(ask.CalibrateArguments(false_match_rate=0.5))

    assert identify(room.operations(follows_calibration=False), 20).identity.threshold == 0.5


def test_calibration_warns_of_look_alikes_and_changes_nothing_if_asked(operations, gallery):
    """Two who will be ambiguous are named."""
    enrol(operations, "Anna", 3)
    enrol(operations, "Anna's sister", 7, allow_look_alike=True)
    enrol(operations, "Bert", 5)
    before = gallery.version()

    answer = operations.calibrate(ask.CalibrateArguments(apply=False))

    assert [{pair.name, pair.other_name} for pair in answer.look_alikes] == [{"Anna", "Anna's sister"}]
    assert not answer.is_shown
    assert answer.threshold > answer.look_alikes[0].score - 1e-3
    assert gallery.version() == before


def test_people_enrolled_with_another_encoder_ask_for_enrolment(room, operations):
    """They are told of in every answer that needs them, and can be given a picture again."""
    enrol(operations, "Anna", 3)
    room.reader = StandInFaceReader(model_digest=OTHER_DIGEST, dimension=64)
    later = room.operations()

    with pytest.raises(GalleryError) as caught:
        identify(later, 3)
    enrol(later, "Bert", 5)
    with pytest.raises(FaceError) as refused:
        later.verify(ask.VerifyArguments(picture=photo(3), person="Anna"))
    shown = later.show(ask.ShowArguments(person="Anna"))
    later.enrol(ask.EnrolArguments(person="Anna", pictures=[photo(3)]))

    assert caught.value.code == "gallery.other_encoder"
    assert refused.value.code == "faces.other_encoder"
    assert (shown.state, shown.templates, shown.other_templates) == ("stale", 0, 1)
    assert identify(later, 3).identity.name == "Anna"


def test_people_whose_crops_were_kept_are_encoded_again(room, operations, monkeypatch):
    """Without another photograph; who has none is named, and still matches nobody."""
    anna = enrol(operations, "Anna", 3, keep_crops=True).person_id
    bert = enrol(operations, "Bert", 5).person_id
    room.reader = StandInFaceReader(model_digest=OTHER_DIGEST, dimension=64, noise=0)
    later = room.operations()
    shown = []

    def read(pixels_rgb, faces):  # an aligned crop shows the face alone: the stand-in's frame is cut off
        shown.append(pixels_rgb.shape)
        return StandInFaceReader.read(room.reader, draw_portrait(3), room.reader.find(draw_portrait(3)))

    monkeypatch.setattr(room.reader, "read", read)
    answer = later.reencode()
    monkeypatch.undo()

    assert (answer.reencoded, answer.left) == (1, [bert])
    assert shown == [(112, 112, 3)]
    assert identify(later, 3).identity.subject == anna
    assert later.show(ask.ShowArguments(person="Anna")).crops == 1
    assert identify(later, 5).identity.kind.value == "unknown"


def test_people_exported_are_imported_elsewhere(operations, tmp_path, room):
    """With operations that are audited like all others."""
    enrol(operations, "Anna", 3)
    secret = ArchiveSecret(key=bytes(32))

    n = operations.export_to(tmp_path / "people", secret)
    with pytest.raises(FaceError):
        operations.import_from(tmp_path / "people", secret, replaces=False)

    assert n == 1
    assert operations.import_from(tmp_path / "people", secret, replaces=True) == 1
    actions = [(entry.action, entry.outcome) for entry in operations.audit(ask.AuditArguments()).entries]
    assert actions[:3] == [("import", "ok, 1 people"), ("import", "archive.conflict"), ("export", "ok, 1 people")]


def test_network_that_fails_leaves_a_line_and_nothing_else(operations, room, gallery, monkeypatch):
    """Whatever goes wrong, half of an enrolment is never kept."""

    def fail(pixels_rgb, faces):
        raise InferenceError("out of order")

    monkeypatch.setattr(room.reader, "read", fail)

    with pytest.raises(InferenceError):
        enrol(operations, "Anna", 3)

    assert gallery.people() == []
    assert outcomes(gallery) == [("enrol", "InferenceError")]


def test_gallery_that_cannot_be_written_can_be_read(operations, gallery, caplog):
    """Then the audit log is told in the log."""
    enrol(operations, "Anna", 3)
    operations._gallery._connection.execute("PRAGMA query_only = ON")

    assert operations.list(ask.ListArguments()).n_people == 1
    assert "not in the audit log" in caplog.text


def test_networks_and_gallery_are_opened_when_needed_and_closed(room):
    """A list needs no network."""
    opened = []
    operations = room.operations(open_reader=lambda: opened.append("reader") or room.reader)

    with operations:
        operations.list(ask.ListArguments())
        assert opened == []
        enrol(operations, "Anna", 3)
        identify(operations, 3)

    assert opened == ["reader"]
    assert room.reader.is_closed


# -- arguments


def test_arguments_come_as_json_with_pictures_in_base64():
    """What MQTT brings is what the command line makes."""
    arguments = decode_arguments(ask.VerifyArguments, {"picture": "aGVsbG8=", "person": "Anna"})

    assert arguments == ask.VerifyArguments(picture=b"hello", person="Anna")


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        pytest.param(ask.EnrolArguments, {"pictures": []}, id="no picture"),
        pytest.param(ask.EnrolArguments, {"pictures": [b"x"] * 9}, id="nine pictures"),
        pytest.param(ask.EnrolArguments, {"pictures": [b"x"], "nam": "Anna"}, id="unknown key"),
        pytest.param(ask.EnrolArguments, {"pictures": [b"x"], "name": "a" * 1_000_000}, id="a name of a megabyte"),
        pytest.param(ask.EnrolArguments, {"pictures": [b"x"], "expires_at": "tomorrow"}, id="no time"),
        pytest.param(ask.VerifyArguments, {"picture": "secret picture"}, id="no base64"),
        pytest.param(ask.ListArguments, {"most": 0}, id="none of the list"),
        pytest.param(ask.CalibrateArguments, {"false_match_rate": 0}, id="never"),
        pytest.param(ask.CalibrateArguments, {"false_match_rate": float("nan")}, id="NaN"),
    ],
)
def test_arguments_that_will_not_do_are_refused(model: type[BaseModel], arguments: dict):
    """Before anything is opened; no error repeats a picture."""
    with pytest.raises(ValidationError) as caught:
        model(**arguments)

    assert "secret picture" not in str(caught.value)


def test_schemas_of_all_arguments_can_be_made():
    """`describe` tells them to whoever asks."""
    schema = ask.EnrolArguments.model_json_schema()

    assert schema["properties"]["pictures"]["items"]["contentEncoding"] == "base64"
