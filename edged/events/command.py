"""Commands and their answers on the wire, as models: what is asked, what is answered, what can be wrong with it.

A command is told strictly: a key that nobody knows is a mistake, not a wish for later. An answer is a message like the
others: its readers pass over what they do not know.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.errors import CommandError
from edged.events.schema import SCHEMA_VERSION, Name, UtcTime, WireModel, make_schema
from edged.events.topics import ANSWER_TREE
from edged.events.wire import utc_text

MAX_COMMAND_BYTES = 8 * 1024
"""Longest command, where its kind does not allow for more."""

MAX_ANSWER_BYTES = 64 * 1024
"""No answer is longer."""

MAX_LEVELS = 32
"""Objects and lists inside each other, in a command."""

MAX_CORRELATION_BYTES = 128
"""Of MQTT 5's correlation data."""

MAX_MISTAKES = 8
"""Most mistakes of one command that its answer lists."""

MAX_ERROR_CHARACTERS = 1000
"""Most of each text of an error: it may repeat what was sent."""

ID_PATTERN = r"^[!-~]{1,64}$"
_LEVEL = r"[A-Za-z0-9_.:@=~-]{1,64}"
_ANSWER_TOPIC = re.compile(rf"{ANSWER_TREE}(/{_LEVEL}){{1,8}}")

CommandName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=64)]


class CommandFault(str, Enum):
    """Why a command was not done, before anybody looked at what it asks. What a command itself finds has codes of its own."""

    UNKNOWN = "command.unknown"
    MALFORMED = "command.malformed"
    INVALID = "command.invalid"
    TOO_LARGE = "command.too_large"
    RETAINED = "command.retained"
    ANSWER_TOPIC = "command.answer_topic"
    ID_REUSED = "command.id_reused"
    RATE = "command.rate"
    BUSY = "command.busy"
    DEADLINE = "command.deadline"
    ANSWER_TOO_LARGE = "command.answer_too_large"
    STOPPED = "command.stopped"
    FAILED = "command.failed"


class StrictModel(BaseModel):
    """What is told to us: frozen, no unknown keys, finite numbers, and no value repeated in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class CommandMessage(StrictModel):
    """Something to do. Topic: <prefix>/<device>/command/<name>; not retained."""

    id: str | None = Field(
        None, pattern=ID_PATTERN, description="comes back in the answer; the same id again is not done again, but answered again"
    )
    reply_to: str | None = Field(
        None,
        max_length=1024,
        description="where the answer goes, below <prefix>/<device>/answer/; MQTT 5's response topic goes before it, "
        "<prefix>/<device>/answer/<name> if left out",
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="what the command needs to know: `describe` says what")


class ErrorFacts(WireModel):
    """Why a command was not done."""

    code: str = Field(description="stable, for programs, e.g. command.unknown")
    message: str = Field(description="what is wrong, for people")
    mend: str = Field(description="what to do about it, for people")
    where: str | None = Field(None, description="place in the command, e.g. arguments.person")


class AnswerMessage(WireModel):
    """What became of a command. Not retained; with MQTT 5 it carries the command's correlation data."""

    schema_version: Literal[1]
    device: Name
    command: Name
    id: str | None = Field(None, description="of the command, where it had one")
    at: UtcTime = Field(description="when this was written")
    ok: bool
    answer: dict[str, Any] | None = Field(None, description="where ok: what the command found")
    error: ErrorFacts | None = Field(None, description="where not ok")


_Model = TypeVar("_Model", bound=BaseModel)


