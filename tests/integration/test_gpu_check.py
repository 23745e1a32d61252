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
        pytest.param(["--steps", "sweep"], "--steps: sweep has no share", id="step without a share"),
        pytest.param(["--steps", "sweep:1 engines:2:3"], "--steps: engines:2:3 has no share", id="step with two shares"),
        pytest.param(["--steps", "sweep:0"], "--steps: sweep:0 has no share", id="step with a share of nothing"),
        pytest.param(["--steps", ""], "--steps: it names none", id="no step"),
        pytest.param(["--steps", " "], "--steps: it names none", id="blank steps"),
        pytest.param(["--seconds", "99"], "--seconds wants a whole number from 100 on", id="too short"),
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


STEPS = ("engines", "parity", "sweep", "pipeline", "fitting", "streams", "tests")


@pytest.mark.parametrize(
    ("ends", "status", "outcomes"),
    [
        pytest.param({}, 0, {}, id="all well"),
        pytest.param({"sweep": "exit 3"}, 3, {"sweep": "partial"}, id="one had no time"),
        pytest.param(
            {"engines": "kill -9 $$", "parity": "exit 3", "sweep": "exit 1"},
            1,
            {"engines": "failed", "parity": "partial", "sweep": "failed"},
            id="killed, without time and failed",
        ),
    ],
)
def test_each_step_is_told_as_it_ended(tmp_path: Path, ends: dict[str, str], status: int, outcomes: dict[str, str]) -> None:
    """None keeps another from running, and the exit status says what the worst of them was."""
    cases = "".join(f"  {step}) {ends.get(step, 'exit 0')} ;;\n" for step in ("device", *STEPS))

    done = run_check(tmp_path / "out", python=write_interpreter(tmp_path / "python", cases))

    assert done.returncode == status, done.stdout + done.stderr
    report = read_report(tmp_path / "out")
    assert report["status"] == {0: "ok", 1: "incomplete", 3: "partial"}[status]
    found = {step["name"]: step["outcome"] for step in report["steps"]}
    assert list(found) == ["device", *STEPS]
    assert {name: outcome for name, outcome in found.items() if outcome != "ok"} == outcomes


def test_what_a_step_leaves_of_its_time_is_shared_by_those_that_come(tmp_path: Path) -> None:
    """Each may take its share of what is left when it begins, the last one all of it; and is told how long that is."""
    cases = f"  device | {' | '.join(STEPS)}) echo $3 $@ >>{tmp_path}/asked; exit 0 ;;\n"

    run_check(tmp_path / "out", "--seconds", "36000", python=write_interpreter(tmp_path / "python", cases))

    limits = {step["name"]: step["limit_s"] for step in read_report(tmp_path / "out")["steps"]}
    assert limits["device"] == 3600
    assert limits["engines"] == pytest.approx(36000 * 100 / 480, abs=100)
    assert 35000 < limits["tests"] <= 36000
    for asked in (tmp_path / "asked").read_text().splitlines():
        assert f"--seconds {limits[asked.split()[0]]:.0f} " in asked


@pytest.mark.parametrize("ends", ["exit 69", "kill -6 $$"], ids=["refused", "crashed"])
def test_where_the_library_refuses_the_device_only_what_needs_none_runs(tmp_path: Path, ends: str) -> None:
    """Minutes of refusals, or of crashes, would say no more."""
    cases = f"  device) {ends} ;;\n  tests) echo $@ >{tmp_path}/asked; exit 0 ;;\n"

    done = run_check(tmp_path / "out", python=write_interpreter(tmp_path / "python", cases))

    assert done.returncode == 69, done.stdout + done.stderr
    report = read_report(tmp_path / "out")
    assert report["status"] == "refused"
    assert [step["name"] for step in report["steps"]] == ["device", "tests"]
    assert "--without-tensorrt" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    "ends", ["exit 1", "exit 70", "kill -9 $$", "kill -15 $$"], ids=["failed", "lost", "out of memory", "ended"]
)
def test_a_device_step_that_says_nothing_of_the_library_is_no_refusal(tmp_path: Path, ends: str) -> None:
    """The check ends, incomplete: somebody has to look."""
    cases = f"  device) {ends} ;;\n"

    done = run_check(tmp_path / "out", python=write_interpreter(tmp_path / "python", cases))

    assert done.returncode == 1, done.stdout + done.stderr
    report = read_report(tmp_path / "out")
    assert report["status"] == "incomplete"
    assert [(step["name"], step["outcome"]) for step in report["steps"]] == [("device", "failed")]


@pytest.mark.parametrize(
    ("ends", "status", "outcome"),
    [
        pytest.param("exit 3", 3, "partial", id="no time to build"),
        pytest.param("exec sleep 60", 1, "timed out", id="hangs"),
        pytest.param("trap '' TERM; while :; do sleep 1; done", 1, "timed out", id="hangs and heeds nothing"),
    ],
)
def test_a_device_step_that_is_too_slow_keeps_no_other_from_running(tmp_path: Path, ends: str, status: int, outcome: str) -> None:
    """It may compute all the same."""
    cases = f"  device) {ends} ;;\n  sweep) exit 0 ;;\n"
    chosen = ["--seconds", "100", "--steps", "sweep:1"]

    done = run_check(tmp_path / "out", *chosen, python=write_interpreter(tmp_path / "python", cases))

    assert done.returncode == status, done.stdout + done.stderr
    report = read_report(tmp_path / "out")
    assert report["status"] == {1: "incomplete", 3: "partial"}[status]
    outcomes = {step["name"]: step["outcome"] for step in report["steps"]}
    assert outcomes == {"device": outcome, "sweep": "ok"}


@pytest.mark.parametrize(
    ("steps", "lacking"),
    [
        pytest.param("sweep:1", ["cv2"], id="what every step needs"),
        pytest.param("sweep:1 tests:1", ["cv2", "onnx"], id="what one step needs"),
    ],
)
def test_packages_that_are_missing_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str, lacking: list[str]
) -> None:
    """All of them, and where to find them: no device was asked yet, so none refused."""
    for name in ("cv2", "onnx"):
        (tmp_path / "lacking").mkdir(exist_ok=True)
        (tmp_path / "lacking" / f"{name}.py").write_text(f"raise ModuleNotFoundError({f'No module named {name}'!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lacking"))

    done = run_check(tmp_path / "out", "--steps", steps)

    assert done.returncode == 1, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("  ")] == [
        f"  {name}: No module named {name}" for name in lacking
    ]
    assert "PYTHON=.venv/bin/python3" in done.stdout


def test_only_what_was_named_runs(tmp_path: Path) -> None:
    """Of the engines and of the steps, each with its share."""
    cases = f"  device) exit 0 ;;\n  engines | tests) ls engines >>{tmp_path}/seen; exit 0 ;;\n"
    python = write_interpreter(tmp_path / "python", cases)

    chosen = ["--seconds", "5300", "--engines", "detector face-encoder", "--steps", "tests:1 engines:2"]
    done = run_check(tmp_path / "out", *chosen, python=python)

    assert done.returncode == 0, done.stdout + done.stderr
    steps = read_report(tmp_path / "out")["steps"]
    assert [step["name"] for step in steps] == ["device", "tests", "engines"]
    assert 1500 < steps[1]["limit_s"] <= 5300 / 3
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
