"""`python -m tools.gpu STEP --work DIR`: one step of a check of a GPU machine; `tools/gpu_check.sh` runs them all.

Findings go into DIR/findings.jsonl, built engines into DIR/state; `tools.gpu.ended` makes the report of them.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edged.errors import (
    EXIT_CONFIG,
    EXIT_DEVICE,
    BuildCancelledError,
    DeviceError,
    DeviceMemoryError,
    EdgedError,
    InputError,
    ModelError,
    StateError,
)
from edged.runtime.interpreter import settle_interpreter
from tools.bench.report import revision
from tools.gpu.budget import NO_TIME, Budget
from tools.gpu.building import build_engines, compare_engines, compute_first
from tools.gpu.device_tests import FILES, WITHOUT_TENSORRT, run_tests
from tools.gpu.findings import EXIT_REFUSED, Finding, Omission, Problem, note, status_of
from tools.gpu.fitting import compare_fitting
from tools.gpu.steps import Bench, Note, compare_pipeline, count_streams, find_machine, open_bench, sweep

STEPS: dict[str, Callable[[Bench], None]] = {
    "engines": build_engines,
    "parity": compare_engines,
    "sweep": sweep,
    "pipeline": compare_pipeline,
    "fitting": compare_fitting,
    "streams": count_streams,
}
_FIRST = "a first engine"
_LAST_WORDS_S = 2.0
"""So long before a step is ended it shows what each of its threads does: by then it hangs."""


def main(argv: list[str] | None = None) -> int:
    """Run one step.

    Returns:
        0; 1 where something of it could not be done, 3 where something was left out, 69 where the library refuses the device,
        78 where there is no device or no library, 70 where the device was lost.
    """
    arguments = _parse(argv)
    try:
        return arguments.run(arguments)
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DEVICE
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG if isinstance(error, ModelError | InputError) else 1


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__)
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    device = steps.add_parser("device", help="where we are, and whether there is a device that the library computes on")
    device.add_argument("--revision", default=None, help="of the checkout (default: what git says)")
    device.set_defaults(run=partial(_run, _find_machine))
    for name, work in STEPS.items():
        step = steps.add_parser(name, help=(work.__doc__ or "").splitlines()[0])
        step.set_defaults(run=partial(_run, _measure), work_on=work)
    tests = steps.add_parser("tests", help="run tests/gpu")
    tests.add_argument("--without-tensorrt", action="store_true", help="only those that need none")
    tests.set_defaults(run=partial(_run, _test))
    for step in steps.choices.values():
        step.add_argument("--seconds", type=float, required=True, help="until the step is ended: what does not fit is left out")
        step.add_argument("--work", type=Path, required=True, help="directory of the findings and the built engines")
    return parser.parse_args(argv)


def _findings(arguments: argparse.Namespace) -> Path:
    return arguments.work / "findings.jsonl"


def _run(step: Callable[[argparse.Namespace, Budget, Note], int | None], arguments: argparse.Namespace) -> int:
    """Run a step within its time; its own exit status, or what follows from what it found."""
    found: list[Finding] = []

    def take(finding: Finding) -> None:
        note(finding, _findings(arguments))
        found.append(finding)

    faulthandler.dump_traceback_later(max(arguments.seconds - _LAST_WORDS_S, arguments.seconds / 2))
    try:
        status = step(arguments, Budget(arguments.seconds), take)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return status_of(found) if status is None else status


def _open_bench(arguments: argparse.Namespace, budget: Budget, take: Note) -> Bench:
    return open_bench(arguments.work / "state", take, budget)


def _find_machine(arguments: argparse.Namespace, budget: Budget, take: Note) -> int | None:
    if not find_machine(take, revision=arguments.revision or revision()):
        return EXIT_CONFIG
    try:
        compute_first(_open_bench(arguments, budget, take))
    except BuildCancelledError:
        take(Omission(step="device", what=_FIRST, reason=NO_TIME))
    except (DeviceMemoryError, StateError, OSError) as error:  # what others hold of device or disk: no word of the library
        take(Problem(step="device", what=_FIRST, message=str(error)))
        print(f"failed: {error}", flush=True)
    except Exception as error:  # ours, or what a library throws that does not know the device
        take(Problem(step="device", what=_FIRST, message=str(error)))
        print(f"refused: {error}", flush=True)
        return EXIT_REFUSED
    return None


def _measure(arguments: argparse.Namespace, budget: Budget, take: Note) -> None:
    settle_interpreter()  # as the daemon does
    arguments.work_on(_open_bench(arguments, budget, take))


def _test(arguments: argparse.Namespace, budget: Budget, take: Note) -> None:
    run_tests(arguments.work, take, budget, files=WITHOUT_TENSORRT if arguments.without_tensorrt else FILES)


if __name__ == "__main__":
    sys.exit(main())
