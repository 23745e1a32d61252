"""An encoder's thresholds, pair classifiers and figures; `python -m tools.calibrate` comes here for engines of that task.

What is chosen is chosen on all pairs of the val split but the listed ones (`dev_pairs.csv`), which are only measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.assembly import open_encoder
from edged.errors import InputError
from edged.identity.metrics import Metric, PairClassifier, PairForm
from edged.models.face import FaceEncoder
from edged.models.manifest import EncoderManifest, MatchThresholds, PairUnit, PairVerification, load_manifest
from tools.crops import Crops, join_crops
from tools.datasets.opening import load_set
from tools.engines import write_manifest
from tools.evaluate_encoder import encode, find_sets, score_pairs, verdict_figures
from tools.face_crops import FindPoints, crop_faces
from tools.face_finding import open_finder
from tools.pair_classifier import teach
from tools.verification import PAIRS_FILE, Pairs, all_pairs, judge, make_pairs, read_pairs, without

FALSE_MATCH_RATE = 1e-3
"""Of pairs of two people, at the thresholds that the network ships with."""
_DIGITS = 5
"""Of weights in the manifest: more would change no score by a thousandth."""


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """The faces of all sets of one split.

    Attributes:
        embeddings: (N, D) of unit length.
        listed: the pairs that are listed beside the labels.
    """

    crops: Crops
    embeddings: NDArray[np.float32]
    listed: Pairs


def calibrate_encoder(engine: Path, data: Path, *, points: Path | None) -> EncoderManifest:
    """Measure the encoder in a directory and rewrite its manifest.

    Args:
        data: a set of pictures labelled by identity, or a folder of such, with splits train and val.
        points: engine of the face detector, for sets that know no points.

    Raises:
        ModelError, InputError: the engine or the data cannot be used.
    """
    manifest = load_manifest(engine, kind=EncoderManifest)
    with open_encoder(engine) as encoder, open_finder(points, threads=1) as find:
        train, val = (_look_at(encoder, find_sets(data), split, find) for split in ("train", "val"))
    chosen = without(all_pairs(val.crops.labels), val.listed)
    if not chosen.same.any() or chosen.same.all():
        raise InputError(f"{data}: the val split has not both pairs of one person and pairs of two beside the listed ones")
    classifiers = [teach(train.embeddings, train.crops.labels, form) for form in PairForm]
    ways = [(metric, None) for metric in Metric if metric is not Metric.LOGISTIC]
    ways += [(Metric.LOGISTIC, classifier) for classifier in classifiers]
    found = [_choose_threshold(val, chosen, *way) for way in ways]
    best = max(found, key=lambda one: one[1])[0]
    manifest = manifest.model_copy(
        update={
            "thresholds": MatchThresholds(
                match=found[0][0].match, false_match_rate=FALSE_MATCH_RATE, margin=manifest.thresholds.margin
            ),
            "pair_classifiers": tuple(_unit(one) for one in classifiers),
            "verification": best,
            "measured": _measured(val, chosen),
        }
    )
    return write_manifest(engine, manifest)


def _look_at(encoder: FaceEncoder, folders: Sequence[Path], split: str, find: FindPoints | None) -> _Split:
    """All sets as one; whoever has the same name in two is one person."""
    parts = [crop_faces(load_set(folder, split=split), encoder.template, find=find).crops for folder in folders]
    crops = join_crops(parts)
    first, second, start = [], [], 0
    for folder, part in zip(folders, parts, strict=True):
        if split == "val" and (folder / PAIRS_FILE).is_file():
            listed = read_pairs(folder / PAIRS_FILE, part.names, part.labels)
            first.append(listed.first + start)
            second.append(listed.second + start)
        start += len(part)
    nobody = np.zeros(0, np.int64)
    listed = make_pairs(np.concatenate([nobody, *first]), np.concatenate([nobody, *second]), crops.labels)
    return _Split(crops, encode(encoder, crops.pixels)[0], listed)


def _choose_threshold(
    val: _Split, pairs: Pairs, metric: Metric, classifier: PairClassifier | None
) -> tuple[PairVerification, float]:
    """The lowest threshold that accepts few enough pairs of two people, and the share of one person's that it accepts."""
    scores = score_pairs(val.embeddings, pairs, metric, classifier=classifier)
    same = pairs.same
    theirs = np.sort(scores[~same])[::-1]
    too_many = theirs[int(FALSE_MATCH_RATE * len(theirs))]
    match = float(np.floor(too_many * 1e6) + 1) / 1e6  # the first number of six digits above it
    how = PairVerification(
        metric=metric.value,
        form=classifier and classifier.form.value,
        match=match,
        false_match_rate=FALSE_MATCH_RATE,
    )
    return how, float((scores[same] >= match).mean())


def _unit(classifier: PairClassifier) -> PairUnit:
    weights = tuple(round(weight, _DIGITS) for weight in classifier.weights)
    return PairUnit(form=classifier.form.value, weights=weights, bias=round(classifier.bias, _DIGITS))


def _measured(val: _Split, chosen: Pairs) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "on": "val split of the sets; thresholds were chosen on its pairs but the listed ones",
        "all_pairs": verdict_figures(judge(chosen, score_pairs(val.embeddings, chosen, Metric.COSINE))),
    }
    if len(val.listed):
        scores = score_pairs(val.embeddings, val.listed, Metric.COSINE)
        figures["listed_pairs"] = verdict_figures(judge(val.listed, scores, has_folds=True))
    return figures
