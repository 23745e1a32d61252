"""Pacing picks frames evenly; schedules switch cameras."""

from datetime import datetime, time

import pytest

from edged.runtime.pacing import Allowance, OnTime, Pacer, is_on


@pytest.mark.parametrize(
    ("source_fps", "fps", "expected"),
    [
        pytest.param(15, 5, 50, id="divides evenly"),
        pytest.param(25, 5, 50, id="divides evenly, odd rate"),
        pytest.param(5, 5, 50, id="as fast as the camera"),
        pytest.param(4, 5, 40, id="faster than the camera takes all"),
        pytest.param(30, 7, 70, id="does not divide"),
        pytest.param(25, 10, 100, id="does not divide, two in five"),
    ],
)
def test_pacer_over_ten_seconds_takes_the_asked_rate(source_fps, fps, expected):
    """The mean rate is the configured one, whatever the camera's."""
    pacer = Pacer(fps)

    taken = sum(pacer.is_due(index / source_fps) for index in range(10 * source_fps))

    assert abs(taken - expected) <= 1


def test_pacer_at_half_the_rate_takes_every_other_frame_from_the_first_on():
    """The beat begins with the first frame."""
    pacer = Pacer(5)

    taken = [index for index in range(8) if pacer.is_due(index / 10)]

    assert taken == [0, 2, 4, 6]


def test_pacer_with_jittered_arrivals_keeps_the_rate():
    """A frame that comes a little early is not skipped in favour of one a whole camera period later."""
    pacer = Pacer(5)

    taken = sum(pacer.is_due(index / 15 + (0.008 if index % 2 else -0.008)) for index in range(150))

    assert 48 <= taken <= 51


def test_pacer_after_a_gap_takes_no_burst():
    """After a stall the frames are spread again, not caught up."""
    pacer = Pacer(5)
    pacer.is_due(0.0)

    taken = [pacer.is_due(10.0 + index / 15) for index in range(6)]

    assert sum(taken) <= 3


def test_pacer_without_rate_takes_every_frame():
    """None means all."""
    pacer = Pacer(None)

    assert all(pacer.is_due(index / 100) for index in range(10))


MONDAY_9 = datetime(2026, 11, 16, 9, 0)
WORK = OnTime(frozenset(range(5)), time(7, 0), time(19, 0))
NIGHT = OnTime(frozenset({4}), time(22, 0), time(6, 0))


@pytest.mark.parametrize(
    ("schedule", "moment", "expected"),
    [
        pytest.param([], MONDAY_9, True, id="no schedule is always on"),
        pytest.param([WORK], MONDAY_9, True, id="inside"),
        pytest.param([WORK], MONDAY_9.replace(hour=7), True, id="the first moment belongs to it"),
        pytest.param([WORK], MONDAY_9.replace(hour=19), False, id="the last one does not"),
        pytest.param([WORK], MONDAY_9.replace(day=21), False, id="other weekday"),
        pytest.param([NIGHT], datetime(2026, 11, 20, 23, 0), True, id="over midnight, before"),
        pytest.param([NIGHT], datetime(2026, 11, 21, 5, 59), True, id="over midnight, after"),
        pytest.param([NIGHT], datetime(2026, 11, 20, 5, 0), False, id="the morning of its own day is the night before"),
        pytest.param([NIGHT, WORK], MONDAY_9, True, id="any stretch will do"),
    ],
)
def test_schedule_at_a_moment_is_on_or_off(schedule, moment, expected):
    """Stretches are [start, end) in local time; one that ends before it starts runs over midnight."""
    assert is_on(schedule, moment) is expected


def test_allowance_gives_a_burst_and_then_its_rate():
    """After a pause so many at once, from then on so many a second."""
    allowance = Allowance(2.0, burst=3)

    at_once = [allowance.take(100.0) for _ in range(5)]
    later = [allowance.take(100.0 + moment) for moment in (0.4, 0.5, 0.6, 1.0)]

    assert at_once == [True, True, True, False, False]
    assert later == [False, True, False, True]


def test_allowance_after_a_long_pause_is_no_larger_than_its_burst():
    """Nothing is saved up."""
    allowance = Allowance(10.0, burst=2)
    allowance.take(0.0)

    assert [allowance.take(1e6) for _ in range(3)] == [True, True, False]


def test_allowance_of_one_second_saves_up_no_more():
    """A long pause buys no burst; below one a second one is saved up in its time; a late time gives nothing."""
    quick = Allowance(2.0, burst=2)
    assert [quick.take(0.0) for _ in range(3)] == [True, True, False]
    assert [quick.take(100.0) for _ in range(3)] == [True, True, False]
    assert [quick.take(at) for at in (100.5, 100.4, 100.6)] == [True, False, False]
    slow = Allowance(0.5, burst=1)
    assert [slow.take(at) for at in (0.0, 1.0, 2.0, 3.0)] == [True, False, True, False]
