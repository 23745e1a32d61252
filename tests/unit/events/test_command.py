"""What counts as a command, and what its answers look like."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from edged.errors import CommandError
from edged.events.command import (
    MAX_ANSWER_BYTES,
    MAX_MISTAKES,
    AnswerMessage,
    CommandFault,
    CommandMessage,
    StrictModel,
    decode_arguments,
    decode_command,
    encode_answer,
    encode_error,
    is_answer_topic,
    read_command,
)

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "commands.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```json (command|answer)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
MODELS = {"command": CommandMessage, "answer": AnswerMessage}


class Lamp(StrictModel):
    """Arguments of a command."""

    name: str
    level: float = Field(1.0, ge=0, le=1)
    rooms: tuple[str, ...] = ()


class Told(StrictModel):
    """An answer."""

    text: str


def make_validator(kind):
    schema = json.loads((DOCS / "schema" / f"{kind}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def refused(action, *arguments):
    with pytest.raises(CommandError) as caught:
        action(*arguments)
    return caught.value


def nested(levels):
    """So many lists inside each other."""
    return [nested(levels - 1)] if levels > 1 else []


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        pytest.param(b"{}", {}, id="empty object"),
        pytest.param(b'{"arguments":{"a":' + b"[" * 30 + b"]" * 30 + b"}}", {"a": nested(30)}, id="as deep as may be"),
        pytest.param(b'{"id":"7","reply_to":"edged/gate/answer/me","arguments":{"a":[1]}}', {"a": [1]}, id="everything"),
    ],
)
def test_command_read_as_written(body, arguments):
    """Every part may be left out."""
    assert decode_command(read_command(body)).arguments == arguments


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b"\xff\xfe", "byte 1 is not UTF-8", id="not UTF-8"),
        pytest.param(b"ping", "Expecting value at character 1", id="not JSON"),
        pytest.param(b'{"id":"1"} x', "Extra data", id="more than JSON"),
        pytest.param(b"[]", "no object", id="a list"),
        pytest.param(b'"id"', "no object", id="a text"),
        pytest.param(b'{"id":"1","id":"2"}', "stands twice", id="key twice"),
        pytest.param(b'{"arguments":{"a":1,"a":2}}', "stands twice", id="key twice inside"),
        pytest.param(b'{"arguments":{"a":NaN}}', "NaN is no JSON number", id="not a number"),
        pytest.param(b'{"arguments":{"a":-Infinity}}', "-Infinity is no JSON number", id="infinite"),
        pytest.param(b'{"arguments":' + b"[" * 4000 + b"]" * 4000 + b"}", "nested too deep", id="deep"),
        pytest.param(b'{"arguments":{"a":' + b"[" * 31 + b"]" * 31 + b"}}", "nested too deep", id="one level too deep"),
        pytest.param(b'{"arguments":{"a":' + b"1" * 5000 + b"}}", "4300", id="long integer"),
    ],
)
def test_command_malformed_is_refused_with_reason(body, reason):
    """What is no JSON object, or one of two meanings, is no command."""
    error = refused(read_command, body)

    assert error.code == CommandFault.MALFORMED.value
    assert reason in error.message
    assert "JSON object" in error.mend


@pytest.mark.parametrize(
    ("data", "where"),
    [
        pytest.param({"argument": {}}, "argument", id="unknown key"),
        pytest.param({"id": 7}, "id", id="number as id"),
        pytest.param({"id": ""}, "id", id="empty id"),
        pytest.param({"id": "a" * 65}, "id", id="id too long"),
        pytest.param({"id": "a b"}, "id", id="space in id"),
        pytest.param({"reply_to": ["x"]}, "reply_to", id="list as topic"),
        pytest.param({"arguments": []}, "arguments", id="list as arguments"),
        pytest.param({"arguments": None}, "arguments", id="null as arguments"),
    ],
)
def test_command_of_wrong_form_is_refused_with_its_place(data, where):
    """The answer says where and which keys there are."""
    error = refused(decode_command, data)

    assert (error.code, error.where) == (CommandFault.INVALID.value, where)
    assert "keys of a command: id, reply_to, arguments" in error.mend
    assert list(make_validator("command").iter_errors(data))


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        pytest.param({}, "arguments.name", id="missing"),
        pytest.param({"name": 1}, "arguments.name", id="number as text"),
        pytest.param({"name": "a", "level": "1"}, "arguments.level", id="text as number"),
        pytest.param({"name": "a", "level": 2}, "arguments.level", id="out of range"),
        pytest.param({"name": "a", "lvel": 1}, "arguments.lvel", id="unknown"),
        pytest.param({"name": "a", "rooms": [1]}, "arguments.rooms.0", id="inside a list"),
        pytest.param({"name": "\ud800"}, None, id="half a character"),
    ],
)
def test_arguments_of_wrong_form_are_refused_with_their_place(arguments, where):
    """Strictly: no text for a number, nothing unknown."""
    error = refused(decode_arguments, Lamp, arguments)

    assert (error.code, error.where) == (CommandFault.INVALID.value, where or "arguments")
    assert "keys of arguments: name, level, rooms" in error.mend


def test_arguments_in_json_form_are_what_the_model_holds():
    """A JSON list may be a tuple, a whole number a float."""
    assert decode_arguments(Lamp, {"name": "hall", "level": 1, "rooms": ["a"]}) == Lamp(name="hall", level=1.0, rooms=("a",))


def test_arguments_with_many_mistakes_list_the_first_ones():
    """All at once, but an answer has an end."""
    error = refused(decode_arguments, Lamp, {f"key{number}": 1 for number in range(20)})

    assert error.message.count("arguments.") == MAX_MISTAKES
    assert f"and {21 - MAX_MISTAKES} more" in error.message


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        pytest.param("answer/me", True, id="one level"),
        pytest.param("answer/a/B/c-1/@x:y.z=~_", True, id="several"),
        pytest.param("answer/1/2/3/4/5/6/7/8", True, id="eight levels"),
        pytest.param("answer/1/2/3/4/5/6/7/8/9", False, id="nine levels"),
        pytest.param("answer", False, id="none"),
        pytest.param("answer/", False, id="empty level"),
        pytest.param("answer//me", False, id="empty level inside"),
        pytest.param("answers/me", False, id="other tree"),
        pytest.param("status", False, id="our status"),
        pytest.param("door/state", False, id="a camera's state"),
        pytest.param("command/ping", False, id="a command"),
        pytest.param("answer/+", False, id="one-level wildcard"),
        pytest.param("answer/#", False, id="wildcard"),
        pytest.param("answer/../status", True, id="dots mean nothing in MQTT"),
        pytest.param("answer/$SYS", False, id="dollar"),
        pytest.param("answer/me\n", False, id="line end"),
        pytest.param("answer/me\0", False, id="NUL"),
        pytest.param("answer/" + "a" * 65, False, id="long level"),
        pytest.param("", False, id="empty"),
    ],
)
def test_answer_topic_is_below_ours_and_harmless(topic, allowed):
    """Nobody can have us write elsewhere."""
    assert is_answer_topic(topic) is allowed


def test_answer_fits_its_schema():
    """What we send is what we promise."""
    body = encode_answer(Told(text="hi"), device="gate", command="lamp.set", id="7", at=1.5)

    assert json.loads(body) == {
        "schema_version": 1,
        "device": "gate",
        "command": "lamp.set",
        "id": "7",
        "at": "1970-01-01T00:00:01.500Z",
        "ok": True,
        "answer": {"text": "hi"},
    }
    make_validator("answer").validate(json.loads(body))


def test_answer_with_error_fits_its_schema_and_is_cut():
    """An error may repeat what was sent, and stays short all the same."""
    error = CommandError("lamp.dark", "m" * 100_000, mend="buy a lamp", where="w" * 100_000)

    body = encode_error(error, device="gate", command="lamp.set", id=None, at=0.0)

    answer = json.loads(body)
    make_validator("answer").validate(answer)
    assert (answer["ok"], answer["error"]["code"], answer["error"]["mend"]) == (False, "lamp.dark", "buy a lamp")
    assert len(body) < 3000
    assert "id" not in answer


def test_answer_too_long_is_an_error_instead():
    """A reader can rely on the limit."""
    fits = len(encode_answer(Told(text=""), device="gate", command="x", id=None, at=0.0))

    encode_answer(Told(text="x" * (MAX_ANSWER_BYTES - fits)), device="gate", command="x", id=None, at=0.0)
    with pytest.raises(CommandError, match="was done, but its answer"):
        encode_answer(Told(text="x" * (MAX_ANSWER_BYTES - fits + 1)), device="gate", command="x", id=None, at=0.0)


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_page_example_fits_its_schema_and_has_no_unknown_field(kind, text):
    """An example can be taken at its word."""
    example = json.loads(text)

    make_validator(kind).validate(example)
    again = MODELS[kind].model_validate_json(text).model_dump(exclude_none=True, exclude_unset=True, mode="json")
    assert again == example


def test_page_explains_every_code():
    """Nobody has to read the code to know what a code means."""
    missing = [fault.value for fault in CommandFault if f"`{fault.value}`" not in PAGE]

    assert missing == []
    assert {kind for kind, _ in EXAMPLES} == set(MODELS)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
_COMMANDS = st.dictionaries(st.sampled_from(["id", "reply_to", "arguments", "name", "level", ""]), _JSON, max_size=4)


@settings(max_examples=200, deadline=None, suppress_health_check=[])
@given(
    st.one_of(
        st.binary(max_size=60),
        _JSON.map(lambda data: json.dumps(data).encode()),
        _COMMANDS.map(lambda data: json.dumps(data).encode()),
    )
)
def test_any_body_is_read_or_refused(body):
    """Whatever comes, the answer is arguments or an error that can be sent."""
    try:
        decode_arguments(Lamp, decode_command(read_command(body)).arguments)
    except CommandError as error:
        encode_error(error, device="gate", command="x", id=None, at=0.0)
