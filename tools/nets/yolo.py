"""A one-stage detector: MobileNetV2, feature fusion, anchors over strides 8, 16 and 32.

Sources: anchors on three scales and exp() sizes, Redmon & Farhadi, YOLOv3, 2018; centres that reach over the cell's edge,
Bochkovskiy et al., YOLOv4, 2020, "grid sensitivity"; fusion, Lin et al., FPN, 2017 and Liu et al., PANet, 2018; pools of several
sizes, He et al., Spatial Pyramid Pooling, 2014, as YOLOv3-SPP places them; scores per class without an objectness, Lin et al.,
RetinaNet, 2017; points of an object beside its box, relative to the anchor, Deng et al., RetinaFace, CVPR 2020, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.nets.convolution import DARKNET, Conv
from tools.nets.mobilenet_v2 import MobileNetV2, WidenedMobileNetV2

STRIDES = (8, 16, 32)
Design = Literal["pan", "spp"]
PRIOR = 0.01
"""What a fresh network answers everywhere: objects are rare."""

LARGEST_LOG_RATIO = 4.0
"""A box has e^-4 to e^4 times its anchor's sides."""
POOLS = (9, 5, 3)
"""Sides of the neighbourhoods over which `spp` takes the largest value, in cells of the coarsest stride."""
NEAREST_EDGE = 0.01
"""A centre nearer to the edge of its reach, as a share of it, is encoded as if it were there: the sigmoid has no end."""


@dataclass(frozen=True, slots=True)
class YoloSettings:
    """What it takes to build the same network again.

    Attributes:
        classes: names, in the order of the scores.
        anchors: one list a stride of (width, height), input pixels.
        design: `pan`: fused coarse to fine and back. `spp`: pools of several sizes, then fused coarse to fine; with a width of
            0.5 and a neck of 96 that is MobileNetV2-YOLOv3-Nano with a finer stride beside it, so its weights can be taken.
        width: MobileNetV2's width multiplier.
        neck: channels of the fused features; in `spp` the measure that those of every layer follow.
        objectness: each place also says whether anything is there at all; a class score is then both multiplied.
        points: names of the points of an object that each place also tells; empty: none.
    """

    classes: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    design: Design = "pan"
    width: float = 1.0
    neck: int = 96
    objectness: bool = False
    points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the network says of N pictures in R places.

    Attributes:
        boxes: (N, R, 4) xyxy, input pixels.
        offsets: (N, R, 4) what these were decoded from: tx, ty, tw, th.
        logits: (N, R, classes) before the sigmoid.
        objectness: (N, R) before the sigmoid; None in a network without.
        points: (N, R, K, 2) x, y, input pixels; None in a network without.
    """

    boxes: Tensor
    offsets: Tensor
    logits: Tensor
    objectness: Tensor | None = None
    points: Tensor | None = None

    def scores(self) -> Tensor:
        """(N, R, classes) in [0, 1]; with an objectness the probability of an object times that of its class."""
        scores = torch.sigmoid(self.logits)
        return scores if self.objectness is None else scores * torch.sigmoid(self.objectness)[..., None]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the R answers sit: for each its cell's centre, its anchor and its stride, all in input pixels.

    Attributes:
        centres: (R, 2) x, y.
        anchors: (R, 2) width, height.
        strides: (R, 1).
    """

    centres: Tensor
    anchors: Tensor
    strides: Tensor

    def at(self, rows: Tensor) -> Places:
        """Some of them, by row."""
        return Places(self.centres[rows], self.anchors[rows], self.strides[rows])


