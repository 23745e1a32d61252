"""Windows of convolutions and poolings, padding worked out by hand from the specification."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_text import save_network

from tools.onnx_graph import load_graph
from tools.window import Window, find_window

ONE, TWO, NONE = (1, 1), (2, 2), (0, 0)


def _window(tmp_path: Path, body: str, shape: str = "1,3,7,7", **constants) -> Window | None:
    graph = load_graph(save_network(tmp_path / "a.onnx", f"(float[{shape}] x) => (float[] y)", body, **constants))
    return find_window(graph.nodes[-1], graph)


@pytest.mark.parametrize(
    ("body", "constants", "expected"),
    [
        pytest.param("y = Conv (x, w)", {"w": (4, 3, 5, 3)}, Window((5, 3), ONE, NONE, NONE, ONE), id="kernel from the weights"),
        pytest.param(
            "y = Conv <pads=[0,0,1,1], strides=[2,2], group=3> (x, w)",
            {"w": (3, 1, 3, 3)},
            Window((3, 3), TWO, NONE, ONE, ONE, 3),
            id="one side only, depthwise",
        ),
        pytest.param(
            "y = Conv <auto_pad='SAME_UPPER', strides=[2,2]> (x, w)",
            {"w": (4, 3, 4, 4)},
            Window((4, 4), TWO, ONE, TWO, ONE),
            id="same, 7 to 4 needs 3 more: odd one after",
        ),
        pytest.param(
            "y = Conv <auto_pad='SAME_LOWER', strides=[2,2]> (x, w)",
            {"w": (4, 3, 4, 4)},
            Window((4, 4), TWO, TWO, ONE, ONE),
            id="same, odd one before",
        ),
        pytest.param(
            "y = Conv <auto_pad='SAME_UPPER', dilations=[2,2]> (x, w)",
            {"w": (4, 3, 3, 3)},
            Window((3, 3), ONE, TWO, TWO, TWO),
            id="same, dilated",
        ),
        pytest.param(
            "y = Conv <auto_pad='SAME_UPPER', strides=[3,3]> (x, w)",
            {"w": (4, 3, 1, 1)},
            Window(ONE, (3, 3), NONE, NONE, ONE),
            id="same, never negative",
        ),
        pytest.param(
            "y = MaxPool <auto_pad='VALID', kernel_shape=[2,2], strides=[2,2]> (x)",
            {},
            Window(TWO, TWO, NONE, NONE, ONE),
            id="valid",
        ),
        pytest.param("y = GlobalAveragePool (x)", {}, Window((7, 7), ONE, NONE, NONE, ONE), id="global: all of it"),
        pytest.param(
            "y = ConvTranspose <strides=[2,2], pads=[1,1,1,1]> (x, w)",
            {"w": (3, 4, 4, 4)},
            Window((4, 4), TWO, ONE, ONE, ONE, 1, True),
            id="transposed",
        ),
        pytest.param(
            "y = ConvTranspose <strides=[2,2], output_shape=[14,14]> (x, w)",
            {"w": (3, 4, 3, 3)},
            Window((3, 3), TWO, ONE, NONE, ONE, 1, True),
            id="transposed to a size: 15 - 14, odd one before",
        ),
        pytest.param("y = Relu (x)", {}, None, id="none"),
    ],
)
def test_window_of_a_node_is_what_the_specification_makes_of_it(
    tmp_path: Path, body: str, constants: dict, expected: Window | None
) -> None:
    """Kernel, stride, padding and dilation on each axis, whichever way the node says them."""
    assert _window(tmp_path, body.replace("'", '"'), **constants) == expected


def test_window_of_one_axis_has_one_entry_each(tmp_path: Path) -> None:
    """A convolution over time has a window of one axis."""
    window = _window(tmp_path, "y = Conv <pads=[2,2], strides=[3]> (x, w)", "1,4,20", w=(6, 4, 5))

    assert window == Window((5,), (3,), (2,), (2,), (1,))


def test_window_of_a_quantised_convolution_is_that_of_its_weights(tmp_path: Path) -> None:
    """QLinearConv has its weights in the fourth place."""
    signature, body = "(uint8[1,3,7,7] x) => (uint8[] y)", "y = QLinearConv <pads=[1,1,1,1]> (x, s, z, w, s, z, s, z)"
    numbers = {"s": np.float32(1), "z": np.uint8(0), "w": np.zeros((4, 3, 3, 3), np.uint8)}
    graph = load_graph(save_network(tmp_path / "a.onnx", signature, body, **numbers))

    assert find_window(graph.nodes[0], graph) == Window((3, 3), ONE, ONE, ONE, ONE)
