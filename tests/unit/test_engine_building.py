"""What an engine is built for and found by."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import pytest
from models_onnx import make_manifest, save_engine

from edged import engine_building
from edged.backends.tensorrt.builder import BuildOptions, Built
from edged.backends.tensorrt.cache import PORTABLE, Commands, Target
from edged.backends.tensorrt.driver import DeviceFacts
from edged.backends.tensorrt.library import Differences, Library, MessageLog
from edged.config.computing import TensorrtConfig
from edged.engine_building import (
    NICENESS,
    _Failure,
    _follow,
    _Job,
    _work,
    build_engine,
    make_cache,
    make_command,
    make_commands,
    make_key,
    make_options,
    make_target,
)
from edged.errors import BuildCancelledError, DeviceError, EdgedError, InputError, ModelError

RTX = Library(None, "tensorrt_rtx", "1.7.1", Differences(True, False, False, True, True, True, False, True), None, MessageLog())
FULL = Library(None, "tensorrt", "10.3.0", Differences(True, True, True, True, False, False, True, True), None, MessageLog())
ENGINES = Path(__file__).parents[2] / "engines"
INT8 = {"file": "model.int8.onnx", "sha256": "5" * 64, "opset": 17, "calibration": "1 picture", "symmetric": True}
ORIN = DeviceFacts("Orin", (8, 7), "12.6", 8 << 30, True)


@pytest.mark.parametrize(
    ("settings", "batch"),
    [
        pytest.param({}, (1, 4, 8), id="as shipped"),
        pytest.param({"max_batch": 1}, (1, 1, 1), id="one"),
        pytest.param({"max_batch": 5}, (1, 3, 5), id="odd"),
        pytest.param({"max_batch": 4, "dla_core": 1}, (4, 4, 4), id="a DLA computes one size"),
    ],
)
def test_batches_follow_from_the_largest(settings: dict, batch: tuple[int, int, int]) -> None:
    """A site says how many cameras there may be at once; what is built fits that."""
    options = make_options(TensorrtConfig(**settings), "fp16")

    assert options == BuildOptions("fp16", batch, workspace_bytes=1 << 30, dla_core=settings.get("dla_core"))


def test_options_that_contradict_are_refused() -> None:
    """A DLA has no FP32."""
    with pytest.raises(InputError, match=r"engine\.dla"):
        make_options(TensorrtConfig(dla_core=0), "fp32")


def test_target_is_the_device_unless_the_library_builds_for_any() -> None:
    """TensorRT-RTX asks for no device, TensorRT for nothing else."""
    assert make_target(RTX, None) == make_target(RTX, ORIN) == PORTABLE
    assert make_target(FULL, ORIN) == Target("Orin", "8.7", "12.6")
    with pytest.raises(ValueError, match="open it first"):
        make_target(FULL, None)


def test_key_holds_the_network_of_its_precision() -> None:
    """Another precision is another network."""
    fp16 = {"file": "model.fp16.onnx", "sha256": "5" * 64, "opset": 17}

    key = make_key(make_manifest(fp16=fp16), BuildOptions("fp16"), library=RTX, target=PORTABLE)

    assert (key.label, key.onnx_sha256, key.library, key.library_version) == ("tiny fp16", "5" * 64, "tensorrt_rtx", "1.7.1")


def test_commands_build_that_key_and_name_what_is_unusual(tmp_path: Path) -> None:
    """Whoever copies the line needs neither our configuration nor our directory."""
    options = BuildOptions("int8", (4, 4, 4), workspace_bytes=256 << 20, dla_core=1)
    key = make_key(make_manifest(int8=INT8), options, library=FULL, target=PORTABLE)
    directory, state_dir = tmp_path / "my engine", tmp_path / "state"

    usual = make_commands(key, directory, state_dir=state_dir, settings=TensorrtConfig())
    other = make_commands(key, directory, state_dir=state_dir, settings=TensorrtConfig(cuda="pycuda", device=1))

    place = f"'{directory}'"
    wanted = "--precision int8 --batch 4/4/4 --workspace-mib 256 --dla-core 1"
    assert usual == Commands(
        build=f"edged engines build {place} {wanted} --state-dir {state_dir}",
        verify=f"edged engines verify {place} --state-dir {state_dir}",
    )
    assert other == Commands(
        build=f"edged engines build {place} {wanted} --cuda pycuda --device 1 --state-dir {state_dir}",
        verify=f"edged engines verify {place} --cuda pycuda --device 1 --state-dir {state_dir}",
    )


def test_command_names_an_engine_only_where_that_finds_it(tmp_path: Path) -> None:
    """A nearer one of the same name would be taken instead."""
    shipped, own = ENGINES / "detector", tmp_path / "engines" / "detector"
    assert make_command("build", shipped, state_dir=tmp_path) == f"edged engines build detector --state-dir {tmp_path}"

    save_engine(own, make_manifest(), boxes=[[2, 2, 30, 30], [34, 2, 60, 30]], scores=[[0.9, 0], [0, 0.8]])

    assert make_command("build", own, state_dir=tmp_path) == f"edged engines build detector --state-dir {tmp_path}"
    assert make_command("build", shipped, state_dir=tmp_path) == f"edged engines build {shipped} --state-dir {tmp_path}"


def test_key_of_an_unsigned_int8_network_is_refused() -> None:
    """TensorRT would refuse it after seconds, in words that nobody understands."""
    int8 = {"file": "model.int8.onnx", "sha256": "5" * 64, "opset": 17, "calibration": "1 picture"}

    with pytest.raises(ModelError, match=r"not marked as symmetric.*model\.precision"):
        make_key(make_manifest(int8=int8), BuildOptions("int8"), library=RTX, target=PORTABLE)


@pytest.mark.parametrize("error", [ModelError("no"), DeviceError(700, "lost")], ids=["plain", "with a code"])
def test_error_of_the_building_process_is_the_same_here(error: EdgedError) -> None:
    """Kind, message and code arrive."""
    sent = pickle.dumps(_Failure(type(error), str(error), getattr(error, "code", None)))

    received = pickle.loads(sent).as_error()

    assert (type(received), str(received), vars(received)) == (type(error), str(error), vars(error))


def test_network_that_changes_while_it_is_read_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine is kept under the digest of what it was built from."""
    save_engine(tmp_path / "tiny", make_manifest(), boxes=[[2, 2, 30, 30], [34, 2, 60, 30]], scores=[[0.9, 0], [0, 0.8]])
    monkeypatch.setattr(engine_building, "read_onnx", lambda path: path.read_bytes() + b"more")
    monkeypatch.setattr(engine_building, "_build_apart", lambda *arguments, **more: pytest.fail("it is another network"))

    with pytest.raises(ModelError, match=r"tiny/model\.onnx: was changed while it was read.*model\.hash"):
        build_engine(
            tmp_path / "tiny",
            BuildOptions("fp32"),
            cache=make_cache(tmp_path),
            library=RTX,
            target=PORTABLE,
            settings=TensorrtConfig(),
            force=False,
            report=lambda *told: None,
            cancelled=threading.Event(),
        )


