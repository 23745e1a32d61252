"""Engines built and compared by a check, over stand-ins for TensorRT, for the device and for what builds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeClock
from models_onnx import make_manifest, save_engine
from stand_ins.built_engine import BOXES, CLASSES, SCORES, Site, make_key, write_engine

from edged.backends.tensorrt.builder import BuildOptions
from edged.backends.tensorrt.cache import EngineCache
from edged.backends.tensorrt.cuda import Cuda
from edged.engine_building import BuildResult
from edged.errors import BuildCancelledError, DeviceMemoryError, EngineMissingError, ModelError
from edged.models.manifest import QuantisedFile, dump_manifest, load_manifest
from tools.gpu.budget import NO_TIME, Budget
from tools.gpu.building import BUILT_FOR, build_engines, compare_engines, compute_first, find_jobs, find_reason
from tools.gpu.findings import Engine, Omission, Problem

SAID_BY_RTX_1_6 = (
    "tiny int8: TensorRT-RTX 1.6.1.120 cannot build it: IBuilder::buildSerializedNetwork: Error Code 1: Myelin "
    "([myelin_graph.h:1259: attachExceptionMsgToGraph] MyelinCheckException: cudnn_impl.cpp:89: CHECK(dtype == myelinTypeFloat "
    "|| dtype == myelinTypeHalf) failed.  In compileGraph at /_src/optimizer/myelin/codeGenerator.cpp:1962) [engine.build]"
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def save_all_precisions(directory: Path, *, name: str) -> None:
    """An engine whose network is of every precision by its manifest."""
    manifest = save_engine(directory, make_manifest(name=name, classes=CLASSES), boxes=BOXES, scores=SCORES)
    int8 = QuantisedFile(**manifest.onnx.model_dump(), calibration="none", symmetric=True)
    (directory / "model.yaml").write_text(dump_manifest(manifest.model_copy(update={"fp16": manifest.onnx, "int8": int8})))


class Builder:
    """In the place of `build_engine`: what it is told to raise for one precision, else a plan of the stand-in."""

    def __init__(self, plan: bytes, failures: dict[str, Exception] | None = None) -> None:
        self.plan = plan
        self.failures = failures or {}
        self.built: list[str] = []

    def __call__(self, directory: Path, options: BuildOptions, *, cache: EngineCache, **_: object) -> BuildResult:
        manifest = load_manifest(directory)
        self.built.append(f"{manifest.name} {options.precision}")
        assert options.batch == BUILT_FOR
        if options.precision in self.failures:
            raise self.failures[options.precision]
        key = make_key(options.precision, name=manifest.name, onnx_sha256=manifest.onnx.sha256)
        return BuildResult(write_engine(cache, directory, key, self.plan), layers=())


def test_one_precision_of_every_network_is_built_before_a_second_of_any(site: Site, tmp_path: Path) -> None:
    """The cameras' detector first, and each is noted once it is built."""
    for name in ("detector", "anything"):
        save_all_precisions(tmp_path / "engines" / name, name=name)
    builder = Builder(site.plan)

    build_engines(site.bench, engines=tmp_path / "engines", build=builder)

    assert builder.built == [f"{name} {precision}" for precision in ("fp16", "int8", "fp32") for name in ("detector", "anything")]
    assert [f"{engine.engine} {engine.precision}" for engine in site.of(Engine)] == builder.built
    assert {engine.passed for engine in site.of(Engine)} == {None}


def test_a_build_that_fails_loses_no_other(site: Site, tmp_path: Path) -> None:
    save_all_precisions(tmp_path / "engines" / "tiny", name="tiny")
    builder = Builder(site.plan, {"fp16": ModelError("refused")})

    build_engines(site.bench, engines=tmp_path / "engines", build=builder)

    assert [engine.precision for engine in site.of(Engine)] == ["int8", "fp32"]
    assert site.of(Problem) == [Problem(step="engines", what="tiny fp16", message="refused")]


def test_what_the_library_cannot_build_is_left_out(site: Site, tmp_path: Path) -> None:
    """TensorRT-RTX 1.6 knows no convolutions in INT8: that is no mistake of the network, nor of ours."""
    save_all_precisions(tmp_path / "engines" / "tiny", name="tiny")

    build_engines(site.bench, engines=tmp_path / "engines", build=Builder(site.plan, {"int8": ModelError(SAID_BY_RTX_1_6)}))

    assert site.of(Omission) == [Omission(step="engines", what="tiny int8", reason=SAID_BY_RTX_1_6)]
    assert not site.of(Problem)


def test_reason_of_a_build_that_failed_is_one_line_that_names_no_engine() -> None:
    """Tests that are skipped for it are counted together."""
    said = f"tiny int8   50%  0:10  timing graph nodes\nedged: {SAID_BY_RTX_1_6}\n"

    assert find_reason("int8", said, label="tiny int8") == SAID_BY_RTX_1_6.removeprefix("tiny int8: ")


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        pytest.param("int8", "", id="nothing"),
        pytest.param("int8", "tiny int8   50%  0:10  timing graph nodes\nedged: tiny int8: refused\n", id="another reason"),
        pytest.param("fp16", f"edged: {SAID_BY_RTX_1_6}\n", id="another precision"),
    ],
)
def test_build_that_failed_for_something_else_has_no_such_reason(precision: str, said: str) -> None:
    """So it is no test that may be skipped."""
    assert find_reason(precision, said, label=f"tiny {precision}") == ""


