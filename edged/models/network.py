"""What every network has in common, whatever it is for: pictures into its input, its outputs out of a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Backend, DeviceBackend, Pictures, Place, Tensors, TensorSpec, Ticket
from edged.errors import InferenceError, ModelError
from edged.models.manifest import DetectorManifest, InputSpec, LivenessManifest, Manifest, ManifestT
from edged.types import Pixels
from edged.vision.letterbox import GREY, LetterboxTransform, make_transform, resize

NetworkT = TypeVar("NetworkT", bound="Network[Any]")


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBatch:
    """Pictures as the network wants them.

    Attributes:
        tensor: (N, 3, height, width) of the manifest's dtype, valid until the next batch is prepared; or the pictures themselves,
            where the device makes that of them.
        transforms: where each picture lies in it.
    """

    tensor: NDArray[np.generic] | Pictures
    transforms: tuple[LetterboxTransform, ...]


class Network(ABC, Generic[ManifestT]):
    """A manifest and the backend that computes its network. Used and closed by the thread that opened it; a context manager."""

    def __init__(self, manifest: ManifestT, backend: Backend) -> None:
        """Join a manifest and a backend.

        Raises:
            ModelError: they do not belong together.
        """
        _check_fit(manifest, backend, self.expected_outputs(manifest))
        self.manifest = manifest
        self._backend = backend
        self._input = InputBatch(manifest.input)
        self._fits_on_device = self.can_fit_on_device

    @property
    def most_in_flight(self) -> int:
        """Batches that may be submitted before the first is fetched: 2 where a device computes, else nothing is gained."""
        return 2 if isinstance(self._backend, DeviceBackend) else 1

    @property
    def can_fit_on_device(self) -> bool:
        """Whether the device can fit pictures into the network's input."""
        return isinstance(self._backend, DeviceBackend) and self._backend.picture_input == self.manifest.input.name

    def fit_on_host(self) -> None:
        """From now on the host fits pictures into the input, also where the device can."""
        self._fits_on_device = False

    def fit_on_device(self) -> None:
        """From now on the device does, as from the beginning where it can."""
        assert self.can_fit_on_device
        self._fits_on_device = True

    @staticmethod
    @abstractmethod
    def expected_outputs(manifest: ManifestT) -> Mapping[str, TensorSpec]:
        """What the network must answer, by name."""

    @abstractmethod
    def warm_up(self) -> None:
        """Compute one grey picture: the first batch is slow, and an output that does not fit shows here.

        Raises:
            InferenceError: it fails.
        """

    @property
    def label(self) -> str:
        """Network, revision and what computes it, for people."""
        return f"{self.manifest.name} {self.manifest.revision} on {self._backend.label}"

    @property
    def grey(self) -> Pixels:
        """A picture of the input's size that shows nothing."""
        return np.full((self.manifest.input.height, self.manifest.input.width, 3), GREY, np.uint8)

    def prepare(self, pictures: Sequence[Pixels]) -> PreparedBatch:
        """Fit pictures, (H, W, 3) uint8 RGB each and of any sizes, into the network's input."""
        return place_pictures(pictures, self.manifest.input) if self._fits_on_device else self._input.fit(pictures)

    def submit(self, prepared: PreparedBatch) -> Ticket:
        """Start computing a batch.

        Raises:
            InferenceError: it failed, or as many as can be are in flight.
        """
        return self._backend.submit({self.manifest.input.name: prepared.tensor})

    def infer(self, prepared: PreparedBatch) -> Tensors:
        """The network's outputs for a batch.

        Raises:
            InferenceError: it failed.
        """
        return self._backend.infer({self.manifest.input.name: prepared.tensor})

    def close(self) -> None:
        """Free the network."""
        self._backend.close()

    def __enter__(self: NetworkT) -> NetworkT:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _take(self, outputs: Tensors, *, n: int) -> list[NDArray[Any]]:
        """The outputs of n pictures in the order of `expected_outputs`, their shapes checked."""
        expected = {name: (n, *spec.shape[1:]) for name, spec in self.expected_outputs(self.manifest).items()}
        found = {name: outputs[name].shape for name in expected}
        if found != expected:
            wanted, got = (", ".join(f"{name} {shape}" for name, shape in shapes.items()) for shapes in (expected, found))
            raise InferenceError(f"{self.manifest.name}: expected outputs {wanted}, got {got}")
        return [outputs[name] for name in expected]


