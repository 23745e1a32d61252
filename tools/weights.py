"""Where a network's first weights come from: ImageNet's npz, a checkpoint of ours, or any ONNX file that we shipped."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from edged.errors import InputError
from tools.nets.convolution import Conv
from tools.nets.mobilenet_v2 import MobileNetV2
from tools.training import load_checkpoint

log = logging.getLogger(__name__)

Weights = dict[str, NDArray[np.floating]]


def initialise(network: nn.Module, path: Path) -> None:
    """Take over what the file holds for this network; what it lacks keeps its random start, and is logged.

    Raises:
        InputError: the file cannot be read, or has nothing for this network.
    """
    if path.suffix == ".npz":
        _load_imagenet(network.backbone, path)
    elif path.suffix == ".onnx":
        _load_by_name(network, _read_onnx(path), path)
    else:
        network.load_state_dict(load_checkpoint(path)["averaged"])
    log.info("weights taken from %s", path)


def _load_imagenet(backbone: MobileNetV2, path: Path) -> None:
    """The published weights come in order of execution, and so do our modules; the classifier behind the last row is left out.

    Raises:
        InputError: another file, or a network of another width.
    """
    try:
        with np.load(path) as file:
            weights = {name: file[name].astype(np.float32) for name in file.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as npz: {error}") from error
    layers = sorted({name.rsplit(".", 1)[0] for name in weights})
    for conv, layer in zip(_convolutions(backbone).values(), layers, strict=False):
        weight = weights[f"{layer}.weight"]
        if weight.shape != tuple(conv.weight.shape):
            wanted = tuple(conv.weight.shape)
            raise InputError(f"{path}: {layer} is {weight.shape}, the network wants {wanted}; the file is of width 1.0")
        conv.set_weights(torch.from_numpy(weight), torch.from_numpy(weights[f"{layer}.bias"]))


def _read_onnx(path: Path) -> Weights:
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf raises errors of its own for a file of another kind
        raise InputError(f"{path}: cannot be read as ONNX: {error}") from error
    return {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}


def _load_by_name(network: nn.Module, weights: Weights, path: Path) -> None:
    kept = []
    for name, conv in _convolutions(network).items():
        weight, bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        if weight is None or bias is None or weight.shape != tuple(conv.weight.shape):
            kept.append(name)
        else:
            conv.set_weights(torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy()))
    if len(kept) == len(_convolutions(network)):
        raise InputError(f"{path}: none of its tensors fits this network; expected names such as {kept[0]}.weight")
    if kept:
        log.warning("%s: nothing that fits for %s: they start at random", path, ", ".join(kept))


def _convolutions(network: nn.Module) -> dict[str, Conv]:
    return {name: module for name, module in network.named_modules() if isinstance(module, Conv)}
