"""Start a narrow network from a wide one: drop the channels whose weights are smallest, the same ones wherever they pass.

Source: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (whole filters by the size of their weights; layers that are
added keep the same ones); here the weights that read a channel count as well, and each layer by its own mean.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tools.nets.classifier import Classifier
from tools.nets.convolution import Conv
from tools.nets.mobilenet_v2 import TAP_ROWS, WIDENED_TAP_ROWS
from tools.nets.unet import UNet
from tools.nets.yolo import POOLS, Yolo

log = logging.getLogger(__name__)

Weights = dict[str, NDArray[np.floating]]
"""Plain convolution weights and biases by `NAME.weight` and `NAME.bias`."""

PICTURE, ANSWERS, POINTS = "picture", "answers", "points"
"""The groups of the first inputs and the last outputs: each channel has a meaning, none can go."""

Passage = tuple[tuple[str, ...], str]
"""What a convolution reads, groups of channels side by side as they are joined, and the group that it makes."""


def narrow(network: Yolo | Classifier | UNet, weights: Weights) -> Weights:
    """Cut weights of the same architecture down to the network's widths; what is as wide stays as it is, to the last bit.

    With the dropped channels at zero the narrow network computes on the kept ones what the wide one does. One shortcut is not the
    wide one's: below a width of 0.28 MobileNetV2's first block has as many outputs as inputs and adds them.
    """
    modules = dict(network.named_modules())
    groups = {
        name: passage for name, passage in channel_groups(network).items() if {f"{name}.weight", f"{name}.bias"} <= weights.keys()
    }
    wanted = {outputs: len(modules[name].bias) for name, (_, outputs) in groups.items()}
    sizes = {outputs: len(weights[f"{name}.bias"]) for name, (_, outputs) in groups.items()}
    importance = _importance(groups, weights, sizes)
    importance = {group: norms for group, norms in importance.items() if wanted.get(group, len(norms)) < len(norms)}
    if not importance:
        return weights
    kept = {group: np.sort(np.argsort(-norms, kind="stable")[: wanted[group]]) for group, norms in importance.items()}
    log.info("narrowed, by dropping the channels of the smallest weights: %s", _summary(kept, importance))
    cut = dict(weights)
    for name, (inputs, outputs) in groups.items():
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if not _is_depthwise(weight):
            parts = _split_inputs(weight, inputs, sizes)
            weight = np.concatenate([part[:, kept.get(group, slice(None))] for group, part in parts], axis=1)
        rows = kept.get(outputs, slice(None))
        cut[f"{name}.weight"], cut[f"{name}.bias"] = weight[rows], bias[rows]
    return cut


def _split_inputs(
    weight: NDArray[np.floating], inputs: tuple[str, ...], sizes: dict[str, int]
) -> list[tuple[str, NDArray[np.floating]]]:
    """The weights that read each of the joined groups, in their order; a group that is read alone needs no size."""
    ends = np.cumsum([sizes[group] for group in inputs[:-1]], dtype=int)
    return list(zip(inputs, np.split(weight, ends, axis=1), strict=True))


def _summary(kept: dict[str, NDArray], importance: dict[str, NDArray]) -> str:
    return ", ".join(f"{group} {len(importance[group])} to {len(rows)}" for group, rows in kept.items())


def _is_depthwise(weight: NDArray[np.floating]) -> bool:
    return weight.shape[1] == 1


def _importance(groups: dict[str, Passage], weights: Weights, sizes: dict[str, int]) -> dict[str, NDArray[np.floating]]:
    """For each channel of each group, the size of the weights that make it and of those that read it, wherever it is read."""
    total: dict[str, NDArray[np.floating]] = {}
    for name, (inputs, outputs) in groups.items():
        squares = weights[f"{name}.weight"].astype(np.float64) ** 2
        sides = [(outputs, squares.sum(axis=(1, 2, 3)))]
        if not _is_depthwise(squares):
            sides += [(group, part.sum(axis=(0, 2, 3))) for group, part in _split_inputs(squares, inputs, sizes)]
        for group, side in sides:
            norms = np.sqrt(side)
            total[group] = total.get(group, 0.0) + norms / max(float(norms.mean()), 1e-12)
    return {group: norms for group, norms in total.items() if group not in (PICTURE, ANSWERS, POINTS)}


def channel_groups(network: Yolo | Classifier | UNet) -> dict[str, Passage]:
    """For every convolution, the groups of its input channels and that of its outputs: channels that are added are one group.

    A filter a channel has the same group on both sides; what reads features that were joined has several groups of inputs.
    Of a `UNet` only the way down is told: from a wider one, the way up cannot be taken.
    """
    if isinstance(network, UNet):
        return _backbone_groups(network)
    if isinstance(network, Classifier):
        return _backbone_groups(network) | {"head": _passage(f"row {len(network.backbone.rows) - 1}", ANSWERS)}
    heads = _spp_groups() if network.settings.design == "spp" else _pan_neck_groups() | _pan_head_groups()
    return _backbone_groups(network) | heads | (_point_groups(heads) if network.settings.points else {})


def _point_groups(heads: dict[str, Passage]) -> dict[str, Passage]:
    """They read what the heads of the boxes read."""
    groups = {}
    for number in range(3):
        (inputs,), _ = heads[f"heads.{number}"]
        groups |= {f"points.{number}.0": _passage(inputs, inputs), f"points.{number}.1": _passage(inputs, POINTS)}
    return groups


def _backbone_groups(network: Yolo | Classifier | UNet) -> dict[str, Passage]:
    groups = {"backbone.stem": _passage(PICTURE, "stem")}
    stream = "stem"
    for r, blocks in enumerate(network.backbone.rows):
        for b, block in enumerate(blocks):
            name, inner = f"backbone.rows.{r}.{b}", stream
            if isinstance(block.expand, Conv):
                inner = _inner(r, b)
                groups[f"{name}.expand"] = _passage(stream, inner)
            groups[f"{name}.depthwise"] = _passage(inner, inner)
            groups[f"{name}.project"] = _passage(inner, f"row {r}")
            stream = f"row {r}"
    return groups


def _passage(inputs: str, outputs: str) -> Passage:
    return (inputs,), outputs


def _inner(row: int, block: int) -> str:
    return f"inner {row}.{block}"


def _spp_groups() -> dict[str, Passage]:
    """Nothing is added here: each layer makes a group of its own, and the pools pass theirs on as it is."""
    fine, middle = (_inner(row, 0) for row in WIDENED_TAP_ROWS)
    coarse = f"row {WIDENED_TAP_ROWS[-1]}"
    return {
        "neck.pooled": ((coarse,) * (len(POOLS) + 1), "pooled"),
        **_chain("neck.coarse", "pooled", ("pooled", "coarse 1", "coarse 2")),
        "neck.middle_joint": (("pooled", middle), "middle joint"),
        **_chain("neck.middle", "middle joint", ("middle 0", "middle 0", "middle 2", "middle 3")),
        "neck.fine_joint": (("middle joint", fine), "fine joint"),
        **_chain("neck.fine", "fine joint", ("fine 0", "fine 0", "fine 2", "fine 3")),
        "heads.0": _passage("fine 3", ANSWERS),
        "heads.1": _passage("middle 3", ANSWERS),
        "heads.2": _passage("coarse 2", ANSWERS),
    }


def _chain(name: str, inputs: str, outputs: Sequence[str]) -> dict[str, Passage]:
    """Layers that follow one another, the first reading `inputs`."""
    passages = zip((inputs, *outputs), outputs, strict=False)
    return {f"{name}.{number}": _passage(*passage) for number, passage in enumerate(passages)}


def _pan_neck_groups() -> dict[str, Passage]:
    """All of the neck is added up somewhere, but for what its last two layers make."""
    groups = {}
    for number, row in enumerate(TAP_ROWS):
        groups[f"neck.lateral.{number}"] = _passage(f"row {row}", "neck")
        groups |= _separable(f"neck.down.{number}", "neck", "neck")
    for number in range(2):
        groups |= _separable(f"neck.up.{number}", "neck", f"up {number}")
        groups |= _separable(f"neck.shrink.{number}", ("neck", "up 0")[number], "neck")
    return groups


def _pan_head_groups() -> dict[str, Passage]:
    groups = {}
    for number, group in enumerate(("neck", "up 0", "up 1")):
        groups |= _separable(f"mix.{number}", group, f"mix {number}")
        groups[f"heads.{number}"] = _passage(f"mix {number}", ANSWERS)
    return groups


def _separable(name: str, inputs: str, outputs: str) -> dict[str, Passage]:
    return _chain(name, inputs, (inputs, outputs))
