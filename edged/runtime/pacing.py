"""Which frames of a stream are analysed, when a camera is on at all, and how often something may be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time

TOLERANCE = 0.1
"""Share of a period by which a frame may come early and still be taken: live frames jitter."""


class Pacer:
    """Picks frames so that about `fps` of them are analysed in a second, evenly spread.

    Args:
        fps: frames a second to analyse; None takes every frame.
    """

    def __init__(self, fps: float | None) -> None:
        self._period_s = 1.0 / fps if fps else 0.0
        self._due_s = float("-inf")

    def is_due(self, captured_s: float) -> bool:
        """Whether the frame of this moment is to be analysed; moments never fall."""
        if captured_s < self._due_s - TOLERANCE * self._period_s:
            return False
        is_late = captured_s - self._due_s > self._period_s  # then begin a new beat, so that no burst catches up
        self._due_s = (captured_s if is_late else self._due_s) + self._period_s
        return True


@dataclass(frozen=True, slots=True)
class OnTime:
    """One weekly stretch of local time in which a camera is on.

    Attributes:
        weekdays: 0 = Monday; those on which the stretch begins.
        start, end: local time of day; `end` not after `start` means on the following day.
    """

    weekdays: frozenset[int]
    start: time
    end: time

    def covers(self, moment: datetime) -> bool:
        """Whether a local moment lies in [start, end)."""
        now, today = moment.time(), moment.weekday()
        if self.start < self.end:
            return today in self.weekdays and self.start <= now < self.end
        yesterday = (today - 1) % 7
        return (today in self.weekdays and now >= self.start) or (yesterday in self.weekdays and now < self.end)


def is_on(schedule: Sequence[OnTime], moment: datetime) -> bool:
    """Whether a camera with this schedule is on; an empty schedule is always on."""
    return not schedule or any(on_time.covers(moment) for on_time in schedule)


class Interval:
    """Says once a period that something is due; the first time at once."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due_s = float("-inf")

    def is_due(self, now_s: float) -> bool:
        """Whether a period has passed since this last said so."""
        if now_s < self._due_s:
            return False
        self._due_s = now_s + self._period_s
        return True


class Allowance:
    """So many things a second, and a few at once after a pause.

    Args:
        rate_per_s: what is allowed for long.
        burst: most at once.

    Source: the token bucket, e.g. RFC 2697, section 3.
    """

    def __init__(self, rate_per_s: float, *, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._left = burst
        self._at_s = float("-inf")

    def take(self, now_s: float) -> bool:
        """Whether one more is allowed now, which then counts; a moment before the newest one counts as that."""
        now_s = max(now_s, self._at_s)
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
