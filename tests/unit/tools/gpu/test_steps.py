"""The steps of a check over stand-ins for TensorRT and for the device: no figure of these is a device's."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_manifest, save_engine
from stand_ins.device import StandInDevice
from stand_ins.tensorrt import StandInTensorrt, make_detector_network

from edged.backends.base import TensorSpec
from edged.backends.tensorrt.builder import BuildOptions
from edged.backends.tensorrt.cache import EngineCache, EngineKey, EngineRecord, ParityRecord, Target
from edged.backends.tensorrt.cuda import Cuda
from edged.errors import DeviceError, InferenceError, ModelError
from edged.models.manifest import load_manifest
from tools.gpu import fitting
from tools.gpu.bare import BareEngine
from tools.gpu.cameras import DrawnCameras, draw_clips, play
from tools.gpu.findings import BatchRate, DeviceTests, Engine, Finding, Fitting, Machine, Memory, PipelineRate, Problem, Streams
from tools.gpu.fitting import compare_fitting
from tools.gpu.outcomes import OUTCOMES_NAME
from tools.gpu.steps import (
    BATCHES,
    PIPELINE_BATCHES,
    Bench,
    Timing,
    build_and_verify,
    choose,
    compare_pipeline,
    count_streams,
    find_machine,
    read_throughput,
    run_tests,
    sweep,
)

CLASSES = ["person", "bicycle", "car", "motorcycle", "bus", "truck"]
BOXES = np.array([[1, 1, 9, 9], [0, 0, 1, 1]], np.float32)
SCORES = np.array([[0.9, 0, 0, 0, 0, 0], [0] * 6], np.float32)
TARGET = Target("Stand-in", "8.7", "13.0")
SHORT = Timing(rate_s=0.01, single_s=0.01, turn_s=0.01, turns=1, streams_s=0.4)


def make_key(precision: str = "fp32", *, name: str = "tiny", onnx_sha256: str = "0" * 64) -> EngineKey:
    options = BuildOptions(precision, batch=(1, 8, 16))
    return EngineKey(name, onnx_sha256, library="tensorrt", library_version="10.3.0", target=TARGET, options=options)


def make_record(precision: str, *, is_passed: bool | None) -> EngineRecord:
    parity = None if is_passed is None else ParityRecord(TARGET, {"ap50": 0.5, "mean_iou": 0.5}, 24, is_passed)
    return EngineRecord(make_key(precision), "nowhere", "plan", "0" * 64, 1, 1.0, {}, (), "0", parity)


def write_engine(cache: EngineCache, directory: Path, key: EngineKey, plan: bytes) -> EngineRecord:
    with cache.lock(lambda: None):
        return cache.write(key, plan, directory=directory, seconds=1.0, types={"float32": 3}, fell_back=(), edged_version="0")


class Site:
    """A built engine of the stand-in, and what the steps found of it."""

    def __init__(self, directory: Path) -> None:
        self.manifest = save_engine(directory / "tiny", make_manifest(classes=CLASSES), boxes=BOXES, scores=SCORES)
        self.device = StandInDevice(memory_bytes=1 << 33)
        network = make_detector_network(self.manifest, boxes=BOXES, scores=SCORES)
        self.plan = network.plan
        self.trt = StandInTensorrt(network, self.device)
        self.findings: list[Finding] = []
        cache = EngineCache(directory / "state" / "tensorrt")
        write_engine(cache, directory / "tiny", make_key(onnx_sha256=self.manifest.onnx.sha256), self.plan)
        self.bench = Bench(self.trt.as_library(), self.open_device, directory / "state", self.findings.append, SHORT)

    def open_device(self) -> Cuda:
        return Cuda(self.device, self.device, self.device.open(0))

    def read_outputs(self) -> Mapping[str, TensorSpec]:
        with self.bench.open_backend(self.bench.records()[0], self.plan) as backend:
            return backend.outputs

    def of(self, kind: type) -> list:
        return [finding for finding in self.findings if type(finding) is kind]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def clips() -> list:
    return draw_clips(frames=3)


def test_sweep_times_every_batch_with_and_without_graphs(site: Site, clips: list) -> None:
    """Each size once a way; the memory is told, and everything is given back."""
    assert sweep(site.bench, clips)

    rates = site.of(BatchRate)
    assert [(rate.graphs, rate.batch) for rate in rates] == [(graphs, n) for graphs in (True, False) for n in BATCHES]
    assert all(rate.pictures_per_s > 0 and 0 < rate.ms_p50 <= rate.ms_p99 for rate in rates)
    (memory,) = site.of(Memory)
    assert memory.max_batch == 16
    assert memory.device_mb > 0
    assert memory.kept_mb == 0
    assert +site.device.live == {}


def test_pipeline_is_measured_beside_runner_and_bare_engine(site: Site, clips: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """On each batch; without trtexec its column stays empty."""
    monkeypatch.setenv("PATH", "")

    assert compare_pipeline(site.bench, clips)

    rates = site.of(PipelineRate)
    assert [rate.batch for rate in rates] == list(PIPELINE_BATCHES)
    for rate in rates:
        assert min(rate.bare_per_s, rate.runner_per_s, rate.pipeline_per_s) > 0
        assert rate.trtexec_per_s is None
        assert {"letterbox", "infer", "nms", "track", "rules"} <= set(rate.stages_ms)
    assert +site.device.live == {}


def test_trtexec_is_asked_for_the_same_batch_where_it_is(
    site: Site, clips: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It loads the engine that was built; what it says is batches, what is told pictures."""
    program = tmp_path / "bin" / "trtexec"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\necho "[I] Throughput: 50.5 qps"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    assert compare_pipeline(site.bench, clips)

    assert [rate.trtexec_per_s for rate in site.of(PipelineRate)] == [50.5, 8 * 50.5]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "--shapes=images:8x3x32x64" in asked[1]
    assert ".plan" in asked[1]


