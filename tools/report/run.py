"""One engine's answers to every set: found once, judged in many ways afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.assembly import open_detector
from edged.errors import InputError
from edged.models.detector import Detector, DetectorThresholds
from edged.models.manifest import DetectorManifest, Precision
from edged.types import Detections
from tools.datasets import PictureSet
from tools.datasets.choosing import choose_points
from tools.metrics import ClassScore, Truth, score_class
from tools.report.judged import labelled_names, match_classes, shorten, tell_nothing_shared

FLOOR = 0.01
"""Average precision counts detections from here on, far below what a daemon reports."""
STAGES = ("letterbox", "network", "decoding and suppression")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a detector found in a set of pictures, from `FLOOR` on, and how long it took.

    Attributes:
        sizes: (N, 2) int64 width and height of the pictures, pixels.
        stages_ms: (N, 3) what each of `STAGES` took for each picture.
    """

    truths: tuple[Truth, ...]
    detections: tuple[Detections, ...]
    sizes: NDArray[np.int64]
    stages_ms: NDArray[np.float64]

    @property
    def ms_per_picture(self) -> float:
        """The mean over the pictures, all stages together."""
        return float(self.stages_ms.sum(axis=1).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One engine over all sets.

    Attributes:
        label: network, revision and what computes it.
        thresholds: shipped score of every class that the engine finds, by the name that the sets have for it.
        found: one entry a set; None where the engine finds none of the classes that the set labels.
    """

    label: str
    manifest: DetectorManifest
    thresholds: dict[str, float]
    found: tuple[Found | None, ...]


def run_engine(engine: Path, sets: Sequence[PictureSet], *, threads: int, precision: Precision = "fp32") -> Run:
    """Open an engine, run it over every set that labels one of its classes, and close it.

    Args:
        sets: all with the same classes; see `in_terms_of`.

    Raises:
        ModelError: the engine cannot be used.
        InputError: it finds none of the classes that any set labels, or a picture cannot be decoded.
    """
    with open_detector(engine, precision=precision, threads=threads) as detector:
        if not any(_shared(detector, one) for one in sets):
            raise InputError(f"{engine}: {tell_nothing_shared(detector.class_names, sets)}")
        found = tuple(find(detector, one) if _shared(detector, one) else None for one in sets)
        return Run(f"{detector.label}, {precision}", detector.manifest, shipped_thresholds(detector, sets[0].classes), found)


def _shared(detector: Detector, pictures: PictureSet) -> bool:
    return bool((match_classes(detector.class_names, labelled_names(pictures)) >= 0).any())


def find(detector: Detector, pictures: PictureSet) -> Found:
    """Run a detector over a set. Classes are told by name; what it finds of classes that the set has none of counts nowhere.

    Returns:
        Truth and detections with the set's class ids, -1 for a class that is not among them, and with the detector's points.

    Raises:
        InputError: the detector knows none of the set's labelled classes.
    """
    if not _shared(detector, pictures):
        labelled, names = shorten(sorted(labelled_names(pictures))), shorten(sorted(detector.class_names))
        raise InputError(f"{pictures.name}: labels {labelled}, and the engine finds none of these; it finds {names}")
    low = DetectorThresholds(
        score=0.5,
        nms_iou=detector.thresholds.nms_iou,
        nms_iou_by_class=detector.thresholds.nms_iou_by_class,
        floor=FLOOR,
    )
    class_ids = match_classes(detector.class_names, pictures.classes)
    pictures = choose_points(pictures, detector.manifest.points)
    truths, detections, sizes, stages_ms = [], [], [], []
    for picture in pictures.pictures:
        pixels = picture.pixels_rgb()
        began_s = time.perf_counter()
        prepared = detector.prepare([pixels])
        prepared_s = time.perf_counter()
        outputs = detector.infer(prepared)
        inferred_s = time.perf_counter()
        (found,) = detector.decode(outputs, prepared.transforms, thresholds=[low])
        moments_s = (began_s, prepared_s, inferred_s, time.perf_counter())
        truths.append(Truth(picture.boxes, picture.class_ids, picture.ignored, pictures.labelled, picture.points))
        detections.append(Detections(found.boxes, found.scores, class_ids[found.class_ids], found.points))
        sizes.append(pixels.shape[1::-1])
        stages_ms.append(1000 * np.diff(moments_s))
    return Found(tuple(truths), tuple(detections), np.array(sizes), np.array(stages_ms))


def score_classes(found: Found, classes: Sequence[str], thresholds: dict[str, float]) -> dict[str, ClassScore]:
    """Every class that the set labels and the engine finds.

    Args:
        classes: the set's, by class id.
    """
    labelled = found.truths[0].labelled
    return {
        name: score_class(found.truths, found.detections, number, threshold=thresholds[name])
        for number, name in enumerate(classes)
        if labelled[number] and name in thresholds
    }


def shipped_thresholds(detector: Detector, classes: Sequence[str]) -> dict[str, float]:
    """The score from which the engine's manifest believes each of these classes that it finds."""
    own = detector.thresholds.score_by_class
    places = match_classes(detector.class_names, classes)
    return {classes[place]: own.get(number, detector.thresholds.score) for number, place in enumerate(places) if place >= 0}
