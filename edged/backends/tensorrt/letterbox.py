"""Pictures fitted into an input by the device itself: one kernel, compiled when the engine is opened.

It computes what the host's way does (`edged.models.network`), bit for bit where OpenCV rounds as it does on x86-64; the host's
way stays the reference. The kernel is letterbox.cu.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Pictures, TensorSpec
from edged.backends.tensorrt.cuda import Buffer, Cuda, PinnedArray
from edged.errors import ModelError

SOURCE = Path(__file__).with_name("letterbox.cu")
KERNELS = {"uint8": "letterbox_bytes", "float32": "letterbox_floats"}
"""By the type of the input."""

_BLOCK = (32, 8, 1)

PLACE = np.dtype(
    [
        ("scale_x", np.float64),
        ("scale_y", np.float64),
        ("start", np.int64),
        ("source_width", np.int32),
        ("source_height", np.int32),
        ("left", np.int32),
        ("top", np.int32),
        ("width", np.int32),
        ("height", np.int32),
    ],
    align=True,
)
JOB = np.dtype(
    [
        ("pictures", np.uint64),
        ("places", np.uint64),
        ("tensor", np.uint64),
        ("width", np.int32),
        ("height", np.int32),
        ("is_bgr", np.int32),
        ("fill", np.int32),
        ("factors", np.float32, 3),
        ("offsets", np.float32, 3),
    ],
    align=True,
)
"""`Place` and `Letterbox` of letterbox.cu."""


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """How the numbers of an input come from pixels.

    Attributes:
        name: of the input.
        is_bgr: its first plane is blue.
        fill: what surrounds a picture, as a value of its pixels.
        factors, offsets: number = pixel * factor + offset, plane by plane; for bytes they are not used.
    """

    name: str
    is_bgr: bool
    fill: int
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Staging:
    """Memory for the pictures of one batch on their way to the device; it grows to the largest batch that came."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._pinned: PinnedArray | None = None
        self._buffer: Buffer | None = None
        self._n_bytes = 0

    def take(self, n_bytes: int) -> tuple[NDArray[np.uint8], int]:
        """(n_bytes,) of the host, and where the device finds the same once it was sent. Nothing may be on its way meanwhile.

        Raises:
            DeviceMemoryError: there is not so much.
        """
        if self._pinned is None or self._n_bytes < n_bytes:
            self._free()
            self._pinned = self._cuda.pinned((n_bytes,), np.uint8, mapped=self._cuda.device.is_integrated)
            if self._pinned.device_address is None:
                self._buffer = self._cuda.allocate(n_bytes)
            self._n_bytes = n_bytes  # of both
        address = self._pinned.device_address if self._buffer is None else self._buffer.address
        return self._pinned.array[:n_bytes], address

    def send(self, n_bytes: int, stream: int) -> None:
        """Queue the copy of what was written; nothing where host and device share their memory."""
        if self._buffer is not None:
            self._cuda.copy_to_device(self._buffer.address, self._pinned.array[:n_bytes], stream)

    def _free(self) -> None:
        for memory in (self._pinned, self._buffer):
            if memory is not None:
                memory.close()
        self._pinned = self._buffer = None
        self._n_bytes = 0


class Letterbox:
    """The kernel for one input of (N, 3, height, width); it lives as long as the device is open.

    Args:
        wanted: how its numbers come from pixels.
        spec: what the engine says of it.

    Raises:
        ModelError: the input is none for pictures.
        KernelError: there is no compiler for the kernel, or it refuses it.
        InferenceError: the device refuses it.
    """

    def __init__(self, cuda: Cuda, wanted: PictureFormat, spec: TensorSpec) -> None:
        self.name = wanted.name
        if spec.dtype not in KERNELS or len(spec.shape) != 4 or spec.shape[1] != 3:
            raise ModelError(f"input {wanted.name!r} is {spec.dtype} {spec.shape}, which no picture fits into [model.shape]")
        _, _, self.height, self.width = spec.shape
        self._cuda = cuda
        self._kernel = cuda.kernel(cuda.compile(SOURCE.read_text(encoding="utf-8")), KERNELS[spec.dtype])
        self._job = np.zeros((), JOB)
        self._job["width"], self._job["height"] = self.width, self.height
        self._job["is_bgr"], self._job["fill"] = wanted.is_bgr, wanted.fill
        self._job["factors"], self._job["offsets"] = wanted.factors, wanted.offsets

    def queue(self, pictures: Pictures, staging: Staging, *, address: int, stream: int) -> None:
        """Queue the pictures' way into the input.

        Args:
            staging: takes a copy of them; it is in use until the stream was waited for.
            address: of the input, for the device.

        Raises:
            DeviceMemoryError: there is not enough memory for pictures of their size.
        """
        places = _make_places(pictures)
        n_bytes = places.nbytes + sum(pixels.nbytes for pixels in pictures.pixels_rgb)
        memory, device_address = staging.take(n_bytes)
        memory[: places.nbytes] = places.view(np.uint8)
        for start, pixels in zip(places["start"] + places.nbytes, pictures.pixels_rgb, strict=True):
            np.copyto(memory[start : start + pixels.nbytes].reshape(pixels.shape), pixels)
        staging.send(n_bytes, stream)
        self._job["places"], self._job["pictures"] = device_address, device_address + places.nbytes
        self._job["tensor"] = address
        grid = (-(-self.width // _BLOCK[0]), -(-self.height // _BLOCK[1]), len(pictures))
        self._cuda.launch(self._kernel, grid=grid, block=_BLOCK, argument=self._job, stream=stream)


def _make_places(pictures: Pictures) -> NDArray[np.void]:
    """(N,) of `PLACE`, the pictures one behind the other."""
    places = np.zeros(len(pictures), PLACE)
    start = 0
    for index, (pixels, place) in enumerate(zip(pictures.pixels_rgb, pictures.places, strict=True)):
        height, width = pixels.shape[:2]
        scales = 1.0 / (place.width / width), 1.0 / (place.height / height)  # in two steps, as OpenCV rounds
        places[index] = (*scales, start, width, height, place.left, place.top, place.width, place.height)
        start += pixels.nbytes
    return places
