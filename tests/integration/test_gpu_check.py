"""`tools/gpu_check.sh` where no GPU is to be had, and how it goes on when a step does not end well."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
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
        pytest.param(["--steps", "sweep:60 verify:9"], "--steps: verify is unknown", id="unknown step"),
        pytest.param(["--steps", "sweep"], "--steps: sweep has no seconds", id="step without seconds"),
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


def write_interpreter(path: Path, cases: str) -> str:
    """Something in the place of the interpreter, which it is but for some steps; returns its path.

    Args:
        cases: lines of sh's `case` that end a step by its name.
    """
    path.write_text(f'#!/bin/sh\ncase "$3" in\n{cases}  *) exec {sys.executable} "$@" ;;\nesac\n')
    path.chmod(0o755)
    return str(path)


def test_a_step_that_does_not_end_well_keeps_no_other_from_running(tmp_path: Path) -> None:
    """Killed, failed or well: each is told as it was, and the exit status says that something was not well."""
    cases = "  engines) kill -9 $$ ;;\n  sweep) exit 1 ;;\n  device | pipeline | fitting | streams | tests) exit 0 ;;\n"

    done = run_check(tmp_path / "out", python=write_interpreter(tmp_path / "python", cases))

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


def test_only_what_was_named_runs(tmp_path: Path) -> None:
    """Of the engines and of the steps, each with its own limit."""
    cases = f"  device) exit 0 ;;\n  engines | tests) ls engines >>{tmp_path}/seen; exit 0 ;;\n"
    python = write_interpreter(tmp_path / "python", cases)

    chosen = ["--engines", "detector face-encoder", "--steps", "tests:20 engines:30"]
    done = run_check(tmp_path / "out", *chosen, python=python)

    assert done.returncode == 0, done.stdout + done.stderr
    steps = read_report(tmp_path / "out")["steps"]
    assert [(step["name"], step["limit_s"]) for step in steps] == [("device", 30), ("tests", 20), ("engines", 30)]
    assert (tmp_path / "seen").read_text().split() == ["detector", "face-encoder"] * 2


def test_an_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run_check(tmp_path / "out", "--engines", "detector nobody")

    assert done.returncode == 64
    assert "there is no nobody" in done.stdout


def test_libraries_in_wheels_are_found(tmp_path: Path) -> None:
    """NVIDIA's own packages do not look for theirs on PYTHONPATH."""
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "nvrtc.whl", "w") as wheel:
        wheel.writestr("nvidia/cuda_nvrtc/lib/libnvrtc.so.12", b"")
    cases = f"  device) IFS=:; ls $LD_LIBRARY_PATH >{tmp_path}/seen; exit 78 ;;\n"
    python = write_interpreter(tmp_path / "python", cases)

    run_check(tmp_path / "out", "--wheels", str(tmp_path / "wheels"), python=python)

    assert "libnvrtc.so.12" in (tmp_path / "seen").read_text().split()
