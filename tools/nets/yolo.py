"""A one-stage detector: MobileNetV2, feature fusion downwards and upwards, anchors over strides 8, 16 and 32.

Sources: anchors on three scales and exp() sizes, Redmon & Farhadi, YOLOv3, 2018; centres that reach over the cell's edge,
Bochkovskiy et al., YOLOv4, 2020, "grid sensitivity"; fusion, Lin et al., FPN, 2017 and Liu et al., PANet, 2018; scores per class
without an objectness, Lin et al., RetinaNet, 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.nets.convolution import Conv
from tools.nets.mobilenet_v2 import MobileNetV2

STRIDES = (8, 16, 32)
PRIOR = 0.01
"""What a fresh network answers everywhere: objects are rare."""


@dataclass(frozen=True, slots=True)
class YoloSettings:
    """What it takes to build the same network again.

    Attributes:
        classes: names, in the order of the scores.
        anchors: one list a stride of (width, height), input pixels.
        width: MobileNetV2's width multiplier.
        neck: channels of the fused features.
    """

    classes: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    width: float = 1.0
    neck: int = 96


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the network says of N pictures in R places.

    Attributes:
        boxes: (N, R, 4) xyxy, input pixels.
        logits: (N, R, classes) before the sigmoid.
    """

    boxes: Tensor
    logits: Tensor


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


class Separable(nn.Sequential):
    """A 5x5 filter a channel, then a mixture of channels."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__(Conv(inputs, inputs, kernel=5, stride=stride, groups=inputs), Conv(inputs, outputs, kernel=1))


class Neck(nn.Module):
    """Three features become three of equal width, each having seen the others: coarse to fine, then fine to coarse."""

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(Conv(n, channels, kernel=1, linear=True) for n in inputs)
        self.down = nn.ModuleList(Separable(channels, channels) for _ in inputs)
        self.shrink = nn.ModuleList(Separable(channels, channels, stride=2) for _ in inputs[1:])
        self.up = nn.ModuleList(Separable(channels, channels) for _ in inputs[1:])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        fine, middle, coarse = (lateral(x) for lateral, x in zip(self.lateral, features, strict=True))
        coarse = self.down[2](coarse)
        middle = self.down[1](middle + F.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        fine = self.down[0](fine + F.interpolate(middle, scale_factor=2.0, mode="nearest"))
        middle = self.up[0](middle + self.shrink[0](fine))
        coarse = self.up[1](coarse + self.shrink[1](middle))
        return [fine, middle, coarse]


class Yolo(nn.Module):
    """Pictures in, boxes and class logits out; grid and anchors are decoded inside."""

    def __init__(self, settings: YoloSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = MobileNetV2(width=settings.width)
        self.neck = Neck(self.backbone.channels, settings.neck)
        n_anchors, n_classes = len(settings.anchors[0]), len(settings.classes)
        self.mix = nn.ModuleList(Separable(settings.neck, settings.neck) for _ in STRIDES)
        self.heads = nn.ModuleList(Conv(settings.neck, n_anchors * (4 + n_classes), kernel=1, linear=True) for _ in STRIDES)
        self._start_quietly(n_anchors, n_classes)

    def _start_quietly(self, n_anchors: int, n_classes: int) -> None:
        for head in self.heads:
            with torch.no_grad():
                head.scale.mul_(0.1)
                head.bias.view(n_anchors, 4 + n_classes)[:, 4:] = -math.log((1 - PRIOR) / PRIOR)

    def forward(self, images: Tensor) -> Predictions:
        """images: (N, 3, H, W) uint8 RGB or the same numbers as floats; H and W multiples of 32."""
        features = self.neck(self.backbone(images.float() * (1 / 127.5) - 1.0))
        raw = [head(mix(x)) for mix, head, x in zip(self.mix, self.heads, features, strict=True)]
        return self._decode([answer.float() for answer in raw], self.places(images.shape[-2], images.shape[-1]))

    def _decode(self, raw: Sequence[Tensor], places: Places) -> Predictions:
        width = 4 + len(self.settings.classes)
        rows = torch.cat([self._rows(x, width) for x in raw], dim=1)  # (N, R, 4 + classes)
        centres = places.centres + (torch.sigmoid(rows[..., 0:2]) * 2.0 - 1.0) * places.strides
        half = 0.5 * places.anchors * torch.exp(rows[..., 2:4].clamp(-4.0, 4.0))
        return Predictions(torch.cat([centres - half, centres + half], dim=-1), rows[..., 4:])

    def _rows(self, x: Tensor, width: int) -> Tensor:
        n_anchors = len(self.settings.anchors[0])
        return x.flatten(2).unflatten(1, (n_anchors, width)).transpose(2, 3).flatten(1, 2)

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
    """The network as devices run it: the same weights by the same names, one input size; boxes and scores out, as arrays."""

    def __init__(self, settings: YoloSettings, *, input_px: int) -> None:
        super().__init__(settings)
        places = super().places(input_px, input_px)
        self.register_buffer("centres", places.centres, persistent=False)
        self.register_buffer("anchors", places.anchors, persistent=False)
        self.register_buffer("strides", places.strides, persistent=False)

    def places(self, height: int, width: int) -> Places:  # noqa: ARG002 - one size, known from the start
        return Places(self.centres, self.anchors, self.strides)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: (N, 3, input_px, input_px) uint8. Returns boxes (N, R, 4) xyxy, input pixels, and scores (N, R, classes)."""
        predictions = super().forward(images)
        return predictions.boxes, torch.sigmoid(predictions.logits)
