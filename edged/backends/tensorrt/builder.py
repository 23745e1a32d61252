"""From an ONNX file's bytes to a serialized engine."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edged.backends.tensorrt.layers import Layer, layers_in_json, layers_in_log
from edged.backends.tensorrt.library import Library
from edged.errors import BuildCancelledError, DeviceMissingError, InputError, ModelError

if TYPE_CHECKING:
    from edged.backends.tensorrt.cuda import Cuda

Precision = Literal["fp32", "fp16", "int8"]

_SYMMETRIC = "; TensorRT takes symmetric INT8 only: make it again with python -m tools.quantise"
_REASONS = 5
"""So many of TensorRT's errors fit a message."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What an engine is built for.

    Attributes:
        precision: what the ONNX file's types are; fp32 is never rounded to TF32.
        batch: fewest, usual and most pictures at a time: any number between is computed, the usual one fastest.
        workspace_bytes: the most memory of the device that one layer may use to compute; None is all of it.
        dla_core: the deep learning accelerator to use, of those that a Jetson has; None is the GPU.
        optimisation_level: 0 to 5, of how much is tried out; TensorRT's own is 3.

    Raises:
        InputError: they contradict each other.
    """

    precision: Precision
    batch: tuple[int, int, int] = (1, 4, 8)
    workspace_bytes: int | None = None
    dla_core: int | None = None
    optimisation_level: int = 3

    def __post_init__(self) -> None:
        fewest, usual, most = self.batch
        if not 1 <= fewest <= usual <= most:
            raise InputError(f"batch {fewest}/{usual}/{most}: expected 1 <= fewest <= usual <= most [engine.batch]")
        if self.workspace_bytes is not None and self.workspace_bytes < 1:
            raise InputError(f"workspace of {self.workspace_bytes} bytes: expected at least 1 [engine.workspace]")
        if not 0 <= self.optimisation_level <= 5:
            raise InputError(f"optimisation level {self.optimisation_level}: expected 0 to 5 [engine.level]")
        if self.dla_core is not None and self.precision == "fp32":
            raise InputError("a DLA computes fp16 and int8 only: choose one of them, or no dla_core [engine.dla]")
        if self.dla_core is not None and fewest != most:
            raise InputError(
                f"batch {fewest}/{usual}/{most}: a DLA computes one size of batch: expected {most}/{most}/{most} [engine.dla]"
            )


class Progress(Protocol):
    """Is told how far a build is, in the thread that builds."""

    def __call__(self, phase: str, done_ratio: float) -> bool:
        """Whether to go on.

        Args:
            phase: TensorRT's words for what it does, e.g. `Timing graph nodes`.
            done_ratio: 0 to 1 of the whole build; never falls. Steps are not equally long.
        """
        ...


@dataclass(frozen=True, slots=True)
class Built:
    """A serialized engine.

    Attributes:
        plan: its bytes; two builds of the same network differ.
        layers: as TensorRT tells them.
        fell_back: names of the layers that a DLA was asked for and that run on the GPU.
        timing_cache: what the next build by this library for this device need not measure again; None where it keeps none.
        seconds: how long TensorRT built.
    """

    plan: bytes
    layers: tuple[Layer, ...]
    fell_back: tuple[str, ...]
    timing_cache: bytes | None
    seconds: float


def build(
    onnx: bytes,
    options: BuildOptions,
    *,
    name: str,
    library: Library,
    cuda: Cuda | None = None,
    timing_cache: bytes | None = None,
    progress: Progress | None = None,
) -> Built:
    """A serialized engine of a network.

    Ctrl-C ends a build like a progress that answers False, where this is the main thread, SIGINT has Python's own handler and
    `library.differences.progress`: TensorRT would swallow the KeyboardInterrupt. What cannot report progress (8.6) cannot be
    ended either: run it in a process that can be.

    Args:
        onnx: as `edged.backends.onnx_file.read_onnx` returns it; the first axis of every input is the batch.
        name: what is built, for messages, e.g. `detector int8`.
        cuda: the opened device, made current in this thread; None only where `library.differences.portable`.
        timing_cache: of a former build by the same library for the same device.
        progress: an exception of it ends the build and is raised here.

    Raises:
        BuildCancelledError: progress answered False, or Ctrl-C was pressed.
        DeviceMissingError: the library needs a device and there is none.
        ModelError: TensorRT cannot build this network; carries its reasons.
        InputError: the network or the device does not allow these options.
    """
    if cuda is None and not library.differences.portable:
        raise DeviceMissingError(f"{name}: {library.label} builds on a CUDA device only, and none was opened [device.missing]")
    library.log.clear()
    watch = _Watch(progress)
    started_s = time.monotonic()
    with _interrupts(watch, can_cancel=library.differences.progress):
        builder = _make_builder(library)
        network = _make_network(builder, library)
        parser = library.module.OnnxParser(network, library.logger)  # holds weights until the engine is built
        _parse(parser, onnx, network=network, library=library, name=name)
        config = _configure(builder, network, options, library=library, name=name)
        cache = _attach_timing_cache(config, timing_cache, library=library)
        if library.differences.progress:
            monitor = _make_monitor(library.module, watch)
            config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
    seconds = time.monotonic() - started_s
    if watch.failure is not None:
        raise watch.failure
    if watch.is_cancelled:
        raise BuildCancelledError(f"{name}: building was cancelled after {seconds:.1f} s")
    if plan is None:
        raise ModelError(f"{name}: {library.label} cannot build it: {_reasons(library)} [engine.build]")
    content = bytes(plan)
    return Built(
        plan=content,
        layers=_read_layers(content, library=library, name=name),
        fell_back=library.log.layers_on_gpu() if options.dla_core is not None else (),
        timing_cache=bytes(cache.serialize()) if cache is not None else None,
        seconds=seconds,
    )


class _Phase:
    """One of TensorRT's phases; they nest.

    Args:
        whole: the phase that this one is a step of.
        n_steps: so many it has.
    """

    def __init__(self, whole: _Phase | None, n_steps: int) -> None:
        self._whole = whole
        self.n_steps = max(1, n_steps)
        self.n_done = 0

    def build_ratio(self, own_ratio: float = 0.0) -> float:
        """How much of the whole build is done when so much of this phase's current step is."""
        done_ratio = min(1.0, (self.n_done + own_ratio) / self.n_steps)
        return done_ratio if self._whole is None else self._whole.build_ratio(done_ratio)


