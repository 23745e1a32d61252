"""Faces of a picture: where they are, how good they are, whose they could be and whether they are alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edged.errors import InferenceError, ModelError
from edged.models.detector import Detector, is_sure
from edged.models.face import FaceEncoder
from edged.models.liveness import Liveness
from edged.types import Detections, Face, Pixels
from edged.vision.alignment import POINT_NAMES, align
from edged.vision.boxes import iou_matrix
from edged.vision.face_quality import measure_quality
from edged.vision.nms import nms

REGION_MARGIN = 0.1
"""Of its width and height a region is made wider on each side: a person's box may cut hair and chin."""
SMALL_RATIO = 0.25
"""A face whose longer side is less of the input's shorter one is looked at again from near, if the picture shows more of it."""
CLOSE_SIDES = 3.0
"""The square of that second look, in longer sides of the face."""
SAME_IOU = 0.4
"""From this overlap on, two boxes are one face."""


class FaceReader:
    """Finds faces, and reads those that are worth it. Used and closed by the thread that opened its networks; a context manager.

    Args:
        detector: of one class, with the points of `edged.vision.alignment.POINT_NAMES`.
        liveness: None where nothing tells living faces from pictures.
        batch: the most pictures that a network is shown at once.

    Raises:
        ModelError: the detector finds something else.
    """

    def __init__(self, detector: Detector, encoder: FaceEncoder, liveness: Liveness | None, *, batch: int = 8) -> None:
        if len(detector.class_names) != 1 or detector.manifest.points != POINT_NAMES:
            found = f"{', '.join(detector.class_names)} with {', '.join(detector.manifest.points) or 'no points'}"
            raise ModelError(
                f"{detector.manifest.name}: expected a detector of faces with {', '.join(POINT_NAMES)}, got one of {found} "
                f"[model.points]"
            )
        self.detector = detector
        self.encoder = encoder
        self.liveness = liveness
        self._batch = batch

    @property
    def model_digest(self) -> str:
        """SHA-256 of the encoder's network in float: embeddings of another are nothing to compare with."""
        return self.encoder.manifest.onnx.sha256

    def find(self, pixels_rgb: Pixels, region: NDArray[np.floating] | None = None) -> list[Face]:
        """The faces that the detector believes, best first, not yet read.

        A face that is small in what the detector was shown is looked at again from near, if the picture has it in more detail.

        Args:
            pixels_rgb: (H, W, 3) uint8 RGB.
            region: (4,) xyxy, pixels: look here only, e.g. at a tracked person; the whole picture if absent. A small one is
                enlarged to the detector's input.

        Returns:
            Boxes and points in pixels of the whole picture; empty, too, for a region outside of it.

        Raises:
            InferenceError: the detector failed.
        """
        height, width = pixels_rgb.shape[:2]
        areas = _make_areas(_widen(region) if region is not None else [[0, 0, width, height]], width=width, height=height)
        if not len(areas):
            return []
        (seen,) = self._look(pixels_rgb, areas)
        found = self._look_closer(pixels_rgb, seen, shown=areas[0])
        kept = nms(found.boxes, found.scores, found.class_ids, iou_threshold=SAME_IOU)
        return [
            Face(box, points, float(score), measure_quality(pixels_rgb, box, points).score)
            for box, points, score in zip(found.boxes[kept], found.points[kept], found.scores[kept], strict=True)
        ]

    def read(self, pixels_rgb: Pixels, faces: Sequence[Face]) -> list[Face]:
        """The same faces with their embeddings and, where something judges it, how likely they are alive.

        Args:
            pixels_rgb: the picture that they were found in.

        Raises:
            InferenceError: a network failed.
        """
        read = []
        for start in range(0, len(faces), self._batch):
            read += self._read_batch(pixels_rgb, faces[start : start + self._batch])
        return read

    def close(self) -> None:
        """Free all networks."""
        for network in (self.detector, self.encoder, self.liveness):
            if network is not None:
                network.close()

    def __enter__(self) -> FaceReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _read_batch(self, pixels_rgb: Pixels, faces: Sequence[Face]) -> list[Face]:
        try:
            crops = [align(pixels_rgb, face.points, self.encoder.template) for face in faces]
        except ValueError as error:
            raise InferenceError(f"{self.detector.manifest.name}: {error}") from error
        embeddings = self.encoder.encode(crops)
        if self.liveness is None:
            return [replace(face, embedding=embedding) for face, embedding in zip(faces, embeddings, strict=True)]
        scores = self.liveness.score(pixels_rgb, np.array([face.box for face in faces]))
        return [
            replace(face, embedding=embedding, live=float(live))
            for face, embedding, live in zip(faces, embeddings, scores, strict=True)
        ]

    def _look_closer(self, pixels_rgb: Pixels, seen: Detections, *, shown: NDArray[np.int64]) -> Detections:
        """The faces that were seen in an area (4,), each small one as it is from near, where it is seen there, too."""
        wanted = self.detector.manifest.input
        scale = min(wanted.width / (shown[2] - shown[0]), wanted.height / (shown[3] - shown[1]))
        longer_sides = (seen.boxes[:, 2:] - seen.boxes[:, :2]).max(axis=1)
        is_small = longer_sides * scale < SMALL_RATIO * min(wanted.width, wanted.height)
        if scale >= 1 or not is_small.any():  # there is no more to be seen
            return seen
        small, faces = seen[is_small], [seen[~is_small]]
        middles, halves = (small.boxes[:, :2] + small.boxes[:, 2:]) / 2, longer_sides[is_small, None] * CLOSE_SIDES / 2
        height, width = pixels_rgb.shape[:2]
        areas = _make_areas(np.hstack([middles - halves, middles + halves]), width=width, height=height)
        for index, near in enumerate(self._look(pixels_rgb, areas)):
            far = small[index : index + 1]
            overlaps = iou_matrix(near.boxes, far.boxes)[:, 0]
            is_same = len(near) > 0 and overlaps.max() >= SAME_IOU
            faces.append(near[[int(overlaps.argmax())]] if is_same else far)
        return _join(faces)

    def _look(self, pixels_rgb: Pixels, areas: NDArray[np.int64]) -> list[Detections]:
        """What the detector believes in each area (N, 4), in pixels of the whole picture."""
        found = []
        for start in range(0, len(areas), self._batch):
            shown = areas[start : start + self._batch]
            seen = self.detector.detect([pixels_rgb[y1:y2, x1:x2] for x1, y1, x2, y2 in shown])
            for area, detections in zip(shown, seen, strict=True):
                believed = detections[is_sure(detections, self.detector.thresholds)]
                found.append(_shift(believed, area[:2].astype(np.float32)))
        return found


def _widen(region: NDArray[np.floating]) -> NDArray[np.float64]:
    """A box (4,) with `REGION_MARGIN` around it, (1, 4)."""
    region = np.asarray(region, np.float64)
    margin = REGION_MARGIN * (region[2:] - region[:2])
    return np.concatenate([region[:2] - margin, region[2:] + margin])[None]


def _make_areas(boxes: ArrayLike, *, width: int, height: int) -> NDArray[np.int64]:
    """The whole pixels of a picture that boxes (N, 4) touch, without the boxes that touch none."""
    boxes = np.asarray(boxes, np.float64)
    areas = np.hstack([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])])
    areas = np.clip(areas, 0, [width, height] * 2).astype(np.int64)
    return areas[(areas[:, :2] < areas[:, 2:]).all(axis=1)]


def _shift(detections: Detections, by: NDArray[np.float32]) -> Detections:
    return replace(detections, boxes=detections.boxes + np.tile(by, 2), points=detections.points + by)


def _join(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.class_ids for part in parts]),
        np.concatenate([part.points for part in parts]),
    )
