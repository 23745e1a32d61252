"""MobileNetV2 as a backbone with taps at strides 8, 16 and 32.

Source: Sandler, Howard, Zhu, Zhmoginov, Chen, MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, table 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from tools.nets.convolution import DARKNET, TENSORFLOW, Conv, Manner


class Row(NamedTuple):
    """One line of the paper's table 2: `n` blocks of `c` channels, inner width `t` times the input's, the first at stride `s`."""

    t: int
    c: int
    n: int
    s: int


ROWS = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 32, 3, 2),
    Row(6, 64, 4, 2),
    Row(6, 96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)
STEM_CHANNELS = 32
TAP_ROWS = (2, 4, 6)
"""The rows after which features of stride 8, 16 and 32 are taken."""
WIDENED_TAP_ROWS = (3, 5)
"""The rows whose first block, widened and not yet at half the size, gives features of stride 8 and 16."""


def scale_channels(channels: int, width: float, *, multiple: int = 8) -> int:
    """`channels` times the width multiplier, to the nearest `multiple` and at least 8, never below 90 % of the exact product."""
    exact = channels * width
    rounded = max(8, int(exact + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * exact else rounded


class InvertedResidual(nn.Module):
    """Widen by `t`, filter each channel, narrow linearly; the input is added where the shape stays."""

    def __init__(self, inputs: int, outputs: int, *, t: int, stride: int, manner: Manner = TENSORFLOW) -> None:
        super().__init__()
        inner = inputs * t
        self.expand = Conv(inputs, inner, kernel=1, manner=manner) if t != 1 else nn.Identity()
        self.depthwise = Conv(inner, inner, kernel=3, stride=stride, groups=inner, manner=manner)
        self.project = Conv(inner, outputs, kernel=1, linear=True)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(self.expand(x), x)

    def narrow(self, widened: Tensor, x: Tensor) -> Tensor:
        """What comes after widening `x`."""
        y = self.project(self.depthwise(widened))
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """Pictures (N, 3, H, W), value / 127.5 - 1, to the features of strides 8, 16 and 32.

    Attributes:
        channels: of the features.
    """

    def __init__(self, *, width: float = 1.0, rows: int = len(ROWS)) -> None:
        """rows: so many of the first ones; features are those after the tapped rows among them."""
        super().__init__()
        self.stem, self.rows = _build(ROWS[:rows], width=width)
        self.channels = tuple(scale_channels(ROWS[row].c, width) for row in TAP_ROWS if row < rows)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        taps = []
        for number, blocks in enumerate(self.rows):
            x = blocks(x)
            if number in TAP_ROWS:
                taps.append(x)
        return tuple(taps)


class WidenedMobileNetV2(nn.Module):
    """MobileNetV2 without its last row, tapped where the blocks are wide, as SSDLite does (section 6.2 of the paper).

    It computes as darknet does, and its channels are multiples of 4: at width 0.5 the backbone of MobileNetV2-YOLOv3-Nano.
    """

    def __init__(self, *, width: float = 0.5) -> None:
        super().__init__()
        self.stem, self.rows = _build(ROWS[:-1], width=width, multiple=4, manner=DARKNET)
        taps = [self.rows[row][0].depthwise.groups for row in WIDENED_TAP_ROWS]
        self.channels = (*taps, len(self.rows[-1][-1].project.bias))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        taps = []
        for number, (first, *others) in enumerate(self.rows):
            widened = first.expand(x)
            if number in WIDENED_TAP_ROWS:
                taps.append(widened)
            x = first.narrow(widened, x)
            for block in others:
                x = block(x)
        return (*taps, x)


def _build(rows: Sequence[Row], *, width: float, multiple: int = 8, manner: Manner = TENSORFLOW) -> tuple[Conv, nn.ModuleList]:
    """The stem and the blocks of each row."""
    channels = scale_channels(STEM_CHANNELS, width, multiple=multiple)
    stem = Conv(3, channels, kernel=3, stride=2, manner=manner)
    built = nn.ModuleList()
    for row in rows:
        blocks = nn.Sequential()
        for number in range(row.n):
            outputs = scale_channels(row.c, width, multiple=multiple)
            stride = row.s if number == 0 else 1
            blocks.append(InvertedResidual(channels, outputs, t=row.t, stride=stride, manner=manner))
            channels = outputs
        built.append(blocks)
    return stem, built
