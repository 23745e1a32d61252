"""How well a network tells live faces from attacks; `python -m tools.evaluate` comes here for engines of that task.

    python -m tools.evaluate engines/liveness DATA/liveness [--json]
    python -m tools.evaluate engines/liveness DATA/photographs --live [--against engines/other]

Sets tell live from attack by their labels (`live`, `replay`, `print` …). Where nobody pretends, as in photographs of people,
`--live` takes every face for live, and BPCER is all that can be measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.assembly import open_liveness
from edged.errors import InputError
from edged.models.liveness import Liveness
from edged.models.manifest import LivenessManifest, Precision
from tools.datasets.opening import EXPECTED, find_signs
from tools.liveness_data import Presentation, kinds_of, load_presentations
from tools.liveness_figures import LivenessFigures, as_json, as_lines, measure_liveness


@dataclass(frozen=True, slots=True, eq=False)
class LivenessRun:
    """One engine over all sets.

    Attributes:
        label: network, revision and what computes it.
        figures: by set.
        ms_per_face: by set.
    """

    label: str
    figures: Mapping[str, LivenessFigures]
    ms_per_face: Mapping[str, float]


def evaluate_liveness(arguments: argparse.Namespace) -> str:
    """What is to be printed.

    Raises:
        ModelError, InputError: an engine or the data cannot be used.
    """
    if arguments.data is None:
        raise InputError("DATA is missing: name a folder of faces labelled live or with the attack, or a folder of such")
    split = None if arguments.split == "all" else arguments.split or "val"
    sets = {folder.resolve().name: _load(folder, split, arguments) for folder in find_sets(arguments.data)}
    engines = [(arguments.engine, arguments.precision)]
    engines += [(arguments.against, arguments.against_precision)] if arguments.against else []
    runs = [run_liveness(engine, sets, precision=precision, threads=arguments.threads) for engine, precision in engines]
    if arguments.json:
        return json.dumps(_report(runs), indent=1)
    return "\n".join(line for run in runs for line in _lines(run))


def find_sets(data: Path) -> list[Path]:
    """The folder itself, or the sets in it.

    Raises:
        InputError: there is none.
    """
    inner = sorted(folder for folder in data.glob("*") if folder.is_dir())
    found = [folder for folder in ([data] if find_signs(data) else inner) if find_signs(folder)]
    if not found:
        raise InputError(f"{data}: no labelled faces found, there or in the folders in it; {EXPECTED}")
    return found


def _load(folder: Path, split: str | None, arguments: argparse.Namespace) -> list[Presentation]:
    return load_presentations(folder, split=split, all_live=arguments.live)


def run_liveness(
    engine: Path, sets: Mapping[str, Sequence[Presentation]], *, precision: Precision = "fp32", threads: int = 1
) -> LivenessRun:
    """Open an engine, run it over the sets, and close it.

    Raises:
        ModelError: the engine cannot be used.
        InputError: a picture cannot be decoded.
    """
    figures, took_ms = {}, {}
    with open_liveness(engine, precision=precision, threads=threads) as network:
        for name, presentations in sets.items():
            began_s = time.perf_counter()
            scores = score_presentations(network, presentations)
            took_ms[name] = 1000 * (time.perf_counter() - began_s) / len(presentations)
            kinds = kinds_of(presentations, known_kinds(network.manifest, name))
            figures[name] = measure_liveness(scores, kinds, threshold=network.manifest.thresholds.live)
        return LivenessRun(f"{network.label}, {precision}", figures, took_ms)


def score_presentations(network: Liveness, presentations: Sequence[Presentation]) -> NDArray[np.float64]:
    """(N,) how likely each is live, by the daemon's own crop.

    Raises:
        InputError: a picture cannot be decoded.
    """
    scores = []
    for one in presentations:
        pixels_rgb, box = one.face()
        scores.append(float(network.score(pixels_rgb, box[None])[0]))
    return np.array(scores, np.float64)


def known_kinds(manifest: LivenessManifest, set_name: str) -> dict[str, str]:
    """What the labels of a set stand for, as the training told it of the sets that it learnt from."""
    trained = manifest.trained
    return dict(trained.get("kinds", {})) if set_name in trained.get("sets", ()) else {}


def _report(runs: Sequence[LivenessRun]) -> dict[str, object]:
    """One entry a set, with the second engine's under `against`."""
    first, *others = runs
    report: dict[str, object] = {"engine": first.label, "sets": {}}
    if others:
        report["against"] = others[0].label
    for name in first.figures:
        report["sets"][name] = _set_json(first, name)
        if others:
            report["sets"][name]["against"] = _set_json(others[0], name)
    return report


def _set_json(run: LivenessRun, name: str) -> dict[str, object]:
    return {**as_json(run.figures[name]), "ms_per_face": round(run.ms_per_face[name], 2)}


def _lines(run: LivenessRun) -> list[str]:
    lines = [run.label]
    for name, figures in run.figures.items():
        lines += [f"{name}: {line}" for line in as_lines(figures)]
        lines.append(f"{name}: {run.ms_per_face[name]:.1f} ms a face with its decoding")
    return lines
