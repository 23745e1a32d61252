"""Rules of the box filter."""

import math

import numpy as np
import pytest

from edged.tracking.kalman import Box, BoxFilter, MotionNoise

BOX = (100.0, 100.0, 140.0, 200.0)


def _moved(box: Box, *by: float) -> Box:
    return tuple(side + shift for side, shift in zip(box, by, strict=True))


def _follow(filter: BoxFilter, *, fps: float, seconds: float, speed_px: float) -> None:
    """Feeds one box that moves along x without jitter."""
    for index in range(1, round(seconds * fps) + 1):
        x_px = speed_px * index / fps
        filter.predict(1 / fps)
        filter.correct(_moved(BOX, x_px, 0, x_px, 0))


def test_filter_new_gives_back_the_box_measured():
    """A new track stands where it was seen."""
    assert BoxFilter(BOX, MotionNoise()).box == BOX


@pytest.mark.parametrize("fps", [pytest.param(2.0, id="2 fps"), pytest.param(5.0, id="5 fps"), pytest.param(30.0, id="30 fps")])
def test_filter_constant_velocity_is_learnt_at_any_frame_rate(fps):
    """After two seconds of steady motion a prediction over one second hits the box, however many frames there were."""
    filter = BoxFilter(BOX, MotionNoise())
    _follow(filter, fps=fps, seconds=4.0, speed_px=60.0)

    filter.predict(1.0)

    assert filter.box == pytest.approx(_moved(BOX, 300, 0, 300, 0), abs=6.0)


def test_filter_prediction_in_two_steps_equals_one():
    """Noise is a matter of time, not of calls."""
    once, twice = BoxFilter(BOX, MotionNoise()), BoxFilter(BOX, MotionNoise())

    once.predict(0.4)
    twice.predict(0.1)
    twice.predict(0.3)

    assert once.spread == pytest.approx(twice.spread)
    assert once.box == pytest.approx(twice.box)


def test_filter_spread_grows_with_time_and_shrinks_with_measurement():
    """Uncertainty follows what was seen."""
    filter = BoxFilter(BOX, MotionNoise())
    fresh = filter.spread

    filter.predict(1.0)
    predicted = filter.spread
    filter.correct(BOX)

    assert predicted > fresh
    assert filter.spread < predicted


def test_filter_noise_scales_with_the_box():
    """A box twice as big has twice the spread in pixels: settings mean the same near and far."""
    far, near = BoxFilter(BOX, MotionNoise()), BoxFilter([2 * side for side in BOX], MotionNoise())

    far.predict(0.5)
    near.predict(0.5)

    assert near.spread == pytest.approx(2 * far.spread)


def test_filter_correct_equals_the_textbook():
    """Two rounds of prediction and correction give what the matrix form of the Kalman filter gives, for each number of a box."""
    noise = MotionNoise(measured_ratio=0.1, sway_ratio=0.3, acceleration_ratio=0.7, first_velocity_ratio=1.2)
    filter = BoxFilter(BOX, noise)
    step_s, size = 0.2, 70.0
    state = np.array([[120.0, 150.0, 40.0, 100.0], [0.0] * 4])  # position and velocity of centre x, centre y, width, height
    covariance = np.diag([(0.1 * size) ** 2, (1.2 * size) ** 2])
    transition = np.array([[1.0, step_s], [0.0, 1.0]])

    for measured in (np.array([130.0, 148.0, 44.0, 90.0]), np.array([137.0, 149.0, 41.0, 95.0])):
        area = state[0, 2:].mean() ** 2
        drift = 0.7**2 * area * np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]])
        drift[0, 0] += 0.3**2 * area * step_s
        state, covariance = transition @ state, transition @ covariance @ transition.T + drift
        gain = covariance[:, 0] / (covariance[0, 0] + (0.1 * measured[2:].mean()) ** 2)
        state = state + np.outer(gain, measured - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
        filter.predict(step_s)
        filter.correct([*(measured[:2] - measured[2:] / 2), *(measured[:2] + measured[2:] / 2)])

    (x, y, width, height), spread = state[0], math.sqrt(covariance[0, 0])
    assert filter.box == pytest.approx((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    assert filter.spread == pytest.approx(spread)
    (x, y, width, height), _ = transition @ state
    filter.predict(step_s)
    assert filter.box == pytest.approx((x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def test_filter_stop_ends_motion_and_stop_growth_only_that_of_the_sides():
    """A stopped box stays; one that stops growing still moves."""
    stopped, moving = BoxFilter(BOX, MotionNoise()), BoxFilter(BOX, MotionNoise())
    for filter in (stopped, moving):
        for _ in range(10):
            filter.predict(0.1)
            filter.correct(_moved(filter.box, 5, 5, 7, 8))
    x1, y1, x2, y2 = before = stopped.box

    stopped.stop()
    moving.stop_growth()
    stopped.predict(0.5)
    moving.predict(0.5)

    assert stopped.box == before
    assert moving.box[0] > x1
    assert moving.box[2] - moving.box[0] == pytest.approx(x2 - x1)
    assert moving.box[3] - moving.box[1] == pytest.approx(y2 - y1)


def test_filter_put_stands_there():
    """A box put somewhere is there, and stays."""
    filter = BoxFilter(BOX, MotionNoise())
    _follow(filter, fps=10.0, seconds=1.0, speed_px=60.0)

    filter.put(BOX)
    filter.predict(1.0)

    assert filter.box == BOX


def test_filter_sides_never_turn_negative():
    """A box that shrinks while nobody sees it keeps a pixel."""
    filter = BoxFilter(BOX, MotionNoise())
    for side in (90.0, 70.0, 50.0, 30.0, 10.0):
        filter.predict(0.1)
        filter.correct((100.0, 100.0, 100.0 + side, 100.0 + side))

    filter.predict(5.0)

    x1, y1, x2, y2 = filter.box
    assert x2 - x1 >= 1.0
    assert y2 - y1 >= 1.0


@pytest.mark.parametrize("name", ["measured_ratio", "acceleration_ratio", "first_velocity_ratio"])
def test_motion_noise_of_zero_is_refused(name):
    """A filter without noise would divide by zero or never learn."""
    with pytest.raises(ValueError, match="over 0"):
        MotionNoise(**{name: 0.0})
