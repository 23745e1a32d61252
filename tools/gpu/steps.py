"""The steps of a check, each of them one process: what it finds is noted as soon as it is known."""

from __future__ import annotations

import gc
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from edged.assembly import make_network
from edged.backends.base import Tensors
from edged.backends.tensorrt.cache import EngineRecord
from edged.backends.tensorrt.cuda import Cuda, open_cuda
from edged.backends.tensorrt.letterbox import PictureFormat
from edged.backends.tensorrt.library import Library, import_library
from edged.backends.tensorrt.runner import TensorrtBackend, open_tensorrt_backend
from edged.engine_building import make_cache
from edged.errors import DeviceError, DeviceMissingError, EdgedError, InferenceError, ModelError
from edged.models.detector import Detector
from edged.models.manifest import DetectorManifest, Manifest, load_manifest
from edged.types import Pixels
from tools.bench.report import cpu_model
from tools.bench.service import percentile
from tools.gpu.bare import BareEngine
from tools.gpu.cameras import FPS, DrawnCameras, draw_clips, play
from tools.gpu.findings import BatchRate, Engine, Finding, Machine, Memory, PipelineRate, Problem, Streams
from tools.gpu.outcomes import OUTCOMES_NAME, read_outcomes
from tools.gpu.rates import in_turns, keep_in_flight, per_second, times_ms

ENGINES = Path(__file__).resolve().parents[2] / "engines"
TESTS = Path(__file__).resolve().parents[2] / "tests" / "gpu"
BATCHES = (1, 2, 4, 8, 16)
BUILT_FOR = "1/8/16"
"""Smallest, usual and largest batch of an engine."""
PIPELINE_BATCHES = (1, 8)
CAMERAS = (8, 16, 32, 64, 128, 256)
PREFERRED = ("fp16", "int8", "fp32")
"""The precision whose streams are counted: the first of these that was built and not refused by the parity gate."""

Note = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things are done for. The tests take shorter."""

    rate_s: float = 0.3
    single_s: float = 0.2
    turn_s: float = 0.3
    turns: int = 3
    streams_s: float = 3.0
    trtexec_s: int = 3


@dataclass(frozen=True, slots=True)
class Bench:
    """What the steps work with.

    Attributes:
        library, open_device: TensorRT, and how to open the device; opened for each engine anew.
        state_dir: holds the built engines.
        note: takes each finding.
    """

    library: Library
    open_device: Callable[[], Cuda]
    state_dir: Path
    note: Note
    timing: Timing = Timing()

    def records(self) -> list[EngineRecord]:
        """Every built engine, oldest first."""
        cache = make_cache(self.state_dir)
        return [cache.load(stem) for stem in cache.stems()]

    def detectors(self) -> list[EngineRecord]:
        """Those of `records` that are of a detector: what a camera's frames go through."""
        return [record for record in self.records() if isinstance(load_manifest(Path(record.directory)), DetectorManifest)]

    def read(self, record: EngineRecord) -> tuple[Manifest, bytes]:
        """The manifest and the plan of a built engine."""
        manifest = load_manifest(Path(record.directory), precision=record.key.options.precision)
        return manifest, make_cache(self.state_dir).read(record)

    def open_backend(
        self, record: EngineRecord, plan: bytes, *, use_graphs: bool = True, pictures: PictureFormat | None = None
    ) -> TensorrtBackend:
        """The engine as edged runs it, for batches as large as it was built for; close it after use."""
        return open_tensorrt_backend(
            plan,
            name=record.key.label,
            library=self.library,
            cuda=self.open_device(),
            max_batch=record.key.options.batch[2],
            pictures=pictures,
            use_graphs=use_graphs,
        )

    def of_each(self, step: str, records: list[EngineRecord], work: Callable[[EngineRecord], None]) -> bool:
        """Do something with every engine; what goes wrong with one is noted. Whether nothing did.

        Raises:
            DeviceError: the device is lost, for the others too.
        """
        is_well = bool(records)
        if not records:
            self.note(Problem(step=step, what="engines", message="none was built"))
        for record in records:
            try:
                work(record)
            except DeviceError:
                raise
            except EdgedError as error:
                self.note(Problem(step=step, what=record.key.label, message=str(error)))
                is_well = False
        return is_well


