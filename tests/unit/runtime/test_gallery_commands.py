"""Commands about people do what the operations on the gallery do, through the command room."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
from fakes import FakeClock, Turns
from stand_ins.faces import StandInFaceReader, draw_portrait

from edged.events.command import MAX_ANSWER_BYTES, encode_answer
from edged.identity.decision import DecisionSettings
from edged.identity.encryption import KeyPlace
from edged.identity.gallery import open_gallery
from edged.identity.operations import FaceOperations
from edged.runtime.commands import CommandRoom, CommandSettings
from edged.runtime.device_commands import DescribeArguments, with_describe
from edged.runtime.gallery_commands import MOST_PICTURE_BYTES, GalleryDesk, make_gallery_commands
from edged.runtime.loop import OPENING_LIMIT_S, Loop, Opening
from edged.sinks.base import Message, Received

SETTINGS = DecisionSettings(threshold=0.5, false_match_rate=0.001, margin=0.1, live_threshold=0.5, least_quality=0.2)
OPERATIONS = ["enrol", "verify", "identify", "list", "show", "forget", "audit", "calibrate"]


def photo(number: int) -> str:
    encoded = cv2.imencode(".png", cv2.cvtColor(draw_portrait(number), cv2.COLOR_RGB2BGR))[1]
    return base64.b64encode(encoded.tobytes()).decode()


class Site:
    """A gallery in a directory, and a command room that knows the commands about it."""

    def __init__(self, state_dir: Path) -> None:
        self.clock = FakeClock(offset_s=1_800_000_000.0)
        self.sent: list[Message] = []
        self.state_dir = state_dir
        self.opened: list[FaceOperations] = []
        self.during_opening: Callable[[], None] = lambda: None
        self.desk = GalleryDesk(self.open_operations)
        self.room = CommandRoom(
            make_gallery_commands(self.desk.operations),
            device="gate",
            topic_head="edged/gate/",
            clock=self.clock,
            send=self.sent.append,
            settings=CommandSettings(rate_per_s=100.0),
        )

    def open_operations(self, opening: Opening) -> FaceOperations:
        reader = StandInFaceReader()

        def open_reader() -> StandInFaceReader:
            with opening("face-encoder"):
                self.during_opening()
            return reader

        self.opened.append(
            FaceOperations(
                open_gallery=lambda: open_gallery(self.state_dir, KeyPlace(self.state_dir / "gallery.key")),
                open_reader=open_reader,
                model_digest=reader.model_digest,
                settings=SETTINGS,
                actor="mqtt",
                now=lambda: self.clock.at(self.clock.now_s()),
            )
        )
        return self.opened[-1]

    def ask(self, command: str, *, id: str | None = None, **arguments: object) -> dict:
        """The answer to a command, done on this thread."""
        body = json.dumps({"arguments": arguments} | ({} if id is None else {"id": id})).encode()
        self.room.offer(Received(f"edged/gate/command/faces.{command}", body, False))
        self.room.run(Turns(1))
        (message,) = self.sent
        self.sent.clear()
        return json.loads(message.body)


@pytest.fixture(name="site")
def fixture_site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "state")
    yield site
    site.desk.close()


def test_person_enrolled_by_command_is_known_listed_and_forgotten(site):
    """From a photograph in base64 to nobody at all, as the operations say it."""
    enrolled = site.ask("enrol", name="Anna", consent="form 12", pictures=[photo(3)])
    verified = site.ask("verify", person="Anna", picture=photo(3))
    (face,) = site.ask("identify", picture=photo(3))["answer"]["faces"]
    (listed,) = site.ask("list")["answer"]["people"]
    shown = site.ask("show", person="Anna")
    forgotten = site.ask("forget", person="Anna")
    gone = site.ask("show", person="Anna")

    person_id = enrolled["answer"]["person_id"]
    assert verified["answer"]["verified"]
    assert (face["identity"]["kind"], face["identity"]["name"]) == ("match", "Anna")
    assert (listed["person_id"], shown["answer"]["person_id"], forgotten["answer"]["person_id"]) == (person_id,) * 3
    assert (gone["ok"], gone["error"]["code"]) == (False, "faces.unknown_person")
    actions = [entry["action"] for entry in site.ask("audit")["answer"]["entries"]]
    assert actions == ["show", "forget", "show", "list", "identify", "verify", "enrol"]


def test_gallery_calibrated_by_command_says_what_it_found(site):
    """Its own threshold, with its bound."""
    for number, name in enumerate(("Anna", "Bert", "Cleo")):
        assert site.ask("enrol", name=name, consent="form", pictures=[photo(number)])["ok"]

    answer = site.ask("calibrate", false_match_rate=0.01)["answer"]

    assert (answer["n_people"], answer["n_pairs"], answer["is_shown"]) == (3, 3, False)


def test_enrolment_sent_twice_enrols_once(site):
    """The network may double it: the second is answered, and nobody is enrolled twice or called a duplicate."""
    first = site.ask("enrol", id="7", name="Anna", consent="form 12", pictures=[photo(3)])
    second = site.ask("enrol", id="7", name="Anna", consent="form 12", pictures=[photo(3)])

    assert first == second
    assert site.ask("list")["answer"]["n_people"] == 1


@pytest.mark.parametrize(
    ("name", "arguments", "code", "where"),
    [
        pytest.param("enrol", {"name": "Anna", "pictures": ["eA=="]}, "enrol.consent", "arguments.consent", id="no consent"),
        pytest.param(
            "enrol",
            {"name": "Anna", "consent": "form", "pictures": ["eA=="]},
            "enrol.not_a_picture",
            "arguments.pictures",
            id="no picture",
        ),
        pytest.param(
            "enrol",
            {"name": "Anna", "consent": "form", "pictures": ["not base64!"]},
            "command.invalid",
            "arguments.pictures.0",
            id="no base64",
        ),
        pytest.param("enrol", {"path": "/etc/shadow"}, "command.invalid", "arguments.pictures", id="a path on this machine"),
        pytest.param("show", {"person": "Nobody"}, "faces.unknown_person", "arguments.person", id="nobody of that name"),
        pytest.param("verify", {"picture": "eA=="}, "faces.arguments", "arguments.person", id="verify whom"),
    ],
)
def test_command_about_people_that_will_not_do_is_refused(site, name, arguments, code, where):
    """With the operation's own code, its place and what mends it."""
    error = site.ask(name, **arguments)["error"]

    assert (error["code"], error.get("where")) == (code, where)
    assert error["mend"]


