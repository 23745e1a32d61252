"""A network in FP16 beside an engine's own, for TensorRT: `python -m tools.halve engines/mine`.

TensorRT computes in the types that the file says, so the file says them: from the first convolution on every number has 16 bits,
weights too. In float stay what scales the picture, the heads, all that is computed from their answers, and so inputs and outputs;
Cast stands where the types meet.

What that costs only a GPU shows: ONNX Runtime takes the same file on a CPU, but computes in float, with the rounded weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edged.errors import EXIT_CONFIG, EdgedError, InputError
from edged.models.manifest import Manifest, OnnxFile, digest_file, load_manifest
from tools.conversion import choose_float, from_convolutions_on, name_nodes, read_float, tidy
from tools.engines import FP16_NAME, ONNX_NAME, write_manifest, write_whole
from tools.onnx_shapes import node_constants

LARGEST = float(np.finfo(np.float16).max)
_HALF = "tensor(float16)"


def main(argv: list[str] | None = None) -> int:
    """Write model.fp16.onnx beside an engine's network, and name it in model.yaml."""
    parser = argparse.ArgumentParser(prog="python -m tools.halve", description=main.__doc__)
    parser.add_argument("engine", type=Path, help="directory with model.yaml and model.onnx")
    parser.add_argument(
        "--keep-float", nargs="+", default=[], metavar="PREFIX", help="layers whose names begin so stay in float, too"
    )
    arguments = parser.parse_args(argv)
    try:
        manifest = halve(arguments.engine, keep_float=arguments.keep_float)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    float_mb, half_mb = ((arguments.engine / manifest.network(form).file).stat().st_size / 1e6 for form in ("fp32", "fp16"))
    print(f"{arguments.engine / FP16_NAME}: {half_mb:.2f} MB, in float {float_mb:.2f}")
    return 0


def halve(engine: Path, *, keep_float: Sequence[str] = ()) -> Manifest:
    """Write an engine's FP16 network and name it in the manifest, which is returned.

    Args:
        engine: directory with model.yaml and model.onnx; a former FP16 network is replaced.
        keep_float: see `make_fp16`.

    Raises:
        ModelError, InputError: the engine cannot be used, or its network cannot be halved.
    """
    manifest = load_manifest(engine)
    path = engine / manifest.onnx.file
    network = make_fp16(read_float(path), keep_float=keep_float, path=path)
    write_whole(engine / FP16_NAME, network.SerializeToString(deterministic=True))
    fp16 = OnnxFile(file=FP16_NAME, sha256=digest_file(engine / FP16_NAME), opset=manifest.onnx.opset)
    return write_manifest(engine, manifest.model_copy(update={"fp16": fp16}))


def make_fp16(network: onnx.ModelProto, *, keep_float: Sequence[str] = (), path: Path = Path(ONNX_NAME)) -> onnx.ModelProto:
    """A network in FP16 of one in float, with the same inputs and outputs; of standard operators only.

    Args:
        network: stays as it is.
        keep_float: beginnings of layers' names that stay in float, beside the heads.
        path: where it was read, for messages.

    Raises:
        InputError: it is of a kind that cannot be halved, a weight is too large, or a layer to keep is not there.
    """
    try:
        network = onnx.shape_inference.infer_shapes(network, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise InputError(f"{path}: the types of its tensors cannot be inferred: {error}") from error
    name_nodes(network)
    graph = network.graph
    for node in graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise InputError(f"{path}: {node.op_type} {node.name!r} holds a network of its own: export one without branches")
    outputs = {value.name for value in graph.output}
    kept = {*choose_float(network, keep_float, path), *(node.name for node in graph.node if outputs.intersection(node.output))}
    (opset,) = (opset.version for opset in network.opset_import if opset.domain in ("", "ai.onnx"))
    _Rewriting(graph, opset, path).halve(from_convolutions_on(graph) - kept)
    _drop_unread_constants(graph)
    onnx.checker.check_model(tidy(network), full_check=True)
    return network


class _Rewriting:
    """A graph whose nodes are rewritten one after the other, in the order of computing."""

    def __init__(self, graph: onnx.GraphProto, opset: int, path: Path) -> None:
        self._graph = graph
        self._opset = opset
        self._path = path
        values = (*graph.input, *graph.value_info, *graph.output)
        self._floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._constants |= {name: tensor for node in graph.node for name, tensor in node_constants(node)}
        self._floats |= {name for name, tensor in self._constants.items() if tensor.data_type == TensorProto.FLOAT}
        self._halves: set[str] = set()  # tensors that were float and are FP16 now
        self._copies: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []

    def halve(self, names: set[str]) -> None:
        """Compute these nodes in FP16 as far as their operators can, and all others as before."""
        for node in self._graph.node:
            schema = onnx.defs.get_schema(node.op_type, self._opset, node.domain)
            is_half = node.name in names and self._gives_what_it_reads(node, schema)
            for place, name in enumerate(node.input):
                takes_half = is_half and _HALF in _formal(schema.inputs, place).types
                if takes_half and name in self._floats and name not in self._halves:
                    node.input[place] = self._copy(name, "fp16", TensorProto.FLOAT16)
                elif name in self._halves and not takes_half:
                    node.input[place] = self._copy(name, "fp32", TensorProto.FLOAT)
            if is_half:
                self._halves.update(self._floats.intersection(node.output))
            self._nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _gives_what_it_reads(self, node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> bool:
        """Whether the type of its floats is that of an input, which may be FP16; a Cast from integers says its own."""
        types = {formal.type_str for formal in schema.inputs if _HALF in formal.types}
        return all(
            _formal(schema.outputs, place).type_str in types for place, name in enumerate(node.output) if name in self._floats
        )

    def _copy(self, name: str, suffix: str, kind: int) -> str:
        """The tensor in the other type: made on first use."""
        copy = f"{name}_{suffix}"
        if copy not in self._copies:
            self._copies.add(copy)
            if name in self._constants:
                self._graph.initializer.append(numpy_helper.from_array(self._round(name), copy))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [copy], name=f"{name}_to_{suffix}", to=kind))
        return copy

    def _round(self, name: str) -> NDArray[np.float16]:
        values = numpy_helper.to_array(self._constants[name])
        largest = np.abs(values[np.isfinite(values)]).max(initial=0)
        if largest > LARGEST:
            reach = f"{name!r} reaches {largest:g}, FP16 ends at {LARGEST:g}"
            raise InputError(f"{self._path}: {reach}: name its layer to --keep-float")
        return values.astype(np.float16)


def _formal(formals: Sequence[onnx.defs.OpSchema.FormalParameter], place: int) -> onnx.defs.OpSchema.FormalParameter:
    """What an operator says of one of its inputs or outputs; the last one may stand for many."""
    return formals[min(place, len(formals) - 1)]


def _drop_unread_constants(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    initializers = [tensor for tensor in graph.initializer if tensor.name in read]
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in read]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(initializers)
    graph.node.extend(nodes)


if __name__ == "__main__":
    raise SystemExit(main())
