"""How good a segmenter's maps are; `python -m tools.evaluate` comes here for engines of that task.

    python -m tools.evaluate engines/scene-segmenter DATA/camvid11 [--json] [--html report.html] [--tolerance 3px]

A set has pictures and masks (the layout `masks` of `tools.dataset`). Every picture goes through the daemon's own segmenter; its
map is brought to the picture's size and compared with the mask pixel by pixel. Classes are told by name. What the mask calls
void, or by a class that the segmenter does not know, counts neither way; which classes those are is told.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.assembly import open_segmenter
from edged.errors import InputError
from edged.models.manifest import Precision
from edged.models.segmenter import Segmenter
from tools.datasets.opening import load_sets
from tools.datasets.pictures import Part, PictureSet
from tools.label_boundaries import PUBLISHED, Tolerance, parse_tolerance
from tools.report.figures import ALL_CLASSES, Estimate
from tools.report.judged import shorten
from tools.report.map_figures import MapClass, SetFigures, measure_maps
from tools.report.map_page import draw_extremes, write_page
from tools.report.map_run import make_judges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MapsOfEngine:
    """One engine over all sets.

    Attributes:
        label: network, revision and what computes it.
        found: by set, of those that label one of its classes.
    """

    label: str
    found: Mapping[str, SetFigures]


def evaluate_segmenter(arguments: argparse.Namespace) -> str:
    """What is to be printed; writes the page where one is asked for.

    Raises:
        ModelError, InputError: an engine or the data cannot be used.
    """
    if arguments.data is None:
        raise InputError("DATA is missing: name a folder of pictures and masks, or a folder of such")
    tolerance = parse_tolerance(arguments.tolerance) if arguments.tolerance else PUBLISHED
    sets = load_masks(arguments.data, split=None if arguments.split == "all" else arguments.split or "val")
    draws = {"resamples": arguments.resamples, "seed": arguments.seed}  # the same pictures for both engines
    with open_segmenter(arguments.engine, precision=arguments.precision, threads=arguments.threads) as segmenter:
        judges = make_judges(segmenter, sets)
        found = [measure_maps(judge.run(tolerance), **draws) for judge in judges]
        engines = [_name(segmenter, arguments.precision, found)]
        if arguments.html:
            extremes = [draw_extremes(*each, limit=arguments.pictures) for each in zip(judges, found, strict=True)]
            write_page(arguments.html, engines[0].label, segmenter.manifest, found, extremes, tolerance=tolerance)
    if arguments.against:
        with open_segmenter(arguments.against, precision=arguments.against_precision, threads=arguments.threads) as segmenter:
            found = [measure_maps(judge.run(tolerance), **draws) for judge in make_judges(segmenter, sets)]
            engines.append(_name(segmenter, arguments.against_precision, found))
    return json.dumps(_report(engines, tolerance), indent=1) if arguments.json else "\n".join(_lines(engines, tolerance))


def _name(segmenter: Segmenter, precision: Precision, found: Sequence[SetFigures]) -> MapsOfEngine:
    return MapsOfEngine(f"{segmenter.label}, {precision}", {one.run.pictures.name: one for one in found})


def load_masks(data: Path, *, split: str | None) -> list[PictureSet]:
    """The sets of a folder that have masks, with all classes of their files. Others are passed over with a warning.

    Args:
        data, split: as in `load_sets`.

    Raises:
        InputError: a set is wrong, or none has masks.
    """
    sets = load_sets(data, split=split)
    for one in sets:
        if one.part is not Part.MASK:
            log.warning("passed over: set %s has no masks, it has a %s for each picture", one.name, one.part.value)
    with_masks = [one for one in sets if one.part is Part.MASK]
    if not with_masks:
        where = f" in split {split!r}" if split else ""
        raise InputError(f"{data}: no set there has masks{where}: expected split.csv with image, mask and split, and classes.txt")
    return with_masks


def measure_engine(
    engine: Path, sets: Sequence[PictureSet], *, precision: Precision = "fp32", resamples: int = 0
) -> list[SetFigures]:
    """Open an engine, run it over every set that labels one of its classes, and close it; borders by the published tolerance.

    Raises:
        ModelError: the engine cannot be used.
        InputError: no set labels one of its classes, or a picture cannot be decoded.
    """
    with open_segmenter(engine, precision=precision) as segmenter:
        runs = [judge.run(PUBLISHED) for judge in make_judges(segmenter, sets)]
    return [measure_maps(run, resamples=resamples, seed=0) for run in runs]


def _report(engines: Sequence[MapsOfEngine], tolerance: Tolerance) -> dict[str, Any]:
    """What `--json` prints; the second engine's figures under `against`, null where it knows no class of the set."""
    ours, *others = engines
    report: dict[str, Any] = {"engine": ours.label, "boundary_tolerance": str(tolerance)}
    if others:
        report["against"] = others[0].label
    report["sets"] = {}
    for name, one in ours.found.items():
        report["sets"][name] = _set_json(one)
        if others:
            other = others[0].found.get(name)
            report["sets"][name] |= {"against": other and _set_json(other), "difference": other and _difference_json(one, other)}
    return report


