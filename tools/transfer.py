"""First weights from darknet: MobileNetV2-YOLOv3-Nano, whose layers are those of our `spp` design but for the finest stride.

What differs is folded in: darknet's colours are in [0, 1]; a centre reaches over half a cell, ours over a whole one; a score is
objectness times class, ours is one logit, which begins as the sum of both. So a fresh network answers nearly as darknet's does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edged.errors import InputError
from tools.darknet.cfg import load_cfg
from tools.darknet.options import Yolo as YoloOptions
from tools.darknet.shapes import infer_shapes
from tools.darknet.weights import Convolution, load_weights
from tools.datasets.classes import same_name
from tools.narrowing import Weights
from tools.nets.convolution import Conv, convolutions
from tools.nets.yolo import Yolo

OFFSETS, OBJECTNESS = 4, 1
"""How many answers come before the classes' for each anchor."""


def read_darknet(network: Yolo, cfg: Path) -> Weights:
    """Weights and biases by our names; of a class that darknet's network does not know, the objectness alone.

    Args:
        cfg: NET.cfg; NET.weights and one *.names lie beside it.

    Raises:
        InputError: a file is missing or damaged, or the network is not of this design.
    """
    layers = load_cfg(cfg)
    shapes = infer_shapes(layers, width=layers.width, height=layers.height)
    found = list(load_weights(cfg.with_suffix(".weights"), layers, shapes).convolutions.values())
    ours = _in_darknet_order(network)
    _check(found, ours, cfg)
    weights = {}
    for (name, _), convolution in zip(ours, found, strict=True):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = convolution.weights, convolution.bias
    _shift_colours(weights)
    names = _read_names(cfg)
    heads = [layer.options for layer in layers.layers if isinstance(layer.options, YoloOptions)]
    for stride, head in zip((2, 1), heads, strict=True):
        _turn_head(weights, f"heads.{stride}", head, names=names, network=network, anchors=network.settings.anchors[stride])
    return weights


def _in_darknet_order(network: Yolo) -> list[tuple[str, Conv]]:
    order = ("backbone.", "neck.pooled", "neck.coarse", "heads.2", "neck.middle_joint", "neck.middle.", "heads.1")
    return [pair for prefix in order for pair in convolutions(network).items() if pair[0].startswith(prefix)]


def _check(found: list[Convolution], ours: list[tuple[str, Conv]], cfg: Path) -> None:
    mend = "only MobileNetV2-YOLOv3-Nano can be taken, for a network with `design: spp`, `width: 0.5`, `neck: 96`"
    if len(found) != len(ours):
        raise InputError(f"{cfg}: has {len(found)} convolutions, this network {len(ours)} of its kind: {mend}")
    for (name, conv), convolution in zip(ours, found, strict=True):
        theirs, wanted = convolution.weights.shape, tuple(conv.weight.shape)
        first = 1 if name.startswith("heads.") else 0  # how many answers there are depends on the classes
        if theirs[first:] != wanted[first:]:
            raise InputError(f"{cfg}: its weights for {name} are {theirs}, this network's {wanted}: {mend}")


def _shift_colours(weights: Weights) -> None:
    """Darknet sees value / 255, our networks value / 127.5 - 1."""
    stem = weights["backbone.stem.weight"] / 2
    weights["backbone.stem.bias"] = weights["backbone.stem.bias"] + stem.sum(axis=(1, 2, 3))
    weights["backbone.stem.weight"] = stem


def _turn_head(
    weights: Weights,
    name: str,
    head: YoloOptions,
    *,
    names: list[str],
    network: Yolo,
    anchors: tuple[tuple[float, float], ...],
) -> None:
    answers = OFFSETS + OBJECTNESS + head.classes
    theirs = weights[f"{name}.weight"].reshape(len(head.sizes), answers, -1)
    bias = weights[f"{name}.bias"].reshape(len(head.sizes), answers)
    theirs = np.concatenate([theirs, bias[..., None]], axis=-1)  # (anchors, answers, inputs + 1)
    offsets, objectness, classes = np.split(theirs, [OFFSETS, OFFSETS + OBJECTNESS], axis=1)
    reach = head.scale_x_y / 2  # equal slopes in the middle of the cell
    offsets = offsets * np.array([reach, reach, 1.0, 1.0])[:, None]
    offsets[:, 2:, -1] += np.log(np.array(head.sizes) / np.array(anchors))
    wanted = map(same_name, network.settings.classes)
    ours = [classes[:, names.index(label)] if label in names else 0.0 * objectness[:, 0] for label in wanted]
    parts = [objectness, np.stack(ours, axis=1)] if network.settings.objectness else [objectness + np.stack(ours, axis=1)]
    rows = np.concatenate([offsets, *parts], axis=1).astype(np.float32)
    weights[f"{name}.weight"] = rows[..., :-1].reshape(-1, rows.shape[-1] - 1, 1, 1)
    weights[f"{name}.bias"] = rows[..., -1].reshape(-1)


def _read_names(cfg: Path) -> list[str]:
    files = sorted(cfg.parent.glob("*.names"))
    if len(files) != 1:
        raise InputError(f"{cfg}: expected one file of class names, *.names, beside it, found {len(files)}")
    return [same_name(name) for name in files[0].read_text(encoding="utf-8").split("\n")]
