"""The figures of a segmenter over one set, with intervals.

Pictures are drawn anew with replacement; see `bootstrap.py`. Pixels of one picture are not independent of each other, so that an
interval over pixels would be far too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.vision.confusion import class_ious
from tools.report.bootstrap import draw_weights, interval_of
from tools.report.figures import Estimate
from tools.report.map_run import MapRun


@dataclass(frozen=True, slots=True)
class MapClass:
    """One class over a set.

    Attributes:
        pixels: of the truth.
        iou: over all pictures together; `value` is None where the class neither is nor is said to be anywhere.
        boundary_f1: the mean over the pictures in which it has borders.
    """

    pixels: int
    iou: Estimate
    boundary_f1: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class SetFigures:
    """One segmenter over one set.

    Attributes:
        run: what they are of.
        classes: those that both know, by name.
        mean_iou, boundary_f1: the means over these, of those that are known.
        pixel_accuracy: the share of pixels that are said to be what they are.
        unmeasured: classes that the segmenter knows and the set does not label. Where it says one of them it is wrong.
    """

    run: MapRun
    classes: Mapping[str, MapClass]
    mean_iou: Estimate
    boundary_f1: Estimate
    pixel_accuracy: Estimate
    unmeasured: tuple[str, ...]


def measure_maps(run: MapRun, *, resamples: int, seed: int) -> SetFigures:
    """The figures of a run.

    Args:
        resamples: of the bootstrap; 0: no intervals.
        seed: of the bootstrap.
    """
    weights = draw_weights(len(run.counted), resamples=resamples, rng=np.random.default_rng(seed)).astype(np.float64)
    judged = np.flatnonzero(run.labelled)
    holds = (run.counted.sum(axis=2) > 0)[:, judged]  # (P, judged) the truth of the picture has the class
    total = run.counted.sum(axis=0)
    ious, iou_samples = class_ious(total)[judged], _iou_samples(run.counted, weights)[:, judged]
    borders = run.boundaries[:, judged]
    f1s, f1_samples = _mean(borders, np.ones((len(borders), 1)))[0], _mean(borders, weights)
    classes = {}
    for column, class_id in enumerate(judged):
        has_borders = int((~np.isnan(borders[:, column])).sum())
        classes[run.classes[class_id]] = MapClass(
            int(total[class_id].sum()),
            _estimate(ious[column], iou_samples[:, column], n_pictures=int(holds[:, column].sum())),
            _estimate(f1s[column], f1_samples[:, column], n_pictures=has_borders),
        )
    n_pictures = int(holds.any(axis=1).sum())
    return SetFigures(
        run,
        classes,
        _estimate(_over_classes(ious), _over_classes(iou_samples), n_pictures=n_pictures),
        _estimate(_over_classes(f1s), _over_classes(f1_samples), n_pictures=n_pictures),
        _accuracy(run.counted, weights, n_pictures=n_pictures),
        tuple(name for name, known in zip(run.classes, run.labelled, strict=True) if not known),
    )


def picture_ious(run: MapRun) -> NDArray[np.float64]:
    """(P,) mean IoU of each picture by itself, over the classes that it has or is said to have; NaN of one that is all void."""
    return _over_classes(class_ious(run.counted)[:, run.labelled])


def _iou_samples(counted: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(resamples, n) IoU of each class in each resample; NaN as in `class_ious`."""
    both, actual, said = np.diagonal(counted, axis1=1, axis2=2), counted.sum(axis=2), counted.sum(axis=1)
    intersections, unions = weights.T @ both, weights.T @ (actual + said - both)
    return np.divide(intersections, unions, out=np.full(unions.shape, np.nan), where=unions > 0)


def _mean(figures: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(resamples, n) the mean over pictures of figures (P, n), those aside that are NaN; NaN without any."""
    known = ~np.isnan(figures)
    counts = weights.T @ known
    return np.divide(weights.T @ np.where(known, figures, 0), counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def _over_classes(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) the mean over the classes of figures (..., n), those aside that are NaN; NaN without any."""
    known = ~np.isnan(figures)
    counts, totals = known.sum(axis=-1), np.where(known, figures, 0).sum(axis=-1)
    return np.divide(totals, counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def _accuracy(counted: NDArray[np.int64], weights: NDArray[np.float64], *, n_pictures: int) -> Estimate:
    right, pixels = np.trace(counted, axis1=1, axis2=2), counted.sum(axis=(1, 2))
    all_pixels = weights.T @ pixels
    samples = np.divide(weights.T @ right, all_pixels, out=np.full(all_pixels.shape, np.nan), where=all_pixels > 0)
    value = right.sum() / pixels.sum() if pixels.any() else np.nan
    return _estimate(value, samples, n_pictures=n_pictures)


def _estimate(value: float | np.floating, samples: NDArray[np.float64], *, n_pictures: int) -> Estimate:
    known = None if np.isnan(value) else float(value)
    return Estimate(known, interval_of(samples, n_pictures=n_pictures), samples, n_pictures)
