"""A darknet network as ONNX: pictures in, boxes and scores out, grid and anchors decoded inside.

Source: AlexeyAB/darknet @0d0144e, src/yolo_layer.c, get_yolo_box; src/activations.h; src/route_layer.c.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tools.darknet.cfg import PICTURE, Layer, Network
from tools.darknet.options import (
    Activation,
    AveragePool,
    Convolutional,
    MaxPool,
    Route,
    ScaleChannels,
    Shortcut,
    Upsample,
    Yolo,
)
from tools.darknet.shapes import Shape, Shapes
from tools.darknet.weights import Convolution, Weights
from tools.engines import IR_VERSION, OPSET

LEAK = 0.1
"""What [leaky] lets through below 0."""
LARGEST_EXPONENT = 10.0
"""Of a box's size: 22026 anchors are wider than any picture, and still a number."""


def make_onnx(network: Network, weights: Weights, shapes: Shapes) -> bytes:
    """The network as a file: `images` (n, 3, H, W) uint8 RGB, `boxes` (n, R, 4) xyxy in input pixels, `scores` (n, R, classes).

    R runs over heads in the order of the cfg, then anchors, rows, columns. A score is objectness times class.
    """
    graph = _Graph()
    numbers = graph.add("Cast", ["images"], "numbers", to=TensorProto.FLOAT)
    names = {PICTURE: graph.add("Mul", [numbers, graph.constant("one_of_255", np.float32(1 / 255))], "picture")}
    heads = []
    for layer in network.layers:
        inputs = [names[number] for number in layer.inputs]
        if isinstance(layer.options, Yolo):
            heads.append(_add_head(graph, layer, inputs[0], shapes))
        else:
            names[layer.number] = _add_layer(graph, layer, inputs, weights.convolutions.get(layer.number), shapes)
    for output, parts in zip(("boxes", "scores"), zip(*heads, strict=True), strict=True):
        graph.add("Concat", list(parts), output, axis=1)
    return graph.to_model(network, shapes).SerializeToString(deterministic=True)


