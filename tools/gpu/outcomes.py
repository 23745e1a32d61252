"""How tests ended, written down as they end: what a run has found that is killed, or that crashes, is not lost.

A plugin of pytest: `-p tools.gpu.outcomes --outcomes FILE`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest


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
