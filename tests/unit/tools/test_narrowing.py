"""A narrow network that starts from a wide one."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")

from tools.narrowing import ANSWERS, PICTURE, POINTS, Passage, Weights, channel_groups, narrow  # noqa: E402
from tools.nets.convolution import Conv  # noqa: E402
from tools.nets.yolo import Design, Yolo, YoloSettings, encode_points  # noqa: E402

pytestmark = pytest.mark.torch

DESIGNS = pytest.mark.parametrize("design", ["pan", "spp"])
ANCHORS = (((12.0, 12.0),), ((24.0, 24.0),), ((48.0, 48.0),))


def _make(width: float, neck: int, *, design: Design = "pan", points: tuple[str, ...] = ()) -> Yolo:
    torch.manual_seed(int(100 * width))
    return Yolo(YoloSettings(("person", "car"), ANCHORS, design=design, width=width, neck=neck, points=points)).eval()


def _weights(network: Yolo) -> Weights:
    found = {}
    for name, conv in network.named_modules():
        if isinstance(conv, Conv):
            weight = torch.randn_like(conv.weight) if name.startswith("points.") else conv.weight  # fresh ones are 0
            found[f"{name}.weight"] = (weight * conv.scale).detach().numpy()
            found[f"{name}.bias"] = np.random.default_rng(len(name)).normal(0, 0.3, len(conv.bias)).astype(np.float32)
    return found


def _load(network: Yolo, weights: Weights) -> None:
    for name, conv in network.named_modules():
        if isinstance(conv, Conv):
            conv.set_weights(torch.from_numpy(weights[f"{name}.weight"]), torch.from_numpy(weights[f"{name}.bias"]))


@DESIGNS
def test_channel_groups_name_every_convolution_and_agree_on_their_sizes(design: Design) -> None:
    """Nothing is left out, and all channels of a group are as many; a joint reads as many as its groups have together."""
    network = _make(0.5, 24, design=design, points=("eye", "nose"))
    groups = channel_groups(network)
    convolutions = _convolutions(network)
    sizes = {PICTURE: 3} | {outputs: len(convolutions[name].bias) for name, (_, outputs) in groups.items()}

    assert groups.keys() == convolutions.keys()
    for name, (inputs, outputs) in groups.items():
        conv = convolutions[name]
        assert len(conv.bias) == sizes[outputs], name
        assert conv.weight.shape[1] * conv.groups == sum(sizes[group] for group in inputs), name


@DESIGNS
def test_narrow_to_the_same_width_is_the_identity(design: Design) -> None:
    """What fits is not touched."""
    network = _make(0.5, 24, design=design, points=("eye", "nose"))
    weights = _weights(network)

    assert narrow(network, weights) is weights


@DESIGNS
def test_narrow_network_computes_what_the_wide_one_does_with_its_dropped_channels_at_zero(design: Design) -> None:
    """Random channels of every group are set to zero; the others are kept, everywhere the same, in their order."""
    points = ("eye", "nose")
    wide, thin = _make(0.75, 32, design=design, points=points), _make(0.5, 24, design=design, points=points)
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
    assert float(encode_points(expected.points, wide.places(64, 64)).std()) > 0.01
    torch.testing.assert_close(found.points, expected.points, rtol=1e-4, atol=1e-2)


def _convolutions(network: Yolo) -> dict[str, Conv]:
    return {name: module for name, module in network.named_modules() if isinstance(module, Conv)}


def _zero_channels(weights: Weights, groups: dict[str, Passage], wanted: dict[str, int]) -> None:
    """Leave as many channels of each group as the thin network has, on the side that makes and on those that read them."""
    rng = np.random.default_rng(4)
    kept = {PICTURE: np.ones(3, bool)}
    for name, (_, outputs) in groups.items():
        n = len(weights[f"{name}.bias"])
        kept.setdefault(outputs, rng.permutation(n) < (n if outputs in (ANSWERS, POINTS) else wanted[name]))
    for name, (inputs, outputs) in groups.items():
        weight = weights[f"{name}.weight"]
        weight[~kept[outputs]] = 0
        weights[f"{name}.bias"][~kept[outputs]] = 0
        if weight.shape[1] > 1:
            weight[:, ~np.concatenate([kept[group] for group in inputs])] = 0


def test_narrow_drops_the_channels_of_the_smallest_weights() -> None:
    """Small on both sides, not only on one; a layer of large weights does not outvote the others."""
    wide, thin = _make(0.75, 32), _make(0.75, 24)
    weights = _weights(wide)
    groups = channel_groups(wide)
    for name, (inputs, outputs) in groups.items():
        if outputs == "mix 0":
            weights[f"{name}.weight"][5] *= 1e-3
        if inputs == ("mix 0",):
            weights[f"{name}.weight"][:, 5] *= 1e-3
            weights[f"{name}.weight"][:, 6] *= 1e-3

    cut = narrow(thin, weights)

    assert cut["mix.0.1.bias"].shape == (24,)
    assert weights["mix.0.1.bias"][5] not in cut["mix.0.1.bias"]
    np.testing.assert_array_equal(cut["heads.0.bias"], weights["heads.0.bias"])


def test_narrow_counts_a_channel_wherever_it_is_read() -> None:
    """The coarsest feature is read by the joint of the pools four times: who matters there alone is kept."""
    wide, thin = _make(0.5, 24, design="spp"), _make(0.35, 24, design="spp")
    weights = _weights(wide)
    for name, (inputs, outputs) in channel_groups(wide).items():
        if "row 5" in (*inputs, outputs) and name != "neck.pooled":
            side = weights[f"{name}.weight"] if outputs == "row 5" else weights[f"{name}.weight"].swapaxes(0, 1)
            side[7] *= 1e-3
    weights["neck.pooled.weight"][:, 3 * 80 + 7] *= 10

    cut = narrow(thin, weights)

    assert weights["backbone.rows.5.2.project.bias"][7] in cut["backbone.rows.5.2.project.bias"]


def test_narrow_without_a_part_of_the_network_narrows_the_rest() -> None:
    """ImageNet's weights are of the backbone alone."""
    wide, thin = _make(0.75, 32), _make(0.5, 24)
    weights = {name: value for name, value in _weights(wide).items() if name.startswith("backbone.")}

    cut = narrow(thin, weights)

    assert cut.keys() == weights.keys()
    for name, conv in _convolutions(thin.backbone).items():
        assert cut[f"backbone.{name}.weight"].shape == tuple(conv.weight.shape)
