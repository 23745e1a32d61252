"""Whether a network computes the same on two backends: one is the reference, the other is held against what it saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.models.detector import Detector, is_sure
from edged.models.face import FaceEncoder
from edged.models.liveness import Liveness
from edged.models.manifest import (
    DetectorLimits,
    EncoderLimits,
    LivenessLimits,
    Manifest,
    ParityLimits,
    Precision,
    SegmenterLimits,
)
from edged.models.network import Network
from edged.models.segmenter import Segmenter
from edged.street.scene import Street
from edged.types import Detections, Pixels
from edged.vision.boxes import iou_matrix
from edged.vision.confusion import class_ious, confusion
from edged.vision.crops import cut_square

STREETS = (0, 1, 2, 3)
"""Seeds of the drawn streets that are compared unless a site has pictures of its own."""
STREET_FRAMES = range(30, 900, 145)
MATCH_IOU = 0.5


LIMITS: Mapping[str, Mapping[Precision, ParityLimits]] = {
    "detector": {
        "fp32": DetectorLimits(ap50=0.999, mean_iou=0.99, points=0.99),
        "fp16": DetectorLimits(ap50=0.99, mean_iou=0.99, points=0.99),
        "int8": DetectorLimits(ap50=0.98, mean_iou=0.9, points=0.95),
    },
    "face_encoder": {
        "fp32": EncoderLimits(mean_cosine=0.9999),
        "fp16": EncoderLimits(mean_cosine=0.999),
        "int8": EncoderLimits(mean_cosine=0.95),
    },
    "liveness": {
        "fp32": LivenessLimits(mean_agreement=0.999),
        "fp16": LivenessLimits(mean_agreement=0.99),
        "int8": LivenessLimits(mean_agreement=0.95),
    },
    "segmenter": {
        "fp32": SegmenterLimits(miou=0.99, pixel_agreement=0.999),
        "fp16": SegmenterLimits(miou=0.95, pixel_agreement=0.99),
        "int8": SegmenterLimits(miou=0.75, pixel_agreement=0.95),
    },
}
"""By task and by what an engine computes in; the reference is always the network in float. In ONNX Runtime on the drawn street
the shipped detector's INT8 network, calibrated on 150 photographs, reaches 0.999 and 0.925, its FP16 network 1.000 and 0.999;
its colours swapped, the network in float reaches 0.986 and 0.901. A scene segmenter in the middle of its training, with classes
that cover little, reached 0.794 and 0.960 in INT8, 0.993 and 0.999 in FP16; with swapped colours 0.486 and 0.904. The segmenters
that ship lose less, and their manifests have limits of their own: see docs/measurements/2026-11-26-segmenters.md."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How the answers of one network on two backends compare.

    Attributes:
        figures: by the name that they have among the limits; 1 is the same. A network without points has none of these.
        compared: what they are of, for people, e.g. `6 of 6 objects on 3 pictures`.
        pictures: so many were shown.
    """

    figures: Mapping[str, float]
    compared: str
    pictures: int

    def reaches(self, limits: ParityLimits) -> bool:
        """Whether every figure is at its limit or above."""
        return all(figure >= least for _, figure, least in self._beside(limits))

    def describe(self, limits: ParityLimits) -> str:
        """The figures beside their limits, for people."""
        figures = [f"{name} {figure:.4f} (at least {least})" for name, figure, least in self._beside(limits)]
        return ", ".join([*figures, self.compared])

    def _beside(self, limits: ParityLimits) -> list[tuple[str, float, float]]:
        """Name, figure and limit of each figure that has one."""
        return [(name, self.figures[name], least) for name, least in limits if name in self.figures and least is not None]


def limits_of(manifest: Manifest, precision: Precision) -> ParityLimits:
    """What an engine in a precision must reach: its manifest's limits, or ours."""
    return manifest.parity.get(precision, LIMITS[manifest.task][precision])


def draw_pictures() -> Iterator[Pixels]:
    """The same 24 pictures of four drawn streets, (360, 640, 3) uint8 RGB each, every time."""
    for seed in STREETS:
        street = Street(seed)
        for index in STREET_FRAMES:
            yield street.frame(index)


def batches_of(most: int) -> tuple[int, ...]:
    """The sizes of batch that an engine for so many pictures is judged by: as many, one less, which leaves a rest, and one."""
    return most, max(1, most - 1), 1


