"""A narrow network that starts from a wide one."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")

from tools.narrowing import ANSWERS, PICTURE, Weights, channel_groups, narrow  # noqa: E402
from tools.nets.convolution import Conv  # noqa: E402
from tools.nets.yolo import Yolo, YoloSettings  # noqa: E402

pytestmark = pytest.mark.torch

ANCHORS = (((12.0, 12.0),), ((24.0, 24.0),), ((48.0, 48.0),))


def _make(width: float, neck: int) -> Yolo:
    torch.manual_seed(int(100 * width))
    return Yolo(YoloSettings(("person", "car"), ANCHORS, width=width, neck=neck)).eval()


def _weights(network: Yolo) -> Weights:
    found = {}
    for name, conv in network.named_modules():
        if isinstance(conv, Conv):
            found[f"{name}.weight"] = (conv.weight * conv.scale).detach().numpy()
            found[f"{name}.bias"] = np.random.default_rng(len(name)).normal(0, 0.3, len(conv.bias)).astype(np.float32)
    return found


def _load(network: Yolo, weights: Weights) -> None:
    for name, conv in network.named_modules():
        if isinstance(conv, Conv):
            conv.set_weights(torch.from_numpy(weights[f"{name}.weight"]), torch.from_numpy(weights[f"{name}.bias"]))


def test_channel_groups_name_every_convolution_and_agree_on_their_sizes() -> None:
    """Nothing is left out, and all channels of a group are as many."""
    network = _make(0.5, 24)
    groups = channel_groups(network)
    sizes: dict[str, set[int]] = {}
    for name, conv in network.named_modules():
        if isinstance(conv, Conv):
            inputs, outputs = groups.pop(name)
            sizes.setdefault(outputs, set()).add(conv.weight.shape[0])
            sizes.setdefault(inputs, set()).add(conv.weight.shape[1] * conv.groups)

    assert groups == {}
    assert {group: len(found) for group, found in sizes.items()} == dict.fromkeys(sizes, 1)


def test_narrow_to_the_same_width_is_the_identity() -> None:
    """What fits is not touched."""
    network = _make(0.5, 24)
    weights = _weights(network)

    assert narrow(network, weights) is weights


def test_narrow_network_computes_what_the_wide_one_does_with_its_dropped_channels_at_zero() -> None:
    """Random channels of every group are set to zero; the others are kept, everywhere the same, in their order."""
    wide, thin = _make(0.75, 32), _make(0.5, 24)
    weights = _weights(wide)
    _zero_channels(weights, channel_groups(wide), {name: len(conv.bias) for name, conv in _convolutions(thin).items()})
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))

    _load(wide, weights)
    _load(thin, narrow(thin, weights))

    with torch.no_grad():
        expected, found = wide(images), thin(images)
    assert float(expected.logits.std()) > 0.01
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=1e-4, atol=1e-2)


def _convolutions(network: Yolo) -> dict[str, Conv]:
    return {name: module for name, module in network.named_modules() if isinstance(module, Conv)}


def _zero_channels(weights: Weights, groups: dict[str, tuple[str, str]], wanted: dict[str, int]) -> None:
    """Leave as many channels of each group as the thin network has."""
    rng = np.random.default_rng(4)
    dropped: dict[str, np.ndarray] = {}
    for name, (_, outputs) in groups.items():
        if outputs not in dropped and outputs not in (PICTURE, ANSWERS):
            n = len(weights[f"{name}.bias"])
            dropped[outputs] = rng.permutation(n)[wanted[name] :]
    for name, (inputs, outputs) in groups.items():
        weight = weights[f"{name}.weight"]
        if outputs in dropped:
            weight[dropped[outputs]] = 0
            weights[f"{name}.bias"][dropped[outputs]] = 0
        if inputs in dropped and weight.shape[1] > 1:
            weight[:, dropped[inputs]] = 0


def test_narrow_drops_the_channels_of_the_smallest_weights() -> None:
    """Small on both sides, not only on one; a layer of large weights does not outvote the others."""
    wide, thin = _make(0.75, 32), _make(0.75, 24)
    weights = _weights(wide)
    groups = channel_groups(wide)
    for name, (inputs, outputs) in groups.items():
        if outputs == "mix 0":
            weights[f"{name}.weight"][5] *= 1e-3
        if inputs == "mix 0":
            weights[f"{name}.weight"][:, 5] *= 1e-3
            weights[f"{name}.weight"][:, 6] *= 1e-3

    cut = narrow(thin, weights)

    assert cut["mix.0.1.bias"].shape == (24,)
    assert weights["mix.0.1.bias"][5] not in cut["mix.0.1.bias"]
    np.testing.assert_array_equal(cut["heads.0.bias"], weights["heads.0.bias"])


def test_narrow_without_a_part_of_the_network_narrows_the_rest() -> None:
    """ImageNet's weights are of the backbone alone."""
    wide, thin = _make(0.75, 32), _make(0.5, 24)
    weights = {name: value for name, value in _weights(wide).items() if name.startswith("backbone.")}

    cut = narrow(thin, weights)

    assert cut.keys() == weights.keys()
    for name, conv in _convolutions(thin.backbone).items():
        assert cut[f"backbone.{name}.weight"].shape == tuple(conv.weight.shape)
