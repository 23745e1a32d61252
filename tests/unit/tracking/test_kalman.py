"""Rules of the box filters."""

import numpy as np
import pytest

from edged.tracking.kalman import BoxFilters, MotionNoise

BOX = np.array([[100.0, 100.0, 140.0, 200.0]])
ALONG_X = np.array([1.0, 0.0, 1.0, 0.0])
GROWING = np.array([5.0, 5.0, 7.0, 8.0])


def _filters(**noise: float) -> BoxFilters:
    filters = BoxFilters(MotionNoise(**noise))
    filters.append(BOX)
    return filters


def _follow(filters: BoxFilters, *, fps: float, seconds: float, speed_px: float) -> None:
    """Feeds one box that moves along x without jitter."""
    for index in range(1, round(seconds * fps) + 1):
        filters.predict(1 / fps)
        filters.correct(np.array([0]), BOX + speed_px * index / fps * ALONG_X)


def test_filters_new_give_back_the_box_measured():
    """A new track stands where it was seen."""
    filters = _filters()

    boxes = filters.boxes()

    np.testing.assert_allclose(boxes, BOX)
    assert len(filters) == 1


def test_filters_without_rows_do_nothing():
    """An empty tracker predicts and answers without special cases."""
    filters = BoxFilters(MotionNoise())

    filters.predict(0.1)

    assert filters.boxes().shape == (0, 4)
    assert filters.spread().shape == (0, 2)


@pytest.mark.parametrize("fps", [pytest.param(2.0, id="2 fps"), pytest.param(5.0, id="5 fps"), pytest.param(30.0, id="30 fps")])
def test_filters_constant_velocity_is_learnt_at_any_frame_rate(fps):
    """After two seconds of steady motion a prediction over one second hits the box, however many frames there were."""
    filters = _filters()
    _follow(filters, fps=fps, seconds=4.0, speed_px=60.0)

    filters.predict(1.0)

    np.testing.assert_allclose(filters.boxes(), BOX + 300 * ALONG_X, atol=6.0)


def test_filters_prediction_in_two_steps_equals_one():
    """Noise is a matter of time, not of calls."""
    once, twice = _filters(), _filters()

    once.predict(0.4)
    twice.predict(0.1)
    twice.predict(0.3)

    np.testing.assert_allclose(once.spread(), twice.spread())
    np.testing.assert_allclose(once.boxes(), twice.boxes())


def test_filters_spread_grows_with_time_and_shrinks_with_measurement():
    """Uncertainty follows what was seen."""
    filters = _filters()
    fresh = filters.spread().copy()

    filters.predict(1.0)
    predicted = filters.spread().copy()
    filters.correct(np.array([0]), BOX)

    assert np.all(predicted > fresh)
    assert np.all(filters.spread() < predicted)


def test_filters_noise_scales_with_the_box():
    """A box twice as big has twice the spread in pixels: settings mean the same near and far."""
    filters = BoxFilters(MotionNoise())
    filters.append(np.concatenate([BOX, 2 * BOX]))

    filters.predict(0.5)

    near, far = filters.spread()[1], filters.spread()[0]
    np.testing.assert_allclose(near, 2 * far)


def test_filters_correct_equals_the_textbook():
    """One prediction and correction give what the matrix form of the Kalman filter gives."""
    noise = MotionNoise(measured_ratio=0.1, sway_ratio=0.3, acceleration_ratio=0.7, first_velocity_ratio=1.2)
    filters = BoxFilters(noise)
    filters.append(BOX)
    size, step_s, measured_x = 70.0, 0.2, 130.0
    transition = np.array([[1.0, step_s], [0.0, 1.0]])
    drift = (0.7 * size) ** 2 * np.array([[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]])
    drift[0, 0] += (0.3 * size) ** 2 * step_s
    covariance = transition @ np.diag([(0.1 * size) ** 2, (1.2 * size) ** 2]) @ transition.T + drift
    gain = covariance[:, 0] / (covariance[0, 0] + (0.1 * size) ** 2)
    expected_x, expected_speed = np.array([120.0, 0.0]) + gain * (measured_x - 120.0)
    expected_spread = np.sqrt((1 - gain[0]) * covariance[0, 0])

    filters.predict(step_s)
    filters.correct(np.array([0]), BOX + 10 * ALONG_X)
    centre_x, spread_x = filters.boxes()[0, [0, 2]].mean(), filters.spread()[0, 0]
    filters.predict(1.0)

    assert centre_x == pytest.approx(expected_x)
    assert spread_x == pytest.approx(expected_spread)
    assert filters.boxes()[0, [0, 2]].mean() == pytest.approx(expected_x + expected_speed)


def test_filters_stop_ends_motion_and_stop_growth_only_that_of_the_sides():
    """A stopped box stays; one that stops growing still moves."""
    filters = BoxFilters(MotionNoise())
    filters.append(np.concatenate([BOX, BOX]))
    for _ in range(10):
        filters.predict(0.1)
        filters.correct(np.array([0, 1]), filters.boxes() + GROWING)
    before = filters.boxes()

    filters.stop([0])
    filters.stop_growth([1])
    filters.predict(0.5)

    after = filters.boxes()
    np.testing.assert_allclose(after[0], before[0])
    np.testing.assert_allclose(after[1, 2:] - after[1, :2], before[1, 2:] - before[1, :2])
    assert after[1, 0] > before[1, 0]


def test_filters_sides_never_turn_negative():
    """A box that shrinks while nobody sees it keeps a pixel."""
    filters = _filters()
    for side in (90.0, 70.0, 50.0, 30.0, 10.0):
        filters.predict(0.1)
        filters.correct(np.array([0]), np.array([[100.0, 100.0, 100.0 + side, 100.0 + side]]))

    filters.predict(5.0)

    box = filters.boxes()[0]
    assert box[2] - box[0] >= 1.0
    assert box[3] - box[1] >= 1.0


def test_filters_keep_forgets_the_others_in_order():
    """Rows stay in the order asked for."""
    filters = BoxFilters(MotionNoise())
    filters.append(np.concatenate([BOX, BOX + 10, BOX + 20]))

    filters.keep([0, 2])

    np.testing.assert_allclose(filters.boxes(), np.concatenate([BOX, BOX + 20]))


@pytest.mark.parametrize("name", ["measured_ratio", "acceleration_ratio", "first_velocity_ratio"])
def test_motion_noise_of_zero_is_refused(name):
    """A filter without noise would divide by zero or never learn."""
    with pytest.raises(ValueError, match="over 0"):
        MotionNoise(**{name: 0.0})