class _Watch:
    """Follows a build for its progress, and remembers what ended it: TensorRT swallows what its callbacks raise."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._phases: dict[str, _Phase] = {}
        self._done_ratio = 0.0
        self.is_cancelled = False
        self.failure: BaseException | None = None

    def cancel(self) -> None:
        self.is_cancelled = True

    def start(self, phase: str, whole: str | None, n_steps: int) -> None:
        self._phases[phase] = _Phase(self._phases.get(whole or ""), n_steps)
        self._report(phase)

    def step(self, phase: str, step: int) -> bool:
        """Whether to go on after a step, counted from 0."""
        self._phases[phase].n_done = step + 1
        self._report(phase)
        return not self.is_cancelled and self.failure is None

    def finish(self, phase: str) -> None:
        self._phases[phase].n_done = self._phases[phase].n_steps
        self._report(phase)

    def _report(self, phase: str) -> None:
        if self._progress is None or self.is_cancelled or self.failure is not None:
            return
        self._done_ratio = max(self._done_ratio, self._phases[phase].build_ratio())
        try:
            goes_on = self._progress(phase, self._done_ratio)
        except BaseException as error:  # raised again once TensorRT has returned
            self.failure = error
        else:
            if not goes_on:  # never set to False: Ctrl-C may have come meanwhile
                self.cancel()


@contextmanager
def _interrupts(watch: _Watch, *, can_cancel: bool) -> Iterator[None]:
    """Ctrl-C cancels instead of raising KeyboardInterrupt into one of TensorRT's callbacks, where it would be lost."""
    is_ours = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not (can_cancel and is_ours):
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: watch.cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _make_builder(library: Library) -> Any:
    try:
        return library.module.Builder(library.logger)
    except TypeError as error:  # "factory function returned nullptr": how the bindings say that there is no device
        raise DeviceMissingError(f"{library.label} finds no device: {error}; {_reasons(library)} [device.missing]") from error


def _make_network(builder: Any, library: Library) -> Any:
    flag = library.module.NetworkDefinitionCreationFlag
    if library.differences.strongly_typed:
        return builder.create_network(1 << int(flag.STRONGLY_TYPED))
    return builder.create_network(1 << int(flag.EXPLICIT_BATCH) if library.differences.explicit_batch else 0)


