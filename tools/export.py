"""Make an engine of a checkpoint: `python -m tools.export CHECKPOINT --out engines/detector`."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from pathlib import Path

import onnx
import torch

from edged.errors import EdgedError, InputError
from edged.models.manifest import (
    DataSource,
    DetectorManifest,
    InputSpec,
    OnnxFile,
    OutputNames,
    Thresholds,
    digest_file,
)
from tools.engines import IR_VERSION, ONNX_NAME, OPSET, parse_size, write_manifest, write_whole
from tools.nets.convolution import convolutions
from tools.nets.yolo import STRIDES, ExportedYolo
from tools.train_detector import TrainSettings
from tools.training import load_checkpoint

TOLD_ELSEWHERE = {"data", "anchors"}
"""Settings that have keys of their own in the manifest."""
LICENCES = {"R": "research-only", "D": "evaluation-only", "P": "Apache-2.0"}
"""The licence that a network gets from the worst mark among its data, worst first."""


def main(argv: list[str] | None = None) -> int:
    """Write model.onnx and model.yaml; thresholds and figures are `tools.calibrate`'s work."""
    parser = argparse.ArgumentParser(prog="python -m tools.export", description=main.__doc__)
    parser.add_argument("checkpoint", type=Path, help="last.pt of tools.train_detector")
    parser.add_argument("--out", type=Path, required=True, help="the engine's directory; its name is the engine's")
    parser.add_argument(
        "--input", metavar="PX", help="side of the input, or WIDTHxHEIGHT, multiples of 32; default: the training's"
    )
    arguments = parser.parse_args(argv)
    try:
        manifest = export_engine(arguments.checkpoint, arguments.out, size=arguments.input)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 78
    print(f"{arguments.out}: revision {manifest.revision}, {(arguments.out / ONNX_NAME).stat().st_size / 1e6:.2f} MB")
    return 0


def export_engine(checkpoint: Path, out: Path, *, size: str | None = None) -> DetectorManifest:
    """Write an engine's two files; the same checkpoint gives the same bytes.

    Args:
        size: `256` or `416x256`: smaller for speed, larger for small objects, wide for wide pictures, of which a square leaves
            nearly half empty; what it was trained for if absent.

    Raises:
        InputError: the checkpoint cannot be read or belongs to another version of the network; a size that no input can have.
    """
    state = load_checkpoint(checkpoint)
    settings = TrainSettings.model_validate(state["settings"])
    width, height = parse_size(size) if size else (settings.input_px, settings.input_px)
    if not (width and height) or width % STRIDES[-1] or height % STRIDES[-1]:
        raise InputError(f"--input {size}: expected multiples of {STRIDES[-1]}, e.g. 320 or 416x256")
    network = ExportedYolo(settings.network(), width=width, height=height)
    try:
        network.load_state_dict(state["averaged"])
    except RuntimeError as error:
        raise InputError(f"{checkpoint}: its weights do not fit the network that its settings describe: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / ONNX_NAME, make_onnx(network))
    return write_manifest(out, _manifest(out, settings, network, epochs=state["epoch"]))


def make_onnx(network: ExportedYolo) -> bytes:
    """The network as an ONNX file: weights folded and named as in torch, the number of pictures free.

    Raises:
        ValueError: the exporter made something else than promised: our mistake or a new torch's.
    """
    for conv in convolutions(network).values():
        conv.fold()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own successor
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 3, network.height, network.width, dtype=torch.uint8),),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["boxes", "scores"],
            dynamic_axes={name: {0: "n"} for name in ("images", "boxes", "scores")},
            keep_initializers_as_inputs=True,  # else equal weights, such as two zero biases, are merged under one name
        )
    model = onnx.load_from_string(file.getvalue())
    del model.graph.input[1:]
    model.ir_version = IR_VERSION
    for node in model.graph.node:
        node.doc_string = ""
    _fix_output_shapes(model, network)
    onnx.checker.check_model(model, full_check=True)
    _check_names(model, network)
    return model.SerializeToString(deterministic=True)


def _fix_output_shapes(model: onnx.ModelProto, network: ExportedYolo) -> None:
    """Say the outputs' sizes, which follow from the input's and which the exporter leaves open."""
    rows = len(network.centres)
    for output, last in zip(model.graph.output, (4, len(network.settings.classes)), strict=True):
        for axis, length in ((1, rows), (2, last)):
            output.type.tensor_type.shape.dim[axis].dim_value = length


def _check_names(model: onnx.ModelProto, network: ExportedYolo) -> None:
    """Whoever starts from this file finds the weights by their names."""
    missing = {name for name, _ in network.named_parameters()} - {tensor.name for tensor in model.graph.initializer}
    if missing or any(node.op_type == "Pad" for node in model.graph.node):
        raise ValueError(f"the exporter renamed or split what it should not: {sorted(missing)[:3]}")


def _manifest(out: Path, settings: TrainSettings, network: ExportedYolo, *, epochs: int) -> DetectorManifest:
    digest = digest_file(out / ONNX_NAME)
    return DetectorManifest(
        name=out.resolve().name,
        task="detector",
        revision=digest[:12],
        licence=licence_of(settings.data),
        onnx=OnnxFile(file=ONNX_NAME, sha256=digest, opset=OPSET),
        input=InputSpec(name="images", width=network.width, height=network.height, colour="rgb", layout="nchw", dtype="uint8"),
        outputs=OutputNames(boxes="boxes", scores="scores"),
        classes=network.settings.classes,
        strides=STRIDES,
        anchors=network.settings.anchors,
        thresholds=Thresholds(score=0.3, nms_iou=0.5),
        data=settings.data,
        measured="not measured",
        trained={"epochs": epochs, **settings.model_dump(mode="json", exclude=TOLD_ELSEWHERE)},
    )


def licence_of(data: tuple[DataSource, ...]) -> str:
    """What the worst mark among the data allows."""
    marks = {source.licence_mark for source in data}
    return next((licence for mark, licence in LICENCES.items() if mark in marks), "unknown: the data's licence marks are missing")


if __name__ == "__main__":
    raise SystemExit(main())
