"""The CUDA driver through PyCUDA. The only module that imports it, and only when it is opened; never `pycuda.autoinit`.

PyCUDA's objects free themselves when the last reference goes, so they are kept here until `Cuda` gives them back. Its errors
carry no code, only the driver's text; it only prints what fails while it frees; and it aborts a process that ends without
having closed its `Cuda`.

Source: PyCUDA 2026.1, src/cpp/cuda.hpp.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.backends.tensorrt.driver import (
    INVALID_HANDLE,
    DeviceFacts,
    Driver,
    Extent,
    check,
    compiler_missing,
    version_text,
)
from edged.errors import InferenceError, KernelError

_STREAM_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING; PyCUDA has no name for it


def load_pycuda() -> Driver:
    """The driver's calls; none is made yet.

    Raises:
        ImportError: there is no such package, or no driver: PyCUDA is linked with it.
    """
    import pycuda
    import pycuda.driver

    return PycudaDriver(pycuda.driver, f"pycuda {pycuda.VERSION_TEXT}")


class PycudaDriver:
    """`Driver` by PyCUDA, whose objects are known by their handles here."""

    def __init__(self, driver: Any, label: str) -> None:
        self._driver = driver
        self.label = label
        self._context: Any = None
        self._allocations: dict[int, Any] = {}
        self._host_allocations: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._events: dict[int, Any] = {}
        self._kernels: dict[int, tuple[Any, Any]] = {}  # module and function
        self._numbers = itertools.count(1)
        self._codes: dict[str, int] = {}

    def open(self, ordinal: int) -> DeviceFacts:
        driver = self._driver
        with self._translated():
            driver.init()
            count = driver.Device.count()
            if not 0 <= ordinal < count:
                raise InferenceError(f"the driver has {count}, counted from 0")
            device = driver.Device(ordinal)
            facts = DeviceFacts(
                name=device.name(),
                compute_capability=device.compute_capability(),
                driver_version=version_text(driver.get_driver_version()),
                total_bytes=device.total_memory(),
                is_integrated=bool(device.get_attribute(driver.device_attribute.INTEGRATED)),
            )
            self._context = device.retain_primary_context()
            try:
                self._context.push()
            except driver.Error:
                self._context.detach()  # which enters the context to leave it
                _pop_context()
                raise
        return facts

    def close(self) -> None:
        # Context.pop() raises on a lost device and then leaves the context on PyCUDA's own stack, for which PyCUDA aborts the
        # process at its end; detach() cleans that stack whatever happens, but leaves the driver's as it is.
        code = _pop_context()
        with self._translated():
            self._context.detach()
        check(code, "cuCtxPopCurrent")

    def free_bytes(self) -> int:
        with self._translated():
            free, _total = self._driver.mem_get_info()
        return free

    def allocate(self, n_bytes: int) -> int:
        with self._translated(f" of {n_bytes} bytes"):
            allocation = self._driver.mem_alloc(n_bytes)
        address = int(allocation)
        self._allocations[address] = allocation
        return address

    def free(self, address: int) -> None:
        with self._translated():
            self._allocations.pop(address).free()

    def allocate_host(self, n_bytes: int, *, mapped: bool) -> int:
        flags = self._driver.host_alloc_flags.DEVICEMAP if mapped else 0
        with self._translated(f" of {n_bytes} bytes"):
            array = self._driver.pagelocked_empty(n_bytes, np.uint8, mem_flags=flags)
        address = array.ctypes.data
        self._host_allocations[address] = array.base
        return address

    def free_host(self, address: int) -> None:
        with self._translated():
            self._host_allocations.pop(address).free()

    def device_address(self, host_address: int) -> int:
        with self._translated():
            return int(self._host_allocations[host_address].get_device_pointer())

    def create_stream(self) -> int:
        with self._translated():
            stream = self._driver.Stream(_STREAM_NON_BLOCKING)
        self._streams[stream.handle] = stream
        return stream.handle

    def destroy_stream(self, stream: int) -> None:
        del self._streams[stream]

    def create_event(self) -> int:
        flags = self._driver.event_flags
        with self._translated():
            event = self._driver.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING)
        number = next(self._numbers)  # PyCUDA shows no handle of an event
        self._events[number] = event
        return number

    def destroy_event(self, event: int) -> None:
        del self._events[event]

    def copy_to_device(self, address: int, array: NDArray[np.generic], stream: int) -> None:
        with self._translated():
            self._driver.memcpy_htod_async(address, array, self._find_stream(stream))

    def copy_to_host(self, array: NDArray[np.generic], address: int, stream: int) -> None:
        with self._translated():
            self._driver.memcpy_dtoh_async(array, address, self._find_stream(stream))

    def compile(self, source: str, architecture: str) -> bytes:
        from pycuda import compiler

        try:
            return compiler.compile(source, options=["--fmad=false"], no_extern_c=True, arch=architecture, cache_dir=False)
        except OSError as error:  # it starts nvcc, which is not there
            raise compiler_missing(
                "nvcc", error, "put the CUDA toolkit's nvcc into the path, or pip install cuda-bindings"
            ) from error
        except self._driver.Error as error:
            raise KernelError(f"nvcc refuses the kernel for {architecture}: {error} [preprocess.compiler]") from error

    def load_kernel(self, module: bytes, name: str) -> int:
        with self._translated():
            loaded = self._driver.module_from_buffer(module)
            function = loaded.get_function(name)
        kernel = next(self._numbers)  # PyCUDA shows no handle of a function
        self._kernels[kernel] = (loaded, function)
        return kernel

    def unload_kernel(self, kernel: int) -> None:
        del self._kernels[kernel]

    def launch_kernel(self, kernel: int, grid: Extent, block: Extent, argument: NDArray[np.void], stream: int) -> None:
        if kernel not in self._kernels:
            check(INVALID_HANDLE, f"kernel {kernel}")
        _module, function = self._kernels[kernel]
        with self._translated():
            function(argument[()], grid=grid, block=block, stream=self._find_stream(stream))

    def record(self, event: int, stream: int) -> None:
        with self._translated():
            self._find_event(event).record(self._find_stream(stream))

    def wait(self, event: int) -> None:
        with self._translated():
            self._find_event(event).synchronize()

    def synchronise(self, stream: int) -> None:
        with self._translated():
            self._find_stream(stream).synchronize()

    def _find_stream(self, stream: int) -> Any:
        if stream not in self._streams:
            check(INVALID_HANDLE, f"stream {stream}")
        return self._streams[stream]

    def _find_event(self, event: int) -> Any:
        if event not in self._events:
            check(INVALID_HANDLE, f"event {event}")
        return self._events[event]

    @contextmanager
    def _translated(self, what: str = "") -> Iterator[None]:
        """Raise what `check` would for an error of PyCUDA, which reads `cuMemAlloc failed: out of memory`."""
        try:
            yield
        except self._driver.Error as error:
            call, _, text = str(error).partition(" failed: ")
            code = self._find_code(text)
            if code is None:
                raise InferenceError(str(error)) from error
            check(code, f"{call}{what}")

    def _find_code(self, text: str) -> int | None:
        """The driver's number of the error that it describes so; PyCUDA may have added ` - ` and more."""
        if not self._codes:
            library = ctypes.CDLL("libcuda.so.1")
            described = ctypes.c_char_p()
            for code in range(1, 1000):
                if library.cuGetErrorString(code, ctypes.byref(described)) == 0 and described.value is not None:
                    self._codes.setdefault(described.value.decode(errors="replace"), code)
        return self._codes.get(text, self._codes.get(text.partition(" - ")[0]))


def _pop_context() -> int:
    """Take the current context off the driver's stack of this thread; the driver's answer."""
    return ctypes.CDLL("libcuda.so.1").cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
