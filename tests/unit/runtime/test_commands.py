"""The command room: every command is done once or refused, and answered."""

import json
import logging
import threading
from collections.abc import Callable

import pytest
from fakes import FakeClock, Turns
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import wait_until

from edged.errors import CommandError, DeviceError, StateError
from edged.events.command import MAX_ANSWER_BYTES, MAX_COMMAND_BYTES, StrictModel
from edged.runtime.commands import STUCK_AFTER_S, Command, CommandRoom, CommandSettings
from edged.runtime.kept_answers import KEEP_S
from edged.runtime.loop import Loop
from edged.sinks.base import Message, MessageKind, Received

HEAD = "edged/gate/"


class Greeting(StrictModel):
    """Arguments of the command under test."""

    name: str


class Greeted(StrictModel):
    """Its answer."""

    text: str
    times: int


class Rig:
    """A room with the command `greet`, whose doing can be replaced, `erase`, and what it sent."""

    def __init__(self, *, most_bytes: int = 20_000, **settings: object) -> None:
        self.clock = FakeClock()
        self.sent: list[Message] = []
        self.done: list[str] = []
        self.instead: Callable[[Greeting], Greeted] | None = None
        greet = Command("greet", "Greets.", Greeting, Greeted, self.greet, deadline_s=5.0, most_bytes=most_bytes)
        erase = Command("erase", "Greets, and forgets.", Greeting, Greeted, self.greet, deadline_s=5.0, erases=True)
        self.room = CommandRoom(
            [greet, erase],
            device="gate",
            topic_head=HEAD,
            clock=self.clock,
            send=self.sent.append,
            settings=CommandSettings(**{"rate_per_s": 100.0, **settings}),
        )

    def greet(self, arguments: Greeting) -> Greeted:
        if self.instead:
            return self.instead(arguments)
        self.done.append(arguments.name)
        return Greeted(text=f"hello {arguments.name}", times=len(self.done))

    def offer(
        self,
        body: object = None,
        *,
        name: str = "greet",
        retained: bool = False,
        to: str | None = None,
        mark: bytes | None = None,
    ) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body if body is not None else greeting()).encode()
        self.room.offer(Received(f"{HEAD}command/{name}", raw, retained, answer_topic=to, correlation=mark))

    def work(self, turns: int = 1) -> None:
        self.room.run(Turns(turns))

    def ask(self, *arguments: object, **details: object) -> dict:
        """Offer a command, have it done, and read the one answer to it."""
        n = len(self.sent)
        self.offer(*arguments, **details)
        self.work()
        assert len(self.sent) == n + 1
        return json.loads(self.sent[-1].body)

    def answers(self) -> list[dict]:
        return [json.loads(message.body) for message in self.sent]

    def codes(self) -> list[str]:
        return ["ok" if answer["ok"] else answer["error"]["code"] for answer in self.answers()]


def greeting(name: str = "ann", **more: object) -> dict:
    return {"arguments": {"name": name}, **more}


def test_command_done_is_answered_where_and_how_its_sender_asked():
    """Topic, correlation data and id come back with what was found."""
    rig = Rig()

    answer = rig.ask(greeting(id="7"), to=f"{HEAD}answer/me", mark=b"\0c")

    assert answer == {
        "schema_version": 1,
        "device": "gate",
        "command": "greet",
        "id": "7",
        "at": "1970-01-12T13:48:20.000Z",
        "ok": True,
        "answer": {"text": "hello ann", "times": 1},
    }
    message = rig.sent[0]
    assert (message.kind, message.topic, message.correlation) == (MessageKind.ANSWER, "answer/me", b"\0c")


def test_command_of_3_1_1_is_answered_where_its_body_says():
    """Without properties the body holds what they would."""
    rig = Rig()

    answer = rig.ask(greeting(id="7", reply_to=f"{HEAD}answer/me"))

    assert (answer["ok"], answer["id"], rig.sent[0].topic, rig.sent[0].correlation) == (True, "7", "answer/me", None)


def test_command_that_names_no_topic_is_answered_at_its_own():
    """`mosquitto_pub` and `mosquitto_sub` are enough."""
    rig = Rig()

    answer = rig.ask()

    assert rig.sent[0].topic == "answer/greet"
    assert "id" not in answer