class _Graph:
    """Nodes and constants as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Append a node; returns its output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def split(self, value: str, lengths: list[int]) -> list[str]:
        """Cut the last of three axes."""
        names = [f"{value}.part_{number}" for number in range(len(lengths))]
        inputs = [value, self.constant(f"{value}.lengths", np.array(lengths, np.int64))]
        self.nodes.append(helper.make_node("Split", inputs, names, name=f"{value}.split", axis=2))
        return names

    def constant(self, name: str, value: NDArray | np.generic) -> str:
        """Keep an array; returns its name."""
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def to_model(self, network: Network, shapes: Shapes) -> onnx.ModelProto:
        """The finished model, checked."""
        heads = [layer for layer in network.layers if isinstance(layer.options, Yolo)]
        cells = {layer.number: shapes.of(layer.number).height * shapes.of(layer.number).width for layer in heads}
        rows = sum(cells[layer.number] * len(layer.options.sizes) for layer in heads)
        picture = ["n", 3, shapes.picture.height, shapes.picture.width]
        graph = helper.make_graph(
            self.nodes,
            "darknet",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, picture)],
            [
                helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", rows, 4]),
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", rows, heads[0].options.classes]),
            ],
            list(self.constants.values()),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edged import_darknet"
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _add_layer(graph: _Graph, layer: Layer, inputs: list[str], convolution: Convolution | None, shapes: Shapes) -> str:
    """Append a layer that is no head; returns the name of its answer."""
    name = f"layer_{layer.number}"
    match layer.options:
        case Convolutional() as conv:
            constants = [graph.constant(f"{name}.weight", convolution.weights), graph.constant(f"{name}.bias", convolution.bias)]
            value = graph.add(
                "Conv",
                [inputs[0], *constants],
                f"{name}.conv",
                group=conv.groups,
                kernel_shape=[conv.size] * 2,
                pads=[conv.margin] * 4,
                strides=[conv.stride] * 2,
            )
            return _activate(graph, value, conv.activation, name)
        case MaxPool() as pool:
            pads = [pool.before] * 2 + [pool.after] * 2
            return graph.add("MaxPool", inputs, name, kernel_shape=[pool.size] * 2, pads=pads, strides=[pool.stride] * 2)
        case AveragePool():
            return graph.add("GlobalAveragePool", inputs, name)
        case Upsample(stride=stride):
            scales = graph.constant(f"{name}.scales", np.array([1, 1, stride, stride], np.float32))
            return graph.add(
                "Resize",
                [inputs[0], "", scales],
                name,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        case Route() as route:
            return _add_route(graph, layer, route, inputs, shapes)
        case Shortcut(activation=activation):
            for number, other in enumerate(inputs[1:]):
                inputs[0] = graph.add("Add", [inputs[0], other], f"{name}.sum_{number}")
            return _activate(graph, inputs[0], activation, name)
        case ScaleChannels(activation=activation):
            return _activate(graph, graph.add("Mul", [inputs[1], inputs[0]], f"{name}.product"), activation, name)
    raise AssertionError(f"no rule for {layer.place}")


def _activate(graph: _Graph, value: str, kind: Activation, name: str) -> str:
    match kind:
        case "linear":
            return value
        case "relu":
            return graph.add("Relu", [value], name)
        case "leaky":
            return graph.add("LeakyRelu", [value], name, alpha=LEAK)
        case "relu6":
            low, high = graph.constant("zero", np.float32(0)), graph.constant("six", np.float32(6))
            return graph.add("Clip", [value, low, high], name)
        case "logistic":
            return graph.add("Sigmoid", [value], name)
        case "swish":
            return graph.add("Mul", [value, graph.add("Sigmoid", [value], f"{name}.gate")], name)
        case "mish":
            gate = graph.add("Tanh", [graph.add("Softplus", [value], f"{name}.softplus")], f"{name}.gate")
            return graph.add("Mul", [value, gate], name)
    raise AssertionError(f"no rule for {kind}")


def _add_route(graph: _Graph, layer: Layer, route: Route, inputs: list[str], shapes: Shapes) -> str:
    name = f"layer_{layer.number}"
    if route.groups > 1:
        for position, number in enumerate(layer.inputs):
            length = shapes.of(number).channels // route.groups
            bounds = {"start": length * route.group_id, "end": length * (route.group_id + 1), "axis": 1}
            constants = [graph.constant(f"{name}.{key}_{position}", np.array([value], np.int64)) for key, value in bounds.items()]
            inputs[position] = graph.add("Slice", [inputs[position], *constants], f"{name}.part_{position}")
    return graph.add("Concat", inputs, name, axis=1) if len(inputs) > 1 else inputs[0]


def _add_head(graph: _Graph, layer: Layer, value: str, shapes: Shapes) -> tuple[str, str]:
    """Append a head; returns the names of its boxes (n, R, 4) and scores (n, R, classes)."""
    head, name = layer.options, f"layer_{layer.number}"
    rows = _add_rows(graph, name, value, head, shapes.of(layer.number))
    xy, wh, objectness, classes = graph.split(rows, [2, 2, 1, head.classes])
    if not head.new_coords:  # else the convolution before has done it
        xy = graph.add("Sigmoid", [xy], f"{name}.xy")
        objectness = graph.add("Sigmoid", [objectness], f"{name}.objectness")
        classes = graph.add("Sigmoid", [classes], f"{name}.classes")
    boxes = _add_boxes(graph, layer, xy, wh, shapes=shapes)
    return boxes, graph.add("Mul", [objectness, classes], f"{name}.scores")


def _add_boxes(graph: _Graph, layer: Layer, xy: str, wh: str, *, shapes: Shapes) -> str:
    """Centres around the cell's corner; sizes as exp(wh) anchors, or (2 wh) ** 2 of them with new_coords."""
    head, shape, stride = layer.options, shapes.of(layer.number), shapes.stride(layer.number)
    name = f"layer_{layer.number}"
    if head.new_coords:
        wh = graph.add("Mul", [wh, wh], f"{name}.wh")
    else:
        wh = graph.add("Min", [wh, graph.constant("largest_exponent", np.float32(LARGEST_EXPONENT))], f"{name}.bounded")
        wh = graph.add("Exp", [wh], f"{name}.wh")
    n_cells = shape.height * shape.width
    half_anchors = np.array(head.sizes, np.float32) * np.float32(2.0 if head.new_coords else 0.5)
    y, x = np.divmod(np.arange(n_cells), shape.width)
    cells = np.tile(np.stack([x, y], axis=1), (len(head.sizes), 1))  # (R, 2)
    corners = ((cells - (head.scale_x_y - 1) / 2) * stride).astype(np.float32)
    reach = graph.constant(f"{name}.reach", np.float32(head.scale_x_y * stride))
    offset = graph.add("Mul", [xy, reach], f"{name}.offset")
    centre = graph.add("Add", [offset, graph.constant(f"{name}.corners", corners)], f"{name}.centre")
    sizes = graph.constant(f"{name}.half_anchors", np.repeat(half_anchors, n_cells, axis=0))
    half = graph.add("Mul", [wh, sizes], f"{name}.half")
    low = graph.add("Sub", [centre, half], f"{name}.low")
    high = graph.add("Add", [centre, half], f"{name}.high")
    return graph.add("Concat", [low, high], f"{name}.boxes", axis=2)


def _add_rows(graph: _Graph, name: str, value: str, head: Yolo, shape: Shape) -> str:
    """(n, anchors * answers, H, W) becomes (n, R, answers)."""
    n_anchors, n_cells = len(head.sizes), shape.height * shape.width
    answers = shape.channels // n_anchors
    apart = graph.constant(f"{name}.apart", np.array([0, n_anchors, answers, n_cells], np.int64))
    flat = graph.constant(f"{name}.flat", np.array([0, n_anchors * n_cells, answers], np.int64))
    value = graph.add("Reshape", [value, apart], f"{name}.anchors")
    value = graph.add("Transpose", [value], f"{name}.last", perm=[0, 1, 3, 2])
    return graph.add("Reshape", [value, flat], f"{name}.rows")
