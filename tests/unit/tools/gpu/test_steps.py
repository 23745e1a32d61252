"""The steps of a check over stand-ins for TensorRT and for the device: no figure of these is a device's."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeClock
from models_onnx import make_manifest, save_engine
from stand_ins.built_engine import BOXES, CLASSES, SCORES, SHORT, TARGET, UNLIMITED, Site, make_key, write_engine
from waiting import wait_until

from edged.backends.tensorrt.cache import EngineCache, EngineRecord, ParityRecord
from edged.errors import DeviceError, InferenceError, ModelError
from edged.types import Frame
from tools.gpu import fitting, steps
from tools.gpu.bare import BareEngine
from tools.gpu.budget import Budget, whole
from tools.gpu.cameras import FPS, DrawnCameras, Played, draw_clips, play
from tools.gpu.findings import (
    BatchRate,
    Finding,
    Fitting,
    Machine,
    Memory,
    Omission,
    PipelineRate,
    Problem,
    Streams,
)
from tools.gpu.fitting import compare_fitting
from tools.gpu.steps import (
    BATCHES,
    PIPELINE_BATCHES,
    Bench,
    choose,
    compare_pipeline,
    count_streams,
    find_machine,
    in_sweep_order,
    read_throughput,
    sweep,
)


def make_record(precision: str, *, name: str = "tiny", is_passed: bool | None = None) -> EngineRecord:
    parity = None if is_passed is None else ParityRecord(TARGET, {"ap50": 0.5, "mean_iou": 0.5}, 24, is_passed)
    return EngineRecord(make_key(precision, name=name), "nowhere", "plan", "0" * 64, 1, 1.0, {}, (), "0", parity)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def clips() -> list:
    return draw_clips(frames=3)


def test_sweep_times_every_batch_with_and_without_graphs(site: Site, clips: list) -> None:
    """Each size once a way; the memory is told, and everything is given back."""
    sweep(site.bench, clips)

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

    compare_pipeline(site.bench, clips)

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

    compare_pipeline(site.bench, clips)

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
    assert "no throughput" in site.of(Omission)[0].reason
    assert not site.of(Problem)


def test_fitting_by_the_gpu_is_measured_beside_the_processor(site: Site, kernels: bytes) -> None:
    """Both ways for each size and batch, and that both draw the same: here a processor does both."""
    site.device.module = kernels

    compare_fitting(site.bench, sizes=[(40, 30), (64, 32)])

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

    compare_fitting(site.bench, sizes=[(64, 32)])

    assert site.of(Fitting)[0].most_apart > 100
    assert "64x32: the GPU's numbers are up to" in site.of(Problem)[0].message


def test_more_and_more_cameras_are_tried_until_frames_are_dropped(
    site: Site, clips: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame of a hundred may be; the first count that drops more is the last one."""
    drops = {2: 0, 4: 1, 8: 2, 16: 0}

    def play_as_told(cameras: DrawnCameras, *_: object, **__: object) -> Played:
        return Played(due=100, dropped=drops[len(cameras.names)], delays_ms=[1.0, 2.0, 3.0])

    monkeypatch.setattr(steps, "play", play_as_told)

    count_streams(site.bench, clips, counts=tuple(drops))

    assert [(each.cameras, each.due, each.dropped) for each in site.of(Streams)] == [(2, 100, 0), (4, 100, 1), (8, 100, 2)]
    assert {(each.ms_p50, each.ms_p99) for each in site.of(Streams)} == {(2.0, 3.0)}
    assert +site.device.live == {}


def test_cameras_that_the_engine_keeps_up_with_lose_no_frame(tmp_path: Path, clips: list) -> None:
    """Every frame is due; a machine that stands still meanwhile loses some, so it may try again."""

    tries: list[Site] = []

    def lose_none() -> bool:
        tries.append(Site(tmp_path / f"{len(tries)}"))
        count_streams(tries[-1].bench, clips, counts=(2,))
        return [(each.due, each.dropped) for each in tries[-1].of(Streams)] == [(4, 0)]

    wait_until(lose_none, timeout_s=60.0)

    (streams,) = tries[-1].of(Streams)
    assert 0 < streams.ms_p50 <= streams.ms_p99
    assert +tries[-1].device.live == {}


