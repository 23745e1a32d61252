"""Is it one person? Pairs of pictures, and how well scores of theirs tell.

Sources: ten folds, thresholds chosen on nine, Huang et al., Labeled Faces in the Wild, UMass 07-49, 2007; the share of one
person's pairs accepted where so many of two people's are, ISO/IEC 19795-1; people drawn anew instead of pairs, Bolle, Ratha,
Pankanti, Error Analysis of Pattern Recognition Systems: the Subsets Bootstrap, CVIU 93, 2004.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.proportions import exact_interval
from tools.crops import Crops
from tools.report.bootstrap import Interval, draw_weights, percentile_interval
from tools.roc import Roc, make_roc

PAIRS_FILE = "dev_pairs.csv"
FOLDS = 10
SHARES = (1e-2, 1e-3, 1e-4)
"""Of pairs of two people that may be accepted."""
FEWEST_PEOPLE = 10
"""With fewer there is no interval: drawn anew they would show next to no spread."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P pairs of pictures.

    Attributes:
        first, second: (P,) positions of the pictures.
        first_person, second_person: (P,) number of who is seen in each.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    first_person: NDArray[np.int64]
    second_person: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def same(self) -> NDArray[np.bool_]:
        """(P,) whether both pictures show one person."""
        return self.first_person == self.second_person

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Pairs:
        """Some of them."""
        return Pairs(self.first[rows], self.second[rows], self.first_person[rows], self.second_person[rows])


def make_pairs(first: NDArray[np.integer], second: NDArray[np.integer], labels: NDArray[np.integer]) -> Pairs:
    """Pairs of pictures by position, whose people are known: labels (N,)."""
    return Pairs(first, second, labels[first], labels[second])


def all_pairs(labels: NDArray[np.integer]) -> Pairs:
    """Every two different pictures, once; labels: (N,) who is seen."""
    return make_pairs(*np.triu_indices(len(labels), k=1), labels)


def without(pairs: Pairs, left_out: Pairs) -> Pairs:
    """The pairs that are not among others, whichever picture stands first."""
    n = 1 + max((int(one.max(initial=0)) for one in (pairs.first, pairs.second, left_out.first, left_out.second)), default=0)
    keys, others = (np.minimum(one.first, one.second) * n + np.maximum(one.first, one.second) for one in (pairs, left_out))
    return pairs.take(~np.isin(keys, others))


