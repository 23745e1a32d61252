"""What the tensors of a detector mean: pictures in, detections out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Backend, Tensors, TensorSpec
from edged.errors import InferenceError
from edged.models.manifest import SCORE_FLOOR, DetectorManifest
from edged.models.network import Network
from edged.types import Detections, Pixels
from edged.vision.boxes import Anchor, anchor_points, to_norm
from edged.vision.letterbox import LetterboxTransform
from edged.vision.masks import Polygon, points_inside_any
from edged.vision.nms import nms

MAX_CANDIDATES = 1000
"""Boxes of one picture that go into suppression; the highest scores win."""


@dataclass(frozen=True, slots=True)
class DetectorThresholds:
    """How sure a detection must be, and how much boxes of one class may overlap.

    Attributes:
        score: from here on a detection is believed. Weaker ones are reported too: a track may go on with them.
        nms_iou: a box that overlaps a better one of its class by more is suppressed.
        score_by_class, nms_iou_by_class: by class id, where a class has its own.
        floor: weaker detections are not reported at all.
    """

    score: float
    nms_iou: float
    score_by_class: Mapping[int, float] = field(default_factory=dict)
    nms_iou_by_class: Mapping[int, float] = field(default_factory=dict)
    floor: float = SCORE_FLOOR

    def __post_init__(self) -> None:
        for score in (self.score, *self.score_by_class.values()):
            if not self.floor <= score < 1:
                raise ValueError(f"a score threshold must be from {self.floor} to below 1, got {score}")

    def nms_iou_of(self, n_classes: int) -> float | Mapping[int, float]:
        """The overlap threshold: one for all where no class has its own, else that of each class id."""
        if not self.nms_iou_by_class:
            return self.nms_iou
        return {class_id: self.nms_iou_by_class.get(class_id, self.nms_iou) for class_id in range(n_classes)}


def thresholds_of(manifest: DetectorManifest) -> DetectorThresholds:
    """The thresholds that a network ships with."""
    shipped = manifest.thresholds
    ids = {name: class_id for class_id, name in enumerate(manifest.classes)}
    return DetectorThresholds(
        score=shipped.score,
        nms_iou=shipped.nms_iou,
        score_by_class={ids[name]: own.score for name, own in shipped.per_class.items() if own.score is not None},
        nms_iou_by_class={ids[name]: own.nms_iou for name, own in shipped.per_class.items() if own.nms_iou is not None},
    )


def is_sure(detections: Detections, thresholds: DetectorThresholds) -> NDArray[np.bool_]:
    """(N,) whether each detection is believed."""
    needed = [thresholds.score_by_class.get(int(class_id), thresholds.score) for class_id in detections.class_ids]
    return detections.scores >= np.array(needed, np.float32)


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The least and most size of a box, in shares of the picture; a size at a limit passes."""

    min_width_ratio: float = 0.0
    min_height_ratio: float = 0.0
    max_width_ratio: float = 1.0
    max_height_ratio: float = 1.0


def filter_detections(
    detections: Detections,
    *,
    width: int,
    height: int,
    sizes: Mapping[int, SizeLimits],
    ignore: Sequence[Polygon] = (),
) -> Detections:
    """The detections of a (height, width) picture that have the size their class may have and do not stand in an ignored area.

    Args:
        sizes: by class id; a class without an entry may have any size.
        ignore: a detection is dropped when the bottom centre of its box lies in one of these.
    """
    if not len(detections) or not (sizes or ignore):
        return detections
    boxes_norm = to_norm(detections.boxes, width=width, height=height)
    keep = ~points_inside_any(anchor_points(boxes_norm, Anchor.BOTTOM_CENTRE), ignore)
    widths, heights = boxes_norm[:, 2] - boxes_norm[:, 0], boxes_norm[:, 3] - boxes_norm[:, 1]
    for class_id, limits in sizes.items():
        fits = (limits.min_width_ratio <= widths) & (widths <= limits.max_width_ratio)
        fits &= (limits.min_height_ratio <= heights) & (heights <= limits.max_height_ratio)
        keep &= fits | (detections.class_ids != class_id)
    return detections[keep]


