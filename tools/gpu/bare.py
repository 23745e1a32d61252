"""An engine with nothing around it: what there is to reach on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import TensorSpec
from edged.backends.tensorrt.cuda import Cuda, Graph
from edged.backends.tensorrt.library import Library
from edged.backends.tensorrt.runner import SLOTS, make_runtime_config
from edged.errors import InferenceError, ModelError


class BareEngine:
    """A built engine that computes the same pictures again and again: copies and kernels, no look at the outputs.

    Memory is pinned and filled once; as many batches as `TensorrtBackend` has are in flight, each as one CUDA graph where it
    can be captured. TensorRT-RTX makes graphs itself, of kernels that it compiles before they are used. A context manager; it
    closes `cuda`.

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
        self._library = library
        self._cuda = cuda
        self._slots: list[_Slot] = []
        self._runtime = self._engine = None
        library.log.clear()
        try:
            self._runtime = library.module.Runtime(library.logger)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise ModelError(f"{library.label} cannot load the engine: {library.log.first_errors()} [engine.invalid]")
            for _ in range(SLOTS):
                self._add_slot(feeds, outputs)
        except BaseException:  # an interruption would keep the device's memory just the same; it goes on up
            self.close()
            raise

    def run(self, count: int) -> None:
        """Compute so many batches."""
        self._library.log.clear()
        for index in range(count):
            slot = self._slots[index % len(self._slots)]
            if index >= len(self._slots):
                self._cuda.wait(slot.event)
            if slot.graph is None:
                self._queue(slot)
            else:
                slot.graph.launch(slot.stream)
            self._cuda.record(slot.event, slot.stream)
        for slot in self._slots:
            self._cuda.synchronise(slot.stream)

    def close(self) -> None:
        """Free what TensorRT made, then the device's memory. The frames of an error hold slots, but nothing of TensorRT's."""
        for slot in self._slots:
            slot.context = None
            slot.config = None
        self._engine = self._runtime = None
        self._cuda.close()

    def __enter__(self) -> BareEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _add_slot(self, feeds: Mapping[str, NDArray[np.generic]], outputs: Mapping[str, TensorSpec]) -> None:
        """One more batch in flight; computed once, and then captured where that is for us to do."""
        slot = _Slot(self._cuda.stream(), self._cuda.event())
        self._slots.append(slot)
        self._make_context(slot)
        (n,) = {len(array) for array in feeds.values()}
        for name, array in feeds.items():
            if not slot.context.set_input_shape(name, array.shape):
                raise self._refusal(f"refuses {array.shape} for input {name!r}")
            slot.inputs.append(self._make_tensor(slot, name, array.shape, array.dtype.name))
            slot.inputs[-1][1][...] = array
        for name, spec in outputs.items():
            slot.outputs.append(self._make_tensor(slot, name, (n, *spec.shape[1:]), spec.dtype))
        self._queue(slot)
        self._cuda.synchronise(slot.stream)
        if self._library.differences.portable:
            return
        try:
            slot.graph = self._cuda.capture(slot.stream, lambda: self._queue(slot))
        except InferenceError:
            self._cuda.synchronise(slot.stream)  # call by call, then

    def _make_context(self, slot: _Slot) -> None:
        """As `TensorrtBackend` makes it to measure."""
        assert self._engine is not None
        if not self._library.differences.portable:
            slot.context = self._engine.create_execution_context()
        else:
            slot.config = make_runtime_config(self._engine, self._library, use_graphs=True, eager_kernels=True)
            slot.context = self._engine.create_execution_context(slot.config)
        if slot.context is None:
            raise self._refusal("makes no execution context")

    def _make_tensor(self, slot: _Slot, name: str, shape: tuple[int, ...], dtype: str) -> tuple[int, NDArray[np.generic]]:
        """Memory of the device, by its address, and pinned memory of the host."""
        host = self._cuda.pinned(shape, dtype).array
        address = self._cuda.allocate(host.nbytes).address
        if not slot.context.set_tensor_address(name, address):
            raise self._refusal(f"refuses the memory of {name!r}")
        return address, host

    def _queue(self, slot: _Slot) -> None:
        for address, host in slot.inputs:
            self._cuda.copy_to_device(address, host, slot.stream)
        if not slot.context.execute_async_v3(slot.stream):
            raise self._refusal("failed on a batch")
        for address, host in slot.outputs:
            self._cuda.copy_to_host(host, address, slot.stream)

    def _refusal(self, what: str) -> InferenceError:
        """TensorRT answers None or False, also where the device's memory is full; why is in its log."""
        return InferenceError(f"the bare engine: {self._library.label} {what}: {self._library.log.first_errors()}")


@dataclass(slots=True, eq=False)
class _Slot:
    """Memory, stream and context of one batch in flight.

    Attributes:
        context: TensorRT's IExecutionContext; None once it is freed.
        config: what it was made with, which lives as long.
        inputs, outputs: address of the device, and pinned memory of the host.
        graph: None where batches are queued call by call.
    """

    stream: int
    event: int
    context: Any = None
    config: Any = None
    inputs: list[tuple[int, NDArray[np.generic]]] = field(default_factory=list)
    outputs: list[tuple[int, NDArray[np.generic]]] = field(default_factory=list)
    graph: Graph | None = None
