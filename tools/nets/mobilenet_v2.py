"""MobileNetV2 as a backbone with taps at strides 8, 16 and 32.

Source: Sandler, Howard, Zhu, Zhmoginov, Chen, MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, table 2.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from tools.nets.convolution import Conv


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


def scale_channels(channels: int, width: float) -> int:
    """`channels` times the width multiplier, to the nearest multiple of 8, never below 90 % of the exact product."""
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


class InvertedResidual(nn.Module):
    """Widen by `t`, filter each channel, narrow linearly; the input is added where the shape stays."""

    def __init__(self, inputs: int, outputs: int, *, t: int, stride: int) -> None:
        super().__init__()
        inner = inputs * t
        self.expand = Conv(inputs, inner, kernel=1) if t != 1 else nn.Identity()
        self.depthwise = Conv(inner, inner, kernel=3, stride=stride, groups=inner)
        self.project = Conv(inner, outputs, kernel=1, linear=True)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """Pictures (N, 3, H, W), value / 127.5 - 1, to the features of strides 8, 16 and 32."""

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        channels = scale_channels(STEM_CHANNELS, width)
        self.stem = Conv(3, channels, kernel=3, stride=2)
        self.rows = nn.ModuleList()
        for row in ROWS:
            blocks = nn.Sequential()
            for number in range(row.n):
                outputs = scale_channels(row.c, width)
                blocks.append(InvertedResidual(channels, outputs, t=row.t, stride=row.s if number == 0 else 1))
                channels = outputs
            self.rows.append(blocks)
        self.channels = tuple(scale_channels(ROWS[row].c, width) for row in TAP_ROWS)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        taps = []
        for number, blocks in enumerate(self.rows):
            x = blocks(x)
            if number in TAP_ROWS:
                taps.append(x)
        return tuple(taps)
