"""MobileNetV2 and the detector on it: shapes, padding, width, the ImageNet weights, decoding."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")

from tools.nets.convolution import Conv, same_padding  # noqa: E402
from tools.nets.mobilenet_v2 import ROWS, MobileNetV2, WidenedMobileNetV2, scale_channels  # noqa: E402
from tools.nets.yolo import Yolo, YoloSettings, decode_points, encode_points  # noqa: E402
from tools.weights import initialise  # noqa: E402

pytestmark = pytest.mark.torch

WEIGHTS = Path(__file__).parents[4] / "shared" / "data" / "weights" / "mobilenet_v2_1.0_224"
ANCHORS = (((8.0, 8.0), (16.0, 30.0)), ((40.0, 40.0), (30.0, 80.0)), ((100.0, 100.0), (200.0, 200.0)))


@pytest.fixture
def settings() -> YoloSettings:
    """A narrow network of two classes."""
    return YoloSettings(classes=("person", "car"), anchors=ANCHORS, width=0.25, neck=16)


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [
        pytest.param(32, 1.0, 32, id="width 1 keeps"),
        pytest.param(32, 0.5, 16, id="exact half"),
        pytest.param(24, 0.35, 8, id="down to 8, within a tenth"),
        pytest.param(96, 0.35, 32, id="to the nearest multiple of 8"),
        pytest.param(16, 0.75, 16, id="half a step goes up"),
        pytest.param(8, 0.1, 8, id="never below 8"),
        pytest.param(24, 0.75, 24, id="never a tenth below the exact product"),
    ],
)
def test_scale_channels_of_a_width_gives_the_reference_numbers(channels: int, width: float, expected: int) -> None:
    """Channels times width go to multiples of 8 without losing more than a tenth, as TF-slim rounds them."""
    assert scale_channels(channels, width) == expected


def test_mobilenet_of_width_1_has_the_papers_convolutions() -> None:
    """The table gives the 51 convolutions up to 320 channels, with strides 8, 16 and 32 at the taps."""
    network = MobileNetV2()

    taps = network(torch.zeros(1, 3, 64, 96))

    convolutions = [module for module in network.modules() if isinstance(module, Conv)]
    assert len(convolutions) == 51
    assert [tuple(tap.shape) for tap in taps] == [(1, 32, 8, 12), (1, 96, 4, 6), (1, 320, 2, 3)]
    assert [len(blocks) for blocks in network.rows] == [row.n for row in ROWS]


def test_mobilenet_of_half_width_halves_the_taps() -> None:
    """The width multiplier scales every tap."""
    taps = MobileNetV2(width=0.5)(torch.zeros(1, 3, 32, 32))

    assert [tap.shape[1] for tap in taps] == [16, 48, 160]


def test_widened_mobilenet_of_half_width_has_the_channels_of_nano() -> None:
    """Two taps where the blocks are six times as wide as their input, one after the last row but one of the table."""
    taps = WidenedMobileNetV2(width=0.5)(torch.zeros(1, 3, 64, 96))

    assert [tuple(tap.shape) for tap in taps] == [(1, 96, 8, 12), (1, 288, 4, 6), (1, 80, 2, 3)]


@pytest.mark.parametrize(("kernel", "expected"), [(3, (0, 1)), (5, (1, 2))])
def test_same_padding_at_stride_2_puts_the_odd_pixel_behind(kernel: int, expected: tuple[int, int]) -> None:
    """TF 'SAME' on even sizes: the first window starts at the first pixel for a kernel of 3."""
    assert same_padding(kernel) == expected


def test_conv_at_stride_2_starts_at_the_first_pixel() -> None:
    """A kernel that picks its first tap reads pixels 0, 2, 4, not -1, 1, 3."""
    conv = Conv(1, 1, kernel=3, stride=2, linear=True)
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, 0, 0] = 1.0
    conv.set_weights(kernel, torch.zeros(1))
    picture = torch.arange(36, dtype=torch.float32).reshape(1, 1, 6, 6)

    answer = conv(picture)

    torch.testing.assert_close(answer, picture[:, :, ::2, ::2])


def test_conv_takes_over_weights_exactly() -> None:
    """Storing weights at unit size with a scale beside them changes nothing of what they compute."""
    conv = Conv(4, 6, kernel=3, linear=True)
    weight, bias = torch.randn(6, 4, 3, 3) * torch.logspace(-3, 2, 6).view(-1, 1, 1, 1), torch.randn(6)
    x = torch.randn(2, 4, 8, 8)

    conv.set_weights(weight, bias)

    expected = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(conv(x), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(conv.weight.square().mean(dim=(1, 2, 3)), torch.ones(6))


def test_conv_folded_computes_the_same() -> None:
    """Folding for export moves the scale into the weights."""
    conv = Conv(4, 6, kernel=3)
    x = torch.randn(2, 4, 8, 8)
    before = conv(x)

    conv.fold()

    torch.testing.assert_close(conv(x), before)
    torch.testing.assert_close(conv.scale, torch.ones_like(conv.scale))


@pytest.mark.shared
@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"the ImageNet weights are not at {WEIGHTS}")
def test_mobilenet_with_imagenet_weights_gives_the_published_features() -> None:
    """Every tap equals the published graph, computed by NumPy from its own op list: padding, order, additions and all."""
    network = Yolo(YoloSettings(classes=("person",), anchors=ANCHORS))
    initialise(network, next(WEIGHTS.glob("*.npz")))
    picture = np.random.default_rng(7).uniform(-1, 1, (3, 64, 64)).astype(np.float32)

    taps = network.backbone(torch.from_numpy(picture)[None])

    for tap, expected in zip(taps, _published_features(picture), strict=True):
        found = tap[0].detach().numpy()
        assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def _published_features(picture: np.ndarray) -> list[np.ndarray]:
    """Walk the graph file with windows and sums only; nothing of ours in it. The last tensors of strides 8, 16 and 32."""
    weights = np.load(next(WEIGHTS.glob("*.npz")))
    layers = iter(sorted({name.rsplit(".", 1)[0] for name in weights.files}))
    tensors: dict[int, np.ndarray] = {}
    by_channels: dict[int, np.ndarray] = {}
    for op in json.loads((WEIGHTS / "mobilenet_v2_1.0_224_graph.json").read_text()):
        if op["op"] == "ADD":
            answer = tensors[op["inp"][0]] + tensors[op["inp"][1]]
        else:
            layer = next(layers)
            weight, bias = (weights[f"{layer}.{part}"].astype(np.float32) for part in ("weight", "bias"))
            answer = _same_convolution(tensors.get(op["inp"], picture), weight, bias, op["stride"])
            answer = answer if "project" in layer else np.clip(answer, 0, 6)
        tensors[op["out"]] = by_channels[len(answer)] = answer
        if len(answer) == 320:
            break
    return [by_channels[32], by_channels[96], by_channels[320]]


def _same_convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """TF 'SAME': out = ceil(in / stride), the odd padding pixel right and below."""
    size = weight.shape[2]
    out = -(-x.shape[1] // stride)
    total = max((out - 1) * stride + size - x.shape[1], 0)
    padded = np.pad(x, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    subscripts = "chwij,cij->chw" if weight.shape[1] == 1 and weight.shape[0] == len(x) else "chwij,ocij->ohw"
    filters = weight[:, 0] if subscripts.startswith("chwij,cij") else weight
    return np.einsum(subscripts, windows, filters, optimize=True) + bias[:, None, None]


def test_yolo_of_neutral_answers_gives_its_anchors_on_their_cells(settings: YoloSettings) -> None:
    """All-zero box answers decode to every anchor centred on every cell, ordered by stride, anchor, row, column."""
    network = Yolo(settings)
    for head in network.heads:
        head.set_weights(torch.zeros_like(head.weight), torch.zeros_like(head.bias))

    boxes = network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).boxes[0].detach().numpy()

    expected = []
    for stride, anchors in zip((8, 16, 32), ANCHORS, strict=True):
        for w, h in anchors:
            for row in range(64 // stride):
                for column in range(64 // stride):
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    expected.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    np.testing.assert_allclose(boxes, np.array(expected), atol=1e-3)


def test_yolo_answers_move_and_scale_the_box_by_the_formula(settings: YoloSettings) -> None:
    """Centre = cell + (2 sigmoid - 1) stride, size = anchor * exp: the very numbers for one head's bias."""
    network = Yolo(settings)
    for head in network.heads:
        bias = torch.zeros_like(head.bias).view(2, 6)
        bias[:, :4] = torch.tensor([1.0, -2.0, 0.5, -0.25])
        head.set_weights(torch.zeros_like(head.weight), bias.flatten())

    box = network(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).boxes[0, 0].detach().numpy()

    x, y = 4 + (2 / (1 + np.exp(-1.0)) - 1) * 8, 4 + (2 / (1 + np.exp(2.0)) - 1) * 8
    w, h = 8 * np.exp(0.5), 8 * np.exp(-0.25)
    np.testing.assert_allclose(box, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-5)


