"""The only reader of the machine's clocks.

Every timeout, dwell and track lives on monotonic time; wall time is stamped from one offset that is re-read now and
then, so that a step of the wall clock changes later stamps and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

STEP_S = 1.0
"""A change of the offset beyond this is a step, not drift."""


class Clock(Protocol):
    """Monotonic seconds and the UTC moment that belongs to them."""

    def now_s(self) -> float:
        """Monotonic seconds."""
        ...

    def at(self, monotonic_s: float) -> float:
        """UTC seconds since 1970 of a monotonic moment."""
        ...


class SystemClock:
    """The machine's clocks.

    Args:
        on_step: called with the step in seconds (positive: wall clock jumped ahead) from `refresh`.
        monotonic, wall: readers, replaced in tests.
    """

    def __init__(
        self,
        on_step: Callable[[float], None] = lambda step_s: None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._on_step = on_step
        self._monotonic = monotonic
        self._wall = wall
        self._lock = threading.Lock()
        self._offset_s = wall() - monotonic()

    def now_s(self) -> float:
        return self._monotonic()

    def at(self, monotonic_s: float) -> float:
        return monotonic_s + self._offset_s

    def refresh(self) -> None:
        """Re-read the offset; report a step. Called every 10 s by the supervisor."""
        with self._lock:
            offset_s = self._wall() - self._monotonic()
            step_s = offset_s - self._offset_s
            self._offset_s = offset_s
        if abs(step_s) > STEP_S:
            self._on_step(step_s)


def is_synchronised(marker_exists: Callable[[str], bool]) -> bool:
    """Whether the wall clock was set from the network since boot.

    Source: systemd-timesyncd(8), which creates the marker file once it has synchronised.
    """
    return marker_exists("/run/systemd/timesync/synchronized")
