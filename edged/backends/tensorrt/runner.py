"""A TensorRT engine that computes: named tensors, streams and memory of its own, two batches in flight."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Feeds, Pictures, Place, Tensors, TensorSpec, check_feeds
from edged.backends.tensorrt.cuda import Buffer, Cuda, Graph
from edged.backends.tensorrt.letterbox import Letterbox, PictureFormat, Staging
from edged.backends.tensorrt.library import Library
from edged.errors import (
    DeviceError,
    DeviceMemoryError,
    DeviceMissingError,
    EdgedError,
    EngineMissingError,
    InferenceError,
    ModelError,
)

SLOTS = 2
"""Batches in flight: one computes while the host fills or reads the other."""

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
"""TensorRT's names of the types that NumPy has, too. `nptype` of 8.6 wants an `np.bool`, which NumPy 1.24 to 1.26 lack."""

_MEMORY_WORDS = ("out of memory", "outofmemory", "could not be allocated")
"""How TensorRT's messages say that the device's memory is full; it answers None or False, as for everything else."""

_CAPTURE_TRIES = 3
"""One may fail for what another thread does; where it fails again, those of this kind always will."""

_RefusalKind = type[InferenceError] | type[ModelError]

_log = logging.getLogger(__name__)


def open_tensorrt_backend(
    plan: bytes,
    *,
    name: str,
    library: Library,
    cuda: Cuda,
    max_batch: int,
    pictures: PictureFormat | None = None,
    use_graphs: bool = True,
    eager_kernels: bool = False,
    poison: bool = False,
) -> TensorrtBackend:
    """An engine ready to compute batches of 1 to `max_batch`, warm; close it after use.

    Args:
        plan: the engine as it was built. It is executable content: only from a place that nobody else can write to.
        name: which network in which precision, for messages, e.g. `detector fp16`.
        library: the TensorRT that built it.
        cuda: the device. From here on it belongs to the backend, which closes it, also when opening fails.
        max_batch: memory is taken for so many; the engine must have been built for them.
        pictures: take `Pictures` for the input that it names, too, and fit them into it on the device.
        use_graphs: capture each size of batch, and replay it from then on; TensorRT-RTX does so itself.
        eager_kernels: TensorRT-RTX compiles the kernels for a size of batch before its first use, not beside it: to measure.
        poison: set all bits of the outputs (NaN in floats) before each batch: what an engine leaves out shows. For tests.

    Raises:
        DeviceMissingError: the library finds no device.
        EngineMissingError: the engine is not for this device, driver or library.
        ModelError: it cannot be loaded, or has inputs or outputs that this backend cannot feed or fetch.
        KernelError: there is no compiler for the kernel that `pictures` need.
        DeviceMemoryError: the device has too little memory for such batches; a smaller `max_batch` may fit.
        InferenceError: it fails on a batch of zeros.
        DeviceError: the device is lost.
    """
    engine = _Engine(name, library, cuda, use_graphs=use_graphs, eager_kernels=eager_kernels)
    try:
        return _open(engine, plan, max_batch=max_batch, pictures=pictures, poison=poison)
    except BaseException:  # an interruption would keep the device's memory just the same; it goes on up
        engine.close()
        raise


def _open(engine: _Engine, plan: bytes, *, max_batch: int, pictures: PictureFormat | None, poison: bool) -> TensorrtBackend:
    engine.load(plan)
    inputs, outputs = engine.read_specs()
    min_batch = engine.check_batches(inputs, max_batch)
    letterbox = pictures and _make_letterbox(engine, pictures, inputs)  # before any memory: it may be missing
    for _ in range(SLOTS):
        engine.add_slot(inputs, outputs, largest=max(min_batch, max_batch))
    backend = TensorrtBackend(
        engine,
        inputs=inputs,
        outputs=outputs,
        min_batch=min_batch,
        max_batch=max_batch,
        letterbox=letterbox,
        poison=poison,
    )
    backend._warm_up()
    return backend