def test_commands_about_people_log_no_name(site, caplog):
    """Name, id and outcome of the command: who it was about is nobody's business."""
    with caplog.at_level(0):
        site.ask("enrol", id="7", name="Annabella", consent="form of Annabella", pictures=[photo(3)])
        site.ask("identify", picture=photo(3))

    assert "name=faces.enrol id=7 outcome=ok" in caplog.text
    assert "Annabella" not in caplog.text


def test_command_room_knows_every_operation_and_describes_all_in_one_answer(site):
    """None is forgotten, and the list of all is no longer than an answer may be."""
    commands = with_describe(make_gallery_commands(site.desk.operations))

    told = commands[-1].run(DescribeArguments())

    assert [facts.name for facts in told.commands] == [*(f"faces.{name}" for name in OPERATIONS), "describe"]
    assert len(encode_answer(told, device="gate", command="describe", id=None, at=0.0)) < MAX_ANSWER_BYTES
    assert site.room.subscription.most_bytes > MOST_PICTURE_BYTES


def test_command_that_opens_the_networks_for_long_is_not_stuck(site):
    """The first picture opens them; given up and begun anew, the next one would open them once more."""
    loop = Loop("commands", lambda loop: None, limit_s=site.room.limit_s, now_s=site.clock.now_s)
    seen = []

    def open_slowly() -> None:
        site.clock.advance(OPENING_LIMIT_S)
        seen.append((loop.opens, loop.is_stuck()))

    site.during_opening = open_slowly
    site.desk.begin(loop.opening)
    assert site.room.limit_s < OPENING_LIMIT_S

    site.ask("identify", picture=photo(3))
    site.ask("identify", picture=photo(3))

    assert seen == [("face-encoder", False)]


def test_desk_opens_for_each_thread_and_closes_there(site):
    """SQLite's connections and the networks belong to the thread that opened them."""
    site.ask("list")
    site.ask("list")
    assert len(site.opened) == 1

    def on_another_thread() -> None:
        site.desk.operations()
        site.desk.close()

    other = threading.Thread(target=on_another_thread)
    other.start()
    other.join(10)

    assert len(site.opened) == 2
    assert site.desk.operations() is site.opened[0]
    site.desk.close()
    site.desk.close()
    assert site.ask("list")["ok"]
    assert len(site.opened) == 3
