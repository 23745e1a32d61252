"""How far a figure can be trusted: intervals by the bootstrap over pictures.

Pictures are drawn with replacement as often as there are, from each set its own number. The same draws judge every class,
size and engine, so that the difference of two engines is paired by picture: what a hard picture costs both cancels out.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals, ch. 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.report.outcomes import PictureMatches

FEWEST_PICTURES = 10
"""With objects of a class in fewer pictures there is no interval: drawn anew they would show next to no spread, or nonsense."""
_COLUMNS = 125
"""Resamples computed at once: what stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where 95 % of the resampled figures lie."""

    low: float
    high: float


def draw_weights(n_pictures: int, *, resamples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n_pictures, resamples) how often each picture is drawn in each resample; every column sums to n_pictures."""
    chances = np.full(n_pictures, 1 / n_pictures)
    return rng.multinomial(n_pictures, chances, size=resamples).T.astype(np.float32)


def average_precisions(sample: PictureMatches, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """(resamples,) the average precision of each resample, NaN where it holds no object.

    It equals `average_precision` of the pictures written out as often as they were drawn.

    Args:
        weights: (pictures, resamples), see `draw_weights`.
    """
    order = np.argsort(-sample.matches.scores, kind="stable")
    hits = np.flatnonzero(sample.matches.hits[order])
    order = order[: hits[-1] + 1] if len(hits) else order[:0]  # what comes after the last hit changes no precision before it
    pictures = sample.pictures[order]
    blocks = [weights[:, start : start + _COLUMNS] for start in range(0, weights.shape[1], _COLUMNS)]
    return np.concatenate([np.zeros(0), *(_block(pictures, hits, sample.objects, block) for block in blocks)])


def _block(
    pictures: NDArray[np.int64], hits: NDArray[np.int64], objects: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(resamples,) of some resamples: precision at each hit, its envelope from the right, weighed by how often the hit counts."""
    drawn = weights[pictures]  # (D, resamples)
    counted = np.cumsum(drawn, axis=0)[hits]  # (hits, resamples)
    found = drawn[hits]
    precision = np.cumsum(found, axis=0) / np.maximum(counted, 1)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    n = objects.astype(np.float64) @ weights
    with np.errstate(invalid="ignore"):
        return np.where(n > 0, (found * envelope).sum(axis=0, dtype=np.float64) / n, np.nan)


def interval_of(samples: NDArray[np.float64], *, n_pictures: int) -> Interval | None:
    """The middle 95 % of resampled figures; None without any, or where too few pictures hold an object (`FEWEST_PICTURES`)."""
    return percentile_interval(samples) if n_pictures >= FEWEST_PICTURES else None


def percentile_interval(samples: NDArray[np.float64]) -> Interval | None:
    """The middle 95 % of resampled figures, those aside that are NaN; None without any."""
    known = samples[~np.isnan(samples)]
    if not len(known):
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return Interval(float(low), float(high))
