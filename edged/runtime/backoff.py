"""How long to wait before the next try."""

from __future__ import annotations

import random


class Backoff:
    """Doubling, capped and jittered: after `n` failures in a row a wait in [half, whole] of `first_s * 2**n`.

    The jitter keeps cameras that died together from coming back in step.

    Args:
        first_s: whole wait after the first failure.
        most_s: cap of the whole wait.
        rng: source of the jitter.
    """

    def __init__(self, *, first_s: float, most_s: float, rng: random.Random) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._rng = rng
        self._failures = 0

    def next_s(self, *, at_least_s: float = 0.0) -> float:
        """Seconds to wait after one more failure; `at_least_s` raises the wait, never the count."""
        whole_s = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return max(at_least_s, whole_s * self._rng.uniform(0.5, 1.0))

    def reset(self) -> None:
        """Forget the failures: the last try was good."""
        self._failures = 0
