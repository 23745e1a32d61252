"""An engine with nothing around it: what there is to reach on a device."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import TensorSpec
from edged.backends.tensorrt.cuda import Cuda, Graph
from edged.backends.tensorrt.library import Library
from edged.backends.tensorrt.runner import SLOTS
from edged.errors import InferenceError, ModelError


class BareEngine:
    """A built engine that computes the same pictures again and again: copies and kernels, no look at the outputs.

    Memory is pinned and filled once; as many batches as `TensorrtBackend` has are in flight, each as one CUDA graph where it
    can be captured. A context manager; it closes `cuda`.

    Args:
        feeds: by name of an input, (N, ...) of the engine's own types; N is the batch.
        outputs: what the engine gives, as `TensorrtBackend` has read it.

    Raises:
        ModelError: TensorRT cannot load it.
        InferenceError, DeviceError: it fails on these feeds.
    """

    def __init__(
        self,
        plan: bytes,
        feeds: Mapping[str, NDArray[np.generic]],
        outputs: Mapping[str, TensorSpec],
        *,
        library: Library,
        cuda: Cuda,
    ) -> None:
        self._cuda = cuda
        self._slots: list[_Slot] = []
        self._runtime = self._engine = None
        try:
            self._runtime = library.module.Runtime(library.logger)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise ModelError(
                    f"{library.label} cannot load the engine: {'; '.join(library.log.errors()[:3])} [engine.invalid]"
                )
            self._slots = [_Slot(self._engine, feeds, outputs, cuda=cuda) for _ in range(SLOTS)]
        except BaseException:  # an interruption would keep the device's memory just the same; it goes on up
            self.close()
            raise

    def run(self, count: int) -> None:
        """Compute so many batches."""
        for index in range(count):
            slot = self._slots[index % len(self._slots)]
            if index >= len(self._slots):
                self._cuda.wait(slot.event)
            slot.start()
        for slot in self._slots:
            self._cuda.synchronise(slot.stream)

    def close(self) -> None:
        """Free what TensorRT made, then the device's memory."""
        for slot in self._slots:
            slot.context = None
        self._engine = self._runtime = None
        self._cuda.close()

    def __enter__(self) -> BareEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class _Slot:
    """Memory, stream and context of one batch in flight, captured after a first run."""

    def __init__(
        self, engine: Any, feeds: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, TensorSpec], *, cuda: Cuda
    ) -> None:
        self.stream, self.event = cuda.stream(), cuda.event()
        self.context = engine.create_execution_context()
        self._cuda = cuda
        self._graph: Graph | None = None
        (n,) = {len(array) for array in feeds.values()}
        for name, array in feeds.items():
            self.context.set_input_shape(name, array.shape)
        self._inputs = [self._make_tensor(name, array.shape, array.dtype.name) for name, array in feeds.items()]
        self._outputs = [self._make_tensor(name, (n, *spec.shape[1:]), spec.dtype) for name, spec in outputs.items()]
        for (_, host), array in zip(self._inputs, feeds.values(), strict=True):
            host[...] = array
        self._queue()
        cuda.synchronise(self.stream)
        try:
            self._graph = cuda.capture(self.stream, self._queue)
        except InferenceError:
            cuda.synchronise(self.stream)  # call by call, then

    def _make_tensor(self, name: str, shape: tuple[int, ...], dtype: str) -> tuple[int, NDArray[np.generic]]:
        """Memory of the device, by its address, and pinned memory of the host."""
        host = self._cuda.pinned(shape, dtype).array
        address = self._cuda.allocate(host.nbytes).address
        self.context.set_tensor_address(name, address)
        return address, host

    def start(self) -> None:
        """Queue the batch, and the event behind it."""
        if self._graph is None:
            self._queue()
        else:
            self._graph.launch(self.stream)
        self._cuda.record(self.event, self.stream)

    def _queue(self) -> None:
        for address, host in self._inputs:
            self._cuda.copy_to_device(address, host, self.stream)
        if not self.context.execute_async_v3(self.stream):
            raise InferenceError("the bare engine failed on a batch")
        for address, host in self._outputs:
            self._cuda.copy_to_host(host, address, self.stream)
