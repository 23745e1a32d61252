"""Stream time from wrong time stamps."""

import pytest

from edged.sources.timeline import LONGEST_STEP_S, Timeline

STEP_S = 0.1


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        pytest.param([5.0, 5.1, 5.3], [0.0, 0.1, 0.3], id="starts at zero"),
        pytest.param([None, None, None], [0.0, 0.1, 0.2], id="no stamps: the usual step"),
        pytest.param([None, 7.0, 7.2], [0.0, 0.1, 0.3], id="first stamp missing"),
        pytest.param([1.0, None, 1.2], [0.0, 0.1, 0.2], id="one missing: no time is counted twice"),
        pytest.param([1.0, 1.0, 1.1], [0.0, 0.0, 0.1], id="same stamp twice"),
        pytest.param([1.0, 0.5, 0.7], [0.0, 0.0, 0.2], id="jump back: never falls, goes on from there"),
        pytest.param([1.0, 3601.0, 3601.1], [0.0, 2.0, 2.1], id="jump ahead: longest step"),
        pytest.param([0.0, LONGEST_STEP_S, 5.0], [0.0, 2.0, 4.0], id="at the longest step and over it"),
        pytest.param([-1.0, -0.5], [0.0, 0.5], id="negative stamps"),
    ],
)
def test_timeline_stamps_give_steady_time(stamps: list[float | None], expected: list[float]) -> None:
    """Time starts at zero, never falls and never jumps."""
    timeline = Timeline(step_s=STEP_S)

    times_s = [timeline.advance(stamp) for stamp in stamps]

    assert times_s == pytest.approx(expected)
