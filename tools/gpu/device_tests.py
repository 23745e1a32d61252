"""tests/gpu, file by file as long as there is time: what one has found is noted before the next one begins."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tools.gpu.budget import NO_TIME, Budget
from tools.gpu.findings import DeviceTests, Finding, Omission, Problem

TESTS = Path(__file__).resolve().parents[2] / "tests" / "gpu"
FILES = ("test_cuda.py", "test_letterbox.py", "test_runner.py", "test_parity.py")
"""In this order: what the others stand on comes first, what builds most engines last."""
WITHOUT_TENSORRT = FILES[:2]
_POLL_S = 0.2
_SOME_FAILED = 1
"""What pytest exits with then."""


def run_tests(
    work: Path, note: Callable[[Finding], None], budget: Budget, *, tests: Path = TESTS, files: Sequence[str] = FILES
) -> None:
    """The tests that need a device.

    Args:
        work: where each outcome is written as soon as it is known.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it, and pytest too
    passed = 0
    for name in files:
        if budget.left_s <= 0:
            note(Omission(step="tests", what=name, reason=NO_TIME))
            continue
        outcomes = work / f"{name}.jsonl"
        status = _run_pytest(tests / name, outcomes, budget)
        found = read_outcomes(outcomes)
        note(found)
        passed += found.passed
        if status is None:
            note(Omission(step="tests", what=f"{name} after {found.count} tests", reason=NO_TIME))
        elif status not in (0, _SOME_FAILED):
            note(Problem(step="tests", what=name, message=f"pytest ended with {status} after {found.count} tests"))
    if not passed:
        note(Problem(step="tests", what="all", message="not one passed"))


def _run_pytest(path: Path, outcomes: Path, budget: Budget) -> int | None:
    """What it exits with; None where it was ended, in a way that lets it say where it was."""
    command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["-p", "tools.gpu.outcomes", "--outcomes", str(outcomes), str(path)]
    with subprocess.Popen(command, cwd=TESTS.parents[1]) as process:
        while budget.left_s > 0:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_POLL_S)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(budget.kept_s / 2)
        except subprocess.TimeoutExpired:  # it hangs in a library
            process.send_signal(signal.SIGABRT)
        return None


def read_outcomes(path: Path) -> DeviceTests:
    """What `tools.gpu.outcomes` wrote, none where there is no file.

    A test that has begun only, and a line that was cut off, do not count.
    """
    parts: defaultdict[str, dict[str, str]] = defaultdict(dict)
    skips: Counter[str] = Counter()
    *whole, _ = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    for test, when, outcome, reason in map(json.loads, whole):
        parts[test][when] = outcome
        skips.update([reason] if outcome == "skipped" else [])
    failed = sum("failed" in outcomes.values() for outcomes in parts.values())
    passed = sum({"passed"} == set(outcomes.values()) and "call" in outcomes for outcomes in parts.values())
    return DeviceTests(file=path.stem, passed=passed, failed=failed, skipped=dict(skips))
