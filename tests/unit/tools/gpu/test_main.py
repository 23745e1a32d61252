"""How a step of a check ends, whatever it does."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edged.errors import BuildCancelledError, DeviceError, DeviceMemoryError, ModelError, StateError
from tools.gpu import __main__ as steps
from tools.gpu.findings import Omission, Problem, read_findings


def run_device(tmp_path: Path) -> int:
    return steps.main(["device", "--seconds", "100", "--revision", "any", "--work", str(tmp_path)])


@pytest.fixture
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device and a library are there."""
    monkeypatch.setattr(steps, "find_machine", lambda note, *, revision: True)
    monkeypatch.setattr(steps, "open_bench", lambda state_dir, note, budget: None)


@pytest.mark.usefixtures("_found")
@pytest.mark.parametrize(
    "error",
    [ModelError("not loaded"), DeviceError(700, "not loaded"), RuntimeError("not loaded")],
    ids=lambda error: type(error).__name__,
)
def test_a_library_that_refuses_the_device_has_a_status_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever it throws; and it is told why."""

    def refuse(bench: object) -> None:
        raise error

    monkeypatch.setattr(steps, "compute_first", refuse)

    assert run_device(tmp_path) == 69
    assert read_findings(tmp_path / "findings.jsonl") == [Problem(step="device", what="a first engine", message=str(error))]


@pytest.mark.usefixtures("_found")
def test_a_first_engine_that_there_is_no_time_for_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow build is no refusal: the other steps have time of their own."""

    def run_out_of_time(bench: object) -> None:
        raise BuildCancelledError("small fp32: cancelled after 48 s; nothing was written")

    monkeypatch.setattr(steps, "compute_first", run_out_of_time)

    assert run_device(tmp_path) == 3
    assert read_findings(tmp_path / "findings.jsonl") == [Omission(step="device", what="a first engine", reason="no time left")]


@pytest.mark.usefixtures("_found")
@pytest.mark.parametrize(
    "error",
    [DeviceMemoryError("no memory"), StateError("no memory"), OSError("no memory")],
    ids=lambda error: type(error).__name__,
)
def test_what_others_hold_of_the_machine_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A full device or disk says nothing of what the library computes on."""

    def fail(bench: object) -> None:
        raise error

    monkeypatch.setattr(steps, "compute_first", fail)

    assert run_device(tmp_path) == 1
    assert read_findings(tmp_path / "findings.jsonl") == [Problem(step="device", what="a first engine", message="no memory")]


@pytest.mark.usefixtures("_found")
def test_a_library_that_computes_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "compute_first", lambda bench: None)

    assert run_device(tmp_path) == 0


def test_what_was_left_out_decides_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is written down."""
    omission = Omission(step="tests", what="test_cuda.py", reason="no time left")
    monkeypatch.setattr(steps, "run_tests", lambda work, note, budget, *, files: note(omission))

    assert steps.main(["tests", "--seconds", "100", "--work", str(tmp_path)]) == 3
    assert read_findings(tmp_path / "findings.jsonl") == [omission]


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        pytest.param([], ("test_cuda.py", "test_letterbox.py", "test_runner.py", "test_parity.py"), id="all"),
        pytest.param(["--without-tensorrt"], ("test_cuda.py", "test_letterbox.py"), id="without TensorRT"),
    ],
)
def test_only_what_needs_no_tensorrt_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], files: tuple[str, ...]
) -> None:
    asked = []
    monkeypatch.setattr(steps, "run_tests", lambda work, note, budget, *, files: asked.append(files))

    steps.main(["tests", *arguments, "--seconds", "100", "--work", str(tmp_path)])

    assert asked == [files]


def test_a_step_that_hangs_shows_where(tmp_path: Path) -> None:
    """Shortly before it is ended."""
    program = """
        import sys, time
        from tools.gpu import __main__ as steps

        def hang(*_, **__):
            time.sleep(2)

        steps.run_tests = hang
        sys.exit(steps.main(sys.argv[1:]))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), "tests", "--seconds", "1", "--work", str(tmp_path)]

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 0
    assert "in hang" in ended.stderr
