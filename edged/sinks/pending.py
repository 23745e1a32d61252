"""Events between `publish` and the broker's acknowledgement. In memory; the disk outbox will stand in this place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from edged.sinks.base import Message


@dataclass(frozen=True, slots=True, order=True)
class PendingEvent:
    """An accepted event and its place in the order of acceptance."""

    number: int
    message: Message = field(compare=False)


class Pending:
    """Accepted events, oldest first. Not locked: its owner's lock guards it.

    Bounded: with `limit` events held, those in hand included, the oldest waiting one is given up for a new one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[PendingEvent] = deque()
        self._in_hand = 0
        self._accepted = 0

    @property
    def waiting(self) -> int:
        """Events that nobody has in hand."""
        return len(self._waiting)

    @property
    def in_hand(self) -> int:
        """Events taken, and neither settled nor put back."""
        return self._in_hand

    @property
    def accepted(self) -> int:
        """Events ever put."""
        return self._accepted

    def put(self, message: Message) -> int:
        """Keep an event; returns how many (0 or 1) were given up for it."""
        self._accepted += 1
        self._waiting.append(PendingEvent(self._accepted, message))
        if len(self._waiting) + self._in_hand <= self._limit:
            return 0
        self._waiting.popleft()
        return 1

    def take(self) -> PendingEvent | None:
        """The oldest waiting event, now in hand; None if there is none."""
        if not self._waiting:
            return None
        self._in_hand += 1
        return self._waiting.popleft()

    def settle(self) -> None:
        """One event in hand is done with."""
        self._in_hand -= 1

    def put_back(self, events: Iterable[PendingEvent]) -> None:
        """Events in hand wait again, each at its old place."""
        events = list(events)
        self._in_hand -= len(events)
        self._waiting = deque(sorted([*events, *self._waiting]))

    def give_up(self) -> int:
        """Forget every waiting event; returns how many."""
        n = len(self._waiting)
        self._waiting.clear()
        return n
