"""What every pixel is of: MobileNetV2 down, transposed convolutions up, a skip connection at every scale between.

Sources: Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015; the last step
to full size, without a convolution behind it, Long, Shelhamer, Darrell, Fully Convolutional Networks, CVPR 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tools.nets.convolution import Conv, TransposedConv
from tools.nets.mobilenet_v2 import MobileNetV2, WidenedMobileNetV2
from tools.nets.yolo import Design

SKIP_ROWS = (0, 1, 2, 4)
"""The rows of MobileNetV2 after which features of stride 2, 4, 8 and 16 are handed across; stride 32 is the bottom of the U."""


@dataclass(frozen=True, slots=True)
class UNetSettings:
    """What it takes to build the same network again.

    Attributes:
        classes: names, in the order of the ids in a label map.
        design: of the detectors whose backbone it has, and can begin with; see `YoloSettings`.
        width: MobileNetV2's width multiplier.
        decoder: channels on the way up, at strides 16, 8, 4 and 2.
        dropout: share of the channels at the bottom that is left out in a step of training.
    """

    classes: tuple[str, ...]
    design: Design = "pan"
    width: float = 1.0
    decoder: tuple[int, int, int, int] = (96, 64, 48, 32)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= 255:
            raise ValueError(f"classes: expected 2 to 255, one byte a pixel and 255 for void, got {len(self.classes)}")
        if min(self.decoder) < 1:
            raise ValueError(f"decoder: expected at least one channel at every stride, got {self.decoder}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected 0 or more, below 1, got {self.dropout:g}")


class Rise(nn.Module):
    """One step up: twice the size, joined by what the way down had seen at that size, mixed by a 3x3 convolution."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.enlarge = TransposedConv(inputs, outputs)
        self.mix = Conv(outputs + skipped, outputs, kernel=3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.mix(torch.cat([self.enlarge(x), skip], dim=1))


class UNet(nn.Module):
    """Pictures in, a logit for each class and pixel out."""

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = (WidenedMobileNetV2 if settings.design == "spp" else MobileNetV2)(width=settings.width)
        channels = [len(row[-1].project.bias) for row in self.backbone.rows]
        self.dropout = nn.Dropout2d(settings.dropout)
        inputs, self.rises = channels[-1], nn.ModuleList()
        for row, outputs in zip(reversed(SKIP_ROWS), settings.decoder, strict=True):
            self.rises.append(Rise(inputs, channels[row], outputs))
            inputs = outputs
        self.head = TransposedConv(inputs, len(settings.classes), kernel=4, linear=True)

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes, H, W), before the softmax.

        Args:
            images: (N, 3, H, W) uint8 RGB or the same numbers as floats; H and W multiples of 32.
        """
        features = self.backbone.stem(images.float() * (1 / 127.5) - 1.0)
        skips = []
        for number, row in enumerate(self.backbone.rows):
            features = row(features)
            if number in SKIP_ROWS:
                skips.append(features)
        features = self.dropout(features)
        for rise in self.rises:
            features = rise(features, skips.pop())
        return self.head(features)


class ExportedUNet(UNet):
    """The network as devices run it: the same weights by the same names, one input size; a label each pixel, and how sure it is.

    Attributes:
        width, height: of the input, pixels, multiples of 32.
    """

    def __init__(self, settings: UNetSettings, *, width: int, height: int) -> None:
        super().__init__(settings)
        self.width, self.height = width, height

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names of what it answers, and the shape of each for one picture."""
        return {"labels": (self.height, self.width), "confidence": (self.height, self.width)}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Label maps and confidences, (N, height, width) uint8 each; 255 is a probability of 1.

        Both go through floats, as TensorRT makes bytes of nothing else.

        Args:
            images: (N, 3, height, width) uint8.
        """
        logits = super().forward(images)
        labels = logits.argmax(dim=1)
        # The largest probability without a map of every class's: exp(largest) / sum(exp) = 1 / sum(exp(logit - largest)).
        largest = 1 / torch.exp(logits - logits.amax(dim=1, keepdim=True)).sum(dim=1)
        return labels.float().to(torch.uint8), (largest * 255 + 0.5).to(torch.uint8)
