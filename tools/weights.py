"""Where a network's weights come from: ImageNet's npz, a checkpoint of ours, any ONNX file that we shipped, or darknet's Nano."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from edged.errors import InputError
from edged.models.manifest import MANIFEST_NAME, DataSource, DetectorManifest, load_manifest
from tools.datasets.classes import place_of, same_name
from tools.narrowing import Weights, narrow
from tools.nets.classifier import Classifier
from tools.nets.convolution import convolutions
from tools.nets.embedding import Embedding, encoder_weights
from tools.nets.mobilenet_v2 import ROWS, MobileNetV2
from tools.nets.unet import UNet
from tools.nets.yolo import Yolo, YoloSettings
from tools.training import load_checkpoint
from tools.transfer import read_darknet

log = logging.getLogger(__name__)


def initialise(network: Yolo, path: Path) -> list[str]:
    """Take over what the file holds for this network; returns, and logs, what it lacks: that keeps its random start.

    A file of a wider network gives its strongest channels (`tools/narrowing.py`). Where the classes of a file are known, those of
    the same name are taken over whatever their order; a head is told as lacking if one of its classes is new.

    Raises:
        InputError: the file cannot be read, is of another design, or has nothing for this network.
        ModelError: the manifest beside the file is damaged.
    """
    if path.suffix == ".npz":
        missing = _take(network, read_imagenet(path), path)
        if strange := [name for name in missing if name.startswith("backbone.")]:
            raise InputError(f"{path}: {strange[0]} does not fit, the network is wider or the file is another network's")
    elif path.suffix == ".onnx":
        missing = _take(network, _read_onnx(path), path, classes=_read_classes(path))
    elif path.suffix == ".cfg":
        missing = _take(network, read_darknet(network, path), path)
    else:
        state = load_checkpoint(path)
        missing = _take_state(network, state["averaged"], path, classes=state["settings"].get("classes"))
    log.info("weights taken from %s", path)
    return missing


def initialise_encoder(network: Embedding, path: Path) -> list[str]:
    """Take over what the file holds for this encoder: ImageNet's npz, a checkpoint of tools.train_encoder, an engine's ONNX file.

    Returns, and logs, what it lacks: that keeps its random start.

    Raises:
        InputError: the file cannot be read, or has nothing for this network.
    """
    if path.suffix == ".npz":
        weights = read_imagenet(path)
    elif path.suffix == ".onnx":
        weights = _read_onnx(path)
    else:
        weights = _fold(encoder_weights(load_checkpoint(path)["averaged"]))
    missing = take_over(network, weights, path)
    log.info("weights taken from %s", path)
    return missing


def initialise_on_backbone(network: Classifier | UNet, path: Path) -> list[str]:
    """Take over what the file holds for this network: the backbone of a detector's or of ImageNet's, or all of one of its own.

    A file of a wider network gives its strongest channels (`tools/narrowing.py`), one with more rows its first ones. Returns, and
    logs, what the file lacks: that keeps its random start.

    Raises:
        InputError: the file cannot be read, is of another design, or has nothing for this network.
    """
    if path.suffix == ".npz":
        weights = read_imagenet(path)
    elif path.suffix == ".onnx":
        weights = _read_onnx(path)
    else:
        weights = _fold(load_checkpoint(path)["averaged"])
    last = f"backbone.rows.{len(ROWS) - 1}.0.project.weight"
    is_whole = f"backbone.rows.{len(ROWS) - 2}.0.project.weight" in weights
    if is_whole and (last in weights) == (network.settings.design == "spp"):
        raise InputError(
            f"{path}: {'has' if last in weights else 'lacks'} {last}: it is of another design than this network's, "
            f"{network.settings.design}; change `design` or the first weights"
        )
    missing = take_over(network, narrow(network, weights), path)
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


def read_imagenet(path: Path) -> Weights:
    """The published weights come in order of execution, and so do our modules; the classifier behind the `last` is left out.

    Raises:
        InputError: another file.
    """
    try:
        with np.load(path) as file:
            weights = {name: file[name].astype(np.float32) for name in file.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as npz: {error}") from error
    layers = sorted({name.rsplit(".", 1)[0] for name in weights})
    ours = zip([*(f"backbone.{name}" for name in convolutions(MobileNetV2())), "last"], layers, strict=False)
    return {f"{name}.{part}": weights[f"{layer}.{part}"] for name, layer in ours for part in ("weight", "bias")}


def _take_state(network: Yolo, state: dict[str, torch.Tensor], path: Path, *, classes: Sequence[str] | None) -> list[str]:
    """A checkpoint of the very same shapes and classes is taken as it is, its scales as well."""
    own = network.state_dict()
    fits = own.keys() == state.keys() and all(own[name].shape == tensor.shape for name, tensor in state.items())
    if fits and (classes is None or _are_same(classes, network.settings.classes)):
        network.load_state_dict(state)
        return []
    return _take(network, _fold(state), path, classes=classes)


def _fold(state: dict[str, torch.Tensor]) -> Weights:
    """Plain weights and biases of every convolution in a checkpoint."""
    folded = {}
    for name in (key.removesuffix(".scale") for key in state if key.endswith(".scale")):
        folded[f"{name}.weight"] = (state[f"{name}.weight"] * state[f"{name}.scale"]).numpy()
        folded[f"{name}.bias"] = state[f"{name}.bias"].numpy()
    return folded


def _read_onnx(path: Path) -> Weights:
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf raises errors of its own for a file of another kind
        raise InputError(f"{path}: cannot be read as ONNX: {error}") from error
    return {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}


def _read_classes(path: Path) -> tuple[str, ...] | None:
    """Those of the manifest beside an engine's network; a file on its own does not tell."""
    if not (path.parent / MANIFEST_NAME).exists():
        return None
    manifest = load_manifest(path.parent, kind=DetectorManifest)
    return manifest.classes if manifest.onnx.file == path.name else None


