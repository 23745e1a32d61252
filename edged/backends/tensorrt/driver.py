"""The contract of a Python binding to the CUDA driver, and what the driver's answers mean.

Everything is the driver's API (cu…), never the runtime's: the bindings then share error codes, the primary context and graphs.

Source: CUDA Driver API Reference 13.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edged.errors import DeviceError, DeviceMemoryError, InferenceError, KernelError

Binding = Literal["auto", "pycuda", "cuda-bindings"]
"""A Python package to go through; `auto` is the first that can be imported."""

Extent = tuple[int, int, int]
"""How many along x, y and z."""

OUT_OF_MEMORY = 2
INVALID_HANDLE = 400

STICKY = frozenset({214, 220, 226, 700, 702, 710, *range(714, 720), 721, 810})
"""Errors after which every later call fails until the process ends: faults of a kernel and of the hardware."""

_MEANINGS = {
    1: "invalid value",
    3: "the driver is not initialised",
    34: "a stub library instead of a driver",
    46: "the device is busy or unavailable",
    100: "no device",
    101: "no such device",
    200: "not a kernel image",
    201: "invalid context",
    209: "no kernel image for this device",
    214: "uncorrectable memory error",
    220: "uncorrectable NVLink error",
    226: "contained fault",
    400: "invalid handle",
    500: "not found",
    700: "illegal address",
    701: "too many resources for a launch",
    702: "a kernel ran too long",
    710: "a kernel's assertion failed",
    714: "stack fault",
    715: "illegal instruction",
    716: "misaligned address",
    717: "invalid address space",
    718: "invalid program counter",
    719: "a kernel failed",
    721: "tensor memory leaked",
    803: "driver and kernel module do not match",
    810: "the MPS server ended it",
    900: "not permitted while a stream is captured",
    901: "the capture was invalidated",
    906: "the legacy stream was used while a stream is captured",
    999: "unknown",
}


def check(code: int, call: str) -> None:
    """Turn an answer of the driver into one of our errors.

    Args:
        code: the CUresult; 0 is success and does nothing.
        call: what was asked, for the message, e.g. `cuMemAlloc of 1024 bytes`.

    Raises:
        DeviceMemoryError: code 2.
        DeviceError: one of `STICKY`.
        InferenceError: any other.
    """
    if code == 0:
        return
    if code == OUT_OF_MEMORY:
        raise DeviceMemoryError(f"{call}: CUDA error {code}, out of device memory [device.memory]")
    said = f"{call}: CUDA error {code}, {_MEANINGS.get(code, 'see CUresult in the CUDA driver API')}"
    if code in STICKY:
        raise DeviceError(code, f"{said}: the device is lost for this process, only a new one can use it [device.lost]")
    raise InferenceError(said)


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What is known of a device.

    Attributes:
        name: e.g. `Orin` or `NVIDIA H100 80GB HBM3`.
        compute_capability: major and minor, e.g. (8, 7).
        driver_version: the newest CUDA that the driver speaks, e.g. `12.6`.
        total_bytes: its memory; on an integrated device the memory of the whole board.
        is_integrated: it shares its memory with the CPU, as every Jetson does: mapped memory then needs no copies.
    """

    name: str
    compute_capability: tuple[int, int]
    driver_version: str
    total_bytes: int
    is_integrated: bool


class Driver(Protocol):
    """The calls of the CUDA driver that `Cuda` makes, through one Python binding; handles and addresses are numbers.

    Every call raises what `check` raises. `open` comes first and `close` last, in one thread.
    """

    @property
    def label(self) -> str:
        """Binding and version, e.g. `cuda-bindings 13.5.0`."""
        ...

    def open(self, ordinal: int) -> DeviceFacts:
        """Start the driver and make the device's primary context, which TensorRT shares, this thread's current one."""
        ...

    def close(self) -> None:
        """Give the context back; the thread has the one it had before."""
        ...

    def free_bytes(self) -> int: ...

    def allocate(self, n_bytes: int) -> int: ...
    def free(self, address: int) -> None: ...

    def allocate_host(self, n_bytes: int, *, mapped: bool) -> int: ...
    def free_host(self, address: int) -> None: ...
    def device_address(self, host_address: int) -> int: ...

    def create_stream(self) -> int:
        """A stream that does not wait for the default one."""
        ...

    def destroy_stream(self, stream: int) -> None: ...

    def create_event(self) -> int:
        """An event without a time, whose waiter sleeps instead of spinning."""
        ...

    def destroy_event(self, event: int) -> None: ...

    def copy_to_device(self, address: int, array: NDArray[np.generic], stream: int) -> None: ...
    def copy_to_host(self, array: NDArray[np.generic], address: int, stream: int) -> None: ...

    def compile(self, source: str, architecture: str) -> bytes:
        """A module of CUDA C++ for one architecture, e.g. `sm_87`, by the compiler that comes with the binding. No FMA is made.

        Raises:
            KernelError: there is no compiler, or it refuses the source.
        """
        ...

    def load_kernel(self, module: bytes, name: str) -> int:
        """A kernel of a compiled module, which goes with it."""
        ...

    def unload_kernel(self, kernel: int) -> None: ...

    def launch_kernel(self, kernel: int, grid: Extent, block: Extent, argument: NDArray[np.void], stream: int) -> None: ...

    def record(self, event: int, stream: int) -> None: ...
    def wait(self, event: int) -> None: ...
    def synchronise(self, stream: int) -> None: ...


def compiler_missing(compiler: str, reason: object, mend: str) -> KernelError:
    """What `Driver.compile` raises where its compiler cannot be used."""
    said = " ".join(str(reason).split())
    return KernelError(f"{compiler} cannot be used ({said}): {mend}, or set tensorrt.preprocess: cpu [preprocess.compiler]")


def version_text(number: int) -> str:
    """CUDA's number of a version for people: 12060 is `12.6`."""
    return f"{number // 1000}.{number % 1000 // 10}"
