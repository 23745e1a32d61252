"""What a check found, for programs and for docs/measurements/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from tools.gpu.findings import (
    BatchRate,
    DeviceTests,
    Engine,
    Finding,
    Fitting,
    Machine,
    Memory,
    Omission,
    PipelineRate,
    Problem,
    Step,
    Streams,
)

OF_BARE = 0.95
"""Of the bare engine's pictures a second, and of trtexec's, the pipeline shall reach at least so much."""

_Finding = TypeVar("_Finding", bound=Finding)


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that shall reach its limit."""

    name: str
    value: float
    limit: float

    @property
    def is_met(self) -> bool:
        """Whether it does; at the limit it does."""
        return self.value >= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one check, in their order.

    Attributes:
        date: UTC, e.g. `2026-11-26`.
    """

    date: str
    findings: Sequence[Finding]

    def of(self, kind: type[_Finding]) -> list[_Finding]:
        """The findings of a kind."""
        return [finding for finding in self.findings if type(finding) is kind]

    @property
    def machine(self) -> Machine | None:
        """Where it ran; None before that is known."""
        return next(iter(self.of(Machine)), None)

    @property
    def engines(self) -> list[Engine]:
        """What is known of each built engine at the end: it is noted when it is built, and again when it was compared."""
        return list({(each.engine, each.precision): each for each in self.of(Engine)}.values())

    @property
    def status(self) -> str:
        """`no device`, `refused` where the library does not compute on it, `incomplete` where a step did not end well or has not
        ended, `partial` where all that was done went well, or `ok`."""
        if self.machine is not None and self.machine.missing:
            return "no device"
        outcomes = {step.outcome for step in self.of(Step)}
        if "refused" in outcomes:
            return "refused"
        if not outcomes or outcomes & {"failed", "timed out"}:
            return "incomplete"
        return "ok" if outcomes == {"ok"} else "partial"

    def goals(self) -> list[Goal]:
        """What the pipelines that were measured shall reach."""
        goals = []
        for rate in self.of(PipelineRate):
            name = f"{rate.engine} {rate.precision}, {rate.batch} at once: pipeline beside"
            goals.append(Goal(f"{name} the bare engine", rate.of_bare, OF_BARE))
            if rate.of_trtexec is not None:
                goals.append(Goal(f"{name} trtexec", rate.of_trtexec, OF_BARE))
        return goals

    def carried(self) -> dict[tuple[str, str], int]:
        """The most cameras that were carried, by network and precision; 0 where even the fewest were too many."""
        most: dict[tuple[str, str], int] = {}
        for streams in self.of(Streams):
            name = streams.engine, streams.precision
            most[name] = max(most.get(name, 0), streams.cameras if streams.is_carried else 0)
        return most

    def to_json(self) -> dict[str, object]:
        """Every finding, every goal with its verdict."""
        document: dict[str, object] = {"date": self.date, "status": self.status}
        document["machine"] = asdict(self.machine) if self.machine else None
        for name, kind in (
            ("memory", Memory),
            ("batches", BatchRate),
            ("fitting", Fitting),
            ("streams", Streams),
            ("tests", DeviceTests),
            ("problems", Problem),
            ("omissions", Omission),
            ("steps", Step),
        ):
            document[name] = [asdict(each) for each in self.of(kind)]
        document["engines"] = [asdict(each) for each in self.engines]
        document["pipelines"] = [
            {**asdict(each), "of_bare": each.of_bare, "of_trtexec": each.of_trtexec} for each in self.of(PipelineRate)
        ]
        document["goals"] = [{**asdict(goal), "ok": goal.is_met} for goal in self.goals()]
        document["carried"] = [
            {"engine": engine, "precision": precision, "cameras": most} for (engine, precision), most in self.carried().items()
        ]
        return document

    def to_markdown(self) -> str:
        """A page as those of docs/measurements/."""
        where = "an unknown machine" if self.machine is None else self.machine.gpu or "a machine without a GPU"
        lines = [f"# edged on {where}, {self.date}", "", f"`tools/gpu_check.sh`: {self.status}.", *self._machine_lines()]
        sections = (
            ("Steps", _step_table(self.of(Step))),
            ("Engines, and whether they compute what ONNX Runtime computes", _engine_table(self.engines)),
            ("Throughput and latency against batch", _batch_table(self.of(BatchRate))),
            ("The pipeline beside the bare engine", _pipeline_table(self.of(PipelineRate))),
            ("Pictures fitted by the processor and by the GPU", _fitting_table(self.of(Fitting))),
            ("Drawn cameras in real time", _streams_table(self.of(Streams))),
            ("Memory", _memory_table(self.of(Memory))),
            ("tests/gpu", _test_lines(self.of(DeviceTests))),
            ("What failed", [f"- {each.step}, {each.what}: {each.message}" for each in self.of(Problem)]),
            ("What was left out", [f"- {each.step}, {each.what}: {each.reason}" for each in self.of(Omission)]),
        )
        for title, table in sections:
            if table:
                lines += ["", f"## {title}", "", *table]
        if self.goals():
            lines += ["", "## Goals", "", *(_goal_line(goal) for goal in self.goals())]
        return "\n".join(lines) + "\n"

    def _machine_lines(self) -> list[str]:
        machine = self.machine
        if machine is None:
            return []
        lines = [f"{machine.cpu}, {machine.cores} cores, Python {machine.python}, revision {machine.revision}."]
        if machine.missing:
            return ["", *lines, "", f"Nothing was measured: {machine.missing}"]
        memory = f"{machine.total_mb / 1e3:.1f} GB"
        facts = (machine.gpu, f"compute capability {machine.compute_capability}", memory, f"driver {machine.driver}")
        return ["", f"{', '.join(map(str, facts))}; {machine.library}, {machine.binding}.", *lines]


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table of Markdown; nothing where it has no rows."""
    body = [f"| {' | '.join(row)} |" for row in rows]
    names = list(names)
    return [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}", *body] if body else []