def read_pairs(path: Path, files: Sequence[str], labels: NDArray[np.integer]) -> Pairs:
    """The pairs that a file names: columns file1, file2, same (1 or 0).

    Args:
        files: names of the pictures that there are; labels: (N,) who is seen in each.

    Raises:
        InputError: with every mistake: a picture that there is not, or `same` and the labels say different things.
    """
    place = {file: number for number, file in enumerate(files)}
    mistakes, rows = [], []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if not {"file1", "file2", "same"} <= set(reader.fieldnames or ()):
                raise InputError(f"{path}: line 1: expected columns file1, file2, same; got {', '.join(reader.fieldnames or ())}")
            for row in reader:
                names = [row["file1"], row["file2"]]
                if unknown := [name for name in names if name not in place]:
                    mistakes.append(f"line {reader.line_num}: {unknown[0]} is no picture of this split")
                    continue
                first, second = place[names[0]], place[names[1]]
                if row["same"] != str(int(labels[first] == labels[second])):
                    mistakes.append(f"line {reader.line_num}: same is {row['same']!r}, but the labels say otherwise")
                rows.append((first, second))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if mistakes:
        raise InputError("\n".join([f"{path}: {len(mistakes)} mistakes", *(f"  {one}" for one in mistakes[:20])]))
    first, second = np.array(rows, np.int64).reshape(-1, 2).T
    return make_pairs(first, second, labels)


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Accuracy by ten folds.

    Attributes:
        accuracies: (FOLDS,) share of right answers in each fold, at the threshold that was best on the other nine.
        thresholds: (FOLDS,) these.
        right: (P,) bool, each pair at its fold's threshold.
    """

    accuracies: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """The mean over folds."""
        return float(self.accuracies.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))


def judge_by_folds(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> Folds:
    """Ten folds, pairs of one person and of two dealt out in turn, in the order that they stand in.

    Raises:
        ValueError: there are not ten of each kind.
    """
    if min(same.sum(), (~same).sum()) < FOLDS:
        raise ValueError(f"expected {FOLDS} pairs of each kind at least, got {same.sum()} and {(~same).sum()}")
    fold = np.zeros(len(same), np.int64)
    for kind in (same, ~same):
        fold[kind] = np.arange(kind.sum()) % FOLDS
    thresholds = np.array([best_threshold(scores[fold != k], same[fold != k]) for k in range(FOLDS)])
    right = (scores >= thresholds[fold]) == same
    return Folds(np.array([right[fold == k].mean() for k in range(FOLDS)]), thresholds, right)


def best_threshold(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """The threshold, half way between two scores, at which most pairs are judged right; the lowest of equal ones."""
    order = np.argsort(scores, kind="stable")
    ranked, is_same = np.asarray(scores, np.float64)[order], same[order]
    right = np.concatenate([[0], np.cumsum(~is_same)]) + np.concatenate([np.cumsum(is_same[::-1])[::-1], [0]])
    is_cut = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])  # between equal scores there is no threshold
    best = int(np.argmax(np.where(is_cut, right, -1)))
    below = ranked[best - 1] if best else ranked[0] - 1
    above = ranked[best] if best < len(ranked) else ranked[-1] + 1
    return float((below + above) / 2)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """How many pairs of one person are accepted at a share of pairs of two.

    Attributes:
        share: of pairs of two people that may be accepted at most.
        threshold: that does it.
        accepted: share of pairs of one person at or above it.
        interval: 95 % of `accepted` over people drawn anew; None with few people.
        false_share: 95 % bounds of the share of pairs of two people that is really accepted, were pairs independent.
        is_shown: there are enough pairs of two people for one in `share` to be seen.
    """

    share: float
    threshold: float
    accepted: float
    interval: Interval | None
    false_share: Interval
    is_shown: bool


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How well one kind of score tells pairs of one person from pairs of two.

    Attributes:
        n_same, n_different: so many pairs of one person and of two.
        roc: both errors at every threshold.
        acceptances: at each of `SHARES`.
        folds: accuracy; None where there are not ten pairs of each kind.
        accuracy_interval: 95 % of it over people drawn anew; None without folds or with few people.
    """

    n_same: int
    n_different: int
    roc: Roc
    acceptances: tuple[Acceptance, ...]
    folds: Folds | None
    accuracy_interval: Interval | None


@dataclass(frozen=True, slots=True, eq=False)
class FaceSet:
    """What is found in one set.

    Attributes:
        name: of its folder.
        crops: as the encoder is shown them.
        central: so many of them were cut from about the middle, no face being known or found.
        ms_per_face: of the encoder.
        everybody: all pairs of its pictures, by the cosine; None where there are pairs of one kind only.
        pairs: of the list beside the labels; None without one.
        cosines: (P,) of these.
        verdicts: of these, by method: the metrics, then what nobody taught with faces.
    """

    name: str
    crops: Crops
    central: int
    ms_per_face: float
    everybody: Verdict | None
    pairs: Pairs | None
    cosines: NDArray[np.float64] | None
    verdicts: Mapping[str, Verdict]


def all_cosines(embeddings: NDArray[np.float32], pairs: Pairs) -> NDArray[np.float32]:
    """(P,) how alike the pairs of embeddings (N, D) are by the cosine, by one product: all pairs of a set are many."""
    return (embeddings @ embeddings.T)[pairs.first, pairs.second]


