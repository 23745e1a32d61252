"""Tiny networks for tests: real ONNX files with an engine's manifest beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edged.models.manifest import (
    DetectorManifest,
    EncoderManifest,
    LivenessManifest,
    ManifestT,
    SegmenterManifest,
    digest_file,
    dump_manifest,
)

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


def make_manifest(**changes: object) -> DetectorManifest:
    """A manifest of two classes at 64x32 with one stride and one anchor: 2 candidates."""
    fields = {
        "outputs": {"boxes": "boxes", "scores": "scores"},
        "classes": ["person", "car"],
        "strides": [32],
        "anchors": [[[16.0, 24.0]]],
        "thresholds": {"score": 0.4, "nms_iou": 0.5},
    }
    return DetectorManifest.model_validate({**_common_fields("tiny", "detector", width=64, height=32), **fields, **changes})


def make_encoder_manifest(**changes: object) -> EncoderManifest:
    """A manifest of an encoder at 112x112 that answers 4 numbers."""
    fields = {
        "outputs": {"embedding": "embedding"},
        "dimension": 4,
        "template": "mean112",
        "thresholds": {"match": 0.5, "false_match_rate": 0.001, "margin": 0.05},
    }
    return EncoderManifest.model_validate({**_common_fields("who", "face_encoder", width=112, height=112), **fields, **changes})


def make_liveness_manifest(**changes: object) -> LivenessManifest:
    """A manifest of a network at 32x32 that is shown twice the face."""
    fields = {
        "outputs": {"scores": "scores"},
        "classes": ["live", "spoof"],
        "margin": 2.0,
        "thresholds": {"live": 0.5},
    }
    return LivenessManifest.model_validate({**_common_fields("alive", "liveness", width=32, height=32), **fields, **changes})


def make_segmenter_manifest(**changes: object) -> SegmenterManifest:
    """A manifest of a network at 64x32 that tells three classes apart and says how sure it is."""
    fields = {"outputs": {"labels": "labels", "confidence": "confidence"}, "classes": ["road", "car", "person"]}
    return SegmenterManifest.model_validate({**_common_fields("scene", "segmenter", width=64, height=32), **fields, **changes})


def _common_fields(name: str, task: str, *, width: int, height: int) -> dict[str, object]:
    return {
        "name": name,
        "task": task,
        "revision": "test-1",
        "licence": "Apache-2.0",
        "onnx": {"file": "model.onnx", "sha256": "0" * 64, "opset": 17},
        "input": {"name": "images", "width": width, "height": height, "colour": "rgb", "layout": "nchw", "dtype": "uint8"},
        "data": [],
        "measured": "not measured",
    }


def save_engine(
    directory: Path,
    manifest: DetectorManifest,
    *,
    boxes: np.ndarray,
    scores: np.ndarray,
    points: np.ndarray | None = None,
    batch: str | int = "n",
) -> DetectorManifest:
    """Write an engine that answers the same boxes (R, 4) for every picture, with scores (R, C) times its mean brightness.

    Args:
        points: (R, K, 2) that it answers likewise, if its manifest has points.

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
    answers = {manifest.outputs.boxes: boxes, manifest.outputs.scores: scores}
    if points is not None:
        weights |= {"shipped_points": np.asarray(points, np.float32)[None], "fourth": np.array([3], np.int64)}
        nodes.append(helper.make_node("Unsqueeze", ["zero", "fourth"], ["zero_of_points"]))
        nodes.append(helper.make_node("Add", ["zero_of_points", "shipped_points"], [manifest.outputs.points]))
        answers[manifest.outputs.points] = points
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(wanted.name, kind, [batch, 3, wanted.height, wanted.width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *np.shape(values)]) for name, values in answers.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return _save(directory, manifest, graph)


def save_colour_engine(directory: Path, manifest: DetectorManifest) -> DetectorManifest:
    """Write an engine of four convolutions that tells red things from green ones: `stem`, `inner`, `pool` and the `head`.

    Its two places, at (0, 0) and (32, 0), always answer the same two boxes; scores are for red and for green.

    Returns:
        The manifest as written, its digest that of the network.
    """
    weights = {
        "scale": np.array(1 / 255, np.float32),
        "stem_weight": np.array([[1, -1, 0], [-1, 1, 0], [0.02, 0.01, 0.03]], np.float32)[..., None, None],
        "stem_bias": np.array([0, 0, 0.1], np.float32),
        "inner_weight": np.array([[0.5, 0, 0.1], [0, 0.03, 0], [0, 0, 1]], np.float32)[..., None, None],
        "pool_weight": np.full((3, 1, 32, 32), 1 / 1024, np.float32),
        "head_weight": np.array([[40, 0, 0], [0, 60, 0]], np.float32)[..., None, None],
        "head_bias": np.array([-3, -3], np.float32),
        "rows": np.array([0, 2, -1], np.int64),
        "nothing": np.array(0, np.float32),
        "shipped_boxes": np.array([[[17, 9, 29, 23], [29, 9, 41, 23]]], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["picture"]),
        helper.make_node("Conv", ["picture", "stem_weight", "stem_bias"], ["stem_conv"], "stem"),
        helper.make_node("Relu", ["stem_conv"], ["stem"]),
        helper.make_node("Conv", ["stem", "inner_weight"], ["inner"], "inner"),
        helper.make_node("Add", ["stem", "inner"], ["sum"]),
        helper.make_node("Conv", ["sum", "pool_weight"], ["pool"], "pool", strides=[32, 32], group=3),
        helper.make_node("Conv", ["pool", "head_weight", "head_bias"], ["head"], "head"),
        helper.make_node("Reshape", ["head", "rows"], ["by_class"]),
        helper.make_node("Transpose", ["by_class"], ["by_place"], perm=[0, 2, 1]),
        helper.make_node("Sigmoid", ["by_place"], ["scores"]),
        helper.make_node("ReduceMean", ["by_place"], ["mean"], axes=[1, 2], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "shipped_boxes"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 3, 32, 64])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 2, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2, 2]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return _save(directory, manifest, graph)


