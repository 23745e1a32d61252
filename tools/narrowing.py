"""Start a narrow network from a wide one: drop the channels whose weights are smallest, the same ones wherever they pass.

Source: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (whole filters by the size of their weights; layers that are
added keep the same ones); here the weights that read a channel count as well, and each layer by its own mean.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from tools.nets.convolution import Conv
from tools.nets.mobilenet_v2 import TAP_ROWS
from tools.nets.yolo import Yolo

log = logging.getLogger(__name__)

Weights = dict[str, NDArray[np.floating]]
"""Plain convolution weights and biases by `NAME.weight` and `NAME.bias`."""

PICTURE, ANSWERS = "picture", "answers"
"""The groups of the first inputs and the last outputs: each channel has a meaning, none can go."""


def narrow(network: Yolo, weights: Weights) -> Weights:
    """Cut weights of the same architecture down to the network's widths; what is as wide stays as it is, to the last bit.

    With the dropped channels at zero the narrow network computes on the kept ones what the wide one does. One shortcut is not the
    wide one's: below a width of 0.28 MobileNetV2's first block has as many outputs as inputs and adds them.
    """
    if network.settings.design != "pan":  # features that are joined, not added, are in no group here
        return weights
    modules = dict(network.named_modules())
    groups = {
        name: pair for name, pair in channel_groups(network).items() if {f"{name}.weight", f"{name}.bias"} <= weights.keys()
    }
    wanted = {outputs: len(modules[name].bias) for name, (_, outputs) in groups.items()}
    importance = _importance(groups, weights)
    importance = {group: sizes for group, sizes in importance.items() if wanted.get(group, len(sizes)) < len(sizes)}
    if not importance:
        return weights
    kept = {group: np.sort(np.argsort(-sizes, kind="stable")[: wanted[group]]) for group, sizes in importance.items()}
    log.info("narrowed, by dropping the channels of the smallest weights: %s", _summary(kept, importance))
    cut = dict(weights)
    for name, (inputs, outputs) in groups.items():
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if outputs in kept:
            weight, bias = weight[kept[outputs]], bias[kept[outputs]]
        if inputs in kept and not _is_depthwise(weight):
            weight = weight[:, kept[inputs]]
        cut[f"{name}.weight"], cut[f"{name}.bias"] = weight, bias
    return cut


def _summary(kept: dict[str, NDArray], importance: dict[str, NDArray]) -> str:
    return ", ".join(f"{group} {len(importance[group])} to {len(rows)}" for group, rows in kept.items())


def _is_depthwise(weight: NDArray[np.floating]) -> bool:
    return weight.shape[1] == 1


def _importance(groups: dict[str, tuple[str, str]], weights: Weights) -> dict[str, NDArray[np.floating]]:
    """For each channel of each group, the size of the weights that make it and of those that read it."""
    total: dict[str, NDArray[np.floating]] = {}
    for name, (inputs, outputs) in groups.items():
        squares = weights[f"{name}.weight"].astype(np.float64) ** 2
        sides = [(outputs, squares.sum(axis=(1, 2, 3)))]
        if not _is_depthwise(weights[f"{name}.weight"]):
            sides.append((inputs, squares.sum(axis=(0, 2, 3))))
        for group, sizes in sides:
            norms = np.sqrt(sizes)
            total[group] = total.get(group, 0.0) + norms / max(float(norms.mean()), 1e-12)
    return {group: sizes for group, sizes in total.items() if group not in (PICTURE, ANSWERS)}


def channel_groups(network: Yolo) -> dict[str, tuple[str, str]]:
    """For every convolution, the group of its input channels and that of its outputs: channels that are added are one group.

    A filter a channel has the same group on both sides.
    """
    groups = {"backbone.stem": (PICTURE, "stem")}
    stream = "stem"
    for r, blocks in enumerate(network.backbone.rows):
        for b, block in enumerate(blocks):
            name, inner = f"backbone.rows.{r}.{b}", stream
            if isinstance(block.expand, Conv):
                inner = f"inner {r}.{b}"
                groups[f"{name}.expand"] = (stream, inner)
            groups[f"{name}.depthwise"] = (inner, inner)
            groups[f"{name}.project"] = (inner, f"row {r}")
            stream = f"row {r}"
    return groups | _neck_groups() | _head_groups()


def _neck_groups() -> dict[str, tuple[str, str]]:
    """All of the neck is added up somewhere, but for what its last two layers make."""
    groups = {}
    for number, row in enumerate(TAP_ROWS):
        groups[f"neck.lateral.{number}"] = (f"row {row}", "neck")
        groups |= _separable(f"neck.down.{number}", "neck", "neck")
    for number in range(2):
        groups |= _separable(f"neck.up.{number}", "neck", f"up {number}")
        groups |= _separable(f"neck.shrink.{number}", ("neck", "up 0")[number], "neck")
    return groups


def _head_groups() -> dict[str, tuple[str, str]]:
    groups = {}
    for number, group in enumerate(("neck", "up 0", "up 1")):
        groups |= _separable(f"mix.{number}", group, f"mix {number}")
        groups[f"heads.{number}"] = (f"mix {number}", ANSWERS)
    return groups


def _separable(name: str, inputs: str, outputs: str) -> dict[str, tuple[str, str]]:
    return {f"{name}.0": (inputs, inputs), f"{name}.1": (inputs, outputs)}
