"""How far the points of objects are from where they are labelled.

The error of an object is the mean distance of its known points, over one of two lengths: the distance between the eyes, as papers
on faces have it, which shrinks in a profile, and the side of a square as large as the object's box, which does not. Judged are
objects that the engine finds at its shipped threshold: what it does not find has no points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.types import Detections
from tools.metrics import Truth, pair_class
from tools.report.bootstrap import Interval, interval_of
from tools.report.outcomes import SIZES, size_of

EYES = ("left_eye", "right_eye")
"""Names of the points whose distance measures a face."""
GOOD = 0.1
"""An error below this counts as good."""


@dataclass(frozen=True, slots=True, eq=False)
class PointErrors:
    """Of the F objects of a class that were found and of which points are known.

    Attributes:
        pictures: (F,) int64, the picture of each.
        sizes: (F,) int64 into SIZES.
        by_eyes, by_box: (F,) the error over each length; NaN where the eyes are not known.
        object_sizes: (M,) int64 into SIZES, of all objects of which points are known, found or not.
    """

    pictures: NDArray[np.int64]
    sizes: NDArray[np.int64]
    by_eyes: NDArray[np.float64]
    by_box: NDArray[np.float64]
    object_sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Share:
    """A figure and its interval; None where it cannot be told."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class ErrorFigures:
    """Errors over one length.

    Attributes:
        mean: of the objects.
        median: of the objects; None without any.
        good: the share of objects with an error below `GOOD`.
    """

    mean: Share
    median: float | None
    good: Share


@dataclass(frozen=True, slots=True)
class PointFigures:
    """Points of a class over a group, or of its objects of one size.

    Attributes:
        n: objects of which points are known.
        found: so many of these the engine finds.
    """

    n: int
    found: int
    by_eyes: ErrorFigures
    by_box: ErrorFigures


def point_errors(
    truths: Sequence[Truth], detections: Sequence[Detections], class_id: int, *, threshold: float, names: Sequence[str]
) -> PointErrors:
    """Hold the points of detections against the truth, in the order of the names; an empty result where either has none."""
    parts = [
        _of_picture(number, truth, found[found.scores >= threshold], class_id, names)
        for number, (truth, found) in enumerate(zip(truths, detections, strict=True))
        if truth.labelled[class_id] and truth.points is not None and found.points is not None
    ]
    nothing = PointErrors(*(np.zeros(0, kind) for kind in (np.int64, np.int64, np.float64, np.float64, np.int64)))
    columns = PointErrors.__dataclass_fields__
    return PointErrors(*(np.concatenate([getattr(part, name) for part in (nothing, *parts)]) for name in columns))


def _of_picture(number: int, truth: Truth, found: Detections, class_id: int, names: Sequence[str]) -> PointErrors:
    known = np.isfinite(truth.points).all(axis=2)  # (M, K)
    counting = (truth.class_ids == class_id) & ~truth.ignored & known.any(axis=1)
    pairing = pair_class(truth, found, class_id)
    hits = np.flatnonzero(pairing.objects >= 0)
    hits = hits[counting[pairing.objects[hits]]]
    rows, objects = pairing.rows[hits], pairing.objects[hits]
    distances = np.linalg.norm(found.points[rows].astype(np.float64) - truth.points[objects], axis=2)  # (F, K)
    error = np.where(known[objects], distances, 0.0).sum(axis=1) / known[objects].sum(axis=1)
    sides = np.sqrt((truth.boxes[objects, 2:] - truth.boxes[objects, :2]).prod(axis=1).astype(np.float64))
    sizes = size_of(truth.boxes)
    return PointErrors(
        pictures=np.full(len(rows), number, np.int64),
        sizes=sizes[objects],
        by_eyes=error / _eye_distances(truth.points[objects], names),
        by_box=error / np.maximum(sides, 1e-6),
        object_sizes=sizes[counting],
    )


def _eye_distances(points: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float64]:
    """(F,) NaN where they are unknown, or in one place."""
    if not set(EYES) <= set(names):
        return np.full(len(points), np.nan)
    left, right = (points[:, list(names).index(name)].astype(np.float64) for name in EYES)
    distances = np.linalg.norm(left - right, axis=1)
    return np.where(distances > 0, distances, np.nan)


def summarise(errors: PointErrors, weights: NDArray[np.float32]) -> dict[str, PointFigures]:
    """The figures of all objects under `all`, and of each of SIZES of which there are some.

    Args:
        weights: (pictures, resamples) of the bootstrap; see `draw_weights`.
    """
    figures = {}
    for size in (None, *range(len(SIZES))):
        mine = slice(None) if size is None else errors.sizes == size
        n = len(errors.object_sizes) if size is None else int((errors.object_sizes == size).sum())
        if n:
            drawn = weights[errors.pictures[mine]]
            by_eyes, by_box = (_figures(each[mine], errors.pictures[mine], drawn) for each in (errors.by_eyes, errors.by_box))
            figures["all" if size is None else SIZES[size]] = PointFigures(n, len(drawn), by_eyes, by_box)
    return figures


def _figures(errors: NDArray[np.float64], pictures: NDArray[np.int64], drawn: NDArray[np.float32]) -> ErrorFigures:
    known = np.isfinite(errors)
    errors, drawn, n_pictures = errors[known], drawn[known], len(np.unique(pictures[known]))
    mean = _weighted(errors, drawn, n_pictures)
    good = _weighted((errors < GOOD).astype(np.float64), drawn, n_pictures)
    return ErrorFigures(mean, float(np.median(errors)) if len(errors) else None, good)


def _weighted(values: NDArray[np.float64], drawn: NDArray[np.float32], n_pictures: int) -> Share:
    if not len(values):
        return Share(None, None)
    total = drawn.sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        samples = np.where(total > 0, values @ drawn / np.maximum(total, 1), np.nan)
    return Share(float(values.mean()), interval_of(samples, n_pictures=n_pictures))
