"""Figures over the score, held against figures computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tools.metrics import Matches
from tools.report.curves import calibrate_scores, score_curve


def _matches(*rows: tuple[float, bool], n: int) -> Matches:
    return Matches(np.array([score for score, _ in rows], np.float32), np.array([hit for _, hit in rows], np.bool_), n)


def test_score_curve_counts_all_detections_of_a_score_together() -> None:
    """A threshold cannot part equal scores."""
    curve = score_curve(_matches((0.5, False), (0.9, True), (0.5, True), n=4))

    assert curve.scores.tolist() == pytest.approx([0.9, 0.5])
    assert curve.recall.tolist() == [0.25, 0.5]
    assert curve.precision.tolist() == pytest.approx([1, 2 / 3])
    assert curve.f1.tolist() == pytest.approx([2 / 5, 4 / 7])


def test_score_curve_without_detections_is_empty() -> None:
    """Nothing found gives no point."""
    assert len(score_curve(_matches(n=2)).scores) == 0


def test_score_curve_without_objects_is_refused() -> None:
    """Recall of nothing means nothing."""
    with pytest.raises(ValueError, match="needs an object"):
        score_curve(_matches((0.5, False), n=0))


def test_calibrate_scores_that_are_right_as_often_as_they_say_have_no_error() -> None:
    """Half of the detections of score 0.5 hit."""
    found = calibrate_scores(_matches((0.5, True), (0.5, False), n=1), floor=0.05)

    assert found.expected_error == pytest.approx(0)
    assert (found.counts[5], found.scores[5], found.precision[5]) == (2, pytest.approx(0.5), pytest.approx(0.5))


def test_calibrate_scores_weighs_bins_by_their_detections() -> None:
    """Three detections 0.25 too timid and one 0.25 too bold, in bins of their own."""
    found = calibrate_scores(_matches(*[(0.75, True)] * 3, (0.25, False), n=3), floor=0.05)

    assert found.expected_error == pytest.approx(0.25)


@pytest.mark.parametrize(("floor", "count"), [(0.5, 1), (0.5001, 0)])
def test_calibrate_scores_at_the_floor_counts(floor: float, count: int) -> None:
    """A detection exactly at the floor is one; without any there is no error to tell."""
    found = calibrate_scores(_matches((0.5, True), n=1), floor=floor)

    assert found.counts.sum() == count
    assert (found.expected_error is None) == (count == 0)


def test_calibrate_scores_of_one_falls_into_the_last_bin() -> None:
    """A score of 1 has a place."""
    assert calibrate_scores(_matches((1.0, True), n=1), floor=0.05).counts[-1] == 1
