"""Embeddings compared: by hand, in order, and with what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edged.identity.metrics import Metric, PairClassifier, PairForm, compare, histogram, pair_form

RIGHT, UP, LEFT = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([[-1.0, 0.0]])
UNIT = PairClassifier(PairForm.ABSOLUTE, (-2.0, -1.0), 1.5)


@pytest.mark.parametrize(
    ("metric", "other", "expected"),
    [
        pytest.param(Metric.COSINE, RIGHT, 1.0, id="cosine of the same"),
        pytest.param(Metric.COSINE, UP, 0.0, id="cosine of a quarter turn"),
        pytest.param(Metric.COSINE, LEFT, -1.0, id="cosine of opposites"),
        pytest.param(Metric.EUCLIDEAN, RIGHT, 0.0, id="euclidean of the same"),
        pytest.param(Metric.EUCLIDEAN, UP, -math.sqrt(2), id="euclidean of a quarter turn"),
        pytest.param(Metric.EUCLIDEAN, LEFT, -2.0, id="euclidean of opposites"),
        pytest.param(Metric.CHI_SQUARE, RIGHT, 0.0, id="chi-square of the same"),
        pytest.param(Metric.LOGISTIC, RIGHT, 1 / (1 + math.exp(-1.5)), id="logistic of the same: the bias"),
        pytest.param(Metric.LOGISTIC, UP, 1 / (1 + math.exp(1.5)), id="logistic: 1.5 - 2 - 1"),
    ],
)
def test_compare_gives_the_number_by_hand(metric: Metric, other: np.ndarray, expected: float) -> None:
    """One pair, one number."""
    (score,) = compare(RIGHT, other, metric, classifier=UNIT)

    assert score == pytest.approx(expected, abs=1e-12)


def test_chi_square_is_that_of_the_histograms_by_hand() -> None:
    """Shares e^s / (e^s + 1) and 1 / (e^s + 1) with s = sqrt 2, against the same exchanged: 2 (p - q)^2, for p + q = 1."""
    p = math.exp(math.sqrt(2)) / (math.exp(math.sqrt(2)) + 1)

    (score,) = compare(RIGHT, UP, Metric.CHI_SQUARE)

    assert score == pytest.approx(-2 * (2 * p - 1) ** 2)


@pytest.mark.parametrize("dimension", [2, 128, 512])
def test_histogram_of_any_unit_vector_has_shares_above_0_that_add_up_to_1(dimension: int) -> None:
    """Also of a vector that is all in one number: nothing is ever divided by 0."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(20, dimension)), np.eye(dimension)[:2], -np.eye(dimension)[:2]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    shares = histogram(vectors.astype(np.float32))

    assert (shares > 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)


@pytest.mark.parametrize("form", PairForm)
def test_pair_form_is_symmetrical_never_negative_and_0_for_the_same(form: PairForm) -> None:
    """Which picture is shown first makes no difference."""
    rng = np.random.default_rng(1)
    a, b = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in rng.normal(size=(2, 7, 16)))

    found = pair_form(a, b, form)

    assert found.shape == (7, 16)
    assert (found >= 0).all()
    np.testing.assert_allclose(found, pair_form(b, a, form))
    assert (pair_form(a, a, form) == 0).all()


@pytest.mark.parametrize("metric", Metric)
def test_compare_falls_as_two_turn_apart(metric: Metric) -> None:
    """Up to a quarter turn every metric says less of pairs that are less alike."""
    angles = np.linspace(0, np.pi / 2, 20)
    turned = np.column_stack([np.cos(angles), np.sin(angles)])

    scores = compare(
        np.repeat(RIGHT, 20, axis=0), turned, metric, classifier=PairClassifier(PairForm.ABSOLUTE, (-1.0, -0.1), 0.0)
    )

    assert (np.diff(scores) < 0).all()


@pytest.mark.parametrize("metric", [Metric.COSINE, Metric.EUCLIDEAN, Metric.CHI_SQUARE])
def test_compare_of_no_pairs_is_nothing(metric: Metric) -> None:
    """An empty list has no scores."""
    assert compare(np.zeros((0, 4)), np.zeros((0, 4)), metric).shape == (0,)


def test_classifier_far_out_is_sure_without_overflow() -> None:
    """Sums of a thousand are probabilities of 0 and 1."""
    unit = PairClassifier(PairForm.ABSOLUTE, (1000.0, -1000.0), 0.0)

    with np.errstate(all="raise"):
        found = unit.probability(np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros((2, 2)))

    assert found.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("a", "b", "metric", "message"),
    [
        pytest.param(np.zeros((2, 3)), np.zeros((1, 3)), Metric.COSINE, "two equal shapes", id="other counts"),
        pytest.param(np.zeros(3), np.zeros(3), Metric.COSINE, "two equal shapes", id="no rows"),
        pytest.param(RIGHT, UP, Metric.LOGISTIC, "needs the classifier", id="no classifier"),
    ],
)
def test_compare_of_what_does_not_fit_is_refused(a: np.ndarray, b: np.ndarray, metric: Metric, message: str) -> None:
    """Wrong shapes are no pairs."""
    with pytest.raises(ValueError, match=message):
        compare(a, b, metric)


def test_classifier_of_another_dimension_is_refused() -> None:
    """A unit belongs to its encoder."""
    with pytest.raises(ValueError, match="expected embeddings of 2 numbers, got 3"):
        UNIT.probability(np.zeros((1, 3)), np.zeros((1, 3)))


@pytest.mark.parametrize("weights", [pytest.param((), id="none"), pytest.param((1.0, math.nan), id="no number")])
def test_classifier_without_finite_weights_is_refused(weights: tuple[float, ...]) -> None:
    """What cannot be computed with is told when it is made."""
    with pytest.raises(ValueError, match="expected a finite weight"):
        PairClassifier(PairForm.ABSOLUTE, weights, 0.0)
