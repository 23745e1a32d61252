"""What computes a network fastest on this machine's CPU: measured once by `edged engines bench`, then kept with the state.

Nothing about a processor is assumed: INT8 is faster where it has instructions for it and slower where it has not, and no list
of flags says by how much.
"""

from __future__ import annotations

import hashlib
import logging
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from edged.assembly import open_network
from edged.errors import StateError
from edged.models.manifest import Manifest, Precision, load_manifest
from edged.parity import draw_pictures
from edged.state import StateDirectory

FILE_NAME = "cpu-choice.json"
CPU_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
"""What ONNX Runtime computes well on a CPU, the more exact first."""
ROUNDS = 25
WORTH = 0.9
"""INT8 costs accuracy and a thread costs the rest of the machine: either must bring the time down to this share."""

_CPU_MODEL = ("model name", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Hardware", "Model")
_CPU_FLAGS = ("flags", "Features")

_log = logging.getLogger(__name__)


class CpuChoice(NamedTuple):
    """What a network computes in on the CPU, and with how many threads."""

    precision: Precision
    threads: int


@dataclass(frozen=True, slots=True)
class CpuTiming:
    """How long the network alone takes one picture: the median, milliseconds."""

    precision: Precision
    threads: int
    network_ms: float


@dataclass(frozen=True, slots=True)
class ChoiceKey:
    """What a measurement holds for: where one of these differs, it must be made again.

    Attributes:
        networks: SHA-256 of each network by its precision.
        cpu: model, as the kernel names it.
        cpu_flags: SHA-256 of the kernel's list of what the processor can.
        cores: so many we may use.
    """

    networks: dict[str, str]
    onnxruntime: str
    cpu: str
    cpu_flags: str
    cores: int


def measure_cpu(directory: Path, *, most_threads: int, rounds: int = ROUNDS) -> list[CpuTiming]:
    """Time the networks of an engine with 1 to so many threads, opened as the daemon opens them, in turns.

    Args:
        directory: of the manifest.
        rounds: each is timed so often.

    Raises:
        ModelError: the manifest or a network cannot be used.
        InferenceError: a network fails.
    """
    manifest = load_manifest(directory)
    ways = [
        CpuChoice(precision, threads)
        for precision in CPU_PRECISIONS
        if precision in manifest.networks
        for threads in range(1, most_threads + 1)
    ]
    picture = next(draw_pictures())
    with ExitStack() as stack:
        opened = (open_network(directory, precision=way.precision, threads=way.threads) for way in ways)
        networks = [stack.enter_context(network) for network in opened]
        batches = [network.prepare([picture]) for network in networks]
        taken_ms: list[list[float]] = [[] for _ in ways]
        for _ in range(rounds):  # in turns: what else the machine does meets all of them
            for network, batch, times in zip(networks, batches, taken_ms, strict=True):
                started_s = time.perf_counter()
                network.infer(batch)
                times.append(1000 * (time.perf_counter() - started_s))
    return [CpuTiming(*way, round(statistics.median(times), 2)) for way, times in zip(ways, taken_ms, strict=True)]


def choose(timings: Sequence[CpuTiming]) -> CpuChoice:
    """The way that is worth it: of few threads and exact, unless another takes `WORTH` of its time or less."""
    best, *others = sorted(timings, key=lambda timing: (timing.threads, CPU_PRECISIONS.index(timing.precision)))
    for other in others:
        if other.network_ms <= WORTH * best.network_ms:
            best = other
    return CpuChoice(best.precision, best.threads)


def store_choice(state: StateDirectory, manifest: Manifest, timings: Sequence[CpuTiming]) -> CpuChoice:
    """Keep what was measured, in the place of what was known of this engine; returns the choice.

    Args:
        state: held, so that no daemon ran beside the measurement.

    Raises:
        StateError: it could not be written.
    """
    choice = choose(timings)
    entries = _read_entries(state)
    entries[manifest.name] = {
        "key": asdict(make_choice_key(manifest)),
        "precision": choice.precision,
        "threads": choice.threads,
        "measured": [asdict(timing) for timing in timings],
    }
    state.write_json(FILE_NAME, entries)
    return choice


def chosen_precision(state_dir: Path, manifest: Manifest) -> CpuChoice | None:
    """What was measured to be fastest; None where nothing was, or with other networks, another ONNX Runtime or processor.

    Args:
        state_dir: read without its lock.
        manifest: as `load_manifest` returns it, the digests of its networks checked.
    """
    entry = _read_entries(StateDirectory(state_dir)).get(manifest.name)
    if not isinstance(entry, dict) or entry.get("key") != asdict(make_choice_key(manifest)):
        return None
    precision, threads = entry.get("precision"), entry.get("threads")
    if precision not in CPU_PRECISIONS or type(threads) is not int or not 1 <= threads <= 64:
        return None
    return CpuChoice(precision, threads)


def make_choice_key(manifest: Manifest, *, cpu_info: Path = Path("/proc/cpuinfo")) -> ChoiceKey:
    """What a measurement made here and now holds for."""
    cpu, flags = _read_cpu(cpu_info)
    return ChoiceKey(
        networks={precision: network.sha256 for precision, network in manifest.networks.items() if precision in CPU_PRECISIONS},
        onnxruntime=metadata.version("onnxruntime"),
        cpu=cpu,
        cpu_flags=hashlib.sha256(flags.encode()).hexdigest(),
        cores=len(os.sched_getaffinity(0)),
    )


def _read_entries(state: StateDirectory) -> dict[str, object]:
    try:
        entries = state.read_json(FILE_NAME)
    except StateError as error:
        _log.warning("what was measured on this CPU is left aside: %s", error)
        return {}
    return entries if isinstance(entries, dict) else {}


def _read_cpu(cpu_info: Path) -> tuple[str, str]:
    """Model and flags of the processors, each line once: a big core and a little one are two.

    Source: proc_cpuinfo(5); arch/arm64/kernel/cpuinfo.c names the parts of ARM's.
    """
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown", ""
    fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    model = dict.fromkeys(value if name == "model name" else f"{name} {value}" for name, value in fields if name in _CPU_MODEL)
    flags = dict.fromkeys(value for name, value in fields if name in _CPU_FLAGS)
    return ", ".join(model) or "unknown", "\n".join(flags)
