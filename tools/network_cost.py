"""What each layer of a network costs: parameters, multiply-accumulates (MACs), receptive field.

| node | MACs |
| --- | --- |
| convolution, N pictures, C_out filters of k_h x k_w over C_in / groups channels | N H_out W_out C_out k_h k_w C_in / groups |
| transposed convolution: every input value meets every tap | N H_in W_in C_in k_h k_w C_out / groups |
| Gemm, MatMul (M x K times K x N), also of two activations | M K N |
| all others | 0 |

Taps on the padding count, biases do not: the convention of the papers, under which MobileNetV2 has its 300 M. One MAC is two
floating-point operations. Pooling, additions, activations, normalisation and quantisation count 0, too; an operator that is
not known to be free is marked instead of trusted.

Parameters are what training would set: weights, biases, the scale and shift (not the mean and variance) of a normalisation. A
weight that reaches its node through DequantizeLinear, Cast, Transpose and the like counts as that node's, with the size that it
has in the file. What several nodes share counts for each of them and once in the total.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from tools.onnx_graph import FLOATS, Graph, Node
from tools.onnx_shapes import Shape
from tools.receptive_field import PRODUCTS, Field, find_fields
from tools.window import CONVOLUTIONS, GLOBAL_POOLINGS, POOLINGS, Window, find_window

PARAMETERS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1,),
    "QLinearConv": (3, 8),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "PRelu": (1,),
    "Gather": (0,),
    "RNN": (1, 2, 3),
    "LSTM": (1, 2, 3, 7),
    "GRU": (1, 2, 3),
}
"""Which inputs training sets, if they stand in the file."""

_QUANTISATIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_REWRITINGS = (*_QUANTISATIONS, "Cast", "Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
_ELEMENTWISE_NAMES = (
    "Abs Add And BatchNormalization BitShift Cast CastLike Ceil Celu Clip Cos Div Dropout Elu Equal Erf Exp Floor Gelu Greater "
    "GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not "
    "Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu "
    "Where Xor"
)
_OTHER_FREE_NAMES = (
    "ArgMax ArgMin Concat ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements GatherND GroupNormalization Hardmax "
    "InstanceNormalization LRN LayerNormalization LogSoftmax LpNormalization MeanVarianceNormalization OneHot Pad Range ReduceL1 "
    "ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape Resize "
    "Shape Size Slice Softmax SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Upsample"
)
ELEMENTWISE = frozenset((*_ELEMENTWISE_NAMES.split(), *_QUANTISATIONS))
COUNTED = frozenset((*CONVOLUTIONS, *PRODUCTS))
FREE = ELEMENTWISE.union(_OTHER_FREE_NAMES.split(), POOLINGS, GLOBAL_POOLINGS)
"""Operators without a MAC by the convention above."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One node that works on the input's values.

    Attributes:
        window: None where it has none.
        parameters: of its own or shared.
        field: of its first output.
        is_counted: False for an operator that may compute, of which we do not know how much.
    """

    name: str
    operator: str
    window: Window | None
    output_shape: Shape | None
    parameters: int
    macs: int
    field: Field
    is_counted: bool


@dataclass(frozen=True, slots=True)
class Separable:
    """A depthwise convolution and the pointwise one that mixes its channels, against the ordinary one that they stand for.

    Attributes:
        depthwise, pointwise: names of the layers.
        kernel: of the depthwise one.
        inputs, outputs: channels.
        macs: of both.
        ordinary_macs: of one convolution with that kernel, those channels and the same output size.
    """

    depthwise: str
    pointwise: str
    kernel: tuple[int, ...]
    inputs: int
    outputs: int
    macs: int
    ordinary_macs: int

    @property
    def ratio(self) -> float:
        """macs / ordinary_macs, which is 1 / outputs + 1 / taps of the kernel."""
        return self.macs / self.ordinary_macs


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: what is shared once.
        other_constants: numbers in the file that enter additions, multiplications and the like and are counted as no parameters:
            grids, anchors, scales, the mean and variance of normalisations.
    """

    inputs: dict[str, Shape]
    layers: tuple[Layer, ...]
    separables: tuple[Separable, ...]
    parameters: int
    other_constants: int

    @property
    def macs(self) -> int:
        """Of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def not_counted(self) -> dict[str, int]:
        """Operators that may compute and are not counted, and how many nodes have them."""
        operators = [layer.operator for layer in self.layers if not layer.is_counted]
        return {operator: operators.count(operator) for operator in sorted(set(operators))}


def measure_cost(graph: Graph) -> Cost:
    """Count a network's layers.

    Raises:
        InputError: a shape that is needed cannot be inferred.
    """
    fields, producers = find_fields(graph), graph.producers()
    layers, sizes, others = [], {}, {}
    for node in graph.layers():
        own = _parameters(node, graph, producers)
        sizes |= own
        others |= _other_constants(node, graph)
        shape, field = graph.shapes.get(node.outputs[0]), fields[node.outputs[0]]
        is_counted = node.operator in COUNTED or node.operator in FREE
        macs = _count_macs(node, graph)
        layers.append(
            Layer(node.name, node.operator, find_window(node, graph), shape, sum(own.values()), macs, field, is_counted)
        )
    other_constants = sum(size for name, size in others.items() if name not in sizes)
    return Cost(dict(graph.inputs), tuple(layers), tuple(_find_separables(graph)), sum(sizes.values()), other_constants)


def _count_macs(node: Node, graph: Graph) -> int:
    if node.operator in CONVOLUTIONS:
        weights = graph.known_shape(node.inputs[CONVOLUTIONS[node.operator]])
        places = graph.known_shape(node.inputs[0] if node.operator == "ConvTranspose" else node.outputs[0])
        return places[0] * prod(places[2:]) * prod(weights)
    if node.operator in PRODUCTS:
        left = graph.known_shape(node.inputs[PRODUCTS[node.operator][0]])
        return prod(graph.known_shape(node.outputs[0])) * left[-2 if node.attributes.get("transA", 0) else -1]
    return 0


def _parameters(node: Node, graph: Graph, producers: dict[str, Node]) -> dict[str, int]:
    """Size of each constant of the file that is a parameter of a node."""
    positions = PARAMETERS.get(node.operator, ())
    if node.operator == "Add" and _is_bias(node, graph, producers):
        positions = (0, 1)
    names = [node.inputs[position] for position in positions if position < len(node.inputs)]
    roots = [_root(name, producers) for name in names if name and name not in graph.carriers]
    return {root: prod(graph.known_shape(root)) for root in roots}


def _root(tensor: str, producers: dict[str, Node]) -> str:
    """What a tensor is in the file, before it was dequantised or rearranged."""
    while (node := producers.get(tensor)) is not None and node.operator in _REWRITINGS:
        tensor = node.inputs[0]
    return tensor


def _is_bias(node: Node, graph: Graph, producers: dict[str, Node]) -> bool:
    """Whether an addition adds a constant row to a product with constant weights, as exporters write fully connected layers."""
    data, constants = graph.data_of(node), [name for name in node.inputs if name not in graph.carriers]
    if len(data) != 1 or len(constants) != 1 or len(graph.shapes.get(constants[0], ())) != 1:
        return False
    producer = producers.get(data[0])
    while producer is not None and producer.operator in _QUANTISATIONS:
        producer = producers.get(producer.inputs[0])
    return producer is not None and producer.operator in PRODUCTS and bool(_parameters(producer, graph, producers))


def _other_constants(node: Node, graph: Graph) -> dict[str, int]:
    """Size of each constant with more than one value that a node adds, multiplies and so on."""
    if node.operator not in ELEMENTWISE:
        return {}
    names = [name for name in node.inputs if name in graph.constants and graph.constants[name].data_type in FLOATS]
    return {name: size for name in names if (size := prod(graph.constants[name].dims)) > 1}


def _find_separables(graph: Graph) -> Iterator[Separable]:
    """Each depthwise convolution with the first pointwise one behind it."""
    producers, taken = graph.producers(), set()
    for node in graph.layers():
        if not _is_pointwise(node, graph):
            continue
        found = {depthwise.name: depthwise for depthwise in _depthwise_before(node.inputs[0], graph, producers)}
        if len(found) != 1 or taken.intersection(found):
            continue
        (depthwise,) = found.values()
        taken.add(depthwise.name)
        kernel = _weights(depthwise, graph)[2:]
        outputs, inputs = _weights(node, graph)[:2]
        macs = _count_macs(depthwise, graph) + _count_macs(node, graph)
        ordinary = _count_macs(depthwise, graph) * outputs
        yield Separable(depthwise.name, node.name, kernel, inputs, outputs, macs, ordinary)


def _depthwise_before(tensor: str, graph: Graph, producers: dict[str, Node]) -> Iterator[Node]:
    """The depthwise convolution that a tensor comes from through activations and gates only.

    Several, or none, if it comes from elsewhere. A multiplication may have two inputs (x times sigmoid(x), or a gate of
    squeeze-and-excitation, which ends at a convolution of another kind); an addition of two branches ends the search.
    """
    node = producers.get(tensor)
    if node is None:
        return
    if _is_depthwise(node, graph):
        yield node
    data = graph.data_of(node)
    if node.operator in ELEMENTWISE and (len(data) == 1 or node.operator == "Mul"):
        for name in data:
            yield from _depthwise_before(name, graph, producers)


def _is_depthwise(node: Node, graph: Graph) -> bool:
    if node.operator not in ("Conv", "QLinearConv"):
        return False
    outputs, inputs, *kernel = _weights(node, graph)
    return inputs == 1 and 1 < outputs == node.attributes.get("group", 1) and prod(kernel) > 1


def _is_pointwise(node: Node, graph: Graph) -> bool:
    if node.operator not in ("Conv", "QLinearConv"):
        return False
    kernel, strides = _weights(node, graph)[2:], node.attributes.get("strides", ())
    return prod(kernel) == 1 and node.attributes.get("group", 1) == 1 and prod(strides) == 1


def _weights(node: Node, graph: Graph) -> tuple[int, ...]:
    return graph.known_shape(node.inputs[CONVOLUTIONS[node.operator]])
