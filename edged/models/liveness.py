"""What the tensors of a liveness network mean: faces in, how likely they are no pictures of faces out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        margin, side_px = self.manifest.margin, self.manifest.input.width
        return self.score_squares([cut_square(pixels_rgb, box, margin=margin, side_px=side_px) for box in boxes])

    def score_squares(self, squares: Sequence[Pixels]) -> NDArray[np.float32]:
        """`score` of faces that were cut out: (side, side, 3) uint8 RGB each, with the margin around them."""
        if not squares:
            return np.zeros(0, np.float32)
        (scores,) = self._take(self.infer(self.prepare(squares)), n=len(squares))
        live = scores[:, self.manifest.classes.index(LIVE)]
        if not ((live >= 0) & (live <= 1)).all():  # NaN, too
            raise InferenceError(f"{self.manifest.name}: expected scores in [0, 1], got {live.tolist()}")
        return live.copy()

    def warm_up(self) -> None:
        self.score_squares([self.grey])
