"""Make an engine of a checkpoint: `python -m tools.export CHECKPOINT --out engines/detector`."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnx
import torch
from torch import Tensor

from edged.errors import EdgedError, InputError
from edged.models.manifest import (
    DataSource,
    DetectorManifest,
    EmbeddingOutput,
    EncoderManifest,
    InputSpec,
    LabelOutputs,
    LivenessManifest,
    LivenessThresholds,
    Manifest,
    MatchThresholds,
    OnnxFile,
    OutputNames,
    ScoresOutput,
    SegmenterManifest,
    Thresholds,
    digest_file,
)
from tools.conversion import pack_weights
from tools.engines import IR_VERSION, ONNX_NAME, OPSET, parse_size, write_manifest, write_whole
from tools.nets.classifier import ExportedClassifier
from tools.nets.convolution import convolutions
from tools.nets.embedding import ExportedEmbedding, encoder_weights
from tools.nets.unet import ExportedUNet
from tools.nets.yolo import STRIDES, ExportedYolo
from tools.train_detector import TrainSettings
from tools.train_encoder import EncoderSettings
from tools.train_liveness import LivenessSettings
from tools.train_segmenter import SegmenterSettings
from tools.training import load_checkpoint

TOLD_ELSEWHERE = {"data", "anchors", "points", "task", "template", "dimension", "margin"}
"""Settings that have keys of their own in the manifest."""
LICENCES = {"R": "research-only", "D": "evaluation-only", "P": "Apache-2.0"}
"""The licence that a network gets from the worst mark among its data, worst first."""


def main(argv: list[str] | None = None) -> int:
    """Write model.onnx and model.yaml; thresholds and figures are `tools.calibrate`'s work."""
    parser = argparse.ArgumentParser(prog="python -m tools.export", description=main.__doc__)
    parser.add_argument("checkpoint", type=Path, help="last.pt of a training")
    parser.add_argument("--out", type=Path, required=True, help="the engine's directory; its name is the engine's")
    parser.add_argument(
        "--input", metavar="PX", help="side of the input, or WIDTHxHEIGHT, multiples of 32; default: the training's"
    )
    parser.add_argument("--pack", action="store_true", help="store large weights in FP16: half the file, computed in float")
    arguments = parser.parse_args(argv)
    try:
        manifest = export_engine(arguments.checkpoint, arguments.out, size=arguments.input, packed=arguments.pack)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 78
    print(f"{arguments.out}: revision {manifest.revision}, {(arguments.out / ONNX_NAME).stat().st_size / 1e6:.2f} MB")
    return 0


@dataclass(frozen=True, slots=True, eq=False)
class _Engine:
    """What is exported for one task.

    Attributes:
        network: as devices run it, with random weights still.
        settings: of its training.
        form: of its manifest.
        own: the keys of its manifest that its task alone decides.
        weights: finds the network's in those of a checkpoint.
    """

    network: Exported
    settings: TrainSettings | EncoderSettings | LivenessSettings | SegmenterSettings
    form: type[Manifest]
    own: dict[str, Any]
    weights: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state


