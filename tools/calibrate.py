"""Choose an engine's thresholds and measure it, on the val split: `python -m tools.calibrate engines/detector --data DATA`.

Judged is every class that the manifest names; one of which the sets label too few objects reads `not measured`. What is done for
face encoders and liveness networks stands in `calibrate_encoder.py` and `calibrate_liveness.py`. A segmenter has no thresholds
and is measured only.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edged.assembly import open_detector
from edged.errors import EdgedError, InputError
from edged.models.manifest import (
    SCORE_FLOOR,
    ClassThresholds,
    DetectorManifest,
    EncoderManifest,
    LivenessManifest,
    SegmenterManifest,
    Thresholds,
    dump_manifest,
    load_manifest,
)
from tools.calibrate_encoder import calibrate_encoder
from tools.calibrate_liveness import calibrate_liveness
from tools.datasets import PictureSet
from tools.datasets.checking import FEWEST
from tools.datasets.choosing import choose_classes
from tools.drawn import DRAWN, draw_set
from tools.engines import write_manifest
from tools.evaluate_segmenter import estimate_json, load_masks, measure_engine
from tools.label_boundaries import PUBLISHED
from tools.metrics import ClassScore, Matches, collect_matches, score_class
from tools.report.judged import judged_classes, labelled_names, load_boxes, shorten, tell_nothing_shared
from tools.report.points import PointErrors, point_errors
from tools.report.run import Found, find, score_classes

log = logging.getLogger(__name__)

NOT_MEASURED = "not measured"
DRAWN_PICTURES = 160
RESAMPLES = 1000
"""Of the intervals of a segmenter's figures."""