def check_parity(
    reference: Network[Manifest], candidate: Network[Manifest], pictures: Sequence[Pixels], *, batches: Sequence[int]
) -> Parity:
    """Show the same pictures to both networks, which are for the same task.

    Of a detector is compared what it finds, of a segmenter its maps, of the others what they answer to the middle square of each
    picture. Each figure is that of the size of batch in which it is worst: an engine computes each in its own way, and one that
    is wrong must not hide behind the others.

    Args:
        pictures: (H, W, 3) uint8 RGB each, of any sizes.
        batches: the candidate is shown all of them so many at once, and what is left over together; then again in the next size.
            The reference is shown one at a time.

    Raises:
        InputError: there is no picture, or a detector in the place of the reference detects nothing on any of them.
        InferenceError: one of them failed.
    """
    if not pictures:
        raise InputError("no pictures: there is nothing to compare on")
    compare = _make_comparison(reference, candidate, pictures)
    found = [compare(batch) for batch in dict.fromkeys(batches)]
    worst = min(found, key=lambda parity: sum(parity.figures.values()))
    return replace(worst, figures={name: min(parity.figures[name] for parity in found) for name in worst.figures})


Comparison = Callable[[int], Parity]
"""How the candidate compares when it is shown so many pictures at once."""


def _make_comparison(reference: Network[Manifest], candidate: Network[Manifest], pictures: Sequence[Pixels]) -> Comparison:
    """What the reference answers is asked for here, and once."""
    match reference:
        case FaceEncoder():
            answers = reference.encode, candidate.encode
            return _compare_answers(*answers, pictures, reference, measure=_measure_cosine, what="embeddings")
        case Liveness():
            answers = reference.score_squares, candidate.score_squares
            return _compare_answers(*answers, pictures, reference, measure=_measure_agreement, what="scores")
        case Segmenter():
            return _compare_maps(reference, candidate, pictures)
    return _compare_detections(reference, candidate, pictures)


def _in_batches(pictures: Sequence[Pixels], batch: int) -> Iterator[Sequence[Pixels]]:
    """So many at once, and what is left over together."""
    return (pictures[start : start + batch] for start in range(0, len(pictures), batch))


Answer = Callable[[Sequence[Pixels]], NDArray[np.float32]]
"""Squares of the input's size to an answer each, (N, ...)."""


def _compare_answers(
    reference: Answer,
    candidate: Answer,
    pictures: Sequence[Pixels],
    network: Network[Manifest],
    *,
    measure: Callable[[NDArray[np.float64], NDArray[np.float64]], Mapping[str, float]],
    what: str,
) -> Comparison:
    """Of what both say of the middle square of each picture.

    Args:
        network: the one of the reference.
        measure: figures of the reference's answers and the candidate's.
        what: they answer with.
    """
    squares = [_middle_square(picture, side_px=network.manifest.input.width) for picture in pictures]
    exact = np.concatenate([reference([square]) for square in squares]).astype(np.float64)

    def compare(batch: int) -> Parity:
        close = np.concatenate([candidate(shown) for shown in _in_batches(squares, batch)]).astype(np.float64)
        return Parity(measure(exact, close), f"{what} of {len(pictures)} pictures", len(pictures))

    return compare


def _measure_cosine(exact: NDArray[np.float64], close: NDArray[np.float64]) -> Mapping[str, float]:
    return {"mean_cosine": float((exact * close).sum(axis=1).mean())}


def _measure_agreement(exact: NDArray[np.float64], close: NDArray[np.float64]) -> Mapping[str, float]:
    return {"mean_agreement": 1 - float(np.abs(exact - close).mean())}


def _middle_square(pixels_rgb: Pixels, *, side_px: int) -> Pixels:
    height, width = pixels_rgb.shape[:2]
    margin = min(width, height) / max(width, height)
    return cut_square(pixels_rgb, np.array([0, 0, width, height]), margin=margin, side_px=side_px)


def _compare_maps(reference: Segmenter, candidate: Segmenter, pictures: Sequence[Pixels]) -> Comparison:
    """What the reference says of a pixel is the truth; a class that neither sees counts neither way."""
    exact = [reference.segment(picture).labels for picture in pictures]
    n_classes = len(reference.manifest.classes)

    def compare(batch: int) -> Parity:
        maps = [found for shown in _in_batches(pictures, batch) for found in candidate.segment_all(shown)]
        counted = sum(confusion(found.labels, truth, n_classes) for found, truth in zip(maps, exact, strict=True))
        figures = {
            "miou": float(np.nanmean(class_ious(counted))),
            "pixel_agreement": float(np.trace(counted) / counted.sum()),
        }
        n_seen = int(np.count_nonzero(counted.sum(axis=0) + counted.sum(axis=1)))
        return Parity(figures, f"{n_seen} of {n_classes} classes on {len(pictures)} pictures", len(pictures))

    return compare


