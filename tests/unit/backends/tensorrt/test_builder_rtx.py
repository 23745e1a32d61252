"""Real engines, built by TensorRT-RTX on the CPU: of every shipped network, in every precision."""

from __future__ import annotations

import functools
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from models_onnx import make_manifest, save_colour_engine
from onnx_text import save_network

from edged.backends.onnx_file import read_onnx
from edged.backends.tensorrt.builder import BuildOptions, Built, Precision, build
from edged.backends.tensorrt.layers import Layer, count_types
from edged.backends.tensorrt.library import Library, import_library
from edged.errors import BuildCancelledError, InputError, ModelError
from edged.models.manifest import DetectorManifest, Manifest, SegmenterManifest, load_manifest
from tools.conversion import read_float
from tools.drawn import draw_set
from tools.halve import make_fp16
from tools.quantise import QuantiseSettings, make_int8

pytest.importorskip("tensorrt_rtx", reason="engines are built by TensorRT-RTX: pip install tensorrt-rtx")

pytestmark = pytest.mark.tensorrt

ENGINES = sorted(path.parent for path in (Path(__file__).parents[4] / "engines").glob("*/model.yaml"))
DETECTOR = ENGINES[0] / "model.onnx"

BOXES_AND_SCORES = {"boxes": "float32", "scores": "float32"}
CONVOLVING = ("correlation", "runtime_fusion")
"""RTX's words for a convolution, alone and with what follows it."""

every_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def library() -> Library:
    return import_library("tensorrt_rtx")


@pytest.fixture
def foreign(tmp_path: Path) -> bytes:
    """A small network that is not ours, with the outputs of a detector."""
    save_colour_engine(tmp_path, make_manifest())
    return read_onnx(tmp_path / "model.onnx")


@functools.cache
def make_quantised(engine: Path) -> onnx.ModelProto:
    """A shipped network in INT8, its ranges from two drawn frames: types are what counts here."""
    pictures = draw_set(2, split="test").pictures
    return make_int8(engine, (picture.pixels_rgb() for picture in pictures), QuantiseSettings(symmetric=True))


def make_halved(engine: Path) -> onnx.ModelProto:
    """A shipped network in FP16."""
    return make_fp16(read_float(engine / "model.onnx"))


def types_of(layers: tuple[Layer, ...], tensor: str) -> set[str]:
    """In which types a tensor is read and written."""
    return {each.dtype for layer in layers for each in (*layer.inputs, *layer.outputs) if each.name == tensor}


def check_sides(built: Built, outputs: Mapping[str, str] = BOXES_AND_SCORES) -> None:
    """Pixels go in as they are, and what comes out has the types that are promised, in every precision."""
    assert types_of(built.layers, "images") == {"uint8"}
    assert {output: types_of(built.layers, output) for output in outputs} == {name: {dtype} for name, dtype in outputs.items()}


def outputs_of(manifest: Manifest) -> dict[str, str]:
    """Names and types of what a network answers: numbers, but a segmenter bytes."""
    dtype = "uint8" if isinstance(manifest, SegmenterManifest) else "float32"
    return {name: dtype for name in manifest.outputs.model_dump().values() if name is not None}


