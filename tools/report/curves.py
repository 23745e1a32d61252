"""Figures over the score: precision and recall, F1, and whether a score of 0.7 is right in seven of ten cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.metrics import Matches

N_BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurve:
    """What each threshold would give: one entry for each score that occurs, the best first.

    Attributes:
        scores, recall, precision, f1: (S,), with all detections of that score or a better one.
            F1 = 2 hits / (detections + objects).
    """

    scores: NDArray[np.float32]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    f1: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How often detections of a score are right.

    Attributes:
        scores: (N_BINS,) mean score of the detections in each bin of equal width; NaN in an empty one.
        precision: (N_BINS,) share of them that hit an object at overlap 0.5; NaN in an empty one.
        counts: (N_BINS,) detections.
        expected_error: mean distance of precision and score, every detection weighing the same; None without detections.
    """

    scores: NDArray[np.float64]
    precision: NDArray[np.float64]
    counts: NDArray[np.int64]
    expected_error: float | None


def score_curve(matches: Matches) -> ScoreCurve:
    """The curve of a class with objects; empty without detections.

    Raises:
        ValueError: there is no object, so recall means nothing.
    """
    if not matches.n:
        raise ValueError("a curve over recall needs an object")
    order = np.argsort(-matches.scores, kind="stable")
    scores = matches.scores[order]
    found, shown = np.cumsum(matches.hits[order]), np.arange(1, len(order) + 1)
    last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # equal scores pass a threshold together
    scores, found, shown = scores[last], found[last], shown[last]
    return ScoreCurve(scores, found / matches.n, found / shown, 2 * found / (shown + matches.n))


def calibrate_scores(matches: Matches, *, floor: float) -> Calibration:
    """Score against precision, over the detections from `floor` on.

    Source: expected calibration error as in Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3.
    """
    counted = matches.scores >= floor
    scores, hits = matches.scores[counted].astype(np.float64), matches.hits[counted]
    bins = np.minimum((scores * N_BINS).astype(np.int64), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(bins, weights=scores, minlength=N_BINS) / counts
        precision = np.bincount(bins, weights=hits, minlength=N_BINS) / counts
    error = float(np.nansum(np.abs(precision - mean) * counts) / counts.sum()) if counts.sum() else None
    return Calibration(mean, precision, counts, error)