@pytest.mark.parametrize(
    ("offer", "code", "where"),
    [
        pytest.param({"name": "gret"}, "command.unknown", None, id="no such command"),
        pytest.param({"name": "Gr\u00fcss dich!"}, "command.unknown", None, id="no possible name"),
        pytest.param({"body": b""}, "command.malformed", None, id="nothing"),
        pytest.param({"body": b"hello"}, "command.malformed", None, id="not JSON"),
        pytest.param({"body": b"\xff"}, "command.malformed", None, id="not UTF-8"),
        pytest.param({"body": {"argument": {}}}, "command.invalid", "argument", id="unknown key"),
        pytest.param({"body": {}}, "command.invalid", "arguments.name", id="argument missing"),
        pytest.param({"body": {"arguments": {"name": "a", "x": 1}}}, "command.invalid", "arguments.x", id="unknown argument"),
        pytest.param({"retained": True}, "command.retained", None, id="retained"),
        pytest.param({"body": b" " * 20_001}, "command.too_large", None, id="too large"),
        pytest.param({"to": "home/lock/set"}, "command.answer_topic", "response topic", id="answer elsewhere"),
        pytest.param(
            {"body": greeting(reply_to=f"{HEAD}status")}, "command.answer_topic", "reply_to", id="answer into our status"
        ),
        pytest.param({"mark": b"x" * 129}, "command.invalid", "correlation data", id="long correlation data"),
    ],
)
def test_command_wrong_is_refused_with_code_place_and_mend(offer, code, where):
    """Nothing is done, and whoever asked learns why and what to do."""
    rig = Rig()

    answer = rig.ask(**offer)

    assert (answer["ok"], answer["error"]["code"], answer["error"].get("where")) == (False, code, where)
    assert answer["error"]["message"]
    assert answer["error"]["mend"]
    assert rig.done == []
    assert rig.sent[0].topic in ("answer/greet", "answer/gret", "answer/unknown")


def test_retained_message_removed_is_no_command():
    """Following the advice to remove it brings no further error."""
    rig = Rig()

    rig.offer(b"", retained=True)
    rig.work()

    assert rig.sent == []


def test_command_unknown_gets_the_nearest_name():
    """A slip of the pen is seen at once."""
    assert "did you mean greet?" in Rig().ask(name="gret")["error"]["message"]


@pytest.mark.parametrize("size", [pytest.param(20_000, id="at the limit"), pytest.param(20_001, id="above")])
def test_command_is_bounded_by_its_own_limit(size):
    """Each command says how long it may be."""
    rig = Rig()
    body = json.dumps(greeting()).encode()

    answer = rig.ask(body.ljust(size))

    assert answer["ok"] is (size == 20_000)


def test_command_unknown_is_bounded_by_the_usual_limit():
    """Nobody sends us megabytes for nothing."""
    assert Rig().ask(b" " * (MAX_COMMAND_BYTES + 1), name="nothing")["error"]["code"] == "command.too_large"


def test_command_again_is_answered_again_and_not_done_again():
    """A message that the network doubled acts once; its sender gets the same bytes."""
    rig = Rig()
    for _ in range(3):
        rig.offer(greeting(id="7"))
    rig.work(3)

    assert rig.done == ["ann"]
    assert len({message.body for message in rig.sent}) == 1
    assert rig.room.outcomes == {"ok": 1, "again": 2}


def test_command_again_is_recognised_by_its_correlation_data():
    """MQTT 5 needs no id in the body."""
    rig = Rig()
    for _ in range(2):
        rig.offer(greeting(), mark=b"\1")
    rig.work(2)

    assert rig.done == ["ann"]


def test_command_that_failed_is_not_tried_again_under_its_id():
    """The same answer means the same error, too."""
    rig = Rig()

    def refuse(arguments: Greeting) -> Greeted:
        raise CommandError("greet.shy", "too shy", mend="wait")

    rig.instead = refuse
    first = rig.ask(greeting(id="7"))
    rig.instead = None
    second = rig.ask(greeting(id="7"))
    third = rig.ask(greeting(id="8"))

    assert first == second
    assert third["ok"]


