"""What a tracker setting does on the drawn street: how the shipped settings were chosen, and how to check others.

    python -m tools.tune_tracking [--engine engines/detector] high_iou=0.1,0.2,0.3 lost_s=1,2,4

One setting is changed at a time, the others stay as shipped; printed are means over several streets and frame rates.
With `--engine` a detector looks at the drawn frames; without, detections are simulated from the street's truth at
several qualities (`simulated_detections.py`), also for all streets laid over one another, which makes a crowd.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from edged.assembly import open_detector
from edged.models.detector import Detector, thresholds_of
from edged.models.manifest import DetectorManifest, load_manifest
from edged.street.scene import Street, StreetTruth
from edged.tracking.kalman import MotionNoise
from edged.tracking.settings import TrackerSettings
from edged.tracking.tracker import Tracker
from edged.types import Detections
from tools.evaluate_tracking import MotSequence, TrackingQuality, evaluate
from tools.simulated_detections import DetectorFaults, SimulatedDetector

CLASS_NAMES = ["person", "bicycle", "car", "motorcycle", "bus", "truck"]
STREET_SEEDS = (101, 102, 103)
CROWD = 0  # stands for the seed of all streets in one
IDS_PER_STREET = 1_000_000
FRAME_RATES = (15.0, 5.0)
N_FRAMES = int(48 * max(FRAME_RATES))
WIDTH, HEIGHT = 640, 360
LEAST_VISIBLE = 0.15
QUALITIES = {
    "good": DetectorFaults(),
    "poor": DetectorFaults(
        mean_score=0.6, score_spread=0.25, miss_ratio=0.2, jitter_ratio=0.07, merged_ratio=0.3, phantoms_per_s=3.0
    ),
    "bad": DetectorFaults(
        mean_score=0.5,
        score_spread=0.3,
        miss_ratio=0.3,
        jitter_ratio=0.1,
        merged_ratio=0.5,
        double_ratio=0.15,
        phantoms_per_s=8.0,
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """Detections of a street and its truth as MOT rows."""

    name: str
    detections: list[Detections]
    sequence: MotSequence


def make_scenarios() -> list[Scenario]:
    """Every street, and all of them in one, at every frame rate, seen by every simulated detector."""
    truths_of = {street.seed: [street.truth(index) for index in range(N_FRAMES)] for street in _streets()}
    truths_of[CROWD] = [laid_over(frame) for frame in zip(*truths_of.values(), strict=True)]
    scenarios = []
    for seed, truths in truths_of.items():
        for fps in FRAME_RATES:
            of_rate = truths[:: round(max(FRAME_RATES) / fps)]
            sequence = MotSequence(np.array(list(_truth_rows(of_rate))), len(of_rate), fps)
            for quality, faults in QUALITIES.items():
                detector = SimulatedDetector(faults, class_names=CLASS_NAMES, width=WIDTH, height=HEIGHT, seed=seed)
                seen = [detector.detect(truth, now_s=index / fps, step_s=1 / fps) for index, truth in enumerate(of_rate)]
                scenarios.append(Scenario(f"{seed} {fps:g} fps {quality}", seen, sequence))
    return scenarios


def watch_streets(detector: Detector) -> list[Scenario]:
    """Every street at every frame rate, seen by a real detector on the drawn frames."""
    scenarios = []
    for street in _streets():
        truths = [street.truth(index) for index in range(N_FRAMES)]
        seen = [detector.detect([street.frame(index)])[0] for index in range(N_FRAMES)]
        for fps in FRAME_RATES:
            every = round(max(FRAME_RATES) / fps)
            sequence = MotSequence(np.array(list(_truth_rows(truths[::every]))), len(truths[::every]), fps)
            scenarios.append(Scenario(f"{street.seed} {fps:g} fps {detector.label}", seen[::every], sequence))
    return scenarios


def laid_over(truths: Sequence[StreetTruth]) -> StreetTruth:
    """Several streets in one picture: a crowd. Who stands lower in the picture is nearer and hides the others."""
    boxes = np.concatenate([truth.boxes for truth in truths])
    names = sum((truth.class_names for truth in truths), ())
    track_ids = np.concatenate([truth.track_ids + index * IDS_PER_STREET for index, truth in enumerate(truths)])
    street_of = np.repeat(np.arange(len(truths)), [len(truth) for truth in truths])
    sides = np.maximum(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2]), 0)
    shared = sides[..., 0] * sides[..., 1]
    covered = shared / np.maximum(np.diag(shared), 1)[:, None]  # (N, N) the share of the first that the second covers
    is_nearer = (boxes[None, :, 3] > boxes[:, None, 3]) & (street_of[None] != street_of[:, None])
    visible = np.concatenate([truth.visible for truth in truths]) * (1 - covered * is_nearer).prod(axis=1)
    order = np.argsort(boxes[:, 3], kind="stable")
    return StreetTruth(boxes[order], tuple(names[row] for row in order), track_ids[order], visible[order].astype(np.float32))


def run(scenario: Scenario, settings: TrackerSettings) -> TrackingQuality:
    """The quality of one tracker on one scenario."""
    tracker = Tracker(settings, class_names=CLASS_NAMES)
    rows = []
    for index, detections in enumerate(scenario.detections):
        tracks = tracker.update(detections, now_s=index / scenario.sequence.fps)
        for track in tracks.confirmed:
            x1, y1, x2, y2 = track.box.tolist()
            rows.append([index + 1, track.number, x1, y1, x2 - x1, y2 - y1, track.score, track.class_id])
    return evaluate(scenario.sequence, np.array(rows).reshape(-1, 8))


def settings_for(engine: Path) -> TrackerSettings:
    """The shipped settings with what this detector calls a sure score of each class."""
    manifest = load_manifest(engine, kind=DetectorManifest)
    thresholds = thresholds_of(manifest)
    by_class = {manifest.classes[class_id]: score for class_id, score in thresholds.score_by_class.items()}
    return TrackerSettings(high_score=thresholds.score, class_high_scores=by_class)


def with_setting(settings: TrackerSettings, name: str, value: float) -> TrackerSettings:
    """The settings with one number changed, which may be one of the filter's noise.

    Raises:
        ValueError: there is no such number, or the value contradicts others.
    """
    if name in {field.name for field in fields(MotionNoise)}:
        return dataclasses.replace(settings, noise=dataclasses.replace(settings.noise, **{name: value}))
    if name not in {field.name for field in fields(TrackerSettings)}:
        raise ValueError(f"{name}: no such setting of the tracker")
    return dataclasses.replace(settings, **{name: type(getattr(settings, name))(value)})


def _streets() -> Iterator[Street]:
    return (Street(seed, width=WIDTH, height=HEIGHT, fps=max(FRAME_RATES)) for seed in STREET_SEEDS)


def _truth_rows(truths: list[StreetTruth]) -> Iterator[list[float]]:
    for frame, truth in enumerate(truths, start=1):
        for box, name, track_id, visible in zip(
            truth.boxes.tolist(), truth.class_names, truth.track_ids.tolist(), truth.visible.tolist(), strict=True
        ):
            if visible >= LEAST_VISIBLE:
                x1, y1, x2, y2 = box
                yield [frame, track_id, x1, y1, x2 - x1, y2 - y1, 1, CLASS_NAMES.index(name)]


def _mean_line(name: str, scenarios: list[Scenario], settings: TrackerSettings) -> str:
    found = [dataclasses.astuple(run(scenario, settings)) for scenario in scenarios]
    means = np.mean(found, axis=0)
    return f"{name:30} " + " ".join(f"{value:6.3f}" for value in means[:7]) + f" {means[7]:6.1f} {means[8]:6.1f}"


def main(argv: list[str] | None = None) -> int:
    """Prints one line for the shipped settings and one for every other value asked for."""
    parser = argparse.ArgumentParser(prog="python -m tools.tune_tracking", description="Tracker settings on the street.")
    parser.add_argument("settings", nargs="*", metavar="NAME=V1,V2", help="values to try")
    parser.add_argument("--engine", type=Path, help="folder of a detector that looks at the drawn frames")
    arguments = parser.parse_args(argv)
    shipped = TrackerSettings()
    if arguments.engine:
        with open_detector(arguments.engine) as detector:
            scenarios = watch_streets(detector)
            shipped = settings_for(arguments.engine)
    else:
        scenarios = make_scenarios()
    print(f"{'':30}   MOTA   IDF1   HOTA   DetA   AssA recall  prec.   IDSW tracks")
    print(_mean_line("as shipped", scenarios, shipped), flush=True)
    for asked in arguments.settings:
        name, _, values = asked.partition("=")
        for value in values.split(","):
            print(_mean_line(f"{name}={value}", scenarios, with_setting(shipped, name, float(value))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
