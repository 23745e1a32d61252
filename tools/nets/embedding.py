"""An encoder: a picture becomes numbers of unit length, near for what has one label, far for what has not.

Sources: MobileNetV2 with its last layer of 1280 channels, Sandler et al., CVPR 2018, table 2; a filter as large as the last
features in the place of their average, and a halving less to make these larger, Chen et al., MobileFaceNets, CCBR 2018,
section 3; unit length, Schroff et al., FaceNet, CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.nets.convolution import Conv
from tools.nets.mobilenet_v2 import MobileNetV2, scale_channels

LAST_CHANNELS = 1280
_ENCODER = "encoder."
"""What the names of the encoder's weights begin with in a classifier's."""
Pooling = Literal["filter", "average"]
Dimension = Literal[128, 256, 512]
Stride = Literal[16, 32]


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """What it takes to build the same network again.

    Attributes:
        input_px: side of the square input; a multiple of `stride`.
        stride: pixels from one place of the last features to the next. 16: MobileNetV2's last halving is left out, which costs
            half as much again and more.
        width: MobileNetV2's width multiplier; the last layer is never narrower than 1280, as in the paper.
        dimension: so many numbers are told about a picture.
        pooling: `filter`: each channel has a weight for each place. `average`: all places count alike.
        dropout: share of the pooled channels that is left out in a step of training.
    """

    input_px: int = 96
    stride: Stride = 32
    width: float = 1.0
    dimension: Dimension = 128
    pooling: Pooling = "filter"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.stride not in get_args(Stride):
            raise ValueError(f"stride: expected 16 or 32, got {self.stride}")
        if self.input_px < 32 or self.input_px % self.stride:
            raise ValueError(f"input_px: expected a multiple of {self.stride}, 32 at least, got {self.input_px}")
        if not 0 < self.width <= 2:
            raise ValueError(f"width: expected more than 0, and 2 at most, got {self.width:g}")
        if self.dimension not in get_args(Dimension):
            raise ValueError(f"dimension: expected one of {', '.join(map(str, get_args(Dimension)))}, got {self.dimension}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected 0 or more, below 1, got {self.dropout:g}")


class Embedding(nn.Module):
    """Pictures in, unit vectors out.

    The one normalisation over batches, `centre`, keeps the numbers around 0 while what is below them changes: without, all faces
    soon point the same way. It has no weights and is folded into the last layer for export.
    """

    def __init__(self, settings: EmbeddingSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = MobileNetV2(width=settings.width, last_stride=settings.stride // 16)
        channels = scale_channels(LAST_CHANNELS, max(1.0, settings.width))
        self.last = Conv(self.backbone.channels[-1], channels, kernel=1)
        if settings.pooling == "filter":
            self.pool = GlobalFilter(channels, side=settings.input_px // settings.stride)
        else:
            self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(settings.dropout)
        self.project = Conv(channels, settings.dimension, kernel=1, linear=True)
        self.centre = nn.BatchNorm1d(settings.dimension, affine=False)

    def pooled(self, images: Tensor) -> Tensor:
        """What is known before it is brought down to few numbers: (N, channels).

        Args:
            images: (N, 3, input_px, input_px) uint8 RGB, or the same numbers as floats.
        """
        return self.pool(self.last(self.backbone(images.float() * (1 / 127.5) - 1.0)[-1])).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, dimension) float32 of unit length; images as for `pooled`."""
        features = self.dropout(self.pooled(images))[:, :, None, None]
        return F.normalize(self.centre(self.project(features).flatten(1).float()), dim=1)

    @torch.no_grad()
    def spread(self, images: Tensor) -> None:
        """Let the last layer begin as the whitened main components of the pictures' features.

        Features that were learnt for other things share most of what they say of faces: straight from them all faces point the
        same way, and a loss over angles has nothing to hold on to.

        Args:
            images: (N, 3, input_px, input_px) uint8 RGB, N > dimension: those that training begins with.

        Raises:
            ValueError: there are no more pictures than dimensions.

        Source: whitening, Hyvärinen, Karhunen and Oja, Independent Component Analysis, 2001, section 6.4.
        """
        if len(images) <= self.settings.dimension:
            raise ValueError(f"expected more than {self.settings.dimension} pictures, got {len(images)}")
        features = torch.cat([self.pooled(part) for part in images.split(64)]).double()
        mean = features.mean(dim=0)
        _, lengths, directions = torch.linalg.svd(features - mean, full_matrices=False)
        deviations = (lengths / len(images) ** 0.5)[: self.settings.dimension, None]
        weight = directions[: self.settings.dimension] / deviations.clamp_min(1e-3 * float(deviations[0]))
        self.project.set_weights(weight[:, :, None, None].float(), -(weight @ mean).float())


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a classifier says of N pictures.

    Attributes:
        embeddings: (N, dimension) of unit length.
        cosines: (N, labels) of the angles to each label's direction.
    """

    embeddings: Tensor
    cosines: Tensor


class EmbeddingClassifier(nn.Module):
    """An encoder with a direction for each label of its training; only the encoder is kept."""

    def __init__(self, settings: EmbeddingSettings, *, labels: int) -> None:
        super().__init__()
        self.encoder = Embedding(settings)
        self.directions = nn.Parameter(F.normalize(torch.randn(labels, settings.dimension), dim=1))

    @torch.no_grad()
    def point(self, embeddings: Tensor, labels: Tensor) -> None:
        """Let each label's direction begin as the mean of its pictures: with few pictures each it takes long to find otherwise.

        Args:
            embeddings: (N, dimension) of unit length; labels: (N,), every label at least once.
        """
        sums = torch.zeros_like(self.directions).index_add_(0, labels, embeddings)
        self.directions.copy_(F.normalize(sums, dim=1))

    def forward(self, images: Tensor) -> Answers:
        """images: (N, 3, input_px, input_px) uint8 RGB."""
        embeddings = self.encoder(images)
        return Answers(embeddings, embeddings @ F.normalize(self.directions, dim=1).T)


class ExportedEmbedding(Embedding):
    """The network as devices run it: its last layer does what `centre` did; see `encoder_weights`.

    Attributes:
        width, height: of the input, pixels.
        outputs: name of what it answers, and its shape for one picture.
    """

    def __init__(self, settings: EmbeddingSettings) -> None:
        super().__init__(settings)
        self.centre = nn.Identity()
        self.width = self.height = settings.input_px
        self.outputs = {"embedding": (settings.dimension,)}


def encoder_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights out of those of an `EmbeddingClassifier`, `centre` folded into the last layer."""
    weights = {name.removeprefix(_ENCODER): one for name, one in state.items() if name.startswith(_ENCODER)}
    mean, variance = weights.pop("centre.running_mean"), weights.pop("centre.running_var")
    del weights["centre.num_batches_tracked"]
    deviation = (variance + nn.BatchNorm1d(1).eps).sqrt()
    weights["project.scale"] = weights["project.scale"] / deviation[:, None, None, None]
    weights["project.bias"] = (weights["project.bias"] - mean) / deviation
    return weights


class GlobalFilter(Conv):
    """One number a channel: the sum over all places, each weighted. It begins as the average."""

    def __init__(self, channels: int, *, side: int) -> None:
        super().__init__(channels, channels, kernel=side, groups=channels, linear=True)
        self.set_weights(torch.full_like(self.weight, 1 / side**2), torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, side, side). Returns (N, channels, 1, 1)."""
        return F.conv2d(x, self.plain_weight(), self.bias, groups=self.groups)
