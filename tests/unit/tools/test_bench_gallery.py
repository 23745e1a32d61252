"""The bench of the gallery, on a gallery of a few people."""

from __future__ import annotations

import json

import pytest

from tools.bench.gallery import main


def test_bench_tells_what_a_gallery_costs(capsys: pytest.CaptureFixture[str]) -> None:
    """Everybody is in the file, and in the snapshot."""
    assert main(["--people", "50", "--dimension", "16", "--rounds", "2", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["people"], told["dimension"]) == (50, 16)
    assert told["file_mb"] > 0
    assert told["fill_s"] >= 0
    assert told["wall_s"] > 0


def test_bench_of_nobody_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """There would be nothing to divide by."""
    assert main(["--people", "0"]) == 1

    assert "at least 1" in capsys.readouterr().err