def test_cameras_that_the_engine_is_too_slow_for_lose_frames(site: Site, clips: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes until all were shown: but for two batches and what is on the board at the end, they are lost."""
    compute, draw, turns = site.trt.network.compute, DrawnCameras.frame, 4
    shown: list[Frame] = []

    def show(*arguments: Any, **settings: Any) -> Frame:
        shown.append(draw(*arguments, **settings))
        return shown[-1]

    def compute_slowly(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if shown:
            wait_until(lambda: len(shown) >= 4 * turns)
        return compute(arrays)

    site.trt.network = replace(site.trt.network, compute=compute_slowly)
    monkeypatch.setattr(DrawnCameras, "frame", show)

    count_streams(replace(site.bench, timing=replace(SHORT, streams_s=turns / FPS)), clips, counts=(4, 8))

    (streams,) = site.of(Streams)
    assert (streams.cameras, streams.due) == (4, 4 * turns)
    assert streams.dropped > 0
    assert +site.device.live == {}


def test_what_fails_with_one_engine_is_noted_and_the_next_one_is_measured(site: Site, clips: list, tmp_path: Path) -> None:
    """An error of one engine is no reason to know nothing of the others."""
    key = make_key("fp32", name="broken", onnx_sha256=site.manifest.onnx.sha256)
    write_engine(EngineCache(tmp_path / "state" / "tensorrt"), tmp_path / "tiny", key, b"no plan")

    sweep(site.bench, clips)

    assert [problem.what for problem in site.of(Problem)] == ["broken fp32", "broken fp32 without graphs"]
    assert "magic tag" in site.of(Problem)[0].message
    assert {rate.engine for rate in site.of(BatchRate)} == {"tiny"}


def test_what_there_is_no_time_for_is_named(site: Site, clips: list) -> None:
    """The batches that were measured count, and what was open is closed."""
    clock = FakeClock()

    def take(finding: Finding) -> None:
        site.findings.append(finding)
        clock.time_s += 40.0

    sweep(replace(site.bench, budget=Budget(100.0, now_s=clock.now_s), note=take), clips)

    assert [rate.batch for rate in site.of(BatchRate)] == [1, 2]
    assert [each.what for each in site.of(Omission)] == ["tiny fp32 from batch 4 on", "tiny fp32 without graphs"]
    assert not site.of(Problem)
    assert +site.device.live == {}


def test_work_that_cannot_be_closed_is_noted_and_so_is_what_comes_next(site: Site) -> None:
    """There was no time for its second part, and what it had open could not be closed."""
    clock = FakeClock()
    bench = replace(site.bench, budget=Budget(100.0, now_s=clock.now_s))

    def fail_at_the_end():
        try:
            yield "part 1"
            clock.time_s += 60.0
            yield "part 2"
        finally:
            raise InferenceError("not closed")

    bench.work_through("sweep", [("one", fail_at_the_end()), ("two", whole(lambda: None))])

    assert site.findings == [
        Problem(step="sweep", what="one", message="not closed"),
        Omission(step="sweep", what="two", reason="no time left"),
    ]


def test_every_network_is_swept_once_before_the_cameras_detector_is_in_all_ways() -> None:
    """Whatever time is left goes to the others."""
    precisions, names = ("fp16", "int8", "fp32"), ("detector", "face-encoder")
    records = [make_record(precision, name=name) for precision in precisions for name in names]

    found = [(f"{record.key.label}{'' if graphs else ' without'}") for record, graphs in in_sweep_order(records)]

    assert found[:2] == ["detector fp16", "face-encoder fp16"]
    assert found[2:7] == ["detector int8", "detector fp32", *(f"detector {each} without" for each in precisions)]
    assert found[7:] == ["face-encoder int8", "face-encoder fp32", *(f"face-encoder {each} without" for each in precisions)]


def test_a_network_without_the_first_precision_is_swept_in_its_own_first() -> None:
    """It has to come once before another comes twice, too."""
    records = [
        make_record(precision, name=name)
        for precision, name in [("fp16", "detector"), ("fp32", "detector"), ("fp32", "face-liveness")]
    ]

    found = [(record.key.label, graphs) for record, graphs in in_sweep_order(records)]

    assert in_sweep_order([]) == []
    assert found[:2] == [("detector fp16", True), ("face-liveness fp32", True)]
    assert found[2:] == [
        ("detector fp32", True),
        ("detector fp16", False),
        ("detector fp32", False),
        ("face-liveness fp32", False),
    ]


def test_records_come_once_of_every_network_before_they_come_again(site: Site, tmp_path: Path) -> None:
    """However they were built; a network that finds points sees faces, not cameras."""
    cache = EngineCache(tmp_path / "state" / "tensorrt")
    outputs = {"boxes": "boxes", "scores": "scores", "points": "points"}
    manifest = make_manifest(classes=CLASSES, points=["left", "right"], outputs=outputs)
    save_engine(tmp_path / "face", manifest, boxes=BOXES, scores=SCORES, points=np.zeros((2, 2, 2), np.float32))
    for name, directory in (("tiny", "tiny"), ("face", "face"), ("detector", "tiny")):
        for precision in ("fp16", "int8"):
            write_engine(cache, tmp_path / directory, make_key(precision, name=name), b"a plan")

    found = [record.key.label for record in site.bench.records()]
    of_cameras = [record.key.label for record in site.bench.camera_detectors()]

    assert found[:6] == ["detector fp16", "face fp16", "tiny fp16", "detector int8", "face int8", "tiny int8"]
    assert of_cameras == ["detector fp16", "detector int8", "tiny fp16", "tiny int8", "tiny fp32"]


def test_trtexec_is_found_where_nvidia_puts_it(site: Site, clips: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a Jetson, and outside of PATH."""
    program = tmp_path / "trtexec"
    program.write_text('#!/bin/sh\necho "[I] Throughput: 50.5 qps"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(steps, "TRTEXEC_DIRECTORY", str(tmp_path))

    compare_pipeline(site.bench, clips)

    assert [rate.trtexec_per_s for rate in site.of(PipelineRate)] == [50.5, 8 * 50.5]


def test_a_lost_device_ends_the_step(site: Site, clips: list) -> None:
    """Whatever comes after would fail, too."""
    site.device.fail("launch", 700)

    with pytest.raises(DeviceError):
        sweep(site.bench, clips)


def test_no_engine_is_a_failure(site: Site, clips: list, tmp_path: Path) -> None:
    """A sweep over nothing has not gone well."""
    bench = Bench(site.bench.library, site.open_device, tmp_path / "empty", site.findings.append, UNLIMITED, SHORT)

    sweep(bench, clips)

    assert site.of(Problem) == [Problem(step="sweep", what="an engine", message="no engine was built")]


def test_engines_that_the_gate_refuses_leave_out_what_wants_another(site: Site, clips: list, tmp_path: Path) -> None:
    """Their refusal was told by `parity`: it is no second failure."""
    cache = EngineCache(tmp_path / "state" / "tensorrt")
    with cache.lock(lambda: None):
        cache.record_parity(site.bench.records()[0], ParityRecord(TARGET, {"ap50": 0.5, "mean_iou": 0.5}, 24, is_passed=False))

    count_streams(site.bench, clips)
    compare_fitting(site.bench)

    reason = "none among what was built: tiny fp32 (refused by parity)"
    assert site.findings == [
        Omission(step="streams", what="a detector of objects that parity did not refuse", reason=reason),
        Omission(step="fitting", what="an engine that parity did not refuse", reason=reason),
    ]


def test_engines_among_which_no_detector_was_chosen_leave_out_what_wants_one(site: Site, clips: list, tmp_path: Path) -> None:
    """As `--engines face-detector` does: it finds points, so faces."""
    outputs = {"boxes": "boxes", "scores": "scores", "points": "points"}
    manifest = make_manifest(classes=CLASSES, points=["left", "right"], outputs=outputs)
    save_engine(tmp_path / "face", manifest, boxes=BOXES, scores=SCORES, points=np.zeros((2, 2, 2), np.float32))
    write_engine(EngineCache(tmp_path / "chosen" / "tensorrt"), tmp_path / "face", make_key("fp16", name="face"), b"a plan")
    bench = replace(site.bench, state_dir=tmp_path / "chosen")

    compare_pipeline(bench, clips)
    count_streams(bench, clips)

    assert [each.step for each in site.of(Omission)] == ["pipeline", "streams"]
    assert {each.reason for each in site.of(Omission)} == {"none among what was built: face fp16"}
    assert not site.of(Problem)


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


def test_bare_engine_leaves_graphs_to_tensorrt_rtx(site: Site) -> None:
    """And has kernels for its batch compiled before they are used: others would be no yardstick."""
    outputs = site.read_outputs()
    feeds = {"images": np.zeros((1, 3, 32, 64), np.uint8)}
    site.trt.calls.clear()
    captures = site.device.calls["capture"]

    with BareEngine(site.plan, feeds, outputs, library=site.trt.as_library(is_rtx=True), cuda=site.open_device()) as bare:
        bare.run(3)

    kinds = {name: value.name for name, value in site.trt.calls if name in ("graphs", "kernels")}
    assert kinds == {"graphs": "WHOLE_GRAPH_CAPTURE", "kernels": "EAGER"}
    assert site.device.calls["capture"] == captures
    assert +site.device.live == {}


def test_bare_engine_that_fails_frees_its_contexts_before_the_device(site: Site) -> None:
    """Though somebody keeps the error, and with it what its frames refer to."""
    outputs = site.read_outputs()
    site.trt.fail("execute_async_v3", "no", after=1)
    left = []
    site.device.on_close = lambda: left.append(len(site.trt.contexts))

    with pytest.raises(InferenceError, match=r"the bare engine: .* failed on a batch: no") as kept:
        BareEngine(
            site.plan,
            {"images": np.zeros((1, 3, 32, 64), np.uint8)},
            outputs,
            library=site.bench.library,
            cuda=site.open_device(),
        )

    assert left == [0]
    assert kept.value.__traceback__ is not None
    assert +site.device.live == {}


@pytest.mark.parametrize("is_rtx", [False, True], ids=["tensorrt", "tensorrt-rtx"])
@pytest.mark.parametrize(
    ("call", "said"),
    [
        pytest.param("create_execution_context", "makes no execution context", id="no context"),
        pytest.param("set_input_shape", r"refuses \(1, 3, 32, 64\) for input 'images'", id="no such size"),
        pytest.param("set_tensor_address", "refuses the memory of 'images'", id="not this memory"),
    ],
)
def test_bare_engine_that_is_refused_tells_why_and_gives_everything_back(site: Site, call: str, said: str, is_rtx: bool) -> None:
    """TensorRT answers None or False, as where the device's memory is full; what it had logged before is no reason."""
    outputs = site.read_outputs()
    library = site.trt.as_library(is_rtx=is_rtx)
    library.logger.log(library.module.ILogger.Severity.ERROR, "long ago")
    site.trt.fail(call, "Error Code 2: OutOfMemory", after=1 if call == "create_execution_context" else 0)

    with pytest.raises(InferenceError, match=rf"the bare engine: TensorRT.* {said}: Error Code 2: OutOfMemory$"):
        BareEngine(site.plan, {"images": np.zeros((1, 3, 32, 64), np.uint8)}, outputs, library=library, cuda=site.open_device())

    assert +site.device.live == {}


def test_engines_are_measured_with_the_kernels_that_they_end_up_with(site: Site) -> None:
    """TensorRT-RTX would compile them beside the first batches."""
    bench = replace(site.bench, library=site.trt.as_library(is_rtx=True))

    with bench.open_backend(bench.records()[0], site.plan):
        pass

    assert {value.name for name, value in site.trt.calls if name == "kernels"} == {"EAGER"}


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
    """Records come in their order; the gate decides."""
    fp32, int8 = make_record("fp32", is_passed=True), make_record("int8", is_passed=None)
    refused, accepted = make_record("fp16", is_passed=False), make_record("fp16", is_passed=True)

    assert choose([]) == []
    assert choose([refused, int8, fp32]) == [int8]
    assert choose([accepted, int8, fp32]) == [accepted]


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


def test_throughput_is_read_from_what_trtexec_prints() -> None:
    said = "[11/26/2026-03:00:00] [I] === Performance summary ===\n[11/26/2026-03:00:00] [I] Throughput: 1234.56 qps\n"

    assert read_throughput(said) == 1234.56
