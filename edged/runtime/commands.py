"""The command room: what others ask of this device is taken, done one after the other, and always answered.

    broker ─ mqtt ─▶ offer ─▶ queue ─▶ run: read, check, do ─▶ answer ─▶ sink queue ─ mqtt ─▶ broker
    main: check: deadlines

`offer` runs on the mqtt loop and only looks from outside; `run` is the body of a loop of its own, where a command may take
as long as it likes. Nothing of a command is logged but its name, its id and what became of it.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import re
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from edged.clock import Clock, now_at
from edged.errors import CommandError, DeviceError, EdgedError
from edged.events.command import (
    MAX_COMMAND_BYTES,
    CommandFault,
    decode_arguments,
    decode_command,
    encode_answer,
    encode_error,
    read_command,
)
from edged.events.topics import COMMAND_TREE
from edged.runtime.answer_address import AnswerAddress, check_address, find_address
from edged.runtime.kept_answers import KeptAnswer, KeptAnswers
from edged.runtime.loop import Loop
from edged.runtime.pacing import Allowance, Interval
from edged.sinks.base import Message, MessageKind, Received, Subscription

logger = logging.getLogger(__name__)

DEADLINE_S = 10.0
"""Of a command that says nothing else."""

STUCK_AFTER_S = 60.0
"""A command that is so much over its deadline is stuck in foreign code."""

MOST_WAITING_BYTES = 16 * 1024 * 1024
"""Of all commands that wait: pictures are large."""

_POLL_S = 0.2
_REPORT_S = 60.0
_READ_TO_REFUSE_BYTES = 64 * 1024
"""What is longer is refused unread: the mqtt loop has other things to do."""

_PACKET_OVERHEAD_BYTES = 64 * 1024
"""So much above the longest command is still taken, to be refused with a reason; the broker drops what is longer in silence."""

_NO_NAME = "unknown"

ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)
AnswerT = TypeVar("AnswerT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Command(Generic[ArgumentsT, AnswerT]):
    """One thing that this device can be asked to do.

    Attributes:
        name: last level of its topic, e.g. `faces.enrol`.
        summary: what it does, one sentence for people.
        arguments, answer: what it is told and what it finds; unknown arguments are refused where the model forbids them.
        run: does it, on the thread of the command room, one at a time. Raises `CommandError`, or another `EdgedError`.
        deadline_s: so long after its arrival whoever asked is told that it is not finished. Nothing is broken off.
        most_bytes: longest body.
        erases: after it answers to earlier commands are not kept any more: they may tell what it erased.
    """

    name: str
    summary: str
    arguments: type[ArgumentsT]
    answer: type[AnswerT]
    run: Callable[[ArgumentsT], AnswerT]
    deadline_s: float = DEADLINE_S
    most_bytes: int = MAX_COMMAND_BYTES
    erases: bool = False


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """How many commands are too many.

    Attributes:
        rate_per_s: commands a second, from all senders together; twice as many in one second after a pause.
        queue_limit: commands that may wait for the one being done.
    """

    rate_per_s: float = 5.0
    queue_limit: int = 8


@dataclass(eq=False, slots=True)
class _Request:
    """A command that came. Once `is_answered` its sender knows enough; who sets it, under the lock, sends the answer."""

    received: Received
    name: str
    arrived_s: float
    deadline_s: float
    address: AnswerAddress | None = None
    is_answered: bool = False

    def is_late(self, now_s: float) -> bool:
        """Whether its sender has waited for too long and not been told so."""
        return now_s > self.deadline_s and not self.is_answered


class CommandRoom:
    """Takes commands, has them done, sends their answers. `run` may end and be begun anew; a stuck one is left to itself.

    Args:
        commands: all there are.
        device: name of this device.
        topic_head: `<prefix>/<device>/`.
        clock: for deadlines and the time in answers.
        send: takes the answers; never blocks.
    """

    def __init__(
        self,
        commands: Iterable[Command],
        *,
        device: str,
        topic_head: str,
        clock: Clock,
        send: Callable[[Message], None],
        settings: CommandSettings,
    ) -> None:
        self._commands = {command.name: command for command in commands}
        self._device = device
        self._head = topic_head
        self._clock = clock
        self._send = send
        self._queue_limit = settings.queue_limit
        burst = max(1.0, 2 * settings.rate_per_s)

        self._lock = threading.Condition()  # guards everything below
        self._rate = Allowance(settings.rate_per_s, burst=burst)
        self._refusals = Allowance(settings.rate_per_s, burst=burst)
        self._waiting: deque[_Request] = deque()
        self._running: list[_Request] = []  # more than one only where a loop was stuck and replaced
        self._kept = KeptAnswers()
        self._is_closed = False
        self._outcomes: Counter[str] = Counter()
        self._passed_over = self._passed_over_reported = 0
        self._report_due = Interval(_REPORT_S)

    @property
    def subscription(self) -> Subscription:
        """What the connection must listen to for us."""
        most_bytes = max(command.most_bytes for command in self._commands.values()) + _PACKET_OVERHEAD_BYTES
        return Subscription(f"{COMMAND_TREE}/+", most_bytes, self.offer)

    @property
    def limit_s(self) -> float:
        """A loop that makes no progress for so long is stuck."""
        return max(command.deadline_s for command in self._commands.values()) + STUCK_AFTER_S

    @property
    def outcomes(self) -> Counter[str]:
        """Answers since the start, by `ok` or the code of the error."""
        with self._lock:
            return self._outcomes.copy()

    @property
    def passed_over(self) -> int:
        """Commands that were too many even to be refused one by one."""
        with self._lock:
            return self._passed_over

    def offer(self, received: Received) -> None:
        """Take a command, or refuse it at once. Never blocks or raises."""
        if received.is_retained and not received.body:  # somebody removes a retained one
            return
        now_s = self._clock.now_s()
        name = _name_of(received.topic)
        command = self._commands.get(name)
        deadline_s = now_s + (command.deadline_s if command else DEADLINE_S)
        request = _Request(received, name, now_s, deadline_s)
        most_bytes = command.most_bytes if command else MAX_COMMAND_BYTES
        with self._lock:
            error = self._objection(received, most_bytes, now_s)
            if error is None:
                self._waiting.append(request)
                self._lock.notify()
                return
            if not self._refusals.take(now_s):
                self._passed_over += 1
                return
        self._answer_error(request, error)

    def run(self, loop: Loop) -> None:
        """Do what waits, until told to stop."""
        while not loop.stopping:
            loop.beat()
            request = self._take()
            if request is not None:
                self._handle(request)

    def check(self) -> None:
        """Tell those whose deadline has passed; called a few times a second."""
        now_s = self._clock.now_s()
        with self._lock:
            late = [request for request in (*self._waiting, *self._running) if request.is_late(now_s)]
            self._waiting = deque(request for request in self._waiting if not request.is_late(now_s))
            running = set(self._running)
            passed_over = self._passed_over - self._passed_over_reported
            is_news = passed_over > 0 and self._report_due.is_due(now_s)
            if is_news:
                self._passed_over_reported = self._passed_over
        for request in late:
            self._answer_error(request, _late(request, is_begun=request in running))
        if is_news:
            logger.warning("commands passed over, they are too many: n=%d", passed_over)

    def close(self) -> None:
        """Take no more; whoever waits for an answer is told."""
        with self._lock:
            self._is_closed = True
            waiting, running = list(self._waiting), [request for request in self._running if not request.is_answered]
            self._waiting.clear()
        for request in waiting:
            self._answer_error(request, _stopped())
        for request in running:
            self._answer_error(request, _stopped(is_begun=True))

    def _objection(self, received: Received, most_bytes: int, now_s: float) -> CommandError | None:
        """What speaks against a command from outside; with the lock held."""
        if not self._rate.take(now_s):
            return CommandError(CommandFault.RATE, "too many commands", mend="send fewer a second (commands.rate_per_s)")
        if received.is_retained:
            mend = "publish it without retain; an empty retained message removes the one that is kept"
            return CommandError(
                CommandFault.RETAINED, "a retained command is never done: it would be, again and again", mend=mend
            )
        if len(received.body) > most_bytes:
            message = f"the command has {len(received.body)} bytes, it may have {most_bytes}"
            return CommandError(CommandFault.TOO_LARGE, message, mend="send less, a smaller picture for example")
        if self._is_closed:
            return _stopped()
        waiting_bytes = sum(len(request.received.body) for request in self._waiting)
        if len(self._waiting) >= self._queue_limit or waiting_bytes + len(received.body) > MOST_WAITING_BYTES:
            message = f"{len(self._waiting)} commands of {waiting_bytes} bytes wait already"
            return CommandError(CommandFault.BUSY, message, mend="send it again in a few seconds")
        return None

    def _take(self) -> _Request | None:
        """The request that waits longest, now running; None if none came in a while."""
        with self._lock:
            if not self._waiting:
                self._lock.wait(_POLL_S)
            if not self._waiting:
                return None
            request = self._waiting.popleft()
            self._running.append(request)
            return request

    def _handle(self, request: _Request) -> None:
        try:
            self._settle(request)
        except CommandError as error:
            self._answer_error(request, error)
        except DeviceError as error:  # only a new process can go on: the loop fails, and the daemon with it
            self._answer_error(request, _failed(str(error), mend="edged starts anew: send it again once its status is online"))
            raise
        finally:
            with self._lock:
                self._running.remove(request)

    def _settle(self, request: _Request) -> None:
        """Read a command, do it, or remember that it was done, and answer it.

        Raises:
            CommandError: it was not even begun.
        """
        received = request.received
        data = read_command(received.body)
        request.address = address = find_address(received, data, head=self._head, command=request.name)
        check_address(received, data, head=self._head)
        message = decode_command(data)
        command = self._commands.get(request.name)
        if command is None:
            raise _unknown(request.name, self._commands)
        arguments = decode_arguments(command.arguments, message.arguments)
        digest = hashlib.blake2b(request.name.encode() + b"\0" + received.body).digest()
        kept = self._remember(address, digest)
        if kept is not None:
            self._answer(request, address, "again", _repeat(kept, digest))
            return
        outcome, body = self._do(command, arguments, address)
        with self._lock:
            if command.erases:
                self._kept.forget_finished()
            if address.key is not None:
                self._kept.finish(address.key, body)
        self._answer(request, address, outcome, body)

    def _remember(self, address: AnswerAddress, digest: bytes) -> KeptAnswer | None:
        """What a command was answered that came before; a new one is noted as begun."""
        if address.key is None:
            return None
        now_s = self._clock.now_s()
        with self._lock:
            kept = self._kept.find(address.key, now_s)
            if kept is None:
                self._kept.begin(address.key, digest, now_s)
            return kept

    def _do(self, command: Command, arguments: BaseModel, address: AnswerAddress) -> tuple[str, bytes]:
        """Do a command; what it raises is an answer, too."""
        try:
            answer = command.run(arguments)
            at = now_at(self._clock)
            return "ok", encode_answer(answer, device=self._device, command=command.name, id=address.id, at=at)
        except CommandError as error:
            return error.code, self._encode_error(error, command.name, address)
        except DeviceError:
            raise
        except EdgedError as error:
            failure = _failed(str(error), mend="mend that and send it again with another id")
        except Exception as error:  # the border to whoever wrote the command: one that is broken must not end the daemon
            kind, frames = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))  # no values: they are secret
            logger.error("command broken: name=%s id=%s error=%s at\n%s", command.name, address.id, kind, frames)
            failure = _failed(f"{kind} inside edged", mend="the log of edged says where: report it")
        return failure.code, self._encode_error(failure, command.name, address)

    def _answer_error(self, request: _Request, error: CommandError) -> None:
        address = request.address
        if address is None:
            data = _read_leniently(request.received.body)
            address = find_address(request.received, data, head=self._head, command=request.name)
        self._answer(request, address, error.code, self._encode_error(error, request.name, address))

    def _encode_error(self, error: CommandError, name: str, address: AnswerAddress) -> bytes:
        at = now_at(self._clock)
        return encode_error(error, device=self._device, command=name, id=address.id, at=at)

    def _answer(self, request: _Request, address: AnswerAddress, outcome: str, body: bytes) -> None:
        """Send an answer, unless the sender was told something already."""
        with self._lock:
            is_late, request.is_answered = request.is_answered, True
            if not is_late:
                self._outcomes[outcome] += 1
        what, took_s = "command finished late" if is_late else "command", self._clock.now_s() - request.arrived_s
        logger.info("%s: name=%s id=%s outcome=%s took=%.3fs", what, request.name, address.id, outcome, took_s)
        if not is_late:
            self._send(Message(MessageKind.ANSWER, address.topic, body, correlation=address.correlation))


def _name_of(topic: str) -> str:
    """The name of a command from its topic; one that none can have becomes a harmless one."""
    name = topic.rpartition("/")[2]
    return name if re.fullmatch(r"[a-z0-9_.]{1,64}", name) else _NO_NAME


def _read_leniently(body: bytes) -> dict[str, Any]:
    if len(body) > _READ_TO_REFUSE_BYTES:
        return {}
    try:
        return read_command(body)
    except CommandError:
        return {}


def _repeat(kept: KeptAnswer, digest: bytes) -> bytes:
    """The answer that a command was given when it came first.

    Raises:
        CommandError: it is another command, or not finished.
    """
    if kept.digest != digest:
        message = "another command came with this id or correlation data a moment ago"
        raise CommandError(CommandFault.ID_REUSED, message, mend="give every command its own", where="id")
    if kept.body is None:
        message = "the command came before and is not finished"
        raise CommandError(CommandFault.DEADLINE, message, mend="send it again with the same id, later")
    return kept.body


def _unknown(name: str, known: Iterable[str]) -> CommandError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return CommandError(CommandFault.UNKNOWN, f"there is no command {name}{hint}", mend="the command `describe` lists all")


def _late(request: _Request, *, is_begun: bool) -> CommandError:
    if not is_begun:
        return CommandError(CommandFault.DEADLINE, "others took too long, it was not begun", mend="send it again")
    mend = (
        "it goes on: send it again with the same id for its answer" if request.address and request.address.key else "it goes on"
    )
    return CommandError(
        CommandFault.DEADLINE, f"not finished {request.deadline_s - request.arrived_s:g} s after it came", mend=mend
    )


def _stopped(*, is_begun: bool = False) -> CommandError:
    message = "edged stops; perhaps it was done, perhaps not" if is_begun else "edged stops"
    return CommandError(CommandFault.STOPPED, message, mend="send it again once the device's status is online")


def _failed(message: str, *, mend: str) -> CommandError:
    return CommandError(CommandFault.FAILED, message, mend=mend)
