"""Parameters and multiply-accumulates, held against hand calculation, a textbook and published figures."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_text import save_network

from edged.errors import InputError
from tools.layer_table import TEXTBOOK, build_network
from tools.network_cost import Cost, measure_cost
from tools.onnx_graph import load_graph

DETECTOR = Path(__file__).parents[3] / "engines" / "detector" / "model.onnx"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def _cost(tmp_path: Path, body: str, inputs: str = "float[1,8,10,10] x", *, batch: int | None = None, **constants) -> Cost:
    path = save_network(tmp_path / "a.onnx", f"({inputs}) => (float[] y)", body.replace("'", '"'), **constants)
    return measure_cost(load_graph(path, batch=batch))


@pytest.fixture(scope="module")
def textbook(tmp_path_factory: pytest.TempPathFactory) -> Cost:
    """The textbook's network on pictures of 32x32x3."""
    path = tmp_path_factory.mktemp("textbook") / "a.onnx"
    onnx.save(build_network(TEXTBOOK, channels=3, width=32, height=32, rng=np.random.default_rng(1)), path)
    return measure_cost(load_graph(path))


@pytest.mark.parametrize(
    ("name", "shape", "costs", "seen"),
    [
        pytest.param("conv1", (1, 6, 28, 28), ((5 * 5 * 3 + 1) * 6, 28 * 28 * 6 * 75), (5, 1), id="CONV1 456"),
        pytest.param("pool1", (1, 6, 14, 14), (0, 0), (5 + 1, 2), id="POOL1"),
        pytest.param("conv2", (1, 16, 10, 10), ((5 * 5 * 6 + 1) * 16, 10 * 10 * 16 * 150), (6 + 4 * 2, 2), id="CONV2 2416"),
        pytest.param("pool2", (1, 16, 5, 5), (0, 0), (14 + 2, 4), id="POOL2"),
        pytest.param("dense1", (1, 120), (400 * 120 + 120, 400 * 120), (16 + 4 * 4, 4), id="FC3 48120"),
        pytest.param("dense2", (1, 84), (120 * 84 + 84, 120 * 84), (32, 4), id="FC4 10164"),
        pytest.param("dense3", (1, 10), (84 * 10 + 10, 84 * 10), (32, 4), id="softmax 850"),
    ],
)
def test_cost_of_the_textbook_is_that_of_the_textbook(
    textbook: Cost, name: str, shape: tuple[int, ...], costs: tuple[int, int], seen: tuple[int, int]
) -> None:
    """Shape and parameters as printed there; MACs, and receptive field with its jump, by hand."""
    layer = next(layer for layer in textbook.layers if layer.name == name)

    assert (layer.output_shape, (layer.parameters, layer.macs)) == (shape, costs)
    assert [(extent.size, extent.jump) for extent in layer.field.extents] == [seen] * 2


def test_cost_of_the_textbook_adds_up(textbook: Cost) -> None:
    """456 + 2,416 + 48,120 + 10,164 + 850 parameters; every layer is there once."""
    assert textbook.parameters == 62_006
    assert textbook.macs == 352_800 + 240_000 + 48_000 + 10_080 + 840
    assert len(textbook.layers) == len(TEXTBOOK) + 1  # and the Flatten
    assert (textbook.separables, textbook.other_constants, textbook.not_counted) == ((), 0, {})


