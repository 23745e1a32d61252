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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edged.assembly import open_segmenter
from edged.errors import InputError
from edged.models.manifest import Precision
from tools.datasets.opening import load_sets
from tools.datasets.pictures import Part, PictureSet
from tools.label_boundaries import PUBLISHED, Tolerance, parse_tolerance
from tools.report.figures import Estimate
from tools.report.judged import shorten
from tools.report.map_figures import MapClass, SetFigures, measure_maps
from tools.report.map_page import draw_extremes, write_page
from tools.report.map_run import make_judges

log = logging.getLogger(__name__)

_MEAN = "mean of classes"


def evaluate_segmenter(arguments: argparse.Namespace) -> str:
    """What is to be printed; writes the page where one is asked for.

    Raises:
        ModelError, InputError: an engine or the data cannot be used.
    """
    if arguments.data is None:
        raise InputError("DATA is missing: name a folder of pictures and masks, or a folder of such")
    tolerance = parse_tolerance(arguments.tolerance) if arguments.tolerance else PUBLISHED
    sets = load_masks(arguments.data, split=None if arguments.split == "all" else arguments.split or "val")
    with open_segmenter(arguments.engine, precision=arguments.precision, threads=arguments.threads) as segmenter:
        label = f"{segmenter.label}, {arguments.precision}"
        judges = make_judges(segmenter, sets)
        found = [measure_maps(judge.run(tolerance), resamples=arguments.resamples, seed=arguments.seed) for judge in judges]
        if arguments.html:
            extremes = [draw_extremes(*each, limit=arguments.pictures) for each in zip(judges, found, strict=True)]
            write_page(arguments.html, label, segmenter.manifest, found, extremes, tolerance=tolerance)
    return (
        json.dumps(_report(label, found, tolerance), indent=1) if arguments.json else "\n".join(_lines(label, found, tolerance))
    )


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


def _report(label: str, found: Sequence[SetFigures], tolerance: Tolerance) -> dict[str, Any]:
    """What `--json` prints."""
    sets = {}
    for one in found:
        run = one.run
        sets[run.pictures.name] = {
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
    return {"engine": label, "boundary_tolerance": str(tolerance), "sets": sets}


def _class_json(part: MapClass) -> dict[str, Any]:
    return {"pixels": part.pixels, "iou": estimate_json(part.iou), "boundary_f1": estimate_json(part.boundary_f1)}


def estimate_json(one: Estimate) -> dict[str, Any]:
    """A figure and its interval as plain data, null where there is none."""
    interval = one.interval and [round(one.interval.low, 4), round(one.interval.high, 4)]
    return {"value": None if one.value is None else round(one.value, 4), "interval": interval}


def _lines(label: str, found: Sequence[SetFigures], tolerance: Tolerance) -> Iterator[str]:
    names = [one.run.pictures.name for one in found]
    widths = _width(names), _width([_MEAN, *(name for one in found for name in one.classes)])
    yield label
    yield f"{'set':<{widths[0]}}{'class':<{widths[1]}}{'pixels':>8}{'IoU':>8}{'95 %':>14}{'border F1':>11}{'95 %':>14}"
    for name, one in zip(names, found, strict=True):
        start, run = f"{name:<{widths[0]}}", one.run
        n_pixels = sum(part.pixels for part in one.classes.values())
        for kind, part in one.classes.items():
            yield f"{start}{kind:<{widths[1]}}{_share(part.pixels, n_pixels):>8}{_cells(part.iou, part.boundary_f1)}"
        yield f"{start}{_MEAN:<{widths[1]}}{'':>8}{_cells(one.mean_iou, one.boundary_f1)}"
        accuracy = f"{_figure(one.pixel_accuracy)} ({_span(one.pixel_accuracy)})"
        ms = run.stages_ms.sum(axis=1).mean()
        yield f"{start}pixel accuracy {accuracy}; {len(run.counted)} pictures, {ms:.1f} ms a picture; borders within {tolerance}"
        all_pixels = n_pixels + run.void + sum(run.left_out.values())
        yield f"{start}void: {_share(run.void, all_pixels)} of the pixels"
        if run.left_out:
            left_out = ", ".join(f"{kind} ({_share(n, all_pixels)})" for kind, n in run.left_out.items())
            yield f"{start}labelled, but the engine has no such class, so left out: {left_out}"
        if one.unmeasured:
            yield f"{start}not labelled, so not measured, and wrong where it is said: {shorten(one.unmeasured)}"


def _width(names: Sequence[str]) -> int:
    return max(12, *(len(name) + 1 for name in names))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _cells(iou: Estimate, boundary_f1: Estimate) -> str:
    return f"{_figure(iou):>8}{_span(iou):>14}{_figure(boundary_f1):>11}{_span(boundary_f1):>14}"


def _figure(one: Estimate) -> str:
    return "-" if one.value is None else f"{one.value:.4f}"


def _span(one: Estimate) -> str:
    return "-" if one.interval is None else f"{one.interval.low:.3f}…{one.interval.high:.3f}"
