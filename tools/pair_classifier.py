"""Teach the logistic unit that tells from two embeddings whether they are of one person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edged.identity.metrics import PairClassifier, PairForm, pair_form
from tools.verification import Pairs, all_pairs

MOST_PAIRS_A_PERSON = 50
"""Of the same person: whoever has many pictures would else outvote all others."""
_STEPS = 50
_TOLERANCE = 1e-8


def teach(
    embeddings: NDArray[np.floating], labels: NDArray[np.integer], form: PairForm, *, ridge: float = 1.0, seed: int = 0
) -> PairClassifier:
    """The unit with the largest likelihood on pairs of these people, as many of two people as of one.

    Args:
        embeddings: (N, D) of unit length; labels: (N,) who is seen.
        ridge: how much large weights cost, in pairs; features are scaled to a deviation of 1 for it.

    Raises:
        ValueError: there are no pairs of both kinds.

    Source: Newton's method for logistic regression, Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, section
    4.4.1, with the ridge of section 18.3.2.
    """
    pairs = draw_pairs(labels, seed=seed)
    features = pair_form(embeddings[pairs.first], embeddings[pairs.second], form)
    deviations = np.maximum(features.std(axis=0), 1e-12)
    weights, bias = _fit((features - features.mean(axis=0)) / deviations, pairs.same.astype(float), ridge)
    weights = weights / deviations
    return PairClassifier(form, tuple(weights.tolist()), float(bias - weights @ features.mean(axis=0)))


def draw_pairs(labels: NDArray[np.integer], *, seed: int) -> Pairs:
    """Pairs of one person, `MOST_PAIRS_A_PERSON` of each at most, and as many of two.

    Raises:
        ValueError: nobody is seen twice, or there is one person only.
    """
    rng = np.random.default_rng(seed)
    pairs = all_pairs(labels)
    genuine, impostors = np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same)
    if not len(genuine) or not len(impostors):
        raise ValueError(f"expected pairs of one person and of two, got {len(genuine)} and {len(impostors)}")
    order = rng.permutation(genuine)
    people = pairs.first_person[order]
    ranked = np.argsort(people, kind="stable")
    starts = np.searchsorted(people[ranked], people[ranked])
    kept = order[ranked[np.arange(len(order)) - starts < MOST_PAIRS_A_PERSON]]
    drawn = rng.choice(impostors, min(len(kept), len(impostors)), replace=False)
    return pairs.take(np.concatenate([kept, drawn]))


def _fit(features: NDArray[np.float64], targets: NDArray[np.float64], ridge: float) -> tuple[NDArray[np.float64], float]:
    """Weights (D,) and bias; the bias costs nothing."""
    x = np.column_stack([features, np.ones(len(features))])
    cost = np.append(np.full(features.shape[1], ridge), 0.0)
    solution = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        probability = 0.5 * (1 + np.tanh(x @ solution / 2))
        slope = x.T @ (probability - targets) + cost * solution
        curvature = (x * (probability * (1 - probability))[:, None]).T @ x + np.diag(cost + 1e-9)
        step = np.linalg.solve(curvature, slope)
        solution -= step * min(1.0, 5 / max(np.abs(step).max(), 1e-12))  # far out the likelihood is not a parabola
        if np.abs(step).max() < _TOLERANCE:
            break
    return solution[:-1], float(solution[-1])
