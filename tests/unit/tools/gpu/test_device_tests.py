"""tests/gpu as a check runs them: what ended counts, whatever becomes of the rest."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tools.gpu.budget import NO_TIME, Budget
from tools.gpu.device_tests import FILES, TESTS, read_outcomes, run_tests
from tools.gpu.findings import DeviceTests, Finding, Omission, Problem

TESTS_OF_A_DEVICE = """
import os, signal
import pytest
pytestmark = pytest.mark.gpu

@pytest.fixture
def broken():
    raise OSError("gone")

def test_passes(): pass
def test_fails(): assert False
def test_errs(broken): pass
@pytest.mark.parametrize("n", [1, 2])
def test_skips(n): pytest.skip("no pycuda")
"""
PASSES = "import pytest\n@pytest.mark.gpu\ndef test_passes(): pass\n"
CRASHES = """
def test_crashes(): os.kill(os.getpid(), signal.SIGKILL)
def test_is_never_run(): pass
"""
HANGS = """
import pathlib, signal, time
import pytest

def hang():
    pathlib.Path(__file__).with_name("hangs").touch()
    time.sleep(300)

pytestmark = pytest.mark.gpu

def test_passes(): pass
def test_hangs(): HANG
def test_is_never_run(): pass
"""
IN_PYTHON = "hang()"
IN_A_LIBRARY = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]); hang()"


@pytest.fixture(autouse=True)
def _fixture_signals():
    """A run lets SIGINT interrupt what it starts."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


class UntilItHangs(Budget):
    """Is over as soon as a test hangs, however long that takes to come."""

    def __init__(self, directory: Path, *, kept_s: float) -> None:
        super().__init__(300.0)
        self.kept_s = kept_s
        self._hangs = directory / "hangs"

    @property
    def left_s(self) -> float:
        return 0.0 if self._hangs.exists() else super().left_s


def run(directory: Path, budget: Budget | None = None) -> list[Finding]:
    """What was found of the tests of a directory, in the order of their names."""
    findings: list[Finding] = []
    files = sorted(path.name for path in directory.glob("test_*.py"))
    run_tests(directory, findings.append, budget or Budget(300.0), tests=directory, files=files)
    return findings


def test_every_file_is_run() -> None:
    """A new one has its place in the order."""
    assert sorted(FILES) == sorted(path.name for path in TESTS.glob("test_*.py"))


def test_tests_are_counted_by_file_and_outcome(tmp_path: Path) -> None:
    """An error outside a test's body is a failure; what needs no device is not run."""
    (tmp_path / "test_a.py").write_text(TESTS_OF_A_DEVICE)
    (tmp_path / "test_b.py").write_text(PASSES + "def test_needs_no_device(): pass\n")

    assert run(tmp_path) == [
        DeviceTests(file="test_a.py", passed=1, failed=2, skipped={"no pycuda": 2}),
        DeviceTests(file="test_b.py", passed=1, failed=0, skipped={}),
    ]


def test_no_test_that_passed_is_a_problem(tmp_path: Path) -> None:
    """Where all were skipped nothing is known."""
    (tmp_path / "test_a.py").write_text("import pytest\n@pytest.mark.gpu\ndef test_skips(): pytest.skip('no device')\n")

    assert run(tmp_path) == [
        DeviceTests(file="test_a.py", passed=0, failed=0, skipped={"no device": 1}),
        Problem(step="tests", what="all", message="not one passed"),
    ]


def test_tests_before_a_crash_count_and_the_next_file_is_run(tmp_path: Path) -> None:
    """A library may end the process; the test that it ended with has no outcome."""
    (tmp_path / "test_a.py").write_text(TESTS_OF_A_DEVICE + CRASHES)
    (tmp_path / "test_b.py").write_text(PASSES)

    assert run(tmp_path) == [
        DeviceTests(file="test_a.py", passed=1, failed=2, skipped={"no pycuda": 2}),
        Problem(step="tests", what="test_a.py", message="pytest ended with -9 after 5 tests"),
        DeviceTests(file="test_b.py", passed=1, failed=0, skipped={}),
    ]


@pytest.mark.parametrize(
    ("hang", "kept_s", "last_words"),
    [
        pytest.param(IN_PYTHON, 300.0, "KeyboardInterrupt", id="in Python"),
        pytest.param(IN_A_LIBRARY, 1.0, "Fatal Python error: Aborted", id="in a library"),
    ],
)
def test_a_file_that_takes_too_long_is_ended_and_says_where_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], hang: str, kept_s: float, last_words: str
) -> None:
    """What ended before counts; what comes after is named."""
    (tmp_path / "test_a.py").write_text(HANGS.replace("HANG", hang))
    (tmp_path / "test_b.py").write_text(PASSES)

    found = run(tmp_path, UntilItHangs(tmp_path, kept_s=kept_s))

    assert found == [
        DeviceTests(file="test_a.py", passed=1, failed=0, skipped={}),
        Omission(step="tests", what="test_a.py after 1 tests", reason=NO_TIME),
        Omission(step="tests", what="test_b.py", reason=NO_TIME),
    ]
    said = "".join(capfd.readouterr())
    assert last_words in said
    assert "test_hangs" in said


def test_a_line_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    """Nor does a test that has begun only."""
    parts = [["a", when, "passed", ""] for when in ("setup", "call", "teardown")] + [["b", "setup", "passed", ""]]
    (tmp_path / "test_a.py.jsonl").write_text("".join(json.dumps(part) + "\n" for part in parts) + '["b", "ca')

    assert read_outcomes(tmp_path / "test_a.py.jsonl") == DeviceTests(file="test_a.py", passed=1, failed=0, skipped={})


def test_no_outcome_was_written_where_pytest_did_not_start(tmp_path: Path) -> None:
    assert read_outcomes(tmp_path / "test_a.py.jsonl") == DeviceTests(file="test_a.py", passed=0, failed=0, skipped={})
