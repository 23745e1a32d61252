"""Tiny networks for tests: real ONNX files with an engine's manifest beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edged.models.manifest import Manifest, digest_file, dump_manifest

IR_VERSION = 8
"""What ONNX Runtime 1.18 still reads, whatever the installed onnx would write."""


def save_model(path: Path, graph: onnx.GraphProto, *, domains: tuple[str, ...] = ("",)) -> Path:
    """Write a graph as a model of opset 17 that imports these operator domains."""
    imports = [helper.make_opsetid(domain, 17 if domain == "" else 1) for domain in domains]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    path.write_bytes(model.SerializeToString())  # as it is: onnx.save would move external data
    return path


def make_add_graph(*, op_type: str = "Add", domain: str = "") -> onnx.GraphProto:
    """`y = x + 1` over (N, 2) float32, or another operator on the same two inputs."""
    return helper.make_graph(
        [helper.make_node(op_type, ["x", "one"], ["y"], domain=domain)],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.ones((1, 2), np.float32), "one")],
    )


def make_manifest(**changes: object) -> Manifest:
    """A manifest of two classes at 64x32 with one stride and one anchor: 2 candidates."""
    fields = {
        "name": "tiny",
        "task": "detector",
        "revision": "test-1",
        "licence": "Apache-2.0",
        "onnx": {"file": "model.onnx", "sha256": "0" * 64, "opset": 17},
        "input": {"name": "images", "width": 64, "height": 32, "colour": "rgb", "layout": "nchw", "dtype": "uint8"},
        "outputs": {"boxes": "boxes", "scores": "scores"},
        "classes": ["person", "car"],
        "strides": [32],
        "anchors": [[[16.0, 24.0]]],
        "thresholds": {"score": 0.4, "nms_iou": 0.5},
        "data": [],
        "measured": "not measured",
    }
    return Manifest.model_validate({**fields, **changes})


def save_engine(
    directory: Path, manifest: Manifest, *, boxes: np.ndarray, scores: np.ndarray, batch: str | int = "n"
) -> Manifest:
    """Write an engine that answers the same boxes (R, 4) for every picture, with scores (R, C) times its mean brightness.

    Returns:
        The manifest as written, its digest that of the network.
    """
    wanted = manifest.input
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(wanted.dtype))
    full = 255.0 if wanted.dtype == "uint8" else 1.0
    nodes = [
        helper.make_node("Cast", [wanted.name], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["mean", "last"], ["column"]),
        helper.make_node("Div", ["column", "full"], ["brightness"]),
        helper.make_node("Mul", ["brightness", "shipped_scores"], [manifest.outputs.scores]),
        helper.make_node("Mul", ["brightness", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "shipped_boxes"], [manifest.outputs.boxes]),
    ]
    weights = {
        "last": np.array([3], np.int64),
        "full": np.array(full, np.float32),
        "nothing": np.array(0, np.float32),
        "shipped_scores": np.asarray(scores, np.float32)[None],
        "shipped_boxes": np.asarray(boxes, np.float32)[None],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(wanted.name, kind, [batch, 3, wanted.height, wanted.width])],
        [
            helper.make_tensor_value_info(manifest.outputs.boxes, TensorProto.FLOAT, [batch, *np.shape(boxes)]),
            helper.make_tensor_value_info(manifest.outputs.scores, TensorProto.FLOAT, [batch, *np.shape(scores)]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    directory.mkdir(parents=True, exist_ok=True)
    path = save_model(directory / manifest.onnx.file, graph)
    written = manifest.model_copy(update={"onnx": manifest.onnx.model_copy(update={"sha256": digest_file(path)})})
    (directory / "model.yaml").write_text(dump_manifest(written), encoding="utf-8")
    return written
