"""The soak: its figures, what is too short, and one of two minutes' worth in a few seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.bench import soak
from tools.bench.soak import Sample, main, measure, summarise, take_sample


def test_soak_tells_memory_by_sixths_without_the_warm_up() -> None:
    """Growth shows in each of them; what fills while it warms up is no growth."""
    growing = [Sample(10.0 * index, 400.0 + index, 15 + index % 3, 11) for index in range(100)]

    found = summarise(growing, lost=9, broker_restarts=2, reloads=3)

    assert found.rss_mb == (421.5, 435.5, 449.5, 463.5, 477.5, 492.0)
    assert (found.files, found.threads) == ((15, 17), (11, 11))
    assert found.hours == pytest.approx(0.275)


def test_sample_is_of_the_process_that_was_asked_for() -> None:
    """Of our own, it is at least what any Python holds."""
    found = take_sample(os.getpid(), at_s=1.0)

    assert found.rss_mb > 5
    assert found.files >= 3
    assert found.threads >= 1


def test_soak_that_is_too_short_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """There would be nothing to tell growth by."""
    assert main(["--minutes", "1"]) == 1

    assert "60 s are too short: expected at least 100" in capsys.readouterr().err


def test_soak_of_a_daemon_through_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker goes and comes, the configuration is read again, the clip ends; and it ends well."""
    for name, value in {"SAMPLE_EVERY_S": 1.5, "RELOAD_EVERY_S": 12.0, "BROKER_EVERY_S": 15.0, "BROKER_AWAY_S": 1.0}.items():
        monkeypatch.setattr(soak, name, value)
    monkeypatch.setattr(soak, "CLIP_S", 4.0)

    found = measure(25.0, tmp_path)

    assert found.broker_restarts >= 1
    assert found.reloads >= 1
    assert found.lost >= 1
    assert min(found.rss_mb) > 50
