"""What the tensors of a face encoder mean: aligned faces in, embeddings out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Backend, TensorSpec
from edged.errors import InferenceError, ModelError
from edged.models.manifest import EncoderManifest
from edged.models.network import Network
from edged.types import Pixels
from edged.vision.alignment import TEMPLATES, Template

_LEAST_NORM = 1e-6
"""Below it an embedding has no direction."""


class FaceEncoder(Network[EncoderManifest]):
    """A network whose embeddings of one person are near to each other, by their cosine."""

    def __init__(self, manifest: EncoderManifest, backend: Backend) -> None:
        """Join a manifest and a backend.

        Raises:
            ModelError: they do not belong together, or the manifest's template is unknown or of another size.
        """
        super().__init__(manifest, backend)
        self.template = _find_template(manifest)

    @staticmethod
    def expected_outputs(manifest: EncoderManifest) -> Mapping[str, TensorSpec]:
        """One embedding a picture."""
        return {manifest.outputs.embedding: TensorSpec("float32", (None, manifest.dimension))}

    def encode(self, crops: Sequence[Pixels]) -> NDArray[np.float32]:
        """The embeddings of faces, (N, D) float32, of unit length.

        Args:
            crops: (side, side, 3) uint8 RGB each, as `edged.vision.alignment.align` makes them for the template.

        Raises:
            InferenceError: the network failed.
            ValueError: a crop has another size.
        """
        side = self.template.side_px
        for crop in crops:
            if crop.shape != (side, side, 3):
                raise ValueError(f"expected aligned faces ({side}, {side}, 3), got {crop.shape}")
        if not crops:
            return np.zeros((0, self.manifest.dimension), np.float32)
        (embeddings,) = self._take(self.infer(self.prepare(crops)), n=len(crops))
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > _LEAST_NORM).all()):
            raise InferenceError(
                f"{self.manifest.name}: an embedding is of length {lengths.ravel().tolist()}, it has no direction"
            )
        return embeddings / lengths

    def warm_up(self) -> None:
        self.encode([self.grey])


def _find_template(manifest: EncoderManifest) -> Template:
    template = TEMPLATES.get(manifest.template)
    if template is None:
        known = ", ".join(TEMPLATES)
        raise ModelError(f"{manifest.name}: no alignment template {manifest.template!r}; known: {known} [model.template]")
    size = manifest.input.width, manifest.input.height
    if size != (template.side_px, template.side_px):
        raise ModelError(
            f"{manifest.name}: the template {manifest.template} makes faces of {template.side_px} pixels, and the input is "
            f"{size[0]}x{size[1]} [model.template]"
        )
    return template
