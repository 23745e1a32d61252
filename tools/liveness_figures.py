"""How well live faces and attacks are told apart, in the terms of ISO/IEC 30107-3 on testing presentation attack detection.

A presentation is live if its score is at the threshold or above. APCER is the share of the attacks of one kind that pass as
live, BPCER the share of the live that are taken for an attack: each with exact bounds, for a few hundred pictures prove little.
Kinds are never pooled into one APCER: the worst one counts, and a kind that was not tried is `not measured`. ACER, the mean of
the worst APCER and BPCER, is common in papers but no figure of the standard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edged.models.manifest import LIVE
from edged.proportions import LEVEL, exact_interval
from tools.roc import Roc, make_roc

SPOOF = "spoof"
"""The label of an attack whose kind the labels do not tell."""
KINDS = {
    "print": "a photograph on paper",
    "replay": "a picture or video on a screen",
    "cut_out": "a photograph cut along the face, or with holes for the eyes",
    "mask": "a mask of paper or cloth that shows another face",
    "mask_3d": "a moulded mask",
    "make_up": "a face painted to resemble another",
}
"""The kinds of attack that figures are told for, tried or not."""
_SUREST = (0.001, 0.999)
"""Thresholds beyond are not chosen."""


@dataclass(frozen=True, slots=True)
class ErrorShare:
    """Errors counted in trials, and where the true share lies with 95 % confidence if the trials are independent.

    Attributes:
        trials: at least 1.
        low, high: exact bounds.
    """

    errors: int
    trials: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """errors / trials."""
        return self.errors / self.trials


@dataclass(frozen=True, slots=True, eq=False)
class LivenessFigures:
    """What was measured at one threshold, and over all of them.

    Attributes:
        threshold: live from here on.
        apcer: by kind of attack, those that were tried.
        bpcer: of the live; None where there were none.
        roc: live as genuine against all attacks together; None unless there are both.
    """

    threshold: float
    apcer: Mapping[str, ErrorShare]
    bpcer: ErrorShare | None
    roc: Roc | None

    @property
    def worst(self) -> str | None:
        """The kind that passes most often; None without attacks."""
        return max(self.apcer, key=lambda kind: self.apcer[kind].value, default=None)

    @property
    def acer(self) -> float | None:
        """The mean of the worst APCER and BPCER; None unless both are known."""
        return None if self.worst is None or self.bpcer is None else (self.apcer[self.worst].value + self.bpcer.value) / 2

    @property
    def not_measured(self) -> tuple[str, ...]:
        """The kinds of attack of which there was none."""
        return tuple(kind for kind in KINDS if kind not in self.apcer)


def measure_liveness(scores: ArrayLike, kinds: Sequence[str], *, threshold: float) -> LivenessFigures:
    """The figures of presentations.

    Args:
        scores: (N,) how probably each is live.
        kinds: N of them: `live`, or the kind of attack.

    Raises:
        ValueError: no presentation, not one kind each, or a score that is no number.
    """
    found, kind_of = np.asarray(scores, np.float64).reshape(-1), np.asarray(kinds, dtype=np.str_)
    if not len(found) or len(found) != len(kind_of) or np.isnan(found).any():
        raise ValueError(f"expected a number and a kind for each presentation, got {len(found)} scores, {len(kind_of)} kinds")
    passes = found >= threshold
    attacks = {str(kind): count_errors(passes[kind_of == kind]) for kind in dict.fromkeys(kind_of) if kind != LIVE}
    is_live = kind_of == LIVE
    bpcer = count_errors(~passes[is_live]) if is_live.any() else None
    roc = make_roc(found[is_live], found[~is_live]) if attacks and bpcer else None
    return LivenessFigures(threshold, attacks, bpcer, roc)


def choose_threshold(roc: Roc) -> float:
    """Where the sum of both errors is least; of all thresholds for which it is, the middle of the widest gap between scores.

    Widths are told in log-odds: between 0.9 and 0.99 there is as much room as between 0.45 and 0.9. Of equal gaps the highest is
    taken, which lets fewest pass. Three digits are kept.
    """
    errors = roc.false_accepts + roc.false_rejects
    edges = np.clip(np.concatenate([[0.0], roc.thresholds]), *_SUREST)
    odds = np.log(edges / (1 - edges))
    widths = np.where(errors <= errors.min() + 1e-12, np.diff(odds), -1.0)
    widest = len(widths) - 1 - int(np.argmax(widths[::-1]))
    return round(float(1 / (1 + np.exp(-(odds[widest] + odds[widest + 1]) / 2))), 3)


def count_errors(are_errors: ArrayLike) -> ErrorShare:
    """Errors among trials, (N,) bool, at least one."""
    errors, trials = int(np.count_nonzero(are_errors)), len(np.asarray(are_errors))
    return ErrorShare(errors, trials, *exact_interval(errors, trials))


def as_json(figures: LivenessFigures) -> dict[str, object]:
    """What `--json` prints of them."""
    roc = figures.roc
    return {
        "threshold": figures.threshold,
        "apcer": {
            **{kind: _share_json(share) for kind, share in figures.apcer.items()},
            **dict.fromkeys(figures.not_measured, "not measured"),
        },
        "worst_attack": figures.worst,
        "bpcer": "not measured" if figures.bpcer is None else _share_json(figures.bpcer),
        "acer": _rounded(figures.acer),
        "eer": _rounded(roc and roc.equal_error),
        "auc": _rounded(roc and roc.area),
        "level": LEVEL,
    }


def _share_json(share: ErrorShare) -> dict[str, object]:
    bounds = [round(share.low, 4), round(share.high, 4)]
    return {"value": round(share.value, 4), "errors": share.errors, "n": share.trials, "interval": bounds}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def as_lines(figures: LivenessFigures) -> list[str]:
    """The same for people."""
    lines = [f"live from a score of {figures.threshold:g} on"]
    lines += [_line(f"APCER {kind}", share, "attacks", "passed") for kind, share in figures.apcer.items()]
    lines.append(
        "BPCER            not measured: no live face"
        if figures.bpcer is None
        else _line("BPCER", figures.bpcer, "live faces", "were refused")
    )
    if figures.acer is not None and figures.roc is not None:
        lines.append(f"{'ACER':<17}{figures.acer:6.1%}   worst kind: {figures.worst}")
        lines.append(
            f"{'EER':<17}{figures.roc.equal_error:6.1%}   over all thresholds; area under the ROC {figures.roc.area:.4f}"
        )
    lines += [_caution(f"APCER {kind}", share) for kind, share in figures.apcer.items() if not share.errors]
    lines += [_caution("BPCER", figures.bpcer)] if figures.bpcer and not figures.bpcer.errors else []
    if figures.not_measured:
        lines.append(f"not measured: {', '.join(figures.not_measured)}")
    return lines


def _line(name: str, share: ErrorShare, trials: str, erred: str) -> str:
    bounds = f"{share.low:.1%} to {share.high:.1%}"
    return f"{name:<17}{share.value:6.1%}   {bounds:<17} {share.errors} of {share.trials} {trials} {erred}"


def _caution(name: str, share: ErrorShare) -> str:
    return f"{name}: {share.trials} without an error prove that it is below {share.high:.1%}, no more, and only if independent"