def _step_table(steps: list[Step]) -> list[str]:
    rows = [(step.name, step.outcome, f"{step.seconds:.0f} s", f"{step.limit_s:.0f} s") for step in steps]
    return _table(("step", "outcome", "took", "limit"), rows)


def _test_lines(tests: list[DeviceTests]) -> list[str]:
    lines = []
    for each in tests:
        lines.append(f"- {each.file}: {each.passed} passed, {each.failed} failed, {sum(each.skipped.values())} skipped")
        lines += [f"  - skipped {count}: {reason}" for reason, count in each.skipped.items()]
    return lines


def _engine_table(engines: list[Engine]) -> list[str]:
    rows = []
    for each in engines:
        verdict = {None: "not compared", True: "passed", False: "**failed**"}[each.passed]
        figures = ", ".join(f"{name} {value:.4f}" for name, value in (each.figures or {}).items()) or "–"
        layers = ", ".join(f"{count} {kind}" for kind, count in each.layers.items())
        rows.append((each.engine, each.precision, f"{each.build_s:.1f} s", f"{each.plan_mb:.1f} MB", layers, figures, verdict))
    return _table(("network", "precision", "built in", "size", "layers", "beside ONNX Runtime", "parity"), rows)


def _batch_table(rates: list[BatchRate]) -> list[str]:
    """Graphs on and off side by side; what was not measured is a dash."""
    by_row: dict[tuple[str, str, int], dict[bool, BatchRate]] = {}
    for rate in rates:
        by_row.setdefault((rate.engine, rate.precision, rate.batch), {})[rate.graphs] = rate
    rows = []
    for (engine, precision, batch), of in by_row.items():
        cells = [_cells(of.get(graphs)) for graphs in (True, False)]
        rows.append((engine, precision, str(batch), *(cell for pair in cells for cell in pair)))
    names = ("network", "precision", "batch", "pictures/s", "ms a batch p50 / p99", "no graphs: pictures/s", "ms p50 / p99")
    return _table(names, rows)


def _cells(rate: BatchRate | None) -> tuple[str, str]:
    return ("–", "–") if rate is None else (f"{rate.pictures_per_s:.0f}", f"{rate.ms_p50:.2f} / {rate.ms_p99:.2f}")


def _pipeline_table(rates: list[PipelineRate]) -> list[str]:
    rows = []
    for each in rates:
        trtexec = "–" if each.trtexec_per_s is None else f"{each.trtexec_per_s:.0f}"
        stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in each.stages_ms.items())
        figures = [f"{rate:.0f}" for rate in (each.bare_per_s, each.runner_per_s, each.pipeline_per_s)]
        rows.append((each.engine, each.precision, str(each.batch), *figures, trtexec, f"{each.of_bare:.2f}", stages))
    names = ("network", "precision", "batch", "bare/s", "runner/s", "pipeline/s", "trtexec/s", "pipeline : bare", "ms a batch")
    return _table(names, rows)


def _fitting_table(fittings: list[Fitting]) -> list[str]:
    rows = []
    for each in fittings:
        figures = [f"{each.host_per_s:.0f}", f"{each.device_per_s:.0f}", f"{each.host_cpu_ms:.3f}", f"{each.device_cpu_ms:.3f}"]
        apart = f"{each.most_apart:g}, in {each.share_apart:.2%}" if each.most_apart else "nothing"
        rows.append((each.engine, each.precision, f"{each.width}x{each.height}", str(each.batch), *figures, apart))
    names = ("network", "precision", "picture", "batch", "processor/s", "GPU/s", "CPU ms a picture", "with GPU", "apart")
    return _table(names, rows)


def _streams_table(streams: list[Streams]) -> list[str]:
    rows = [
        (
            each.engine,
            each.precision,
            f"{each.cameras} at {each.fps:g}/s",
            f"{each.dropped} of {each.due}",
            f"{each.ms_p50:.1f} / {each.ms_p99:.1f}",
        )
        for each in streams
    ]
    return _table(("network", "precision", "cameras", "frames dropped", "delay ms p50 / p99"), rows)


def _memory_table(memory: list[Memory]) -> list[str]:
    rows = [
        (
            each.engine,
            each.precision,
            str(each.max_batch),
            f"{each.device_mb:.0f} MB",
            f"{each.kept_mb:.0f} MB",
            f"{each.peak_rss_mb:.0f} MB",
        )
        for each in memory
    ]
    return _table(("network", "precision", "largest batch", "of the GPU", "kept after closing", "process, peak so far"), rows)


def _goal_line(goal: Goal) -> str:
    return f"- {'ok' if goal.is_met else '**goal missed**'}: {goal.name} {goal.value:.2f}, goal >= {goal.limit:g}"


def describe(report: Report) -> str:
    """One line: how it went."""
    counts: Mapping[str, int] = {
        "engines": len(report.engines),
        "sizes of batch": len(report.of(BatchRate)),
        "pipelines": len(report.of(PipelineRate)),
        "counts of cameras": len(report.of(Streams)),
        "problems": len(report.of(Problem)),
        "omissions": len(report.of(Omission)),
    }
    return f"{report.status}: " + ", ".join(f"{count} {name}" for name, count in counts.items())
