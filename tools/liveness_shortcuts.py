"""What can be told of live and attack without looking at the face: `python -m tools.liveness_shortcuts DATA/liveness`.

A logistic regression on nothing but the size of a picture, its sharpness, its fine detail or its colours. Where it does well, a
network may owe its figures to the same: to camera, light or encoder of one of the two kinds, and not to what an attack is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.models.manifest import LIVE
from edged.types import Pixels
from edged.vision.crops import cut_square
from tools.liveness_data import Presentation, load_presentations
from tools.liveness_figures import ErrorShare, count_errors
from tools.roc import Roc, make_roc

SIDE_PX = 96
MARGIN = 0.6
"""Sharpness and colour are those of the inner square of a face, as networks here are shown it."""
_FAINTEST = 0.1
"""Grey levels that are no detail."""
_RIDGE = 0.01
_STEPS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Shortcut:
    """What a classifier of some features reaches on pictures that it did not learn from.

    Attributes:
        roc: live as genuine against all attacks.
        apcer, bpcer: at the threshold that it learnt, all attacks together.
    """

    roc: Roc
    apcer: ErrorShare
    bpcer: ErrorShare


def measure_size(pixels_rgb: Pixels, face: Pixels) -> list[float]:  # noqa: ARG001 - one form for all features
    """Width, height and their ratio."""
    height, width = pixels_rgb.shape[:2]
    return [width, height, width / height]


def measure_sharpness(pixels_rgb: Pixels, face: Pixels) -> list[float]:  # noqa: ARG001
    """The logarithm of the variance of the Laplacian.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    return [float(np.log1p(cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()))]


def measure_detail(pixels_rgb: Pixels, face: Pixels) -> list[float]:  # noqa: ARG001
    """The logarithm of what is in the finest octave against the next one: low where a picture was enlarged, or taken anew.

    Source: the difference of Gaussians of Burt and Adelson, The Laplacian Pyramid as a Compact Image Code, 1983.
    """
    fine = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    coarse = cv2.resize(fine, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    spreads = [float((each - cv2.GaussianBlur(each, (0, 0), 1.0)).std()) for each in (fine, coarse)]
    return [float(np.log((spreads[0] + _FAINTEST) / (spreads[1] + _FAINTEST)))]


def measure_colour(pixels_rgb: Pixels, face: Pixels) -> list[float]:  # noqa: ARG001
    """Mean and spread of red, green and blue."""
    return [*face.mean(axis=(0, 1)), *face.std(axis=(0, 1))]


_SINGLE: Mapping[str, Callable[[Pixels, Pixels], list[float]]] = {
    "size": measure_size,
    "sharpness": measure_sharpness,
    "detail": measure_detail,
    "colour": measure_colour,
}
_ALL = "all of these"
FEATURES = (*_SINGLE, _ALL)


def main(argv: list[str] | None = None) -> int:
    """Learn on the train split, print EER, APCER and BPCER on the val split for each kind of features."""
    parser = argparse.ArgumentParser(prog="python -m tools.liveness_shortcuts", description=main.__doc__)
    parser.add_argument("data", type=Path, help="a set of faces labelled live or with the attack, with both splits")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    try:
        learnt, unseen = (load_presentations(arguments.data, split=split) for split in ("train", "val"))
        found = try_shortcuts(learnt, unseen)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(json.dumps({name: _as_json(one) for name, one in found.items()}, indent=1) if arguments.json else _table(found))
    return 0


def try_shortcuts(learnt: Sequence[Presentation], unseen: Sequence[Presentation]) -> dict[str, Shortcut]:
    """What each of FEATURES tells about faces that were not learnt from.

    Raises:
        InputError: one of both shows no attack, or no live face, or a picture cannot be decoded.
    """
    for name, presentations in (("train", learnt), ("val", unseen)):
        if len({one.label == LIVE for one in presentations}) < 2:
            raise InputError(f"the {name} split shows no attack, or no live face: add some")
    features = [[_measure(one) for one in presentations] for presentations in (learnt, unseen)]
    is_live, truth = (np.array([one.label == LIVE for one in presentations]) for presentations in (learnt, unseen))
    found = {}
    for name in FEATURES:
        known, new = (np.array([each[name] for each in part], np.float64) for part in features)
        scores = learn_logistic(known, is_live)(new)
        found[name] = Shortcut(
            make_roc(scores[truth], scores[~truth]), count_errors(scores[~truth] >= 0), count_errors(scores[truth] < 0)
        )
    return found


def _measure(one: Presentation) -> dict[str, list[float]]:
    pixels_rgb, box = one.face()
    face = cut_square(pixels_rgb, box, margin=MARGIN, side_px=SIDE_PX)
    found = {name: measure(pixels_rgb, face) for name, measure in _SINGLE.items()}
    return {**found, _ALL: [number for numbers in found.values() for number in numbers]}


def learn_logistic(
    features: NDArray[np.float64], is_live: NDArray[np.bool_]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A logistic regression, by Newton's method: from features (N, F) to log-odds of live (N,); both kinds weigh the same.

    Args:
        features: (M, F) to learn from.
        is_live: (M,), both kinds among them.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9

    def extend(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([(rows - mean) / spread, np.ones(len(rows))])

    rows = extend(features)
    shares = np.where(is_live, 0.5 / is_live.sum(), 0.5 / (~is_live).sum()) * len(rows)
    weights = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        chances = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (shares * (chances - is_live)) + _RIDGE * weights
        bend = (rows * (shares * chances * (1 - chances))[:, None]).T @ rows + _RIDGE * np.eye(len(weights))
        weights = weights - np.linalg.solve(bend, slope)
    return lambda new: extend(new) @ weights


def _as_json(one: Shortcut) -> dict[str, float]:
    figures = {"eer": one.roc.equal_error, "auc": one.roc.area, "apcer": one.apcer.value, "bpcer": one.bpcer.value}
    return {name: round(value, 4) for name, value in figures.items()}


def _table(found: Mapping[str, Shortcut]) -> str:
    lines = [f"{'told by':<14}{'EER':>7}{'AUC':>8}{'APCER':>8}{'BPCER':>8}"]
    for name, one in found.items():
        lines.append(f"{name:<14}{one.roc.equal_error:>7.1%}{one.roc.area:>8.3f}{one.apcer.value:>8.1%}{one.bpcer.value:>8.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
