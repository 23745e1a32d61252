"""A scene of so many objects, as the network would answer it: the cost of ten objects, whatever the network sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Backend, Tensors, TensorSpec
from edged.models.manifest import DetectorManifest

CANDIDATES = 8
"""How many of the network's candidates find the same object."""

_STEP_PX = 1.5
_JITTER_PX = 0.6
_CYCLE_FRAMES = 1024


def make_boxes(n_objects: int, index: int, *, width: int, height: int) -> NDArray[np.float32]:
    """Where the objects of frame `index` are: (n_objects, 4) float32 xyxy, input pixels; apart, and all but every third moves.

    They keep to the middle rows of the input, where the picture of a wide camera lies.
    """
    lanes = (n_objects + 1) // 2
    lane, side = np.divmod(np.arange(n_objects), 2)
    room_px = width / 2 - 24
    travelled_px = np.where(np.arange(n_objects) % 3 == 0, 7.0, index * _STEP_PX + 11.0 * lane) % (2 * room_px)
    x1 = side * width / 2 + np.minimum(travelled_px, 2 * room_px - travelled_px)  # there and back
    lane_px = height / 2 / max(lanes, 1)
    y1 = height / 4 + lane * lane_px
    return np.stack([x1, y1, x1 + 18, y1 + 0.8 * lane_px], axis=1).astype(np.float32)


class PlantedBackend:
    """Computes as a real backend does, then gives the answer of a scene with so many objects.

    Each object is found by several candidates, as a real one is; the answers repeat after a thousand frames.
    """

    def __init__(self, backend: Backend, manifest: DetectorManifest, *, n_objects: int) -> None:
        self._backend = backend
        width, height = manifest.input.width, manifest.input.height
        rng = np.random.default_rng(0)
        n_rows = n_objects * CANDIDATES
        self._rows = np.linspace(0, manifest.candidates - 1, n_rows).astype(np.int64)
        shifts = rng.normal(0, _JITTER_PX, (n_rows, 4)).astype(np.float32)
        self._answers = [
            make_boxes(n_objects, index, width=width, height=height).repeat(CANDIDATES, axis=0) + shifts
            for index in range(_CYCLE_FRAMES)
        ]
        self._class_ids = np.arange(n_rows) // CANDIDATES % 3
        self._scores = np.tile(np.linspace(0.9, 0.1, CANDIDATES, dtype=np.float32), n_objects)
        self._names = manifest.outputs
        self._outputs: Tensors = {}
        self._next = 0

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        return dict(self._backend.inputs)

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        return dict(self._backend.outputs)

    @property
    def label(self) -> str:
        return self._backend.label

    def submit(self, feeds: Tensors) -> PlantedBackend:
        self._outputs = self._backend.infer(feeds)
        boxes, scores = self._outputs[self._names.boxes], self._outputs[self._names.scores]
        scores[...] = 0.0  # in place: the real answer has just been written, too, and lies in the same cache
        scores[0, self._rows, self._class_ids] = self._scores
        boxes[0, self._rows] = self._answers[self._next]
        self._next = (self._next + 1) % _CYCLE_FRAMES
        return self

    def result(self) -> Tensors:
        """The planted answer to the newest submission."""
        return self._outputs

    def infer(self, feeds: Tensors) -> Tensors:
        return self.submit(feeds).result()

    def close(self) -> None:
        self._backend.close()