@pytest.mark.parametrize(
    ("body", "constants", "macs", "parameters"),
    [
        pytest.param("y = Conv (x, w)", {"w": (4, 8, 1, 1)}, 100 * 4 * 8, 32, id="pointwise"),
        pytest.param("y = Conv <pads=[1,1,1,1]> (x, w, b)", {"w": (4, 8, 3, 3), "b": (4,)}, 100 * 4 * 72, 292, id="bias: no MAC"),
        pytest.param("y = Conv <group=2, pads=[1,1,1,1]> (x, w)", {"w": (16, 4, 3, 3)}, 100 * 16 * 36, 576, id="two groups"),
        pytest.param("y = Conv <group=8, pads=[1,1,1,1]> (x, w)", {"w": (8, 1, 3, 3)}, 100 * 8 * 9, 72, id="depthwise"),
        pytest.param("y = Conv <dilations=[2,2]> (x, w)", {"w": (4, 8, 3, 3)}, 36 * 4 * 72, 288, id="dilated: 6x6"),
        pytest.param(
            "y = Conv <auto_pad='SAME_UPPER', strides=[3,3]> (x, w)", {"w": (4, 8, 3, 3)}, 16 * 4 * 72, 288, id="same: 4x4"
        ),
        pytest.param(
            "y = Conv <pads=[0,0,1,1], strides=[2,2]> (x, w)", {"w": (4, 8, 3, 3)}, 25 * 4 * 72, 288, id="one side: 5x5"
        ),
        pytest.param("y = ConvTranspose <strides=[2,2]> (x, w)", {"w": (8, 4, 2, 2)}, 100 * 8 * 16, 128, id="transposed"),
        pytest.param("y = MatMul (x, w)", {"w": (10, 7)}, 8 * 10 * 7 * 10, 70, id="product, weights right"),
        pytest.param("y = MatMul (w, x)", {"w": (7, 10)}, 8 * 7 * 10 * 10, 70, id="product, weights left"),
        pytest.param("t = Transpose <perm=[0,1,3,2]> (x)  y = MatMul (x, t)", {}, 8 * 1000, 0, id="product of activations"),
        pytest.param("f = Flatten (x)  y = Gemm (f, w, b)", {"w": (800, 3), "b": (3,)}, 2400, 2403, id="fully connected"),
        pytest.param("f = Flatten (x)  y = Gemm <transB=1> (f, w)", {"w": (3, 800)}, 2400, 2400, id="weights transposed"),
        pytest.param("f = Flatten <axis=4> (x)  y = Gemm <transA=1> (f, w)", {"w": (800, 3)}, 2400, 2400, id="input transposed"),
        pytest.param(
            "f = Flatten (x)  m = MatMul (f, w)  y = Add (m, b)", {"w": (800, 3), "b": (3,)}, 2400, 2403, id="bias added"
        ),
        pytest.param(
            "y = BatchNormalization (x, s, b, m, v)", dict.fromkeys("sbmv", (8,)), 0, 16, id="normalisation: not its statistics"
        ),
        pytest.param("y = PRelu (x, s)", {"s": (8, 1, 1)}, 0, 8, id="slopes"),
        pytest.param("y = MaxPool <kernel_shape=[2,2]> (x)", {}, 0, 0, id="pooling"),
        pytest.param("y = Add (x, g)", {"g": (1, 8, 10, 10)}, 0, 0, id="a grid is no parameter"),
        pytest.param("y = Conv (x, w)", {"w": np.zeros((4, 8, 1, 1), np.float32)}, 3200, 32, id="any constant"),
    ],
)
def test_cost_of_a_node_on_8_channels_of_10x10_is_the_hand_computed_one(
    tmp_path: Path, body: str, constants: dict, macs: int, parameters: int
) -> None:
    """The formulas of the module, one case a line."""
    cost = _cost(tmp_path, body, **constants)

    assert (cost.macs, cost.parameters) == (macs, parameters)


def test_cost_of_a_convolution_over_time_has_one_axis(tmp_path: Path) -> None:
    """floor((20 - 5) / 3) + 1 = 6 places, 6 filters of 4 x 5."""
    cost = _cost(tmp_path, "y = Conv <strides=[3]> (x, w)", "float[1,4,20] x", w=(6, 4, 5))

    assert (cost.macs, cost.parameters) == (6 * 6 * 20, 120)


def test_cost_of_four_pictures_is_four_times_that_of_one(tmp_path: Path) -> None:
    """MACs count the whole batch, parameters do not."""
    one, four = (_cost(tmp_path, "y = Conv (x, w)", "float[N,8,5,5] x", batch=n, w=(4, 8, 3, 3)) for n in (1, 4))

    assert four.macs == 4 * one.macs
    assert four.parameters == one.parameters


def test_cost_of_quantised_weights_counts_them_as_the_convolutions(tmp_path: Path) -> None:
    """Weights and bias that are dequantised first are parameters of the Conv; scales are none."""
    body = """
        q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)
        f = DequantizeLinear <axis=0> (w, ws, wz)  g = DequantizeLinear (b, ws, bz)  y = Conv (d, f, g)
    """
    constants = {
        "s": np.float32(1),
        "z": np.uint8(0),
        "w": np.zeros((4, 8, 3, 3), np.int8),
        "ws": np.ones(4, np.float32),
        "wz": np.zeros(4, np.int8),
        "b": np.zeros(4, np.int32),
        "bz": np.zeros(4, np.int32),
    }

    cost = _cost(tmp_path, body, **constants)

    assert [(layer.operator, layer.parameters) for layer in cost.layers] == [
        ("QuantizeLinear", 0),
        ("DequantizeLinear", 0),
        ("Conv", 292),
    ]
    assert (cost.parameters, cost.macs, cost.other_constants) == (292, 64 * 4 * 72, 0)