def test_trtexec_that_fails_is_told_and_the_rest_counts(
    site: Site, clips: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "trtexec"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho nothing\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    compare_pipeline(site.bench, clips)

    assert [rate.trtexec_per_s for rate in site.of(PipelineRate)] == [None, None]
    assert "no throughput" in site.of(Problem)[0].message


def test_fitting_by_the_gpu_is_measured_beside_the_processor(site: Site, kernels: bytes) -> None:
    """Both ways for each size and batch, and that both draw the same: here a processor does both."""
    site.device.module = kernels

    assert compare_fitting(site.bench, sizes=[(40, 30), (64, 32)])

    found = site.of(Fitting)
    assert [(each.width, each.height, each.batch) for each in found] == [(40, 30, 1), (40, 30, 8), (64, 32, 1), (64, 32, 8)]
    for each in found:
        assert min(each.host_per_s, each.device_per_s, each.host_cpu_ms, each.device_cpu_ms) > 0
        assert each.most_apart <= (0 if platform.machine() == "x86_64" else 1)
    assert +site.device.live == {}


def test_fitting_that_differs_is_a_failure(site: Site, kernels: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than rounding apart: the figures are noted, and the step has not gone well."""
    site.device.module = kernels
    monkeypatch.setattr(fitting, "draw_on_host", lambda wanted, pictures: np.zeros((len(pictures), 3, 32, 64), np.float32))

    assert not compare_fitting(site.bench, sizes=[(64, 32)])

    assert site.of(Fitting)[0].most_apart > 100
    assert "64x32: the GPU's numbers are up to" in site.of(Problem)[0].message


def test_more_and_more_cameras_are_tried_until_frames_are_dropped(site: Site, clips: list) -> None:
    """Every camera's frames are due; the first count that drops is the last one."""
    compute = site.trt.network.compute

    def slow_from_the_second_count_on(arrays):
        if site.of(Streams):
            time.sleep(SHORT.streams_s)
        return compute(arrays)

    site.trt.network = replace(site.trt.network, compute=slow_from_the_second_count_on)

    assert count_streams(site.bench, clips, counts=(2, 4, 8))

    first, second = site.of(Streams)
    assert (first.cameras, first.due, first.dropped) == (2, 4, 0)
    assert first.ms_p50 <= first.ms_p99
    assert second.cameras == 4
    assert second.dropped > 0
    assert +site.device.live == {}


def test_what_fails_with_one_engine_is_noted_and_the_next_one_is_measured(site: Site, clips: list, tmp_path: Path) -> None:
    """An error of one engine is no reason to know nothing of the others."""
    key = make_key("fp32", name="broken", onnx_sha256=site.manifest.onnx.sha256)
    write_engine(EngineCache(tmp_path / "state" / "tensorrt"), tmp_path / "tiny", key, b"no plan")

    assert not sweep(site.bench, clips)

    (problem,) = site.of(Problem)
    assert problem.what == "broken fp32"
    assert "magic tag" in problem.message
    assert {rate.engine for rate in site.of(BatchRate)} == {"tiny"}


def test_a_lost_device_ends_the_step(site: Site, clips: list) -> None:
    """Whatever comes after would fail, too."""
    site.device.fail("launch", 700)

    with pytest.raises(DeviceError):
        sweep(site.bench, clips)


def test_no_engine_is_a_failure(site: Site, clips: list, tmp_path: Path) -> None:
    """A sweep over nothing has not gone well."""
    bench = Bench(site.bench.library, site.open_device, tmp_path / "empty", site.findings.append, SHORT)

    assert not sweep(bench, clips)

    assert site.of(Problem) == [Problem(step="sweep", what="engines", message="none was built")]


def test_bare_engine_computes_the_outputs_of_its_pictures(site: Site) -> None:
    """It is a yardstick only if it does the work: each run computes, by a graph, in both slots."""
    batches = []
    compute = site.trt.network.compute

    def compute_and_count(arrays):
        batches.append(len(arrays["images"]))
        return compute(arrays)

    outputs = site.read_outputs()
    site.trt.network = replace(site.trt.network, compute=compute_and_count)
    feeds = {"images": np.full((4, 3, 32, 64), 255, np.uint8)}

    with BareEngine(site.plan, feeds, outputs, library=site.bench.library, cuda=site.open_device()) as bare:
        before, launches = len(batches), site.device.calls["launch"]
        bare.run(7)

    assert batches[before:] == [4] * 7
    assert site.device.calls["launch"] - launches == 7
    assert +site.device.live == {}


def test_bare_engine_that_cannot_be_loaded_gives_everything_back(site: Site) -> None:
    with pytest.raises(ModelError, match=r"magic tag.*\[engine\.invalid\]"):
        BareEngine(b"no plan", {}, {}, library=site.bench.library, cuda=site.open_device())

    assert +site.device.live == {}


def test_bare_engine_goes_call_by_call_where_it_cannot_be_captured(site: Site) -> None:
    """Of three batches the first slot, which has no graph, computes two."""
    outputs = site.read_outputs()
    site.device.fail("capture", 801)
    feeds = {"images": np.zeros((1, 3, 32, 64), np.uint8)}

    with BareEngine(site.plan, feeds, outputs, library=site.bench.library, cuda=site.open_device()) as bare:
        launches = site.device.calls["launch"]
        bare.run(3)

    assert site.device.calls["launch"] - launches == 1
    assert +site.device.live == {}


def test_drawn_cameras_show_consecutive_pictures_each_from_its_own_place(site: Site, clips: list) -> None:
    """Cameras of one clip do not all show the same, and a clip goes forth and back."""
    cameras = DrawnCameras(clips, site.manifest, count=5)

    shown = [cameras.frame(0, turn, captured_s=0.0).pixels_rgb for turn in range(5)]

    assert len(clips[0]) == 4  # three forth, one back
    assert [any(picture is each for each in clips[0]) for picture in shown] == [True] * 5
    assert shown[4] is shown[0]
    assert cameras.frame(4, 0, captured_s=0.0).pixels_rgb is clips[0][7 % 4]


def test_played_frames_are_due_whether_or_not_they_are_analysed(site: Site, clips: list, tmp_path: Path) -> None:
    """Time of every result is known; what failed on the way is raised."""
    cameras = DrawnCameras(clips, site.manifest, count=3)

    class Failing:
        most_in_flight = 2

        def prepare(self, pictures):
            raise InferenceError("no more")

    with pytest.raises(InferenceError, match="no more"), (tmp_path / "events").open("wb") as output:
        play(cameras, Failing(), batch=4, seconds=5.0, output=output)


def test_choose_takes_the_preferred_precision_that_was_not_refused() -> None:
    """FP16 before INT8 before FP32; the gate decides."""
    fp32, int8 = make_record("fp32", is_passed=True), make_record("int8", is_passed=None)

    assert choose([]) == []
    assert choose([fp32, make_record("fp16", is_passed=False), int8]) == [int8]
    assert [record.key.options.precision for record in choose([make_record("fp16", is_passed=True), fp32])] == ["fp16"]


def test_every_precision_is_built_and_then_compared(site: Site, tmp_path: Path) -> None:
    """One that is refused is noted, the others are built, and what is in the cache is told."""
    asked = []

    def run(arguments: list[str]) -> tuple[int, str]:
        asked.append(arguments[:2])
        return (78, "refused") if arguments[1] == "verify" else (0, "")

    assert not build_and_verify(tmp_path / "state", site.findings.append, engines=tmp_path, run=run)

    assert load_manifest(tmp_path / "tiny").fp16 is None
    assert asked == [["engines", "build"], ["engines", "verify"]]
    assert site.of(Problem) == [Problem(step="engines", what="verify tiny", message="exit 78: refused")]
    assert {(engine.engine, engine.precision, engine.passed) for engine in site.of(Engine)} == {("tiny", "fp32", None)}


def test_no_device_here_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A binding that is not there is as good as no device."""
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    findings: list[Finding] = []

    assert not find_machine(findings.append, revision="abc1234")

    (machine,) = findings
    assert isinstance(machine, Machine)
    assert machine.gpu is None
    assert "[backend.missing]" in machine.missing
    assert machine.revision == "abc1234"


TESTS_OF_A_DEVICE = """
import os, signal
import pytest
pytestmark = pytest.mark.gpu

@pytest.fixture
def broken():
    raise OSError("gone")

def test_passes(): pass
def test_fails(): assert False
def test_errs(broken): pass
@pytest.mark.parametrize("n", [1, 2])
def test_skips(n): pytest.skip("no pycuda")
"""
LEAVES_NOTHING_RUNNING = """
def test_crashes(): os.kill(os.getpid(), signal.SIGKILL)
def test_is_never_run(): pass
"""


def test_tests_are_counted_by_outcome(tmp_path: Path) -> None:
    """An error outside a test's body is a failure; parity comes last."""
    (tmp_path / "test_a.py").write_text(TESTS_OF_A_DEVICE)
    (tmp_path / "test_parity.py").write_text("import pytest\n@pytest.mark.gpu\ndef test_last(): pass\n")
    (tmp_path / "test_z.py").write_text("def test_needs_no_device(): pass\n")
    findings: list[Finding] = []

    assert not run_tests(tmp_path, findings.append, tests=tmp_path)

    assert findings == [DeviceTests(passed=2, failed=2, skipped={"no pycuda": 2})]
    assert "test_last" in (tmp_path / OUTCOMES_NAME).read_text().splitlines()[-1]


def test_tests_that_pass_are_well(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("import pytest\n@pytest.mark.gpu\ndef test_passes(): pass\n")
    findings: list[Finding] = []

    assert run_tests(tmp_path, findings.append, tests=tmp_path)
    assert findings == [DeviceTests(passed=1, failed=0, skipped={})]


def test_tests_before_a_crash_count(tmp_path: Path) -> None:
    """A library may end the process; the one that it ended with has no outcome."""
    (tmp_path / "test_a.py").write_text(TESTS_OF_A_DEVICE + LEAVES_NOTHING_RUNNING)
    findings: list[Finding] = []

    assert not run_tests(tmp_path, findings.append, tests=tmp_path)

    assert findings == [
        DeviceTests(passed=1, failed=2, skipped={"no pycuda": 2}),
        Problem(step="tests", what="pytest", message="exit -9"),
    ]


def test_throughput_is_read_from_what_trtexec_prints() -> None:
    said = "[11/26/2026-03:00:00] [I] === Performance summary ===\n[11/26/2026-03:00:00] [I] Throughput: 1234.56 qps\n"

    assert read_throughput(said) == 1234.56