def _parse(parser: Any, onnx: bytes, *, network: Any, library: Library, name: str) -> None:
    if not parser.parse(onnx):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        mend = _SYMMETRIC if any("zero point" in error for error in errors) else ""
        raise ModelError(f"{name}: {library.label} cannot read its ONNX: {'; '.join(errors)}{mend} [engine.parse]")
    if network.num_outputs == 0:  # the parser takes no bytes at all for a network
        raise ModelError(f"{name}: its ONNX has no outputs ({len(onnx)} bytes) [engine.parse]")


def _configure(builder: Any, network: Any, options: BuildOptions, *, library: Library, name: str) -> Any:
    trt = library.module
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.builder_optimization_level = options.optimisation_level
    config.clear_flag(trt.BuilderFlag.TF32)
    if library.differences.shares_if_told:  # two batches are in flight, each in a context of its own
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if library.differences.strongly_typed:
        _check_types(network, options.precision, trt=trt, name=name)
    elif library.differences.precision_flags and options.precision != "fp32":
        config.set_flag(trt.BuilderFlag.FP16 if options.precision == "fp16" else trt.BuilderFlag.INT8)
    if options.dla_core is not None:
        if not 0 <= options.dla_core < builder.num_DLA_cores:
            raise InputError(f"DLA core {options.dla_core}: {library.label} finds {builder.num_DLA_cores} here [engine.dla]")
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        profile.set_shape(tensor.name, *_shapes(tensor, options.batch, name=name))
    if config.add_optimization_profile(profile) < 0:
        raise ModelError(f"{name}: {library.label} refuses the batches {options.batch}: {_reasons(library)} [engine.build]")
    return config


def _check_types(network: Any, precision: Precision, *, trt: Any, name: str) -> None:
    """Refuse a network that would be built without the types that its precision is named for."""
    if precision == "fp32":
        return
    wanted = trt.DataType.HALF if precision == "fp16" else trt.DataType.INT8
    layers = (network.get_layer(index) for index in range(network.num_layers))
    if not any(layer.get_output(index).dtype == wanted for layer in layers for index in range(layer.num_outputs)):
        raise ModelError(f"{name}: nothing in its ONNX computes in {precision}: it is of another precision [engine.precision]")


def _shapes(tensor: Any, batch: tuple[int, int, int], *, name: str) -> Iterator[tuple[int, ...]]:
    """The shape of an input for each of the three batches."""
    shape = tuple(tensor.shape)
    if not shape or -1 in shape[1:]:
        raise ModelError(f"{name}: input {tensor.name} has the shape {shape}: only its first axis may be free [model.shape]")
    n = shape[0]
    if n != -1 and set(batch) != {n}:
        raise InputError(f"{name}: input {tensor.name} takes {n} at a time: expected the batch {n}/{n}/{n} [engine.batch]")
    return ((n, *shape[1:]) for n in batch)


def _attach_timing_cache(config: Any, content: bytes | None, *, library: Library) -> Any | None:
    """The cache that the build fills; None where the library has none (RTX measures nothing)."""
    if library.differences.portable:
        return None
    cache = config.create_timing_cache(content or b"")
    if cache is None or not config.set_timing_cache(cache, False):  # damaged, or another device's or version's
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _make_monitor(trt: Any, watch: _Watch) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base comes with the library
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # pybind wants its own, not super()'s

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return watch.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            watch.finish(phase_name)

    return Monitor()


def _read_layers(plan: bytes, *, library: Library, name: str) -> tuple[Layer, ...]:
    """From the log of a portable build, for an inspector wants the device; else from the inspector."""
    trt = library.module
    if library.differences.portable:
        layers = layers_in_log(library.log.layers or "")
    else:
        engine = trt.Runtime(library.logger).deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelError(f"{name}: {library.label} cannot load what it built: {_reasons(library)} [engine.build]")
        layers = layers_in_json(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))
    if not layers:
        _log.warning("engine built, its layers are not known: name=%s library=%s", name, library.label)
    return layers


def _reasons(library: Library) -> str:
    return "; ".join(library.log.errors()[-_REASONS:]) or "it gives no reason"
