"""Where a network's weights come from: ImageNet's npz, a checkpoint of ours, any ONNX file that we shipped, or darknet's Nano."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from edged.errors import InputError
from edged.models.manifest import MANIFEST_NAME, DataSource, load_manifest
from tools.narrowing import Weights, narrow
from tools.nets.convolution import convolutions
from tools.nets.mobilenet_v2 import MobileNetV2
from tools.nets.yolo import Yolo, YoloSettings
from tools.training import load_checkpoint
from tools.transfer import read_darknet

log = logging.getLogger(__name__)


def initialise(network: Yolo, path: Path) -> list[str]:
    """Take over what the file holds for this network; returns, and logs, what it lacks: that keeps its random start.

    A file of a wider network gives its strongest channels (`tools/narrowing.py`).

    Raises:
        InputError: the file cannot be read, or has nothing for this network.
    """
    if path.suffix == ".npz":
        missing = _take(network, _read_imagenet(path), path)
        if strange := [name for name in missing if name.startswith("backbone.")]:
            raise InputError(f"{path}: {strange[0]} does not fit, the network is wider or the file is another network's")
    elif path.suffix == ".onnx":
        missing = _take(network, _read_onnx(path), path)
    elif path.suffix == ".cfg":
        missing = _take(network, read_darknet(network, path), path)
    else:
        missing = _take_state(network, load_checkpoint(path)["averaged"], path)
    log.info("weights taken from %s", path)
    return missing


def read_sources(path: Path) -> tuple[DataSource, ...]:
    """What the weights in a file learnt from, where the manifest beside it or the checkpoint itself tells that.

    Raises:
        ModelError, InputError: the manifest is not of this network, or the checkpoint cannot be read.
    """
    if path.suffix == ".onnx":
        return load_manifest(path.parent).data if (path.parent / MANIFEST_NAME).is_file() else ()
    if path.suffix in (".npz", ".cfg"):
        return ()
    return tuple(DataSource.model_validate(source) for source in load_checkpoint(path)["settings"].get("data", ()))


def _read_imagenet(path: Path) -> Weights:
    """The published weights come in order of execution, and so do our modules; the classifier behind the last row is left out.

    Raises:
        InputError: another file.
    """
    try:
        with np.load(path) as file:
            weights = {name: file[name].astype(np.float32) for name in file.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as npz: {error}") from error
    layers = sorted({name.rsplit(".", 1)[0] for name in weights})
    ours = zip(convolutions(MobileNetV2()), layers, strict=False)
    return {f"backbone.{name}.{part}": weights[f"{layer}.{part}"] for name, layer in ours for part in ("weight", "bias")}


def _take_state(network: Yolo, state: dict[str, torch.Tensor], path: Path) -> list[str]:
    """A checkpoint of the very same shapes is taken as it is, its scales as well."""
    own = network.state_dict()
    if own.keys() == state.keys() and all(own[name].shape == tensor.shape for name, tensor in state.items()):
        network.load_state_dict(state)
        return []
    folded = {}
    for name in (key.removesuffix(".scale") for key in state if key.endswith(".scale")):
        folded[f"{name}.weight"] = (state[f"{name}.weight"] * state[f"{name}.scale"]).numpy()
        folded[f"{name}.bias"] = state[f"{name}.bias"].numpy()
    return _take(network, folded, path)


def _read_onnx(path: Path) -> Weights:
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf raises errors of its own for a file of another kind
        raise InputError(f"{path}: cannot be read as ONNX: {error}") from error
    return {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}


def _take(network: Yolo, weights: Weights, path: Path) -> list[str]:
    weights = narrow(network, weights)
    missing = []
    for name, conv in convolutions(network).items():
        weight, bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        if weight is None or bias is None or weight.shape != tuple(conv.weight.shape):
            missing.append(name)
        else:
            conv.set_weights(torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy()))
    if len(missing) == len(convolutions(network)):
        raise InputError(f"{path}: none of its tensors fits this network; expected names such as {missing[0]}.weight")
    if missing:
        log.warning("%s: nothing that fits for %s: they start at random", path, ", ".join(missing))
    return missing


def load_engine(folder: Path) -> Yolo:
    """The network of an engine that `tools.export` made, in torch.

    Raises:
        ModelError, InputError: it is no such engine.
    """
    manifest = load_manifest(folder)
    trained = manifest.trained
    if "width" not in trained or "neck" not in trained:
        raise InputError(f"{folder}: its manifest does not say how it was trained; expected an engine made by tools.export")
    settings = YoloSettings(
        classes=manifest.classes,
        anchors=manifest.anchors,
        width=trained["width"],
        neck=trained["neck"],
        design=trained.get("design", "pan"),
        objectness=trained.get("loss", {}).get("objectness", False),
    )
    network = Yolo(settings)
    if missing := initialise(network, folder / manifest.onnx.file):
        raise InputError(f"{folder}: {missing[0]} does not fit the network that its manifest describes")
    return network
