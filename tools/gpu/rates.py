"""How often something can be done, and how long once takes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median

from edged.backends.base import Backend, Tensors, Ticket
from edged.backends.tensorrt.runner import SLOTS

Clock = Callable[[], float]
_LARGEST_STEP = 100
_FEWEST = 20


def per_second(run: Callable[[int], None], *, seconds: float, now_s: Clock = time.perf_counter) -> float:
    """How many times a second `run(n)` does what it does n times, over at least so many seconds at a stretch."""
    n = 1
    while True:
        began_s = now_s()
        run(n)
        took_s = now_s() - began_s
        if took_s >= seconds:
            return n / took_s
        wanted = 1.2 * n * seconds / took_s if took_s > 0 else math.inf
        n = math.ceil(min(max(2 * n, wanted), _LARGEST_STEP * n))


def in_turns(
    runs: Sequence[Callable[[int], None]], *, turns: int, seconds: float, now_s: Clock = time.perf_counter
) -> list[float]:
    """`per_second` of each, the median of turns that they take one after the other: a device that slows down slows all."""
    rates = [[per_second(run, seconds=seconds, now_s=now_s) for run in runs] for _ in range(turns)]
    return [median(rate) for rate in zip(*rates, strict=True)]


def keep_in_flight(submit: Callable[[], Ticket], count: int, *, most: int = SLOTS) -> None:
    """Compute so many batches, the next one submitted before the one before is fetched; at most so many at once."""
    tickets: deque[Ticket] = deque()
    for _ in range(count):
        tickets.append(submit())
        if len(tickets) == most:
            tickets.popleft().result()
    while tickets:
        tickets.popleft().result()


def times_ms(backend: Backend, feeds: Tensors, *, seconds: float, now_s: Clock = time.perf_counter) -> list[float]:
    """Milliseconds of single batches, one at a time, for so many seconds and at least twenty batches."""
    found: list[float] = []
    until_s = now_s() + seconds
    while len(found) < _FEWEST or now_s() < until_s:
        began_s = now_s()
        backend.infer(feeds)
        found.append(1000 * (now_s() - began_s))
    return found
