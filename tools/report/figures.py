"""The figures of one or two engines over groups of sets, with intervals, and of their difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edged.types import Detections
from tools.datasets import PictureSet
from tools.drawn import DRAWN
from tools.metrics import ClassScore, Truth, average_precision, score_matches
from tools.report.bootstrap import Interval, average_precisions, draw_weights, interval_of
from tools.report.coco_scores import CocoScore, score_coco
from tools.report.outcomes import SIZES, Outcomes, PictureMatches, join_outcomes, judge
from tools.report.points import ErrorFigures, PointFigures, Share, point_errors, summarise
from tools.report.run import Found, Run

PHOTOGRAPHS = "photographs"
"""Name of all sets but the drawn one, pooled."""
ALL_CLASSES = "mean of classes"


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluation computes beyond AP50, recall and precision.

    Attributes:
        resamples: of the bootstrap; 0: no intervals.
        seed: of the bootstrap.
        coco: also COCO's figures.
    """

    resamples: int = 1000
    seed: int = 0
    coco: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A figure, such as AP50, with what the bootstrap says of it.

    Attributes:
        value: None where there is nothing that it could be of, such as objects.
        interval: None where it would mislead; see `interval_of`.
        samples: (resamples,) NaN where a resample holds nothing of the kind.
        n_pictures: that hold something.
    """

    value: float | None
    interval: Interval | None
    samples: NDArray[np.float64]
    n_pictures: int

    def minus(self, other: Estimate) -> Estimate:
        """The difference, paired by picture: both must come from the same draws."""
        value = None if self.value is None or other.value is None else self.value - other.value
        samples, n_pictures = self.samples - other.samples, min(self.n_pictures, other.n_pictures)
        return Estimate(value, interval_of(samples, n_pictures=n_pictures), samples, n_pictures)


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class of one engine over a group.

    Attributes:
        threshold: shipped score, at which recall and precision are taken.
        by_size: objects and AP50 for each of SIZES.
        points: how far its points are off, by size; empty where the engine or the group has none.
    """

    threshold: float
    score: ClassScore
    ap50: Estimate
    by_size: dict[str, tuple[int, Estimate]]
    coco: CocoScore | None
    points: dict[str, PointFigures]


