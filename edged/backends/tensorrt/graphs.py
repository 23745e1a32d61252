"""CUDA graphs by the driver itself: the calls that PyCUDA lacks (inducer/pycuda#343), the same for both bindings.

Source: CUDA Driver API Reference 13.0, stream and graph management.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from edged.backends.tensorrt.driver import check

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile


def load_graphs() -> Graphs:
    """The calls of the driver, which a binding has loaded already."""
    return Graphs(ctypes.CDLL("libcuda.so.1"))


class Graphs:
    """Captures, launches and destroys graphs; the context must be current. Made by `load_graphs`. Raises what `check` raises."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """The handle of an executable graph of what `work` queues on the stream."""
        library = self._library
        graph = ctypes.c_void_p()
        execution = ctypes.c_void_p()
        check(library.cuStreamBeginCapture_v2(ctypes.c_void_p(stream), _THREAD_LOCAL), "cuStreamBeginCapture")
        try:
            work()
        except BaseException:  # the capture must end, whatever became of it; the error of `work` says more than the driver's
            library.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
            if graph.value is not None:
                library.cuGraphDestroy(graph)
            raise
        check(library.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph)), "cuStreamEndCapture")
        try:
            code = library.cuGraphInstantiateWithFlags(ctypes.byref(execution), graph, ctypes.c_uint64(0))
            check(code, "cuGraphInstantiateWithFlags")
        finally:
            library.cuGraphDestroy(graph)
        assert execution.value is not None  # the driver said that it succeeded
        return execution.value

    def launch(self, execution: int, stream: int) -> None:
        """Queue the whole graph on the stream."""
        check(self._library.cuGraphLaunch(ctypes.c_void_p(execution), ctypes.c_void_p(stream)), "cuGraphLaunch")

    def destroy(self, execution: int) -> None:
        check(self._library.cuGraphExecDestroy(ctypes.c_void_p(execution)), "cuGraphExecDestroy")
