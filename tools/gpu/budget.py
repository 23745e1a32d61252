"""The time of a step: nothing is begun that would not end in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tools.gpu.rates import Clock

NO_TIME = "no time left"
_KEPT = 0.1
"""Of a step's time, for what takes longer than all before."""


class Budget:
    """How long a step may go on. What comes next is expected to take as long as the longest that came before.

    Args:
        seconds: until the step is ended from outside.

    Attributes:
        kept_s: how much of that is not spent.
    """

    def __init__(self, seconds: float, *, now_s: Clock = time.monotonic) -> None:
        self._now_s = now_s
        self.kept_s = _KEPT * seconds
        self._until_s = now_s() + seconds - self.kept_s
        self._longest_s = 0.0

    @property
    def left_s(self) -> float:
        """Seconds to the end, not above 0 once it has come."""
        return self._until_s - self._now_s()

    @property
    def has_room(self) -> bool:
        """Whether something more can be begun."""
        return self.left_s > self._longest_s

    def advance(self, parts: Iterator[str]) -> str | None:
        """Let work go on to its next part, and remember how long that took.

        Returns:
            The name of the part that would come next, None where all is done.
        """
        began_s = self._now_s()
        try:
            return next(parts, None)
        finally:
            self._longest_s = max(self._longest_s, self._now_s() - began_s)


def whole(work: Callable[[], None]) -> Iterator[str]:
    """Work of one part, done when it is asked for the next one."""
    work()
    yield from ()