def test_yolo_that_is_fresh_sees_nothing(settings: YoloSettings) -> None:
    """Before any training every score is about the prior of one in a hundred."""
    torch.manual_seed(0)

    with torch.no_grad():
        scores = torch.sigmoid(Yolo(settings)(torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)).logits)

    assert float(scores.mean()) == pytest.approx(0.01, abs=0.01)


def test_decode_points_counts_from_the_cell_in_sides_of_the_anchor(settings: YoloSettings) -> None:
    """Half an anchor to the right and a whole one down; what is encoded decodes to itself."""
    places = Yolo(settings).places(64, 64)
    row = 2 * 64 + 5  # stride 16, first anchor (40, 40), second row, second cell
    points = torch.rand(3, len(places.centres), 4, 2) * 64

    found = decode_points(torch.tensor([0.5, 1.0]).expand(len(places.centres), 1, 2), places)

    assert found[row, 0].tolist() == [24.0 + 20.0, 24.0 + 40.0]
    torch.testing.assert_close(decode_points(encode_points(points, places), places), points)


def test_yolo_with_points_answers_them_beside_boxes_as_they_are_without(settings: YoloSettings) -> None:
    """A fresh network puts every point in the middle of its cell; boxes and scores do not depend on the points' branch."""
    torch.manual_seed(1)
    with_points = Yolo(replace(settings, points=("eye", "nose", "mouth")))
    without = Yolo(settings)
    without.load_state_dict({name: one for name, one in with_points.state_dict().items() if not name.startswith("points.")})
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)

    found, expected = with_points(images), without(images)

    centres = with_points.places(64, 96).centres
    assert found.points.shape == (2, len(centres), 3, 2)
    torch.testing.assert_close(found.points, centres[:, None].expand(2, -1, 3, -1))
    torch.testing.assert_close(found.boxes, expected.boxes)
    torch.testing.assert_close(found.logits, expected.logits)
    assert expected.points is None


def test_yolo_answers_points_at_the_place_that_they_are_of(settings: YoloSettings) -> None:
    """Channels are anchors first, then points, then x and y: told by the biases of the last layer of one stride."""
    network = Yolo(replace(settings, points=("eye", "nose")))
    with torch.no_grad():
        network.points[1][1].bias.copy_(torch.arange(8.0))

    points = network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).points[0]

    offsets = encode_points(points, network.places(64, 64))
    first = 2 * 64  # of stride 16
    torch.testing.assert_close(offsets[first], torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    torch.testing.assert_close(offsets[first + 16], torch.tensor([[4.0, 5.0], [6.0, 7.0]]))
