"""The segmenter's network: steps up, skip connections, first weights, the label map and confidence that it exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")

from torch.nn import functional as F  # noqa: E402

from edged.errors import InputError  # noqa: E402
from tools.nets.convolution import TransposedConv, convolutions  # noqa: E402
from tools.nets.unet import SKIP_ROWS, ExportedUNet, UNet, UNetSettings  # noqa: E402
from tools.nets.yolo import Yolo, YoloSettings  # noqa: E402
from tools.training import save_checkpoint  # noqa: E402
from tools.weights import initialise_on_backbone  # noqa: E402

pytestmark = pytest.mark.torch

CLASSES = ("road", "car", "sky")
DECODER = (24, 16, 12, 8)
IMAGES = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def make_unet(*, seed: int = 1, **changes: object) -> UNet:
    """A narrow one with random biases."""
    torch.manual_seed(seed)
    network = UNet(UNetSettings(**{"classes": CLASSES, "width": 0.25, "decoder": DECODER, **changes})).eval()
    with torch.no_grad():
        for conv in convolutions(network).values():
            conv.bias.normal_(0, 0.3)
    return network


def write_checkpoint(path: Path, network: torch.nn.Module) -> Path:
    """What a training of this network would leave."""
    weights = network.state_dict()
    save_checkpoint(path, {"network": weights, "averaged": weights, "settings": {}, "epoch": 1})
    return path


@pytest.mark.parametrize("kernel", [2, 4])
def test_transposed_convolution_is_the_gradient_of_the_convolution(kernel: int) -> None:
    """Its definition: <conv(y), x> = <y, transposed(x)> for every x and y."""
    torch.manual_seed(2)
    layer = TransposedConv(3, 5, kernel=kernel, linear=True)
    x, y = torch.randn(2, 3, 4, 6), torch.randn(2, 5, 8, 12)

    up = layer(x)
    down = F.conv2d(y, layer.plain_weight(), stride=2, padding=(kernel - 2) // 2)

    assert up.shape == y.shape
    torch.testing.assert_close((down * x).sum(), (y * up).sum(), rtol=1e-4, atol=1e-4)


def test_transposed_convolution_draws_no_checkerboard() -> None:
    """Of an even input with equal weights every inner output pixel is as large as any other."""
    layer = TransposedConv(1, 1, kernel=4, linear=True)
    layer.set_weights(torch.ones(1, 1, 4, 4), torch.zeros(1))

    inner = layer(torch.ones(1, 1, 5, 5))[..., 1:-1, 1:-1]

    torch.testing.assert_close(inner, torch.full_like(inner, 4.0))


def test_transposed_convolution_takes_plain_weights_and_folds_to_them() -> None:
    """What is stored at unit size computes the same before and after."""
    layer = TransposedConv(4, 6)
    weight, bias = torch.randn(4, 6, 2, 2) * torch.logspace(-2, 2, 6)[None, :, None, None], torch.randn(6)
    layer.set_weights(weight, bias)

    torch.testing.assert_close(layer.plain_weight(), weight)
    torch.testing.assert_close(layer.weight.square().mean(dim=(0, 2, 3)), torch.ones(6))
    layer.fold()
    torch.testing.assert_close(layer.weight, weight)


@pytest.mark.parametrize("sizes", [(3, 2), (2, 4), (4, 3)])
def test_transposed_convolution_that_would_overlap_unevenly_is_refused(sizes: tuple[int, int]) -> None:
    """A kernel that the stride does not divide."""
    with pytest.raises(ValueError, match="divides"):
        TransposedConv(1, 1, kernel=sizes[0], stride=sizes[1])


@pytest.mark.parametrize("design", ["pan", "spp"])
def test_unet_answers_a_logit_for_each_class_and_pixel_at_any_size(design: str) -> None:
    """Both backbones; sizes need not be the exported one."""
    network = make_unet(design=design)

    assert network(IMAGES).shape == (2, 3, 64, 96)
    assert network(IMAGES[..., :32, :32]).shape == (2, 3, 32, 32)


def test_every_scale_of_the_way_down_reaches_the_answer() -> None:
    """Were a skip connection not there, cutting what feeds it alone would change nothing."""
    network = make_unet()
    before = network(IMAGES)

    for row in SKIP_ROWS:
        changed = make_unet()
        kept = {}
        block = changed.backbone.rows[row][-1]
        block.register_forward_hook(lambda module, inputs, output, kept=kept: kept.setdefault("skip", output))
        rise = changed.rises[len(SKIP_ROWS) - 1 - SKIP_ROWS.index(row)]
        rise.register_forward_pre_hook(lambda module, inputs: (inputs[0], torch.zeros_like(inputs[1])))

        after = changed(IMAGES)

        assert kept["skip"].abs().max() > 0
        assert not torch.allclose(before, after), f"row {row}"


@pytest.mark.parametrize(
    "changes",
    [{"classes": ("one",)}, {"classes": tuple(map(str, range(256)))}, {"decoder": (8, 8, 0, 8)}, {"dropout": 1.0}],
)
def test_unet_settings_that_cannot_be_built_are_refused(changes: dict[str, object]) -> None:
    """255 is void."""
    with pytest.raises(ValueError, match="expected"):
        UNetSettings(**{"classes": CLASSES, **changes})


def test_unet_begins_with_the_backbone_of_a_detector(tmp_path: Path) -> None:
    """The way up, which no detector has, is told as lacking."""
    torch.manual_seed(5)
    anchors = (((12.0, 12.0),), ((24.0, 24.0),), ((48.0, 48.0),))
    detector = Yolo(YoloSettings(("person",), anchors, design="spp", width=0.25, neck=24)).eval()
    network = make_unet(design="spp")

    missing = initialise_on_backbone(network, write_checkpoint(tmp_path / "last.pt", detector))

    assert missing == [name for name in convolutions(network) if not name.startswith("backbone.")]
    for name, conv in convolutions(network.backbone).items():
        torch.testing.assert_close(conv.plain_weight(), convolutions(detector.backbone)[name].plain_weight())


def test_unet_takes_all_of_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    """Its answers are the same afterwards; with other classes all but the head is."""
    first, second, other = make_unet(seed=1), make_unet(seed=2), make_unet(seed=2, classes=("person", "background"))
    path = write_checkpoint(tmp_path / "last.pt", first)

    assert initialise_on_backbone(second, path) == []
    torch.testing.assert_close(second(IMAGES), first(IMAGES))
    assert initialise_on_backbone(other, path) == ["head"]


def test_unet_narrower_than_its_first_weights_takes_the_strongest_channels_of_the_way_down(tmp_path: Path) -> None:
    """The way up of a wider one does not fit and starts at random."""
    path = write_checkpoint(tmp_path / "last.pt", make_unet(width=0.5))

    missing = initialise_on_backbone(make_unet(width=0.25), path)

    assert not [name for name in missing if name.startswith("backbone.")]


def test_unet_of_another_design_than_the_first_weights_is_refused(tmp_path: Path) -> None:
    """Both pad and bound otherwise: every feature would shift."""
    path = write_checkpoint(tmp_path / "last.pt", make_unet(design="spp"))

    with pytest.raises(InputError, match="another design"):
        initialise_on_backbone(make_unet(design="pan"), path)


def test_exported_unet_answers_the_likeliest_class_and_its_probability() -> None:
    """Bytes: the argmax, and 255 times the softmax's largest value."""
    trained = make_unet()
    exported = ExportedUNet(trained.settings, width=96, height=64).eval()
    exported.load_state_dict(trained.state_dict())
    probabilities = torch.softmax(trained(IMAGES), dim=1)

    labels, confidence = exported(IMAGES)

    assert labels.dtype == confidence.dtype == torch.uint8
    assert labels.shape[1:] == exported.outputs["labels"] == exported.outputs["confidence"] == (64, 96)
    assert len(labels.unique()) > 1
    np.testing.assert_array_equal(labels, probabilities.argmax(dim=1))
    np.testing.assert_allclose(confidence, probabilities.amax(dim=1).detach() * 255, atol=0.51)