def save_mean_colour_engine(
    directory: Path, manifest: EncoderManifest | LivenessManifest, *, weights: np.ndarray, bias: np.ndarray | None = None
) -> EncoderManifest | LivenessManifest:
    """Write an engine that answers for each picture its mean colour (3,), each from 0 to 1, times weights (3, D), plus bias (D,).

    It has two convolutions, `stem` and `head`. A liveness network answers the softmax of that.

    Returns:
        The manifest as written, its digest that of the network.
    """
    weights = np.asarray(weights, np.float32)
    n_answers, wanted = weights.shape[1], manifest.input
    is_encoder = isinstance(manifest, EncoderManifest)
    output = manifest.outputs.embedding if is_encoder else manifest.outputs.scores
    nodes = [
        helper.make_node("Cast", [wanted.name], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["picture"]),
        helper.make_node("Conv", ["picture", "stem_weight"], ["stem_conv"], "stem"),
        helper.make_node("Relu", ["stem_conv"], ["stem"]),
        helper.make_node("GlobalAveragePool", ["stem"], ["pool"]),
        helper.make_node("Conv", ["pool", "head_weight", "head_bias"], ["head"], "head"),
        helper.make_node("Flatten", ["head"], [output if is_encoder else "flat"]),
    ]
    if not is_encoder:
        nodes.append(helper.make_node("Softmax", ["flat"], [output], axis=1))
    constants = {
        "scale": np.array(1 / 255, np.float32),
        "stem_weight": np.eye(3, dtype=np.float32)[..., None, None],
        "head_weight": np.ascontiguousarray(weights.T)[..., None, None],
        "head_bias": np.zeros(n_answers, np.float32) if bias is None else np.asarray(bias, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "mean_colour",
        [helper.make_tensor_value_info(wanted.name, TensorProto.UINT8, ["n", 3, wanted.height, wanted.width])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", n_answers])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return _save(directory, manifest, graph)


def save_pixel_colour_engine(directory: Path, manifest: SegmenterManifest, *, weights: np.ndarray) -> SegmenterManifest:
    """Write an engine that answers of each pixel the class whose colour, a column of weights (3, C), it has most of.

    It has a convolution of single pixels, `stem`, and ends as an exported U-Net does, with a transposed one, `head`.

    Returns:
        The manifest as written, its digest that of the network.
    """
    weights, wanted, outputs = np.asarray(weights, np.float32), manifest.input, manifest.outputs
    nodes = [
        helper.make_node("Cast", [wanted.name], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["picture"]),
        helper.make_node("Conv", ["picture", "stem_weight"], ["stem_conv"], "stem"),
        helper.make_node("Relu", ["stem_conv"], ["stem"]),
        helper.make_node("ConvTranspose", ["stem", "head_weight"], ["logits"], "head"),
        helper.make_node("ArgMax", ["logits"], ["indexes"], axis=1, keepdims=0),
        helper.make_node("Cast", ["indexes"], ["index_numbers"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["index_numbers"], [outputs.labels], to=TensorProto.UINT8),
    ]
    constants = {
        "scale": np.array(1 / 255, np.float32),
        "stem_weight": np.eye(3, dtype=np.float32)[..., None, None],
        "head_weight": weights[..., None, None],
    }
    if outputs.confidence is not None:
        nodes += [
            helper.make_node("Softmax", ["logits"], ["shares"], axis=1),
            helper.make_node("ReduceMax", ["shares"], ["largest"], axes=[1], keepdims=0),
            helper.make_node("Mul", ["largest", "full"], ["sure"]),
            helper.make_node("Cast", ["sure"], [outputs.confidence], to=TensorProto.UINT8),
        ]
        constants["full"] = np.array(255, np.float32)
    names = [name for name in (outputs.labels, outputs.confidence) if name is not None]
    graph = helper.make_graph(
        nodes,
        "pixel_colour",
        [helper.make_tensor_value_info(wanted.name, TensorProto.UINT8, ["n", 3, wanted.height, wanted.width])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", wanted.height, wanted.width]) for name in names],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return _save(directory, manifest, graph)


def _save(directory: Path, manifest: ManifestT, graph: onnx.GraphProto) -> ManifestT:
    directory.mkdir(parents=True, exist_ok=True)
    path = save_model(directory / manifest.onnx.file, graph)
    written = manifest.model_copy(update={"onnx": manifest.onnx.model_copy(update={"sha256": digest_file(path)})})
    (directory / "model.yaml").write_text(dump_manifest(written), encoding="utf-8")
    return written
