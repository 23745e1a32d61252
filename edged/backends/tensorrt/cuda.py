"""What a runner wants of a CUDA device: memory, copies, kernels, streams, events, graphs, the same over either Python binding.

`open_cuda` → `Cuda` (one owner thread, lifetimes) → `Driver` (one call of the CUDA driver each) → pycuda or cuda-bindings.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edged.backends.tensorrt.driver import Binding, DeviceFacts, Driver, Extent
from edged.backends.tensorrt.graphs import Graphs, load_graphs
from edged.errors import DeviceError, DeviceMemoryError, DeviceMissingError, InferenceError


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory of the device.

    Attributes:
        address: where it starts, for the device.
        n_bytes: its length.
    """

    address: int
    n_bytes: int
    _release: Callable[[], None] = field(repr=False)

    def close(self) -> None:
        """Free it, after whatever uses it was waited for. Again does nothing."""
        self._release()


@dataclass(frozen=True, slots=True, eq=False)
class PinnedArray:
    """Memory of the host that is never paged out, so copies of it run beside other work.

    Attributes:
        array: the memory, of the shape and type asked for, not initialised. **Gone after close**: neither it nor a view of it
            may be touched then.
        device_address: where a device finds the same memory, None unless it was asked for as mapped.
    """

    array: NDArray[np.generic]
    device_address: int | None
    _release: Callable[[], None] = field(repr=False)

    def close(self) -> None:
        """Free it, after whatever uses it was waited for. Again does nothing."""
        self._release()


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Work of a stream that was captured once and is launched whole."""

    _launch: Callable[[int], None]
    _release: Callable[[], None]

    def launch(self, stream: int) -> None:
        """Queue the work again, on the addresses it was captured with.

        Raises:
            DeviceError: the device is lost.
            InferenceError: the driver refused it.
        """
        self._launch(stream)

    def close(self) -> None:
        """Free it, after its last launch was waited for. Again does nothing."""
        self._release()


def open_cuda(binding: Binding = "auto", *, device: int = 0) -> Cuda:
    """A CUDA device, owned by the thread that asks; close it there.

    Its context is the device's primary one and counted: each backend may open the device for itself.

    Args:
        binding: the Python package to go through; `auto` takes the first of pycuda and cuda-bindings that can be imported.
        device: which, from 0, in the driver's order.

    Raises:
        DeviceMissingError: no binding can be imported, or the driver has no such device.
        DeviceMemoryError: the device has no memory left for a context.
        DeviceError: the device is lost.
    """
    driver = _load_driver(binding)
    try:
        facts = driver.open(device)
    except DeviceMemoryError:
        raise
    except InferenceError as error:
        raise DeviceMissingError(
            f"no CUDA device {device}: {driver.label}: {error}: check that `nvidia-smi` works for this user (on Jetson: that "
            f"it is in the groups video and render), docs/jetson.md [device.missing]"
        ) from error
    return Cuda(driver, load_graphs(), facts)


def _load_driver(binding: Binding) -> Driver:
    reasons = []
    for name in ("pycuda", "cuda-bindings") if binding == "auto" else (binding,):
        try:
            if name == "pycuda":
                from edged.backends.tensorrt.pycuda_driver import load_pycuda

                return load_pycuda()
            from edged.backends.tensorrt.cuda_bindings_driver import load_cuda_bindings

            return load_cuda_bindings()
        except ImportError as error:
            reasons.append(f"cannot import {name} ({error})")
    raise DeviceMissingError(
        f"no CUDA binding: {', '.join(reasons)}: pip install cuda-bindings, or build PyCUDA, docs/jetson.md [backend.missing]"
    )


class Cuda:
    """A CUDA device and all that was taken from it, a context manager; made by `open_cuda`.

    Attributes:
        device: what is known of it.
        label: binding and version, for people, e.g. `cuda-bindings 13.5.0`.

    It belongs to the thread that opened it: any other that calls it, or closes what it gave out, gets an InferenceError.
    Streams, events and kernels live as long as it does; buffers, pinned arrays and graphs may be closed before. The garbage
    collector frees nothing.

    Every method raises:
        DeviceError: the device is lost for this process, perhaps by work that was queued long before.
        InferenceError: the device is closed, owned by another thread, or the driver refused the call.
    """

    def __init__(self, driver: Driver, graphs: Graphs, device: DeviceFacts) -> None:
        self.device = device
        self.label = driver.label
        self._driver: Driver | None = driver
        self._graphs = graphs
        self._owner = threading.current_thread()
        self._is_lost = False
        self._held: dict[int, Callable[[], None]] = {}  # how to give each thing back, oldest first
        self._streams: list[int] = []
        self._numbers = itertools.count()

    def check_owner(self) -> None:
        """Refuse any thread but the owner, before something is changed that belongs to it."""
        caller = threading.current_thread()
        if caller is not self._owner:
            raise InferenceError(f"the device is owned by thread {self._owner.name!r}, called from {caller.name!r}")

    def free_bytes(self) -> int:
        """Memory of the device that nobody has taken, at this moment."""
        with self._using() as driver:
            return driver.free_bytes()

    def allocate(self, n_bytes: int) -> Buffer:
        """Memory of the device, aligned to 256 bytes, not initialised.

        Raises:
            DeviceMemoryError: there is not enough.
        """
        with self._using() as driver:
            address = driver.allocate(n_bytes)
            return Buffer(address, n_bytes, self._hold(lambda: driver.free(address)))

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike, *, mapped: bool = False) -> PinnedArray:
        """Page-locked memory of the host as an array.

        Args:
            shape: of the array, at least one element.
            dtype: of the array.
            mapped: let the device read and write the memory in place; worth it only where `device.is_integrated`.

        Raises:
            DeviceMemoryError: there is not enough.
        """
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        with self._using() as driver:
            address = driver.allocate_host(n_bytes, mapped=mapped)
            release = self._hold(lambda: driver.free_host(address))
            memory = (ctypes.c_uint8 * n_bytes).from_address(address)
            array = np.frombuffer(memory, dtype).reshape(shape)
            return PinnedArray(array, driver.device_address(address) if mapped else None, release)

    def stream(self) -> int:
        """The handle of a new stream, which does not wait for the default one; lives until `close`."""
        with self._using() as driver:
            stream = driver.create_stream()
            self._streams.append(stream)
            self._hold(lambda: driver.destroy_stream(stream))
            return stream

    def event(self) -> int:
        """The handle of a new event, whose waiter sleeps; lives until `close`."""
        with self._using() as driver:
            event = driver.create_event()
            self._hold(lambda: driver.destroy_event(event))
            return event

    def copy_to_device(self, address: int, array: NDArray[np.generic], stream: int) -> None:
        """Queue a copy of a contiguous array to an address of the device; it must not change before it was waited for."""
        _check_contiguous(array)
        with self._using() as driver:
            driver.copy_to_device(address, array, stream)

    def copy_to_host(self, array: NDArray[np.generic], address: int, stream: int) -> None:
        """Queue a copy from an address of the device into a contiguous array, which holds it once it was waited for."""
        _check_contiguous(array)
        with self._using() as driver:
            driver.copy_to_host(array, address, stream)

    def compile(self, source: str) -> bytes:
        """A module of CUDA C++ for this device: by NVRTC, or by nvcc where PyCUDA is the binding. No FMA is made.

        Raises:
            KernelError: there is no compiler, or it refuses the source.
        """
        with self._using() as driver:
            return driver.compile(source, "sm_{}{}".format(*self.device.compute_capability))

    def kernel(self, module: bytes, name: str) -> int:
        """The handle of a kernel of a compiled module; lives until `close`."""
        with self._using() as driver:
            kernel = driver.load_kernel(module, name)
            self._hold(lambda: driver.unload_kernel(kernel))
            return kernel

    def launch(self, kernel: int, *, grid: Extent, block: Extent, argument: NDArray[np.void], stream: int) -> None:
        """Queue a kernel.

        Args:
            grid, block: how many blocks, and threads of each.
            argument: () of the structure that is the kernel's only parameter, laid out as C does; copied at once.
        """
        with self._using() as driver:
            driver.launch_kernel(kernel, grid, block, argument, stream)

    def record(self, event: int, stream: int) -> None:
        """Let the event stand for all that is queued on the stream so far."""
        with self._using() as driver:
            driver.record(event, stream)

    def wait(self, event: int) -> None:
        """Sleep until all that the event stands for is done. Other threads run meanwhile."""
        with self._using() as driver:
            driver.wait(event)

    def synchronise(self, stream: int) -> None:
        """Wait until all that is queued on the stream is done. Other threads run meanwhile."""
        with self._using() as driver:
            driver.synchronise(stream)

    def capture(self, stream: int, work: Callable[[], None]) -> Graph:
        """Record what `work` queues on the stream, without doing it, as a graph.

        What `work` raises is passed on, after the capture was ended.

        Raises:
            InferenceError: something that `work` did cannot be captured; the stream can be used as before.
        """
        with self._using():
            execution = self._graphs.capture(stream, work)
            return Graph(
                lambda stream: self._launch(execution, stream),
                self._hold(lambda: self._graphs.destroy(execution)),
            )

    def _launch(self, execution: int, stream: int) -> None:
        with self._using():
            self._graphs.launch(execution, stream)

    def close(self) -> None:
        """Wait for all work of its streams, free all that was taken, newest first, and leave the context. Again does nothing.

        All of it is tried, then the first error is raised; not on a device whose loss was told already. To wait for the whole
        context would break what another thread captures in it.

        Source: CUDA Programming Guide 13.0, CUDA graphs, prohibited and unhandled operations.
        """
        if self._driver is None:
            return
        self.check_owner()
        driver, self._driver = self._driver, None
        first_error: InferenceError | DeviceError | None = None
        waits = [partial(driver.synchronise, stream) for stream in self._streams]
        for step in (*waits, *reversed(self._held.values()), driver.close):
            try:
                step()
            except (InferenceError, DeviceError) as error:
                first_error = first_error or error
        self._held.clear()
        if first_error is not None and not self._is_lost:
            raise first_error

    def __enter__(self) -> Cuda:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if self._driver is not None:
            warnings.warn(f"{self.label} on {self.device.name} was never closed", ResourceWarning, stacklevel=2, source=self)

    @contextmanager
    def _using(self) -> Iterator[Driver]:
        self.check_owner()
        if self._driver is None:
            raise InferenceError("the device is closed")
        try:
            yield self._driver
        except DeviceError:
            self._is_lost = True
            raise

    def _hold(self, give_back: Callable[[], None]) -> Callable[[], None]:
        """Keep how to give a thing back for `close`; the answer does it earlier, and only once."""
        number = next(self._numbers)
        self._held[number] = give_back

        def release() -> None:
            self.check_owner()
            kept = self._held.pop(number, None)
            if kept is not None:
                with self._using():
                    kept()

        return release


def _check_contiguous(array: NDArray[np.generic]) -> None:
    if not array.flags.c_contiguous:
        raise InferenceError(f"an array of shape {array.shape} and strides {array.strides} is not contiguous: copy it first")
