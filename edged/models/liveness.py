"""What the tensors of a liveness network mean: faces in, how likely they are no pictures of faces out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Backend, TensorSpec
from edged.errors import InferenceError, ModelError
from edged.models.manifest import LIVE, LivenessManifest
from edged.models.network import Network
from edged.types import Pixels
from edged.vision.crops import cut_square


class Liveness(Network[LivenessManifest]):
    """A network that tells a face before the camera from a photograph or a screen held up to it."""

    def __init__(self, manifest: LivenessManifest, backend: Backend) -> None:
        """Join a manifest and a backend.

        Raises:
            ModelError: they do not belong together, or the input is no square.
        """
        super().__init__(manifest, backend)
        if manifest.input.width != manifest.input.height:
            size = f"{manifest.input.width}x{manifest.input.height}"
            raise ModelError(f"{manifest.name}: a liveness network is shown squares, and its input is {size} [model.shape]")

    @staticmethod
    def expected_outputs(manifest: LivenessManifest) -> Mapping[str, TensorSpec]:
        """One score a class."""
        return {manifest.outputs.scores: TensorSpec("float32", (None, len(manifest.classes)))}

    def score(self, pixels_rgb: Pixels, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) float32: how likely each face is alive, in [0, 1].

        Args:
            pixels_rgb: (H, W, 3) uint8, the picture that the faces are in.
            boxes: (N, 4) float32 xyxy, its pixels: of whole faces, as the face detector gives them.

        Raises:
            InferenceError: the network failed.
            ValueError: a box is empty, or outside of the picture.
        """
        if not len(boxes):
            return np.zeros(0, np.float32)
        wanted = self.manifest
        crops = [cut_square(pixels_rgb, box, margin=wanted.margin, side_px=wanted.input.width) for box in boxes]
        (scores,) = self._take(self.infer(self.prepare(crops)), n=len(crops))
        live = scores[:, wanted.classes.index(LIVE)]
        if not ((live >= 0) & (live <= 1)).all():  # NaN, too
            raise InferenceError(f"{wanted.name}: expected scores in [0, 1], got {live.tolist()}")
        return live.copy()

    def warm_up(self) -> None:
        self.score(self.grey, np.array([[0, 0, *self.grey.shape[1::-1]]], np.float32))
