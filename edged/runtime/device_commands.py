"""Commands about the device itself, which need nothing but it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field

from edged import __version__
from edged.errors import CommandError
from edged.events.command import CommandFault, CommandName, StrictModel
from edged.events.schema import Amount, Name, Seconds, WireModel
from edged.runtime.commands import Command


class NoArguments(StrictModel):
    """Nothing to tell."""


class PingAnswer(WireModel):
    """Who is there."""

    version: str = Field(description="of edged")
    device: Name
    epoch: Name = Field(description="made new at each start")


class DescribeArguments(StrictModel):
    """Which command."""

    command: CommandName | None = Field(None, description="its name; all commands if left out")


class CommandFacts(WireModel):
    """One command."""

    name: CommandName
    summary: str
    deadline_s: Seconds = Field(description="so long after its arrival you are told that it is not finished")
    most_bytes: Amount = Field(description="longest message that asks for it")
    arguments: dict[str, Any] = Field(description="JSON Schema of `arguments`")
    answer: dict[str, Any] = Field(description="JSON Schema of `answer`")


class DescribeAnswer(WireModel):
    """The commands that this device knows."""

    commands: list[CommandFacts]


def make_ping(*, device: str, epoch: str) -> Command[NoArguments, PingAnswer]:
    """`ping`: whether the command room of a device answers."""
    answer = PingAnswer(version=__version__, device=device, epoch=epoch)
    return Command("ping", "Answers, with version and device.", NoArguments, PingAnswer, lambda _: answer)


def describe_commands(commands: Iterable[Command]) -> DescribeAnswer:
    """What `describe` answers."""
    return DescribeAnswer(commands=[_facts(command) for command in commands])


def with_describe(commands: Sequence[Command]) -> tuple[Command, ...]:
    """The commands, and `describe`, which tells about all of them and itself."""

    def describe(arguments: DescribeArguments) -> DescribeAnswer:
        asked = [command for command in known if arguments.command in (None, command.name)]
        if not asked:
            raise CommandError(
                CommandFault.UNKNOWN,
                f"there is no command {arguments.command}",
                mend=f"known here: {', '.join(command.name for command in known)}",
                where="arguments.command",
            )
        return describe_commands(asked)

    summary = "Lists the commands with the schemas of their arguments and answers."
    known = (*commands, Command("describe", summary, DescribeArguments, DescribeAnswer, describe))
    return known


def _facts(command: Command) -> CommandFacts:
    return CommandFacts(
        name=command.name,
        summary=command.summary,
        deadline_s=command.deadline_s,
        most_bytes=command.most_bytes,
        arguments=command.arguments.model_json_schema(by_alias=True, mode="validation"),
        answer=command.answer.model_json_schema(by_alias=True, mode="serialization"),
    )
