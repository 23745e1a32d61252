"""`edged engines` with TensorRT-RTX, which builds without a GPU: real processes, real engines, real signals."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from models_onnx import make_manifest, save_colour_engine
from waiting import wait_until

from edged.backends.tensorrt.cache import PORTABLE, EngineCache
from edged.backends.tensorrt.library import import_library
from edged.config.computing import TensorrtConfig
from edged.engine_building import build_engine, make_cache, make_options
from edged.errors import BuildCancelledError, ModelError

pytest.importorskip("tensorrt_rtx", reason="engines are built by TensorRT-RTX: pip install tensorrt-rtx")

pytestmark = pytest.mark.tensorrt

ENGINES = Path(__file__).parents[2] / "engines"
SHIPPED = sorted(path.parent.name for path in ENGINES.glob("*/model.yaml"))
LIBRARY = ("--library", "tensorrt_rtx")


def start(state: Path, *arguments: str, module: tuple[str, ...] = ("edged", "engines")) -> subprocess.Popen[str]:
    """A command of its own, in a session of its own: what a terminal signals is its whole group."""
    command = [sys.executable, "-m", *module, *arguments, "--state-dir", str(state)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def run(state: Path, *arguments: str, module: tuple[str, ...] = ("edged", "engines")) -> tuple[int, str]:
    """Exit status of a command, and what it said."""
    process = start(state, *arguments, module=module)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def names(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "tensorrt").iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with every shipped engine, built."""
    state = tmp_path_factory.mktemp("state")
    status, said = run(state, "build", "--all", "--precision", "fp32", *LIBRARY)
    assert status == 0, said
    return state


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    subprocess.run(["cp", "-a", str(built), str(tmp_path / "state")], check=True)
    return tmp_path / "state"


def test_every_shipped_engine_is_built_listed_and_verified(built: Path) -> None:
    """On a machine without a GPU: all but parity, and that is said."""
    status, listed = run(built, "list", *())
    verified_status, verified = run(built, "verify", *LIBRARY)

    assert (status, verified_status) == (0, 0), verified
    assert sorted(row.split()[0] for row in listed.splitlines()[1:]) == SHIPPED
    for name in SHIPPED:
        assert any(row.split()[:3] == [name, "fp32", "1/4/8"] for row in listed.splitlines()), listed
        assert f"{name} fp32: engine, record and network are what was built with TensorRT-RTX" in verified
        (plan,) = (built / "tensorrt").glob(f"{name}-fp32-b8-*.plan")
        assert plan.stat().st_size > 1_000_000


def test_verify_says_that_parity_was_not_run(built: Path, pytestconfig: pytest.Config) -> None:
    """Nobody takes what was checked on a CPU for more than it is."""
    status, said = run(built, "verify", "detector", *LIBRARY)

    assert status == 0
    assert "parity: not run, no CUDA" in said or "parity on" in said


@pytest.mark.parametrize("suffix", [".plan", ".json"])
def test_one_changed_byte_gives_78_with_both_digests(copied: Path, suffix: str) -> None:
    """And building again mends it."""
    (path,) = (copied / "tensorrt").glob(f"detector-fp32-*{suffix}")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)

    status, said = run(copied, "verify", "detector", *LIBRARY)

    assert status == 78
    assert f"{path}: expected sha256 " in said
    assert ", found " in said


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A foreign network with the outputs of a detector, that builds in a moment."""
    save_colour_engine(tmp_path / "colours", make_manifest(name="colours"))
    return tmp_path / "colours"


def test_foreign_engine_is_built_by_the_tool_as_by_the_command(colours: Path, tmp_path: Path) -> None:
    """One code, two names; and what is built is found by the other."""
    state = tmp_path / "state"

    status, said = run(state, str(colours), *LIBRARY, module=("tools.build_engine",))
    again_status, again = run(state, "build", str(colours), *LIBRARY)

    assert (status, again_status) == (0, 0), said + again
    assert "colours fp32: built in " in said
    assert "colours fp32: is built and whole" in again


def test_two_builders_at_once_build_once(colours: Path, tmp_path: Path) -> None:
    """The second waits and finds what the first wrote."""
    state = tmp_path / "state"

    both = [start(state, "build", str(colours), *LIBRARY) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert sorted("is built and whole" in text for text in said) == [False, True]
    assert run(state, "verify", *LIBRARY)[0] == 0
    assert len(names(state)) == 3  # the lock, one record, one plan


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_build_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """As Ctrl-C in a terminal or systemd send it: to every process of the command."""
    state = tmp_path / "state"
    process = start(state, "build", "detector", *LIBRARY)
    wait_until(lambda: _children(process.pid))

    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert "edged: detector fp32: cancelled" in said
    assert "nothing was written" in said
    assert "Traceback" not in said
    assert names(state) == ["lock"]
    wait_until(lambda: not _group(process.pid))


def _children(pid: int) -> bool:
    """Whether a process has one that builds."""
    return any("spawn_main" in command for command in _group(pid))


def _group(group: int) -> list[str]:
    """Command lines of the processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) == group:
                found.append((path / "cmdline").read_text())
        except OSError:
            continue
    return [command for command in found if command]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        pytest.param(signal.SIGKILL, r"was ended by SIGKILL: perhaps it took too much memory", id="out of memory"),
        pytest.param(signal.SIGSEGV, r"was ended by SIGSEGV: TensorRT crashed", id="crash"),
    ],
)
def test_building_process_that_dies_is_an_error_that_says_how(tmp_path: Path, number: signal.Signals, said: str) -> None:
    """The command lives on to tell it, and nothing was written."""

    def kill(phase: str, done_ratio: float, elapsed_s: float) -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid, number)

    with pytest.raises(ModelError, match=rf"detector fp32: the process that builds {said}"):
        _build(make_cache(tmp_path), kill, threading.Event())

    assert names(tmp_path) == ["lock"]


def test_build_told_to_stop_stops(tmp_path: Path) -> None:
    """Without a signal, as a daemon would."""
    cancelled = threading.Event()

    with pytest.raises(BuildCancelledError, match=r"detector fp32: cancelled after \d+ s; nothing was written"):
        _build(make_cache(tmp_path), lambda *_: cancelled.set(), cancelled)

    assert multiprocessing.active_children() == []


def _build(cache: EngineCache, report, cancelled: threading.Event) -> None:
    settings = TensorrtConfig(library="tensorrt_rtx")
    build_engine(
        ENGINES / "detector",
        make_options(settings, "fp32"),
        cache=cache,
        library=import_library("tensorrt_rtx"),
        target=PORTABLE,
        settings=settings,
        force=False,
        report=report,
        cancelled=cancelled,
    )
