"""An ONNX file as a graph of nodes whose tensors have shapes, for tools that reason about a network without running it.

Of weights only the shapes are looked at; where they lie in files of their own, those need not be there. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper

from edged.errors import InputError
from edged.models.manifest import load_manifest
from tools.onnx_shapes import Shape, close_axes, format_shape, given_inputs, infer_shapes, node_constants, shape_of

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
OF_SHAPES_ONLY = ("Shape", "Size")
"""Operators whose answer carries nothing of the values that they read."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: as in the file; the first output's where the file gives none.
        operator: e.g. `Conv`; with the domain in front where it is not ONNX's own, e.g. `com.microsoft.Gelu`.
        inputs: names of tensors; empty where an optional one is left out.
        captured: tensors that the graphs inside it (`If`, `Loop`) read from outside.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    captured: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Every tensor that it needs."""
        return (*(name for name in self.inputs if name), *self.captured)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A network with the shape of every tensor that has one.

    Attributes:
        path: where it was read, for messages.
        inputs: what the caller gives: name and shape, complete.
        nodes: in the order of execution.
        shapes: of each tensor whose number of axes is known.
        constants: the tensors that stand in the file.
        carriers: tensors that carry something of the input's values. All others can be computed once, before any input is
            there: constants, and what is computed from constants and shapes alone.
    """

    path: Path
    inputs: Mapping[str, Shape]
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    constants: Mapping[str, onnx.TensorProto]
    carriers: frozenset[str]

    def layers(self) -> list[Node]:
        """The nodes that work on the input's values."""
        return [node for node in self.nodes if self.carriers.intersection(node.outputs)]

    def data_of(self, node: Node) -> list[str]:
        """The tensors that a node reads and that carry something of the input's values."""
        return [name for name in node.reads if name in self.carriers]

    def producers(self) -> dict[str, Node]:
        """For each tensor the node that makes it."""
        return {name: node for node in self.nodes for name in node.outputs}

    def known_shape(self, tensor: str) -> tuple[int, ...]:
        """A shape without which nothing can be counted.

        Raises:
            InputError: it cannot be inferred: names the node where that begins.
        """
        shape = self.shapes.get(tensor)
        if shape is None or None in shape:
            raise InputError(self._explain(tensor))
        return shape

    def integers(self, tensor: str) -> tuple[int, ...] | None:
        """The values of a constant such as a list of axes; None where it is not one, or not in this file."""
        constant = self.constants.get(tensor)
        if constant is None or constant.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return tuple(int(value) for value in np.ravel(numpy_helper.to_array(constant)))

    def _explain(self, tensor: str) -> str:
        tensor, node = self._where_unknown(tensor)
        found = format_shape(self.shapes.get(tensor))
        if node is None:
            return f"{self.path}: the shape of {tensor!r} is not known (found {found}): the file must say it"
        return (
            f"{self.path}: the shape of what {node.operator} {node.name!r} gives cannot be inferred (found {found}), and nodes "
            "behind it cannot be counted without: pass a file that says it, as written by "
            "python -m onnxruntime.tools.symbolic_shape_infer --auto_merge --input IN --output OUT"
        )

    def _where_unknown(self, tensor: str) -> tuple[str, Node | None]:
        """The first tensor on the way to this one whose shape is unknown, and the node that makes it from known ones."""
        producers = self.producers()
        while (node := producers.get(tensor)) is not None:
            unknown = [name for name in node.reads if None in self.shapes.get(name, (None,))]
            if not unknown:
                break
            tensor = unknown[0]
        return tensor, node


def find_network(path: Path) -> Path:
    """The ONNX file that a path means: itself, or the one that an engine's manifest names.

    Raises:
        ModelError: the directory's manifest cannot be used.
    """
    return path / load_manifest(path).onnx.file if path.is_dir() else path


def load_graph(path: Path, *, batch: int | None = None, width: int | None = None, height: int | None = None) -> Graph:
    """Read a network and infer its shapes.

    Args:
        path: the `.onnx` file.
        batch: length of the first axis of every input that leaves it open; 1 if absent.
        width: length of an input's width where it is open, pixels.
        height: the same for the height.

    Raises:
        InputError: the file cannot be read, an axis is open and no length given, or shapes contradict each other.
    """
    model = _read(path)
    close_axes(model, path, batch=batch, width=width, height=height)
    return _make_graph(infer_shapes(model, path).graph, path)


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # protobuf raises errors of its own for a file of another kind
        raise InputError(f"{path}: cannot be read as ONNX: {error}") from error
    if not model.graph.node:
        raise InputError(f"{path}: holds no network: expected an ONNX file with at least one node")
    return inliner.inline_local_functions(model) if model.functions else model


def _make_graph(graph: onnx.GraphProto, path: Path) -> Graph:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {name: tensor for node in graph.node for name, tensor in node_constants(node)}
    shapes: dict[str, Shape] = {name: tuple(tensor.dims) for name, tensor in constants.items()}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = shape_of(value)
        if shape is not None and value.name not in constants:
            shapes[value.name] = shape
    given = [value.name for value in given_inputs(graph)]
    nodes = tuple(_make_node(node) for node in graph.node)
    _check_order(nodes, {*given, *constants}, path)
    carriers = _find_carriers(given, nodes)
    return Graph(path, {name: shapes[name] for name in given if name in shapes}, nodes, shapes, constants, carriers)


def _make_node(node: onnx.NodeProto) -> Node:
    is_own = node.domain in ("", "ai.onnx")
    return Node(
        name=node.name or next((name for name in node.output if name), ""),
        operator=node.op_type if is_own else f"{node.domain}.{node.op_type}",
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
        captured=tuple(sorted({name for attribute in node.attribute for name in _captured(attribute)})),
    )


def _captured(attribute: onnx.AttributeProto) -> Iterator[str]:
    """What the graph inside an attribute, if there is one, reads and does not make itself."""
    for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
        own = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
        own |= {name for node in graph.node for name in node.output}
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        inner = {name for node in graph.node for deeper in node.attribute for name in _captured(deeper)}
        yield from (read | inner) - own - {""}


def _check_order(nodes: Sequence[Node], known: set[str], path: Path) -> None:
    for node in nodes:
        missing = [name for name in node.reads if name not in known]
        if missing:
            raise InputError(f"{path}: {node.operator} {node.name!r} reads {missing[0]!r}, which nothing before it makes")
        known.update(node.outputs)


def _find_carriers(inputs: Sequence[str], nodes: Sequence[Node]) -> frozenset[str]:
    carriers = set(inputs)
    for node in nodes:
        if node.operator not in OF_SHAPES_ONLY and carriers.intersection(node.reads):
            carriers.update(name for name in node.outputs if name)
    return frozenset(carriers)
