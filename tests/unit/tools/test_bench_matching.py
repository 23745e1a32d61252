"""The bench of matching compares answers and times of two, one of which is a program of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tools.bench import matching
from tools.bench.matching import Timing, main, make_vectors

PEER = """
import json, sys
import numpy as np
templates, embeddings = np.load(sys.argv[1]), np.load(sys.argv[2])
print(json.dumps({"version": "stand-in"}), flush=True)
for line in sys.stdin:
    rows = np.argsort(-(embeddings[: int(line)] @ templates.T), axis=1)[:, WHICH]
    print(json.dumps({"wall_s": 0.002, "cpu_s": 0.001, "rows": rows.tolist()}), flush=True)
"""


@pytest.fixture
def set_peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Puts a program in the place of the peer's."""

    def put(program: str) -> None:
        (tmp_path / "peer.py").write_text(program)
        monkeypatch.setattr(matching, "_PEER", tmp_path / "peer.py")

    return put


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    return ["--peer-python", sys.executable, "--people", "300", "--dimension", "16", "--rounds", "2", "--json"]


@pytest.mark.parametrize(
    ("which", "is_same"), [pytest.param(":2", True, id="the same two"), pytest.param("1:3", False, id="another two")]
)
def test_bench_tells_times_and_whether_the_answers_are_equal(set_peer, capsys, arguments, which, is_same):
    """A peer that answers something else fails the bench: its time would compare nothing."""
    set_peer(PEER.replace("WHICH", which))

    status = main(arguments)

    told = json.loads(capsys.readouterr().out)
    assert status == (0 if is_same else 1)
    assert told["peer"] == "stand-in"
    assert [(each["batch"], each["is_same"]) for each in told["batches"]] == [(1, is_same), (32, is_same)]
    assert told["batches"][0]["peer"]["cpu_ms"] == 1.0
    assert told["batches"][0]["ours"]["cpu_ms"] >= 0


def test_bench_whose_peer_ends_says_so(set_peer, capsys, arguments):
    """Its environment lacks the package."""
    set_peer("raise SystemExit(1)")

    assert main(arguments) == 1
    assert "requirements/bench.txt" in capsys.readouterr().err


def test_bench_with_another_number_of_threads_is_refused(monkeypatch, capsys, arguments):
    """NumPy has read its number by then."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    assert main(arguments) == 1
    assert "start this with OMP_NUM_THREADS=1" in capsys.readouterr().err


def test_vectors_of_the_bench_are_directions_near_one_of_many():
    """So that there is a best one, and the answers do not depend on rounding."""
    templates, embeddings = make_vectors(500, 8, 32)

    assert np.linalg.norm(templates, axis=1) == pytest.approx(np.ones(500), abs=1e-5)
    assert ((embeddings @ templates.T).max(axis=1) > 0.9).all()


def test_timing_is_of_medians_and_the_best_round():
    """In ms."""
    assert Timing.of([(0.001, 0.004), (0.003, 0.002), (0.002, 0.009)]) == Timing(2.0, 1.0, 4.0, 2.0)


def test_peer_of_the_bench_imports_nothing_of_ours():
    """It runs where edged is not."""
    assert "edged" not in Path(matching.__file__).parents[1].joinpath("peer_faiss.py").read_text().split("import argparse")[1]
