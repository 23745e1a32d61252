"""`python -m tools.gpu.ended --step NAME --work DIR …`: notes how a step of a check ended, and writes what was found so far.

DIR/findings.jsonl gets a line, OUT the files DATE-gpu.json and DATE-gpu.md. It comes after every step on a machine that is lent
for minutes, so it imports little.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edged.errors import EXIT_CONFIG, InputError
from tools.engines import write_whole
from tools.gpu.findings import Step, note, read_findings
from tools.gpu.report import Report, describe

OUTCOMES = ("ok", "partial", "failed", "timed out", "left out", "refused")


def main(argv: list[str] | None = None) -> int:
    """Note and write. Returns 78 where the findings are not ours."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu.ended", description=__doc__)
    parser.add_argument("--step", required=True)
    parser.add_argument("--outcome", choices=OUTCOMES, required=True)
    parser.add_argument("--status", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=0.0, help="so long it took")
    parser.add_argument("--limit", type=float, required=True, help="and so long it might have taken")
    parser.add_argument("--date", required=True, help="UTC, e.g. 2026-11-26")
    parser.add_argument("--out", type=Path, required=True, help="directory of the report")
    parser.add_argument("--work", type=Path, required=True, help="directory of the findings")
    arguments = parser.parse_args(argv)
    findings = arguments.work / "findings.jsonl"
    step = Step(
        name=arguments.step,
        outcome=arguments.outcome,
        status=arguments.status,
        seconds=arguments.seconds,
        limit_s=arguments.limit,
    )
    note(step, findings)
    try:
        report = Report(arguments.date, read_findings(findings))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / f"{report.date}-gpu"
    write_whole(stem.with_suffix(".json"), json.dumps(report.to_json(), indent=1, allow_nan=False).encode() + b"\n")
    write_whole(stem.with_suffix(".md"), report.to_markdown().encode())
    print(describe(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