def test_command_refused_before_it_was_begun_may_come_again_under_its_id():
    """Who was told to wait may send the very same message again."""
    rig = Rig(queue_limit=1)
    rig.offer(greeting(id="1"))
    rig.offer(greeting(id="7"))
    rig.work()

    assert rig.ask(greeting(id="7"))["ok"]
    assert rig.codes() == ["command.busy", "ok", "ok"]


def test_command_without_any_mark_is_done_every_time():
    """Two that nothing tells apart may well be meant twice."""
    rig = Rig()
    for _ in range(2):
        rig.ask()

    assert rig.done == ["ann", "ann"]


def test_command_again_after_a_while_is_done_again():
    """Memory ends."""
    rig = Rig()
    rig.ask(greeting(id="7"))
    rig.clock.advance(KEEP_S + 1)
    rig.ask(greeting(id="7"))

    assert rig.done == ["ann", "ann"]


def test_command_that_erases_leaves_no_earlier_answer_but_its_own():
    """Who was forgotten must not be told again from memory."""
    rig = Rig()
    rig.ask(greeting("ann", id="1"))
    erased = rig.ask(greeting("ann", id="2"), name="erase")

    assert rig.ask(greeting("ann", id="2"), name="erase") == erased
    rig.ask(greeting("ann", id="1"))

    assert rig.done == ["ann", "ann", "ann"]
    assert rig.room.outcomes == {"ok": 3, "again": 1}


def test_command_with_an_id_of_another_command_is_refused():
    """An old answer to a new question would be a lie."""
    rig = Rig()
    rig.ask(greeting("ann", id="7"))

    answer = rig.ask(greeting("bob", id="7"))

    assert answer["error"]["code"] == "command.id_reused"
    assert rig.done == ["ann"]


def test_commands_of_two_senders_may_have_the_same_id():
    """Who has an answer topic of their own need not know the ids of others."""
    rig = Rig()
    rig.ask(greeting("ann", id="7"), to=f"{HEAD}answer/one")
    rig.ask(greeting("bob", id="7"), to=f"{HEAD}answer/two")

    assert rig.done == ["ann", "bob"]


def test_queue_full_is_answered_busy_at_once():
    """What waits is bounded; at the limit is still room."""
    rig = Rig(queue_limit=2)
    for number in range(4):
        rig.offer(greeting(id=str(number)))

    assert [(answer["id"], answer["error"]["code"]) for answer in rig.answers()] == [("2", "command.busy"), ("3", "command.busy")]

    rig.work(2)

    assert rig.codes() == ["command.busy", "command.busy", "ok", "ok"]


def test_queue_full_of_large_commands_is_answered_busy():
    """A few pictures must not fill the memory, however many commands may wait."""
    rig = Rig(queue_limit=64, most_bytes=6_000_000)
    for _ in range(3):
        rig.offer(json.dumps(greeting()).encode().ljust(6_000_000))

    assert rig.codes() == ["command.busy"]
    assert "2 commands of 12000000 bytes wait already" in rig.answers()[0]["error"]["message"]


def test_commands_above_the_rate_are_refused_and_then_passed_over(caplog):
    """A flood gets as many refusals as the rate allows, and nothing more; it is told once a minute."""
    rig = Rig(rate_per_s=2.0, queue_limit=64)
    for _ in range(50):
        rig.offer()
    rig.work(4)
    rig.room.check()

    assert rig.codes() == ["command.rate"] * 4 + ["ok"] * 4
    assert rig.room.passed_over == 42
    assert [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()] == [
        "commands passed over, they are too many: n=42"
    ]


def test_command_after_a_flood_is_done_again():
    """Being too many passes."""
    rig = Rig(rate_per_s=2.0)
    for _ in range(50):
        rig.offer()
    rig.work(4)
    rig.clock.advance(0.5)

    assert rig.ask()["ok"]