def main(argv: list[str] | None = None) -> int:
    """Write thresholds and `measured` into model.yaml; the network stays as it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.calibrate", description=main.__doc__)
    parser.add_argument("engine", type=Path, help="directory with model.yaml and model.onnx")
    parser.add_argument("--data", type=Path, required=True, help="a set of any layout, or a folder of sets")
    help_text = f"also N pictures of the drawn street; default: {DRAWN_PICTURES} if it was trained on it, else none"
    parser.add_argument("--drawn", type=int, metavar="N", help=help_text)
    parser.add_argument("--points", type=Path, metavar="ENGINE", help="face encoder: finds faces where a set knows no points")
    arguments = parser.parse_args(argv)
    try:
        match load_manifest(arguments.engine):
            case LivenessManifest():
                manifest = calibrate_liveness(arguments.engine, arguments.data)
            case EncoderManifest():
                manifest = calibrate_encoder(arguments.engine, arguments.data, points=arguments.points)
            case SegmenterManifest():
                manifest = measure_segmenter(arguments.engine, arguments.data)
            case _:
                manifest = calibrate(arguments.engine, arguments.data, drawn=arguments.drawn)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 78
    told = dump_manifest(manifest.model_copy(update={"trained": {}}))
    print(told[told.index("measured:" if manifest.task == "segmenter" else "thresholds:") :], end="")
    return 0


def calibrate(engine: Path, data: Path, *, drawn: int | None) -> DetectorManifest:
    """Measure the engine in a directory on every set's val split and rewrite its manifest.

    Args:
        drawn: so many pictures of the drawn street as well, if the engine has a class of it; None: as many as suit it.

    Raises:
        ModelError, InputError: the engine or the data cannot be used.
    """
    manifest = load_manifest(engine, kind=DetectorManifest)
    sets = _choose_sets(load_boxes(data, split="val"), manifest)
    if drawn is None:
        drawn = DRAWN_PICTURES if manifest.trained.get("drawn") else 0
    if drawn:
        street = choose_classes(draw_set(drawn, split="val"), manifest.classes)
        sets += [street] if street.labelled.any() else []
    with open_detector(engine) as detector:
        found = [find(detector, one) for one in sets]
    thresholds = _choose(sets, found, manifest)
    manifest = manifest.model_copy(update={"thresholds": thresholds, "measured": _measured(sets, found, thresholds, manifest)})
    return write_manifest(engine, manifest)


def measure_segmenter(engine: Path, data: Path) -> SegmenterManifest:
    """Measure the engine in a directory on every set's val split and write that into its manifest; it has no thresholds.

    Raises:
        ModelError, InputError: the engine or the data cannot be used.
    """
    measured: dict[str, Any] = {"on": f"val split, at the pictures' own size; borders within {PUBLISHED}"}
    for one in measure_engine(engine, load_masks(data, split="val"), resamples=RESAMPLES):
        measured[one.run.pictures.name] = {
            "pictures": len(one.run.counted),
            "miou": estimate_json(one.mean_iou),
            "pixel_accuracy": estimate_json(one.pixel_accuracy),
            "boundary_f1": estimate_json(one.boundary_f1),
            "iou": {name: estimate_json(part.iou)["value"] for name, part in one.classes.items()},
        }
    return write_manifest(engine, load_manifest(engine, kind=SegmenterManifest).model_copy(update={"measured": measured}))


def _choose_sets(sets: Sequence[PictureSet], manifest: DetectorManifest) -> list[PictureSet]:
    """The sets that label a class of the manifest, with its classes. Others are passed over with a warning.

    Raises:
        InputError: there is none.
    """
    classes = judged_classes([manifest])
    chosen = []
    for one in sets:
        mine = choose_classes(one, classes)
        if mine.labelled.any():
            chosen.append(mine)
        else:
            log.warning("passed over: set %s labels no class of the engine, but %s", one.name, shorten(labelled_names(one)))
    if not chosen:
        raise InputError(f"engine {manifest.name}: {tell_nothing_shared(classes, sets)}")
    return chosen


def _choose(sets: Sequence[PictureSet], found: Sequence[Found], manifest: DetectorManifest) -> Thresholds:
    """Each class's score at which recall and precision are best together; the median of these for all other classes.

    Photographs decide; the drawn street does only where they hold too few objects of a class.
    """
    photographs = [one for one, kind in zip(found, sets, strict=True) if kind.name != DRAWN]
    own = {}
    for class_id, name in enumerate(manifest.classes):
        pools = (_pool(photographs, class_id), _pool(found, class_id))
        telling = [matches for matches in pools if matches.n >= FEWEST and len(matches.scores)]
        if telling:
            own[name] = best_threshold(telling[0])
    common = float(np.median(list(own.values()))) if own else manifest.thresholds.score
    per_class = {name: ClassThresholds(score=score) for name, score in own.items()}
    return Thresholds(score=round(common, 3), nms_iou=manifest.thresholds.nms_iou, per_class=per_class)


def _pool(found: Sequence[Found], class_id: int) -> Matches:
    """All detections of a class over all sets that label it."""
    truths = [truth for one in found for truth in one.truths]
    detections = [each for one in found for each in one.detections]
    return collect_matches(truths, detections, class_id)


def best_threshold(matches: Matches) -> float:
    """The score with the highest F1 = 2 hits / (detections + objects), never below what a daemon reports."""
    order = np.argsort(-matches.scores, kind="stable")
    f1 = 2 * np.cumsum(matches.hits[order]) / (np.arange(1, len(order) + 1) + matches.n)
    best = float(matches.scores[order[int(np.argmax(f1))]])
    return max(math.floor(best * 1000) / 1000, SCORE_FLOOR)  # down: that hit still counts


def _measured(
    sets: Sequence[PictureSet], found: Sequence[Found], thresholds: Thresholds, manifest: DetectorManifest
) -> dict[str, Any]:
    """AP50, recall and precision with n for every class: over the photographs of all sets, and on the drawn street.

    Of points how far they are off in these photographs, over the eyes' distance and the box's side.
    """
    scores = {name: thresholds.per_class.get(name, ClassThresholds()).score or thresholds.score for name in manifest.classes}
    photographs = [one for one, kind in zip(found, sets, strict=True) if kind.name != DRAWN]
    measured: dict[str, Any] = {"on": "val split of the training sets, at overlap 0.5", "ap50": {}}
    truths = [truth for one in photographs for truth in one.truths]
    detections = [each for one in photographs for each in one.detections]
    for class_id, (name, threshold) in enumerate(scores.items()):
        score = score_class(truths, detections, class_id, threshold=threshold)
        measured["ap50"][name] = _figures(score) if score.n >= FEWEST else NOT_MEASURED
        if manifest.points:
            errors = point_errors(truths, detections, class_id, threshold=threshold, names=manifest.points)
            measured.setdefault("points", {})[name] = _point_figures(errors) if len(errors.by_box) >= FEWEST else NOT_MEASURED
    for one, kind in zip(found, sets, strict=True):
        if kind.name == DRAWN:
            measured["drawn_street"] = {name: _figures(score) for name, score in score_classes(one, kind.classes, scores).items()}
    return measured


def _figures(score: ClassScore) -> dict[str, float]:
    values = {"ap50": score.ap50, "recall": score.recall, "precision": score.precision}
    return {"n": score.n, **{key: round(value, 3) for key, value in values.items() if value is not None}}


def _point_figures(errors: PointErrors) -> dict[str, float]:
    means = {"by_eyes": errors.by_eyes[np.isfinite(errors.by_eyes)], "by_box": errors.by_box}
    figures = {key: round(float(values.mean()), 4) for key, values in means.items() if len(values)}
    return {"n": len(errors.object_sizes), "found": len(errors.by_box), **figures}


if __name__ == "__main__":
    raise SystemExit(main())