def open_bench(state_dir: Path, note: Note) -> Bench:
    """The TensorRT and the CUDA binding that are here.

    Raises:
        DeviceMissingError: there is none.
    """
    return Bench(import_library(), open_cuda, state_dir, note)


def find_machine(note: Note, *, revision: str) -> bool:
    """Where we are; whether there is a device and all to reach it by."""
    missing = []
    library = device = None
    binding = ""
    try:
        library = import_library()
    except DeviceMissingError as error:
        missing.append(str(error))
    try:
        with open_cuda() as cuda:
            device, binding = cuda.device, cuda.label
    except DeviceMissingError as error:
        missing.append(str(error))
    note(
        Machine(
            gpu=device and device.name,
            missing="; ".join(missing),
            compute_capability=".".join(map(str, device.compute_capability)) if device else "",
            driver=device.driver_version if device else "",
            total_mb=device.total_bytes / 1e6 if device else 0.0,
            library=library.label if library else "",
            binding=binding,
            cpu=cpu_model(),
            cores=len(os.sched_getaffinity(0)),
            python=platform.python_version(),
            revision=revision,
        )
    )
    for reason in missing:
        print(f"no device: {reason}", flush=True)
    return not missing


def build_and_verify(
    state_dir: Path, note: Note, *, engines: Path = ENGINES, run: Callable[[list[str]], tuple[int, str]] | None = None
) -> bool:
    """Every engine in every precision that it has through `edged engines build` and `verify`; whether all of it went well.

    Args:
        engines: directory of the engines' directories.
        run: gives exit status and last line of a command of `edged`; the tests replace it.
    """
    run = run or _run_edged
    is_well = True
    for manifest_path in sorted(engines.glob("*/model.yaml")):
        directory = manifest_path.parent
        manifest = load_manifest(directory)
        builds = [["build", str(directory), "--precision", each, "--batch", BUILT_FOR] for each in manifest.networks]
        for command in [*builds, ["verify", str(directory)]]:
            status, said = run(["engines", *command, "--state-dir", str(state_dir)])
            _note_engines(state_dir, note, manifest.name)
            if status:
                what = " ".join([command[0], manifest.name, *command[3:4]])
                note(Problem(step="engines", what=what, message=f"exit {status}: {said}"))
                is_well = False
    return is_well