def _compare_detections(reference: Detector, candidate: Detector, pictures: Sequence[Pixels]) -> Comparison:
    """What the reference believes, by its manifest's thresholds, is the truth; if it believes nothing, the best of each picture.

    So a detector of faces can be compared on pictures without any. A detection of the candidate that only other ones of the
    reference confirm counts neither way: else every weak detection of the same network would be a false one.
    """
    exact = [reference.detect([picture])[0] for picture in pictures]
    truths = [is_sure(seen, reference.thresholds) for seen in exact]
    is_believed = any(truth.any() for truth in truths)
    if not is_believed:
        truths = [np.arange(len(seen)) == 0 for seen in exact]
    if not any(truth.any() for truth in truths):
        raise InputError(f"{len(pictures)} pictures: they show nothing to compare: take some on which something is detected")
    what = "objects" if is_believed else "objects, none of them believed,"

    def compare(batch: int) -> Parity:
        close = [found for shown in _in_batches(pictures, batch) for found in candidate.detect(shown)]
        matches = [_match(seen, truth, found) for seen, truth, found in zip(exact, truths, close, strict=True)]
        objects = sum(match.objects for match in matches)
        scores = np.concatenate([found.scores[match.counts] for found, match in zip(close, matches, strict=True)])
        hits = np.concatenate([match.hits[match.counts] for match in matches])
        ious = np.concatenate([match.ious for match in matches])
        figures = {
            "ap50": _average_precision(scores, hits, objects),
            "mean_iou": float(ious.mean()) if len(ious) else 0.0,
        }
        if reference.manifest.points:
            points = np.concatenate([match.points for match in matches])
            figures["points"] = float(points.mean()) if len(points) else 0.0
        return Parity(figures, f"{len(ious)} of {objects} {what} on {len(pictures)} pictures", len(pictures))

    return compare


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    """One picture's detections of the candidate, held against the reference's.

    Attributes:
        hits: (N,) bool: each is the best one on an object.
        counts: (N,) bool: it counts; the others are on something of the reference that is no truth.
        ious: (H,) of the hits with their objects.
        points: (H,) 1 less how far their points are from the object's, in longer sides of its box; empty without points.
        objects: so many can be hit.
    """

    hits: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    ious: NDArray[np.float32]
    points: NDArray[np.float32]
    objects: int


def _match(seen: Detections, truth: NDArray[np.bool_], found: Detections) -> _Match:
    """Give each detection, best score first, the free one of the reference that it overlaps most, true ones first."""
    overlaps = iou_matrix(found.boxes, seen.boxes)
    overlaps[found.class_ids[:, None] != seen.class_ids[None, :]] = 0
    hits, counts = np.zeros(len(found), np.bool_), np.ones(len(found), np.bool_)
    ious, points = [], []
    for row in range(len(found)):  # detections come in descending score
        for candidates in (truth, ~truth):
            of_row = np.where(candidates, overlaps[row], 0)
            if not len(of_row) or of_row.max() < MATCH_IOU:
                continue
            best = int(of_row.argmax())
            if candidates is truth:
                hits[row] = True
                ious.append(of_row[best])
                if seen.points is not None:
                    points.append(_point_agreement(seen, best, found.points[row]))
            else:
                counts[row] = False
            overlaps[:, best] = 0  # taken
            break
    return _Match(hits, counts, np.array(ious, np.float32), np.array(points, np.float32), int(truth.sum()))


def _point_agreement(seen: Detections, place: int, points: NDArray[np.float32]) -> float:
    """1 less the mean distance of points (K, 2) from those of a detection, in longer sides of its box; never below 0."""
    box = seen.boxes[place]
    distance = np.hypot(*(points - seen.points[place]).T).mean()
    return max(0.0, 1 - float(distance / (box[2:] - box[:2]).max()))


def _average_precision(scores: NDArray[np.float32], hits: NDArray[np.bool_], n: int) -> float:
    """The area under the precision envelope over recall, at every point.

    Source: PASCAL VOC 2010 development kit.
    """
    found = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = found / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0.0], found / n])
    return float((np.diff(recall) * envelope).sum())