def export_engine(checkpoint: Path, out: Path, *, size: str | None = None, packed: bool = False) -> Manifest:
    """Write an engine's two files; the same checkpoint gives the same bytes.

    Args:
        size: `256` or `416x256`: smaller for speed, larger for small objects, wide for wide pictures, of which a square leaves
            nearly half empty; what it was trained for if absent.
        packed: large weights are stored in FP16, see `pack_weights`.

    Raises:
        InputError: the checkpoint cannot be read or belongs to another version of the network; a size that no input can have;
            a weight that FP16 cannot hold.
    """
    state = load_checkpoint(checkpoint)
    engine = _describe(state["settings"], size)
    try:
        engine.network.load_state_dict(engine.weights(state["averaged"]))
    except RuntimeError as error:
        raise InputError(f"{checkpoint}: its weights do not fit the network that its settings describe: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / ONNX_NAME, make_onnx(engine.network, packed=packed))
    return write_manifest(out, _manifest(out, engine, epochs=state["epoch"]))


def _describe(recipe: dict[str, Any], size: str | None) -> _Engine:
    """The engine of a checkpoint's settings.

    Raises:
        InputError: a size that its input cannot have, or a task that nobody here exports.
    """
    match task := recipe.get("task", "detector"):
        case "detector":
            return _describe_detector(TrainSettings.model_validate(recipe), size)
        case "face_encoder":
            return _describe_encoder(EncoderSettings.model_validate(recipe), size)
        case "liveness":
            return _describe_liveness(LivenessSettings.model_validate(recipe), size)
        case "segmenter":
            return _describe_segmenter(SegmenterSettings.model_validate(recipe), size)
        case _:
            known = "detector, face_encoder, liveness or segmenter"
            raise InputError(f"the checkpoint is of a network for {task!r}: expected one for {known}")


def _describe_detector(settings: TrainSettings, size: str | None) -> _Engine:
    width, height = _choose_size(size, (settings.input_px, settings.input_px))
    network = ExportedYolo(settings.network(), width=width, height=height)
    own = {
        "task": "detector",
        "outputs": OutputNames(boxes="boxes", scores="scores", points="points" if settings.points else None),
        "classes": settings.classes,
        "points": settings.points,
        "strides": STRIDES,
        "anchors": settings.anchors,
        "thresholds": Thresholds(score=0.3, nms_iou=0.5),
    }
    return _Engine(network, settings, DetectorManifest, own)


def _describe_encoder(settings: EncoderSettings, size: str | None) -> _Engine:
    network = ExportedEmbedding(settings.network())
    if size and parse_size(size) != (network.width, network.height):
        raise InputError(f"--input {size}: the template {settings.template} makes faces of {network.width} pixels; leave it out")
    own = {
        "task": "face_encoder",
        "outputs": EmbeddingOutput(embedding="embedding"),
        "dimension": settings.dimension,
        "template": settings.template,
        "thresholds": MatchThresholds(match=0.5, margin=0.05),
    }
    return _Engine(network, settings, EncoderManifest, own, encoder_weights)


def _describe_liveness(settings: LivenessSettings, size: str | None) -> _Engine:
    width, height = _choose_size(size, (settings.input_px, settings.input_px))
    if width != height:
        raise InputError(f"--input {size}: a liveness network is shown squares; expected one side, such as {settings.input_px}")
    network = ExportedClassifier(settings.network(), width=width, height=height)
    own = {
        "task": "liveness",
        "outputs": ScoresOutput(scores="scores"),
        "classes": settings.classes,
        "margin": settings.margin,
        "thresholds": LivenessThresholds(live=0.5),
    }
    return _Engine(network, settings, LivenessManifest, own)


def _describe_segmenter(settings: SegmenterSettings, size: str | None) -> _Engine:
    width, height = _choose_size(size, settings.input_px)
    network = ExportedUNet(settings.network(), width=width, height=height)
    own = {
        "task": "segmenter",
        "outputs": LabelOutputs(labels="labels", confidence="confidence"),
        "classes": settings.classes,
    }
    return _Engine(network, settings, SegmenterManifest, own)


def _choose_size(size: str | None, trained_px: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the input."""
    width, height = parse_size(size) if size else trained_px
    if not (width and height) or width % STRIDES[-1] or height % STRIDES[-1]:
        raise InputError(f"--input {size}: expected multiples of {STRIDES[-1]}, e.g. 320 or 416x256")
    return width, height


class Exported(Protocol):
    """A network as devices run it: pictures of one size in, arrays out; a torch module.

    Attributes:
        width, height: of the input, pixels.
        outputs: names of what it answers in their order, and the shape of each for one picture.
    """

    width: int
    height: int
    outputs: Mapping[str, tuple[int, ...]]


def make_onnx(network: Exported, *, packed: bool = False) -> bytes:
    """The network as an ONNX file: weights folded and named as in torch, the number of pictures free.

    Args:
        packed: large weights are stored in FP16, see `pack_weights`.

    Raises:
        ValueError: the exporter made something else than promised: our mistake or a new torch's.
    """
    for conv in convolutions(network).values():
        conv.fold()
    file = io.BytesIO()
    outputs = list(network.outputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own successor
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 3, network.height, network.width, dtype=torch.uint8),),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in ("images", *outputs)},
            keep_initializers_as_inputs=True,  # else equal weights, such as two zero biases, are merged under one name
        )
    model = onnx.load_from_string(file.getvalue())
    del model.graph.input[1:]
    model.ir_version = IR_VERSION
    for node in model.graph.node:
        node.doc_string = ""
    _fix_output_shapes(model, network)
    if packed:
        pack_weights(model)
    onnx.checker.check_model(model, full_check=True)
    _check_names(model, network)
    return model.SerializeToString(deterministic=True)


def _fix_output_shapes(model: onnx.ModelProto, network: Exported) -> None:
    """Say the outputs' sizes, which follow from the input's and which the exporter leaves open."""
    for output in model.graph.output:
        for axis, length in enumerate(network.outputs[output.name], start=1):
            output.type.tensor_type.shape.dim[axis].dim_value = length


def _check_names(model: onnx.ModelProto, network: Exported) -> None:
    """Whoever starts from this file finds the weights by their names."""
    missing = {name for name, _ in network.named_parameters()} - {tensor.name for tensor in model.graph.initializer}
    if missing or any(node.op_type == "Pad" for node in model.graph.node):
        raise ValueError(f"the exporter renamed or split what it should not: {sorted(missing)[:3]}")


def _manifest(out: Path, engine: _Engine, *, epochs: int) -> Manifest:
    digest = digest_file(out / ONNX_NAME)
    network, settings = engine.network, engine.settings
    return engine.form(
        name=out.resolve().name,
        revision=digest[:12],
        licence=licence_of(settings.data),
        onnx=OnnxFile(file=ONNX_NAME, sha256=digest, opset=OPSET),
        input=InputSpec(name="images", width=network.width, height=network.height, colour="rgb", layout="nchw", dtype="uint8"),
        data=settings.data,
        measured="not measured",
        trained={"epochs": epochs, **settings.model_dump(mode="json", exclude=TOLD_ELSEWHERE)},
        **engine.own,
    )


def licence_of(data: tuple[DataSource, ...]) -> str:
    """What the worst mark among the data allows."""
    marks = {source.licence_mark for source in data}
    return next((licence for mark, licence in LICENCES.items() if mark in marks), "unknown: the data's licence marks are missing")


if __name__ == "__main__":
    raise SystemExit(main())
