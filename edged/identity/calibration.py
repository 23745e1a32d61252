"""What a gallery says of its own threshold: how alike its people are to each other.

Every two templates of different people are a pair of impostors. Their scores show at which threshold how many strangers would
be taken for somebody, at this site, with its people, better than any figure from a data set does. What they cannot show: how
faces at a camera differ from the pictures of an enrolment. Pairs that share a person resemble each other more than independent
ones, so the bounds are narrower than they should be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.errors import FaceError, GalleryError
from edged.identity.decision import DecisionSettings
from edged.proportions import LEVEL, exact_interval

MOST_TEMPLATES = 4000
"""More are drawn from by chance: 4000 make eight million pairs."""
MOST_LOOK_ALIKES = 20

_BLOCK_ROWS = 512
_BIN = 1e-4
"""Width of the bins that scores are counted in; thresholds are rounded up to whole ones."""
_N_BINS = 20_001
_ROUNDING = 1e-6
"""The same product of two float32 vectors differs by so much, computed in another order."""


class Calibration(BaseModel):
    """A threshold, and what it stands for in this gallery.

    Attributes:
        threshold: cosine from which on a face is somebody's.
        wanted: share of pairs of two people that may reach it.
        measured: share that does.
        low, high: of the interval that holds the true share with a probability of `level`.
        n_pairs, n_people: what was compared.
        is_shown: whether so many pairs can show it: `high` is at most `wanted`. Otherwise the threshold is at least the
            encoder's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold: float = Field(ge=-1, le=1.0001)
    wanted: float = Field(gt=0, lt=1)
    measured: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    level: float = Field(gt=0, lt=1)
    n_pairs: int = Field(gt=0)
    n_people: int = Field(gt=1)
    is_shown: bool


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """Two people whose templates are so near that the decision will be `ambiguous` or wrong."""

    person_id: str
    other_id: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class ImpostorScores:
    """How alike the people of a gallery are.

    Attributes:
        counts: pairs of templates of different people by score, in bins of 0.0001 from -1 on.
        nearest: the pairs of people that are nearest, descending.
        n_people: how many were compared.
    """

    counts: NDArray[np.int64]
    nearest: tuple[LookAlikes, ...]
    n_people: int

    @property
    def n_pairs(self) -> int:
        """Pairs of templates."""
        return int(self.counts.sum())


def measure_impostors(templates: NDArray[np.float32], person_ids: list[str], *, seed: int = 0) -> ImpostorScores:
    """Compare everybody with everybody else; of more than 4000 templates a drawn part.

    Args:
        templates: (T, D) float32 of unit length.
        person_ids: whose each is.

    Raises:
        FaceError: there are fewer than two people.
    """
    if len(templates) > MOST_TEMPLATES:
        drawn = np.sort(np.random.default_rng(seed).choice(len(templates), MOST_TEMPLATES, replace=False))
        templates, person_ids = templates[drawn], [person_ids[index] for index in drawn]
    persons, owners = np.unique(np.array(person_ids, dtype=object), return_inverse=True)
    if len(persons) < 2:
        raise FaceError("calibrate.too_few", f"expected two people at least, there are {len(persons)}", mend="enrol more people")
    counts = np.zeros(_N_BINS, np.int64)
    nearest: dict[tuple[int, int], float] = {}
    for start in range(0, len(templates), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        scores = templates[rows] @ templates[start:].T  # (B, T - start)
        is_pair = owners[rows, None] != owners[None, start:]
        is_pair &= np.arange(scores.shape[1])[None] > np.arange(len(scores))[:, None]  # each pair once
        counts += np.bincount(_bins(scores[is_pair]), minlength=_N_BINS)
        _keep_nearest(nearest, np.where(is_pair, scores, -2), owners[rows], owners[start:])
    ranked = sorted(nearest.items(), key=lambda each: -each[1])[:MOST_LOOK_ALIKES]
    pairs = tuple(LookAlikes(str(persons[a]), str(persons[b]), score) for (a, b), score in ranked)
    return ImpostorScores(counts, pairs, len(persons))


def calibrate(scores: ImpostorScores, *, wanted: float, default_threshold: float, level: float = LEVEL) -> Calibration:
    """The lowest threshold for which the bound of the false-match rate is at most what is wanted.

    Where there are too few pairs to show so low a rate, the threshold is what no pair reaches, or the encoder's own if that is
    higher, and the result says that it is not shown.

    Args:
        wanted: false-match rate, in (0, 1).
        default_threshold: of the encoder.
    """
    if not 0 < wanted < 1:
        raise FaceError(
            "calibrate.rate", f"expected a false-match rate between 0 and 1, got {wanted}", mend="ask for 0.001, for example"
        )
    n = scores.n_pairs
    reaching = np.append(scores.counts[::-1].cumsum()[::-1], 0)  # pairs at the lower edge of each bin or above
    most = _most_errors(n, wanted, level)
    threshold = float(np.argmax(reaching <= max(most, 0)) * _BIN - 1)
    if most < 0:
        threshold = max(threshold, default_threshold)
    errors = int(reaching[min(int(np.ceil(round((threshold + 1) / _BIN, 6))), _N_BINS)])
    low, high = exact_interval(errors, n, level=level)
    return Calibration(
        threshold=min(threshold, 1.0),
        wanted=wanted,
        measured=errors / n,
        low=low,
        high=high,
        level=level,
        n_pairs=n,
        n_people=scores.n_people,
        is_shown=high <= wanted,
    )


def load_calibration(document: str | None) -> Calibration | None:
    """What was kept in the gallery; None: nothing.

    Raises:
        GalleryError: it is no calibration.
    """
    if document is None:
        return None
    try:
        return Calibration.model_validate_json(document)
    except ValidationError as error:
        raise GalleryError(
            "gallery.tampered", f"the calibration in the gallery is none: {error.error_count()} mistakes", mend="calibrate again"
        ) from None


def settings_of(settings: DecisionSettings, calibration: Calibration | None) -> DecisionSettings:
    """The settings of a decision with the threshold of this gallery, where it was calibrated.

    The false-match rate is the upper bound, not the measured share: zero of three pairs is no promise.
    """
    if calibration is None:
        return settings
    return replace(settings, threshold=calibration.threshold, false_match_rate=calibration.high)


def _most_errors(n: int, wanted: float, level: float) -> int:
    """The most pairs that may reach the threshold for the bound to hold; -1: even none of them shows it."""
    low, high = -1, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if exact_interval(middle, n, level=level)[1] <= wanted else (low, middle - 1)
    return low


def _bins(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each score, the upper one of two that rounding cannot tell apart."""
    return np.clip(np.floor((scores.astype(np.float64) + 1 + _ROUNDING) / _BIN), 0, _N_BINS - 1).astype(np.int64)


def _keep_nearest(
    nearest: dict[tuple[int, int], float],
    scores: NDArray[np.float32],
    owners: NDArray[np.int64],
    other_owners: NDArray[np.int64],
) -> None:
    """Enter the nearest pairs of a block (B, M) under the two people they are of; several templates of one pair count once."""
    n = min(scores.size, 50 * MOST_LOOK_ALIKES)
    for index in np.argpartition(scores, scores.size - n, axis=None)[scores.size - n :]:
        row, column = divmod(int(index), scores.shape[1])
        score = float(scores[row, column])
        if score > -2:
            pair = tuple(sorted((int(owners[row]), int(other_owners[column]))))
            nearest[pair] = max(score, nearest.get(pair, -2.0))
