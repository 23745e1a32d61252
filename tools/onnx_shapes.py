"""Shapes of the tensors of an ONNX file: open axes closed, the rest inferred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from edged.errors import InputError

Shape = tuple[int | None, ...]
"""The length of each axis; None where it follows from the pixels, as the number of boxes after a suppression does."""

PICTURE_CHANNELS = (1, 3, 4)
LARGEST_SHAPE = 64
"""How many numbers a tensor that describes a shape has at most; weights are never computed with."""
_ARITHMETIC_NAMES = (
    "Add Cast Ceil Concat ConstantOfShape Div Equal Floor Gather Identity Max Min Mod Mul Neg Reshape Slice Squeeze Sub "
    "Unsqueeze Where"
)


def infer_shapes(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model with the shape of every tensor that has one, once its inputs have no open axis.

    Exporters compute the shape for a Reshape by small nodes. The inference of onnx follows some of them; what it leaves is
    computed here and put in as a constant, until nothing more is found.

    Raises:
        InputError: shapes contradict each other, or the file is broken.
    """
    while True:
        model = _infer_once(model, path)
        if not _compute_constants(model):
            return model


def _infer_once(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Infer with values followed; without, where onnx takes arithmetic with indices (a Range) for one with shapes and fails."""
    for follows_values in (True, False):
        try:
            return shape_inference.infer_shapes(model, strict_mode=True, data_prop=follows_values)
        except Exception as error:  # a border to foreign code, which raises errors of several families
            cause = error
    raise InputError(f"{path}: its shapes cannot be inferred: {' '.join(str(cause).split())}") from cause


def _compute_constants(model: onnx.ModelProto) -> bool:
    """Replace nodes that only compute with shapes, as far as those are known; whether there was one."""
    graph = model.graph
    shapes = {value.name: shape_of(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    values = _small_constants(graph)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    is_any = False
    for index, node in enumerate(graph.node):
        value = _compute(node, shapes, values, opsets)
        if value is not None:
            values[node.output[0]] = value
            tensor = numpy_helper.from_array(value)
            graph.node[index].CopyFrom(helper.make_node("Constant", [], list(node.output), name=node.name, value=tensor))
            is_any = True
    return is_any


def _small_constants(graph: onnx.GraphProto) -> dict[str, NDArray]:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tensors |= {name: tensor for node in graph.node for name, tensor in node_constants(node)}
    return {
        name: numpy_helper.to_array(tensor)
        for name, tensor in tensors.items()
        if prod(tensor.dims) <= LARGEST_SHAPE and tensor.data_location != onnx.TensorProto.EXTERNAL
    }


def _compute(
    node: onnx.NodeProto, shapes: dict[str, Shape | None], values: dict[str, NDArray], opsets: dict[str, int]
) -> NDArray | None:
    """The value of a node that needs nothing but known shapes and small constants; None for any other."""
    if node.op_type == "Shape":
        shape = shapes.get(node.input[0])
        limits = {attribute.name: attribute.i for attribute in node.attribute}
        known = None if shape is None else shape[limits.get("start", 0) : limits.get("end", len(shape))]
        return None if known is None or None in known else np.array(known, np.int64)
    inputs = [name for name in node.input if name]
    if node.op_type not in _ARITHMETIC_NAMES.split() or not inputs or any(name not in values for name in inputs):
        return None
    if node.op_type == "ConstantOfShape" and prod(values[inputs[0]]) > LARGEST_SHAPE:
        return None
    try:
        (value,) = ReferenceEvaluator(node, opsets=opsets).run(None, {name: values[name] for name in inputs})
    except Exception:  # a border to foreign code; the shape stays unknown and is named if it is needed
        return None
    return np.asarray(value) if np.ndim(value) <= 1 and np.size(value) <= LARGEST_SHAPE else None


def close_axes(model: onnx.ModelProto, path: Path, *, batch: int | None, width: int | None, height: int | None) -> None:
    """Write lengths into the open axes of the inputs.

    Raises:
        InputError: for every axis that stays open, and for lengths that no input takes.
    """
    open_axes, takes = [], {"batch": batch is None, "size": width is None}
    for value in given_inputs(model.graph):
        lengths = _lengths(value)
        wanted = _wanted_lengths(lengths, batch=batch, width=width, height=height)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if lengths[axis] is None and wanted.get(axis):
                dim.dim_value = wanted[axis]
            elif lengths[axis] is None:
                open_axes.append(_describe_open(value.name, axis, dim.dim_param, is_picture=axis in wanted))
        closed = _lengths(value)
        takes["batch"] |= closed[:1] == [batch]
        takes["size"] |= len(closed) == 4 and [closed[axis] for axis in spatial_axes(lengths)] == [height, width]
    if open_axes:
        raise InputError("\n".join(f"{path}: {line}" for line in open_axes))
    for name in (name for name, is_taken in takes.items() if not is_taken):
        given = ", ".join(f"{value.name} {format_shape(shape_of(value))}" for value in given_inputs(model.graph))
        raise InputError(f"{path}: no input takes the --{name} given: its inputs are fixed as {given}; leave --{name} out")


def _wanted_lengths(
    lengths: Sequence[int | None], *, batch: int | None, width: int | None, height: int | None
) -> dict[int, int | None]:
    """The length for each axis that has a meaning: the number of pictures first, height and width of a picture."""
    wanted: dict[int, int | None] = {0: batch or 1}
    if len(lengths) == 4:
        wanted.update(zip(spatial_axes(lengths), (height, width), strict=True))
    return wanted


def _describe_open(name: str, axis: int, label: str, *, is_picture: bool) -> str:
    head = f"input {name} leaves axis {axis}{f' ({label})' if label else ''} open: "
    if is_picture:
        return head + "pass --size WxH, for example --size 320x320"
    fix = f"--dim_param {label} --dim_value LENGTH" if label else f"--input_name {name} --input_shape LENGTHS"
    return head + f"fix it by python -m onnxruntime.tools.make_dynamic_shape_fixed {fix} IN OUT"


def given_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What the caller gives: older files list their weights among the inputs, too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def spatial_axes(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Which axes of an input are places in a picture: all behind the channels, or those before, if the last has 1, 3 or 4."""
    if len(shape) == 4 and shape[3] in PICTURE_CHANNELS and shape[1] not in PICTURE_CHANNELS:
        return (1, 2)
    return tuple(range(2, len(shape)))


def format_shape(shape: Shape | None) -> str:
    """`1x3x224x224`; `?` for what is not known, `1` for a single number."""
    return "?" if shape is None else "x".join("?" if length is None else str(length) for length in shape) or "1"


def node_constants(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Name and value of a Constant node, whichever of its attributes holds it; none for other nodes, texts, sparse tensors."""
    if node.op_type != "Constant":
        return
    value = helper.get_attribute_value(node.attribute[0])
    if isinstance(value, onnx.TensorProto):
        yield node.output[0], value
    elif node.attribute[0].name in ("value_int", "value_ints", "value_float", "value_floats"):
        kind = np.int64 if "int" in node.attribute[0].name else np.float32
        yield node.output[0], numpy_helper.from_array(np.array(value, kind))


def shape_of(value: onnx.ValueInfoProto) -> Shape | None:
    """None where not even the number of axes is known, or where it is no tensor."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(_lengths(value))


def _lengths(value: onnx.ValueInfoProto) -> list[int | None]:
    """None for an open axis: without a length, or with the 0 or -1 that some exporters write."""
    return [dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim]
