"""How good an engine is on labelled pictures, and what it gets wrong.

    python -m tools.evaluate engines/detector DATA [--split val] [--json]
    python -m tools.evaluate engines/detector DATA --against engines/other --html report.html

It needs the ONNX file and its manifest only, and calls the daemon's own letterbox, decoding and suppression. Judged is every
class that the manifest names and a set labels. Engines of other tasks are judged by `evaluate_encoder.py`,
`evaluate_liveness.py` and `evaluate_segmenter.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.models.manifest import PRECISIONS, DetectorManifest, load_manifest
from tools.datasets import PictureSet
from tools.drawn import draw_set
from tools.evaluate_encoder import evaluate_encoder
from tools.evaluate_liveness import evaluate_liveness
from tools.evaluate_segmenter import evaluate_segmenter
from tools.report.figures import Estimate, Group, Settings, as_json, compare_runs, missing_classes, unlabelled_classes
from tools.report.judged import in_terms_of, judged_classes, load_boxes, shorten
from tools.report.page import write_page
from tools.report.points import GOOD, ErrorFigures, Share
from tools.report.run import Run, run_engine

OPTIONS_OF = {
    "drawn": ("detector",),
    "coco": ("detector",),
    "against": ("detector", "liveness", "segmenter"),
    "against_precision": ("detector", "liveness", "segmenter"),
    "html": ("detector", "face_encoder", "segmenter"),
    "points": ("face_encoder",),
    "imagenet": ("face_encoder",),
    "live": ("liveness",),
    "tolerance": ("segmenter",),
}
"""Options that engines of some tasks alone are judged with."""


def main(argv: list[str] | None = None) -> int:
    """Print how good an engine is at its task, for every set.

    A detector: average precision at overlap 0.5, recall and precision at the shipped thresholds, by class. A face encoder: how
    well pairs of one person are told from pairs of two. A liveness network: both errors, by kind of attack. A segmenter: IoU and
    boundary F1 of each class, pixel accuracy.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.evaluate", description=main.__doc__)
    parser.add_argument("engine", type=Path, help="directory with model.yaml and model.onnx")
    parser.add_argument("data", type=Path, nargs="?", help="a set of any layout that tools.dataset reads, or a folder of sets")
    parser.add_argument("--split", choices=("train", "val", "all"), help="of sets that have them; default: val")
    parser.add_argument(
        "--drawn", type=int, default=0, metavar="N", help="also N pictures of the drawn street, of no training seed"
    )
    parser.add_argument("--against", type=Path, metavar="ENGINE", help="a second engine: its figures beside, and the difference")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="which of the engine's networks (default: fp32)")
    parser.add_argument("--against-precision", choices=PRECISIONS, default="fp32", help="the same of the second engine")
    parser.add_argument("--coco", action="store_true", help="also COCO's average precisions, by pycocotools")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with curves and the worst mistakes; with --coco")
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="of each kind and class on the page (default: 6)")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap; 0: no intervals (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--points", type=Path, metavar="ENGINE", help="face encoder: finds faces where a set knows no points")
    parser.add_argument("--imagenet", type=Path, metavar="NPZ", help="face encoder: MobileNetV2's own weights to compare with")
    parser.add_argument("--live", action="store_true", help="liveness: every face of these sets is live")
    parser.add_argument(
        "--tolerance", metavar="T", help="segmenter: how far borders may be off, 3px or a share of the diagonal (default: 0.75%%)"
    )
    arguments = parser.parse_args(argv)
    try:
        text = _evaluate(arguments, parser)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(text)
    return 0


def _evaluate(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """What is to be printed."""
    if arguments.resamples < 0 or arguments.pictures < 0:
        raise InputError("--resamples and --pictures must be 0 or more")
    task = load_manifest(arguments.engine, precision=arguments.precision).task
    _refuse_options(arguments, parser, task)
    match task:
        case "face_encoder":
            return evaluate_encoder(arguments)
        case "liveness":
            return evaluate_liveness(arguments)
        case "segmenter":
            return evaluate_segmenter(arguments)
        case _:
            return _evaluate_detector(arguments)


def _refuse_options(arguments: argparse.Namespace, parser: argparse.ArgumentParser, task: str) -> None:
    """Raises: InputError: an option means nothing for engines of this task."""
    for option, tasks in OPTIONS_OF.items():
        if getattr(arguments, option) != parser.get_default(option) and task not in tasks:
            name = option.replace("_", "-")
            raise InputError(f"--{name}: is for engines of the task {' or '.join(tasks)}, {arguments.engine} is one for {task}")


def _evaluate_detector(arguments: argparse.Namespace) -> str:
    engines = [(arguments.engine, arguments.precision)]
    engines += [(arguments.against, arguments.against_precision)] if arguments.against else []
    manifests = [load_manifest(engine, precision=precision, kind=DetectorManifest) for engine, precision in engines]
    sets = in_terms_of(judged_classes(manifests), _find_sets(arguments))
    settings = Settings(arguments.resamples, arguments.seed, coco=arguments.coco or arguments.html is not None)
    runs = [run_engine(engine, sets, threads=arguments.threads, precision=precision) for engine, precision in engines]
    _refuse_strangers(runs)
    groups = compare_runs(sets, runs, settings)
    if arguments.html:
        write_page(arguments.html, sets, runs, groups, n_pictures=arguments.pictures)
    return json.dumps(_report(sets, runs, groups), indent=1) if arguments.json else _table(runs, groups)


def _find_sets(arguments: argparse.Namespace) -> list[PictureSet]:
    split = None if arguments.split == "all" else arguments.split or "val"
    sets = load_boxes(arguments.data, split=split) if arguments.data else []
    if arguments.drawn:
        sets.append(draw_set(arguments.drawn, split="test"))
    if not sets:
        raise InputError("nothing to evaluate on: name a folder of data, or ask for drawn pictures with --drawn N")
    return sets


def _refuse_strangers(runs: Sequence[Run]) -> None:
    """Stop where two engines have no class in common.

    Raises:
        InputError: naming what each finds.
    """
    if len(runs) > 1 and not set(runs[0].thresholds) & set(runs[1].thresholds):
        finds = " and ".join(f"{run.manifest.name} finds {shorten(run.manifest.classes)}" for run in runs)
        raise InputError(f"{finds}: no class in common, nothing to compare; evaluate each without --against")


def _report(sets: Sequence[PictureSet], runs: Sequence[Run], groups: Sequence[Group]) -> dict[str, object]:
    """What `--json` prints: one entry a set, the pooled photographs on their own, and what was not measured if there is such."""
    report: dict[str, object] = {"engine": runs[0].label, "sets": {}}
    if len(runs) > 1:
        report["against"] = runs[1].label
    for group in groups:
        if len(group.set_numbers) > 1:
            report[group.name] = as_json(group)
        else:
            ms = _ms_per_picture(runs[0], group.set_numbers)
            report["sets"][sets[group.set_numbers[0]].name] = {**as_json(group), "ms_per_picture": ms and round(ms, 2)}
    for key, run in zip(("not_measured", "not_measured_against"), runs, strict=False):
        if unmeasured := unlabelled_classes(groups, run):
            report[key] = unmeasured
    return report


def _ms_per_picture(run: Run, set_numbers: Sequence[int]) -> float | None:
    found = [run.found[number] for number in set_numbers if run.found[number] is not None]
    return float(np.concatenate([each.stages_ms for each in found]).sum(axis=1).mean()) if found else None


def _table(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    coco = any(one.coco for group in groups for one in group.engines[0].classes.values())
    widths = _width([group.name for group in groups]), _width([name for group in groups for name in group.engines[0].classes])
    head = f"{'set':<{widths[0]}}{'class':<{widths[1]}}{'n':>6}{'AP50':>8}{'95 %':>14}{'recall':>8}{'prec.':>8}{'at score':>10}"
    head += f"{'AP':>8}{'AP75':>8}" if coco else ""
    head += f"{'other':>8}{'difference':>12}{'95 %':>16}" if len(runs) > 1 else ""
    lines = [runs[0].label, *(f"against {run.label}" for run in runs[1:]), head]
    for group in sorted(groups, key=lambda group: len(group.set_numbers) > 1):  # the pooled ones last
        start = f"{group.name:<{widths[0]}}"
        for name in group.engines[0].classes:
            lines.append(f"{start}{name:<{widths[1]}}{_row(group, name, coco=coco)}")
            lines += [f"{start}{name:<{widths[1]}}{row}" for row in _point_rows(group, name)]
        for who, names in _lacking(group):
            if names:
                of_what = "this name" if len(names) == 1 else "these names"
                lines.append(f"{start}{shorten(names) + ' ':<{widths[1]}}labelled, but {who} class of {of_what}")
        ms = _ms_per_picture(runs[0], group.set_numbers)
        lines.append(f"{start}{group.n_pictures} pictures" + ("" if ms is None else f", {ms:.1f} ms a picture"))
    for run in runs:
        if unmeasured := unlabelled_classes(groups, run):
            lines.append(f"{run.manifest.name}: labelled in no set, so not measured: {shorten(unmeasured)}")
    return "\n".join(lines)


def _width(names: Sequence[str]) -> int:
    return max(12, *(len(name) + 1 for name in names)) if names else 12


def _lacking(group: Group) -> Iterator[tuple[str, list[str]]]:
    """Who lacks what is labelled, of the classes that the first engine lacks."""
    missing = missing_classes(group, group.engines[0])
    if len(group.engines) == 1:
        yield "the engine has no", missing
    else:
        other = group.engines[1].classes
        yield "only the other engine has a", [name for name in missing if name in other]
        yield "neither engine has a", [name for name in missing if name not in other]


def _row(group: Group, name: str, *, coco: bool) -> str:
    ours, *others = group.engines
    one = ours.classes[name]
    row = f"{one.score.n:>6}{_cell(one.ap50.value)}{_interval(one.ap50):>14}"
    row += f"{_cell(one.score.recall)}{_cell(one.score.precision)}{one.threshold:>10.2f}"
    if coco:
        row += _cell(one.coco and one.coco.ap) + _cell(one.coco and one.coco.ap75)
    difference = group.difference(name)
    if others and difference is None:
        row += "  the other has no class of this name"
    elif difference is not None:
        other = others[0].classes[name].ap50.value
        value = "-" if difference.value is None else f"{difference.value:+.3f}"
        row += f"{_cell(other)}{value:>12}{_interval(difference, signed=True):>16}"
    return row


def _point_rows(group: Group, name: str) -> Iterator[str]:
    """How far the points of a class are off, for each engine that has some; by size where there is more than one."""
    for number, engine in enumerate(group.engines):
        found = engine.classes[name].points if name in engine.classes else {}
        for size, part in found.items():
            if size == "all" or len(found) > 2:
                by_eyes, by_box = (_errors(each) for each in (part.by_eyes, part.by_box))
                start = f"{'other ' if number else ''}points, {size}: {part.found} of {part.n} found"
                yield f"  {start}; off by {by_eyes} of the distance of the eyes, {by_box} of the box"


def _errors(one: ErrorFigures) -> str:
    if one.mean.value is None:
        return "-"
    mean, good = f"{one.mean.value:.4f} ({_interval(one.mean)})", f"{one.good.value:.3f} ({_interval(one.good)})"
    return f"{mean}, median {one.median:.4f}, {good} below {GOOD:g}"


def _cell(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.3f'):>8}"


def _interval(one: Estimate | Share, *, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    return "-" if one.interval is None else f"{one.interval.low:{form}}…{one.interval.high:{form}}"


if __name__ == "__main__":
    raise SystemExit(main())