def _run_edged(arguments: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "edged", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(done.stdout, end="", flush=True)
    said = done.stdout.strip().splitlines()
    return done.returncode, said[-1] if said else "it said nothing"


def _note_engines(state_dir: Path, note: Note, name: str) -> None:
    cache = make_cache(state_dir)
    for record in (cache.load(stem) for stem in cache.stems()):
        if record.key.name == name:
            parity = record.parity
            note(
                Engine(
                    engine=name,
                    precision=record.key.options.precision,
                    build_s=record.seconds,
                    plan_mb=record.plan_bytes / 1e6,
                    layers=record.types,
                    figures=parity and parity.figures,
                    passed=parity and parity.is_passed,
                )
            )


def sweep(bench: Bench, clips: list[list[Pixels]] | None = None) -> bool:
    """Throughput and latency against batch, graphs on and off, and the memory that each engine takes."""
    pictures = [clip[0] for clip in clips or draw_clips(frames=1)]
    return bench.of_each("sweep", bench.records(), lambda record: _sweep_one(bench, record, pictures))


def _sweep_one(bench: Bench, record: EngineRecord, pictures: list[Pixels]) -> None:
    manifest, plan = bench.read(record)
    with bench.open_device() as watcher:
        for use_graphs in (True, False):
            before = watcher.free_bytes()
            with bench.open_backend(record, plan, use_graphs=use_graphs) as backend:
                taken = before - watcher.free_bytes()
                feeds = _feeds(manifest, backend, pictures, backend.max_batch)
                for batch in (n for n in BATCHES if n <= backend.max_batch):
                    batch_feeds = {name: array[:batch] for name, array in feeds.items()}
                    _time_batch(bench, record, backend, batch_feeds, use_graphs=use_graphs)
            if use_graphs:
                gc.collect()
                bench.note(
                    Memory(
                        **_name(record),
                        max_batch=record.key.options.batch[2],
                        device_mb=taken / 1e6,
                        kept_mb=(before - watcher.free_bytes()) / 1e6,
                        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
                    )
                )


def _time_batch(bench: Bench, record: EngineRecord, backend: TensorrtBackend, feeds: Tensors, *, use_graphs: bool) -> None:
    (batch,) = {len(array) for array in feeds.values()}
    keep_in_flight(lambda: backend.submit(feeds), 8)  # captures what is to be captured, in both slots
    rate = per_second(lambda n: keep_in_flight(lambda: backend.submit(feeds), n), seconds=bench.timing.rate_s)
    alone_ms = times_ms(backend, feeds, seconds=bench.timing.single_s)
    bench.note(
        BatchRate(
            **_name(record),
            graphs=use_graphs,
            batch=batch,
            pictures_per_s=batch * rate,
            ms_p50=median(alone_ms),
            ms_p99=percentile(alone_ms, 99),
        )
    )


def compare_pipeline(bench: Bench, clips: list[list[Pixels]] | None = None) -> bool:
    """The pipeline's pictures a second beside those of the bare engine, of edged's runner and of trtexec."""
    clips = clips or draw_clips()
    return bench.of_each("pipeline", bench.detectors(), lambda record: _compare_one(bench, record, clips))


def _compare_one(bench: Bench, record: EngineRecord, clips: list[list[Pixels]]) -> None:
    manifest, plan = bench.read(record)
    with bench.open_backend(record, plan) as backend:
        detector = Detector(manifest, backend)
        for batch in (n for n in PIPELINE_BATCHES if n <= backend.max_batch):
            feeds = _feeds(manifest, backend, [clip[0] for clip in clips], batch)
            cameras = DrawnCameras(clips, manifest, count=batch)
            cameras.analyse(detector, 20)  # tracks are confirmed, graphs captured
            with BareEngine(plan, feeds, backend.outputs, library=bench.library, cuda=bench.open_device()) as bare:
                rates = in_turns(
                    [
                        bare.run,
                        lambda n, feeds=feeds: keep_in_flight(lambda: backend.submit(feeds), n),
                        lambda n, cameras=cameras: cameras.analyse(detector, n),
                    ],
                    turns=bench.timing.turns,
                    seconds=bench.timing.turn_s,
                )
            stages = [cameras.analyse(detector, 1)[0].stages_ms for _ in range(50)]
            bench.note(
                PipelineRate(
                    **_name(record),
                    batch=batch,
                    bare_per_s=batch * rates[0],
                    runner_per_s=batch * rates[1],
                    pipeline_per_s=batch * rates[2],
                    trtexec_per_s=_run_trtexec(bench, record, feeds),
                    stages_ms={stage: fmean(each[stage] for each in stages) for stage in stages[0]},
                )
            )


def _run_trtexec(bench: Bench, record: EngineRecord, feeds: Tensors) -> float | None:
    """Pictures a second by NVIDIA's own tool; None where there is none of the TensorRT that built the engine."""
    program = shutil.which("trtexec" if bench.library.name == "tensorrt" else "tensorrt_rtx")
    if program is None:
        return None
    shapes = ",".join(f"{name}:{'x'.join(map(str, array.shape))}" for name, array in feeds.items())
    seconds = bench.timing.trtexec_s
    command = [program, f"--loadEngine={make_cache(bench.state_dir).path / record.plan_name}", f"--shapes={shapes}"]
    command += ["--useCudaGraph", "--infStreams=2", f"--duration={seconds}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10 + 3 * seconds)
        (batch,) = {len(array) for array in feeds.values()}
        return batch * read_throughput(done.stdout)
    except (OSError, subprocess.SubprocessError, ModelError) as error:
        bench.note(Problem(step="pipeline", what=f"trtexec {record.key.label}", message=str(error)))
        return None


def read_throughput(said: str) -> float:
    """Batches a second, of what trtexec prints, e.g. `[I] Throughput: 1234.56 qps`.

    Raises:
        ModelError: it is not there.
    """
    found = re.search(r"Throughput: ([0-9.]+) qps", said)
    if found is None:
        raise ModelError(f"no throughput in what trtexec says: {said[-200:]!r}")
    return float(found[1])


def count_streams(bench: Bench, clips: list[list[Pixels]] | None = None, *, counts: tuple[int, ...] = CAMERAS) -> bool:
    """How many drawn cameras in real time one engine carries, more and more until frames are dropped."""
    clips = clips or draw_clips()
    return bench.of_each("streams", choose(bench.detectors()), lambda record: _count_streams_of(bench, record, clips, counts))


def choose(records: list[EngineRecord]) -> list[EngineRecord]:
    """Of each network the record in the first of `PREFERRED` that the parity gate did not refuse."""
    chosen = {}
    for record in records:
        is_refused = record.parity is not None and not record.parity.is_passed
        rank = PREFERRED.index(record.key.options.precision)
        best = chosen.get(record.key.name)
        if not is_refused and (best is None or rank <= PREFERRED.index(best.key.options.precision)):
            chosen[record.key.name] = record
    return list(chosen.values())


def _count_streams_of(bench: Bench, record: EngineRecord, clips: list[list[Pixels]], counts: tuple[int, ...]) -> None:
    manifest, plan = bench.read(record)
    with bench.open_backend(record, plan) as backend, open(os.devnull, "wb") as output:
        detector = Detector(manifest, backend)
        for count in counts:
            cameras = DrawnCameras(clips, manifest, count=count)
            played = play(cameras, detector, batch=backend.max_batch, seconds=bench.timing.streams_s, output=output)
            if not played.delays_ms:
                raise InferenceError(f"{count} cameras: not one of {played.due} frames was analysed")
            streams = Streams(
                **_name(record),
                cameras=count,
                fps=FPS,
                due=played.due,
                dropped=played.dropped,
                ms_p50=median(played.delays_ms),
                ms_p99=percentile(played.delays_ms, 99),
            )
            bench.note(streams)
            if not streams.is_carried:
                return


def run_tests(work: Path, note: Note, *, tests: Path = TESTS) -> bool:
    """The tests that need a device; whether some ran and all of those passed.

    The parity of all engines comes last: it takes longest, and the step that builds has compared them already.

    Args:
        work: where each outcome is written as soon as it is known.
    """
    files = sorted(tests.glob("test_*.py"), key=lambda path: (path.name == "test_parity.py", path))
    command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["-p", "tools.gpu.outcomes", "--outcomes", str(work / OUTCOMES_NAME), *map(str, files)]
    status = subprocess.run(command, cwd=TESTS.parents[1], check=False).returncode
    found = read_outcomes(work / OUTCOMES_NAME)
    note(found)
    if status not in (0, 1):  # 1: some failed, which is told with the others
        note(Problem(step="tests", what="pytest", message=f"exit {status}"))
    return status == 0 and found.passed > 0


def _name(record: EngineRecord) -> dict[str, str]:
    return {"engine": record.key.name, "precision": record.key.options.precision}


def _feeds(manifest: Manifest, backend: TensorrtBackend, pictures: list[Pixels], count: int) -> dict[str, NDArray[np.generic]]:
    """So many pictures as the network wants them, the same ones again where there are fewer."""
    batch = make_network(manifest, backend).prepare([pictures[index % len(pictures)] for index in range(count)])
    return {manifest.input.name: batch.tensor.copy()}
