"""`python -m tools.gpu STEP --work DIR`: one step of a check of a GPU machine; `tools/gpu_check.sh` runs them all.

Findings go into DIR/findings.jsonl, built engines into DIR/state. `report` writes DATE-gpu.json and DATE-gpu.md from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from edged.errors import EXIT_CONFIG, EXIT_DEVICE, DeviceError, EdgedError, InputError, ModelError
from edged.runtime.interpreter import settle_interpreter
from tools.bench.report import revision
from tools.engines import write_whole
from tools.gpu.findings import DeviceTests, Step, note, read_findings
from tools.gpu.fitting import compare_fitting
from tools.gpu.outcomes import OUTCOMES_NAME, read_outcomes
from tools.gpu.report import Report, describe
from tools.gpu.steps import build_and_verify, compare_pipeline, count_streams, find_machine, open_bench, run_tests, sweep

MEASURING = {"sweep": sweep, "pipeline": compare_pipeline, "fitting": compare_fitting, "streams": count_streams}
OUTCOMES = ("ok", "failed", "timed out", "left out")


def main(argv: list[str] | None = None) -> int:
    """Run one step.

    Returns:
        0; 1 where something of it could not be done, 78 where there is no device or no library, 70 where the device was lost.
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
    device = steps.add_parser("device", help="where we are, and whether there is a device")
    device.add_argument("--revision", default=None, help="of the checkout (default: what git says)")
    device.set_defaults(run=_find_machine)
    engines = steps.add_parser("engines", help="build and verify every engine in every precision that it has")
    engines.set_defaults(run=_build)
    tests = steps.add_parser("tests", help="run tests/gpu")
    tests.set_defaults(run=_test)
    for name, measure in MEASURING.items():
        step = steps.add_parser(name, help=(measure.__doc__ or "").splitlines()[0])
        step.set_defaults(run=_measure, measure=measure)
    ended = steps.add_parser("ended", help="note how a step ended")
    ended.add_argument("name")
    ended.add_argument("--outcome", choices=OUTCOMES, required=True)
    ended.add_argument("--status", type=int, default=None)
    ended.add_argument("--seconds", type=float, default=0.0)
    ended.add_argument("--limit", type=float, required=True)
    ended.set_defaults(run=_note_end)
    report = steps.add_parser("report", help="write what was found so far")
    report.add_argument("--date", required=True, help="UTC, e.g. 2026-11-26")
    report.add_argument("--out", type=Path, required=True, help="directory")
    report.set_defaults(run=_report)
    for step in steps.choices.values():
        step.add_argument("--work", type=Path, required=True, help="directory of the findings and the built engines")
    return parser.parse_args(argv)


def _findings(arguments: argparse.Namespace) -> Path:
    return arguments.work / "findings.jsonl"


def _state_dir(arguments: argparse.Namespace) -> Path:
    return arguments.work / "state"


def _find_machine(arguments: argparse.Namespace) -> int:
    is_there = find_machine(partial(note, path=_findings(arguments)), revision=arguments.revision or revision())
    return 0 if is_there else EXIT_CONFIG


def _build(arguments: argparse.Namespace) -> int:
    return 0 if build_and_verify(_state_dir(arguments), partial(note, path=_findings(arguments))) else 1


def _test(arguments: argparse.Namespace) -> int:
    return 0 if run_tests(arguments.work, partial(note, path=_findings(arguments))) else 1


def _measure(arguments: argparse.Namespace) -> int:
    settle_interpreter()  # as the daemon does
    bench = open_bench(_state_dir(arguments), partial(note, path=_findings(arguments)))
    return 0 if arguments.measure(bench) else 1


def _note_end(arguments: argparse.Namespace) -> int:
    step = Step(
        name=arguments.name,
        outcome=arguments.outcome,
        status=arguments.status,
        seconds=arguments.seconds,
        limit_s=arguments.limit,
    )
    note(step, _findings(arguments))
    outcomes = arguments.work / OUTCOMES_NAME
    if step.name == "tests" and outcomes.exists() and not _has_told_tests(_findings(arguments)):
        note(read_outcomes(outcomes), _findings(arguments))
    return 0


def _has_told_tests(findings: Path) -> bool:
    """Whether the step that runs them lived to tell how they ended."""
    return any(isinstance(finding, DeviceTests) for finding in read_findings(findings))


def _report(arguments: argparse.Namespace) -> int:
    report = Report(arguments.date, read_findings(_findings(arguments)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / f"{report.date}-gpu"
    write_whole(stem.with_suffix(".json"), json.dumps(report.to_json(), indent=1, allow_nan=False).encode() + b"\n")
    write_whole(stem.with_suffix(".md"), report.to_markdown().encode())
    print(describe(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
