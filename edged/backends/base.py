"""The contract of everything that computes tensors: names in, names out, nothing about what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edged.errors import InferenceError

Tensors = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a network declares of one input or output.

    Attributes:
        dtype: NumPy's name of the element type, e.g. `float32`.
        shape: one entry an axis; None where it is free (the batch).
    """

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies in an input, in its pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """A batch of pictures in the place of an input's array, for a backend that makes the one of the other itself.

    Attributes:
        pixels_rgb: (h, w, 3) uint8 each, of any sizes from 1x1.
        places: where each goes; grey around it.
    """

    pixels_rgb: Sequence[NDArray[np.uint8]]
    places: Sequence[Place]

    def __post_init__(self) -> None:
        if len(self.pixels_rgb) != len(self.places):
            raise ValueError(f"expected a place for each of {len(self.pixels_rgb)} pictures, got {len(self.places)}")
        for pixels in self.pixels_rgb:
            if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size or pixels.dtype != np.uint8:
                raise ValueError(f"expected a picture (h, w, 3) uint8, got {pixels.shape} {pixels.dtype}")

    def __len__(self) -> int:
        return len(self.pixels_rgb)


Feeds = Mapping[str, NDArray[np.generic] | Pictures]
"""What goes into a network, by name of an input: its array, or pictures where `DeviceBackend.picture_input` names it."""


class Ticket(Protocol):
    """One submitted batch."""

    def result(self) -> Tensors:
        """Wait for the outputs.

        They are valid until the backend is closed or their slot is used again, which the second batch submitted after this one
        does where results are fetched in order: copy what must live longer.

        Raises:
            InferenceError: the network failed on this batch, or its outputs are valid no longer.
        """
        ...


class Backend(Protocol):
    """A loaded network. Used and closed by the thread that made it."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def label(self) -> str:
        """What computes and on what, for people, e.g. `onnxruntime cpu, 1 thread`."""
        ...

    def submit(self, feeds: Tensors) -> Ticket:
        """Start computing one batch; at most two may be in flight.

        Raises:
            InferenceError: the feeds do not fit `inputs`.
        """
        ...

    def infer(self, feeds: Tensors) -> Tensors:
        """Submit and wait."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class DeviceBackend(Backend, Protocol):
    """A backend that computes beside the host, so that a second batch may be submitted while one is in flight."""

    @property
    def picture_input(self) -> str | None:
        """The input that it also makes of `Pictures`; None where it takes arrays only."""
        ...


def check_feeds(feeds: Tensors, inputs: Mapping[str, TensorSpec]) -> None:
    """Refuse feeds that do not fit, before the library sees them.

    Raises:
        InferenceError: naming the tensor, what was expected and what came.
    """
    if feeds.keys() != inputs.keys():
        raise InferenceError(f"expected inputs {sorted(inputs)}, got {sorted(feeds)}")
    for name, spec in inputs.items():
        array = feeds[name]
        fits = len(array.shape) == len(spec.shape) and all(
            wanted is None or wanted == found for wanted, found in zip(spec.shape, array.shape, strict=True)
        )
        if not fits or array.dtype.name != spec.dtype:
            raise InferenceError(f"input {name}: expected {spec.dtype} {spec.shape}, got {array.dtype.name} {array.shape}")