def check_convolutions(built: Built, network: onnx.ModelProto, dtype: str) -> None:
    """Those with weights in float, the heads, read float; all others read this type."""
    in_float = {tensor.name for tensor in network.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    wanted = {
        node.name: "float32" if node.input[1] in in_float else dtype for node in network.graph.node if node.op_type == "Conv"
    }
    layers = [layer for layer in built.layers if layer.kind in CONVOLVING and wanted.keys() & layer.nodes]
    found = {node: {tensor.dtype for tensor in layer.inputs} for layer in layers for node in layer.nodes if node in wanted}
    assert found == {node: {each} for node, each in wanted.items()}
    assert len(layers) == len(wanted)


def count_heads(manifest: Manifest) -> int:
    """The last convolutions, which stay in float.

    Of a detector one a stride for boxes and scores and one for points; of an encoder one for the picture and one for its mirror
    image. A segmenter's is a transposed one, and these are not counted.
    """
    if isinstance(manifest, SegmenterManifest):
        return 0
    if isinstance(manifest, DetectorManifest):
        return len(manifest.strides) * (2 if manifest.points else 1)
    return 2 if manifest.trained.get("mirrored") else 1


def count_float(network: onnx.ModelProto) -> int:
    """Convolutions with weights in float."""
    in_float = {tensor.name for tensor in network.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    return sum(node.op_type == "Conv" and node.input[1] in in_float for node in network.graph.node)


@every_engine
def test_build_in_float_computes_in_float(engine: Path, library: Library) -> None:
    """The pixels' Cast is inside the engine; RTX keeps no timing cache."""
    built = build(read_onnx(engine / "model.onnx"), BuildOptions("fp32"), name=engine.name, library=library)

    check_sides(built, outputs_of(load_manifest(engine)))
    sides = set(outputs_of(load_manifest(engine)).values())
    assert set(count_types(built.layers)) - {"int32"} == {"float32"} | sides  # int32: places in a tensor
    assert len(built.plan) > (engine / "model.onnx").stat().st_size  # weights, and kernels for any device
    assert built.seconds > 0
    assert (built.fell_back, built.timing_cache) == ((), None)


@every_engine
@pytest.mark.parametrize(
    ("precision", "make", "dtype"),
    [pytest.param("fp16", make_halved, "float16", id="fp16"), pytest.param("int8", make_quantised, "int8", id="int8")],
)
def test_build_of_typed_network_computes_all_but_heads_in_its_type(
    engine: Path, library: Library, precision: Precision, make: Callable[[Path], onnx.ModelProto], dtype: str
) -> None:
    """What the file says of each convolution is what the engine does."""
    network = make(engine)

    built = build(network.SerializeToString(), BuildOptions(precision), name=engine.name, library=library)

    manifest = load_manifest(engine)
    check_sides(built, outputs_of(manifest))
    check_convolutions(built, network, dtype)
    assert count_float(network) == count_heads(manifest)


def test_build_of_unsigned_int8_names_the_tool(library: Library, tmp_path: Path) -> None:
    """What ONNX Runtime is quickest with, TensorRT does not take."""
    body = "q = QuantizeLinear(x, step, zero) y = DequantizeLinear(q, step, zero)"
    constants = {"step": np.array(0.1, np.float32), "zero": np.array(3, np.uint8)}
    path = save_network(tmp_path / "unsigned.onnx", "(float[N,3,8,8] x) => (float y)", body, **constants)

    with pytest.raises(ModelError, match=r"Non-zero zero point is not supported.*symmetric.*python -m tools.quantise"):
        build(path.read_bytes(), BuildOptions("int8"), name="detector int8", library=library)


def test_build_of_a_foreign_network_with_the_same_outputs(library: Library, foreign: bytes) -> None:
    """Nothing but names and types of its sides is ours."""
    built = build(foreign, BuildOptions("fp32", batch=(1, 1, 2)), name="foreign", library=library)

    check_sides(built)


def test_build_of_any_size_is_refused(library: Library, tmp_path: Path) -> None:
    """Only the batch may be free."""
    path = save_network(tmp_path / "free.onnx", "(float[N,3,H,8] x) => (float[N,3,H,8] y)", "y = Relu(x)")

    with pytest.raises(ModelError, match=r"input x has the shape \(-1, 3, -1, 8\): only its first axis may be free"):
        build(path.read_bytes(), BuildOptions("fp32"), name="free", library=library)


@pytest.mark.parametrize("length", [0, 7, 100_000])
def test_build_of_a_cut_network_is_refused(library: Library, length: int) -> None:
    """TensorRT takes no bytes at all for a network without outputs."""
    with pytest.raises(ModelError, match=r"detector: .*ONNX.*\[engine.parse\]"):
        build(DETECTOR.read_bytes()[:length], BuildOptions("fp32"), name="detector", library=library)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_build_of_a_float_network_is_no_engine_of_another_precision(library: Library, precision: str) -> None:
    """Its types are the file's, so it would compute in float."""
    with pytest.raises(ModelError, match=f"detector: nothing in its ONNX computes in {precision}"):
        build(read_onnx(DETECTOR), BuildOptions(precision), name="detector", library=library)


def test_build_for_a_dla_is_refused(library: Library) -> None:
    """RTX knows none."""
    network = make_quantised(DETECTOR.parent)
    options = BuildOptions("int8", batch=(1, 1, 1), dla_core=0)

    with pytest.raises(InputError, match=r"DLA core 0: TensorRT-RTX .* finds 0 here"):
        build(network.SerializeToString(), options, name="detector", library=library)


def test_progress_rises_from_0_to_1(library: Library) -> None:
    """Over all the phases that lie in each other."""
    told: list[tuple[str, float]] = []

    def tell(phase: str, done_ratio: float) -> bool:
        told.append((phase, done_ratio))
        return True

    build(read_onnx(DETECTOR), BuildOptions("fp32"), name="detector", library=library, progress=tell)

    ratios = [ratio for _, ratio in told]
    assert ratios == sorted(ratios)
    assert (ratios[0], ratios[-1]) == (0, 1)
    assert len(set(ratios)) > 100
    assert {"Building engine", "Timing graph nodes"} <= {phase for phase, _ in told}


def test_progress_that_answers_false_cancels(library: Library) -> None:
    """At its next step, and it is not asked again."""
    told: list[str] = []

    with pytest.raises(BuildCancelledError, match=r"detector: building was cancelled after \d+\.\d s"):
        build(
            read_onnx(DETECTOR),
            BuildOptions("fp32"),
            name="detector",
            library=library,
            progress=lambda phase, ratio: len(told) < 3 and not told.append(phase),
        )

    assert len(told) == 3


def test_progress_that_raises_ends_the_build_and_raises_here(library: Library) -> None:
    """TensorRT would print it and go on."""

    def fail(phase: str, done_ratio: float) -> bool:
        raise BrokenPipeError("the terminal is gone")

    with pytest.raises(BrokenPipeError, match="the terminal is gone"):
        build(read_onnx(DETECTOR), BuildOptions("fp32"), name="detector", library=library, progress=fail)


INTERRUPTED = """
import sys, time
from pathlib import Path
from edged.backends.tensorrt.builder import BuildOptions, build
from edged.backends.tensorrt.library import import_library
from edged.errors import BuildCancelledError

told = []

def progress(phase, done_ratio):
    if not told:
        print("building", flush=True)
    told.append(phase)
    time.sleep(0.02)  # 870 times if nobody ends it
    return True

library = import_library("tensorrt_rtx")
content = Path(sys.argv[1]).read_bytes()
try:
    try:
        build(content, BuildOptions("fp32"), name="detector", library=library, progress=progress)
    except BuildCancelledError as error:
        print(error, flush=True)
    for _ in range(600):
        time.sleep(0.1)
except KeyboardInterrupt:
    print("interrupted as ever")
"""


def test_interrupt_cancels_a_build_and_only_that() -> None:
    """Ctrl-C: a KeyboardInterrupt in the middle of TensorRT would be lost; after the build it is one again."""
    command = [sys.executable, "-c", INTERRUPTED, str(DETECTOR)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = []
        for _ in range(2):
            lines.append(process.stdout.readline())
            process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()

    assert lines[0] == "building\n"
    assert re.fullmatch(r"detector: building was cancelled after \d+\.\d s\n", lines[1])
    assert lines[2:] == ["interrupted as ever\n"]
    assert process.returncode == 0
