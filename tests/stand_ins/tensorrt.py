"""A stand-in for the module `tensorrt`: what an engine does is a NumPy function, queued on a stream, over "device" memory."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntFlag
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from stand_ins.driver import StandInDriver

from edged.backends.tensorrt.library import Library, MessageLog, find_differences, make_logger
from edged.models.manifest import DetectorManifest

Arrays = Mapping[str, NDArray[np.generic]]

_CONTEXT_BYTES = 4096


class Streams(Protocol):
    """Where the work of an engine goes: a stand-in for the CUDA driver."""

    def queue(self, stream: int, work: Callable[[], None]) -> None: ...
    def is_capturing(self, stream: int) -> bool: ...


class DriverStreams:
    """The streams of the stand-in driver that is compiled from C, which keeps it to itself whether it captures."""

    def __init__(self, driver: StandInDriver) -> None:
        self._driver = driver
        self._functions: list[Any] = []  # as long as a graph may call them

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: work())
        self._functions.append(function)
        self._driver.queue_function(stream, ctypes.cast(function, ctypes.c_void_p).value)

    def is_capturing(self, stream: int) -> bool:
        return False


@dataclass(frozen=True)
class StandInTensor:
    """What an engine says of an input or output; -1 is a free axis."""

    dtype: str
    shape: tuple[int, ...]
    location: str = "DEVICE"
    given_shape: Callable[[int], tuple[int, ...]] | None = None
    """The shape for a batch, where it is another than `shape` says."""


@dataclass(frozen=True)
class StandInNetwork:
    """What was built: tensors, outputs as a function of inputs, smallest and largest batch.

    Attributes:
        fails_on: batches that it refuses, from the moment on that they are named here.
        not_captured: batches that cannot be captured.
        layers_ms: what a profiler is told of each layer, a picture.
    """

    inputs: Mapping[str, StandInTensor]
    outputs: Mapping[str, StandInTensor]
    compute: Callable[[Arrays], Arrays]
    batches: tuple[int, int] = (1, 16)
    fails_on: set[int] = field(default_factory=set)
    not_captured: frozenset[int] = frozenset()
    layers_ms: Mapping[str, float] = field(default_factory=dict)
    plan: bytes = b"a stand-in's plan"


def make_add_network(**changes: Any) -> StandInNetwork:
    """`y = x + 1` over (N, 2) float32, as `models_onnx.make_add_graph`."""
    fields = {
        "inputs": {"x": StandInTensor("FLOAT", (-1, 2))},
        "outputs": {"y": StandInTensor("FLOAT", (-1, 2))},
        "compute": lambda arrays: {"y": arrays["x"] + np.float32(1)},
    }
    return StandInNetwork(**{**fields, **changes})


def make_detector_network(
    manifest: DetectorManifest, *, boxes: NDArray[np.float32], scores: NDArray[np.float32]
) -> StandInNetwork:
    """The same boxes (R, 4) for every picture, and scores (R, C) times its mean brightness, as `models_onnx.save_engine`."""
    wanted = manifest.input

    def compute(arrays: Arrays) -> Arrays:
        brightness = arrays[wanted.name].mean(axis=(1, 2, 3), dtype=np.float32)[:, None, None] / np.float32(255)
        return {manifest.outputs.boxes: np.tile(boxes, (len(brightness), 1, 1)), manifest.outputs.scores: brightness * scores}

    return StandInNetwork(
        inputs={wanted.name: StandInTensor("UINT8", (-1, 3, wanted.height, wanted.width))},
        outputs={
            manifest.outputs.boxes: StandInTensor("FLOAT", (-1, *boxes.shape)),
            manifest.outputs.scores: StandInTensor("FLOAT", (-1, *scores.shape)),
        },
        compute=compute,
    )


class _Severity(Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class _Profiler:
    def report_layer_time(self, layer_name: str, ms: float) -> None: ...


class _Logger:
    Severity = _Severity


class StandInTensorrt:
    """One network in the place of the module; give it to `as_library`.

    Calls answer None or False when told to, as the real ones do.

    Attributes:
        calls: calls of contexts in their order, e.g. `("set_input_shape", (4, 2))`.
        contexts, configs: those that were not freed.
        validity: what `get_engine_validity` finds, names of `EngineInvalidityDiagnostics`; empty for a valid engine.
        heeds_validity: an engine that is not valid is not loaded either.
        lent: by the address of memory that contexts were given, the stream that they compute on.
    """

    __version__ = "10.3.0"
    ILogger = _Logger
    IProfiler = _Profiler
    TensorIOMode = Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
    TensorLocation = Enum("TensorLocation", ["DEVICE", "HOST"])
    DataType = Enum("DataType", ["FLOAT", "HALF", "BF16", "INT8", "UINT8", "INT32", "INT64", "BOOL"])
    ExecutionContextAllocationStrategy = Enum("ExecutionContextAllocationStrategy", ["STATIC", "USER_MANAGED"])
    DynamicShapesKernelSpecializationStrategy = Enum("DynamicShapesKernelSpecializationStrategy", ["LAZY", "EAGER", "NONE"])
    CudaGraphStrategy = Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])
    EngineValidity = Enum("EngineValidity", ["VALID", "SUBOPTIMAL", "INVALID"])
    EngineInvalidityDiagnostics = IntFlag(
        "EngineInvalidityDiagnostics",
        ["VERSION_MISMATCH", "UNSUPPORTED_CC", "OLD_CUDA_DRIVER", "INSUFFICIENT_GPU_MEMORY", "CUDA_ERROR"],
    )

    def __init__(self, network: StandInNetwork, streams: Streams) -> None:
        self.network = network
        self.streams = streams
        self.calls: list[tuple[str, object]] = []
        self.contexts: weakref.WeakSet[_Context] = weakref.WeakSet()
        self.configs: weakref.WeakSet[_RuntimeConfig] = weakref.WeakSet()
        self.validity: tuple[str, ...] = ()
        self.heeds_validity = True
        self.lent: dict[int, int] = {}
        self._failures: dict[str, tuple[int, str]] = {}
        self.Runtime = lambda logger: _Runtime(self, logger)

    def as_library(self, *, is_rtx: bool = False, lends_memory: bool = True) -> Library:
        """As `import_library` would give it; TensorRT-RTX knows whether an engine fits, and makes graphs itself."""
        found = replace(find_differences(self), validity=is_rtx, portable=is_rtx, lends_memory=lends_memory)
        log = MessageLog()
        return Library(self, "tensorrt", self.__version__, found, make_logger(self, log), log)

    def fail(self, call: str, message: str, *, after: int = 0) -> None:
        """Let a call log this as an error and answer None or False, once, after so many more that succeed."""
        self._failures[call] = (after, message)

    def is_failing(self, call: str, logger: Any) -> bool:
        after, message = self._failures.pop(call, (-1, ""))
        if after > 0:
            self._failures[call] = (after - 1, message)
        if after != 0:
            return False
        logger.log(_Severity.ERROR, message)
        return True


class _Runtime:
    def __init__(self, module: StandInTensorrt, logger: Any) -> None:
        if module.is_failing("Runtime", logger):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._module = module
        self._logger = logger
        module.lent.clear()  # memory of an engine before may lie where other memory lies now

    def get_engine_validity(self, plan: bytes) -> tuple[Enum, int]:
        kinds = self._module.EngineValidity
        found = sum(self._module.EngineInvalidityDiagnostics[name] for name in self._module.validity)
        return (kinds.INVALID if found else kinds.VALID), found

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        if self._module.is_failing("deserialize_cuda_engine", self._logger):
            return None
        if self._module.validity and self._module.heeds_validity:
            self._logger.log(_Severity.ERROR, "Error Code 1: Internal Error (the engine is not valid here)")
            return None
        if plan != self._module.network.plan:
            self._logger.log(_Severity.ERROR, "Error Code 1: Serialization (the magic tag does not match)")
            return None
        return _Engine(self._module, self._logger)


class _Engine:
    def __init__(self, module: StandInTensorrt, logger: Any) -> None:
        self._module = module
        self._logger = logger
        self._tensors = {**module.network.inputs, **module.network.outputs}

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Enum:
        kinds = self._module.TensorIOMode
        return kinds.INPUT if name in self._module.network.inputs else kinds.OUTPUT

    def get_tensor_dtype(self, name: str) -> Enum:
        return self._module.DataType[self._tensors[name].dtype]

    def get_tensor_location(self, name: str) -> Enum:
        return self._module.TensorLocation[self._tensors[name].location]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        smallest, largest = self._module.network.batches
        return [(n, *self._tensors[name].shape[1:]) for n in (smallest, largest, largest)]

    @property
    def device_memory_size_v2(self) -> int:
        return _CONTEXT_BYTES

    device_memory_size = device_memory_size_v2

    def create_runtime_config(self) -> _RuntimeConfig:
        kinds = self._module.CudaGraphStrategy, self._module.DynamicShapesKernelSpecializationStrategy
        config = _RuntimeConfig(kinds[0].DISABLED, kinds[1].LAZY)
        self._module.configs.add(config)
        return config

    def create_execution_context(self, how: _RuntimeConfig | Enum | None = None) -> _Context | None:
        if isinstance(how, _RuntimeConfig):
            self._module.calls.append(("graphs", how.cuda_graph_strategy))
            self._module.calls.append(("kernels", how.dynamic_shapes_kernel_specialization_strategy))
        if self._module.is_failing("create_execution_context", self._logger):
            return None
        wants_memory = how is self._module.ExecutionContextAllocationStrategy.USER_MANAGED
        return _Context(self._module, self._logger, how, wants_memory=wants_memory)

    def create_execution_context_without_device_memory(self) -> _Context | None:
        if self._module.is_failing("create_execution_context", self._logger):
            return None
        return _Context(self._module, self._logger, wants_memory=True)


@dataclass(eq=False)
class _RuntimeConfig:
    cuda_graph_strategy: Enum
    dynamic_shapes_kernel_specialization_strategy: Enum


class _Context:
    """Computes on the addresses it was given, when its stream comes to it; is captured only after a run of the same shape.

    What it has queued or captured holds only while it keeps its shape, its memory to itself and its configuration alive.
    """

    def __init__(
        self, module: StandInTensorrt, logger: Any, how: _RuntimeConfig | Enum | None = None, *, wants_memory: bool
    ) -> None:
        self._config = weakref.ref(how) if isinstance(how, _RuntimeConfig) else None
        self._wants_memory = wants_memory
        self._memory = 0
        self._module = module
        self._logger = logger
        self._batches = dict.fromkeys(module.network.inputs, -1)
        self._is_settled = False
        self._addresses: dict[str, int] = {}
        self.profiler: _Profiler | None = None
        module.contexts.add(self)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._module.calls.append(("set_input_shape", shape))
        smallest, largest = self._module.network.batches
        if self._module.is_failing("set_input_shape", self._logger):
            return False
        if not smallest <= shape[0] <= largest:
            self._logger.log(_Severity.ERROR, f"Error Code 3: API Usage Error (set input shape {shape} outside of the profile)")
            return False
        self._is_settled = self._is_settled and shape[0] == self._batches[name]
        self._batches[name] = shape[0]
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        tensor = {**self._module.network.inputs, **self._module.network.outputs}[name]
        n = next(iter(self._batches.values()))
        return tensor.given_shape(n) if tensor.given_shape else (n, *tensor.shape[1:])

    def set_device_memory(self, address: int, n_bytes: int) -> None:
        assert n_bytes == _CONTEXT_BYTES
        self.device_memory = address

    @property
    def device_memory(self) -> int:
        return self._memory

    @device_memory.setter
    def device_memory(self, address: int) -> None:
        assert self._wants_memory, "it has memory of its own"
        self._memory = address

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return not self._module.is_failing("set_tensor_address", self._logger)

    def execute_async_v3(self, stream: int) -> bool:
        assert stream != 0, "the default stream makes TensorRT wait for the whole device"
        is_capturing = self._module.streams.is_capturing(stream)
        batches = set(self._batches.values())
        assert len(batches) == 1, f"inputs of {self._batches} at once"
        assert self._config is None or self._config(), "its configuration was freed before it"
        if self._wants_memory:
            assert self._memory, "it was given no memory"
            assert self._module.lent.setdefault(self._memory, stream) == stream, "its memory is used on another stream at once"
        self._module.calls.append(("capture" if is_capturing else "execute", *batches))
        if self._module.is_failing("capture" if is_capturing else "execute_async_v3", self._logger):
            return False
        if batches & self._module.network.fails_on:
            self._logger.log(_Severity.ERROR, f"Error Code 7: Internal Error (a batch of {batches} does not fit)")
            return False
        if is_capturing and (not self._is_settled or batches & self._module.network.not_captured):
            self._logger.log(_Severity.ERROR, "Error Code 1: Cuda Runtime (operation not permitted when stream is capturing)")
            return False
        self._is_settled = True
        inputs, outputs = (
            {name: self._memory_of(name, self._addresses[name]) for name in side}
            for side in (self._module.network.inputs, self._module.network.outputs)
        )
        compute, context = self._module.network.compute, weakref.ref(self)

        def work() -> None:
            alive = context()
            assert alive, "the context was freed under its work"
            assert set(alive._batches.values()) == batches, "the size of the batch was changed under its work"
            for name, array in compute(inputs).items():
                outputs[name][...] = array

        self._module.streams.queue(stream, work)
        if self.profiler is not None:
            for name, ms in self._module.network.layers_ms.items():
                self.profiler.report_layer_time(name, ms * max(batches))
        return True

    def _memory_of(self, name: str, address: int) -> NDArray[np.generic]:
        tensor = {**self._module.network.inputs, **self._module.network.outputs}[name]
        dtype = np.dtype({"FLOAT": "float32", "HALF": "float16"}.get(tensor.dtype, tensor.dtype.lower()))
        shape = self.get_tensor_shape(name)
        memory = (ctypes.c_uint8 * (int(np.prod(shape)) * dtype.itemsize)).from_address(address)
        return np.frombuffer(memory, dtype).reshape(shape)
