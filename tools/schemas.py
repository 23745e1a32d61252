"""Writes the JSON Schemas that ship: of the configuration, of every message, and of what each command is told and answers.

Usage: python -m tools.schemas [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from edged.clock import SystemClock
from edged.config.schema import encode_schema
from edged.events.command import make_command_schemas
from edged.events.schema import make_schemas
from edged.runtime.device_commands import describe_commands, make_ping, with_describe
from edged.runtime.gallery_commands import make_gallery_commands
from edged.runtime.map_commands import make_map_commands

ROOT = Path(__file__).resolve().parents[1]


def make_files() -> dict[Path, str]:
    """The text of each schema by its path, from the root of the checkout."""
    files = {Path("configs", "edged.schema.json"): encode_schema()}
    known = [
        make_ping(device="gate", epoch="3f9c0a1b2c4d"),
        *make_gallery_commands(_nobody),
        *make_map_commands(_nobody, cameras=(), clock=SystemClock()),
    ]
    commands = describe_commands(with_describe(known))
    schemas = {**make_schemas(), **make_command_schemas(), "commands.json": commands.model_dump(mode="json")}
    for name, schema in schemas.items():
        files[Path("docs", "schema", name)] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return files


def _nobody(*_: object) -> NoReturn:
    raise AssertionError("commands are described here, none is done")


def find_stale(root: Path) -> list[Path]:
    """The schemas that are missing or do not say what the code says."""
    return [path for path, text in make_files().items() if not _is_current(root / path, text)]


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")) == json.loads(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the schemas, or only say which are stale."""
    parser = argparse.ArgumentParser(prog="python -m tools.schemas", description="Write the JSON Schemas that ship.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is stale")
    parsed = parser.parse_args(arguments)
    if parsed.check:
        stale = find_stale(ROOT)
        for path in stale:
            print(f"{path} is stale: run python -m tools.schemas", file=sys.stderr)
        return 1 if stale else 0
    for path, text in make_files().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