def _make_letterbox(engine: _Engine, pictures: PictureFormat, inputs: Mapping[str, TensorSpec]) -> Letterbox:
    if pictures.name not in inputs:
        raise ModelError(f"{engine.name}: no input {pictures.name!r} for pictures, it has {', '.join(inputs)} [model.shape]")
    return Letterbox(engine.cuda, pictures, inputs[pictures.name])


@dataclass(frozen=True, slots=True)
class _Kind:
    """Batches that are queued alike.

    Attributes:
        n: the size.
        drawn: the inputs that the device draws itself; the others are copied to it.
    """

    n: int
    drawn: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class _Tensor:
    """Memory of one input or output of a slot, for the largest batch.

    Attributes:
        host: (N, ...) pinned; the first n entries are a batch of n.
        address: where the engine reads or writes it.
        is_mapped: `address` is that of `host` itself, so nothing is copied.
    """

    name: str
    host: NDArray[np.generic]
    address: int
    is_mapped: bool


@dataclass(slots=True, eq=False)
class _Context:
    """An execution context.

    Attributes:
        handle: TensorRT's IExecutionContext; None once it is freed.
        config: what it was made with, which lives as long.
        batch: the size that it is set to; 0 where none is, or one was refused.
    """

    handle: Any = None
    config: Any = None
    batch: int = 0

    def free(self) -> None:
        """Before the engine and the device, which it holds something of."""
        self.handle = None
        self.config = None


@dataclass(slots=True, eq=False)
class _Slot:
    """All that one batch in flight needs.

    Attributes:
        contexts: by size of batch where graphs are captured: a graph holds as long as its context keeps its size. Else one, by 0.
        memory: what they have for their own use, all the same: they compute one after the other. None where each has its own.
        staging: for pictures that the device draws.
        computed: what was computed at least once.
        graphs: by kind of batch.
        ticket: the batch whose outputs the memory holds, or will hold; None where nobody may read them.
        is_busy: the batch was not waited for.
    """

    stream: int
    event: int
    staging: Staging
    contexts: dict[int, _Context] = field(default_factory=dict)
    memory: Buffer | None = None
    inputs: Sequence[_Tensor] = ()
    outputs: Sequence[_Tensor] = ()
    computed: set[_Kind] = field(default_factory=set)
    graphs: dict[_Kind, Graph] = field(default_factory=dict)
    ticket: _Ticket | None = None
    is_busy: bool = False


@dataclass(frozen=True, slots=True)
class LayerTime:
    """How long a layer takes for one batch: the mean, milliseconds."""

    name: str
    ms: float


class _Ticket:
    """One submitted batch; made by `TensorrtBackend.submit`."""

    def __init__(self, backend: TensorrtBackend, slot: _Slot, n: int) -> None:
        self._backend = backend
        self._slot = slot
        self._n = n

    def result(self) -> Tensors:
        return self._backend._fetch(self, self._slot, self._n)