class Separable(nn.Sequential):
    """A 5x5 filter a channel, then a mixture of channels."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__(Conv(inputs, inputs, kernel=5, stride=stride, groups=inputs), Conv(inputs, outputs, kernel=1))


class PanNeck(nn.Module):
    """Three features become three of equal width, each having seen the others: coarse to fine, then fine to coarse.

    Attributes:
        channels: of the three features that it makes.
    """

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.channels = (channels,) * len(inputs)
        self.lateral = nn.ModuleList(Conv(n, channels, kernel=1, linear=True) for n in inputs)
        self.down = nn.ModuleList(Separable(channels, channels) for _ in inputs)
        self.shrink = nn.ModuleList(Separable(channels, channels, stride=2) for _ in inputs[1:])
        self.up = nn.ModuleList(Separable(channels, channels) for _ in inputs[1:])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        fine, middle, coarse = (lateral(x) for lateral, x in zip(self.lateral, features, strict=True))
        coarse = self.down[2](coarse)
        middle = self.down[1](middle + _double(coarse))
        fine = self.down[0](fine + _double(middle))
        middle = self.up[0](middle + self.shrink[0](fine))
        coarse = self.up[1](coarse + self.shrink[1](middle))
        return [fine, middle, coarse]


class SppNeck(nn.Module):
    """The coarsest feature is pooled over several distances, then each finer one is joined to what the coarser has seen.

    Attributes:
        channels: of the three features that it makes.
    """

    def __init__(self, inputs: Sequence[int], n: int) -> None:
        super().__init__()
        fine, middle, coarse = inputs
        self.channels = (3 * n // 2, 3 * n, 4 * n)
        self.pools = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in POOLS)
        self.pooled = _conv(coarse * (len(POOLS) + 1), 3 * n)
        self.coarse = nn.Sequential(_filter(3 * n), _conv(3 * n, n), _conv(n, 4 * n))
        self.middle_joint = _conv(3 * n + middle, 5 * n // 6)
        self.middle = nn.Sequential(_conv(5 * n // 6, 3 * n), _filter(3 * n), _conv(3 * n, 2 * n), _conv(2 * n, 3 * n))
        self.fine_joint = _conv(5 * n // 6 + fine, n // 2)
        self.fine = nn.Sequential(_conv(n // 2, 3 * n // 2), _filter(3 * n // 2), _conv(3 * n // 2, n), _conv(n, 3 * n // 2))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        fine, middle, coarse = features
        coarse = self.pooled(torch.cat([*(pool(coarse) for pool in self.pools), coarse], dim=1))
        middle = self.middle_joint(torch.cat([_double(coarse), middle], dim=1))
        fine = self.fine_joint(torch.cat([_double(middle), fine], dim=1))
        return [self.fine(fine), self.middle(middle), self.coarse(coarse)]


def _conv(inputs: int, outputs: int) -> Conv:
    return Conv(inputs, outputs, kernel=1, manner=DARKNET)


def _filter(channels: int) -> Conv:
    return Conv(channels, channels, kernel=3, groups=channels, manner=DARKNET)


def _point_head(channels: int, answers: int) -> nn.Sequential:
    """A look at the neighbours before the answer: a point may lie some cells away."""
    return nn.Sequential(_filter(channels), Conv(channels, answers, kernel=1, linear=True))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Yolo(nn.Module):
    """Pictures in, boxes, class logits and perhaps points out; grid and anchors are decoded inside."""

    def __init__(self, settings: YoloSettings) -> None:
        super().__init__()
        self.settings = settings
        n_anchors, answers = len(settings.anchors[0]), 4 + settings.objectness + len(settings.classes)
        if settings.design == "spp":
            self.backbone = WidenedMobileNetV2(width=settings.width)
            self.neck = SppNeck(self.backbone.channels, settings.neck)
            self.mix = nn.ModuleList(nn.Identity() for _ in STRIDES)
        else:
            self.backbone = MobileNetV2(width=settings.width)
            self.neck = PanNeck(self.backbone.channels, settings.neck)
            self.mix = nn.ModuleList(Separable(n, n) for n in self.neck.channels)
        self.heads = nn.ModuleList(Conv(n, n_anchors * answers, kernel=1, linear=True) for n in self.neck.channels)
        self.points = nn.ModuleList()
        if n_points := len(settings.points):
            self.points.extend(_point_head(n, n_anchors * n_points * 2) for n in self.neck.channels)
        self._start_quietly()

    def _start_quietly(self) -> None:
        """Where there is an objectness it alone begins low: of classes nothing is known yet."""
        rare = slice(4, 5) if self.settings.objectness else slice(4, None)
        for head in self.heads:
            with torch.no_grad():
                head.scale.mul_(0.1)
                head.bias.view(len(self.settings.anchors[0]), -1)[:, rare] = -math.log((1 - PRIOR) / PRIOR)
        for _, head in self.points:
            with torch.no_grad():
                head.weight.zero_()  # all points in the middle of the cell, and free to leave it at the full rate

    def forward(self, images: Tensor) -> Predictions:
        """images: (N, 3, H, W) uint8 RGB or the same numbers as floats; H and W multiples of 32."""
        features = self.neck(self.backbone(images.float() * (1 / 127.5) - 1.0))
        return self.answer(features, self.places(images.shape[-2], images.shape[-1]))

    def answer(self, features: Sequence[Tensor], places: Places) -> Predictions:
        """What the heads say of the neck's three features."""
        mixed = [mix(x) for mix, x in zip(self.mix, features, strict=True)]
        rows = self._rows(self.heads, mixed)  # (N, R, 4 + objectness + classes)
        offsets = rows[..., :4]
        boxes = decode_boxes(offsets, places)
        points = None
        if self.settings.points:
            points = decode_points(self._rows(self.points, mixed).unflatten(-1, (len(self.settings.points), 2)), places)
        if self.settings.objectness:
            return Predictions(boxes, offsets, rows[..., 5:], rows[..., 4], points)
        return Predictions(boxes, offsets, rows[..., 4:], points=points)

    def _rows(self, heads: nn.ModuleList, features: Sequence[Tensor]) -> Tensor:
        """(N, R, answers of a place) of three features, in the order of the places."""
        n_anchors = len(self.settings.anchors[0])
        raw = [head(x).float() for head, x in zip(heads, features, strict=True)]
        rows = [x.flatten(2).unflatten(1, (n_anchors, x.shape[1] // n_anchors)).transpose(2, 3).flatten(1, 2) for x in raw]
        return torch.cat(rows, dim=1)

    def places(self, height: int, width: int) -> Places:
        """The R places of an input of that size, in the order of the answers: stride, anchor, row, column."""
        device = self.heads[0].bias.device
        centres, anchors, strides = [], [], []
        for stride, sizes in zip(STRIDES, self.settings.anchors, strict=True):
            h, w = height // stride, width // stride
            y, x = torch.meshgrid(torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij")
            cells = (torch.stack([x, y], dim=-1).reshape(1, -1, 2).float() + 0.5) * stride
            centres.append(cells.expand(len(sizes), -1, -1).reshape(-1, 2))
            anchors.append(torch.tensor(sizes, dtype=torch.float32, device=device).repeat_interleave(h * w, dim=0))
            strides.append(torch.full((len(sizes) * h * w, 1), float(stride), device=device))
        return Places(torch.cat(centres), torch.cat(anchors), torch.cat(strides))


class ExportedYolo(Yolo):
    """The network as devices run it: the same weights by the same names, one input size; arrays out.

    Attributes:
        width, height: of the input, pixels, multiples of 32.
    """

    def __init__(self, settings: YoloSettings, *, width: int, height: int) -> None:
        super().__init__(settings)
        self.width, self.height = width, height
        places = super().places(height, width)
        self.register_buffer("centres", places.centres, persistent=False)
        self.register_buffer("anchors", places.anchors, persistent=False)
        self.register_buffer("strides", places.strides, persistent=False)

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names of what it answers in their order, and the shape of each for one picture."""
        rows, settings = len(self.centres), self.settings
        points = {"points": (rows, len(settings.points), 2)} if settings.points else {}
        return {"boxes": (rows, 4), "scores": (rows, len(settings.classes)), **points}

    def places(self, height: int, width: int) -> Places:  # noqa: ARG002 - one size, known from the start
        return Places(self.centres, self.anchors, self.strides)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images: (N, 3, height, width) uint8.

        Returns:
            Boxes (N, R, 4) xyxy, input pixels; scores (N, R, classes); points (N, R, K, 2), input pixels, in a network with such.
        """
        predictions = super().forward(images)
        answers = predictions.boxes, predictions.scores()
        return answers if predictions.points is None else (*answers, predictions.points)


def decode_boxes(offsets: Tensor, places: Places) -> Tensor:
    """(..., R, 4) xyxy: centre = cell + (2 sigmoid(txy) - 1) stride, sides = anchor * exp(twh)."""
    centres = places.centres + (torch.sigmoid(offsets[..., 0:2]) * 2.0 - 1.0) * places.strides
    half = 0.5 * places.anchors * torch.exp(offsets[..., 2:4].clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
    return torch.cat([centres - half, centres + half], dim=-1)


def encode_boxes(boxes: Tensor, places: Places) -> Tensor:
    """(..., R, 4) the offsets that decode to these boxes; the nearest that a place can say where none does."""
    centres, sizes = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    share = ((centres - places.centres) / places.strides + 1.0) / 2.0
    log_ratio = torch.log((sizes / places.anchors).clamp_min(1e-6)).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    return torch.cat([torch.logit(share, eps=NEAREST_EDGE), log_ratio], dim=-1)


def decode_points(offsets: Tensor, places: Places) -> Tensor:
    """(..., R, K, 2) x, y, input pixels: cell + offset * anchor's sides, of offsets of that shape."""
    return places.centres[:, None] + offsets * places.anchors[:, None]


def encode_points(points: Tensor, places: Places) -> Tensor:
    """(..., R, K, 2) the offsets that decode to these points."""
    return (points - places.centres[:, None]) / places.anchors[:, None]
