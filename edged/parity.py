"""Whether a network computes the same on two backends: one is the reference, the other is held against what it saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.models.detector import Detector, DetectorThresholds
from edged.models.manifest import DetectorManifest, DetectorParity, Precision
from edged.street.scene import Street
from edged.types import Detections, Pixels
from edged.vision.boxes import iou_matrix

STREETS = (0, 1, 2, 3)
"""Seeds of the drawn streets that are compared unless a site has pictures of its own."""
STREET_FRAMES = range(30, 900, 145)
MATCH_IOU = 0.5


LIMITS: Mapping[Precision, DetectorParity] = {
    "fp32": DetectorParity(ap50=0.999, mean_iou=0.99),
    "fp16": DetectorParity(ap50=0.99, mean_iou=0.99),
    "int8": DetectorParity(ap50=0.98, mean_iou=0.9),
}
"""By what an engine computes in; the reference is always the network in float. In ONNX Runtime on these pictures the shipped
detector's INT8 network, calibrated on 150 photographs, reaches 0.999 and 0.925, its FP16 network 1.000 and 0.999; its colours
swapped, the network in float reaches 0.986 and 0.901."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How the detections of one network on two backends compare.

    Attributes:
        ap50: average precision, over all classes together, when what the reference sees is the truth; 1 is the same.
        mean_iou: of the boxes of both on the same objects; 0 where there are none.
        pictures: so many were shown.
        objects, found: what the reference saw, and how much of it the other did.
    """

    ap50: float
    mean_iou: float
    pictures: int
    objects: int
    found: int

    def reaches(self, limits: DetectorParity) -> bool:
        """Whether both figures are at their limits or above."""
        return self.ap50 >= limits.ap50 and self.mean_iou >= limits.mean_iou


def limits_of(manifest: DetectorManifest, precision: Precision) -> DetectorParity:
    """What an engine in a precision must reach: its manifest's limits, or ours."""
    return manifest.parity.get(precision, LIMITS[precision])


def draw_pictures() -> Iterator[Pixels]:
    """The same 24 pictures of four drawn streets, (360, 640, 3) uint8 RGB each, every time."""
    for seed in STREETS:
        street = Street(seed)
        for index in STREET_FRAMES:
            yield street.frame(index)


def check_parity(reference: Detector, candidate: Detector, pictures: Sequence[Pixels], *, batch: int) -> Parity:
    """Show the same pictures to both.

    What the reference believes, by its manifest's thresholds, is the truth. A detection of the candidate that only its
    weaker ones confirm counts neither way: else every weak detection of the same network would be a false one.

    Args:
        pictures: (H, W, 3) uint8 RGB each, of any sizes.
        batch: the candidate is shown so many at once, and what is left over together.

    Raises:
        InputError: the reference sees nothing on any of them.
        InferenceError: one of them failed.
    """
    scores, hits, ious = [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)], [np.zeros(0, np.float32)]
    objects = 0
    for start in range(0, len(pictures), batch):
        shown = pictures[start : start + batch]
        for picture, found in zip(shown, candidate.detect(shown), strict=True):
            seen = reference.detect([picture])[0]
            match = _match(seen, is_sure(seen, reference.thresholds), found)
            scores.append(found.scores[match.counts])
            hits.append(match.hits[match.counts])
            ious.append(match.ious)
            objects += match.objects
    if objects == 0:
        raise InputError(f"{len(pictures)} pictures: they show nothing to compare: take some on which something is detected")
    all_ious = np.concatenate(ious)
    return Parity(
        ap50=_average_precision(np.concatenate(scores), np.concatenate(hits), objects),
        mean_iou=float(all_ious.mean()) if len(all_ious) else 0.0,
        pictures=len(pictures),
        objects=objects,
        found=len(all_ious),
    )


def is_sure(detections: Detections, thresholds: DetectorThresholds) -> NDArray[np.bool_]:
    """(N,) whether each detection is believed."""
    needed = [thresholds.score_by_class.get(int(class_id), thresholds.score) for class_id in detections.class_ids]
    return detections.scores >= np.array(needed, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    """One picture's detections of the candidate, held against the reference's.

    Attributes:
        hits: (N,) bool: each is the best one on an object.
        counts: (N,) bool: it counts; the others are on something that the reference does not quite believe.
        ious: (H,) of the hits with their objects.
        objects: so many can be hit.
    """

    hits: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    ious: NDArray[np.float32]
    objects: int


def _match(seen: Detections, sure: NDArray[np.bool_], found: Detections) -> _Match:
    """Give each detection, best score first, the free one of the reference that it overlaps most, sure ones first."""
    overlaps = iou_matrix(found.boxes, seen.boxes)
    overlaps[found.class_ids[:, None] != seen.class_ids[None, :]] = 0
    hits, counts = np.zeros(len(found), np.bool_), np.ones(len(found), np.bool_)
    ious = []
    for row in range(len(found)):  # detections come in descending score
        for candidates in (sure, ~sure):
            of_row = np.where(candidates, overlaps[row], 0)
            if not len(of_row) or of_row.max() < MATCH_IOU:
                continue
            best = int(of_row.argmax())
            if candidates is sure:
                hits[row] = True
                ious.append(of_row[best])
            else:
                counts[row] = False
            overlaps[:, best] = 0  # taken
            break
    return _Match(hits, counts, np.array(ious, np.float32), int(sure.sum()))


def _average_precision(scores: NDArray[np.float32], hits: NDArray[np.bool_], n: int) -> float:
    """The area under the precision envelope over recall, at every point.

    Source: PASCAL VOC 2010 development kit.
    """
    found = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = found / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0.0], found / n])
    return float((np.diff(recall) * envelope).sum())
