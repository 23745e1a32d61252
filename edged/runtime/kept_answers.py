"""The answers of the last minutes, so that a command that comes twice is done once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

KEEP_S = 120.0
"""A broker or a sender repeats a message within seconds; a network that was away, within a minute or two."""

MOST_ANSWERS = 256
MOST_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class KeptAnswer:
    """What a command was answered.

    Attributes:
        digest: of the command as it came: another one with the same id is a mistake of the sender.
        body: of the answer; None while it is not finished.
        begun_s: monotonic time.
    """

    digest: bytes
    body: bytes | None
    begun_s: float


class KeptAnswers:
    """Bounded in time, number and bytes; the oldest go first. Not locked: used by one thread at a time.

    A key is where an answer goes and the id there: two senders with answer topics of their own may use the same ids.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str | bytes], KeptAnswer] = OrderedDict()
        self._bytes = 0

    def find(self, key: tuple[str, str | bytes], now_s: float) -> KeptAnswer | None:
        """The answer kept under a key; None if there is none, or none any more."""
        self._forget(now_s)
        return self._kept.get(key)

    def begin(self, key: tuple[str, str | bytes], digest: bytes, now_s: float) -> None:
        """Note that a command is being done, under a key that `find` did not find."""
        self._kept[key] = KeptAnswer(digest, None, now_s)
        self._forget(now_s)

    def finish(self, key: tuple[str, str | bytes], body: bytes) -> None:
        """Keep the answer of a command that was begun, unless it is forgotten already."""
        kept = self._kept.get(key)
        if kept is not None:
            kept.body = body
            self._bytes += len(body)
            self._forget(kept.begun_s)

    def forget_finished(self) -> None:
        """Keep no answer any more; what is begun goes on being known."""
        self._kept = OrderedDict((key, kept) for key, kept in self._kept.items() if kept.body is None)
        self._bytes = 0

    def _forget(self, now_s: float) -> None:
        while self._kept:
            oldest = next(iter(self._kept.values()))
            is_too_much = len(self._kept) > MOST_ANSWERS or self._bytes > MOST_BYTES
            if not is_too_much and now_s - oldest.begun_s <= KEEP_S:
                return
            self._kept.popitem(last=False)
            self._bytes -= len(oldest.body or b"")