def _take(network: Yolo, weights: Weights, path: Path, *, classes: Sequence[str] | None = None) -> list[str]:
    """classes: those that the rows of the file's heads are of; None: ours."""
    _check_backbone(network, weights, path)
    weights = narrow(network, weights)
    fresh = []
    if classes is not None and not _are_same(classes, network.settings.classes):
        weights, fresh = _match_heads(network, weights, place_of(classes))
    missing = take_over(network, weights, path)
    if fresh:
        log.warning("%s: knows no %s: their rows in the heads start at random", path, ", ".join(fresh))
    return [name for name in convolutions(network) if name in missing or (fresh and name.startswith("heads."))]


def take_over(network: nn.Module, weights: Weights, path: Path) -> list[str]:
    """Give every convolution the weights of its name and shape; returns, and logs, the names of those that there are none for.

    Args:
        path: where the weights come from, for messages.

    Raises:
        InputError: there are none for any.
    """
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


def _check_backbone(network: Yolo, weights: Weights, path: Path) -> None:
    """Both designs name their layers alike, but pad and bound them otherwise: every feature would shift."""
    ours = {f"{name}.weight" for name in convolutions(network) if name.startswith("backbone.")}
    theirs = {name for name in weights if name.startswith("backbone.") and name.endswith(".weight")}
    if theirs and theirs != ours:
        odd = min(theirs ^ ours)
        raise InputError(
            f"{path}: {'has' if odd in theirs else 'lacks'} {odd}: it is of another design than this network's, "
            f"{network.settings.design}; change `design` or the first weights"
        )


def _are_same(classes: Sequence[str], others: Sequence[str]) -> bool:
    return list(map(same_name, classes)) == list(map(same_name, others))


def _match_heads(network: Yolo, weights: Weights, theirs: dict[str, int]) -> tuple[Weights, list[str]]:
    """Heads with the rows of their classes in our order, and our classes that they lack, whose rows stay the network's own.

    Args:
        theirs: places of the classes in the weights. Rows of boxes and of the objectness are taken over in any case; a head with
            another number of anchors, or with an objectness that ours lacks or without one that it has, is left out.
    """
    ours, n_anchors = network.settings.classes, len(network.settings.anchors[0])
    known = [place for place, name in enumerate(ours) if same_name(name) in theirs]
    before = 4 + network.settings.objectness
    rows = [*range(before), *(before + place for place in known)]
    their_rows = [*range(before), *(before + theirs[same_name(ours[place])] for place in known)]
    matched = dict(weights)
    for number, head in enumerate(network.heads):
        for part, own in (("weight", head.plain_weight()), ("bias", head.bias)):
            found = matched.pop(f"heads.{number}.{part}", None)
            if found is None or found.shape != (n_anchors * (before + len(theirs)), *own.shape[1:]):
                continue
            by_anchor = own.detach().numpy().reshape(n_anchors, before + len(ours), *own.shape[1:]).copy()
            by_anchor[:, rows] = found.reshape(n_anchors, before + len(theirs), *own.shape[1:])[:, their_rows]
            matched[f"heads.{number}.{part}"] = by_anchor.reshape(own.shape)
    return matched, [name for name in ours if same_name(name) not in theirs]


def load_engine(folder: Path) -> Yolo:
    """The network of an engine that `tools.export` made, in torch.

    Raises:
        ModelError, InputError: it is no such engine.
    """
    manifest = load_manifest(folder, kind=DetectorManifest)
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
        points=manifest.points,
    )
    network = Yolo(settings)
    if missing := initialise(network, folder / manifest.onnx.file):
        raise InputError(f"{folder}: {missing[0]} does not fit the network that its manifest describes")
    return network
