"""Where the answer to a command goes.

A sender may choose, but only below this device's own topic for answers: else anybody who may command could have us write
to any topic that the broker lets us write to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from edged.errors import CommandError
from edged.events.command import ID_PATTERN, MAX_CORRELATION_BYTES, CommandFault, is_answer_topic
from edged.events.topics import ANSWER_TREE, answer_topic
from edged.sinks.base import Received


@dataclass(frozen=True, slots=True)
class AnswerAddress:
    """Where an answer goes and what tells its reader which command it answers.

    Attributes:
        topic: below `<prefix>/<device>/`.
        id: from the command's body.
        correlation: from its properties (MQTT 5).
    """

    topic: str
    id: str | None = None
    correlation: bytes | None = None

    @property
    def key(self) -> tuple[str, str | bytes] | None:
        """What tells this command from all others; None where its sender gave it no mark."""
        mark = self.correlation or self.id
        return None if mark is None else (self.topic, mark)


def find_address(received: Received, data: dict[str, Any], *, head: str, command: str) -> AnswerAddress:
    """Where the answer to a command may go, whatever else is wrong with it: as asked if allowed, else to its name's topic.

    Args:
        data: the object in its body; empty where that cannot be read.
        head: `<prefix>/<device>/`.
        command: its name.
    """
    topic, id, correlation = _asked_topic(received, data, head), data.get("id"), received.correlation
    return AnswerAddress(
        topic=topic if topic is not None and is_answer_topic(topic) else answer_topic(command),
        id=id if isinstance(id, str) and re.fullmatch(ID_PATTERN, id) else None,
        correlation=correlation if len(correlation or b"") <= MAX_CORRELATION_BYTES else None,
    )


def check_address(received: Received, data: dict[str, Any], *, head: str) -> None:
    """Refuse a command whose answer cannot go where, or carry what, its sender wants.

    Raises:
        CommandError: it names a topic that is not below ours for answers, or its correlation data is too long.
    """
    topic = _asked_topic(received, data, head)
    if topic is not None and not is_answer_topic(topic):
        raise CommandError(
            CommandFault.ANSWER_TOPIC,
            "answers go nowhere but below this device's own topic for them",
            mend=f"ask for {head}{ANSWER_TREE}/ and 1 to 8 levels of your own: letters, digits and _ . : @ = ~ -",
            where="reply_to" if received.answer_topic is None else "response topic",
        )
    if len(received.correlation or b"") > MAX_CORRELATION_BYTES:
        message = f"the correlation data has {len(received.correlation or b'')} bytes, it may have {MAX_CORRELATION_BYTES}"
        raise CommandError(CommandFault.INVALID, message, mend="send less", where="correlation data")


def _asked_topic(received: Received, data: dict[str, Any], head: str) -> str | None:
    """The topic that a sender asks for, below the head; empty where it is not below; None where nobody asked."""
    asked = received.answer_topic if received.answer_topic is not None else data.get("reply_to")
    if not isinstance(asked, str):
        return None
    return asked.removeprefix(head) if asked.startswith(head) else ""
