"""Which TensorRT is here, in what it differs from its other versions, and what it says."""

from __future__ import annotations

import importlib
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edged.errors import DeviceMissingError

LibraryName = Literal["auto", "tensorrt", "tensorrt_rtx"]

USED: Mapping[str, frozenset[str]] = {
    "Builder": frozenset(
        {"build_serialized_network", "create_builder_config", "create_network", "create_optimization_profile", "num_DLA_cores"}
    ),
    "BuilderFlag": frozenset({"GPU_FALLBACK", "TF32"}),
    "DataType": frozenset({"FLOAT", "HALF", "INT8", "UINT8"}),
    "DeviceType": frozenset({"DLA"}),
    "EngineInspector": frozenset({"get_engine_information"}),
    "IBuilderConfig": frozenset(
        {
            "DLA_core",
            "add_optimization_profile",
            "builder_optimization_level",
            "clear_flag",
            "create_timing_cache",
            "default_device_type",
            "get_timing_cache",
            "profiling_verbosity",
            "set_flag",
            "set_memory_pool_limit",
            "set_timing_cache",
        }
    ),
    "ICudaEngine": frozenset(
        {
            "create_engine_inspector",
            "create_execution_context",
            "get_tensor_dtype",
            "get_tensor_location",
            "get_tensor_mode",
            "get_tensor_name",
            "get_tensor_profile_shape",
            "get_tensor_shape",
            "num_io_tensors",
        }
    ),
    "IExecutionContext": frozenset({"execute_async_v3", "get_tensor_shape", "profiler", "set_input_shape", "set_tensor_address"}),
    "ILayer": frozenset({"get_output", "num_outputs"}),
    "ILogger": frozenset({"Severity", "log"}),
    "INetworkDefinition": frozenset({"get_input", "get_layer", "get_output", "num_inputs", "num_layers", "num_outputs"}),
    "IOptimizationProfile": frozenset({"set_shape"}),
    "IProfiler": frozenset({"report_layer_time"}),
    "ITensor": frozenset({"dtype", "name", "shape"}),
    "ITimingCache": frozenset({"serialize"}),
    "LayerInformationFormat": frozenset({"JSON"}),
    "MemoryPoolType": frozenset({"WORKSPACE"}),
    "OnnxParser": frozenset({"get_error", "num_errors", "parse"}),
    "ProfilingVerbosity": frozenset({"DETAILED"}),
    "Runtime": frozenset({"deserialize_cuda_engine"}),
    "TensorIOMode": frozenset({"INPUT"}),
    "TensorLocation": frozenset({"DEVICE"}),
}
"""Class of the library → its members that we need of every version."""

OPTIONAL: Mapping[str, Mapping[str, frozenset[str]]] = {
    "strongly_typed": {"NetworkDefinitionCreationFlag": frozenset({"STRONGLY_TYPED"})},
    "explicit_batch": {"NetworkDefinitionCreationFlag": frozenset({"EXPLICIT_BATCH"})},
    "precision_flags": {"BuilderFlag": frozenset({"FP16", "INT8"})},
    "progress": {
        "IBuilderConfig": frozenset({"progress_monitor"}),
        "IProgressMonitor": frozenset({"phase_finish", "phase_start", "step_complete"}),
    },
    "validity": {"EngineValidity": frozenset({"INVALID"}), "Runtime": frozenset({"get_engine_validity"})},
    "portable": {"ComputeCapability": frozenset({"CURRENT"}), "IBuilderConfig": frozenset({"num_compute_capabilities"})},
    "shares_if_told": {
        "IBuilderConfig": frozenset({"set_preview_feature"}),
        "PreviewFeature": frozenset({"PROFILE_SHARING_0806"}),
    },
    "lends_memory": {
        "ExecutionContextAllocationStrategy": frozenset({"USER_MANAGED"}),
        "ICudaEngine": frozenset({"device_memory_size_v2"}),
        "IExecutionContext": frozenset({"set_device_memory"}),
    },
}
"""Name of a difference → what a library that has it has, by class: the one table of what differs between versions."""

OTHERWISE: Mapping[str, Mapping[str, frozenset[str]]] = {
    "lends_memory": {
        "ICudaEngine": frozenset({"create_execution_context_without_device_memory", "device_memory_size"}),
        "IExecutionContext": frozenset({"device_memory"}),
    },
}
"""Name of a difference → what we use in its place of a library that does not have it."""

_KEPT_MESSAGES = 200
_TOLD_ERRORS = 3
_LAYERS = "Layers:"
_ON_GPU = "[GpuLayer]"
_ERRORS = ("INTERNAL_ERROR", "ERROR")

_log = logging.getLogger(__name__)

