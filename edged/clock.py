"""The only reader of the machine's clocks.

Every timeout, dwell and track lives on monotonic time; wall time is stamped from one offset that is re-read now and
then, so that a step of the wall clock changes later stamps and nothing else.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_TIME_ERROR = 5
_STA_UNSYNC = 0x40

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


def now_at(clock: Clock) -> float:
    """The present moment, UTC seconds since 1970."""
    return clock.at(clock.now_s())


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


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """How far the wall clock can be trusted.

    Attributes:
        is_synchronised: the kernel's clock is disciplined by a time service.
        max_error_ms: the kernel's bound of its error, None while it is not synchronised.
    """

    is_synchronised: bool
    max_error_ms: float | None


class _Timex(ctypes.Structure):
    """The head of Linux's `struct timex` on 64-bit machines; what follows is only room. Source: adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror_us", ctypes.c_long),
        ("esterror_us", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_long * 24),
    )


_ADJTIMEX = getattr(ctypes.CDLL(None), "adjtimex", lambda _: -1)
"""Looked up once: every event asks for the quality of its clock."""


def read_clock_quality() -> ClockQuality:
    """What the kernel says of its wall clock; not synchronised where it cannot be asked."""
    timex = _Timex()
    state = _ADJTIMEX(ctypes.byref(timex))
    if state in (-1, _TIME_ERROR) or timex.status & _STA_UNSYNC:
        return ClockQuality(is_synchronised=False, max_error_ms=None)
    return ClockQuality(is_synchronised=True, max_error_ms=timex.maxerror_us / 1000)
