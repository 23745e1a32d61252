"""Engines built, compared with ONNX Runtime, and a first one that shows whether the library computes here at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edged.assembly import make_network
from edged.backends.tensorrt.cache import EngineRecord, Target
from edged.config.computing import TensorrtConfig
from edged.engine_building import BuildResult, build_engine, make_cache, make_options, make_target, target_of
from edged.engine_verification import compare_candidate, judge
from edged.errors import BuildCancelledError, ModelError
from edged.models.manifest import Manifest, Precision, load_manifest
from edged.models.network import Network
from edged.parity import draw_pictures, limits_of
from edged.types import Pixels
from tools.gpu.budget import NO_TIME, whole
from tools.gpu.findings import Engine, Omission
from tools.gpu.steps import Bench, urgency

ENGINES = Path(__file__).resolve().parents[2] / "engines"
BUILT_FOR = (1, 8, 16)
"""Smallest, usual and largest batch of an engine."""
_CANNOT_INT8 = "cudnn_impl.cpp", "CHECK(dtype =="
"""What TensorRT-RTX up to 1.6 says of a convolution in INT8."""
_POLL_S = 0.2

Build = Callable[..., BuildResult]


@dataclass(frozen=True, slots=True)
class Job:
    """One engine to build."""

    directory: Path
    name: str
    precision: Precision

    @property
    def label(self) -> str:
        """For people, e.g. `detector fp16`."""
        return f"{self.name} {self.precision}"


def find_jobs(engines: Path = ENGINES) -> list[Job]:
    """Every network of a directory in every precision that it has, in the order of `urgency`."""
    directories = [path.parent for path in engines.glob("*/model.yaml")]
    manifests = [(directory, load_manifest(directory)) for directory in directories]
    jobs = [Job(directory, manifest.name, precision) for directory, manifest in manifests for precision in manifest.networks]
    return sorted(jobs, key=lambda job: urgency(job.name, job.precision))


def cannot_build(precision: Precision, said: str) -> bool:
    """Whether an error of a build says that this library has no such layers, which is nobody's mistake."""
    return precision == "int8" and all(words in said for words in _CANNOT_INT8)


def find_reason(precision: Precision, said: str, *, label: str) -> str:
    """What a command that could not build an engine printed of why, if `cannot_build`: one line, the same for every engine.

    Args:
        said: all that it printed, how far the build was included.
        label: of the engine, which the line begins with.
    """
    lines = (line for line in said.splitlines() if cannot_build(precision, line))
    return next(lines, "").removeprefix("edged: ").removeprefix(f"{label}: ")


def compute_first(bench: Bench, *, engines: Path = ENGINES, build: Build = build_engine) -> None:
    """Build the smallest network that is here and compute with it: what a library refuses on a device, it refuses at once.

    Raises:
        ModelError, InferenceError, DeviceError: it was refused.
    """
    jobs = [job for job in find_jobs(engines) if job.precision == "fp32"]
    job = min(jobs, key=lambda job: (job.directory / load_manifest(job.directory).onnx.file).stat().st_size)
    record = _build(bench, job, _find_target(bench), build)
    _, plan = bench.read(record)
    with bench.open_backend(record, plan):
        print(f"{job.label}: computes with {bench.library.label}", flush=True)


def build_engines(bench: Bench, *, engines: Path = ENGINES, build: Build = build_engine) -> None:
    """Every network built in every precision that it has."""
    target = _find_target(bench)
    jobs = find_jobs(engines)
    bench.work_through("engines", ((job.label, whole(partial(_build_one, bench, job, target, build))) for job in jobs))


def _find_target(bench: Bench) -> Target:
    with bench.open_device() as cuda:
        return make_target(bench.library, cuda.device)


def _build_one(bench: Bench, job: Job, target: Target, build: Build) -> None:
    try:
        record = _build(bench, job, target, build)
    except BuildCancelledError:
        bench.note(Omission(step="engines", what=job.label, reason=NO_TIME))
    except ModelError as error:
        if not cannot_build(job.precision, str(error)):
            raise
        bench.note(Omission(step="engines", what=job.label, reason=str(error)))
    else:
        bench.note(_describe(record))


def _build(bench: Bench, job: Job, target: Target, build: Build) -> EngineRecord:
    """In a process of its own, which ends with the time of the step."""
    cancelled = threading.Event()

    def follow(*_: object) -> None:
        if bench.budget.left_s <= 0:
            cancelled.set()

    settings = TensorrtConfig()
    return build(
        job.directory,
        replace(make_options(settings, job.precision), batch=BUILT_FOR),
        cache=make_cache(bench.state_dir),
        library=bench.library,
        target=target,
        settings=settings,
        force=False,
        report=follow,
        cancelled=cancelled,
    ).record


def compare_engines(bench: Bench, pictures: Sequence[Pixels] | None = None) -> None:
    """Every built engine held against the same network in ONNX Runtime, in the batches of `edged engines verify`.

    That opens an engine as the daemon does. Here TensorRT-RTX compiles its kernels for a size of batch before the first of them,
    as for everything else that a check measures, and the processor fits the pictures: whether the GPU does as well is told by
    `fitting`.
    """
    pictures = pictures or list(draw_pictures())
    records = bench.records()
    bench.work_through("parity", ((record.key.label, whole(partial(_compare, bench, record, pictures))) for record in records))


def _compare(bench: Bench, record: EngineRecord, pictures: Sequence[Pixels]) -> None:
    manifest, plan = bench.read(record)
    with bench.open_device() as cuda:
        target = target_of(cuda.device)

    def open_with(most: int) -> Network[Manifest]:
        return make_network(manifest, bench.open_backend(record, plan, max_batch=most))

    limits = limits_of(manifest, record.key.options.precision)
    outcome, said = judge(lambda: compare_candidate(record, open_with, pictures), limits, target)
    cache = make_cache(bench.state_dir)
    with cache.lock(lambda: time.sleep(_POLL_S)):
        record = cache.record_parity(record, outcome)
    bench.note(_describe(record))
    if not outcome.is_passed:
        raise ModelError(f"parity on {target}: {said}: a site would not use it; it may take another precision [engine.parity]")


def _describe(record: EngineRecord) -> Engine:
    parity = record.parity
    return Engine(
        engine=record.key.name,
        precision=record.key.options.precision,
        build_s=record.seconds,
        plan_mb=record.plan_bytes / 1e6,
        layers=record.types,
        figures=parity and parity.figures,
        passed=parity and parity.is_passed,
    )
