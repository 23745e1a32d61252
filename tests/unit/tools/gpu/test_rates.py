"""How often and how long, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from edged.backends.base import Tensors
from tools.gpu.rates import in_turns, keep_in_flight, per_second, times_ms


class Work:
    """Takes the same time each time, on a clock that only it moves."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.counts: list[int] = []

    def run(self, count: int) -> None:
        self.counts.append(count)
        self.now += count * self.seconds

    def now_s(self) -> float:
        return self.now


@pytest.mark.parametrize("seconds", [0.0001, 0.01, 3.0])
def test_per_second_is_what_it_does_in_a_second(seconds: float) -> None:
    """However long once takes; the last stretch lasts at least as long as asked for."""
    work = Work(seconds)

    rate = per_second(work.run, seconds=0.5, now_s=work.now_s)

    assert rate == pytest.approx(1 / seconds)
    assert work.counts[-1] * seconds >= 0.5
    assert sum(work.counts) * seconds < 2 + 2 * seconds


def test_per_second_of_what_the_clock_does_not_see_goes_on_with_more() -> None:
    """A count too short for the clock is no division by zero."""
    clock = iter([0.0, 0.0, 0.0, 1.0])
    counts = []

    assert per_second(counts.append, seconds=0.5, now_s=lambda: next(clock)) == 100
    assert counts == [1, 100]


def test_turns_are_taken_one_after_the_other_and_their_median_counts() -> None:
    """One turn that was disturbed changes nothing."""
    order = []
    took = iter([1.0, 2.0, 1.0, 2.0, 8.0, 16.0])
    now = [0.0]

    def make(name: str):
        def run(_: int) -> None:
            order.append(name)
            now[0] += next(took)

        return run

    rates = in_turns([make("a"), make("b")], turns=3, seconds=0.5, now_s=lambda: now[0])

    assert order == ["a", "b"] * 3
    assert rates == [1.0, 0.5]


class FlightRecorder:
    """A backend that notes how many batches are in flight."""

    def __init__(self) -> None:
        self.flying = 0
        self.most = 0
        self.done = 0

    def submit(self, feeds: Tensors) -> FlightRecorder:
        self.flying += 1
        self.most = max(self.most, self.flying)
        return self

    def result(self) -> Mapping[str, np.ndarray]:
        self.flying -= 1
        self.done += 1
        return {}

    def infer(self, feeds: Tensors) -> Mapping[str, np.ndarray]:
        return self.submit(feeds).result()


@pytest.mark.parametrize(("count", "most"), [(0, 0), (1, 1), (7, 2)])
def test_two_batches_are_kept_in_flight_and_all_are_fetched(count: int, most: int) -> None:
    backend = FlightRecorder()

    keep_in_flight(lambda: backend.submit({}), count)

    assert (backend.done, backend.flying, backend.most) == (count, 0, most)


def test_times_are_those_of_single_batches_and_at_least_twenty() -> None:
    work = Work(0.5)
    backend = FlightRecorder()
    backend.infer = lambda feeds: work.run(1)

    found = times_ms(backend, {}, seconds=1.0, now_s=work.now_s)

    assert found == [500.0] * 20