@dataclass(frozen=True, slots=True, eq=False)
class EngineFigures:
    """One engine over a group.

    Attributes:
        classes: those that the group labels and the engine finds, by name.
        mean: over the classes that have objects.
        outcomes: of all these classes; empty of pictures where the engine finds none of the group's classes.
    """

    label: str
    classes: dict[str, ClassFigures]
    mean: Estimate
    outcomes: Outcomes | None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A set, or several pooled.

    Attributes:
        set_numbers: which sets, by their place in the evaluation.
        classes: names by class id, the same in all groups of an evaluation.
        labelled: those that one of the sets labels.
        engines: one entry an engine, the one evaluated first.
    """

    name: str
    set_numbers: tuple[int, ...]
    n_pictures: int
    classes: tuple[str, ...]
    labelled: tuple[str, ...]
    engines: tuple[EngineFigures, ...]

    def difference(self, name: str) -> Estimate | None:
        """First engine's AP50 of a class minus the second's; None where there is no second, or one lacks the class."""
        if len(self.engines) < 2 or not all(name in one.classes for one in self.engines):
            return None
        ours, other = (one.classes[name].ap50 for one in self.engines)
        return ours.minus(other)

    def mean_difference(self) -> Estimate | None:
        """The same of the mean over the classes that both engines find and that have objects."""
        if len(self.engines) < 2:
            return None
        shared = [name for name, one in self.engines[0].classes.items() if one.score.n and name in self.engines[1].classes]
        ours, other = (_mean([one.classes[name].ap50 for name in shared]) for one in self.engines)
        return ours.minus(other)


def compare_runs(sets: Sequence[PictureSet], runs: Sequence[Run], settings: Settings) -> list[Group]:
    """Every set, and all photographs pooled where there are several sets of them.

    Args:
        sets: at least one, all with the same classes; see `in_terms_of`.

    Raises:
        InputError: COCO's figures are wanted and pycocotools is not installed.
    """
    classes = sets[0].classes
    rng = np.random.default_rng(settings.seed)
    weights = [draw_weights(len(one.pictures), resamples=settings.resamples, rng=rng) for one in sets]
    judged = [[_judge(found, classes, run.thresholds) for found in run.found] for run in runs]
    groups = [(one.name, (number,)) for number, one in enumerate(sets)]
    photographs = tuple(number for number, one in enumerate(sets) if one.name != DRAWN)
    if len(photographs) > 1:
        groups.insert(0, (PHOTOGRAPHS, photographs))
    made = []
    for name, numbers in groups:
        labelled = np.any([sets[number].labelled for number in numbers], axis=0)
        names = tuple(kind for kind, known in zip(classes, labelled, strict=True) if known)
        engines = tuple(
            _measure(run, mine, weights, numbers, classes=classes, settings=settings)
            for run, mine in zip(runs, judged, strict=True)
        )
        made.append(Group(name, numbers, sum(len(sets[number].pictures) for number in numbers), classes, names, engines))
    return made


def _judge(found: Found | None, classes: Sequence[str], thresholds: Mapping[str, float]) -> Outcomes | None:
    if found is None:
        return None
    found_ids = [number for number, name in enumerate(classes) if name in thresholds]
    return judge(found.truths, found.detections, class_ids=found_ids)


def _measure(
    run: Run,
    judged: Sequence[Outcomes | None],
    weights: Sequence[NDArray[np.float32]],
    numbers: Sequence[int],
    *,
    classes: Sequence[str],
    settings: Settings,
) -> EngineFigures:
    """One engine over the sets with these numbers; sets of which it finds no class are left out."""
    numbers = [number for number in numbers if judged[number] is not None]
    if not numbers:
        return EngineFigures(run.label, {}, _mean([]), None)
    outcomes = join_outcomes([judged[number] for number in numbers])
    drawn = np.concatenate([weights[number] for number in numbers])
    founds = [run.found[number] for number in numbers]
    figures = {}
    for class_id, name in enumerate(classes):
        if name in run.thresholds and any(found.truths[0].labelled[class_id] for found in founds):
            whole = outcomes.of_class(class_id)
            score = score_matches(whole.matches, threshold=run.thresholds[name])
            parts = {size: outcomes.of_class(class_id, size=number) for number, size in enumerate(SIZES)}
            by_size = {size: (part.matches.n, _estimate(part, drawn)) for size, part in parts.items()}
            coco = _coco(founds, class_id) if settings.coco else None
            points = _points(run, founds, class_id, threshold=run.thresholds[name], weights=drawn)
            figures[name] = ClassFigures(run.thresholds[name], score, _estimate(whole, drawn), by_size, coco, points)
    return EngineFigures(run.label, figures, _mean([one.ap50 for one in figures.values() if one.score.n]), outcomes)


def _coco(founds: Sequence[Found], class_id: int) -> CocoScore:
    return score_coco(*_join(founds), class_id)


def _points(
    run: Run, founds: Sequence[Found], class_id: int, *, threshold: float, weights: NDArray[np.float32]
) -> dict[str, PointFigures]:
    errors = point_errors(*_join(founds), class_id, threshold=threshold, names=run.manifest.points)
    return summarise(errors, weights)


def _join(founds: Sequence[Found]) -> tuple[list[Truth], list[Detections]]:
    """Truth and detections of the pictures of several sets, in order."""
    truths = [truth for found in founds for truth in found.truths]
    return truths, [each for found in founds for each in found.detections]


def _estimate(sample: PictureMatches, weights: NDArray[np.float32]) -> Estimate:
    value = average_precision(sample.matches) if sample.matches.n else None
    samples = average_precisions(sample, weights)
    n_pictures = int((sample.objects > 0).sum())
    return Estimate(value, interval_of(samples, n_pictures=n_pictures), samples, n_pictures)


def _mean(parts: Sequence[Estimate]) -> Estimate:
    """The mean over classes, in every resample over those that have an object in it."""
    values = [part.value for part in parts if part.value is not None]
    if not values:
        return Estimate(None, None, np.zeros(0), 0)
    known = np.array([part.samples for part in parts])
    counts = (~np.isnan(known)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        samples = np.where(counts > 0, np.nansum(known, axis=0) / counts, np.nan)
    n_pictures = max(part.n_pictures for part in parts)
    return Estimate(float(np.mean(values)), interval_of(samples, n_pictures=n_pictures), samples, n_pictures)


def as_json(group: Group) -> dict[str, object]:
    """What `--json` prints of a group: the first engine's figures, the second's and the difference under `against`."""
    classes: dict[str, object] = {}
    ours, *others = group.engines
    for name, one in ours.classes.items():
        classes[name] = _class_json(one)
        if others:
            other, difference = others[0].classes.get(name), group.difference(name)
            classes[name]["against"] = None if other is None else _class_json(other)
            classes[name]["difference"] = None if difference is None else _estimate_json(difference)
    report: dict[str, object] = {"pictures": group.n_pictures, "classes": classes, "lacking": missing_classes(group, ours)}
    report[ALL_CLASSES] = _estimate_json(ours.mean)
    if others:
        report["lacking_against"] = missing_classes(group, others[0])
        report["difference"] = _estimate_json(group.mean_difference())
    return report


def missing_classes(group: Group, engine: EngineFigures) -> list[str]:
    """Classes that the group labels and the engine does not know: such objects are no part of any of its figures."""
    return [name for name in group.labelled if name not in engine.classes]


def unlabelled_classes(groups: Sequence[Group], run: Run) -> list[str]:
    """Classes that an engine finds and no set labels: of these nothing is measured."""
    labelled = {name for group in groups for name in group.labelled}
    return [name for name in run.thresholds if name not in labelled]


def _class_json(one: ClassFigures) -> dict[str, object]:
    figures: dict[str, object] = {"threshold": one.threshold, **{k: _rounded(v) for k, v in asdict(one.score).items()}}
    figures["interval"] = _interval_json(one.ap50)
    figures["by_size"] = {size: {"n": n, **_estimate_json(part)} for size, (n, part) in one.by_size.items()}
    if one.points:
        figures["points"] = {size: _points_json(part) for size, part in one.points.items()}
    if one.coco:
        figures["coco"] = {key: _rounded(value) for key, value in asdict(one.coco).items()}
    return figures


def _points_json(one: PointFigures) -> dict[str, object]:
    return {"n": one.n, "found": one.found, "by_eyes": _errors_json(one.by_eyes), "by_box": _errors_json(one.by_box)}


def _errors_json(one: ErrorFigures) -> dict[str, object]:
    return {
        "mean": _rounded(one.mean.value),
        "interval": _interval_json(one.mean),
        "median": _rounded(one.median),
        "good": _rounded(one.good.value),
        "good_interval": _interval_json(one.good),
    }


def _estimate_json(one: Estimate) -> dict[str, object]:
    return {"ap50": _rounded(one.value), "interval": _interval_json(one)}


def _interval_json(one: Estimate | Share) -> list[float] | None:
    return None if one.interval is None else [_rounded(one.interval.low), _rounded(one.interval.high)]


def _rounded(value: float | int | None) -> float | int | None:
    return round(value, 4) if isinstance(value, float) else value