class Detector(Network[DetectorManifest]):
    """A network that finds objects.

    `detect` is `prepare`, `infer` and `decode`; a pipeline calls the three itself to time them apart.
    """

    def __init__(self, manifest: DetectorManifest, backend: Backend) -> None:
        """Join a manifest and a backend.

        Raises:
            ModelError: they do not belong together.
        """
        super().__init__(manifest, backend)
        self.thresholds = thresholds_of(manifest)

    @staticmethod
    def expected_outputs(manifest: DetectorManifest) -> Mapping[str, TensorSpec]:
        """Boxes, scores and, where there are any, points of every candidate."""
        n, outputs = manifest.candidates, manifest.outputs
        specs = {
            outputs.boxes: TensorSpec("float32", (None, n, 4)),
            outputs.scores: TensorSpec("float32", (None, n, len(manifest.classes))),
        }
        if outputs.points is not None:
            specs[outputs.points] = TensorSpec("float32", (None, n, len(manifest.points), 2))
        return specs

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class id."""
        return self.manifest.classes

    def detect(self, pictures: Sequence[Pixels], *, thresholds: Sequence[DetectorThresholds] | None = None) -> list[Detections]:
        """What is in each picture.

        Args:
            pictures: (H, W, 3) uint8 RGB each, of any sizes.
            thresholds: one for each picture; the manifest's if absent.

        Returns:
            For each picture its detections from the floor on, in descending score, boxes in its own pixels and inside it; points
            likewise, but also outside.

        Raises:
            InferenceError: the network failed.
        """
        prepared = self.prepare(pictures)
        return self.decode(self.infer(prepared), prepared.transforms, thresholds=thresholds)

    def decode(
        self,
        outputs: Tensors,
        transforms: Sequence[LetterboxTransform],
        *,
        thresholds: Sequence[DetectorThresholds] | None = None,
    ) -> list[Detections]:
        """The detections in the network's outputs, one entry a picture, as `detect` returns them."""
        wanted = [self.thresholds] * len(transforms) if thresholds is None else thresholds
        boxes, scores, *points = self._take(outputs, n=len(transforms))
        points_of_each = points[0] if points else [None] * len(transforms)
        return [_decode_one(*each) for each in zip(boxes, scores, points_of_each, transforms, wanted, strict=True)]

    def warm_up(self) -> None:
        self.detect([self.grey])


def _decode_one(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    points: NDArray[np.float32] | None,
    transform: LetterboxTransform,
    thresholds: DetectorThresholds,
) -> Detections:
    """Candidates of one picture to its detections. A candidate counts for its best class only.

    Args:
        boxes: (R, 4) float32 xyxy, input pixels.
        scores: (R, C).
        points: (R, K, 2) float32, input pixels, if there are any.
    """
    of_all = scores.reshape(-1)
    (hits,) = (~(of_all < thresholds.floor)).nonzero()  # NaN, too; far cheaper than the best of each row
    if not len(hits):
        return Detections.empty(n_points=0 if points is None else points.shape[1])
    rows, class_ids = np.divmod(hits, scores.shape[1])
    best = of_all[hits]
    is_next = rows[1:] != rows[:-1]
    if not is_next.all():  # of several classes
        rows = rows[np.concatenate([[True], is_next])]
        class_ids = scores[rows].argmax(axis=1)  # where there is a NaN: of it
        best = scores[rows, class_ids]
    if not best.max() <= 1:
        raise InferenceError(f"the network's scores reach {best.max()}: expected finite numbers up to 1")
    if len(best) > MAX_CANDIDATES:
        order = np.argsort(-best, kind="stable")[:MAX_CANDIDATES]
        rows, class_ids, best = rows[order], class_ids[order], best[order]
    found = boxes[rows]
    if not np.isfinite(found).all():
        raise InferenceError("the network's boxes are not finite numbers")
    inside = transform.to_source(found)
    kept = nms(inside, best, class_ids, iou_threshold=thresholds.nms_iou_of(scores.shape[1]))
    places = None if points is None else _points_in_source(points[rows[kept]], transform)
    detections = Detections(inside[kept], best[kept], class_ids[kept], places)
    is_visible = detections.boxes[:, :2] < detections.boxes[:, 2:]  # not in the grey around the picture
    return detections if is_visible.all() else detections[is_visible.all(axis=1)]


def _points_in_source(points: NDArray[np.float32], transform: LetterboxTransform) -> NDArray[np.float32]:
    if not np.isfinite(points).all():
        raise InferenceError("the network's points are not finite numbers")
    return transform.points_to_source(points)
