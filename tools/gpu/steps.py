"""The steps of a check, each of them one process: what it finds is noted as soon as it is known."""

from __future__ import annotations

import gc
import os
import platform
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
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
from edged.backends.tensorrt.runner import SLOTS, TensorrtBackend, open_tensorrt_backend
from edged.engine_building import make_cache
from edged.errors import DeviceError, DeviceMissingError, EdgedError, InferenceError, ModelError
from edged.models.detector import Detector
from edged.models.manifest import DetectorManifest, Manifest, Precision, load_manifest
from edged.types import Pixels
from tools.bench.report import cpu_model
from tools.bench.service import percentile
from tools.gpu.bare import BareEngine
from tools.gpu.budget import NO_TIME, Budget
from tools.gpu.cameras import FPS, DrawnCameras, draw_clips, play
from tools.gpu.findings import BatchRate, Finding, Machine, Memory, Omission, PipelineRate, Problem, Streams
from tools.gpu.rates import in_turns, keep_in_flight, per_second, times_ms

BATCHES = (1, 2, 4, 8, 16)
PIPELINE_BATCHES = (1, 8)
CAMERAS = (8, 16, 32, 64, 128, 256)
TRTEXEC_DIRECTORY = "/usr/src/tensorrt/bin"
"""Where JetPack and NVIDIA's packages of Debian put it, outside of PATH."""
CAMERA_DETECTOR = "detector"
"""The network that a configuration names unless told otherwise: what a device does with it is worth knowing first."""
PREFERRED: tuple[Precision, ...] = ("fp16", "int8", "fp32")
"""The order in which precisions are worth knowing. Streams are counted in the first that the parity gate did not refuse."""

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
        budget: the time of the step.
    """

    library: Library
    open_device: Callable[[], Cuda]
    state_dir: Path
    note: Note
    budget: Budget
    timing: Timing = Timing()

    def records(self) -> list[EngineRecord]:
        """Every built engine, in the order of `urgency`."""
        cache = make_cache(self.state_dir)
        records = [cache.load(stem) for stem in cache.stems()]
        return sorted(records, key=lambda record: urgency(record.key.name, record.key.options.precision))

    def camera_detectors(self) -> list[EngineRecord]:
        """Those of `records` that a camera's frames go through, all of `CAMERA_DETECTOR` first. What finds points finds faces."""
        manifests = ((record, load_manifest(Path(record.directory))) for record in self.records())
        found = [record for record, each in manifests if isinstance(each, DetectorManifest) and each.outputs.points is None]
        return sorted(found, key=lambda record: record.key.name != CAMERA_DETECTOR)

    def read(self, record: EngineRecord) -> tuple[Manifest, bytes]:
        """The manifest and the plan of a built engine."""
        manifest = load_manifest(Path(record.directory), precision=record.key.options.precision)
        return manifest, make_cache(self.state_dir).read(record)

    def open_backend(
        self,
        record: EngineRecord,
        plan: bytes,
        *,
        max_batch: int | None = None,
        use_graphs: bool = True,
        pictures: PictureFormat | None = None,
    ) -> TensorrtBackend:
        """The engine as edged runs it once TensorRT-RTX has compiled the kernels for its batches; close it after use.

        Args:
            max_batch: memory is taken for so many pictures; None: for as many as the engine was built for.
            pictures: the GPU fits them into the network's input; None: the processor does.
        """
        return open_tensorrt_backend(
            plan,
            name=record.key.label,
            library=self.library,
            cuda=self.open_device(),
            max_batch=max_batch or record.key.options.batch[2],
            pictures=pictures,
            use_graphs=use_graphs,
            eager_kernels=True,
        )

    def work_through(self, step: str, jobs: Iterable[tuple[str, Iterator[str]]], *, sought: str = "an engine") -> None:
        """Do one job after the other while there is time; what goes wrong with one, and what was not reached, is noted.

        Args:
            jobs: what each is about, and its work, which yields before each of its parts the name of it.
            sought: what they are about, for people who wonder why there are none.

        Raises:
            DeviceError: the device is lost, for the others too.
        """
        jobs = list(jobs)
        if not jobs:
            self._note_none(step, sought)
        for what, parts in jobs:
            if self.budget.has_room:
                print(f"{step}: {what}", flush=True)
            try:
                with closing(parts):  # which may fail, too: it waits for what is in flight
                    reached = self._work(parts)
            except DeviceError:
                raise
            except EdgedError as error:
                self.note(Problem(step=step, what=what, message=str(error)))
                continue
            if reached is not None:
                self.note(Omission(step=step, what=f"{what} from {reached} on" if reached else what, reason=NO_TIME))

    def _note_none(self, step: str, sought: str) -> None:
        """No engine at all is a failure. Where some are, others were not chosen, not built, as `engines` tells, or refused."""
        built = [_describe_verdict(record) for record in self.records()]
        if built:
            self.note(Omission(step=step, what=sought, reason=f"none among what was built: {', '.join(built)}"))
        else:
            self.note(Problem(step=step, what=sought, message="no engine was built"))

    def _work(self, parts: Iterator[str]) -> str | None:
        """Which part there was no time for, empty before the first is known; None where all are done."""
        part: str | None = ""
        while part is not None and self.budget.has_room:
            part = self.budget.advance(parts)
        return part


def _describe_verdict(record: EngineRecord) -> str:
    is_refused = record.parity is not None and not record.parity.is_passed
    return f"{record.key.label} (refused by parity)" if is_refused else record.key.label


