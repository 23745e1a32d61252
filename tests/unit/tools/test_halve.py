"""An FP16 network beside an engine's own, on an engine of four convolutions that tells red from green."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from models_onnx import make_manifest, make_segmenter_manifest, save_colour_engine, save_engine, save_pixel_colour_engine
from onnx import TensorProto, helper, numpy_helper

from edged.assembly import open_detector, open_segmenter
from edged.errors import InputError
from edged.models.manifest import OnnxFile, digest_file, load_manifest
from tools import halve
from tools.engines import FP16_NAME
from tools.halve import make_fp16

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """In float only."""
    save_colour_engine(tmp_path / "tiny", make_manifest())
    return tmp_path / "tiny"


def read(engine: Path) -> onnx.ModelProto:
    return onnx.load(engine / "model.onnx")


def make_network(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], outputs: dict[str, list[int]]) -> onnx.ModelProto:
    """A network that takes `images`, (1, 1, 4, 4) float32, and answers float32."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolution(source: str, target: str) -> onnx.NodeProto:
    """One pixel by one, by the weight `kernel`."""
    return helper.make_node("Conv", [source, "kernel"], [target], target)


KERNEL = {"kernel": np.full((1, 1, 1, 1), 0.1, np.float32)}


def types_by_tensor(network: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor: inferring them fails where two do not meet."""
    graph = onnx.shape_inference.infer_shapes(network, check_type=True, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def node_of(network: onnx.ModelProto, output: str) -> onnx.NodeProto:
    return next(node for node in network.graph.node if output in node.output)


def test_main_writes_a_network_that_answers_alike_and_names_it(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command: network, digest and sizes; the manifest is otherwise as it was."""
    before = load_manifest(engine)

    assert halve.main([str(engine)]) == 0

    manifest = load_manifest(engine, precision="fp16")
    assert manifest.fp16 == OnnxFile(file=FP16_NAME, sha256=digest_file(engine / FP16_NAME), opset=17)
    assert manifest.model_copy(update={"fp16": None}) == before
    assert re.search(r"tiny/model\.fp16\.onnx: 0\.0\d MB, in float 0\.0\d\n", capsys.readouterr().out)
    reddish = np.full((24, 48, 3), (120, 100, 90), np.uint8)
    with open_detector(engine) as exact, open_detector(engine, precision="fp16") as close:
        outputs = [detector.infer(detector.prepare([reddish])) for detector in (exact, close)]
    assert 0.5 < outputs[0]["scores"].max() < 0.95
    np.testing.assert_allclose(outputs[1]["scores"], outputs[0]["scores"], atol=0.003)
    assert (outputs[1]["scores"] != outputs[0]["scores"]).any()


def test_main_again_replaces_the_former_network(engine: Path) -> None:
    """The manifest names the new one."""
    assert halve.main([str(engine)]) == 0
    first = (engine / FP16_NAME).read_bytes()
    assert halve.main([str(engine), "--keep-float", "stem"]) == 0

    assert (engine / FP16_NAME).read_bytes() != first
    assert load_manifest(engine).fp16.sha256 == digest_file(engine / FP16_NAME)


def test_main_of_no_engine_gives_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it could not read."""
    assert halve.main([str(tmp_path)]) == 78

    assert "error: " in capsys.readouterr().err


def test_make_fp16_computes_in_half_from_the_first_convolution_to_the_heads(engine: Path) -> None:
    """What the caller gives and gets has the types it had; a Cast stands on either side."""
    types = types_by_tensor(make_fp16(read(engine)))

    assert types["images"] == TensorProto.UINT8
    assert {name: types[name] for name in ("picture", "stem_conv", "stem", "inner", "sum", "pool")} == {
        "picture": FLOAT,
        "stem_conv": HALF,
        "stem": HALF,
        "inner": HALF,
        "sum": HALF,
        "pool": HALF,
    }
    assert [types[name] for name in ("head", "by_place", "scores", "boxes", "head_weight", "head_bias")] == [FLOAT] * 6
    assert [types[name] for name in ("stem_weight_fp16", "stem_bias_fp16", "pool_weight_fp16")] == [HALF] * 3
    assert "stem_weight" not in types


def test_make_fp16_of_the_same_network_gives_the_same_bytes_and_leaves_it_alone(engine: Path) -> None:
    """Names follow from names, order from order."""
    network = read(engine)
    before = network.SerializeToString(deterministic=True)

    first, second = make_fp16(network), make_fp16(network)

    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert network.SerializeToString(deterministic=True) == before


def test_make_fp16_keeps_named_layers_in_float(engine: Path) -> None:
    """Only those: what stands before and behind them is in half."""
    network = make_fp16(read(engine), keep_float=["in"])

    types = types_by_tensor(network)
    assert [types[name] for name in ("stem", "inner", "sum")] == [HALF, FLOAT, HALF]
    assert node_of(network, "inner").input[0] == "stem_fp32"
    assert list(node_of(network, "sum").input) == ["stem", "inner_fp16"]


def test_make_fp16_keeps_what_an_operator_takes_in_float_only() -> None:
    """The scales of Resize; what it resizes is in half."""
    resize = helper.make_node("Resize", ["deep", "", "twice"], ["large"], "large")
    constant = helper.make_node("Constant", [], ["twice"], value=numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32)))
    nodes = [constant, convolution("images", "deep"), resize, convolution("large", "answer")]

    network = make_fp16(make_network(nodes, KERNEL, {"answer": [1, 1, 8, 8]}))

    types = types_by_tensor(network)
    assert (types["deep"], types["large"], types["twice"], types["answer"]) == (HALF, HALF, FLOAT, FLOAT)


def test_make_fp16_keeps_what_follows_from_sizes_in_float() -> None:
    """Coordinates such as 2049 are none in half. They are cut to it only where something in half reads them."""
    nodes = [
        convolution("images", "deep"),
        helper.make_node("Shape", ["deep"], ["sizes"]),
        helper.make_node("Cast", ["sizes"], ["lengths"], to=FLOAT),
        helper.make_node("Add", ["lengths", "far"], ["places"]),
        helper.make_node("Mul", ["deep", "places"], ["scaled"]),
        convolution("scaled", "head"),
        helper.make_node("Add", ["head", "places"], ["answer"]),
    ]
    weights = KERNEL | {"far": np.array(2045, np.float32)}

    network = make_fp16(make_network(nodes, weights, {"answer": [1, 1, 4, 4]}))

    types = types_by_tensor(network)
    assert (types["places"], types["far"], types["scaled"]) == (FLOAT, FLOAT, HALF)
    assert list(node_of(network, "sizes").input) == ["deep"]
    assert list(node_of(network, "scaled").input) == ["deep", "places_fp16"]
    assert list(node_of(network, "answer").input) == ["head", "places"]


def test_make_fp16_keeps_the_type_of_an_output_that_is_no_head() -> None:
    """A network may show what lies before its heads, too."""
    nodes = [
        convolution("images", "deep"),
        convolution("deep", "features"),
        convolution("features", "answer"),
    ]

    network = make_fp16(make_network(nodes, KERNEL, {"features": [1, 1, 4, 4], "answer": [1, 1, 4, 4]}))

    types = types_by_tensor(network)
    assert (types["deep"], types["features"], types["answer"]) == (HALF, FLOAT, FLOAT)
    assert (types["kernel"], types["kernel_fp16"]) == (FLOAT, HALF)


def test_make_fp16_with_a_weight_that_has_no_half_names_it() -> None:
    """FP16 ends at 65504; the layer can stay in float."""
    nodes = [
        convolution("images", "deep"),
        helper.make_node("Mul", ["deep", "huge"], ["larger"]),
        convolution("larger", "answer"),
    ]
    weights = KERNEL | {"huge": np.array(-70000, np.float32)}

    with pytest.raises(InputError, match=r"model\.onnx: 'huge' reaches 70000, FP16 ends at 65504: .*--keep-float"):
        make_fp16(make_network(nodes, weights, {"answer": [1, 1, 4, 4]}))


def test_make_fp16_with_an_infinite_constant_keeps_it() -> None:
    """The end of a Clip may be infinite, in half as in float, and a constant may stand in a node of its own."""
    nodes = [
        helper.make_node("Constant", [], ["end"], value_float=np.inf),
        convolution("images", "deep"),
        helper.make_node("Clip", ["deep", "", "end"], ["cut"]),
        convolution("cut", "answer"),
    ]

    network = make_fp16(make_network(nodes, KERNEL, {"answer": [1, 1, 4, 4]}))

    (end,) = [numpy_helper.to_array(tensor) for tensor in network.graph.initializer if tensor.name == "end_fp16"]
    assert (end.dtype, float(end)) == (np.float16, np.inf)
    assert "Constant" not in [node.op_type for node in network.graph.node]


def test_make_fp16_of_a_network_with_branches_raises() -> None:
    """What a branch reads from outside would change its type unseen."""
    given = [helper.make_tensor_value_info("same", FLOAT, [1, 1, 4, 4])]
    branch = helper.make_graph([helper.make_node("Identity", ["deep"], ["same"])], "branch", [], given)
    nodes = [
        convolution("images", "deep"),
        helper.make_node("If", ["yes"], ["chosen"], "choice", then_branch=branch, else_branch=branch),
        convolution("chosen", "answer"),
    ]
    weights = KERNEL | {"yes": np.array(True)}

    with pytest.raises(InputError, match=r"model\.onnx: If 'choice' holds a network of its own"):
        make_fp16(make_network(nodes, weights, {"answer": [1, 1, 4, 4]}))


def test_make_fp16_of_types_that_do_not_meet_raises() -> None:
    """The file is named, not a library's trace."""
    nodes = [helper.make_node("Cast", ["images"], ["cut"], to=HALF), convolution("cut", "answer")]

    with pytest.raises(InputError, match=r"model\.onnx: the types of its tensors cannot be inferred"):
        make_fp16(make_network(nodes, KERNEL, {"answer": [1, 1, 4, 4]}))


@pytest.mark.parametrize(
    ("prefixes", "words"),
    [
        pytest.param(["steam"], r"model\.onnx: --keep-float steam: .* such as stem, inner, pool", id="no such layer"),
        pytest.param(["stem", "inner", "pool"], "nothing to convert: of its 4 convolutions all stay in float", id="all"),
    ],
)
def test_make_fp16_with_wrong_layers_to_keep_raises(engine: Path, prefixes: list[str], words: str) -> None:
    """It names the file and what the layers are called."""
    with pytest.raises(InputError, match=words):
        make_fp16(read(engine), keep_float=prefixes)


def test_make_fp16_of_a_network_without_convolutions_raises(tmp_path: Path) -> None:
    """There is nothing that FP16 would make faster."""
    save_engine(tmp_path / "flat", make_manifest(), boxes=np.zeros((2, 4)), scores=np.zeros((2, 2)))

    with pytest.raises(InputError, match="nothing to convert: of its 0 convolutions"):
        make_fp16(read(tmp_path / "flat"))


def test_make_fp16_of_an_fp16_network_raises(engine: Path) -> None:
    """The network in float is where to start from."""
    with pytest.raises(InputError, match="holds layers in FP16 or INT8 already"):
        make_fp16(make_fp16(read(engine)))


@pytest.mark.parametrize("name", ["detector", "detector-small", "detector-wide"])
def test_make_fp16_of_a_shipped_network_has_every_layer_but_the_heads_in_half(name: str) -> None:
    """Of 65 convolutions three are heads; the file is little more than half as large."""
    path = Path(__file__).parents[3] / "engines" / name / "model.onnx"

    network = make_fp16(onnx.load(path))

    types = types_by_tensor(network)
    kinds = [types[node.output[0]] for node in network.graph.node if node.op_type == "Conv"]
    assert (kinds.count(HALF), kinds.count(FLOAT)) == (62, 3)
    assert (types["images"], types["boxes"], types["scores"]) == (TensorProto.UINT8, FLOAT, FLOAT)
    assert len(network.SerializeToString()) < 0.56 * path.stat().st_size


def test_main_of_a_segmenter_halves_all_but_its_transposed_head(tmp_path: Path) -> None:
    """What is computed from the head's answers stays in float with it; labels and confidence are bytes as before."""
    save_pixel_colour_engine(tmp_path, make_segmenter_manifest(), weights=8 * np.eye(3))

    assert halve.main([str(tmp_path)]) == 0

    types = types_by_tensor(onnx.load(tmp_path / FP16_NAME))
    assert (types["stem"], types["logits"], types["shares"], types["labels"]) == (HALF, FLOAT, FLOAT, TensorProto.UINT8)
    pixels = np.kron(np.uint8([[[255, 0, 0], [0, 0, 255]]]), np.ones((32, 32, 1), np.uint8))
    with open_segmenter(tmp_path) as exact, open_segmenter(tmp_path, precision="fp16") as close:
        expected, found = exact.segment(pixels), close.segment(pixels)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