_first_loggers: dict[str, Any] = {}
"""By library, kept for good: it holds a pointer to the first one it was given, for what it says on nobody's behalf."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What a TensorRT can do that others cannot, asked of the library itself and never of its version number.

    Attributes:
        strongly_typed: a network computes in the types that its ONNX file names (10.0 and later, RTX).
        explicit_batch: networks must ask for a batch axis of their own (before 11.0, which knows nothing else).
        precision_flags: the builder chooses FP16 and INT8 itself where it is allowed to (before 11.0).
        progress: a build reports its progress and can be cancelled (10.0 and later, RTX).
        validity: the runtime says why an engine does not fit the device (RTX).
        portable: TensorRT-RTX: engines are built without a device and finished on the one that loads them.
        shares_if_told: contexts share a profile only if the builder was told so (8.6; 10 does so by itself, and may be told).
        lends_memory: a context says by an allocation strategy that it is given its memory (10.1 and later, RTX).
    """

    strongly_typed: bool
    explicit_batch: bool
    precision_flags: bool
    progress: bool
    validity: bool
    portable: bool
    shares_if_told: bool
    lends_memory: bool


class MessageLog:
    """What a TensorRT said since it was cleared: its warnings and errors, and the layers of the engine that it has built.

    TensorRT calls it from threads of its own, too.

    Attributes:
        layers: its list of the layers, as text; None where it gave none.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all that was said."""
        self._messages: deque[tuple[str, str]] = deque(maxlen=_KEPT_MESSAGES)
        self.layers: str | None = None
        self._placed_on_gpu: list[str] = []

    def add(self, severity: str, message: str) -> None:
        """Keep a message; what is no detail goes to our log, at DEBUG: whoever asked raises what matters of it.

        Args:
            severity: TensorRT's name of it, e.g. `WARNING`.
        """
        if message.startswith(_LAYERS):
            self.layers = message
        elif message.startswith(_ON_GPU):
            self._placed_on_gpu.append(message.partition(": ")[2].strip())
        elif severity != "VERBOSE":
            _log.debug("tensorrt: %s: %s", severity, message)
            if severity != "INFO":
                self._messages.append((severity, message))

    def errors(self) -> list[str]:
        """The newest errors, oldest first."""
        return [message for severity, message in tuple(self._messages) if severity in _ERRORS]

    def first_errors(self) -> str:
        """What went wrong first, for a message about what then failed."""
        return "; ".join(self.errors()[:_TOLD_ERRORS]) or "it gives no reason"

    def warnings(self) -> list[str]:
        """The newest warnings, oldest first."""
        return [message for severity, message in tuple(self._messages) if severity not in _ERRORS]

    def layers_on_gpu(self) -> tuple[str, ...]:
        """Names of the layers that were placed on the GPU, as far as TensorRT said so."""
        return tuple(self._placed_on_gpu)


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """An imported TensorRT.

    Attributes:
        module: what was imported.
        name: `tensorrt` or `tensorrt_rtx`.
        version: as the library says it, e.g. `10.3.0`.
        logger: the `ILogger` to give to whatever is made of it.
        log: what came through it.
    """

    module: Any
    name: str
    version: str
    differences: Differences
    logger: Any
    log: MessageLog

    @property
    def label(self) -> str:
        """For people, e.g. `TensorRT 10.3.0` or `TensorRT-RTX 1.7.1.116`."""
        return f"{'TensorRT-RTX' if self.differences.portable else 'TensorRT'} {self.version}"


def import_library(name: LibraryName = "auto") -> Library:
    """The TensorRT of this name; `auto` takes tensorrt before tensorrt_rtx. Once a process is enough.

    Importing asks for no device. `Builder` and `Runtime` of `tensorrt` do, and without one they may end the process:
    open the device first (`edged.backends.tensorrt.cuda`).

    Raises:
        DeviceMissingError: it is not installed, or libraries that it needs are not.
    """
    names = [each for each in get_args(LibraryName) if each != "auto"] if name == "auto" else [name]
    reasons = []
    for each in names:
        try:
            module = importlib.import_module(each)
        except (ImportError, OSError) as error:
            reasons.append(f"{each} ({error})")
        else:
            log = MessageLog()
            logger = make_logger(module, log)
            _first_loggers.setdefault(each, logger)
            return Library(module, each, str(module.__version__), find_differences(module), logger, log)
    raise DeviceMissingError(
        f"no TensorRT: cannot import {' or '.join(reasons)}: on a Jetson make the environment with "
        f"--system-site-packages, elsewhere pip install tensorrt-rtx; see docs/jetson.md [backend.missing]"
    )


def find_differences(module: Any) -> Differences:
    """What this TensorRT has of `OPTIONAL`.

    Args:
        module: an imported tensorrt or tensorrt_rtx.
    """
    return Differences(
        **{
            difference: all(
                hasattr(getattr(module, kind, None), member) for kind, members in wanted.items() for member in members
            )
            for difference, wanted in OPTIONAL.items()
        }
    )


def make_logger(module: Any, log: MessageLog) -> Any:
    """An `ILogger` of a TensorRT that fills a log; it must live as long as what it is given to.

    Args:
        module: an imported tensorrt or tensorrt_rtx.
    """

    class Logger(module.ILogger):  # type: ignore[misc]  # the base comes with the library
        def __init__(self) -> None:
            module.ILogger.__init__(self)  # pybind wants its own, not super()'s

        def log(self, severity: Any, message: str) -> None:
            log.add(severity.name, message)

    return Logger()
