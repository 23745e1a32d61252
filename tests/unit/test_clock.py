"""Wall time hangs on monotonic time by one offset."""

from edged.clock import SystemClock


class Times:
    def __init__(self):
        self.monotonic_s, self.wall_s = 50.0, 1_000.0


def make_clock(times, steps):
    return SystemClock(steps.append, monotonic=lambda: times.monotonic_s, wall=lambda: times.wall_s)


def test_clock_before_a_refresh_ignores_a_step():
    """A step of the wall clock does not bend stamps until the offset is read again."""
    times = Times()
    clock = make_clock(times, [])

    times.wall_s += 3600

    assert clock.at(50.0) == 1_000.0


def test_clock_at_a_refresh_reports_a_step_and_stamps_anew():
    """More than one second is a step, with its sign."""
    times, steps = Times(), []
    clock = make_clock(times, steps)
    times.wall_s -= 3600

    clock.refresh()

    assert steps == [-3600.0]
    assert clock.at(50.0) == -2_600.0


def test_clock_that_drifts_reports_nothing():
    """Up to one second is drift; the stamps follow it."""
    times, steps = Times(), []
    clock = make_clock(times, steps)
    times.wall_s += 1.0

    clock.refresh()

    assert steps == []
    assert clock.at(50.0) == 1_001.0
