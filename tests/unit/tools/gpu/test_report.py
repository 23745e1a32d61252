"""What a check of a GPU machine says: figures of this file are made up, no device gave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.errors import InputError
from tools.gpu.ended import main
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
    note,
    read_findings,
    status_of,
)
from tools.gpu.report import OF_BARE, Report

NAME = {"engine": "tiny", "precision": "fp16"}


def make_machine(*, missing: str = "") -> Machine:
    return Machine(
        gpu=None if missing else "Stand-in",
        missing=missing,
        compute_capability="" if missing else "8.7",
        driver="13.0",
        total_mb=8000.0,
        library="TensorRT 10.3.0",
        binding="cuda-bindings 13.5.0",
        cpu="a processor",
        cores=4,
        python="3.12.3",
        revision="abc1234",
    )


def make_engine(*, passed: bool | None) -> Engine:
    figures = None if passed is None else {"ap50": 0.5, "mean_iou": 0.25}
    return Engine(**NAME, build_s=1.5, plan_mb=2.0, layers={"float16": 3}, figures=figures, passed=passed)


def make_rate(*, batch: int = 4, graphs: bool = True, pictures_per_s: float = 1000.0) -> BatchRate:
    return BatchRate(**NAME, graphs=graphs, batch=batch, pictures_per_s=pictures_per_s, ms_p50=2.5, ms_p99=4.0)


def make_pipeline(*, pipeline_per_s: float, trtexec_per_s: float | None = None) -> PipelineRate:
    return PipelineRate(
        **NAME,
        batch=8,
        bare_per_s=200.0,
        runner_per_s=180.0,
        pipeline_per_s=pipeline_per_s,
        trtexec_per_s=trtexec_per_s,
        stages_ms={"letterbox": 1.25},
    )


def make_fitting(*, most_apart: float) -> Fitting:
    return Fitting(
        **NAME,
        width=1280,
        height=720,
        batch=8,
        host_per_s=900.0,
        device_per_s=800.0,
        host_cpu_ms=0.25,
        device_cpu_ms=0.5,
        most_apart=most_apart,
        share_apart=0.125 if most_apart else 0.0,
    )


def make_streams(cameras: int, *, dropped: int, due: int = 1000) -> Streams:
    return Streams(**NAME, cameras=cameras, fps=5.0, due=due, dropped=dropped, ms_p50=7.0, ms_p99=9.0)


def make_step(name: str, outcome: str, *, status: int | None = 0) -> Step:
    return Step(name=name, outcome=outcome, status=status, seconds=3.0, limit_s=30.0)


EVERYTHING: list[Finding] = [
    make_machine(),
    make_engine(passed=None),
    make_engine(passed=True),
    Memory(**NAME, max_batch=16, device_mb=300.0, kept_mb=0.0, peak_rss_mb=400.0),
    make_rate(),
    make_pipeline(pipeline_per_s=150.0, trtexec_per_s=300.0),
    make_fitting(most_apart=0.0),
    make_streams(8, dropped=0),
    DeviceTests(file="test_cuda.py", passed=3, failed=1, skipped={"no pycuda": 2}),
    Problem(step="engines", what="tiny int8", message="refused"),
    Omission(step="sweep", what="tiny fp16 from batch 8 on", reason="no time left"),
    make_step("engines", "failed", status=1),
]


def test_findings_that_were_noted_are_read_in_their_order(tmp_path: Path) -> None:
    """Every kind comes back as it was."""
    path = tmp_path / "findings.jsonl"

    for finding in EVERYTHING:
        note(finding, path)

    assert read_findings(path) == EVERYTHING


def test_a_last_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    """A step may be ended while it writes; what was found before counts."""
    path = tmp_path / "findings.jsonl"
    note(make_machine(), path)
    note(make_rate(), path)

    path.write_bytes(path.read_bytes()[:-10])

    assert read_findings(path) == [make_machine()]


def test_no_file_is_no_finding(tmp_path: Path) -> None:
    assert read_findings(tmp_path / "findings.jsonl") == []


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"kind": "Nothing"}', '{"kind": "DeviceTests", "passed": 1}'], ids=["cut", "list", "unknown", "fields"]
)
def test_a_line_that_is_no_finding_is_named(tmp_path: Path, line: str) -> None:
    """Only the last line may be cut off."""
    path = tmp_path / "findings.jsonl"
    path.write_text(f"{line}\n")

    with pytest.raises(InputError, match=r"line 1 is no finding"):
        read_findings(path)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        pytest.param([], "incomplete", id="nothing ran"),
        pytest.param([make_machine()], "incomplete", id="no step has ended"),
        pytest.param([make_machine(), make_step("device", "ok")], "ok", id="all ended well"),
        pytest.param(
            [make_machine(), make_step("device", "ok"), make_step("sweep", "timed out")], "incomplete", id="one too long"
        ),
        pytest.param(
            [make_machine(), make_step("device", "ok"), make_step("sweep", "partial"), make_step("tests", "failed")],
            "incomplete",
            id="one failed, one had no time",
        ),
        pytest.param([make_machine(), make_step("device", "ok"), make_step("sweep", "partial")], "partial", id="no time"),
        pytest.param([make_machine(), make_step("device", "ok"), make_step("sweep", "left out")], "partial", id="left out"),
        pytest.param([make_machine(), make_step("device", "refused"), make_step("tests", "ok")], "refused", id="refused"),
        pytest.param([make_machine(), make_step("device", "failed")], "incomplete", id="failed before the device was known"),
        pytest.param([make_machine(), make_step("device", "timed out"), make_step("sweep", "ok")], "incomplete", id="hung"),
        pytest.param([make_machine(), make_step("device", "partial"), make_step("sweep", "ok")], "partial", id="slow to build"),
        pytest.param([make_machine(missing="no driver"), make_step("device", "failed")], "no device", id="no device"),
    ],
)
def test_status_is_that_of_the_worst_step(findings: list[Finding], status: str) -> None:
    assert Report("2026-11-26", findings).status == status


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([make_rate(), DeviceTests(file="test_cuda.py", passed=3, failed=0, skipped={})], 0, id="all well"),
        pytest.param([DeviceTests(file="test_cuda.py", passed=3, failed=1, skipped={})], 1, id="a test failed"),
        pytest.param([Omission(step="sweep", what="tiny fp16", reason="no time left")], 3, id="left out"),
        pytest.param(
            [
                Omission(step="sweep", what="tiny fp16", reason="no time left"),
                Problem(step="sweep", what="tiny int8", message="refused"),
            ],
            1,
            id="left out, and a problem",
        ),
    ],
)
def test_exit_status_follows_from_what_was_found(findings: list[Finding], status: int) -> None:
    """What was left out is no failure, and no success either."""
    assert status_of(findings) == status


def test_an_engine_is_told_as_it_is_at_the_end() -> None:
    """It is noted when it is built and again when it was compared."""
    report = Report("2026-11-26", [make_engine(passed=None), make_engine(passed=False)])

    assert report.engines == [make_engine(passed=False)]
    assert "| ap50 0.5000, mean_iou 0.2500 | **failed** |" in report.to_markdown()


@pytest.mark.parametrize(
    ("pipeline_per_s", "is_met"), [(200.0 * OF_BARE, True), (200.0 * OF_BARE - 0.1, False)], ids=["at the goal", "below"]
)
def test_pipeline_must_reach_its_share_of_the_bare_engine(pipeline_per_s: float, is_met: bool) -> None:
    (goal,) = Report("2026-11-26", [make_pipeline(pipeline_per_s=pipeline_per_s)]).goals()

    assert goal.is_met is is_met
    assert goal.name == "tiny fp16, 8 at once: pipeline beside the bare engine"


def test_pipeline_is_held_against_trtexec_where_there_is_one() -> None:
    report = Report("2026-11-26", [make_pipeline(pipeline_per_s=150.0, trtexec_per_s=300.0)])

    assert [goal.value for goal in report.goals()] == [0.75, 0.5]


@pytest.mark.parametrize(
    ("streams", "most"),
    [
        pytest.param([make_streams(8, dropped=0), make_streams(16, dropped=10)], 16, id="at the limit"),
        pytest.param([make_streams(8, dropped=0), make_streams(16, dropped=11)], 8, id="above it"),
        pytest.param([make_streams(8, dropped=500)], 0, id="none"),
    ],
)
def test_carried_is_the_most_cameras_with_hardly_a_frame_dropped(streams: list[Streams], most: int) -> None:
    assert Report("2026-11-26", streams).carried() == {("tiny", "fp16"): most}


def test_graphs_on_and_off_share_a_row() -> None:
    """What was not measured is a dash."""
    rates = [make_rate(), make_rate(graphs=False, pictures_per_s=800.0), make_rate(batch=8)]

    table = Report("2026-11-26", rates).to_markdown()

    assert "| tiny | fp16 | 4 | 1000 | 2.50 / 4.00 | 800 | 2.50 / 4.00 |" in table
    assert "| tiny | fp16 | 8 | 1000 | 2.50 / 4.00 | – | – |" in table


def test_page_holds_everything_and_every_row_fits_its_head() -> None:
    page = Report("2026-11-26", EVERYTHING).to_markdown()

    for said in (
        "# edged on Stand-in, 2026-11-26",
        "`tools/gpu_check.sh`: incomplete.",
        "| tiny | fp16 | 8 at 5/s | 0 of 1000 | 7.0 / 9.0 |",
        "| tiny | fp16 | 16 | 300 MB | 0 MB | 400 MB |",
        "- test_cuda.py: 3 passed, 1 failed, 2 skipped",
        "- engines, tiny int8: refused",
        "- sweep, tiny fp16 from batch 8 on: no time left",
        "**goal missed**: tiny fp16, 8 at once: pipeline beside the bare engine 0.75, goal >= 0.95",
    ):
        assert said in page
    tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(tables) == 7
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_page_of_a_machine_without_a_device_claims_nothing() -> None:
    report = Report("2026-11-26", [make_machine(missing="no driver"), make_step("device", "failed", status=78)])

    page = report.to_markdown()

    assert "# edged on a machine without a GPU" in page
    assert "Nothing was measured: no driver" in page
    assert report.to_json()["status"] == "no device"
    assert report.to_json()["machine"]["gpu"] is None


def test_command_writes_a_page_and_a_document_from_what_was_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of steps that other processes ran, as the shell script does."""
    note(make_machine(), tmp_path / "findings.jsonl")
    places = ["--out", str(tmp_path / "out"), "--work", str(tmp_path)]
    ended = ["--step", "sweep", "--outcome", "timed out", "--status", "124", "--seconds", "9", "--limit", "8"]

    assert main([*ended, "--date", "2026-11-26", *places]) == 0

    document = json.loads((tmp_path / "out" / "2026-11-26-gpu.json").read_text())
    assert document["status"] == "incomplete"
    assert document["steps"] == [{"name": "sweep", "outcome": "timed out", "status": 124, "seconds": 9.0, "limit_s": 8.0}]
    assert "| sweep | timed out | 9 s | 8 s |" in (tmp_path / "out" / "2026-11-26-gpu.md").read_text()
    assert "incomplete: 0 engines" in capsys.readouterr().out
