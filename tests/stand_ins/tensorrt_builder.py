"""A stand-in for the half of TensorRT that builds, as 8.6, 10 and 11 have it: it computes nothing and needs no device.

For what cannot be built without one; TensorRT-RTX, which can, is tested itself.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from edged.backends.tensorrt.library import Library, MessageLog, find_differences, make_logger

_CREATION_FLAGS = {
    "8.6": {"EXPLICIT_BATCH": 0},
    "10": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
    "11": {"STRONGLY_TYPED": 1},
}
_BUILDER_FLAGS = {"8.6": ("FP16", "INT8", "GPU_FALLBACK", "TF32"), "10": ("FP16", "INT8", "GPU_FALLBACK", "TF32")}
_Severity = enum.Enum("_Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])


class StandInTensorrt:
    """The module.

    Args:
        version: `8.6`, `10` or `11`.
        types: of what the layers of any network write, e.g. `HALF`.
        shapes: of the network's inputs `x0`, `x1`, …
        messages: severity and text of what is logged during a build.
        inspected: what the engine inspector answers.
        dla_cores: so many the device has; None is no device at all.

    Attributes:
        configs: of all builds.
        network_flags: of all networks.
    """

    def __init__(
        self,
        version: str,
        *,
        types: Sequence[str] = ("FLOAT",),
        shapes: Sequence[tuple[int, ...]] = ((-1, 3, 8, 8),),
        messages: Sequence[tuple[str, str]] = (),
        inspected: str = '{"Layers": ["conv"]}',
        dla_cores: int | None = 0,
    ) -> None:
        self.__version__ = f"{version}.0"
        self.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", _CREATION_FLAGS[version])
        self.BuilderFlag = enum.Enum("BuilderFlag", _BUILDER_FLAGS.get(version, ("GPU_FALLBACK", "TF32")))
        self.DataType = enum.Enum("DataType", ("FLOAT", "HALF", "INT8"))
        self.DeviceType = enum.Enum("DeviceType", ("GPU", "DLA"))
        self.ProfilingVerbosity = enum.Enum("ProfilingVerbosity", ("DETAILED",))
        self.MemoryPoolType = enum.Enum("MemoryPoolType", ("WORKSPACE",))
        self.LayerInformationFormat = enum.Enum("LayerInformationFormat", ("JSON",))
        self.ILogger = _Logger
        self.IBuilderConfig = _Config
        if version != "11":
            self.PreviewFeature = enum.Enum("PreviewFeature", ("PROFILE_SHARING_0806",))
        if version != "8.6":
            self.IBuilderConfig = _ConfigWithMonitor
            self.IProgressMonitor = _Monitor
        self.types, self.shapes, self.messages, self.inspected, self.dla_cores = types, shapes, messages, inspected, dla_cores
        self.configs: list[Any] = []
        self.network_flags: list[int] = []

    def library(self) -> Library:
        """As `import_library` makes it of a module."""
        log = MessageLog()
        return Library(self, "tensorrt", self.__version__, find_differences(self), make_logger(self, log), log)

    def Builder(self, logger: _Logger) -> Any:  # noqa: N802  # TensorRT's name
        if self.dla_cores is None:
            logger.log(_Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return SimpleNamespace(
            num_DLA_cores=self.dla_cores,
            create_network=self._create_network,
            create_builder_config=self._create_config,
            create_optimization_profile=_Profile,
            build_serialized_network=lambda network, config: self._build(logger),
        )

    def OnnxParser(self, network: Any, logger: _Logger) -> Any:  # noqa: N802
        return SimpleNamespace(parse=lambda content: True, num_errors=0)

    def Runtime(self, logger: _Logger) -> Any:  # noqa: N802
        inspector = SimpleNamespace(get_engine_information=lambda form: self.inspected)
        engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)

    def _create_network(self, flags: int) -> Any:
        self.network_flags.append(flags)
        inputs = [SimpleNamespace(name=f"x{index}", shape=shape) for index, shape in enumerate(self.shapes)]
        outputs = [SimpleNamespace(dtype=self.DataType[name]) for name in self.types]
        layer = SimpleNamespace(num_outputs=len(outputs), get_output=outputs.__getitem__)
        return SimpleNamespace(
            num_inputs=len(inputs), get_input=inputs.__getitem__, num_outputs=1, num_layers=1, get_layer=lambda index: layer
        )

    def _create_config(self) -> Any:
        self.configs.append(self.IBuilderConfig(self))
        return self.configs[-1]

    def _build(self, logger: _Logger) -> bytes | None:
        for severity, message in self.messages:
            logger.log(_Severity[severity], message)
        return None if any(severity == "ERROR" for severity, _ in self.messages) else b"plan"


class _Logger:
    def log(self, severity: _Severity, message: str) -> None: ...


class _Monitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...
    def step_complete(self, phase_name: str, step: int) -> bool: ...
    def phase_finish(self, phase_name: str) -> None: ...


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes[name] = shapes


class _Config:
    """Remembers what it is told."""

    def __init__(self, module: StandInTensorrt) -> None:
        self.flags = {module.BuilderFlag.TF32}  # on by itself, as in TensorRT
        self.limits: dict[Any, int] = {}
        self.previews: dict[Any, bool] = {}
        self.profiles: list[_Profile] = []
        self.caches: list[bytes] = []

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag)

    def set_preview_feature(self, feature: Any, is_on: bool) -> None:
        self.previews[feature] = is_on

    def set_memory_pool_limit(self, pool: Any, n_bytes: int) -> None:
        self.limits[pool] = n_bytes

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> Any:
        if content.startswith(b"damaged"):
            return None
        return SimpleNamespace(content=content, serialize=lambda: content + b", filled")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        """Refuses what names another device, as TensorRT does."""
        fits = not cache.content.startswith(b"other") or ignore_mismatch
        if fits:
            self.caches.append(cache.content)
        return fits


class _ConfigWithMonitor(_Config):
    progress_monitor: Any = None
