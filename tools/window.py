"""The window that a convolution or pooling moves over its input: size, stride, padding, dilation, groups.

Source: the ONNX operators' specifications (Conv, ConvTranspose, AveragePool, MaxPool), github.com/onnx/onnx, docs/Operators.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.onnx_graph import Graph, Node

CONVOLUTIONS = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Where among the inputs the weights are."""
POOLINGS = ("MaxPool", "AveragePool", "LpPool")
GLOBAL_POOLINGS = ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")


@dataclass(frozen=True, slots=True)
class Window:
    """One entry an axis, in the order of the shape: height before width.

    Attributes:
        kernel: taps.
        stride: input positions from one output position to the next; for a transposed convolution output positions.
        padding_before: positions added above and left.
        padding_after: positions added below and right.
        dilation: positions from one tap to the next.
        groups: 1 for an ordinary convolution, the number of channels for a depthwise one.
        is_transposed: whether it enlarges.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding_before: tuple[int, ...]
    padding_after: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    is_transposed: bool = False


def find_window(node: Node, graph: Graph) -> Window | None:
    """The window of a node; None where it has none.

    Raises:
        InputError: the shape of its input or output cannot be inferred.
    """
    if node.operator in GLOBAL_POOLINGS:
        sides = graph.known_shape(node.inputs[0])[2:]
        return Window(sides, *((n,) * len(sides) for n in (1, 0, 0, 1)))
    if node.operator in CONVOLUTIONS:
        kernel = graph.known_shape(node.inputs[CONVOLUTIONS[node.operator]])[2:]
    elif node.operator in POOLINGS:
        kernel = tuple(node.attributes["kernel_shape"])
        graph.known_shape(node.outputs[0])
    else:
        return None
    ones = (1,) * len(kernel)
    stride = tuple(node.attributes.get("strides", ones))
    dilation = tuple(node.attributes.get("dilations", ones))
    before, after = _find_padding(node, graph, kernel=kernel, stride=stride, dilation=dilation)
    return Window(kernel, stride, before, after, dilation, node.attributes.get("group", 1), node.operator == "ConvTranspose")


def _find_padding(
    node: Node, graph: Graph, *, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and after on each axis: as the node says, or as `auto_pad` or a wished output size make it."""
    n, mode = len(kernel), node.attributes.get("auto_pad", b"NOTSET").decode()
    is_transposed = node.operator == "ConvTranspose"
    if mode == "NOTSET" and not (is_transposed and "output_shape" in node.attributes):
        pads = tuple(node.attributes.get("pads", (0,) * 2 * n))
        return pads[:n], pads[n:]
    if mode == "VALID":
        return (0,) * n, (0,) * n
    longer = graph.known_shape(node.inputs[0])[2:]
    shorter = graph.known_shape(node.outputs[0])[2:]
    extra = (0,) * n
    if is_transposed:
        longer, shorter, extra = shorter, longer, node.attributes.get("output_padding", extra)
    totals = [max((shorter[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 + extra[i] - longer[i], 0) for i in range(n)]
    small, large = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
    return (small, large) if mode == "SAME_UPPER" else (large, small)
