"""Small networks from a table of layers, as ONNX and without torch: for teaching and for tests.

    model = build_network(TEXTBOOK, channels=3, width=32, height=32, rng=np.random.default_rng(1))
    onnx.save(model, "textbook.onnx")

and `python -m tools.summary textbook.onnx` shows what the table costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edged.errors import InputError

OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Convolution:
    """`filters` filters of kernel x kernel taps, a bias each."""

    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Pooling:
    """The largest of kernel x kernel values."""

    kernel: int
    stride: int


@dataclass(frozen=True, slots=True)
class Dense:
    """`units` values, each a weighted sum of all, with a bias."""

    units: int


@dataclass(frozen=True, slots=True)
class Activation:
    """An operator of ONNX that is applied to what is there, such as `Relu` or `Softmax`."""

    operator: str


Row = Convolution | Pooling | Dense | Activation

TEXTBOOK: tuple[Row, ...] = (
    Convolution(6, kernel=5),
    Activation("Relu"),
    Pooling(2, stride=2),
    Convolution(16, kernel=5),
    Activation("Relu"),
    Pooling(2, stride=2),
    Dense(120),
    Activation("Relu"),
    Dense(84),
    Activation("Relu"),
    Dense(10),
    Activation("Softmax"),
)
"""For colour pictures of 32x32. Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, in the form
of A. Ng's course Convolutional Neural Networks, "CNN example"."""


@dataclass(slots=True)
class _Builder:
    """The network so far; shape without the batch."""

    shape: tuple[int, ...]
    rng: np.random.Generator
    tensor: str = "images"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, name: str, *weights: NDArray[np.float32], **attributes: object) -> None:
        names = [f"{name}.{part}" for part in ("weight", "bias")[: len(weights)]]
        self.weights += [numpy_helper.from_array(values, label) for values, label in zip(weights, names, strict=True)]
        self.nodes.append(helper.make_node(operator, [self.tensor, *names], [f"{name}.out"], name=name, **attributes))
        self.tensor = f"{name}.out"

    def draw(self, *shape: int, inputs: int) -> NDArray[np.float32]:
        """Random weights that keep the size of what goes through. Source: He et al., Delving Deep into Rectifiers, 2015."""
        return self.rng.normal(0.0, np.sqrt(2.0 / inputs), shape).astype(np.float32)


def build_network(table: Sequence[Row], *, channels: int, width: int, height: int, rng: np.random.Generator) -> onnx.ModelProto:
    """The network of a table, with random weights: `images` (1, channels, height, width) float32 to `answer`.

    Raises:
        InputError: a row does not fit what the rows above it leave.
    """
    builder = _Builder((channels, height, width), rng)
    for name, row in zip(_names(table), table, strict=True):
        match row:
            case Convolution():
                _add_convolution(builder, name, row)
            case Pooling():
                after = _slide(builder.shape, name, kernel=row.kernel, stride=row.stride, padding=0)
                builder.add("MaxPool", name, kernel_shape=[row.kernel] * 2, strides=[row.stride] * 2)
                builder.shape = (builder.shape[0], *after)
            case Dense():
                _add_dense(builder, name, row)
            case Activation():
                builder.add(row.operator, name)
    builder.nodes[-1].output[0] = "answer"
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, channels, height, width])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, *builder.shape])
    graph = helper.make_graph(builder.nodes, "table", [images], [answer], builder.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _names(table: Sequence[Row]) -> Iterator[str]:
    """`conv1`, `pool1`, `conv2`, ...: each kind is numbered for itself."""
    seen: dict[str, int] = {}
    for row in table:
        match row:
            case Convolution():
                kind = "conv"
            case Pooling():
                kind = "pool"
            case Dense():
                kind = "dense"
            case Activation():
                kind = row.operator.lower()
        seen[kind] = seen.get(kind, 0) + 1
        yield f"{kind}{seen[kind]}"


def _add_convolution(builder: _Builder, name: str, row: Convolution) -> None:
    after = _slide(builder.shape, name, kernel=row.kernel, stride=row.stride, padding=row.padding)
    channels = builder.shape[0]
    if channels % row.groups or row.filters % row.groups:
        raise InputError(f"{name}: {row.groups} groups must divide both {channels} channels and {row.filters} filters")
    inputs = channels // row.groups
    kernel = builder.draw(row.filters, inputs, row.kernel, row.kernel, inputs=inputs * row.kernel**2)
    settings = {"strides": [row.stride] * 2, "pads": [row.padding] * 4, "group": row.groups}
    builder.add("Conv", name, kernel, np.zeros(row.filters, np.float32), kernel_shape=[row.kernel] * 2, **settings)
    builder.shape = (row.filters, *after)


def _add_dense(builder: _Builder, name: str, row: Dense) -> None:
    if len(builder.shape) > 1:
        builder.add("Flatten", f"{name}.flatten")
        builder.shape = (int(np.prod(builder.shape)),)
    (inputs,) = builder.shape
    weights = builder.draw(row.units, inputs, inputs=inputs)
    builder.add("Gemm", name, weights, np.zeros(row.units, np.float32), transB=1)
    builder.shape = (row.units,)


def _slide(shape: tuple[int, ...], name: str, *, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Height and width behind a window: floor((n + 2 p - f) / s) + 1."""
    if len(shape) != 3:
        raise InputError(f"{name}: needs a picture, but a dense layer above left {shape[0]} values: move it above")
    sides = [side + 2 * padding - kernel for side in shape[1:]]
    if min(sides) < 0:
        raise InputError(f"{name}: a kernel of {kernel} does not fit {shape[2]}x{shape[1]} padded by {padding}")
    return sides[0] // stride + 1, sides[1] // stride + 1