def _set_json(one: SetFigures) -> dict[str, Any]:
    run = one.run
    return {
        "pictures": len(run.counted),
        "miou": estimate_json(one.mean_iou),
        "pixel_accuracy": estimate_json(one.pixel_accuracy),
        "boundary_f1": estimate_json(one.boundary_f1),
        "classes": {name: _class_json(part) for name, part in one.classes.items()},
        "confusion": {"classes": list(run.classes), "pixels": run.counted.sum(axis=0).tolist()},
        "void_pixels": run.void,
        "lacking": dict(run.left_out),
        "not_measured": list(one.unmeasured),
        "ms_per_picture": round(float(run.stages_ms.sum(axis=1).mean()), 2),
    }


def _class_json(part: MapClass) -> dict[str, Any]:
    return {"pixels": part.pixels, "iou": estimate_json(part.iou), "boundary_f1": estimate_json(part.boundary_f1)}


def _difference_json(ours: SetFigures, other: SetFigures) -> dict[str, Any]:
    """Ours less the other's: of the classes that both know, and of what is over all classes where these are the same."""
    shared = [name for name in ours.classes if name in other.classes]
    difference: dict[str, Any] = {"miou": None, "pixel_accuracy": None, "boundary_f1": None}
    if _is_of_one_kind(ours, other):
        difference["miou"] = estimate_json(ours.mean_iou.minus(other.mean_iou))
        difference["pixel_accuracy"] = estimate_json(ours.pixel_accuracy.minus(other.pixel_accuracy))
        difference["boundary_f1"] = estimate_json(ours.boundary_f1.minus(other.boundary_f1))
    difference["iou"] = {name: estimate_json(ours.classes[name].iou.minus(other.classes[name].iou)) for name in shared}
    return difference


def _is_of_one_kind(ours: SetFigures, other: SetFigures) -> bool:
    """Whether means over the classes are of the same ones, so that they can be compared."""
    return ours.classes.keys() == other.classes.keys()


def estimate_json(one: Estimate) -> dict[str, Any]:
    """A figure and its interval as plain data, null where there is none."""
    interval = one.interval and [round(one.interval.low, 4), round(one.interval.high, 4)]
    return {"value": None if one.value is None else round(one.value, 4), "interval": interval}


def _lines(engines: Sequence[MapsOfEngine], tolerance: Tolerance) -> Iterator[str]:
    ours, *others = engines
    names = list(ours.found)
    widths = _width(names), _width([ALL_CLASSES, *(name for one in ours.found.values() for name in one.classes)])
    yield ours.label
    yield from (f"against {other.label}" for other in others)
    head = f"{'set':<{widths[0]}}{'class':<{widths[1]}}{'pixels':>8}{'IoU':>8}{'95 %':>14}{'border F1':>11}{'95 %':>14}"
    yield head + (f"{'other IoU':>11}{'difference':>12}{'95 %':>16}" if others else "")
    for name, one in ours.found.items():
        other = others[0].found.get(name) if others else None
        start = f"{name:<{widths[0]}}"
        n_pixels = sum(part.pixels for part in one.classes.values())
        for kind, part in one.classes.items():
            theirs = other.classes.get(kind) if other else None
            row = _share(part.pixels, n_pixels), part.iou, part.boundary_f1, theirs and theirs.iou
            yield f"{start}{kind:<{widths[1]}}{_cells(*row)}"
        their_mean = other.mean_iou if other and _is_of_one_kind(one, other) else None
        yield f"{start}{ALL_CLASSES:<{widths[1]}}{_cells('', one.mean_iou, one.boundary_f1, their_mean)}"
        yield from (start + line for line in _notes(one, tolerance))


def _notes(one: SetFigures, tolerance: Tolerance) -> Iterator[str]:
    """What is no figure of a class."""
    run = one.run
    accuracy = f"{_figure(one.pixel_accuracy)} ({_span(one.pixel_accuracy)})"
    ms = run.stages_ms.sum(axis=1).mean()
    yield f"pixel accuracy {accuracy}; {len(run.counted)} pictures, {ms:.1f} ms a picture; borders within {tolerance}"
    n_pixels = int(run.counted.sum()) + run.void + sum(run.left_out.values())
    yield f"void: {_share(run.void, n_pixels)} of the pixels"
    if run.left_out:
        left_out = ", ".join(f"{kind} ({_share(n, n_pixels)})" for kind, n in run.left_out.items())
        yield f"labelled, but the engine has no such class, so left out: {left_out}"
    if one.unmeasured:
        yield f"not labelled, so not measured, and wrong where it is said: {shorten(one.unmeasured)}"


def _width(names: Sequence[str]) -> int:
    return max(12, *(len(name) + 1 for name in names))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _cells(share: str, iou: Estimate, boundary_f1: Estimate, other: Estimate | None) -> str:
    cells = f"{share:>8}{_figure(iou):>8}{_span(iou):>14}{_figure(boundary_f1):>11}{_span(boundary_f1):>14}"
    if other is None:
        return cells
    difference = iou.minus(other)
    value = "-" if difference.value is None else f"{difference.value:+.4f}"
    return f"{cells}{_figure(other):>11}{value:>12}{_span(difference, signed=True):>16}"


def _figure(one: Estimate) -> str:
    return "-" if one.value is None else f"{one.value:.4f}"


def _span(one: Estimate, *, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    return "-" if one.interval is None else f"{one.interval.low:{form}}…{one.interval.high:{form}}"