def test_command_that_waited_beyond_its_deadline_is_not_done():
    """Nobody waits for it any more; at the deadline it is still in time."""
    rig = Rig()
    rig.offer(greeting(id="7"))
    rig.clock.advance(5.0)
    rig.room.check()
    assert rig.sent == []

    rig.clock.advance(0.1)
    rig.room.check()
    rig.room.check()
    rig.work()

    assert rig.codes() == ["command.deadline"]
    assert rig.answers()[0]["id"] == "7"
    assert rig.done == []


def test_command_not_finished_at_its_deadline_is_told_and_its_answer_kept():
    """Its sender is not left waiting, and can ask for the answer later, by the same id."""
    rig = Rig()

    def take_long(arguments: Greeting) -> Greeted:
        rig.clock.advance(6.0)
        rig.room.check()
        rig.room.check()
        return Greeted(text="at last", times=0)

    rig.instead = take_long
    late = rig.ask(greeting(id="7"))
    again = rig.ask(greeting(id="7"))

    assert late["error"]["code"] == "command.deadline"
    assert late["error"]["message"] == "not finished 5 s after it came"
    assert "the same id" in late["error"]["mend"]
    assert again["answer"] == {"text": "at last", "times": 0}


def test_command_stuck_leaves_the_room_to_another_loop():
    """The loop of a stuck command counts as stuck, is replaced, and everything else is answered; then it ends quietly."""
    rig, release, begun = Rig(), threading.Event(), threading.Event()

    def hang(arguments: Greeting) -> Greeted:
        begun.set()
        release.wait(120)
        return Greeted(text="too late", times=0)

    rig.instead = hang
    loop = Loop("commands", rig.room.run, limit_s=rig.room.limit_s, now_s=rig.clock.now_s)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    rig.offer(greeting(id="1"))
    assert begun.wait(30)
    rig.instead = None
    rig.clock.advance(rig.room.limit_s)
    is_stuck_at_limit = loop.is_stuck()
    rig.clock.advance(0.1)
    rig.room.check()
    assert (is_stuck_at_limit, loop.is_stuck()) == (False, True)

    loop.stop()
    unfinished = rig.ask(greeting(id="1"))
    other = rig.ask(greeting(id="2"))
    release.set()
    thread.join(10)

    assert rig.codes()[0] == "command.deadline"
    assert unfinished["error"]["message"] == "the command came before and is not finished"
    assert other["ok"]
    assert len(rig.sent) == 3
    assert loop.failure is None


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        pytest.param(
            CommandError("greet.shy", "too shy", mend="wait", where="arguments.name"), "greet.shy", "too shy", id="its own"
        ),
        pytest.param(StateError("the disk is full"), "command.failed", "the disk is full", id="ours"),
        pytest.param(ValueError("secret-ann"), "command.failed", "ValueError inside edged", id="unforeseen"),
        pytest.param(RecursionError("secret-ann"), "command.failed", "RecursionError inside edged", id="too deep"),
    ],
)
def test_command_that_fails_is_answered_and_the_room_goes_on(failure, code, message, caplog):
    """Whatever a command raises is an answer; what nobody foresaw is logged with its place, without its values."""
    rig = Rig()

    def fail(arguments: Greeting) -> Greeted:
        raise failure

    rig.instead = fail
    answer = rig.ask()
    rig.instead = None

    assert (answer["error"]["code"], answer["error"]["message"]) == (code, message)
    assert rig.ask()["ok"]
    assert "secret-ann" not in caplog.text
    assert ("test_commands.py" in caplog.text) is (code == "command.failed" and "inside" in message)


def test_command_that_finds_the_device_lost_is_answered_and_ends_the_loop():
    """Only a new process can use a lost CUDA device again; whoever asked is told so first."""
    rig = Rig()

    def lose(arguments: Greeting) -> Greeted:
        raise DeviceError(700, "illegal address")

    rig.instead = lose
    loop = Loop("commands", rig.room.run, limit_s=5.0, now_s=rig.clock.now_s)
    rig.offer()
    loop.run()

    assert isinstance(loop.failure, DeviceError)
    assert rig.codes() == ["command.failed"]


def test_command_with_an_answer_too_long_says_so():
    """It was done; the next question should be smaller."""
    rig = Rig()
    rig.instead = lambda arguments: Greeted(text="x" * MAX_ANSWER_BYTES, times=1)

    assert rig.ask()["error"]["code"] == "command.answer_too_large"


