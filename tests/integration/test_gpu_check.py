"""`tools/gpu_check.sh` where no GPU is to be had, and how it goes on when a step does not end well."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "gpu_check.sh"


def run_check(out: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run the script with every GPU hidden from it."""
    environment = {**os.environ, "PYTHON": python, "CUDA_VISIBLE_DEVICES": ""}
    command = [str(SCRIPT), "--out", str(out), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def read_report(out: Path) -> dict:
    (path,) = out.glob("*-gpu.json")
    return json.loads(path.read_text())


def write_pack(directory: Path, *, revision: str) -> Path:
    """A pack as tools/gpu_pack.sh makes it, of the engines as they are, in two parts."""
    staged = directory / "staged"
    (staged / "site").mkdir(parents=True)
    (staged / "revision").write_text(f"{revision}\n")
    packed = directory / "pack.tar.xz"
    with tarfile.open(packed, "w:xz", preset=0) as archive:
        archive.add(staged, ".")
        archive.add(ROOT / "engines", "engines")
    content = packed.read_bytes()
    pack = directory / "pack"
    pack.mkdir()
    parts = {"part-00": content[: len(content) // 2], "part-01": content[len(content) // 2 :]}
    for name, part in parts.items():
        (pack / name).write_bytes(part)
    sums = [f"{hashlib.sha256(part).hexdigest()}  {name}\n" for name, part in parts.items()]
    (pack / "SHA256SUMS").write_text("".join(sums))
    return pack


def test_no_device_is_told_and_written(tmp_path: Path) -> None:
    """Exit status 78, the reason on the terminal, in the log, the page and the document, and not one figure."""
    pack = write_pack(tmp_path, revision="of-the-pack")

    done = run_check(tmp_path / "out", "--pack", str(pack))

    assert done.returncode == 78, done.stdout + done.stderr
    report = read_report(tmp_path / "out")
    assert report["status"] == "no device"
    assert report["machine"]["gpu"] is None
    assert report["machine"]["revision"] == "of-the-pack"
    assert [step["name"] for step in report["steps"]] == ["device"]
    assert not any(report[kind] for kind in ("engines", "batches", "pipelines", "fitting", "streams", "memory", "tests", "goals"))
    (page,) = (tmp_path / "out").glob("*-gpu.md")
    assert "Nothing was measured" in page.read_text()
    assert "no device:" in (tmp_path / "out" / "gpu_check.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--parts", "."], "--parts is unknown", id="unknown"),
        pytest.param(["--pack"], "--pack wants a directory", id="no value"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run_check(tmp_path / "out", *arguments)

    assert done.returncode == 64
    assert said in done.stderr


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    """Nothing runs on half of what was packed."""
    pack = write_pack(tmp_path, revision="any")
    (pack / "part-01").unlink()

    done = run_check(tmp_path / "out", "--pack", str(pack))

    assert done.returncode == 1
    assert "part-01" in done.stdout
    assert "parts are missing or changed" in done.stdout


def test_a_step_that_does_not_end_well_keeps_no_other_from_running(tmp_path: Path) -> None:
    """Killed, failed or well: each is told as it was, and the exit status says that something was not well."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"  # in the place of the interpreter: the steps that measure end at once, the others are real
        'case "$3" in\n'
        "  engines) kill -9 $$ ;;\n"
        "  sweep) exit 1 ;;\n"
        "  device | pipeline | fitting | streams | tests) exit 0 ;;\n"
        f'  *) exec {sys.executable} "$@" ;;\n'
        "esac\n"
    )
    python.chmod(0o755)

    done = run_check(tmp_path / "out", python=str(python))

    assert done.returncode == 1, done.stdout + done.stderr
    report = read_report(tmp_path / "out")
    assert report["status"] == "incomplete"
    assert [step["status"] for step in report["steps"]] == [0, 137, 1, 0, 0, 0, 0]
    assert {step["name"]: step["outcome"] for step in report["steps"]} == {
        "device": "ok",
        "engines": "failed",
        "sweep": "failed",
        "pipeline": "ok",
        "fitting": "ok",
        "streams": "ok",
        "tests": "ok",
    }
    assert sum(step["limit_s"] for step in report["steps"]) <= 540