def read_command(body: bytes) -> dict[str, Any]:
    """The JSON object that a command is.

    Raises:
        CommandError: it is none, it is nested too deep, or it has a key twice or a number that is not finite. An empty body is
            none either: with 3.1.1 it may as well be the removal of a retained message.
    """
    if not body:
        raise _malformed("it is empty")
    try:
        data = json.loads(body.decode(), object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except RecursionError:
        raise _malformed("it is nested too deep") from None
    except ValueError as error:  # not UTF-8, not JSON, an integer of thousands of digits, and what the hooks raise
        raise _malformed(_reason(error)) from None
    if not isinstance(data, dict):
        raise _malformed("it is no object")
    if _is_deeper_than(data, MAX_LEVELS):
        raise _malformed("it is nested too deep")
    return data


def decode_command(data: dict[str, Any]) -> CommandMessage:
    """The command that a JSON object holds.

    Raises:
        CommandError: with every mistake in it.
    """
    return _validate(CommandMessage, data)


def decode_arguments(model: type[_Model], arguments: dict[str, Any]) -> _Model:
    """A command's arguments as its own model, read strictly: no text for a number, no unknown key.

    Raises:
        CommandError: with every mistake in them.
    """
    return _validate(model, arguments, below="arguments")


def is_answer_topic(topic: str) -> bool:
    """Whether an answer may go to a topic, given below `<prefix>/<device>/`: our answer tree, nothing else of ours or others."""
    return _ANSWER_TOPIC.fullmatch(topic) is not None


def encode_answer(answer: BaseModel, *, device: str, command: str, id: str | None, at: float) -> bytes:
    """The body of the answer to a command that was done, at most `MAX_ANSWER_BYTES`.

    Args:
        answer: what it found.
        device, command, id: who answers what.
        at: now, UTC seconds since 1970.

    Raises:
        CommandError: it would be longer.
    """
    body = _encode(
        AnswerMessage(
            schema_version=SCHEMA_VERSION,
            device=device,
            command=command,
            id=id,
            at=utc_text(at),
            ok=True,
            answer=answer.model_dump(mode="json", by_alias=True, exclude_none=True),
        )
    )
    if len(body) > MAX_ANSWER_BYTES:
        message = f"the command was done, but its answer of {len(body)} bytes exceeds {MAX_ANSWER_BYTES}"
        raise CommandError(CommandFault.ANSWER_TOO_LARGE, message, mend="ask for less at a time")
    return body


def encode_error(error: CommandError, *, device: str, command: str, id: str | None, at: float) -> bytes:
    """The body of the answer to a command that was not done; `at`: now, UTC seconds since 1970."""
    facts = ErrorFacts(
        code=error.code,
        message=error.message[:MAX_ERROR_CHARACTERS],
        mend=error.mend[:MAX_ERROR_CHARACTERS],
        where=error.where and error.where[:MAX_ERROR_CHARACTERS],
    )
    return _encode(
        AnswerMessage(
            schema_version=SCHEMA_VERSION, device=device, command=command, id=id, at=utc_text(at), ok=False, error=facts
        )
    )


def make_command_schemas() -> dict[str, dict[str, object]]:
    """The JSON Schemas of commands and answers, by the name of the file that holds it; `describe` tells what is inside each."""
    return {
        "command.schema.json": make_schema(CommandMessage, mode="validation"),
        "answer.schema.json": make_schema(AnswerMessage, mode="serialization"),
    }


def _encode(message: AnswerMessage) -> bytes:
    return message.model_dump_json(exclude_none=True).encode()


def _validate(model: type[_Model], data: dict[str, Any], *, below: str | None = None) -> _Model:
    try:  # by way of JSON: only there does strict mean "as JSON says it", with texts for times and lists for tuples
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
    places = [".".join(map(str, (below, *mistake["loc"]) if below else mistake["loc"])) for mistake in found]
    told = "; ".join(
        f"{place}: {mistake['msg']}" if place else mistake["msg"]
        for place, mistake in zip(places[:MAX_MISTAKES], found, strict=False)
    )
    known = ", ".join(field.alias or name for name, field in model.model_fields.items()) or "none"
    raise CommandError(
        CommandFault.INVALID,
        told if len(found) <= MAX_MISTAKES else f"{told}; and {len(found) - MAX_MISTAKES} more",
        mend=f"keys of {below or 'a command'}: {known}; the command `describe` says what each holds",
        where=places[0] or None,
    )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("a key stands twice")
    return data


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _is_deeper_than(data: Any, levels: int) -> bool:
    """Whether something stands inside more objects and lists than that. How deep JSON itself may go differs among Pythons."""
    inside = [data]
    for _ in range(levels):
        inside = [
            one for each in inside if isinstance(each, dict | list) for one in (each.values() if isinstance(each, dict) else each)
        ]
    return any(isinstance(each, dict | list) for each in inside)


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return str(error)


def _malformed(reason: str) -> CommandError:
    mend = 'send a JSON object: {"id": "1", "arguments": {}}, or only {}'
    return CommandError(CommandFault.MALFORMED, f"this is not a command: {reason}", mend=mend)