def test_a_build_that_there_is_no_time_for_is_cancelled(site: Site, tmp_path: Path) -> None:
    """As by Ctrl-C; it is not built, and not failed."""
    save_all_precisions(tmp_path / "engines" / "tiny", name="tiny")
    clock = FakeClock()

    def build(directory, options, *, report, cancelled, **_) -> BuildResult:
        while not cancelled.is_set():
            clock.time_s += 1.0
            report("timing graph nodes", 0.5, 1.0)
        raise BuildCancelledError("cancelled")

    build_engines(replace(site.bench, budget=Budget(100.0, now_s=clock.now_s)), engines=tmp_path / "engines", build=build)

    assert [each.what for each in site.of(Omission)] == ["tiny fp16", "tiny int8", "tiny fp32"]
    assert {each.reason for each in site.of(Omission)} == {NO_TIME}
    assert clock.time_s == 190.0
    assert not site.of(Problem)


def test_every_engine_is_compared_and_the_outcome_is_kept(site: Site) -> None:
    """Where `edged engines list` finds it, too."""
    compare_engines(site.bench, [np.full((32, 64, 3), 255, np.uint8)])

    (engine,) = site.of(Engine)
    assert engine.passed
    assert engine.figures["ap50"] == 1.0
    assert site.bench.records()[0].parity.is_passed
    assert +site.device.live == {}


def test_an_engine_that_computes_something_else_is_a_problem(site: Site) -> None:
    """The figures are noted and kept, and the limits are told."""
    compute = site.trt.network.compute
    site.trt.network = replace(
        site.trt.network, compute=lambda arrays: {**compute(arrays), "boxes": 0 * compute(arrays)["boxes"]}
    )

    compare_engines(site.bench, [np.full((32, 64, 3), 255, np.uint8)])

    assert [engine.passed for engine in site.of(Engine)] == [False]
    assert "ap50 0.0000 (at least 0.999)" in site.of(Problem)[0].message
    assert not site.bench.records()[0].parity.is_passed


def test_an_engine_that_fails_is_refused(site: Site) -> None:
    """Its failure is kept as `edged engines verify` keeps it: no step that wants a good one takes it."""
    site.trt.network.fails_on.add(15)

    compare_engines(site.bench, [np.full((32, 64, 3), 255, np.uint8)])

    assert "failed on a batch of 15" in site.of(Problem)[0].message
    assert "another precision [engine.parity]" in site.of(Problem)[0].message
    assert not site.bench.records()[0].parity.is_passed
    assert +site.device.live == {}


def test_an_engine_that_there_is_no_memory_for_is_compared_in_half_its_batch(site: Site) -> None:
    """As `edged engines verify` compares it; the kernels are compiled first, which that does not wait for."""
    bench = replace(site.bench, library=site.trt.as_library(is_rtx=True))
    site.trt.fail("create_execution_context", "Error Code 2: OutOfMemory (out of memory)")

    compare_engines(bench, [np.full((32, 64, 3), 255, np.uint8)])

    assert [engine.passed for engine in site.of(Engine)] == [True]
    assert max(size for call, size in site.trt.calls if call == "execute") == 8
    assert {value.name for call, value in site.trt.calls if call == "kernels"} == {"EAGER"}
    assert +site.device.live == {}


def test_an_engine_without_memory_for_half_its_batch_is_not_judged(site: Site) -> None:
    """Others may hold the memory: it says nothing of the engine."""
    opened = []

    def open_once() -> Cuda:
        if opened:
            raise DeviceMemoryError("no memory")
        opened.append(site.open_device())
        return opened[0]

    compare_engines(replace(site.bench, open_device=open_once), [np.full((32, 64, 3), 255, np.uint8)])

    assert site.of(Problem) == [Problem(step="parity", what="tiny fp32", message="no memory")]
    assert site.bench.records()[0].parity is None


def test_the_first_engine_is_the_smallest(site: Site, tmp_path: Path) -> None:
    """It is built, loaded and computes; what is built is there for the steps that come."""
    save_all_precisions(tmp_path / "engines" / "large", name="large")
    save_engine(tmp_path / "engines" / "small", make_manifest(name="small"), boxes=BOXES[:1], scores=SCORES[:1, :2])
    builder = Builder(site.plan)

    compute_first(site.bench, engines=tmp_path / "engines", build=builder)

    assert builder.built == ["small fp32"]
    assert +site.device.live == {}


def test_a_library_that_refuses_the_device_refuses_the_first_engine(site: Site, tmp_path: Path) -> None:
    save_engine(tmp_path / "engines" / "small", make_manifest(name="small"), boxes=BOXES, scores=SCORES[:, :2])
    bench = replace(site.bench, library=site.trt.as_library(is_rtx=True))
    site.trt.validity = ("UNSUPPORTED_CC",)

    with pytest.raises(EngineMissingError, match="UNSUPPORTED_CC"):
        compute_first(bench, engines=tmp_path / "engines", build=Builder(site.plan))

    assert +site.device.live == {}


def test_shipped_engines_are_found() -> None:
    """At least the network in float of each."""
    found = [job.label for job in find_jobs()]

    assert found[0] == "detector fp32"
    assert {"face-liveness fp32", "scene-segmenter fp32"} <= set(found)
