"""How good an engine is on labelled pictures: `python -m tools.evaluate engines/detector DATA [--split val] [--json]`.

It needs the ONNX file and its manifest only, and calls the daemon's own letterbox, decoding and suppression.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edged.assembly import open_detector
from edged.errors import EdgedError, InputError
from edged.models.detector import Detector, DetectorThresholds
from edged.types import Detections
from tools.datasets import CLASSES, PictureSet, load_coco
from tools.drawn import draw_set
from tools.metrics import ClassScore, Truth, score_class
from tools.mot import is_mot, load_mot

FLOOR = 0.01
"""Average precision counts detections from here on, far below what a daemon reports."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a detector found in a set of pictures, from `FLOOR` on, and how long it took."""

    truths: tuple[Truth, ...]
    detections: tuple[Detections, ...]
    ms_per_picture: float


def main(argv: list[str] | None = None) -> int:
    """Print average precision at overlap 0.5, and recall and precision at the shipped thresholds, for every class and set."""
    parser = argparse.ArgumentParser(prog="python -m tools.evaluate", description=main.__doc__)
    parser.add_argument("engine", type=Path, help="directory with model.yaml and model.onnx")
    parser.add_argument("data", type=Path, nargs="?", help="a COCO folder, a MOT folder, or a folder of such")
    parser.add_argument("--split", choices=("train", "val", "all"), help="of COCO folders; default: val")
    parser.add_argument(
        "--drawn", type=int, default=0, metavar="N", help="also N pictures of the drawn street, of no training seed"
    )
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    try:
        sets = _find_sets(arguments)
        with open_detector(arguments.engine, threads=arguments.threads) as detector:
            report = {one.name: _report_set(detector, one) for one in sets}
            label = detector.label
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 78
    print(json.dumps({"engine": label, "sets": report}, indent=1) if arguments.json else _table(label, report))
    return 0


def _find_sets(arguments: argparse.Namespace) -> list[PictureSet]:
    sets = load_sets(arguments.data, split=arguments.split or "val") if arguments.data else []
    if arguments.drawn:
        sets.append(draw_set(arguments.drawn, split="test"))
    if not sets:
        raise InputError("nothing to evaluate on: name a folder of data, or ask for drawn pictures with --drawn N")
    return sets


def load_sets(data: Path, *, split: str) -> list[PictureSet]:
    """The sets in a folder: itself, or the folders in it.

    Raises:
        InputError: there is none, or one of them is wrong.
    """
    wanted = None if split == "all" else split
    folders = [data] if _is_set(data) else sorted(folder for folder in data.glob("*") if _is_set(folder))
    if not folders:
        raise InputError(f"{data}: expected annotations.json (COCO), or gt/gt.txt and img1 (MOT), there or in the folders in it")
    return [load_mot(folder) if is_mot(folder) else load_coco(folder, split=wanted) for folder in folders]


def _is_set(folder: Path) -> bool:
    return is_mot(folder) or (folder / "annotations.json").exists()


def find(detector: Detector, pictures: PictureSet) -> Found:
    """Run a detector over a set. Its classes are told by name; what it finds of classes that are not ours counts nowhere.

    Raises:
        InputError: the detector knows none of the set's labelled classes.
    """
    labelled = {name for name, known in zip(CLASSES, pictures.labelled, strict=True) if known}
    if not labelled & set(detector.class_names):
        names = sorted(detector.class_names)
        raise InputError(f"{pictures.name}: labels {sorted(labelled)}, and the engine finds none of these; it finds {names}")
    low = DetectorThresholds(
        score=0.5,
        nms_iou=detector.thresholds.nms_iou,
        nms_iou_by_class=detector.thresholds.nms_iou_by_class,
        floor=FLOOR,
    )
    ours = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in detector.class_names])
    truths, detections, spent_s = [], [], 0.0
    for picture in pictures.pictures:
        pixels = picture.pixels_rgb()
        started_s = time.perf_counter()
        (found,) = detector.detect([pixels], thresholds=[low])
        spent_s += time.perf_counter() - started_s
        truths.append(Truth(picture.boxes, picture.class_ids, picture.ignored, pictures.labelled))
        detections.append(Detections(found.boxes, found.scores, ours[found.class_ids]))
    return Found(tuple(truths), tuple(detections), 1000 * spent_s / len(truths))


def score_classes(found: Found, thresholds: dict[str, float]) -> dict[str, ClassScore]:
    """Every class that the set labels and the engine finds."""
    labelled = found.truths[0].labelled
    return {
        name: score_class(found.truths, found.detections, number, threshold=thresholds[name])
        for number, name in enumerate(CLASSES)
        if labelled[number] and name in thresholds
    }


def lacking(pictures: PictureSet, class_names: Sequence[str]) -> list[str]:
    """The classes that a set labels and an engine does not know: such objects are no part of any figure."""
    return [name for name, known in zip(CLASSES, pictures.labelled, strict=True) if known and name not in class_names]


def shipped_thresholds(detector: Detector) -> dict[str, float]:
    """The score from which the engine's manifest believes each class."""
    own = detector.thresholds.score_by_class
    return {name: own.get(number, detector.thresholds.score) for number, name in enumerate(detector.class_names)}


def _report_set(detector: Detector, pictures: PictureSet) -> dict[str, object]:
    found = find(detector, pictures)
    thresholds = shipped_thresholds(detector)
    classes = {
        name: {"threshold": thresholds[name], **{key: _rounded(value) for key, value in asdict(score).items()}}
        for name, score in score_classes(found, thresholds).items()
    }
    return {
        "pictures": len(found.truths),
        "ms_per_picture": round(found.ms_per_picture, 2),
        "classes": classes,
        "lacking": lacking(pictures, detector.class_names),
    }


def _rounded(value: float | int | None) -> float | int | None:
    return round(value, 4) if isinstance(value, float) else value


def _table(label: str, report: dict[str, dict]) -> str:
    lines = [label, f"{'set':<12}{'class':<12}{'n':>6}{'AP50':>8}{'recall':>8}{'prec.':>8}{'at score':>10}"]
    for name, one in report.items():
        for kind, score in one["classes"].items():
            figures = _cells([score["ap50"], score["recall"], score["precision"]])
            lines.append(f"{name:<12}{kind:<12}{score['n']:>6}{figures}{score['threshold']:>10.2f}")
        lines += [f"{name:<12}{kind:<12}labelled, but the engine has no class of this name" for kind in one["lacking"]]
        lines.append(f"{name:<12}{one['pictures']} pictures, {one['ms_per_picture']:.1f} ms a picture")
    return "\n".join(lines)


def _cells(values: Sequence[float | None]) -> str:
    return "".join(f"{'-' if value is None else format(value, '.3f'):>8}" for value in values)


if __name__ == "__main__":
    raise SystemExit(main())
