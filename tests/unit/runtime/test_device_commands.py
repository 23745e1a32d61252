"""Commands about the device itself."""

import jsonschema
import pytest

from edged import __version__
from edged.errors import CommandError
from edged.runtime.device_commands import DescribeArguments, NoArguments, make_ping, with_describe


def by_name():
    return {command.name: command for command in with_describe([make_ping(device="gate", epoch="e1")])}


def test_ping_says_who_is_there():
    """Version, device, and the start that answers."""
    answer = by_name()["ping"].run(NoArguments())

    assert answer.model_dump() == {"version": __version__, "device": "gate", "epoch": "e1"}


def test_describe_tells_about_every_command_and_itself():
    """With schemas that are schemas, and that the answers fit."""
    commands = by_name()

    told = commands["describe"].run(DescribeArguments()).model_dump(mode="json")

    assert [facts["name"] for facts in told["commands"]] == ["ping", "describe"]
    for facts in told["commands"]:
        jsonschema.Draft202012Validator.check_schema(facts["arguments"])
        jsonschema.Draft202012Validator.check_schema(facts["answer"])
    schemas = {facts["name"]: facts["answer"] for facts in told["commands"]}
    jsonschema.validate(told, schemas["describe"])
    jsonschema.validate(commands["ping"].run(NoArguments()).model_dump(mode="json"), schemas["ping"])


def test_describe_of_one_command_tells_about_that():
    """Many commands have long schemas."""
    told = by_name()["describe"].run(DescribeArguments(command="ping"))

    assert [facts.name for facts in told.commands] == ["ping"]


def test_describe_of_an_unknown_command_names_those_that_there_are():
    """An error that mends itself."""
    with pytest.raises(CommandError) as caught:
        by_name()["describe"].run(DescribeArguments(command="pong"))

    assert (caught.value.code, caught.value.where) == ("command.unknown", "arguments.command")
    assert "ping, describe" in caught.value.mend