def test_room_closed_tells_everybody_who_waits_and_takes_no_more():
    """A stop leaves nobody without an answer."""
    rig = Rig()
    rig.offer(greeting(id="1"))
    rig.room.close()
    rig.offer(greeting(id="2"))

    assert rig.codes() == ["command.stopped", "command.stopped"]
    assert rig.done == []


def test_room_closed_while_a_command_is_done_says_that_it_may_have_been():
    """Nobody is told that nothing happened when something may have."""
    rig = Rig()

    def close_meanwhile(arguments: Greeting) -> Greeted:
        rig.room.close()
        return Greeted(text="done", times=1)

    rig.instead = close_meanwhile
    answer = rig.ask()

    assert answer["error"]["code"] == "command.stopped"
    assert "perhaps it was done" in answer["error"]["message"]


def test_room_logs_name_id_and_outcome_and_nothing_else(caplog):
    """Names and pictures of people do not get into logs."""
    rig = Rig()
    with caplog.at_level(logging.DEBUG):
        rig.ask(greeting("secret-ann", id="7"))
        rig.ask({"arguments": {"secret-key": 1}, "id": "8"})
        rig.ask(b"secret-body")
        rig.ask(name="secret name!")

    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "command: name=greet id=7 outcome=ok took=0.000s"
    assert lines[1] == "command: name=greet id=8 outcome=command.invalid took=0.000s"
    assert "secret" not in caplog.text


def test_room_does_commands_one_after_the_other_on_its_own_loop():
    """Many at once from several threads are all done, once each, and answered."""
    rig = Rig(rate_per_s=1000.0, queue_limit=64)
    loop = Loop("commands", rig.room.run, limit_s=5.0, now_s=rig.clock.now_s)
    worker = threading.Thread(target=loop.run, daemon=True)
    worker.start()

    def offer_ten(first: int) -> None:
        for number in range(first, first + 10):
            rig.offer(greeting(str(number), id=str(number)))

    senders = [threading.Thread(target=offer_ten, args=(first,)) for first in range(0, 60, 10)]
    for sender in senders:
        sender.start()
    wait_until(lambda: len(rig.sent) == 60)
    loop.stop()
    worker.join(10)

    assert sorted(rig.done, key=int) == [str(number) for number in range(60)]
    assert [answer["answer"]["times"] for answer in rig.answers()] == list(range(1, 61))


def test_room_is_stuck_only_long_after_the_longest_deadline():
    """A slow command is not a stuck one."""
    assert Rig().room.limit_s == 5.0 + STUCK_AFTER_S


def test_room_subscription_is_for_all_commands_and_a_little_above_the_longest():
    """What is slightly too long is refused with a reason, what is much too long never comes."""
    subscription = Rig().room.subscription

    assert subscription.topic_filter == "command/+"
    assert 20_000 < subscription.most_bytes < 100_000


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
_PLACES = st.sampled_from(["id", "reply_to", "arguments", "name", "x"])
_BODIES = st.one_of(
    st.binary(max_size=60),
    _JSON.map(lambda data: json.dumps(data).encode()),
    st.dictionaries(_PLACES, _JSON, max_size=4).map(lambda data: json.dumps(data).encode()),
)


@settings(max_examples=200, deadline=None)
@given(
    body=_BODIES,
    name=st.one_of(st.just("greet"), st.text(max_size=20)),
    to=st.one_of(st.none(), st.text(max_size=20), st.text(max_size=20).map(lambda text: f"{HEAD}answer/{text}")),
    mark=st.one_of(st.none(), st.binary(max_size=200)),
    retained=st.booleans(),
)
def test_room_answers_whatever_comes_once_and_below_its_own_topic(body, name, to, mark, retained):
    """No message can end the loop, stay without an answer, or have us write elsewhere."""
    rig = Rig()

    rig.ask(body or b"{}", name=name, to=to, mark=mark, retained=retained)

    assert rig.sent[0].topic.startswith("answer/")
    assert not set("+#\0\n") & set(rig.sent[0].topic)