def judge(
    pairs: Pairs, scores: NDArray[np.floating], *, resamples: int = 1000, seed: int = 0, has_folds: bool = False
) -> Verdict:
    """All that is said of scores (P,), higher for more alike.

    Args:
        resamples: of people, for intervals; 0: none.
        has_folds: also the accuracy by ten folds.

    Raises:
        ValueError: there are not both kinds of pairs.
    """
    same = pairs.same
    roc = make_roc(scores[same], scores[~same])
    weights = _draw_people(pairs, resamples=resamples, seed=seed)
    folds = judge_by_folds(scores, same) if has_folds else None
    accuracy = None
    if folds is not None and weights is not None:
        accuracy = percentile_interval(
            np.array([w @ folds.right / w.sum() for w in (weights.of(pairs, k) for k in range(resamples))])
        )
    return Verdict(int(same.sum()), int((~same).sum()), roc, _acceptances(pairs, scores, roc, weights), folds, accuracy)


def _acceptances(pairs: Pairs, scores: NDArray[np.floating], roc: Roc, people: _People | None) -> tuple[Acceptance, ...]:
    same = pairs.same
    genuine, impostors = pairs.take(same), pairs.take(~same)
    ours, theirs = scores[same], scores[~same]
    samples = _resampled_acceptances(genuine, ours, impostors, theirs, people) if people else None
    made = []
    for number, share in enumerate(SHARES):
        threshold = roc.threshold_for(most_false_accepts=share)
        low, high = exact_interval(int((theirs >= threshold).sum()), len(theirs))
        made.append(
            Acceptance(
                share,
                threshold,
                float((ours >= threshold).mean()),
                percentile_interval(samples[:, number]) if samples is not None else None,
                Interval(low, high),
                share * len(theirs) >= 1,
            )
        )
    return tuple(made)


def _resampled_acceptances(
    genuine: Pairs, ours: NDArray[np.floating], impostors: Pairs, theirs: NDArray[np.floating], people: _People
) -> NDArray[np.float64]:
    """(resamples, SHARES) the share of one person's pairs accepted, thresholds found anew in each resample.

    Only the impostors that score highest can set a threshold: four times as many as the largest share needs are looked at.
    """
    top = np.argsort(-theirs, kind="stable")[: int(np.ceil(4 * max(SHARES) * len(theirs))) + 1]
    highest, high_scores = impostors.take(top), theirs[top]
    samples = np.full((people.resamples, len(SHARES)), np.nan)
    totals = people.totals(impostors)
    for k in range(people.resamples):
        own = people.of(genuine, k)
        if not own.sum() or not totals[k]:
            continue
        reached = np.cumsum(people.of(highest, k)) / totals[k]
        for number, share in enumerate(SHARES):
            beyond = int(np.searchsorted(reached, share, side="right"))  # the first impostor that is too many
            threshold = high_scores[beyond] if beyond < len(high_scores) else -np.inf
            samples[k, number] = own @ (ours > threshold) / own.sum()
    return samples


@dataclass(frozen=True, slots=True, eq=False)
class _People:
    """How often each person is drawn in each resample: counts (people, resamples)."""

    counts: NDArray[np.float64]
    resamples: int

    def of(self, pairs: Pairs, k: int) -> NDArray[np.float64]:
        """(P,) how often each pair stands in resample k: once for each copy of its person, or for each two copies of both."""
        drawn = self.counts[:, k]
        return drawn[pairs.first_person] * np.where(pairs.same, 1.0, drawn[pairs.second_person])

    def totals(self, impostors: Pairs) -> NDArray[np.float64]:
        """(resamples,) the sums of `of` over pairs of two people, from how many pairs any two people have."""
        n = len(self.counts)
        between = np.bincount(impostors.first_person * n + impostors.second_person, minlength=n * n).reshape(n, n)
        return (self.counts * (between @ self.counts)).sum(axis=0)


def _draw_people(pairs: Pairs, *, resamples: int, seed: int) -> _People | None:
    people = np.unique(np.concatenate([pairs.first_person, pairs.second_person]))
    if not resamples or len(people) < FEWEST_PEOPLE:
        return None
    counts = np.zeros((int(people.max()) + 1, resamples))
    counts[people] = draw_weights(len(people), resamples=resamples, rng=np.random.default_rng(seed))
    return _People(counts, resamples)