def test_build_is_told_of_and_cancelled_before_its_process_reads() -> None:
    """It imports for a second: until it asks for the network nobody waits for room in a pipe."""
    ours, theirs = multiprocessing.Pipe()
    cancelled, told = threading.Event(), []

    def report(phase: str, done_ratio: float, elapsed_s: float) -> None:
        told.append(phase)
        cancelled.set()

    with ours, theirs, pytest.raises(BuildCancelledError, match="tiny fp32: cancelled"):
        _follow(ours, (bytes(1 << 22), None), name="tiny fp32", started_s=0.0, report=report, cancelled=cancelled)

    assert told == ["starting TensorRT"]


def test_building_process_lowers_its_priority_before_it_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that runs meanwhile comes first."""
    built = Built(plan=b"plan", layers=(), fell_back=(), timing_cache=None, seconds=1.0)
    done: list[object] = []
    monkeypatch.setattr(os, "nice", done.append)
    monkeypatch.setattr(engine_building, "_build_here", lambda *arguments: done.append("built") or built)
    ours, theirs = multiprocessing.Pipe()

    with ours, theirs:
        ours.send((b"onnx", None))
        _work(_Job(BuildOptions("fp32"), "tiny fp32", "tensorrt_rtx", TensorrtConfig()), theirs)
        said = [ours.recv(), ours.recv()]

    assert done == [NICENESS, "built"]
    assert said[1] == built
