"""How tests ended, written down as they end: what a run has found that is killed, or that crashes, is not lost.

A plugin of pytest: `-p tools.gpu.outcomes --outcomes FILE`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tools.gpu.findings import DeviceTests

OUTCOMES_NAME = "outcomes.jsonl"
"""Of the file beside the findings."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, required=True, help="a line of JSON for each part of a test goes there")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Writer(config.getoption("--outcomes")))


class _Writer:
    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_text("", encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set-up, body or tear-down of a test has ended."""
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        line = json.dumps([report.nodeid, report.when, report.outcome, reason.removeprefix("Skipped: ")])
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_outcomes(path: Path) -> DeviceTests:
    """What was written, none where there is no file. A test that has begun only, and a line that was cut off, do not count."""
    parts: defaultdict[str, dict[str, str]] = defaultdict(dict)
    skips: Counter[str] = Counter()
    *whole, _ = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    for test, when, outcome, reason in map(json.loads, whole):
        parts[test][when] = outcome
        skips.update([reason] if outcome == "skipped" else [])
    failed = sum("failed" in outcomes.values() for outcomes in parts.values())
    passed = sum({"passed"} == set(outcomes.values()) and "call" in outcomes for outcomes in parts.values())
    return DeviceTests(passed=passed, failed=failed, skipped=dict(skips))
