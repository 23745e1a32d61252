"""Two kinds of scores apart by one threshold: who is wrongly let in, who is wrongly kept out, at every threshold there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """Both errors at T thresholds, from one that lets everything in to one that lets nothing in. In is a score at it or above.

    Attributes:
        thresholds: (T,) float64, rising: every score there is, then infinity.
        false_accepts: (T,) share of the impostors that are let in, falling from 1 to 0.
        false_rejects: (T,) share of the genuine that are kept out, rising from 0 to 1.
    """

    thresholds: NDArray[np.float64]
    false_accepts: NDArray[np.float64]
    false_rejects: NDArray[np.float64]

    @property
    def area(self) -> float:
        """The chance that a genuine score lies above an impostor's, of equal ones half: 1 apart, 0.5 as by lot."""
        accepts = 1 - self.false_rejects
        steps = self.false_accepts[:-1] - self.false_accepts[1:]
        return float((steps * (accepts[:-1] + accepts[1:]) / 2).sum())

    @property
    def equal_error(self) -> float:
        """The share at which both errors are the same, on a straight line between the two thresholds around it."""
        gaps = self.false_rejects - self.false_accepts  # from -1 to 1
        after = int(np.argmax(gaps >= 0))
        before = after - 1
        share = -gaps[before] / (gaps[after] - gaps[before])
        return float(self.false_rejects[before] + share * (self.false_rejects[after] - self.false_rejects[before]))

    def threshold_for(self, *, most_false_accepts: float) -> float:
        """The lowest threshold that lets in no more impostors than this share; infinity if only none will do."""
        return float(self.thresholds[self._lowest(most_false_accepts)])

    def accepted_at(self, *, most_false_accepts: float) -> float:
        """The share of the genuine that is let in at that threshold."""
        return float(1 - self.false_rejects[self._lowest(most_false_accepts)])

    def _lowest(self, most_false_accepts: float) -> int:
        return int(np.argmax(self.false_accepts <= most_false_accepts))


def make_roc(genuine: ArrayLike, impostors: ArrayLike) -> Roc:
    """The errors of both kinds of scores, (N,) and (M,), at each of them.

    Raises:
        ValueError: there are no scores of a kind, or one is not a number.
    """
    ours, theirs = (np.sort(np.asarray(scores, np.float64).reshape(-1)) for scores in (genuine, impostors))
    if not len(ours) or not len(theirs):
        raise ValueError(f"expected scores of both kinds, got {len(ours)} genuine and {len(theirs)} of impostors")
    if np.isnan(ours[-1]) or np.isnan(theirs[-1]):
        raise ValueError("a score is not a number")
    thresholds = np.append(np.unique(np.concatenate([ours, theirs])), np.inf)
    return Roc(
        thresholds,
        false_accepts=1 - np.searchsorted(theirs, thresholds) / len(theirs),
        false_rejects=np.searchsorted(ours, thresholds) / len(ours),
    )
