"""`python -m tools.bench.matching --peer-python PATH`: what finding one face among a million costs, beside faiss.

Both search the same vectors in turn, one round after the other, so that what else the machine does meets both; both answers are
compared. The peer is faiss' flat index, exact as ours is, in an environment of its own (`requirements/bench.txt`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.errors import EdgedError, InputError
from edged.identity.matching import Matcher
from tools.bench.report import describe_machine

BATCHES = (1, 32)
_PEER = Path(__file__).resolve().parents[1] / "peer_faiss.py"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Timing:
    """What a search took, in ms: the median and the best of the rounds."""

    cpu_ms: float
    best_cpu_ms: float
    wall_ms: float
    best_wall_ms: float

    def __str__(self) -> str:
        return f"{self.cpu_ms} ms CPU (best {self.best_cpu_ms}), {self.wall_ms} wall (best {self.best_wall_ms})"

    @classmethod
    def of(cls, rounds: Sequence[tuple[float, float]]) -> Timing:
        """Of the CPU and wall seconds of each round."""
        cpu_s, wall_s = zip(*rounds, strict=True)
        return cls(*(round(1000 * value, 1) for value in (median(cpu_s), min(cpu_s), median(wall_s), min(wall_s))))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One batch size.

    Attributes:
        ratio: our CPU time by the peer's, both medians.
        is_same: both named the same two for each embedding.
    """

    batch: int
    ours: Timing
    peer: Timing
    ratio: float
    is_same: bool


def main(argv: list[str] | None = None) -> int:
    """Measure and print. Returns 1 if something could not be measured, or the answers differ."""
    arguments = _parse(argv)
    try:
        version, built_s, found = measure(arguments)
    except EdgedError as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        figures = {"peer": version, "machine": describe_machine(), "built_s": built_s}
        print(json.dumps({**figures, "batches": [asdict(each) for each in found]}, indent=1))
    else:
        print(f"{arguments.people} x {arguments.dimension} float32, {arguments.threads} threads, {arguments.rounds} rounds")
        print(f"numpy {np.__version__}, faiss {version}; a matcher is made in {built_s:.2f} s")
        for each in found:
            print(
                f"batch {each.batch:2}: ours {each.ours}; faiss {each.peer}; "
                f"ratio {each.ratio:.2f}; answers {'equal' if each.is_same else 'DIFFER'}"
            )
    return 0 if all(each.is_same for each in found) else 1


def measure(arguments: argparse.Namespace) -> tuple[str, float, list[Comparison]]:
    """The peer's version, seconds to make a matcher, and each batch size."""
    if any(os.environ.get(name) != str(arguments.threads) for name in _THREAD_VARIABLES):
        wanted = " ".join(f"{name}={arguments.threads}" for name in _THREAD_VARIABLES)
        raise InputError(f"NumPy reads its number of threads when it starts: start this with {wanted}")
    templates, embeddings = make_vectors(arguments.people, max(BATCHES), arguments.dimension)
    begun_s = time.perf_counter()
    matcher = Matcher(templates, [f"p{row:08x}" for row in range(arguments.people)], version=1, model_digest="")
    built_s = time.perf_counter() - begun_s
    with tempfile.TemporaryDirectory(prefix="edged-bench-") as directory:
        files = Path(directory, "templates.npy"), Path(directory, "embeddings.npy")
        np.save(files[0], templates)
        np.save(files[1], embeddings)
        with _open_peer(arguments.peer_python, files, threads=arguments.threads) as peer:
            version = _read(peer)["version"]
            found = [_compare(matcher, peer, embeddings[:batch], rounds=arguments.rounds) for batch in BATCHES]
    return version, built_s, found


def make_vectors(n_people: int, n_faces: int, dimension: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random unit vectors: templates (T, D), and embeddings (N, D), each near one of them."""
    rng = np.random.default_rng(7)
    templates = rng.standard_normal((n_people, dimension), dtype=np.float32)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    chosen = templates[rng.integers(0, n_people, n_faces)]
    embeddings = chosen + 0.05 * rng.standard_normal(chosen.shape, dtype=np.float32)
    return templates, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def _compare(matcher: Matcher, peer: subprocess.Popen[str], embeddings: NDArray[np.float32], *, rounds: int) -> Comparison:
    ours, theirs = [], []
    for _ in range(rounds + 1):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        answer = matcher.search(embeddings)
        ours.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
        other = _ask(peer, len(embeddings))
        theirs.append((other["cpu_s"], other["wall_s"]))
    named = [[int(candidate.person_id[1:], 16) for candidate in candidates] for candidates in answer]
    mine, peers = Timing.of(ours[1:]), Timing.of(theirs[1:])  # the first round warms both up
    return Comparison(len(embeddings), mine, peers, mine.cpu_ms / peers.cpu_ms, named == other["rows"])


@contextmanager
def _open_peer(python: Path, files: tuple[Path, Path], *, threads: int) -> Iterator[subprocess.Popen[str]]:
    command = [str(python), str(_PEER), *map(str, files), "--threads", str(threads)]
    try:
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise InputError(f"{python}: cannot be started: {error}") from error
    try:
        yield peer
    finally:
        peer.kill()
        peer.communicate()


def _ask(peer: subprocess.Popen[str], batch: int) -> dict[str, Any]:
    print(batch, file=peer.stdin, flush=True)
    return _read(peer)


def _read(peer: subprocess.Popen[str]) -> dict[str, Any]:
    line = peer.stdout.readline() if peer.stdout else ""
    if not line:
        raise InputError("the peer ended; are requirements/bench.txt installed in its environment?")
    return json.loads(line)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.matching", description=__doc__)
    parser.add_argument("--peer-python", type=Path, required=True, metavar="PATH", help="Python of an environment with faiss-cpu")
    parser.add_argument("--people", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--dimension", type=int, default=128, metavar="D")
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
