"""The logistic unit over pairs: learns what sets people apart, whoever has more pictures."""

from __future__ import annotations

import numpy as np
import pytest

from edged.identity.metrics import PairForm
from tools.pair_classifier import MOST_PAIRS_A_PERSON, draw_pairs, teach


def people(*, n: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of 8 numbers; only the first four tell who it is."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), each)
    telling = rng.normal(size=(n, 4))[who] + 0.3 * rng.normal(size=(len(who), 4))
    vectors = np.concatenate([telling, rng.normal(size=(len(who), 4))], axis=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), who


@pytest.mark.parametrize("form", PairForm)
def test_unit_weighs_what_tells_people_apart(form: PairForm) -> None:
    """Differences in the telling numbers speak against one person, more than others; new people are judged better than by lot."""
    unit = teach(*people(n=40, each=5), form)
    vectors, who = people(n=30, each=4, seed=1)

    pairs = draw_pairs(who, seed=2)
    right = (unit.probability(vectors[pairs.first], vectors[pairs.second]) > 0.5) == pairs.same

    assert np.mean(unit.weights[:4]) < 2 * np.mean(unit.weights[4:])
    assert np.mean(unit.weights[:4]) < 0
    assert right.mean() > 0.75


def test_unit_is_where_the_likelihood_has_no_slope() -> None:
    """The fitted bias makes the mean probability the share of pairs of one person."""
    vectors, who = people(n=20, each=5)
    unit = teach(vectors, who, PairForm.ABSOLUTE)
    pairs = draw_pairs(who, seed=0)

    mean = unit.probability(vectors[pairs.first], vectors[pairs.second]).mean()

    assert mean == pytest.approx(pairs.same.mean(), abs=1e-5)


def test_drawn_pairs_hold_few_of_any_person_and_as_many_of_two() -> None:
    """Somebody with 30 pictures, 435 pairs, counts no more than the limit."""
    who = np.concatenate([np.zeros(30, int), np.repeat(np.arange(1, 40), 3)])

    pairs = draw_pairs(who, seed=0)

    counts = np.bincount(pairs.first_person[pairs.same])
    assert counts[0] == MOST_PAIRS_A_PERSON
    assert (counts[1:] == 3).all()
    assert pairs.same.sum() == (~pairs.same).sum()


def test_unit_of_people_seen_once_is_refused() -> None:
    """There is no pair of one person to learn from."""
    with pytest.raises(ValueError, match="expected pairs of one person and of two"):
        teach(np.eye(4), np.arange(4), PairForm.ABSOLUTE)
