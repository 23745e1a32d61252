"""How well an encoder tells whether two pictures show one person: `python -m tools.evaluate` comes here for engines of that task.

    python -m tools.evaluate engines/face-encoder DATA/lfw_dev --points engines/face-detector --html report.html

Every set gives all pairs of its pictures; one with a list of pairs beside its labels (`dev_pairs.csv`) is also judged on these,
by every metric and beside what nobody taught with faces.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.assembly import open_encoder
from edged.errors import InputError
from edged.identity.metrics import Metric, PairClassifier, compare
from edged.models.face import FaceEncoder
from edged.models.manifest import EncoderManifest
from edged.types import Pixels
from tools.datasets.opening import load_set
from tools.datasets.pictures import PictureSet
from tools.face_baselines import IMAGENET_TEMPLATE, LBP_TEMPLATE, imagenet_embeddings, lbp_histograms, lbp_scores
from tools.face_crops import FindPoints, Points, align_faces, crop_faces
from tools.face_finding import open_finder
from tools.report.bootstrap import Interval
from tools.report.verification_page import write_page
from tools.verification import PAIRS_FILE, Acceptance, FaceSet, Pairs, Verdict, all_cosines, all_pairs, judge, read_pairs

LBP = "LBP histograms"
IMAGENET = "ImageNet MobileNetV2"
_BATCH = 16
_ROWS = 1 << 14
"""Pairs that are compared at once: all pairs of a set would fill the memory."""


def evaluate_encoder(arguments: argparse.Namespace) -> str:
    """What is to be printed; writes the page where one is asked for.

    Raises:
        ModelError, InputError: an engine or the data cannot be used.
    """
    if arguments.data is None:
        raise InputError("DATA is missing: name a folder of pictures labelled by identity, or a folder of such")
    split = None if arguments.split == "all" else arguments.split or "val"
    with (
        open_encoder(arguments.engine, precision=arguments.precision, threads=arguments.threads) as encoder,
        open_finder(arguments.points, threads=arguments.threads) as find,
    ):
        found = [_look_at(load_set(one, split=split), one, encoder, find, arguments) for one in find_sets(arguments.data)]
        label = f"{encoder.label}, {arguments.precision}"
    if arguments.html:
        write_page(arguments.html, label, encoder.manifest, found, n_pictures=arguments.pictures)
    return json.dumps(_report(label, found), indent=1) if arguments.json else _table(label, found)


def find_sets(data: Path) -> list[Path]:
    """The folder itself if it has labels, else the folders in it that have.

    Raises:
        InputError: there is none.
    """
    folders = [data] if (data / "labels.csv").is_file() else sorted(one.parent for one in data.glob("*/labels.csv"))
    if not folders:
        raise InputError(f"{data}: no labels.csv there or in a folder in it; expected columns file, identity, split")
    return folders


def encode(encoder: FaceEncoder, crops: Sequence[Pixels]) -> tuple[NDArray[np.float32], float]:
    """(N, D) embeddings of aligned faces, and milliseconds a face."""
    started_s = time.perf_counter()
    parts = [encoder.encode(crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
    ms = 1000 * (time.perf_counter() - started_s) / max(len(crops), 1)
    return np.concatenate([np.zeros((0, encoder.manifest.dimension), np.float32), *parts]), ms


def score_pairs(
    embeddings: NDArray[np.float32], pairs: Pairs, metric: Metric, *, classifier: PairClassifier | None = None
) -> NDArray[np.float64]:
    """(P,) how alike the pairs are by a metric."""
    parts = [pairs.take(np.arange(start, min(start + _ROWS, len(pairs)))) for start in range(0, len(pairs), _ROWS)]
    scores = [compare(embeddings[part.first], embeddings[part.second], metric, classifier=classifier) for part in parts]
    return np.concatenate([np.zeros(0), *scores])


def _look_at(
    pictures: PictureSet, folder: Path, encoder: FaceEncoder, find: FindPoints | None, arguments: argparse.Namespace
) -> FaceSet:
    faces = crop_faces(pictures, encoder.template, find=find)
    crops, draws = faces.crops, {"resamples": arguments.resamples, "seed": arguments.seed}
    embeddings, ms_per_face = encode(encoder, crops.pixels)
    everybody, verdict = all_pairs(crops.labels), None
    if everybody.same.any() and not everybody.same.all():
        verdict = judge(everybody, all_cosines(embeddings, everybody), **draws)
    pairs, cosines, verdicts = None, None, {}
    if (folder / PAIRS_FILE).is_file():
        pairs = read_pairs(folder / PAIRS_FILE, crops.names, crops.labels)
        cosines = score_pairs(embeddings, pairs, Metric.COSINE)
        scores = dict(_metric_scores(embeddings, pairs, encoder.manifest))
        scores |= dict(_baseline_scores(pictures, faces.points, pairs, arguments.imagenet))
        verdicts = {name: judge(pairs, one, has_folds=True, **draws) for name, one in scores.items()}
    return FaceSet(pictures.name, crops, int(faces.central.sum()), ms_per_face, verdict, pairs, cosines, verdicts)


def _metric_scores(
    embeddings: NDArray[np.float32], pairs: Pairs, manifest: EncoderManifest
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for metric in (Metric.COSINE, Metric.EUCLIDEAN, Metric.CHI_SQUARE):
        yield metric.value, score_pairs(embeddings, pairs, metric)
    for unit in manifest.pair_classifiers:
        classifier = PairClassifier(unit.form, unit.weights, unit.bias)
        yield f"{Metric.LOGISTIC.value}, {unit.form}", score_pairs(embeddings, pairs, Metric.LOGISTIC, classifier=classifier)


def _baseline_scores(
    pictures: PictureSet, points: Points, pairs: Pairs, imagenet: Path | None
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    histograms = lbp_histograms(align_faces(pictures, points, LBP_TEMPLATE))
    yield LBP, lbp_scores(histograms[pairs.first], histograms[pairs.second])
    if imagenet:
        plain = imagenet_embeddings(align_faces(pictures, points, IMAGENET_TEMPLATE), imagenet)
        yield IMAGENET, score_pairs(plain, pairs, Metric.COSINE)


def _report(label: str, found: Sequence[FaceSet]) -> dict[str, Any]:
    """What `--json` prints."""
    sets: dict[str, Any] = {}
    for one in found:
        sets[one.name] = {
            "pictures": len(one.crops),
            "people": len(one.crops.classes),
            "without_a_found_face": one.central,
            "ms_per_face": round(one.ms_per_face, 2),
            "all_pairs": one.everybody and verdict_figures(one.everybody),
        }
        if one.pairs is not None:
            methods = {name: verdict_figures(verdict) for name, verdict in one.verdicts.items()}
            sets[one.name]["listed_pairs"] = {**_counts(one.pairs), "methods": methods}
    return {"engine": label, "sets": sets}


def _counts(pairs: Pairs) -> dict[str, int]:
    return {"same": int(pairs.same.sum()), "different": int((~pairs.same).sum())}


def verdict_figures(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain data."""
    figures: dict[str, Any] = {}
    if verdict.folds is not None:
        figures["accuracy"] = round(verdict.folds.accuracy, 4)
        figures["accuracy_standard_error"] = round(verdict.folds.standard_error, 4)
        figures["accuracy_interval"] = _rounded(verdict.accuracy_interval)
    figures |= {
        "same": verdict.n_same,
        "different": verdict.n_different,
        "equal_error": round(verdict.roc.equal_error, 4),
        "area": round(verdict.roc.area, 4),
    }
    figures["accepted"] = {
        f"{one.share:g}": {
            "share": round(one.accepted, 4),
            "interval": _rounded(one.interval),
            "threshold": round(one.threshold, 4),
            "false_share_bounds": _rounded(one.false_share, digits=6),
        }
        if one.is_shown
        else f"not shown by {verdict.n_different} pairs of two people"
        for one in verdict.acceptances
    }
    return figures


