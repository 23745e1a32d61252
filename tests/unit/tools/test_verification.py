"""Pairs of pictures judged: by hand, by brute force, and at the edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edged.errors import InputError
from tools.verification import FOLDS, Pairs, all_pairs, best_threshold, judge, judge_by_folds, make_pairs, read_pairs, without

LABELS = np.array([0, 0, 1, 2, 2])
FILES = ["a1.png", "a2.png", "b1.png", "c1.png", "c2.png"]


def as_tuples(pairs: Pairs) -> list[tuple[int, int, bool]]:
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.same.tolist(), strict=True))


def test_all_pairs_are_every_two_pictures_once() -> None:
    """Five pictures make ten pairs, two of them of one person."""
    pairs = as_tuples(all_pairs(LABELS))

    assert len(pairs) == 10
    assert [pair[:2] for pair in pairs if pair[2]] == [(0, 1), (3, 4)]


def test_pairs_without_others_leave_out_both_orders() -> None:
    """A pair is the same pair the other way round."""
    left_out = make_pairs(np.array([1, 2]), np.array([0, 4]), LABELS)

    left = as_tuples(without(all_pairs(LABELS), left_out))

    assert len(left) == 8
    assert not {(0, 1), (2, 4)} & {pair[:2] for pair in left}


def write(path: Path, *rows: str, head: str = "file1,file2,same") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def test_pairs_of_a_file_are_found_by_name(tmp_path: Path) -> None:
    """In the order of the file."""
    path = write(tmp_path / "pairs.csv", "c2.png,c1.png,1", "a1.png,b1.png,0")

    assert as_tuples(read_pairs(path, FILES, LABELS)) == [(4, 3, True), (0, 2, False)]


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        pytest.param(["a1.png,zz.png,0"], "file1,file2,same", r"line 2: zz\.png is no picture", id="unknown picture"),
        pytest.param(["a1.png,a2.png,0"], "file1,file2,same", "line 2: same is '0', but the labels", id="contradiction"),
        pytest.param(["a1.png,a2.png,yes"], "file1,file2,same", "same is 'yes'", id="no number"),
        pytest.param([], "left,right", "line 1: expected columns file1, file2, same; got left, right", id="other columns"),
    ],
)
def test_pairs_file_with_mistakes_is_refused(tmp_path: Path, rows: list[str], head: str, message: str) -> None:
    """With the line and what is wrong there."""
    path = write(tmp_path / "pairs.csv", *rows, head=head)

    with pytest.raises(InputError, match=message):
        read_pairs(path, FILES, LABELS)


def test_pairs_file_tells_all_its_mistakes_at_once(tmp_path: Path) -> None:
    """Two wrong lines, two messages."""
    path = write(tmp_path / "pairs.csv", "x.png,a1.png,0", "a1.png,a2.png,1", "a1.png,y.png,0")

    with pytest.raises(InputError, match=r"2 mistakes(.|\n)*line 2: x\.png(.|\n)*line 4: y\.png"):
        read_pairs(path, FILES, LABELS)


def test_pairs_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(InputError, match=r"none\.csv: cannot be read"):
        read_pairs(tmp_path / "none.csv", FILES, LABELS)


@pytest.mark.parametrize(
    ("scores", "same", "expected"),
    [
        pytest.param([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 0.5, id="apart: half way"),
        pytest.param([0.1, 0.2, 0.3], [0, 0, 0], 0.8, id="two people only: above all"),
        pytest.param([0.1, 0.2], [1, 1], -0.4, id="one person only: below all"),
        pytest.param([0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1], 0.3, id="never between equal ones: the lowest of equally good"),
    ],
)
def test_best_threshold_is_half_way_between_two_scores(scores: list[float], same: list[int], expected: float) -> None:
    """Where most pairs are judged right."""
    assert best_threshold(np.array(scores), np.array(same, bool)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_is_as_good_as_any_that_is_tried(seed: int) -> None:
    """No cut of the line judges more pairs right; scores are rounded so that some are equal."""
    rng = np.random.default_rng(seed)
    same = rng.random(60) < 0.5
    scores = (rng.normal(size=60) + same).round(1)
    tried = [((scores >= cut) == same).sum() for cut in np.arange(-5, 6, 0.05)]

    found = ((scores >= best_threshold(scores, same)) == same).sum()

    assert found == max(tried)


def folded(n: int) -> tuple[np.ndarray, np.ndarray]:
    """n pairs of each kind, those of one person first, perfectly apart at 0."""
    same = np.repeat([True, False], n)
    return np.where(same, 1.0, -1.0), same


def test_folds_of_pairs_that_are_apart_are_all_right() -> None:
    """Each of the ten thresholds lies between."""
    folds = judge_by_folds(*folded(30))

    assert folds.accuracy == 1
    assert folds.standard_error == 0
    assert len(folds.thresholds) == FOLDS
    assert (np.abs(folds.thresholds) < 1).all()


def test_folds_judge_a_pair_by_a_threshold_it_had_no_part_in() -> None:
    """One pair of one person far below all others: only its own fold has it wrong, by that one pair of six."""
    scores, same = folded(30)
    scores[4] = -5.0

    folds = judge_by_folds(scores, same)

    expected = np.ones(FOLDS)
    expected[4] = 5 / 6
    np.testing.assert_allclose(folds.accuracies, expected)
    assert folds.right.sum() == 59
    assert folds.standard_error == pytest.approx(expected.std(ddof=1) / np.sqrt(10))


def test_folds_need_ten_pairs_of_each_kind() -> None:
    """Nine cannot be dealt out to ten."""
    scores, same = folded(9)

    with pytest.raises(ValueError, match="expected 10 pairs of each kind at least, got 9 and 9"):
        judge_by_folds(scores, same)


def people(n: int, pictures: int) -> np.ndarray:
    return np.repeat(np.arange(n), pictures)


def test_verdict_at_a_share_accepts_what_lies_above_its_threshold() -> None:
    """100 pairs of two people, 1 % of them is one: the threshold lies above the second highest."""
    labels = np.concatenate([np.repeat(np.arange(4), 2), np.arange(4, 8)])  # 4 pairs of one person, 62 of two
    pairs = all_pairs(labels)
    impostors = np.flatnonzero(~pairs.same)
    scores = np.zeros(len(pairs))
    scores[impostors[:2]] = 0.9, 0.8
    scores[pairs.same] = 0.95, 0.85, 0.7, 0.3

    verdict = judge(pairs, scores, resamples=0)

    assert (verdict.n_same, verdict.n_different) == (4, 62)
    first = verdict.acceptances[0]  # 1 % of 62 is less than one
    assert not first.is_shown
    assert first.threshold == 0.95
    assert first.accepted == 0.25
    assert first.interval is None


def test_verdict_shows_a_share_from_as_many_pairs_on_as_have_one_in_it() -> None:
    """100 pairs show 1 %, 99 do not."""
    pairs = make_pairs(np.zeros(101, int), np.arange(1, 102), np.array([0, 0, *range(1, 101)]))
    scores = np.linspace(1, 0, 101)

    shown = [one.is_shown for one in judge(pairs, scores, resamples=0).acceptances]
    fewer = [one.is_shown for one in judge(pairs.take(np.arange(100)), scores[:100], resamples=0).acceptances]

    assert shown == [True, False, False]
    assert fewer == [False, False, False]


def test_verdict_interval_is_that_of_people_drawn_anew_by_brute_force() -> None:
    """Each resample, written out pair by pair, gives the accepted share that was computed from weights."""
    rng = np.random.default_rng(3)
    labels = people(30, 4)
    pairs = all_pairs(labels)
    scores = rng.normal(size=len(pairs)) + 1.5 * pairs.same
    resamples = 200
    counts = np.random.default_rng(7).multinomial(30, np.full(30, 1 / 30), size=resamples).T
    expected = []
    for k in range(resamples):
        weights = counts[pairs.first_person, k] * np.where(pairs.same, 1, counts[pairs.second_person, k])
        theirs = np.sort(np.repeat(scores[~pairs.same], weights[~pairs.same]))[::-1]
        ours = np.repeat(scores[pairs.same], weights[pairs.same])
        beyond = int(np.floor(0.01 * len(theirs) + 1e-9))  # so many may be accepted
        expected.append((ours > theirs[beyond]).mean())

    verdict = judge(pairs, scores, resamples=resamples, seed=7)

    low, high = np.percentile(expected, (2.5, 97.5))
    assert verdict.acceptances[0].interval.low == pytest.approx(low)
    assert verdict.acceptances[0].interval.high == pytest.approx(high)
    assert low < verdict.acceptances[0].accepted < high


def test_verdict_of_few_people_has_no_interval() -> None:
    """Nine people drawn anew show next to nothing."""
    pairs = all_pairs(people(9, 2))

    verdict = judge(pairs, np.arange(len(pairs), dtype=float), resamples=50)

    assert all(one.interval is None for one in verdict.acceptances)


def test_verdict_with_folds_has_an_interval_of_its_accuracy() -> None:
    """It holds the accuracy, and is the same for the same seed."""
    rng = np.random.default_rng(0)
    pairs = all_pairs(people(20, 3))
    scores = rng.normal(size=len(pairs)) + 2 * pairs.same

    verdict, again = (judge(pairs, scores, resamples=100, seed=1, has_folds=True) for _ in range(2))

    assert verdict.accuracy_interval.low < verdict.folds.accuracy < verdict.accuracy_interval.high
    assert verdict.accuracy_interval == again.accuracy_interval


def test_verdict_of_pairs_of_one_kind_is_refused() -> None:
    """There is nothing to tell apart."""
    pairs = all_pairs(np.array([0, 0, 0]))

    with pytest.raises(ValueError, match="scores of both kinds"):
        judge(pairs, np.zeros(3))
