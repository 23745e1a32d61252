"""The body of one thread: named, stoppable, with a heartbeat, its failure kept.

Threads themselves are made and joined by `daemon.py` alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from edged.errors import EdgedError

logger = logging.getLogger(__name__)

Opening: TypeAlias = Callable[[str], AbstractContextManager[object]]
"""Makes of a network's name what it is opened within, as `Loop.opening` does."""

OPENING_LIMIT_S = 300.0
"""For one network. On a device that means to load it, to compute its first batches, for which TensorRT-RTX compiles kernels, to
compile a kernel of ours and to see who is faster; where memory is short, twice. Tens of seconds on a small board, though nobody
has measured it there: so ten times what the analysis may take. A driver that hangs is still noticed without anybody looking."""


class Loop:
    """One thread's body and what its supervisor may know of it.

    Args:
        name: of the thread, e.g. `capture door`.
        body: runs until `stopping`; must call `beat` at least every `limit_s`, or sleep through `wait`, or open networks within
            `opening`.
        limit_s: without a beat for longer, and neither waiting nor opening, the loop counts as stuck.
        now_s: monotonic seconds.
    """

    def __init__(self, name: str, body: Callable[[Loop], None], *, limit_s: float, now_s: Callable[[], float]) -> None:
        self.name = name
        self.limit_s = limit_s
        self.failure: Exception | None = None
        self._body = body
        self._now_s = now_s
        self._stop = threading.Event()
        self._beat_s = now_s()
        self._is_waiting = False
        self._opens: str | None = None

    @property
    def stopping(self) -> bool:
        """Whether the body was asked to return."""
        return self._stop.is_set()

    @property
    def stop_event(self) -> threading.Event:
        """Set once the body was asked to return; for foreign code that waits on an event."""
        return self._stop

    def stop(self) -> None:
        """Ask the body to return."""
        self._stop.set()

    def beat(self) -> None:
        """Say that the body makes progress."""
        self._beat_s = self._now_s()

    def excuse(self, stalled_s: float) -> None:
        """The whole process stood still for so long: no body could beat."""
        self._beat_s = min(self._now_s(), self._beat_s + stalled_s)

    def wait(self, timeout_s: float) -> bool:
        """Sleep, known to the supervisor as waiting. Returns whether the body was asked to return."""
        self._is_waiting = True
        try:
            return self._stop.wait(timeout_s)
        finally:
            self.beat()
            self._is_waiting = False

    @contextmanager
    def opening(self, network: str) -> Iterator[None]:
        """Open a network, known to the supervisor as doing so: `OPENING_LIMIT_S` counts meanwhile."""
        self.beat()
        self._opens = network
        try:
            yield
        finally:
            self.beat()
            self._opens = None

    @property
    def opens(self) -> str | None:
        """The network that the body is opening."""
        return self._opens

    def is_stuck(self) -> bool:
        """Whether the body has neither progressed within its limit nor said that it waits."""
        limit_s = self.limit_s if self._opens is None else OPENING_LIMIT_S  # asked before the beat that ends an opening
        return not self._is_waiting and self._now_s() - self._beat_s > limit_s

    @property
    def stall(self) -> str:
        """What a stuck body does, for people."""
        network = self._opens
        if network is None:
            return f"made no progress for {self.limit_s:.0f} s"
        return f"is still opening {network} after {OPENING_LIMIT_S:.0f} s"

    def run(self) -> None:
        """Run the body to its end; a failure is kept for the supervisor, an unforeseen one logged with its traceback."""
        self.beat()
        try:
            self._body(self)
        except EdgedError as error:  # says itself what to do; the supervisor logs it
            self.failure = error
        except Exception as error:  # the last line of defence: the supervisor turns it into exit code 1
            logger.exception("loop failed: name=%s", self.name)
            self.failure = error
