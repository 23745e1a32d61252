"""Where an answer goes, and where it never goes."""

import pytest

from edged.errors import CommandError
from edged.events.command import MAX_CORRELATION_BYTES, CommandFault
from edged.runtime.answer_address import AnswerAddress, check_address, find_address
from edged.sinks.base import Received

HEAD = "edged/gate/"


def received(**asked):
    return Received("edged/gate/command/ping", b"", False, **asked)


def find(data=None, **asked):
    return find_address(received(**asked), data or {}, head=HEAD, command="ping")


@pytest.mark.parametrize(
    ("data", "asked", "address"),
    [
        pytest.param({}, {}, AnswerAddress("answer/ping"), id="nothing asked"),
        pytest.param(
            {"id": "7", "reply_to": "edged/gate/answer/me"}, {}, AnswerAddress("answer/me", id="7"), id="asked in the body"
        ),
        pytest.param(
            {},
            {"answer_topic": "edged/gate/answer/me", "correlation": b"\0\1"},
            AnswerAddress("answer/me", correlation=b"\0\1"),
            id="asked by properties",
        ),
        pytest.param(
            {"reply_to": "edged/gate/answer/body"},
            {"answer_topic": "edged/gate/answer/property"},
            AnswerAddress("answer/property"),
            id="property goes first",
        ),
    ],
)
def test_address_is_where_the_sender_asks(data, asked, address):
    """Properties of MQTT 5, else the body, else the command's own topic."""
    assert find(data, **asked) == address
    check_address(received(**asked), data, head=HEAD)


@pytest.mark.parametrize(
    "topic",
    [
        pytest.param("edged/gate/status", id="our status"),
        pytest.param("edged/gate/door/state", id="a state of ours"),
        pytest.param("edged/gate/command/ping", id="our commands: a loop"),
        pytest.param("edged/yard/answer/me", id="another device's answers"),
        pytest.param("home/lock/set", id="somebody else's topic"),
        pytest.param("edged/gate/answer/#", id="wildcard"),
        pytest.param("answer/me", id="without our head"),
        pytest.param("/edged/gate/answer/me", id="slash before it"),
        pytest.param("$SYS/broker", id="the broker's"),
        pytest.param("", id="empty"),
    ],
)
@pytest.mark.parametrize("is_property", [pytest.param(True, id="MQTT 5"), pytest.param(False, id="body")])
def test_address_elsewhere_is_refused_and_told_at_our_own_topic(topic, is_property):
    """We write nowhere for others but below our topic for answers."""
    data = {"id": "7"} if is_property else {"id": "7", "reply_to": topic}
    asked = {"answer_topic": topic} if is_property else {}

    with pytest.raises(CommandError) as caught:
        check_address(received(**asked), data, head=HEAD)

    assert caught.value.code == CommandFault.ANSWER_TOPIC.value
    assert caught.value.where == ("response topic" if is_property else "reply_to")
    assert "edged/gate/answer/" in caught.value.mend
    assert find(data, **asked) == AnswerAddress("answer/ping", id="7")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"id": 7}, id="id is a number"),
        pytest.param({"id": "a b"}, id="id with space"),
        pytest.param({"id": "a\n"}, id="id with line end"),
        pytest.param({"id": "x" * 65}, id="id too long"),
        pytest.param({"reply_to": 7}, id="topic is a number"),
    ],
)
def test_address_of_a_wrong_command_is_found_all_the_same(data):
    """What else is wrong is for others to say: there must be a place to say it."""
    assert find(data) == AnswerAddress("answer/ping")


@pytest.mark.parametrize(
    "size", [pytest.param(MAX_CORRELATION_BYTES, id="longest"), pytest.param(MAX_CORRELATION_BYTES + 1, id="too long")]
)
def test_address_with_long_correlation_is_refused_above_the_limit(size):
    """It is kept and sent back: it has an end."""
    asked = {"correlation": b"x" * size}

    if size <= MAX_CORRELATION_BYTES:
        check_address(received(**asked), {}, head=HEAD)
        assert find(**asked).correlation == b"x" * size
    else:
        with pytest.raises(CommandError, match="correlation data has 129 bytes"):
            check_address(received(**asked), {}, head=HEAD)
        assert find(**asked).correlation is None


@pytest.mark.parametrize(
    ("address", "key"),
    [
        pytest.param(AnswerAddress("answer/me"), None, id="no mark"),
        pytest.param(AnswerAddress("answer/me", id="7"), ("answer/me", "7"), id="id"),
        pytest.param(AnswerAddress("answer/me", id="7", correlation=b"c"), ("answer/me", b"c"), id="correlation goes first"),
        pytest.param(AnswerAddress("answer/me", id="7", correlation=b""), ("answer/me", "7"), id="empty correlation"),
    ],
)
def test_address_key_tells_commands_apart(address, key):
    """Senders with topics of their own may use the same ids."""
    assert address.key == key
