"""What a check of a GPU machine finds, one line of JSON each: a step that is ended in the middle leaves what it had found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_args

from edged.errors import InputError

EXIT_PARTIAL = 3
"""Of a step, and of a check, in which nothing went wrong and something was left out."""
EXIT_REFUSED = 69
"""Where the library that is here does not compute on the device; what sysexits.h calls EX_UNAVAILABLE."""

MOST_DROPPED = 0.01
"""Of the frames of so many cameras that are due, for an engine to carry them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it was measured.

    Attributes:
        gpu: its name, None where there is no device or nothing to reach it by; `missing` says which and why.
        total_mb: memory of the GPU, MB of 10^6 bytes.
        library, binding: TensorRT and the Python package that reaches CUDA, with their versions.
    """

    gpu: str | None
    missing: str
    compute_capability: str
    driver: str
    total_mb: float
    library: str
    binding: str
    cpu: str
    cores: int
    python: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A built engine, and whether it computes what ONNX Runtime computes.

    Attributes:
        build_s: how long TensorRT built.
        plan_mb: its size.
        layers: how many layers write each type.
        figures, passed: of the parity gate; None where it was not reached.
    """

    engine: str
    precision: str
    build_s: float
    plan_mb: float
    layers: Mapping[str, int]
    figures: Mapping[str, float] | None = None
    passed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What an engine takes of the device while it is open, with memory for its largest batch, and what it keeps after that.

    Attributes:
        peak_rss_mb: the most that the process held of the host's memory so far.
    """

    engine: str
    precision: str
    max_batch: int
    device_mb: float
    kept_mb: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRate:
    """One size of batch through edged's runner, pinned memory and copies included.

    Attributes:
        pictures_per_s: with two batches in flight.
        ms_p50, ms_p99: of one batch alone, from its submission to its outputs.
    """

    engine: str
    precision: str
    graphs: bool
    batch: int
    pictures_per_s: float
    ms_p50: float
    ms_p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRate:
    """Pictures a second of the same batch: the bare engine, edged's runner, and the whole pipeline behind drawn pictures.

    Attributes:
        bare_per_s: copies and the engine, two batches in flight, nothing else.
        runner_per_s: the same through `TensorrtBackend`, which also fills the pinned memory.
        pipeline_per_s: letterbox, runner, decoding, suppression, tracks and rules of as many cameras as the batch has pictures.
        trtexec_per_s: None where there is no trtexec, or it failed.
        stages_ms: milliseconds a batch of each stage of the pipeline.
    """

    engine: str
    precision: str
    batch: int
    bare_per_s: float
    runner_per_s: float
    pipeline_per_s: float
    trtexec_per_s: float | None
    stages_ms: Mapping[str, float]

    @property
    def of_bare(self) -> float:
        """The pipeline's share of what the bare engine does."""
        return self.pipeline_per_s / self.bare_per_s

    @property
    def of_trtexec(self) -> float | None:
        """The pipeline's share of what trtexec reports."""
        return None if self.trtexec_per_s is None else self.pipeline_per_s / self.trtexec_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Pictures of one size fitted into the network's input by the processor and by the GPU, before the same engine.

    Attributes:
        host_per_s, device_per_s: pictures a second through the engine, two batches in flight.
        host_cpu_ms, device_cpu_ms: the processor's time a picture, everything that is done for the engine included.
        most_apart, share_apart: by how much the numbers of both ways differ at most, in the input's unit, and how many do.
    """

    engine: str
    precision: str
    width: int
    height: int
    batch: int
    host_per_s: float
    device_per_s: float
    host_cpu_ms: float
    device_cpu_ms: float
    most_apart: float
    share_apart: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """So many drawn cameras in real time, from the board to the journal; nothing is decoded.

    Attributes:
        fps: of each camera.
        due: frames that all of them put on the board.
        dropped: of these, those that a newer one of their camera replaced before they were analysed.
        ms_p50, ms_p99: from a frame's time to the end of its analysis.
    """

    engine: str
    precision: str
    cameras: int
    fps: float
    due: int
    dropped: int
    ms_p50: float
    ms_p99: float

    @property
    def is_carried(self) -> bool:
        """Whether hardly a frame was dropped."""
        return self.dropped <= MOST_DROPPED * self.due


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTests:
    """How the tests of a file of tests/gpu ended.

    Attributes:
        failed: errors outside of a test's body included.
        skipped: by reason, how many.
    """

    file: str
    passed: int
    failed: int
    skipped: Mapping[str, int]

    @property
    def count(self) -> int:
        """So many ended."""
        return self.passed + self.failed + sum(self.skipped.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that could not be done; the others were."""

    step: str
    what: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Omission:
    """One thing that was not done, and that is no failure of ours: there was no time left, or another program cannot do it."""

    step: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How a step ended.

    Attributes:
        outcome: `ok`, `partial` where it left something out, `failed`, `timed out`, or `left out` as a whole; of the step
            `device` also `refused`: the library does not compute on it.
        status: what it exited with; None where it was left out.
    """

    name: str
    outcome: str
    status: int | None
    seconds: float
    limit_s: float


Finding = Machine | Engine | Memory | BatchRate | PipelineRate | Fitting | Streams | DeviceTests | Problem | Omission | Step
KINDS: tuple[type[Finding], ...] = get_args(Finding)


def status_of(findings: Sequence[Finding]) -> int:
    """With what a step ends that found this: 1 where something went wrong, else 3 where something was left out, else 0."""
    if any(isinstance(each, Problem) or (isinstance(each, DeviceTests) and each.failed) for each in findings):
        return 1
    return EXIT_PARTIAL if any(isinstance(each, Omission) for each in findings) else 0


def note(finding: Finding, path: Path) -> None:
    """Add a finding to a file, whole or not at all."""
    line = json.dumps({"kind": type(finding).__name__, **asdict(finding)}, allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read_findings(path: Path) -> list[Finding]:
    """All findings of a file in their order, none where there is no file. A last line that was cut off is passed over.

    Raises:
        InputError: another line is none of ours.
    """
    return list(_read(path)) if path.exists() else []


def _read(path: Path) -> Iterator[Finding]:
    kinds = {kind.__name__: kind for kind in KINDS}
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(whole, 1):
        try:
            document = json.loads(line)
            kind = kinds[document.pop("kind")]
            if document.keys() != {field.name for field in fields(kind)}:
                raise KeyError("fields")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: line {number} is no finding of this revision: remove the file and measure again"
            ) from error
        yield kind(**document)