def test_cost_of_a_quantised_operator_counts_as_the_floating_one(tmp_path: Path) -> None:
    """QLinearConv and QLinearMatMul carry their weights in the fourth place."""
    body = "c = QLinearConv (x, s, z, w, s, z, s, z, b)  y = QLinearMatMul (c, s, z, m, s, z, s, z)"
    constants = {
        "s": np.float32(1),
        "z": np.uint8(0),
        "w": np.zeros((4, 8, 3, 3), np.uint8),
        "b": np.zeros(4, np.int32),
        "m": np.zeros((8, 5), np.uint8),
    }
    path = save_network(tmp_path / "a.onnx", "(uint8[1,8,10,10] x) => (uint8[] y)", body, **constants)

    cost = measure_cost(load_graph(path))

    assert [layer.macs for layer in cost.layers] == [64 * 4 * 72, 4 * 8 * 5 * 8]
    assert [layer.parameters for layer in cost.layers] == [292, 40]


def test_cost_of_shared_weights_counts_them_once_in_total(tmp_path: Path) -> None:
    """Each layer shows what it uses, also where one of them sees the weights rearranged."""
    body = "a = Conv (x, w)  b = Conv (a, w)  t = Transpose <perm=[1,0,2,3]> (w)  y = Conv (b, t)"

    cost = _cost(tmp_path, body, w=(8, 8, 1, 1))

    assert [layer.parameters for layer in cost.layers] == [64, 64, 64]
    assert cost.parameters == 64


def test_cost_of_weights_in_constant_nodes_counts_them(tmp_path: Path) -> None:
    """Where a number stands in the file makes no difference."""
    cost = _cost(tmp_path, "w = Constant <value_floats=[1.0,2.0,3.0]> ()  y = MatMul (x, w)", "float[1,3] x")

    assert (cost.parameters, cost.macs) == (3, 3)
    assert [layer.operator for layer in cost.layers] == ["MatMul"]


def test_cost_of_a_foreign_operator_is_marked_as_not_counted(tmp_path: Path) -> None:
    """Who may compute and is not counted is named; who is known to be free is not."""
    cost = _cost(tmp_path, "a = com.example.Foo (x)  b = com.example.Foo (a)  c = Relu (x)  y = com.example.Bar (b, c)")

    assert cost.not_counted == {"com.example.Bar": 1, "com.example.Foo": 2}
    assert [layer.is_counted for layer in cost.layers] == [False, False, True, False]
    assert cost.layers[0].output_shape is None


def test_cost_of_a_convolution_behind_an_unknown_shape_names_the_cause(tmp_path: Path) -> None:
    """A convolution cannot be counted without knowing how large its output is."""
    with pytest.raises(InputError, match=r"com\.example\.Foo 'a' gives cannot be inferred"):
        _cost(tmp_path, "a = com.example.Foo (x)  y = Conv (a, w)", w=(4, 8, 1, 1))


DEPTHWISE, POINTWISE = {"d": (8, 1, 3, 3)}, {"p": (16, 8, 1, 1)}
FIRST = "a = Conv <group=8, pads=[1,1,1,1]> (x, d)"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{FIRST}  y = Conv (a, p)", id="directly"),
        pytest.param(f"{FIRST}  b = Clip (a)  y = Conv (b, p)", id="an activation"),
        pytest.param(f"{FIRST}  s = Sigmoid (a)  b = Mul (a, s)  y = Conv (b, p)", id="swish: both branches"),
        pytest.param(
            f"{FIRST}  g = GlobalAveragePool (a)  h = Conv (g, e)  s = Sigmoid (h)  b = Mul (a, s)  y = Conv (b, p)", id="a gate"
        ),
    ],
)
def test_separable_of_a_depthwise_and_a_pointwise_convolution_is_found(tmp_path: Path, body: str) -> None:
    """The pair costs 1/C_out + 1/k^2 of an ordinary 3x3 convolution from 8 to 16 channels."""
    (pair,) = _cost(tmp_path, body, **DEPTHWISE, **POINTWISE, e=(8, 8, 1, 1)).separables

    assert (pair.depthwise, pair.pointwise, pair.kernel, pair.inputs, pair.outputs) == ("a", "y", (3, 3), 8, 16)
    assert (pair.macs, pair.ordinary_macs) == (100 * 8 * 9 + 100 * 8 * 16, 100 * 8 * 16 * 9)
    assert pair.ratio == pytest.approx(1 / 16 + 1 / 9)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{FIRST}  b = Add (a, x)  y = Conv (b, p)", id="an addition of branches between"),
        pytest.param(f"{FIRST}  y = Conv <strides=[2,2]> (a, p)", id="the second one strides"),
        pytest.param(f"{FIRST}  y = Conv (a, q)", id="the second one is 3x3"),
        pytest.param("a = Conv <group=8> (x, e)  y = Conv (a, p)", id="the first one is 1x1"),
        pytest.param("a = Conv <group=4> (x, g)  y = Conv (a, p)", id="groups of two"),
        pytest.param("y = Conv (x, p)", id="none before"),
    ],
)
def test_separable_of_anything_else_is_not_found(tmp_path: Path, body: str) -> None:
    """Only what an ordinary convolution could replace counts."""
    constants = {"q": (16, 8, 3, 3), "e": (8, 1, 1, 1), "g": (8, 2, 3, 3)}

    assert _cost(tmp_path, body, **DEPTHWISE, **POINTWISE, **constants).separables == ()


