"""Which of a few classes a picture is of: MobileNetV2, the mean over all places, one linear layer.

Source of what is seen with `residual`: Fridrich and Kodovský, Rich Models for Steganalysis of Digital Images, 2012, section II.A,
residuals of a prediction of each pixel from its neighbours; before a convolutional network, Bayar and Stamm, IH&MMSec 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.nets.convolution import Conv
from tools.nets.mobilenet_v2 import MobileNetV2, WidenedMobileNetV2
from tools.nets.yolo import Design

FAINTEST = 0.01
"""A residual of this rms, a grey level or so, is brought to half strength only: what is flat stays flat."""


@dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """What it takes to build the same network again.

    Attributes:
        classes: names, in the order of the scores.
        design: of the detectors whose backbone it has, and can begin with; see `YoloSettings`.
        width: MobileNetV2's width multiplier.
        rows: so many rows of MobileNetV2; None: all that the design has. With fewer it sees textures, not whole faces.
        residual: it sees what each pixel differs by from its neighbours' mean, brought to one strength: fine texture, without
            colour of the light, brightness and contrast. No first weights know such pictures.
        dropout: share of the pooled channels that is left out in a step of training.
    """

    classes: tuple[str, ...]
    design: Design = "pan"
    width: float = 1.0
    rows: int | None = None
    residual: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        most = 6 if self.design == "spp" else 7
        if self.rows is not None and not 1 <= self.rows <= most:
            raise ValueError(f"rows: expected 1 to {most} in design {self.design}, got {self.rows}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected 0 or more, below 1, got {self.dropout:g}")


class Classifier(nn.Module):
    """Pictures in, a logit for each class out. Places are averaged, so that pictures may have any size."""

    def __init__(self, settings: ClassifierSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = (WidenedMobileNetV2 if settings.design == "spp" else MobileNetV2)(width=settings.width)
        self.backbone.rows = self.backbone.rows[: settings.rows]
        self.dropout = nn.Dropout(settings.dropout)
        self.head = Conv(len(self.backbone.rows[-1][-1].project.bias), len(settings.classes), kernel=1, linear=True)

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes) float32, before the softmax.

        Args:
            images: (N, 3, H, W) uint8 RGB or the same numbers as floats; H and W multiples of 32.
        """
        pictures = images.float() * (1 / 127.5) - 1.0
        features = self.backbone.stem(take_residual(pictures) if self.settings.residual else pictures)
        for row in self.backbone.rows:
            features = row(features)
        return self.head(self.dropout(features.mean(dim=(2, 3), keepdim=True))).flatten(1).float()


def take_residual(pictures: Tensor) -> Tensor:
    """What is left of pictures, (N, 3, H, W) floats, when each value loses the mean of those around it; of rms about 1.

    The mean is that of 3x3 values taken twice: nearer ones count more, as in a Gaussian of 1.2 pixels.
    """
    means = pictures
    for _ in range(2):
        means = F.avg_pool2d(means, 3, stride=1, padding=1, count_include_pad=False)
    residual = pictures - means
    return residual / (residual.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + FAINTEST)


class ExportedClassifier(Classifier):
    """The network as devices run it: the same weights by the same names, one input size; probabilities out.

    Attributes:
        width, height: of the input, pixels, multiples of 32.
    """

    def __init__(self, settings: ClassifierSettings, *, width: int, height: int) -> None:
        super().__init__(settings)
        self.width, self.height = width, height

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names of what it answers, and the shape of each for one picture."""
        return {"scores": (len(self.settings.classes),)}

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, 3, height, width) uint8. Returns (N, classes), rows of sum 1."""
        return torch.softmax(super().forward(images), dim=1)
