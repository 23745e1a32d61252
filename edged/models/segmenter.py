"""What the tensors of a segmenter mean: pictures in, maps of what each place shows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Tensors, TensorSpec
from edged.errors import InferenceError
from edged.models.manifest import SegmenterManifest
from edged.models.network import Network
from edged.types import Pixels, SegmentationMap
from edged.vision.letterbox import LetterboxTransform


class Segmenter(Network[SegmenterManifest]):
    """A network that says of every pixel what it shows.

    `segment` is `prepare`, `infer` and `decode`; whoever times them apart calls the three.
    """

    @staticmethod
    def expected_outputs(manifest: SegmenterManifest) -> Mapping[str, TensorSpec]:
        """A label of every pixel and, where the network says it, how sure that is."""
        outputs = manifest.outputs
        names = [outputs.labels] if outputs.confidence is None else [outputs.labels, outputs.confidence]
        return {name: TensorSpec("uint8", (None, manifest.input.height, manifest.input.width)) for name in names}

    def segment(self, pixels_rgb: Pixels) -> SegmentationMap:
        """What each place of a picture, (H, W, 3) uint8 RGB of any size, shows.

        Raises:
            InferenceError: the network failed.
        """
        (found,) = self.segment_all([pixels_rgb])
        return found

    def segment_all(self, pictures: Sequence[Pixels]) -> list[SegmentationMap]:
        """`segment` of several pictures in one batch."""
        if not pictures:
            return []
        prepared = self.prepare(pictures)
        return self.decode(self.infer(prepared), prepared.transforms)

    def decode(self, outputs: Tensors, transforms: Sequence[LetterboxTransform]) -> list[SegmentationMap]:
        """The maps in the network's outputs, one a picture, without the grey around it; copies, which stay valid.

        Raises:
            InferenceError: they are of another shape, or a label is of no class.
        """
        labels, *confidence = self._take(outputs, n=len(transforms))
        highest, n_classes = int(labels.max()), len(self.manifest.classes)
        if highest >= n_classes:
            raise InferenceError(f"{self.manifest.name}: a label is {highest}, and its manifest names {n_classes} classes")
        return [
            SegmentationMap(
                _cut(labels[place], transform),
                self.manifest.classes,
                transform.source_width,
                transform.source_height,
                _cut(confidence[0][place], transform) if confidence else None,
            )
            for place, transform in enumerate(transforms)
        ]

    def warm_up(self) -> None:
        self.segment(self.grey)


def _cut(of_input: NDArray[np.uint8], transform: LetterboxTransform) -> NDArray[np.uint8]:
    """The part of the input, (height, width), that the picture covers."""
    return of_input[transform.rows, transform.columns].copy()
