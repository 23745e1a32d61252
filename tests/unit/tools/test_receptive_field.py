"""Receptive fields worked out by hand: r + (k - 1) j, and the jump."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_text import save_network

from tools.onnx_graph import load_graph
from tools.receptive_field import find_fields

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
K3, K5, TO_8 = (8, 8, 3, 3), (8, 8, 5, 5), (8, 3, 3, 3)
TWICE, SIZES = np.array([1, 1, 2, 2], np.float32), np.array([1, 8, 6, 6])


def _field(tmp_path: Path, body: str, shape: str = "1,8,12,12", **constants) -> tuple[list[float], list[float]]:
    """Sizes and jumps of `y`."""
    path = save_network(tmp_path / "a.onnx", f"(float[{shape}] x) => (float[] y)", body, **constants)
    extents = find_fields(load_graph(path))["y"].extents
    return [float(extent.size) for extent in extents], [float(extent.jump) for extent in extents]


@pytest.mark.parametrize(
    ("body", "constants", "size", "jump"),
    [
        pytest.param("y = Relu (x)", {}, 1, 1, id="one pixel"),
        pytest.param("y = Conv (x, w)", {"w": K3}, 3, 1, id="three taps"),
        pytest.param("y = Conv <strides=[2,2]> (x, w)", {"w": K3}, 3, 2, id="the stride tells behind it only"),
        pytest.param("a = Conv <strides=[2,2]> (x, w)  y = Conv (a, w)", {"w": K3}, 3 + 2 * 2, 2, id="behind a stride"),
        pytest.param("y = Conv <dilations=[2,2]> (x, w)", {"w": K3}, 5, 1, id="dilation"),
        pytest.param(
            "a = AveragePool <kernel_shape=[2,2], strides=[2,2]> (x)  y = Conv <strides=[2,2]> (a, w)",
            {"w": K3},
            2 + 2 * 2,
            4,
            id="pooling, then a convolution",
        ),
        pytest.param(
            "a = Conv <strides=[2,2]> (x, w)  y = ConvTranspose <strides=[2,2]> (a, t)",
            {"w": K3, "t": (8, 8, 2, 2)},
            3,
            1,
            id="transposed, taps that do not overlap",
        ),
        pytest.param(
            "a = Conv <strides=[2,2]> (x, w)  y = ConvTranspose <strides=[2,2]> (a, t)",
            {"w": K3, "t": (8, 8, 4, 4)},
            3 + 2,
            1,
            id="transposed, each value of two",
        ),
        pytest.param("y = Resize <mode='nearest'> (x, , s)", {"s": TWICE}, 1, 0.5, id="twice as large: half the jump"),
        pytest.param("y = Resize <mode='linear'> (x, , s)", {"s": TWICE}, 2, 0.5, id="linear mixes two"),
        pytest.param("y = Resize <mode='nearest'> (x, , , n)", {"n": SIZES}, 1, 2, id="half as large, by sizes"),
        pytest.param(
            "a = Resize <mode='nearest'> (x, , s)  y = Conv (a, w)", {"s": TWICE, "w": K3}, 2, 0.5, id="a convolution on it"
        ),
        pytest.param("y = SpaceToDepth <blocksize=2> (x)", {}, 2, 2, id="space to depth"),
        pytest.param("y = DepthToSpace <blocksize=2> (x)", {}, 1, 0.5, id="depth to space"),
        pytest.param(
            "y = Slice (x, zero, end, axis, two)",
            {name: np.array([value]) for name, value in (("zero", 0), ("end", 99), ("axis", 1), ("two", 2))},
            1,
            1,
            id="every second channel",
        ),
        pytest.param(
            "y = Slice (x, zero, end, axis, two)",
            {"zero": np.array([0, 0]), "end": np.array([99, 99]), "axis": np.array([2, 3]), "two": np.array([2, 2])},
            1,
            2,
            id="every second pixel",
        ),
        pytest.param(
            "a = Conv <pads=[1,1,1,1]> (x, w)  b = Conv <pads=[2,2,2,2]> (x, v)  y = Concat <axis=1> (a, b)",
            {"w": K3, "v": K5},
            5,
            1,
            id="branches: the largest",
        ),
        pytest.param("a = Conv <pads=[1,1,1,1]> (x, w)  y = Add (x, a)", {"w": K3}, 3, 1, id="residual"),
        pytest.param("a = Conv (x, w)  y = com.example.Foo (x, a)", {"w": K3}, 3, 1, id="unknown: the largest, passed on"),
        pytest.param("y = GlobalAveragePool (x)", {}, 12, 1, id="global pooling sees all"),
        pytest.param("y = ReduceMean <axes=[2,3]> (x)", {}, 12, 1, id="the same as a mean"),
        pytest.param("y = ReduceMean <axes=[1]> (x)", {}, 1, 1, id="a mean of channels"),
        pytest.param("y = ReduceSum (x, n)", {"n": np.array([-1, -2])}, 12, 1, id="axes as an input"),
        pytest.param("y = ReduceMax (x)", {}, 12, 1, id="of everything"),
        pytest.param(
            "a = Conv <strides=[2,2]> (x, w)  b = Flatten (a)  y = Gemm (b, d)",
            {"w": K3, "d": (200, 4)},
            3 + (5 - 1) * 2,
            2,
            id="fully connected over 5x5 at jump 2",
        ),
        pytest.param(
            "a = GlobalMaxPool (x)  b = Flatten (a)  y = Gemm <transB=1> (b, d)",
            {"d": (4, 8)},
            12,
            1,
            id="fully connected over channels only",
        ),
        pytest.param(
            "a = Transpose <perm=[0,2,3,1]> (x)  y = MatMul (a, d)", {"d": (8, 4)}, 1, 1, id="product over channels: pointwise"
        ),
        pytest.param("y = MatMul (x, d)", {"d": (12, 4)}, (1, 12), 1, id="product over columns"),
        pytest.param("y = MatMul (d, x)", {"d": (4, 12)}, (12, 1), 1, id="product over rows"),
        pytest.param("y = Softmax <axis=1> (x)", {}, 1, 1, id="softmax over classes"),
        pytest.param(
            "a = Reshape (x, n)  y = Softmax <axis=-1> (a)", {"n": np.array([1, 8, 144])}, 12, 1, id="softmax over all places"
        ),
        pytest.param(
            "a = Reshape (x, n)  b = Transpose <perm=[0,2,1,3,4]> (a)  c = Reshape (b, m)  y = Conv (c, w)",
            {"n": np.array([1, 2, 4, 12, 12]), "m": np.array([1, 8, 12, 12]), "w": K3},
            3,
            1,
            id="channels shuffled: places stay apart",
        ),
        pytest.param(
            "a = Reshape (x, n)  b = Transpose (a)  c = ArgMax <axis=0, keepdims=0> (b)  y = Cast <to=1> (c)",
            {"n": np.array([8, 144])},
            12,
            1,
            id="where the largest is",
        ),
        pytest.param(
            "a = Reshape (x, n)  b = Transpose <perm=[0,2,1]> (a)  c = MatMul (b, a)  d = Softmax (c)  y = MatMul (d, b)",
            {"n": np.array([1, 8, 144])},
            12,
            1,
            id="attention sees all",
        ),
    ],
)
def test_field_of_a_node_is_the_hand_computed_one(tmp_path: Path, body: str, constants: dict, size, jump) -> None:
    """Both axes, height before width; one number stands for two equal ones."""
    sizes, jumps = _field(tmp_path, body.replace("'", '"'), **constants)

    assert sizes == list(np.broadcast_to(size, 2))
    assert jumps == list(np.broadcast_to(jump, 2))


@pytest.mark.parametrize(
    ("shape", "body", "constants", "expected"),
    [
        pytest.param("1,4,20", "y = Conv <strides=[3]> (x, w)", {"w": (6, 4, 5)}, ([5], [3]), id="one axis"),
        pytest.param("1,3,9,9", "y = Conv <strides=[1,2]> (x, w)", {"w": (8, 3, 1, 5)}, ([1, 5], [1, 2]), id="1x5"),
        pytest.param("1,10", "y = Gemm (x, w)", {"w": (10, 4)}, ([], []), id="no picture"),
        pytest.param(
            "1,9,8,3",
            "a = Transpose <perm=[0,3,1,2]> (x)  y = Conv <strides=[1,2]> (a, w)",
            {"w": (8, 3, 5, 3)},
            ([5, 3], [1, 2]),
            id="channels last",
        ),
    ],
)
def test_field_of_other_inputs_has_their_axes(tmp_path: Path, shape: str, body: str, constants: dict, expected) -> None:
    """One entry a spatial axis of the input, in its order."""
    assert _field(tmp_path, body, shape, **constants) == expected


@pytest.mark.skipif(not LIGHT.exists(), reason="this build of onnx comes without its test networks")
@pytest.mark.parametrize(
    ("network", "operator", "size", "jump"),
    [
        pytest.param("bvlc_alexnet", "MaxPool", 195, 32, id="AlexNet, as in Araujo et al."),
        pytest.param("vgg19", "MaxPool", 268, 32, id="VGG-19"),
        pytest.param("resnet50", "Add", 427, 32, id="ResNet-50 with its strides in the 3x3 convolutions"),
    ],
)
def test_field_of_a_known_network_is_the_published_one(network: str, operator: str, size: int, jump: int) -> None:
    """The last node of that kind, before what sees everything."""
    graph = load_graph(LIGHT / f"light_{network}.onnx")
    last = [node for node in graph.layers() if node.operator in (operator, "Sum" if operator == "Add" else operator)][-1]

    extents = find_fields(graph)[last.outputs[0]].extents

    assert [(extent.size, extent.jump) for extent in extents] == [(size, jump)] * 2
