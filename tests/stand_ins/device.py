"""A stand-in for a CUDA driver and its Python binding: memory of this process, and work that is done when it is waited for."""

from __future__ import annotations

import ctypes
import itertools
from collections import Counter, deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edged.backends.tensorrt.cuda import Cuda
from edged.backends.tensorrt.driver import INVALID_HANDLE, OUT_OF_MEMORY, STICKY, DeviceFacts, Extent, check

INVALID_VALUE, ILLEGAL_ADDRESS = 1, 700


def open_stand_in_device(**settings: object) -> tuple[StandInDevice, Cuda]:
    """A stand-in, and the real `Cuda` over it, owned by this thread."""
    device = StandInDevice(**settings)
    return device, Cuda(device, device, device.open(0))


class StandInDevice:
    """Both a `Driver` and its `Graphs`.

    Work of a stream is queued and done only when somebody waits for it, so that a missing wait shows as old numbers. Calls fail
    when told to; after a sticky error all do.

    Attributes:
        live: how many of each thing exist, e.g. `live["stream"]`.
        calls: how often each call was made.
        module: what `compile` gives, of `stand_ins.kernels`.
    """

    label = "stand-in driver"

    def __init__(self, *, is_integrated: bool = False, memory_bytes: int = 1 << 30) -> None:
        self.live: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.module = b""
        self.on_close: Callable[[], None] = lambda: None
        self._facts = DeviceFacts("Stand-in", (8, 7), "13.0", memory_bytes, is_integrated)
        self._failures: dict[tuple[str, int], int] = {}
        self._lost_code = 0
        self._next_fault = 0
        self._memory: dict[int, ctypes.Array[ctypes.c_uint8]] = {}
        self._streams: dict[int, deque[Callable[[], None]]] = {}
        self._events: dict[int, tuple[int, Callable[[], None]]] = {}
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._capture: tuple[int, list[Callable[[], None]]] | None = None
        self._kernels: dict[int, Callable[..., None]] = {}
        self._handles = itertools.count(1)

    def fail(self, call: str, code: int, *, after: int = 0) -> None:
        """Let a call answer this code once, after so many more that succeed."""
        self._failures[call, self.calls[call] + after + 1] = code

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        """What a kernel does, or `cuLaunchHostFunc`: part of the capture while the stream is captured."""
        if stream not in self._streams:
            check(INVALID_HANDLE, f"stream {stream}")
        if self.is_capturing(stream):
            self._capture[1].append(work)
        else:
            self._streams[stream].append(work)

    def fault_next(self, code: int) -> None:
        """Let the work that is done next fail on the device, and so every later call."""
        self._next_fault = code

    def is_capturing(self, stream: int) -> bool:
        return self._capture is not None and self._capture[0] == stream

    def open(self, ordinal: int) -> DeviceFacts:
        self._called("open")
        self.live["context"] += 1
        return self._facts

    def close(self) -> None:
        self.on_close()
        self._called("close")
        self.live["context"] -= 1

    def free_bytes(self) -> int:
        self._called("free_bytes")
        return self._facts.total_bytes - sum(map(len, self._memory.values()))

    def allocate(self, n_bytes: int) -> int:
        self._called("allocate")
        if n_bytes > self.free_bytes():
            check(OUT_OF_MEMORY, f"allocate {n_bytes} bytes")
        return self._take("memory", n_bytes)

    def free(self, address: int) -> None:
        self._called("free")
        self._give_back("memory", address)

    def allocate_host(self, n_bytes: int, *, mapped: bool) -> int:
        self._called("allocate_host")
        return self._take("host memory", n_bytes)

    def free_host(self, address: int) -> None:
        self._called("free_host")
        self._give_back("host memory", address)

    def device_address(self, host_address: int) -> int:
        self._called("device_address")
        return host_address

    def create_stream(self) -> int:
        self._called("create_stream")
        self.live["stream"] += 1
        stream = next(self._handles)
        self._streams[stream] = deque()
        return stream

    def destroy_stream(self, stream: int) -> None:
        self._called("destroy_stream")
        self.live["stream"] -= 1
        del self._streams[stream]

    def create_event(self) -> int:
        self._called("create_event")
        self.live["event"] += 1
        return next(self._handles)

    def destroy_event(self, event: int) -> None:
        self._called("destroy_event")
        self.live["event"] -= 1
        self._events.pop(event, None)

    def copy_to_device(self, address: int, array: NDArray[np.generic], stream: int) -> None:
        self._called("copy_to_device")
        self._queue_copy(stream, address, array.ctypes.data, array.nbytes, of_device=address)

    def copy_to_host(self, array: NDArray[np.generic], address: int, stream: int) -> None:
        self._called("copy_to_host")
        self._queue_copy(stream, array.ctypes.data, address, array.nbytes, of_device=address)

    def compile(self, source: str, architecture: str) -> bytes:
        self._called("compile")
        return self.module

    def load_kernel(self, module: bytes, name: str) -> int:
        self._called("load_kernel")
        self.live["kernel"] += 1
        kernel, library = next(self._handles), ctypes.CDLL(module.decode())
        self._kernels[kernel] = getattr(library, f"{name}_grid")
        return kernel

    def unload_kernel(self, kernel: int) -> None:
        self._called("unload_kernel")
        self.live["kernel"] -= 1
        del self._kernels[kernel]

    def launch_kernel(self, kernel: int, grid: Extent, block: Extent, argument: NDArray[np.void], stream: int) -> None:
        self._called("launch_kernel")
        run, copied = self._kernels[kernel], argument.copy()
        extents = [(ctypes.c_uint * 3)(*extent) for extent in (grid, block)]
        self.queue(stream, lambda: run(*extents, ctypes.c_void_p(copied.ctypes.data)))

    def record(self, event: int, stream: int) -> None:
        self._called("record")

        def marker() -> None:
            """Where the event stands in its stream."""

        self._events[event] = (stream, marker)
        self.queue(stream, marker)

    def wait(self, event: int) -> None:
        self._called("wait")
        stream, marker = self._events[event]
        while marker in self._streams[stream]:
            self._step(stream)

    def synchronise(self, stream: int) -> None:
        self._called("synchronise")
        while self._streams[stream]:
            self._step(stream)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        self._called("capture")
        self._capture = (stream, [])
        try:
            work()
            self._called("end_capture")
            graph = next(self._handles)
            self._graphs[graph] = self._capture[1]
        finally:
            self._capture = None
        self.live["graph"] += 1
        return graph

    def launch(self, execution: int, stream: int) -> None:
        self._called("launch")
        for work in self._graphs[execution]:
            self.queue(stream, work)

    def destroy(self, execution: int) -> None:
        self._called("destroy")
        self.live["graph"] -= 1
        del self._graphs[execution]

    def _called(self, call: str) -> None:
        self.calls[call] += 1
        check(self._lost_code, call)
        code = self._failures.pop((call, self.calls[call]), 0)
        if code in STICKY:
            self._lost_code = code
        check(code, call)

    def _step(self, stream: int) -> None:
        self._streams[stream].popleft()()
        self._lost_code = self._lost_code or self._next_fault
        check(self._lost_code, "work of a stream")

    def _queue_copy(self, stream: int, to: int, source: int, n_bytes: int, *, of_device: int) -> None:
        def copy() -> None:
            if any(0 <= of_device - start <= len(block) - n_bytes for start, block in self._memory.items()):
                ctypes.memmove(to, source, n_bytes)
            else:
                self._lost_code = ILLEGAL_ADDRESS

        self.queue(stream, copy)

    def _take(self, kind: str, n_bytes: int) -> int:
        block = (ctypes.c_uint8 * n_bytes)()
        ctypes.memset(block, 0xFF, n_bytes)  # NaN: nobody may count on what is there
        self._memory[ctypes.addressof(block)] = block
        self.live[kind] += 1
        return ctypes.addressof(block)

    def _give_back(self, kind: str, address: int) -> None:
        self.live[kind] -= 1
        del self._memory[address]