class TensorrtBackend:
    """A loaded engine on a CUDA device, a context manager; made by `open_tensorrt_backend`.

    Attributes:
        max_batch: the largest batch; the smallest is 1.
    """

    def __init__(
        self,
        engine: _Engine,
        *,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        min_batch: int,
        max_batch: int,
        letterbox: Letterbox | None,
        poison: bool,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.max_batch = max_batch
        self.label = f"{engine.library.label} on {engine.cuda.device.name}, up to {max_batch} at once"
        self._engine: _Engine | None = engine
        self._slots = deque(engine.slots)  # the longest unused first
        self._min_batch = min_batch  # smaller ones are filled up with what is there
        self._letterbox = letterbox
        self._failed_captures: Counter[_Kind] = Counter()
        self._poison = poison

    def _warm_up(self) -> None:
        """Compute, capture and replay every kind of batch in every slot, as first times are slow and take memory.

        Without graphs of our own the largest and the smallest batch do.
        """
        fewest = min(self._min_batch, self.max_batch)
        captures = self._opened().captures
        for n in range(self.max_batch, fewest - 1, -1) if captures else dict.fromkeys((self.max_batch, fewest)):
            for feeds in self._make_black(n):
                for _ in range((3 if captures else 2) * len(self._slots)):
                    self.infer(feeds)

    def _make_black(self, n: int) -> Iterator[Feeds]:
        """A batch of zeros, and one of black pictures where they are taken."""
        zeros = {name: np.zeros((n, *spec.shape[1:]), spec.dtype) for name, spec in self.inputs.items()}
        yield zeros
        if self._letterbox is not None:
            height, width = self._letterbox.height, self._letterbox.width
            black = np.zeros((height, width, 3), np.uint8)
            yield {**zeros, self._letterbox.name: Pictures([black] * n, [Place(0, 0, width, height)] * n)}

    def submit(self, feeds: Feeds) -> _Ticket:
        engine = self._opened()
        engine.cuda.check_owner()
        n = self._check_batch(feeds)
        slot = next((slot for slot in self._slots if not slot.is_busy), None)
        if slot is None:
            raise InferenceError(f"{engine.name}: {len(self._slots)} batches are in flight: fetch the result of one first")
        self._slots.remove(slot)
        self._slots.append(slot)
        slot.ticket = None
        engine.library.log.clear()
        try:
            if self._poison:
                engine.poison(slot)
            drawn = self._fill(slot, feeds, n)
            self._compute(engine, slot, _Kind(max(n, self._min_batch), drawn))
            engine.cuda.record(slot.event, slot.stream)
        except EdgedError:
            self._abandon(engine, slot)
            raise
        slot.ticket = _Ticket(self, slot, n)
        slot.is_busy = True
        return slot.ticket

    def infer(self, feeds: Feeds) -> Tensors:
        return self.submit(feeds).result()

    def profile(self, feeds: Tensors, *, runs: int) -> list[LayerTime]:
        """How long each layer takes, in the order in which they run; the whole is slower than without being measured.

        Args:
            feeds: one batch, computed so often. None may be in flight.

        Raises:
            InferenceError: the feeds do not fit, or the engine fails.
        """
        engine = self._opened()
        engine.cuda.check_owner()
        n = self._check_batch(feeds)
        slot = self._slots[0]
        if any(each.is_busy for each in self._slots):
            raise InferenceError(f"{engine.name}: a batch is in flight: fetch its result first")
        slot.ticket = None
        self._fill(slot, feeds, n)
        return engine.profile(slot, max(n, self._min_batch), runs=runs)

    @property
    def picture_input(self) -> str | None:
        return self._letterbox and self._letterbox.name

    def close(self) -> None:
        if self._engine is None:
            return
        self._engine.cuda.check_owner()
        engine, self._engine = self._engine, None
        engine.close()

    def __enter__(self) -> TensorrtBackend:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _opened(self) -> _Engine:
        if self._engine is None:
            raise InferenceError("the network is closed")
        return self._engine

    def _check_batch(self, feeds: Feeds) -> int:
        """The size of the batch."""
        drawn = {name for name, feed in feeds.items() if isinstance(feed, Pictures)}
        if drawn - {self.picture_input}:
            raise InferenceError(f"expected arrays for {', '.join(sorted(drawn))}, got pictures")
        arrays = {name: feed for name, feed in feeds.items() if not isinstance(feed, Pictures)}
        check_feeds(arrays, {name: spec for name, spec in self.inputs.items() if name not in drawn})
        sizes = {len(feed) for feed in feeds.values()}
        n = max(sizes)
        if len(sizes) != 1 or not 1 <= n <= self.max_batch:
            raise InferenceError(f"expected a batch of 1 to {self.max_batch}, got {', '.join(map(str, sorted(sizes)))}")
        return n

    def _fill(self, slot: _Slot, feeds: Feeds, n: int) -> frozenset[str]:
        """Put a batch into the slot's memory; the inputs that were drawn on the device, so need no copy."""
        drawn = set()
        for tensor in slot.inputs:
            feed = feeds[tensor.name]
            if isinstance(feed, Pictures):
                assert self._letterbox is not None  # or they were refused
                self._letterbox.queue(feed, slot.staging, address=tensor.address, stream=slot.stream)
                drawn.add(tensor.name)
            else:
                np.copyto(tensor.host[:n], feed)
        return frozenset(drawn)

    def _compute(self, engine: _Engine, slot: _Slot, kind: _Kind) -> None:
        """Queue a batch: by its graph, or else call by call, and then capture those where the kind came before."""
        graph = slot.graphs.get(kind)
        if graph is not None:
            graph.launch(slot.stream)
            return
        context = engine.context(slot, kind.n)
        engine.enqueue(slot, context, kind)
        if engine.captures and kind in slot.computed and self._failed_captures[kind] < _CAPTURE_TRIES:
            self._capture(engine, slot, context, kind)
        slot.computed.add(kind)

    def _capture(self, engine: _Engine, slot: _Slot, context: _Context, kind: _Kind) -> None:
        """Make the graph of a kind that was queued just before: the first call after a change of size cannot be captured.

        Source: NVIDIA TensorRT documentation, best practices, CUDA graphs.
        """
        try:
            slot.graphs[kind] = engine.cuda.capture(slot.stream, lambda: engine.enqueue(slot, context, kind))
        except InferenceError as error:
            self._failed_captures[kind] += 1
            if self._failed_captures[kind] == _CAPTURE_TRIES:
                _log.warning(
                    "cannot capture a CUDA graph, go on without: engine=%s batch=%d error=%s", engine.name, kind.n, error
                )

    def _fetch(self, ticket: _Ticket, slot: _Slot, n: int) -> Tensors:
        """Outputs of a batch: views of the slot's memory."""
        engine = self._opened()
        engine.cuda.check_owner()
        if slot.ticket is not ticket:
            raise InferenceError(f"{engine.name}: the outputs of this batch are gone: it failed, or its slot was used again")
        if slot.is_busy:
            try:
                engine.cuda.wait(slot.event)
            except EdgedError:
                self._abandon(engine, slot)
                raise
            slot.is_busy = False
        return {tensor.name: tensor.host[:n] for tensor in slot.outputs}

    def _abandon(self, engine: _Engine, slot: _Slot) -> None:
        """Free the slot of a batch that failed, once nothing uses it; a device that is lost shows here, too."""
        slot.ticket = None
        slot.is_busy = False
        try:
            engine.cuda.synchronise(slot.stream)
        except DeviceError:
            engine.is_lost = True
            raise


class _Engine:
    """An engine in TensorRT's hands, on its device; what TensorRT refuses becomes an error with the reasons that it logged.

    Attributes:
        captures: graphs are captured here; TensorRT-RTX does so itself.
        is_lost: the device was lost under it, and whoever used it was told.
    """

    def __init__(self, name: str, library: Library, cuda: Cuda, *, use_graphs: bool, eager_kernels: bool) -> None:
        self.name = name
        self.library = library
        self.cuda = cuda
        self.captures = use_graphs and not library.differences.portable
        self._use_graphs = use_graphs
        self._eager_kernels = eager_kernels
        self.slots: list[_Slot] = []
        self.is_lost = False
        self._runtime: Any = None
        self._engine: Any = None

    def load(self, plan: bytes) -> None:
        """Hand the plan to TensorRT.

        Raises:
            DeviceMissingError: the library does not start.
            EngineMissingError: the library says that the plan does not fit.
            ModelError: the library cannot load it.
            DeviceMemoryError: the device has no memory for its weights.
        """
        module = self.library.module
        self.library.log.clear()
        try:
            self._runtime = module.Runtime(self.library.logger)
        except TypeError as error:  # pybind, where the library answered nullptr
            raise DeviceMissingError(
                f"{self.library.label} finds no device: {self.library.log.first_errors()} [device.missing]"
            ) from error
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            if self.library.differences.validity:
                self._check_validity(plan)
            raise self._refusal(f"{self.library.label} cannot load the engine", ModelError, "engine.invalid")

    def _check_validity(self, plan: bytes) -> None:
        """Tell why an engine was not loaded, where the library says why.

        It is not asked before: TensorRT-RTX up to 1.6 calls an engine invalid on a device that it does not list, but has no such
        check where it loads it. What it computes there is told by the comparison on that device, without which no engine is used.
        """
        module, device = self.library.module, self.cuda.device
        validity, found = self._runtime.get_engine_validity(plan)
        if validity != module.EngineValidity.INVALID:
            return
        reasons = [name for name, bit in module.EngineInvalidityDiagnostics.__members__.items() if int(bit) & int(found)]
        if reasons == ["CUDA_ERROR"]:  # no word of what does not fit
            return
        if "INSUFFICIENT_GPU_MEMORY" in reasons:
            raise DeviceMemoryError(f"{self.name}: {self.library.label}: {device.name} has too little memory [device.memory]")
        mend = "install TensorRT, which computes on more of them" if "UNSUPPORTED_CC" in reasons else "run edged engines build"
        raise EngineMissingError(
            f"{self.name}: the engine is not for {device.name} {device.compute_capability}, {self.library.label} and "
            f"driver {device.driver_version}: {', '.join(reasons) or self.library.log.first_errors()}: {mend} [engine.stale]"
        )

    def read_specs(self) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
        """Inputs and outputs, the batch axis None.

        Raises:
            ModelError: one is not an array of the device with the batch as its first axis and the others fixed.
        """
        module = self.library.module
        inputs, outputs = {}, {}
        for index in range(self._engine.num_io_tensors):
            tensor = self._engine.get_tensor_name(index)
            if self._engine.get_tensor_mode(tensor) == module.TensorIOMode.INPUT:
                inputs[tensor] = self._read_spec(tensor, "input")
            else:
                outputs[tensor] = self._read_spec(tensor, "output")
        if not inputs:
            raise ModelError(f"{self.name}: the engine has no input, so nothing that it computes could change [model.shape]")
        return inputs, outputs

    def _read_spec(self, tensor: str, side: str) -> TensorSpec:
        where = f"{self.name}: {side} {tensor!r}"
        kind = self._engine.get_tensor_dtype(tensor).name
        if kind not in _DTYPES:
            raise ModelError(f"{where} is of type {kind}, known are {', '.join(_DTYPES)} [model.shape]")
        if self._engine.get_tensor_location(tensor) != self.library.module.TensorLocation.DEVICE:
            raise ModelError(f"{where} is a shape that lies with the host: export the network without it [model.shape]")
        shape = tuple(self._engine.get_tensor_shape(tensor))
        if not shape or -1 in shape[1:]:
            raise ModelError(f"{where} is {shape}: only its first axis, the batch, may be free (-1) [model.shape]")
        return TensorSpec(_DTYPES[kind], (None, *shape[1:]))

    def check_batches(self, inputs: Mapping[str, TensorSpec], max_batch: int) -> int:
        """The smallest batch that the engine takes; one for a DLA takes a single size.

        Raises:
            ModelError: it was not built for batches of `max_batch`.
        """
        fewest, most = 1, max_batch
        for tensor in inputs:
            n = self._engine.get_tensor_shape(tensor)[0]
            shapes = self._engine.get_tensor_profile_shape(tensor, 0) if n == -1 else [(n,)]
            fewest, most = max(fewest, shapes[0][0]), min(most, shapes[-1][0])
        if most < max_batch:
            raise ModelError(
                f"{self.name}: built for batches of up to {most}, expected {max_batch}: "
                f"run edged engines build with --batch, or set tensorrt.max_batch [engine.batch]"
            )
        return fewest

    def add_slot(self, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec], *, largest: int) -> None:
        """One more batch in flight, with memory for batches of up to `largest`.

        Raises:
            ModelError: TensorRT makes no context, or the size of an output depends on more than that of the batch.
            DeviceMemoryError: the device has too little memory.
        """
        slot = _Slot(self.cuda.stream(), self.cuda.event(), Staging(self.cuda))
        self.slots.append(slot)
        slot.inputs = [self._make_tensor(name, (largest, *spec.shape[1:]), spec.dtype) for name, spec in inputs.items()]
        slot.outputs = [self._make_tensor(name, (largest, *spec.shape[1:]), spec.dtype) for name, spec in outputs.items()]
        for tensor in slot.inputs:
            if not tensor.is_mapped:  # zeros, also where pictures are drawn and nothing is copied
                self.cuda.copy_to_device(tensor.address, tensor.host, slot.stream)
        context = self.context(slot, largest, ModelError, "engine.invalid")
        for tensor in slot.outputs:
            shape = tuple(context.handle.get_tensor_shape(tensor.name))
            if shape != tensor.host.shape:
                raise ModelError(
                    f"{self.name}: output {tensor.name!r} is {shape} for a batch of {largest}, expected {tensor.host.shape}: "
                    f"a size that depends on the data cannot be fetched: export the network without suppression [model.shape]"
                )

    def context(self, slot: _Slot, n: int, kind: _RefusalKind = InferenceError, code: str = "") -> _Context:
        """The slot's context for batches of n, set to them.

        Raises:
            kind: TensorRT makes none, or refuses its memory.
            InferenceError: TensorRT refuses the size.
            DeviceMemoryError: the device has too little memory.
        """
        number = n if self.captures else 0
        if number not in slot.contexts:
            slot.contexts[number] = self._make_context(slot, kind, code, use_graphs=self._use_graphs)
        self._set_batch(slot, slot.contexts[number], n)
        return slot.contexts[number]

    def _make_context(self, slot: _Slot, kind: _RefusalKind, code: str = "", *, use_graphs: bool) -> _Context:
        """A context over the slot's memory.

        Where graphs are captured, each size of batch has one: a context changes itself when its size changes, and a graph
        holds addresses of what it was. Those of a slot share what they need for themselves. TensorRT-RTX compiles kernels for a
        size while others compute it already: only it knows when to capture.

        Source: github.com/NVIDIA/TensorRT/issues/3798; NVIDIA TensorRT-RTX documentation, Working with RTX CUDA Graphs.
        """
        context = _Context()
        with ExitStack() as undo:
            undo.callback(context.free)  # the frames of what ends this may live on
            self._create(context, use_graphs=use_graphs)
            if context.handle is None:
                raise self._refusal(f"{self.library.label} makes no execution context", kind, code)
            if self.captures:
                self._lend_memory(slot, context)
            for tensor in (*slot.inputs, *slot.outputs):
                if not context.handle.set_tensor_address(tensor.name, tensor.address):
                    raise self._refusal(f"{self.library.label} refuses the memory of {tensor.name!r}", kind, code)
            undo.pop_all()
        return context

    def _create(self, context: _Context, *, use_graphs: bool) -> None:
        """Have TensorRT make it, in the way of its version: with memory of its own, or none yet where `_lend_memory` follows."""
        module, differences = self.library.module, self.library.differences
        if differences.portable:
            context.config = make_runtime_config(
                self._engine, self.library, use_graphs=use_graphs, eager_kernels=self._eager_kernels
            )
            context.handle = self._engine.create_execution_context(context.config)
        elif not self.captures:
            context.handle = self._engine.create_execution_context()
        elif differences.lends_memory:
            context.handle = self._engine.create_execution_context(module.ExecutionContextAllocationStrategy.USER_MANAGED)
        else:
            context.handle = self._engine.create_execution_context_without_device_memory()

    def _lend_memory(self, slot: _Slot, context: _Context) -> None:
        lends_memory = self.library.differences.lends_memory
        n_bytes = self._engine.device_memory_size_v2 if lends_memory else self._engine.device_memory_size
        if slot.memory is None:
            slot.memory = self.cuda.allocate(max(1, n_bytes))
        if lends_memory:
            context.handle.set_device_memory(slot.memory.address, n_bytes)
        else:
            context.handle.device_memory = slot.memory.address

    def _make_tensor(self, name: str, shape: tuple[int, ...], dtype: str) -> _Tensor:
        host = self.cuda.pinned(shape, dtype, mapped=self.cuda.device.is_integrated)
        host.array.fill(0)
        if host.device_address is not None:
            return _Tensor(name, host.array, host.device_address, is_mapped=True)
        return _Tensor(name, host.array, self.cuda.allocate(host.array.nbytes).address, is_mapped=False)

    def _set_batch(self, slot: _Slot, context: _Context, n: int) -> None:
        if context.batch == n:
            return
        context.batch = 0
        for tensor in slot.inputs:
            shape = (n, *tensor.host.shape[1:])
            if not context.handle.set_input_shape(tensor.name, shape):
                raise self._refusal(f"{self.library.label} refuses {shape} for input {tensor.name!r}", InferenceError)
        context.batch = n

    def enqueue(self, slot: _Slot, context: _Context, kind: _Kind) -> None:
        """Queue a batch of the size that the context is set to: its inputs to the device, the engine, its outputs back."""
        for tensor in slot.inputs:
            if not tensor.is_mapped and tensor.name not in kind.drawn:
                self.cuda.copy_to_device(tensor.address, tensor.host[: kind.n], slot.stream)
        if not context.handle.execute_async_v3(slot.stream):
            raise self._refusal(f"{self.library.label} failed on a batch of {kind.n}", InferenceError)
        for tensor in slot.outputs:
            if not tensor.is_mapped:
                self.cuda.copy_to_host(tensor.host[: kind.n], tensor.address, slot.stream)

    def profile(self, slot: _Slot, n: int, *, runs: int) -> list[LayerTime]:
        """The mean times of the layers for what is in a slot's memory, by a context of its own: a profiler stays for good."""
        profiler = _make_profiler(self.library.module)
        context = self._make_context(slot, InferenceError, use_graphs=False)
        try:
            self._set_batch(slot, context, n)
            self._run_once(slot, context, n)  # the first time is slow
            context.handle.profiler = profiler
            for _ in range(runs):
                self._run_once(slot, context, n)
        finally:
            context.free()  # before its profiler, which it refers to
        if not profiler.totals_ms:
            raise InferenceError(f"{self.name}: {self.library.label} tells no times of layers")
        return [LayerTime(name, total_ms / runs) for name, total_ms in profiler.totals_ms.items()]

    def _run_once(self, slot: _Slot, context: _Context, n: int) -> None:
        try:
            self.enqueue(slot, context, _Kind(n))
        finally:
            self.cuda.synchronise(slot.stream)

    def poison(self, slot: _Slot) -> None:
        """Set every bit of the outputs, on both sides: NaN in floats."""
        for tensor in slot.outputs:
            tensor.host.view(np.uint8).fill(0xFF)
            if not tensor.is_mapped:
                self.cuda.copy_to_device(tensor.address, tensor.host, slot.stream)

    def close(self) -> None:
        """Wait for what is in flight and free everything: graphs, what they came from, then the CUDA context of both.

        References to slots may live on, in the frames of an error that somebody keeps, but to contexts only the slot's own.
        """
        try:
            for slot in () if self.is_lost else self.slots:
                if slot.is_busy:
                    self.cuda.synchronise(slot.stream)
                for graph in slot.graphs.values():
                    graph.close()
        finally:
            for slot in self.slots:
                for context in slot.contexts.values():
                    context.free()
            self._engine = self._runtime = None
            self.cuda.close()

    def _refusal(self, what: str, kind: _RefusalKind, code: str = "") -> InferenceError | ModelError:
        said = f"{self.name}: {what}: {self.library.log.first_errors()}"
        if any(words in said.lower() for words in _MEMORY_WORDS):
            return DeviceMemoryError(f"{said} [device.memory]")
        return kind(f"{said} [{code}]" if code else said)


def make_runtime_config(engine: Any, library: Library, *, use_graphs: bool, eager_kernels: bool) -> Any:
    """What a context of a portable library is made with; it must live as long as the context.

    Args:
        engine: an `ICudaEngine`.
        use_graphs, eager_kernels: see `open_tensorrt_backend`.

    Source: NVIDIA TensorRT-RTX documentation, Working with RTX CUDA Graphs.
    """
    module, config = library.module, engine.create_runtime_config()
    if use_graphs:
        config.cuda_graph_strategy = module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    if eager_kernels:
        config.dynamic_shapes_kernel_specialization_strategy = module.DynamicShapesKernelSpecializationStrategy.EAGER
    return config


def _make_profiler(module: Any) -> Any:
    """An `IProfiler` that adds up what it is told of each layer."""

    class Profiler(module.IProfiler):  # type: ignore[misc]  # the base comes with the library
        def __init__(self) -> None:
            module.IProfiler.__init__(self)  # pybind wants its own, not super()'s
            self.totals_ms: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.totals_ms[layer_name] = self.totals_ms.get(layer_name, 0.0) + ms

    return Profiler()
