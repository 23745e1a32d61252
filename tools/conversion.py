"""What tools that write a network in fewer bits share: weights in half the size, what stays in float, the form of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edged.backends.onnx_file import read_onnx
from edged.errors import InputError
from tools.engines import IR_VERSION
from tools.onnx_graph import OF_SHAPES_ONLY

CONVOLUTIONS = ("Conv", "ConvTranspose")
FEWEST_STORED = 1024
"""Numbers of a weight that is worth storing in half its size."""


def read_float(path: Path) -> onnx.ModelProto:
    """An engine's network in float, its weights in float, too, however they are stored.

    Raises:
        ModelError: the file is no network.
    """
    return unpack_weights(onnx.load_from_string(read_onnx(path)))


def pack_weights(network: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights in FP16, each under its own name, and let a Cast bring them back: half the size, computed in float.

    Args:
        network: in float; is changed, and returned.

    Raises:
        InputError: a weight is too large for FP16.
    """
    graph = network.graph
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < FEWEST_STORED:
            continue
        with np.errstate(over="ignore"):
            stored = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(stored).all():
            raise InputError(f"{tensor.name!r} reaches beyond FP16's {np.finfo(np.float16).max:g}: store the weights in float")
        name, tensor_in_float = tensor.name, f"{tensor.name}_float"
        tensor.CopyFrom(numpy_helper.from_array(stored, name))
        _read_instead(graph, name, tensor_in_float)
        graph.node.insert(0, helper.make_node("Cast", [name], [tensor_in_float], f"{name}_to_float", to=TensorProto.FLOAT))
    return network


def unpack_weights(network: onnx.ModelProto) -> onnx.ModelProto:
    """What `pack_weights` made, with its weights in float again; any other network stays as it is. Is changed, and returned."""
    graph = network.graph
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]:
        name = node.input[0]
        stored[name].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored[name]).astype(np.float32), name))
        graph.node.remove(node)
        _read_instead(graph, node.output[0], name)
    return network


def _read_instead(graph: onnx.GraphProto, name: str, other: str) -> None:
    """Let every node that reads a tensor read another one."""
    for node in graph.node:
        for place, read in enumerate(node.input):
            if read == name:
                node.input[place] = other


def name_nodes(network: onnx.ModelProto) -> None:
    """Give every node without a name its operator and first output for one."""
    for node in network.graph.node:
        node.name = node.name or f"{node.op_type}:{node.output[0]}"


def from_convolutions_on(graph: onnx.GraphProto) -> set[str]:
    """Names of the convolutions and of all nodes that read anything of their answers.

    What follows from sizes alone is not reached: a grid of coordinates would lose its last digits.
    """
    reached: set[str] = set()
    names = set()
    for node in graph.node:
        if node.op_type in CONVOLUTIONS or reached.intersection(node.input):
            names.add(node.name)
            if node.op_type not in OF_SHAPES_ONLY:
                reached.update(node.output)
    return names


def choose_float(network: onnx.ModelProto, prefixes: Sequence[str], path: Path) -> list[str]:
    """The names of the nodes that stay in float: those that were named, the heads, and all that is computed from their answers.

    Coordinates in 255 steps, or in halves of a pixel as FP16 has them from 512 on, would be no boxes.

    Args:
        network: every node has a name.
        prefixes: beginnings of names.
        path: where it was read, for messages.

    Raises:
        InputError: it is no network in float, a prefix fits no layer, or nothing would be left to convert.
    """
    nodes = network.graph.node
    names = [node.name for node in nodes if node.op_type in CONVOLUTIONS]
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in network.graph.initializer)
    if halves or any(node.op_type == "QuantizeLinear" for node in nodes):
        raise InputError(f"{path}: holds layers in FP16 or INT8 already: start from the network in float")
    missing = [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in names)]
    if missing:
        raise InputError(f"{path}: --keep-float {missing[0]}: no layer's name begins so; they are such as {', '.join(names[:3])}")
    kept = [node.name for node in nodes if prefixes and node.name.startswith(tuple(prefixes))]
    kept += _heads_and_behind(network.graph)
    if set(names) <= set(kept):
        raise InputError(f"{path}: nothing to convert: of its {len(names)} convolutions all stay in float")
    return kept


def _heads_and_behind(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions behind which there is no other, and of the nodes that read what they answer."""
    leads_on: set[str] = set()  # tensors that some convolution depends on
    heads = set()
    for node in reversed(graph.node):  # against the order of computing
        if leads_on.intersection(node.output):
            leads_on.update(node.input)
        elif node.op_type in CONVOLUTIONS:
            heads.add(node.name)
            leads_on.update(node.input)
    answers: set[str] = set()
    names = []
    for node in graph.node:
        if node.name in heads or answers.intersection(node.input):
            answers.update(node.output)
            names.append(node.name)
    return names


def tidy(network: onnx.ModelProto) -> onnx.ModelProto:
    """In the form that we write: converters import more domains than they use, and note what can be inferred."""
    standard = [opset for opset in network.opset_import if opset.domain in ("", "ai.onnx")]
    del network.opset_import[:]
    network.opset_import.extend(standard)
    del network.metadata_props[:]
    del network.graph.value_info[:]
    network.ir_version = IR_VERSION
    return network