def _rounded(interval: Interval | None, *, digits: int = 4) -> list[float] | None:
    return interval and [round(interval.low, digits), round(interval.high, digits)]


def _table(label: str, found: Sequence[FaceSet]) -> str:
    lines = [label]
    for one in found:
        lines.append(
            f"{one.name}: {len(one.crops)} pictures of {len(one.crops.classes)} people, {one.central} without a found face, "
            f"{one.ms_per_face:.1f} ms a face"
        )
        if one.everybody:
            lines += ["  " + line for line in _verdict_table({"all pairs, cosine": one.everybody})]
        if one.pairs is not None:
            lines += ["  " + line for line in _verdict_table(one.verdicts)]
    return "\n".join(lines)


def _verdict_table(verdicts: Mapping[str, Verdict]) -> list[str]:
    """A line of heads and one for each way of comparing the same pairs."""
    first = next(iter(verdicts.values()))
    width = max(24, *(len(name) + 2 for name in verdicts))
    shares = [one for one in first.acceptances if one.is_shown]
    head = f"{first.n_same} pairs of one person, {first.n_different} of two"
    unshown = [f"{one.share:g}" for one in first.acceptances if not one.is_shown]
    if unshown:
        head += f"; too few to show what is accepted at {', '.join(unshown)}"
    columns = f"{'':<{width}}{'accuracy':>9}{'95 %':>14}{'equal err.':>11}{'area':>8}"
    columns += "".join(f"{f'at {one.share:g}':>11}{'95 %':>14}" for one in shares)
    return [head, columns, *(_verdict_row(name, verdict, width) for name, verdict in verdicts.items())]


def _verdict_row(name: str, verdict: Verdict, width: int) -> str:
    accuracy = f"{verdict.folds.accuracy:.4f}" if verdict.folds else "-"
    row = f"{name:<{width}}{accuracy:>9}{_span(verdict.accuracy_interval):>14}"
    row += f"{verdict.roc.equal_error:>11.4f}{verdict.roc.area:>8.4f}"
    return row + "".join(_accepted_cells(one) for one in verdict.acceptances if one.is_shown)


def _accepted_cells(one: Acceptance) -> str:
    return f"{one.accepted:>11.4f}{_span(one.interval):>14}"


def _span(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.3f}…{interval.high:.3f}"
