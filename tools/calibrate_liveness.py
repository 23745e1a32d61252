"""The threshold of a liveness network and its figures; `python -m tools.calibrate` comes here for engines of that task.

The threshold is chosen on the part of the train split that was kept back from learning, the figures are of the val split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.assembly import open_liveness
from edged.errors import InputError
from edged.models.manifest import LivenessManifest, LivenessThresholds, load_manifest
from tools.engines import write_manifest
from tools.evaluate_liveness import score_presentations
from tools.liveness_data import Presentation, kinds_of, load_split, split_training
from tools.liveness_figures import as_json, choose_threshold, measure_liveness


def calibrate_liveness(engine: Path, data: Path) -> LivenessManifest:
    """Choose the threshold of the engine in a directory, measure it, and rewrite its manifest.

    Args:
        data: the folder around the sets that it was trained on.

    Raises:
        ModelError, InputError: the engine or the data cannot be used, or nothing was kept back to choose by.
    """
    manifest = load_manifest(engine, kind=LivenessManifest)
    kept, unseen = _load(data, manifest)
    with open_liveness(engine) as network:
        on_kept, on_unseen = (score_presentations(network, presentations) for presentations in (kept, unseen))
    kinds = manifest.trained["kinds"]
    roc = measure_liveness(on_kept, kinds_of(kept, kinds), threshold=0.5).roc
    if roc is None:
        raise InputError(f"{data}: what was kept back of the train split shows no attack, or no live face: no threshold follows")
    threshold = choose_threshold(roc)
    measured = {
        "on": "val split, of people that were not learnt from; the threshold is from what was kept back of the train split",
        "kept_back": _figures(on_kept, kept, kinds, threshold),
        "val": _figures(on_unseen, unseen, kinds, threshold) if unseen else "not measured",
    }
    thresholds = LivenessThresholds(live=threshold)
    return write_manifest(engine, manifest.model_copy(update={"thresholds": thresholds, "measured": measured}))


def _load(data: Path, manifest: LivenessManifest) -> tuple[list[Presentation], list[Presentation]]:
    """What was kept back of the train split, and the val split."""
    trained = manifest.trained
    if not {"sets", "recordings", "kinds", "kept_back", "left_out"} <= trained.keys():
        raise InputError(
            f"engine {manifest.name}: its manifest does not say how it was trained; expected one made by tools.export"
        )
    found, unseen = (
        load_split(data, trained["sets"], split=split, recordings=trained["recordings"]) for split in ("train", "val")
    )
    _, kept, _ = split_training(found, left_out=trained["left_out"], kept_back=trained["kept_back"])
    return kept, unseen


def _figures(
    scores: NDArray[np.float64], presentations: Sequence[Presentation], kinds: Mapping[str, str], threshold: float
) -> dict[str, object]:
    figures = as_json(measure_liveness(scores, kinds_of(presentations, kinds), threshold=threshold))
    del figures["threshold"]
    return figures