def test_separable_of_one_depthwise_convolution_with_two_behind_counts_once(tmp_path: Path) -> None:
    """No MAC is saved twice."""
    body = f"{FIRST}  b = Conv (a, p)  c = Conv (a, p)  y = Add (b, c)"

    assert [pair.pointwise for pair in _cost(tmp_path, body, **DEPTHWISE, **POINTWISE).separables] == ["b"]


@pytest.mark.skipif(not LIGHT.exists(), reason="this build of onnx comes without its test networks")
@pytest.mark.parametrize(
    ("network", "parameters", "giga_macs"),
    [
        pytest.param("resnet50", 25_557_032, 4.09, id="ResNet-50"),
        pytest.param("vgg19", 143_667_240, 19.63, id="VGG-19"),
        pytest.param("densenet121", 7_978_856, 2.83, id="DenseNet-121"),
        pytest.param("squeezenet", 1_235_496, 0.35, id="SqueezeNet 1.1"),
    ],
)
def test_cost_of_a_known_network_is_the_published_one(network: str, parameters: int, giga_macs: float) -> None:
    """Parameters as in torchvision's table of weights, and its GFLOPS, which are GMACs."""
    cost = measure_cost(load_graph(LIGHT / f"light_{network}.onnx"))

    assert cost.parameters == parameters
    assert cost.macs / 1e9 == pytest.approx(giga_macs, abs=0.006)


def test_cost_of_the_shipped_detector_has_all_its_weights() -> None:
    """Every initialiser of its file is a weight or a bias, and nothing else counts as a parameter."""
    weights = onnx.load(DETECTOR).graph.initializer

    cost = measure_cost(load_graph(DETECTOR))

    assert cost.parameters == sum(prod(tensor.dims) for tensor in weights)
    assert cost.parameters == sum(layer.parameters for layer in cost.layers)
    assert cost.not_counted == {}


def test_cost_of_the_shipped_detectors_stem_is_the_hand_computed_one() -> None:
    """16 filters of 3x3x3 with stride 2 on 320x320: 160 * 160 * 16 * 27 MACs, 27 * 16 + 16 parameters."""
    stem = next(layer for layer in measure_cost(load_graph(DETECTOR)).layers if layer.operator == "Conv")

    assert stem.name == "/backbone/stem/Conv"
    assert (stem.macs, stem.parameters) == (11_059_200, 448)
    assert stem.window is not None
    assert (stem.window.padding_before, stem.window.padding_after) == ((1, 1), (1, 1))


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the exporter warns of its own successor
def test_cost_of_mobilenet_v2_is_the_papers(tmp_path: Path) -> None:
    """300 M MACs and 3.4 M parameters at 224x224, with the paper's last convolution and classifier on our backbone.

    Exactly: 300,774,272 MACs, and 3,504,872 parameters where a normalisation has a scale and a shift for each channel; folded
    into weights and bias, as here, only the latter is left. The exporter shares biases that are equal, so rows are added up.
    """
    torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")
    from tools.nets.convolution import Conv
    from tools.nets.mobilenet_v2 import MobileNetV2

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.last = MobileNetV2(), Conv(320, 1280, kernel=1)
            self.classify = torch.nn.Linear(1280, 1000)

        def forward(self, images):
            return self.classify(self.last(self.backbone(images)[-1]).mean(dim=(2, 3)))

    path = tmp_path / "a.onnx"
    network = Classifier().eval()
    for module in network.modules():
        if isinstance(module, Conv):
            module.fold()
    axes = {"images": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 32, 32),),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        dynamic_axes=axes,
    )

    cost = measure_cost(load_graph(path, width=224, height=224))

    assert cost.macs == 300_774_272
    assert len(cost.separables) == 17
    channels = sum(layer.output_shape[1] for layer in cost.layers if layer.operator == "Conv")
    assert sum(layer.parameters for layer in cost.layers) + channels == 3_504_872
