"""What fits into the time of a step, on a clock of the test's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeClock
from stand_ins.built_engine import Site

from tools.gpu.budget import Budget, whole

SCRIPT = Path(__file__).resolve().parents[4] / "tools" / "gpu_check.sh"
SECONDS = 530
ENGINES = [f"network{number} {precision}" for precision in ("fp16", "int8", "fp32") for number in range(8)]
PARTS_S = {
    "engines": [5.0],
    "parity": [8.0],
    "sweep": [2.0, *[0.8] * 5],
    "pipeline": [2.0, 11.0, 11.0],
    "fitting": [2.0, *[3.5] * 6],
    "streams": [2.0, *[3.3] * 6],
}
"""How long the parts of one engine take, as was estimated for a machine with an H100; without trtexec."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_part_is_begun_where_the_longest_before_it_would_fit() -> None:
    """A tenth of the time is kept for one that takes longer."""
    clock = FakeClock()
    budget = Budget(10.0, now_s=clock.now_s)

    def work() -> Iterator[str]:
        for seconds in (1.0, 4.0, 3.0):
            clock.time_s += seconds
            yield f"after {seconds}"

    parts = work()

    assert budget.has_room
    assert budget.advance(parts) == "after 1.0"
    assert budget.advance(parts) == "after 4.0"
    assert budget.left_s == pytest.approx(4.0)
    assert not budget.has_room


def test_work_of_one_part_is_done_when_it_is_asked_for() -> None:
    """Not when it is put into a list, and never twice."""
    done = []
    parts = whole(lambda: done.append(1))

    assert not done
    assert list(parts) == []
    assert done == [1]


def read_shares() -> dict[str, int]:
    (line,) = re.findall(r'^STEPS="(.*)"$', SCRIPT.read_text(), re.MULTILINE)
    return {name: int(share) for name, _, share in (step.partition(":") for step in line.split())}


@pytest.mark.parametrize("slowness", [0.1, 1.0, 2.0], ids=["fast", "as estimated", "slow"])
def test_all_steps_of_all_networks_in_all_precisions_end_in_time(site: Site, slowness: float) -> None:
    """Each before it is ended from outside; what had no time is named, and is what comes last."""
    clock, shares = FakeClock(0.0), read_shares()
    shares_left = sum(shares.values())
    clock.time_s += SECONDS / 10  # the step `device`

    def work(step: str) -> Iterator[str]:
        for seconds in PARTS_S[step]:
            clock.time_s += slowness * seconds
            yield "a part"

    for step in PARTS_S:
        began_s, limit_s, found = clock.time_s, (SECONDS - clock.time_s) * shares[step] / shares_left, []
        shares_left -= shares.pop(step)
        bench = replace(site.bench, budget=Budget(limit_s, now_s=clock.now_s), note=found.append)

        bench.work_through(step, ((label, work(step)) for label in ENGINES))

        assert clock.time_s - began_s <= limit_s
        assert [each.what.removesuffix(" from a part on") for each in found] == ENGINES[len(ENGINES) - len(found) :]
        assert found or slowness < 1.0
    assert list(shares) == ["tests"]
    assert clock.time_s + shares["tests"] <= SECONDS
