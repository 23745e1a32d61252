"""Errors of both kinds at every threshold, on scores small enough to count by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tools.roc import make_roc


def test_make_roc_counts_both_errors_at_every_score() -> None:
    """In is a score at the threshold or above; the last threshold lets nobody in."""
    roc = make_roc([0.4, 0.9], [0.1, 0.4])

    assert roc.thresholds.tolist() == [0.1, 0.4, 0.9, math.inf]
    assert roc.false_accepts.tolist() == [1.0, 0.5, 0.0, 0.0]
    assert roc.false_rejects.tolist() == [0.0, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("genuine", "impostors", "area", "equal_error"),
    [
        pytest.param([0.8, 0.9], [0.1, 0.2], 1.0, 0.0, id="apart"),
        pytest.param([0.1, 0.2], [0.8, 0.9], 0.0, 1.0, id="the wrong way round"),
        pytest.param([0.5, 0.5], [0.5, 0.5], 0.5, 0.5, id="all equal: as by lot"),
        pytest.param([0.4, 0.9], [0.1, 0.4], 0.875, 0.25, id="one tie of four pairs, errors cross between two thresholds"),
        pytest.param([0.3, 0.6, 0.9], [0.2, 0.5, 0.7], 6 / 9, 1 / 3, id="six of nine pairs"),
    ],
)
def test_roc_area_and_equal_error_are_those_counted_by_hand(
    genuine: list[float], impostors: list[float], area: float, equal_error: float
) -> None:
    """The area is the share of pairs in the right order, ties counting half."""
    roc = make_roc(genuine, impostors)

    assert roc.area == pytest.approx(area)
    assert roc.equal_error == pytest.approx(equal_error)


def test_roc_area_equals_the_share_of_pairs_in_order() -> None:
    """The same on random scores with many ties, counted pair by pair."""
    rng = np.random.default_rng(5)
    genuine, impostors = rng.integers(3, 12, 70) / 10, rng.integers(0, 9, 50) / 10

    differences = genuine[:, None] - impostors[None, :]

    assert make_roc(genuine, impostors).area == pytest.approx(((differences > 0) + 0.5 * (differences == 0)).mean())


@pytest.mark.parametrize(("most", "threshold"), [(1.0, 0.1), (0.5, 0.4), (0.49, 0.9), (0.0, 0.9)])
def test_roc_threshold_for_is_the_lowest_that_keeps_the_promise(most: float, threshold: float) -> None:
    """Equality keeps it."""
    assert make_roc([0.4, 0.9], [0.1, 0.4]).threshold_for(most_false_accepts=most) == threshold


def test_roc_threshold_above_which_nobody_genuine_stands_is_infinite() -> None:
    """Where impostors score highest, only letting nobody in will do."""
    assert make_roc([0.4], [0.9]).threshold_for(most_false_accepts=0.0) == math.inf


@pytest.mark.parametrize(("genuine", "impostors"), [([], [0.1]), ([0.1], []), ([math.nan], [0.1]), ([0.1], [0.2, math.nan])])
def test_make_roc_of_nothing_or_of_no_numbers_is_refused(genuine: list[float], impostors: list[float]) -> None:
    """Shares of nothing are no numbers, and NaN is neither above nor below."""
    with pytest.raises(ValueError, match="score"):
        make_roc(genuine, impostors)
