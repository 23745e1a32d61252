"""`python -m tools.bench.gallery`: what it costs to open a gallery of so many people, and to take a snapshot of it.

That happens at the start, after every change of the gallery, and once in each `edged faces`. The gallery is made anew, with a
template of random numbers for each person, all of it encrypted as it is on a device, and removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

from edged.errors import EdgedError, InputError
from edged.identity.encryption import KEY_NAME, KeyPlace
from edged.identity.gallery import open_gallery
from tools.bench.matching import make_vectors
from tools.bench.report import describe_machine

MODEL_DIGEST = "0" * 64
ENROLLED_AT = 1_800_000_000.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class GalleryCost:
    """Seconds of CPU, medians of the rounds.

    Attributes:
        fill_s: to enrol everybody, in one transaction; once.
        open_s: to open the file, which reads all of it to see that it is whole.
        snapshot_s: to decrypt everybody into what faces are matched against.
        wall_s: what both took by the clock.
        file_mb: of the gallery.
    """

    people: int
    dimension: int
    fill_s: float
    open_s: float
    snapshot_s: float
    wall_s: float
    file_mb: float


def main(argv: list[str] | None = None) -> int:
    """Measure and print. Returns 1 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.gallery", description=__doc__)
    parser.add_argument("--people", type=int, default=100_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--dimension", type=int, default=128, metavar="D", help="numbers of a template (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    try:
        cost = measure(arguments.people, dimension=arguments.dimension, rounds=arguments.rounds)
    except EdgedError as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"machine": describe_machine(), **asdict(cost)}, indent=1))
    else:
        print(f"{cost.people} people, {cost.dimension} float32 each, {cost.file_mb} MB, enrolled in {cost.fill_s} s CPU")
        print(f"opened in {cost.open_s} s CPU, snapshot in {cost.snapshot_s} s CPU, both in {cost.wall_s} s wall")
        print(f"{1e6 * cost.snapshot_s / cost.people:.1f} µs of a snapshot a person")
    return 0


def measure(people: int, *, dimension: int, rounds: int) -> GalleryCost:
    """Make a gallery, then open it and take a snapshot, again and again.

    Raises:
        InputError: there would be nobody, or no round.
        GalleryError: it cannot be written.
    """
    if people < 1 or rounds < 1:
        raise InputError("--people and --rounds must be at least 1")
    with tempfile.TemporaryDirectory(prefix="edged-bench-") as name:
        directory = Path(name)
        _, (fill_s, _) = _timed(lambda: _fill(directory, people, dimension))
        file_bytes = sum(path.stat().st_size for path in directory.iterdir())
        opened, taken = [], []
        for _ in range(rounds):
            gallery, open_times = _timed(lambda: open_gallery(directory, KeyPlace(directory / KEY_NAME)))
            with gallery:
                snapshot, snapshot_times = _timed(partial(gallery.take_snapshot, MODEL_DIGEST, now_at=ENROLLED_AT))
            if len(snapshot.matcher) != people:
                raise InputError(f"expected {people} people in the snapshot, got {len(snapshot.matcher)}")
            del snapshot  # room for the next one
            opened.append(open_times)
            taken.append(snapshot_times)
    walls = [open_wall_s + snapshot_wall_s for (_, open_wall_s), (_, snapshot_wall_s) in zip(opened, taken, strict=True)]
    return GalleryCost(
        people, dimension, round(fill_s, 1), _median(opened), _median(taken), round(median(walls), 4), round(file_bytes / 1e6, 3)
    )


def _fill(directory: Path, people: int, dimension: int) -> None:
    templates, _ = make_vectors(people, 1, dimension)
    with open_gallery(directory, KeyPlace(directory / KEY_NAME)) as gallery, gallery.transaction():
        for number, template in enumerate(templates):
            person_id = gallery.add_person(f"person {number}", consent=f"form {number}", enrolled_at=ENROLLED_AT)
            gallery.add_template(person_id, template, model_digest=MODEL_DIGEST)


def _timed(do: Callable[[], _T]) -> tuple[_T, tuple[float, float]]:
    """What it returns, and the CPU and wall seconds that it took."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    answer = do()
    return answer, (time.process_time() - cpu_s, time.perf_counter() - wall_s)


def _median(times: Sequence[tuple[float, float]]) -> float:
    return round(median(cpu_s for cpu_s, _ in times), 4)


if __name__ == "__main__":
    sys.exit(main())
