"""Resampled average precision is that of the resampled pictures, and its intervals say no more than they can."""

from __future__ import annotations

import numpy as np
import pytest

from tools.metrics import Matches, average_precision
from tools.report.bootstrap import FEWEST_PICTURES, Interval, average_precisions, draw_weights, interval_of
from tools.report.outcomes import PictureMatches


def _sample(*, seed: int, n_pictures: int = 12, n_detections: int = 60) -> PictureMatches:
    """Hits among detections of scores in tenths, so that many are equal; each picture holds its hits and one object more."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(1, 10, n_detections).astype(np.float32) / 10
    pictures, hits = rng.integers(0, n_pictures, n_detections), rng.random(n_detections) < scores
    objects = np.bincount(pictures[hits], minlength=n_pictures) + 1
    return PictureMatches(Matches(scores, hits, int(objects.sum())), pictures, objects)


def _write_out(sample: PictureMatches, counts: np.ndarray) -> Matches:
    """The matches with every picture as often as `counts` says, copies next to each other."""
    times = counts[sample.pictures]
    scores, hits = np.repeat(sample.matches.scores, times), np.repeat(sample.matches.hits, times)
    return Matches(scores, hits, int(sample.objects @ counts))


@pytest.mark.parametrize("seed", range(4))
def test_average_precisions_of_every_picture_once_are_the_average_precision(seed: int) -> None:
    """A resample that draws each picture once is the data itself."""
    sample = _sample(seed=seed)

    (value,) = average_precisions(sample, np.ones((12, 1), np.float32))

    assert value == pytest.approx(average_precision(sample.matches), rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_average_precisions_of_a_draw_equal_those_of_the_pictures_written_out(seed: int) -> None:
    """Weighing a picture by 3 is the same as having it three times; 300 resamples take more than one block."""
    sample = _sample(seed=seed)
    weights = draw_weights(12, resamples=300, rng=np.random.default_rng(seed))

    values = average_precisions(sample, weights)

    expected = [average_precision(_write_out(sample, column.astype(int))) for column in weights.T]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_average_precisions_without_an_object_are_unknown() -> None:
    """A resample that draws only pictures without objects has no average precision, not one of 0."""
    empty = Matches(np.zeros(0, np.float32), np.zeros(0, np.bool_), 1)
    sample = PictureMatches(empty, np.zeros(0, np.int64), np.array([1, 0]))

    values = average_precisions(sample, np.array([[2, 0], [0, 2]], np.float32))

    np.testing.assert_array_equal(values, [0.0, np.nan])


def test_average_precisions_of_no_resamples_are_none() -> None:
    """Without resamples there is nothing, and no error."""
    assert len(average_precisions(_sample(seed=0), np.zeros((12, 0), np.float32))) == 0


def test_draw_weights_draws_as_many_pictures_as_there_are() -> None:
    """Every resample has the size of the data, and the seed decides all of them."""
    weights = draw_weights(7, resamples=50, rng=np.random.default_rng(3))

    assert weights.shape == (7, 50)
    assert (weights.sum(axis=0) == 7).all()
    np.testing.assert_array_equal(weights, draw_weights(7, resamples=50, rng=np.random.default_rng(3)))


def test_interval_of_samples_is_their_middle_95_percent() -> None:
    """2.5 % lie below and 2.5 % above; resamples without an object do not count."""
    samples = np.append(np.arange(1001) / 1000, np.nan)

    assert interval_of(samples, n_pictures=FEWEST_PICTURES) == Interval(pytest.approx(0.025), pytest.approx(0.975))


@pytest.mark.parametrize(
    ("samples", "n_pictures"),
    [
        pytest.param([0.4, 0.6], FEWEST_PICTURES - 1, id="too few pictures"),
        pytest.param([np.nan], FEWEST_PICTURES, id="no resample with an object"),
        pytest.param([], FEWEST_PICTURES, id="no resamples"),
    ],
)
def test_interval_of_too_little_is_none(samples: list[float], n_pictures: int) -> None:
    """An interval that would look sure without reason is not given."""
    assert interval_of(np.array(samples), n_pictures=n_pictures) is None
