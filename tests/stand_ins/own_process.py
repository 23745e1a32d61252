"""Tests that use the fixture `stand_in_driver` run together in a process of their own, started with the stand-in as driver.

A plugin of pytest. The reports of that process become those of this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from stand_ins.driver import StandInDriver, compile_driver, missing_tool

_REPORTS = "EDGED_STAND_IN_REPORTS"  # where that process writes its reports; set only there
_FIXTURE = "stand_in_driver"


@dataclass(frozen=True, slots=True)
class _Run:
    """What the other process said, by test, and how it ended."""

    reports: Mapping[str, list[pytest.TestReport]]
    ending: str


_RUN = pytest.StashKey[_Run]()


@pytest.fixture
def stand_in_driver() -> Iterator[StandInDriver]:
    """The stand-in as this process's CUDA driver. Whatever the test took must have come back at its end."""
    driver = StandInDriver()
    driver.reset()
    yield driver
    driver.assert_clean()


def _uses_stand_in(item: pytest.Item) -> bool:
    return _FIXTURE in getattr(item, "fixturenames", ())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put these tests last: pytest leaves standing what a test shares with the next, which then must be run here too."""
    items.sort(key=_uses_stand_in)


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Report what the other process said of a test, instead of running it here."""
    if _REPORTS in os.environ or not _uses_stand_in(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _find_reports(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if _REPORTS in os.environ:
        data = item.config.hook.pytest_report_to_serializable(config=item.config, report=outcome.get_result())
        with Path(os.environ[_REPORTS]).open("a") as file:
            file.write(json.dumps(data) + "\n")


def _find_reports(item: pytest.Item) -> list[pytest.TestReport]:
    reason = missing_tool()
    if reason is not None:
        return [_make_report(item, lambda: pytest.skip(reason))]
    if _RUN not in item.session.stash:
        item.session.stash[_RUN] = _run(item.session)
    run = item.session.stash[_RUN]
    reports = run.reports.get(item.nodeid, [])
    if all(report.when != "teardown" for report in reports):
        return [_make_report(item, lambda: pytest.fail(f"the process with the stand-in driver {run.ending}", pytrace=False))]
    return reports


def _make_report(item: pytest.Item, outcome: Callable[[], None]) -> pytest.TestReport:
    return pytest.TestReport.from_item_and_call(item, pytest.CallInfo.from_call(outcome, when="setup"))


def _run(session: pytest.Session) -> _Run:
    """Run all tests of the session that use the stand-in."""
    names = [item.nodeid for item in session.items if _uses_stand_in(item)]
    reports: dict[str, list[pytest.TestReport]] = {}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "reports"
        path.touch()
        libraries = [directory, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        try:
            compile_driver(Path(directory))
            process = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names],
                cwd=session.config.rootpath,
                env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries), _REPORTS: str(path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=600,
            )
        except subprocess.SubprocessError as error:
            ending = f"could not be used: {error}"
        else:
            ending = f"ended with {process.returncode} before this test did:\n{process.stdout[-4000:]}"
        for line in path.read_text().splitlines():
            report = session.config.hook.pytest_report_from_serializable(config=session.config, data=json.loads(line))
            if isinstance(report.longrepr, list):  # the place and the reason of a skip; JSON knows no tuples
                report.longrepr = tuple(report.longrepr)
            reports.setdefault(report.nodeid, []).append(report)
    return _Run(reports, ending)
