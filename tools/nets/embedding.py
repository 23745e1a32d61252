"""An encoder: a picture becomes numbers of unit length, near for what has one label, far for what has not.

Sources: MobileNetV2, Sandler et al., CVPR 2018, table 2; a filter as large as the last features in the place of their average,
Chen et al., MobileFaceNets, CCBR 2018, section 3; unit length, Schroff et al., FaceNet, CVPR 2015; faces told apart by linear
discriminants, Belhumeur, Hespanha, Kriegman, Eigenfaces vs. Fisherfaces, IEEE TPAMI 19(7), 1997.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.nets.convolution import Conv
from tools.nets.discriminants import Discriminants
from tools.nets.mobilenet_v2 import ROWS, MobileNetV2, scale_channels

LAST_CHANNELS = 1280
Pooling = Literal["none", "filter", "average"]
Dimension = Literal[128, 256, 512]
Rows = Literal[3, 5, 7]
_ENCODER = "encoder."
"""What the names of the encoder's weights begin with in a classifier's."""


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """What it takes to build the same network again.

    Attributes:
        input_px: side of the square input; a multiple of the stride, which is 8, 16 or 32 for 3, 5 or 7 rows.
        rows: so many of MobileNetV2's rows; with all seven also its last layer of 1280 channels. What ImageNet taught the last
            ones is of kinds of things, and of little use to tell one face from another.
        width: MobileNetV2's width multiplier; the last layer is never narrower than 1280, as in the paper.
        dimension: so many numbers are told about a picture.
        pooling: `none`: each number is a sum over all channels and places. `filter`: each channel first becomes one number, by a
            weight for each place. `average`: the same with all places alike.
        dropout: share of what the last layer reads that is left out in a step of training.
        mirrored: what is exported embeds a picture and its mirror image, and answers the mean: twice the work, fewer errors.
    """

    input_px: int = 96
    rows: Rows = 5
    width: float = 1.0
    dimension: Dimension = 128
    pooling: Pooling = "none"
    dropout: float = 0.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("rows", get_args(Rows)), ("dimension", get_args(Dimension)), ("pooling", get_args(Pooling))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(map(str, choices))}, got {getattr(self, name)}")
        if self.input_px < 32 or self.input_px % self.stride:
            raise ValueError(f"input_px: expected a multiple of {self.stride}, 32 at least, got {self.input_px}")
        if not 0 < self.width <= 2:
            raise ValueError(f"width: expected more than 0, and 2 at most, got {self.width:g}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected 0 or more, below 1, got {self.dropout:g}")

    @property
    def stride(self) -> int:
        """Pixels from one place of the last features to the next."""
        stride = 2
        for row in ROWS[: self.rows]:
            stride *= row.s
        return stride


class Embedding(nn.Module):
    """Pictures in, unit vectors out.

    What is learnt below the last layer moves the mean of its numbers; `centre` takes that away, or all faces would soon point the
    same way. It is folded into the last layer for export.
    """

    def __init__(self, settings: EmbeddingSettings) -> None:
        super().__init__()
        self.settings = settings
        side = settings.input_px // settings.stride
        self.backbone = MobileNetV2(width=settings.width, rows=settings.rows)
        channels = self.backbone.channels[-1]
        self.last: nn.Module = nn.Identity()
        if settings.rows == len(ROWS):
            widened = scale_channels(LAST_CHANNELS, max(1.0, settings.width))
            self.last, channels = Conv(channels, widened, kernel=1), widened
        pools = {"none": nn.Identity, "average": lambda: nn.AdaptiveAvgPool2d(1), "filter": lambda: Filter(channels, side=side)}
        self.pool = pools[settings.pooling]()
        self.dropout = nn.Dropout(settings.dropout)
        self.project = Whole(channels, settings.dimension, side=side if settings.pooling == "none" else 1)
        self.centre = Centre(settings.dimension)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer reads: (N, channels, side, side).

        Args:
            images: (N, 3, input_px, input_px) uint8 RGB, or the same numbers as floats.
        """
        return self.pool(self.last(self.backbone(images.float() * (1 / 127.5) - 1.0)[-1]))

    def forward(self, images: Tensor) -> Tensor:
        """(N, dimension) float32 of unit length; images as for `features`."""
        numbers = self.project(self.dropout(self.features(images))).flatten(1).float()
        return F.normalize(self.centre(numbers), dim=1)

    @torch.no_grad()
    def discriminate(self, found: Discriminants) -> None:
        """Let the last layer begin as linear discriminants of its features, `centre` at rest.

        Args:
            found: of features of `features`, flattened.
        """
        self.project.set_weights(found.weights.reshape(self.project.weight.shape), found.biases)
        self.centre.mean.zero_()


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

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, 3, input_px, input_px) uint8. Returns (N, dimension) of unit length."""
        images = images.float()  # before they are mirrored: TensorRT cannot turn bytes round
        found = super().forward(images)
        return F.normalize(found + super().forward(images.flip(3)), dim=1) if self.settings.mirrored else found


def encoder_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights out of those of an `EmbeddingClassifier`, `centre` folded into the last layer."""
    weights = {name.removeprefix(_ENCODER): one for name, one in state.items() if name.startswith(_ENCODER)}
    weights["project.bias"] = weights["project.bias"] - weights.pop("centre.mean")
    return weights


class Centre(nn.Module):
    """Numbers (N, D) less their mean: that of the batch while it trains, else the moving mean of the batches."""

    momentum = 0.05

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimension))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x - self.mean
        mean = x.mean(dim=0)
        self.mean.lerp_(mean.detach(), self.momentum)
        return x - mean


class Whole(Conv):
    """A linear layer over all channels and places: a convolution as large as what it reads."""

    def __init__(self, inputs: int, outputs: int, *, side: int) -> None:
        super().__init__(inputs, outputs, kernel=side, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, side, side). Returns (N, outputs, 1, 1)."""
        return F.conv2d(x, self.plain_weight(), self.bias)


class Filter(Conv):
    """One number a channel: the sum over all places, each weighted. It begins as the average."""

    def __init__(self, channels: int, *, side: int) -> None:
        super().__init__(channels, channels, kernel=side, groups=channels, linear=True)
        self.set_weights(torch.full_like(self.weight, 1 / side**2), torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, side, side). Returns (N, channels, 1, 1)."""
        return F.conv2d(x, self.plain_weight(), self.bias, groups=self.groups)
