"""From an engine's directory to a TensorRT engine in the cache.

TensorRT builds in a process of its own, at low priority. What goes wrong there, up to a crash of the library or an end by the
kernel for want of memory, ends that process only; Ctrl-C ends it at once, whatever it computes. Nothing is written but by us.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path

from edged import __version__
from edged.backends.onnx_file import read_onnx
from edged.backends.tensorrt.builder import BuildOptions, Built, Progress, build
from edged.backends.tensorrt.cache import PORTABLE, Commands, EngineCache, EngineKey, EngineRecord, Target
from edged.backends.tensorrt.cuda import open_cuda
from edged.backends.tensorrt.driver import DeviceFacts
from edged.backends.tensorrt.layers import Layer, count_types
from edged.backends.tensorrt.library import Library, import_library
from edged.config.computing import TensorrtConfig
from edged.errors import BuildCancelledError, EdgedError, EngineMissingError, ModelError
from edged.models.manifest import Manifest, Precision, list_engines, load_manifest

CACHE_NAME = "tensorrt"
POLL_S = 0.2
NICENESS = 10

Report = Callable[[str, float, float], None]
"""Is told again and again what a build does, how much of it is done (0 to 1), and its seconds so far."""

_READY = "ready"
"""What a building process says once it reads: its imports take a second, and more than a pipe holds would wait for them."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What became of one build.

    Attributes:
        layers: of the engine; None where one was there and still is right.
        replaced: why one that was there was not right; None where there was none.
    """

    record: EngineRecord
    layers: tuple[Layer, ...] | None
    replaced: str | None = None


def make_cache(state_dir: Path) -> EngineCache:
    """The built engines of a state directory."""
    return EngineCache(state_dir / CACHE_NAME)


def make_options(settings: TensorrtConfig, precision: Precision) -> BuildOptions:
    """What an engine is built for, by a configuration: any batch up to its most, or always the most on a DLA.

    Raises:
        InputError: settings that contradict each other.
    """
    most = settings.max_batch
    return BuildOptions(
        precision=precision,
        batch=(1, (most + 1) // 2, most) if settings.dla_core is None else (most, most, most),
        workspace_bytes=settings.workspace_mib << 20,
        dla_core=settings.dla_core,
    )


def make_target(library: Library, device: DeviceFacts | None) -> Target:
    """What a library builds for: the device that is here, or any."""
    if library.differences.portable:
        return PORTABLE
    if device is None:
        raise ValueError(f"{library.label} builds for the device that is here: open it first")
    return target_of(device)


def target_of(device: DeviceFacts) -> Target:
    """A device as engines name it."""
    return Target(device.name, ".".join(map(str, device.compute_capability)), device.driver_version)


def make_key(manifest: Manifest, options: BuildOptions, *, library: Library, target: Target) -> EngineKey:
    """What an engine is found by.

    Raises:
        ModelError: there is no network of this precision, or none that TensorRT takes.
    """
    return EngineKey(
        name=manifest.name,
        onnx_sha256=manifest.network(options.precision, symmetric=True).sha256,
        library=library.name,
        library_version=library.version,
        target=target,
        options=options,
    )


def make_command(action: str, directory: Path, *, state_dir: Path, options: Sequence[str] = ()) -> str:
    """`edged engines ACTION` for one engine, to be typed anywhere: who reads it may be in another directory than we are, and in
    another environment, so with another state directory."""
    is_found = any(each.resolve() == directory.resolve() for each in list_engines(state_dir=state_dir))
    engine = directory.name if is_found else str(directory.absolute())
    return shlex.join(["edged", "engines", action, engine, *options, "--state-dir", str(state_dir.absolute())])


def make_commands(key: EngineKey, directory: Path, *, state_dir: Path, settings: TensorrtConfig) -> Commands:
    """What to type about the engine of a directory, whatever the configuration says.

    Args:
        settings: which library, binding and device; named where they are not the usual ones.
    """
    usual, options = TensorrtConfig(), key.options
    place = [
        text
        for name in ("library", "cuda", "device")
        if (value := getattr(settings, name)) != getattr(usual, name)
        for text in (f"--{name}", str(value))
    ]
    wanted = ["--precision", options.precision, "--batch", "/".join(map(str, options.batch))]
    if options.workspace_bytes is not None:
        wanted += ["--workspace-mib", str(options.workspace_bytes >> 20)]
    if options.dla_core is not None:
        wanted += ["--dla-core", str(options.dla_core)]
    return Commands(
        build=make_command("build", directory, state_dir=state_dir, options=[*wanted, *place]),
        verify=make_command("verify", directory, state_dir=state_dir, options=place),
    )


def build_engine(
    directory: Path,
    options: BuildOptions,
    *,
    cache: EngineCache,
    library: Library,
    target: Target,
    settings: TensorrtConfig,
    force: bool,
    report: Report,
    cancelled: threading.Event,
) -> BuildResult:
    """Build the engine of a directory into the cache, unless it is there. One at a time on this cache: others wait.

    Args:
        directory: of the manifest and its networks.
        settings: which CUDA device, through which binding.
        force: build it though it is there.
        cancelled: ends the build as soon as it is set.

    Raises:
        BuildCancelledError: it was; nothing was written.
        ModelError: the manifest or the network cannot be used, TensorRT cannot build it, or others could write to the cache.
        InputError: the network or the device does not allow these options.
        StateError: the cache cannot be written.
    """
    manifest = load_manifest(directory, precision=options.precision)
    key = make_key(manifest, options, library=library, target=target)
    path = directory / manifest.network(options.precision).file
    onnx = read_onnx(path)
    if hashlib.sha256(onnx).hexdigest() != key.onnx_sha256:
        raise ModelError(f"{path}: was changed while it was read: build the engine once that is done [model.hash]")
    started_s = time.monotonic()

    def wait() -> None:
        report("waiting for another build", 0.0, time.monotonic() - started_s)
        if cancelled.wait(POLL_S):
            raise BuildCancelledError(f"{key.label}: cancelled while another build went on; nothing was written")

    with cache.lock(wait):
        replaced = None
        try:
            record, _ = cache.load_plan(key, make_commands(key, directory, state_dir=cache.path.parent, settings=settings))
            if not force:
                return BuildResult(record, layers=None)
        except EngineMissingError:
            pass
        except ModelError as error:  # damaged: what takes its place is whole
            replaced = str(error)
        timings = library.name, library.version, target
        built = _build_apart(
            _Job(options, key.label, library.name, settings),
            onnx,
            cache.timing_cache(*timings),
            report=report,
            cancelled=cancelled,
        )
        if built.timing_cache is not None:
            cache.write_timing_cache(*timings, built.timing_cache)
        record = cache.write(
            key,
            built.plan,
            directory=directory,
            seconds=built.seconds,
            types=count_types(built.layers),
            fell_back=built.fell_back,
            edged_version=__version__,
        )
        return BuildResult(record, built.layers, replaced)


@dataclass(frozen=True, slots=True)
class _Job:
    """What the building process is told to begin with: arguments of `build`, and how to get the library and the device."""

    options: BuildOptions
    name: str
    library: str
    settings: TensorrtConfig


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error of ours on its way between processes."""

    kind: type[EdgedError]
    message: str
    code: int | None = None

    def as_error(self) -> EdgedError:
        return self.kind(self.message) if self.code is None else self.kind(self.code, self.message)