def urgency(name: str, precision: Precision) -> tuple[int, bool, str]:
    """What engines are sorted by: one precision of every network before a second of any, the cameras' detector before others."""
    return PREFERRED.index(precision), name != CAMERA_DETECTOR, name


def open_bench(state_dir: Path, note: Note, budget: Budget) -> Bench:
    """The TensorRT and the CUDA binding that are here.

    Raises:
        DeviceMissingError: there is none.
    """
    return Bench(import_library(), open_cuda, state_dir, note, budget)


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


def sweep(bench: Bench, clips: list[list[Pixels]] | None = None) -> None:
    """Throughput and latency against batch, graphs on and off, and the memory that each engine takes."""
    pictures = [clip[0] for clip in clips or draw_clips(frames=1)]
    bench.work_through(
        "sweep",
        (
            (
                record.key.label if use_graphs else f"{record.key.label} without graphs",
                _sweep_one(bench, record, pictures, use_graphs=use_graphs),
            )
            for record, use_graphs in in_sweep_order(bench.records())
        ),
    )


def in_sweep_order(records: list[EngineRecord]) -> list[tuple[EngineRecord, bool]]:
    """Each with graphs and without: every network once with graphs, then all of the cameras' detector, then the others."""
    ways = [(record, use_graphs) for use_graphs in (True, False) for record in records]
    first_of = {record.key.name: record for record in reversed(records)}

    def rank(way: tuple[EngineRecord, bool]) -> tuple[bool, bool]:
        record, use_graphs = way
        return not (use_graphs and record is first_of[record.key.name]), record.key.name != CAMERA_DETECTOR

    return sorted(ways, key=rank)


def _sweep_one(bench: Bench, record: EngineRecord, pictures: list[Pixels], *, use_graphs: bool) -> Iterator[str]:
    manifest, plan = bench.read(record)
    with bench.open_device() as watcher:
        before = watcher.free_bytes()
        with bench.open_backend(record, plan, use_graphs=use_graphs) as backend:
            taken = before - watcher.free_bytes()
            feeds = _feeds(manifest, backend, pictures, backend.max_batch)
            for batch in (n for n in BATCHES if n <= backend.max_batch):
                yield f"batch {batch}"
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


def compare_pipeline(bench: Bench, clips: list[list[Pixels]] | None = None) -> None:
    """The pipeline's pictures a second beside those of the bare engine, of edged's runner and of trtexec."""
    clips = clips or draw_clips()
    records = bench.camera_detectors()
    jobs = ((record.key.label, _compare_one(bench, record, clips)) for record in records)
    bench.work_through("pipeline", jobs, sought="a detector of objects")


def _compare_one(bench: Bench, record: EngineRecord, clips: list[list[Pixels]]) -> Iterator[str]:
    manifest, plan = bench.read(record)
    with bench.open_backend(record, plan) as backend:
        detector = Detector(manifest, backend)
        for batch in (n for n in PIPELINE_BATCHES if n <= backend.max_batch):
            yield f"batch {batch}"
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
    name = "trtexec" if bench.library.name == "tensorrt" else "tensorrt_rtx"
    program = shutil.which(name) or shutil.which(name, path=TRTEXEC_DIRECTORY)
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
        bench.note(Omission(step="pipeline", what=f"{name} of {record.key.label}", reason=str(error)))
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


def count_streams(bench: Bench, clips: list[list[Pixels]] | None = None, *, counts: tuple[int, ...] = CAMERAS) -> None:
    """How many drawn cameras in real time one engine carries, more and more until frames are dropped."""
    clips = clips or draw_clips()
    records = choose(bench.camera_detectors())
    jobs = ((record.key.label, _count_streams_of(bench, record, clips, counts)) for record in records)
    bench.work_through("streams", jobs, sought="a detector of objects that parity did not refuse")


def choose(records: list[EngineRecord]) -> list[EngineRecord]:
    """Of each network the first record that the parity gate did not refuse."""
    chosen: dict[str, EngineRecord] = {}
    for record in records:
        if record.parity is None or record.parity.is_passed:
            chosen.setdefault(record.key.name, record)
    return list(chosen.values())


def _count_streams_of(bench: Bench, record: EngineRecord, clips: list[list[Pixels]], counts: tuple[int, ...]) -> Iterator[str]:
    manifest, plan = bench.read(record)
    with bench.open_backend(record, plan) as backend, open(os.devnull, "wb") as output:
        detector = Detector(manifest, backend)
        feeds = _feeds(manifest, backend, [clip[0] for clip in clips], backend.max_batch)
        for n in range(1, backend.max_batch + 1):  # every size may come, and is slow the first time
            keep_in_flight(lambda n=n: backend.submit({name: array[:n] for name, array in feeds.items()}), 2 * SLOTS)
        for count in counts:
            yield f"{count} cameras"
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


def _name(record: EngineRecord) -> dict[str, str]:
    return {"engine": record.key.name, "precision": record.key.options.precision}


def _feeds(manifest: Manifest, backend: TensorrtBackend, pictures: list[Pixels], count: int) -> dict[str, NDArray[np.generic]]:
    """So many pictures as the network wants them, the same ones again where there are fewer."""
    batch = make_network(manifest, backend).prepare([pictures[index % len(pictures)] for index in range(count)])
    return {manifest.input.name: batch.tensor.copy()}
