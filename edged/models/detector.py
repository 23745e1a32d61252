"""What the tensors of a detector mean: pictures in, detections out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Backend, Tensors, TensorSpec
from edged.errors import InferenceError, ModelError
from edged.models.manifest import SCORE_FLOOR, DetectorManifest
from edged.types import Detections, Pixels
from edged.vision.boxes import Anchor, anchor_points, to_norm
from edged.vision.letterbox import GREY, LetterboxTransform, make_transform, resize
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


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBatch:
    """Pictures as the network wants them.

    Attributes:
        tensor: (N, 3, height, width) of the manifest's dtype; valid until the next batch is prepared.
        transforms: where each picture lies in it.
    """

    tensor: NDArray[np.generic]
    transforms: tuple[LetterboxTransform, ...]


class Detector:
    """A network that finds objects. Used and closed by the thread that opened it; a context manager.

    `detect` is `prepare`, `infer` and `decode`; a pipeline calls the three itself to time them apart.
    """

    def __init__(self, manifest: DetectorManifest, backend: Backend) -> None:
        """Join a manifest and a backend.

        Raises:
            ModelError: they do not belong together.
        """
        _check_fit(manifest, backend)
        self.manifest = manifest
        self.thresholds = thresholds_of(manifest)
        self._backend = backend
        self._candidates = manifest.candidates
        self._canvas = np.empty((manifest.input.height, manifest.input.width, 3), np.uint8)
        self._tensor = np.empty((0, 3, manifest.input.height, manifest.input.width), manifest.input.dtype)
        self._places: list[_Place | None] = []  # by entry of the tensor
        self._factors = (manifest.input.scale / np.array(manifest.input.std)).astype(np.float32)
        self._offsets = (-np.array(manifest.input.mean) / np.array(manifest.input.std)).astype(np.float32)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class id."""
        return self.manifest.classes

    @property
    def label(self) -> str:
        """Network, revision and what computes it, for people."""
        return f"{self.manifest.name} {self.manifest.revision} on {self._backend.label}"

    def detect(self, pictures: Sequence[Pixels], *, thresholds: Sequence[DetectorThresholds] | None = None) -> list[Detections]:
        """What is in each picture.

        Args:
            pictures: (H, W, 3) uint8 RGB each, of any sizes.
            thresholds: one for each picture; the manifest's if absent.

        Returns:
            For each picture its detections from the floor on, in descending score, boxes in its own pixels and inside it.

        Raises:
            InferenceError: the network failed.
        """
        prepared = self.prepare(pictures)
        return self.decode(self.infer(prepared), prepared.transforms, thresholds=thresholds)

    def prepare(self, pictures: Sequence[Pixels]) -> PreparedBatch:
        """Fit the pictures into the network's input."""
        if len(self._places) < len(pictures):
            self._tensor = np.empty((len(pictures), *self._tensor.shape[1:]), self._tensor.dtype)
            self._places = [None] * len(pictures)
        transforms = tuple(self._write(index, pixels_rgb) for index, pixels_rgb in enumerate(pictures))
        return PreparedBatch(self._tensor[: len(pictures)], transforms)

    def infer(self, prepared: PreparedBatch) -> Tensors:
        """The network's outputs for a batch."""
        return self._backend.infer({self.manifest.input.name: prepared.tensor})

    def decode(
        self,
        outputs: Tensors,
        transforms: Sequence[LetterboxTransform],
        *,
        thresholds: Sequence[DetectorThresholds] | None = None,
    ) -> list[Detections]:
        """The detections in the network's outputs, one entry a picture, as `detect` returns them."""
        wanted = [self.thresholds] * len(transforms) if thresholds is None else thresholds
        boxes, scores = outputs[self.manifest.outputs.boxes], outputs[self.manifest.outputs.scores]
        shapes = (len(transforms), self._candidates, 4), (len(transforms), self._candidates, len(self.class_names))
        if (boxes.shape, scores.shape) != shapes:
            raise InferenceError(f"expected boxes and scores {shapes[0]} and {shapes[1]}, got {boxes.shape} and {scores.shape}")
        return [_decode_one(*each) for each in zip(boxes, scores, transforms, wanted, strict=True)]

    def warm_up(self) -> None:
        """Compute one grey picture: the first batch is slow, and an output that does not fit shows here."""
        grey = np.full_like(self._canvas, GREY)
        self.detect([grey])

    def close(self) -> None:
        """Free the network."""
        self._backend.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _write(self, index: int, pixels_rgb: Pixels) -> LetterboxTransform:
        """Fit a picture into one entry of the batch; the grey around it is still there from the last one of its size."""
        height, width = pixels_rgb.shape[:2]
        place = self._places[index]
        if place is None or (place.transform.source_width, place.transform.source_height) != (width, height):
            place = self._places[index] = self._make_place(index, width, height)
        resize(pixels_rgb, out=place.pixels)
        self._split(place.pixels, place.planes)
        return place.transform

    def _make_place(self, index: int, width: int, height: int) -> _Place:
        """Where pictures of this size lie in an entry of the batch, which becomes grey."""
        entry, wanted = self._tensor[index], self.manifest.input
        self._canvas[:] = GREY
        self._split(self._canvas, list(entry))
        transform = make_transform(width, height, width=wanted.width, height=wanted.height)
        planes = list(entry[:, transform.rows, transform.columns])
        return _Place(transform, self._canvas[transform.rows, transform.columns], planes)

    def _split(self, pixels_rgb: Pixels, planes: list[NDArray[np.generic]]) -> None:
        """Write a picture into three planes of its size, scaled as the network wants it."""
        is_bgr = self.manifest.input.colour == "bgr"
        if planes[0].dtype == np.uint8:
            cv2.split(pixels_rgb, planes[::-1] if is_bgr else planes)
            return
        channels = cv2.split(pixels_rgb)
        for plane, channel, factor, offset in zip(
            planes, channels[::-1] if is_bgr else channels, self._factors, self._offsets, strict=True
        ):
            np.multiply(channel, factor, out=plane)
            if offset:
                np.add(plane, offset, out=plane)


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where pictures of one size lie in one entry of the batch.

    Attributes:
        transform: from the picture to there.
        pixels: (h, w, 3) uint8, part of the canvas.
        planes: three of (h, w), parts of the entry in its order.
    """

    transform: LetterboxTransform
    pixels: Pixels
    planes: list[NDArray[np.generic]]


def _decode_one(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], transform: LetterboxTransform, thresholds: DetectorThresholds
) -> Detections:
    """Candidates of one picture to its detections. A candidate counts for its best class only.

    Args:
        boxes: (R, 4) float32 xyxy, input pixels.
        scores: (R, C).
    """
    of_all = scores.reshape(-1)
    (hits,) = (~(of_all < thresholds.floor)).nonzero()  # NaN, too; far cheaper than the best of each row
    if not len(hits):
        return Detections.empty()
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
    detections = Detections(inside[kept], best[kept], class_ids[kept])
    is_visible = detections.boxes[:, :2] < detections.boxes[:, 2:]  # not in the grey around the picture
    return detections if is_visible.all() else detections[is_visible.all(axis=1)]


def _check_fit(manifest: DetectorManifest, backend: Backend) -> None:
    """Refuse a network that is not the one its manifest describes."""
    wanted = manifest.input
    expected_inputs = {wanted.name: TensorSpec(wanted.dtype, (None, 3, wanted.height, wanted.width))}
    expected_outputs = {
        manifest.outputs.boxes: TensorSpec("float32", (None, manifest.candidates, 4)),
        manifest.outputs.scores: TensorSpec("float32", (None, manifest.candidates, len(manifest.classes))),
    }
    wrong = []
    for side, expected, found in (("input", expected_inputs, backend.inputs), ("output", expected_outputs, backend.outputs)):
        for name, spec in expected.items():
            if name not in found:
                wrong.append(f"no {side} {name!r}, it has {', '.join(map(repr, found))} [model.shape]")
            elif not _fits(spec, found[name]):
                classes = name == manifest.outputs.scores and found[name].shape[-1:] != spec.shape[-1:]
                code = "model.classes" if classes else "model.shape"
                wrong.append(
                    f"{side} {name!r} is {found[name].dtype} {found[name].shape}, "
                    f"its manifest says {spec.dtype} {spec.shape} [{code}]"
                )
    if wrong:
        raise ModelError(f"{manifest.name}: the network is not what its manifest describes:\n  " + "\n  ".join(wrong))


def _fits(expected: TensorSpec, found: TensorSpec) -> bool:
    """Whether a declared tensor can be the expected one; an axis that it leaves free can be any length."""
    return (
        expected.dtype == found.dtype
        and len(expected.shape) == len(found.shape)
        and all(actual in (None, wanted) for wanted, actual in zip(expected.shape, found.shape, strict=True))
    )