def place_pictures(pictures: Sequence[Pixels], wanted: InputSpec) -> PreparedBatch:
    """Where the device shall draw the pictures: there where `InputBatch` would."""
    transforms = tuple(make_transform(*each.shape[1::-1], width=wanted.width, height=wanted.height) for each in pictures)
    places = [
        Place(each.pad_x, each.pad_y, each.columns.stop - each.columns.start, each.rows.stop - each.rows.start)
        for each in transforms
    ]
    return PreparedBatch(Pictures(pictures, places), transforms)


class InputBatch:
    """The tensor that a network is fed, kept from batch to batch: the grey around a picture is drawn once for its size.

    Args:
        wanted: what the manifest says of the input.
    """

    def __init__(self, wanted: InputSpec) -> None:
        self._wanted = wanted
        self._canvas = np.empty((wanted.height, wanted.width, 3), np.uint8)
        self._tensor = np.empty((0, 3, wanted.height, wanted.width), wanted.dtype)
        self._places: list[_Place | None] = []  # by entry of the tensor
        self._factors = np.array(wanted.factors, np.float32)
        self._offsets = np.array(wanted.offsets, np.float32)

    def fit(self, pictures: Sequence[Pixels]) -> PreparedBatch:
        """The pictures, (H, W, 3) uint8 RGB each, letterboxed and scaled as the network wants them."""
        if len(self._places) < len(pictures):
            self._tensor = np.empty((len(pictures), *self._tensor.shape[1:]), self._tensor.dtype)
            self._places = [None] * len(pictures)
        transforms = tuple(self._write(index, pixels_rgb) for index, pixels_rgb in enumerate(pictures))
        return PreparedBatch(self._tensor[: len(pictures)], transforms)

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
        entry = self._tensor[index]
        self._canvas[:] = GREY
        self._split(self._canvas, list(entry))
        transform = make_transform(width, height, width=self._wanted.width, height=self._wanted.height)
        planes = list(entry[:, transform.rows, transform.columns])
        return _Place(transform, self._canvas[transform.rows, transform.columns], planes)

    def _split(self, pixels_rgb: Pixels, planes: list[NDArray[np.generic]]) -> None:
        """Write a picture into three planes of its size, scaled as the network wants it."""
        is_bgr = self._wanted.colour == "bgr"
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


def _check_fit(manifest: Manifest, backend: Backend, expected_outputs: Mapping[str, TensorSpec]) -> None:
    """Refuse a network that is not the one its manifest describes."""
    wanted = manifest.input
    expected_inputs = {wanted.name: TensorSpec(wanted.dtype, (None, 3, wanted.height, wanted.width))}
    wrong = []
    for side, expected, found in (("input", expected_inputs, backend.inputs), ("output", expected_outputs, backend.outputs)):
        for name, spec in expected.items():
            if name not in found:
                wrong.append(f"no {side} {name!r}, it has {', '.join(map(repr, found))} [model.shape]")
            elif not _fits(spec, found[name]):
                classes = _is_by_class(name, manifest) and found[name].shape[-1:] != spec.shape[-1:]
                code = "model.classes" if classes else "model.shape"
                wrong.append(
                    f"{side} {name!r} is {found[name].dtype} {found[name].shape}, "
                    f"its manifest says {spec.dtype} {spec.shape} [{code}]"
                )
    if wrong:
        raise ModelError(f"{manifest.name}: the network is not what its manifest describes:\n  " + "\n  ".join(wrong))


def _is_by_class(output: str, manifest: Manifest) -> bool:
    """Whether an output has one number for each class."""
    return isinstance(manifest, DetectorManifest | LivenessManifest) and output == manifest.outputs.scores


def _fits(expected: TensorSpec, found: TensorSpec) -> bool:
    """Whether a declared tensor can be the expected one; an axis that it leaves free can be any length."""
    return (
        expected.dtype == found.dtype
        and len(expected.shape) == len(found.shape)
        and all(actual in (None, wanted) for wanted, actual in zip(expected.shape, found.shape, strict=True))
    )