class _EndedError(Exception):
    """The building process ended before it had an answer."""


def _build_apart(job: _Job, onnx: bytes, timing_cache: bytes | None, *, report: Report, cancelled: threading.Event) -> Built:
    """`build` in another process."""
    started_s = time.monotonic()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, theirs), name=f"build {job.name}", daemon=True)
    resource_tracker.ensure_running()  # else `start` would, and unblock SIGINT
    # Ctrl-C goes to every process of a terminal and is for us alone to act on. What is blocked stays so in a new process.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    try:
        return _follow(ours, (onnx, timing_cache), name=job.name, started_s=started_s, report=report, cancelled=cancelled)
    except _EndedError:
        process.join()
        if cancelled.wait(POLL_S):  # whoever told us to stop may have told both
            raise BuildCancelledError(f"{job.name}: cancelled; nothing was written") from None
        raise ModelError(f"{job.name}: the process that builds {_describe_end(process.exitcode)} [engine.build]") from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _follow(
    connection: Connection,
    given: tuple[bytes, bytes | None],
    *,
    name: str,
    started_s: float,
    report: Report,
    cancelled: threading.Event,
) -> Built:
    """Give a building process the network and what was measured before, and pass on what it says, up to its result."""
    phase, done_ratio = "starting TensorRT", 0.0
    while not cancelled.is_set():
        report(phase, done_ratio, time.monotonic() - started_s)
        match _receive(connection):
            case str():  # `_READY`
                with suppress(OSError):  # it ended: that is told where its answer is awaited
                    connection.send(given)
            case (str() as phase, float() as done_ratio):
                pass
            case _Failure() as failure:
                raise failure.as_error()
            case Built() as built:
                return built
    raise BuildCancelledError(f"{name}: cancelled after {time.monotonic() - started_s:.0f} s; nothing was written")


def _receive(connection: Connection) -> object:
    """What a building process says; None if it is silent for a moment."""
    try:
        return connection.recv() if connection.poll(POLL_S) else None
    except (EOFError, OSError) as error:
        raise _EndedError from error


def _describe_end(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"ended with {exit_code}: what it said is above"
    name = signal.Signals(-exit_code).name
    if -exit_code == signal.SIGKILL:
        return f"was ended by {name}: perhaps it took too much memory; try a smaller workspace or batch"
    return f"was ended by {name}: TensorRT crashed; is its version the one that the driver is for?"


def _work(job: _Job, connection: Connection) -> None:
    """What the building process does."""
    os.nice(NICENESS)

    def progress(phase: str, done_ratio: float) -> bool:
        try:
            connection.send((phase, done_ratio))
        except OSError:
            return False  # nobody waits for it any more
        return True

    try:
        connection.send(_READY)
        onnx, timing_cache = connection.recv()
    except (EOFError, OSError):
        return
    answer: Built | _Failure
    try:
        answer = _build_here(job, onnx, timing_cache, progress)
    except EdgedError as error:
        answer = _Failure(type(error), str(error), getattr(error, "code", None))
    with suppress(OSError):
        connection.send(answer)


def _build_here(job: _Job, onnx: bytes, timing_cache: bytes | None, progress: Progress) -> Built:
    library = import_library(job.library)
    with ExitStack() as stack:
        cuda = None
        if not library.differences.portable:
            cuda = stack.enter_context(open_cuda(job.settings.cuda, device=job.settings.device))
        return build(onnx, job.options, name=job.name, library=library, cuda=cuda, timing_cache=timing_cache, progress=progress)
