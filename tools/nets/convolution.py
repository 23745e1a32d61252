"""The one convolution block that every network here is made of, and its transpose: no normalisation layer."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Manner:
    """What published weights were trained with, and so must be computed with.

    Attributes:
        bounded: ReLU6, which stays exact in 8 bits; else ReLU.
        centred: stride 2 pads all sides alike, as darknet does; else, as TF's 'SAME' does on even sizes, the right and lower
            ones only.
    """

    bounded: bool = True
    centred: bool = False


TENSORFLOW = Manner()
DARKNET = Manner(bounded=False, centred=True)


class Conv(nn.Module):
    """A convolution with bias and, unless linear, ReLU6 or ReLU.

    There is no batch normalisation: published MobileNetV2 weights have it folded, it costs a third of a training step on a CPU,
    and without it what is trained is exactly what is exported. To keep training well conditioned all the same, the weights of
    each output channel are stored at unit size and multiplied by that channel's fixed `scale`, so that one learning rate suits
    channels whose folded weights differ by orders of magnitude.

    Source: the separation of size and direction is Salimans & Kingma, Weight Normalization, 2016, with the size held fixed.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
        manner: Manner = TENSORFLOW,
    ) -> None:
        super().__init__()
        self.stride, self.groups, self.kernel, self.linear, self.manner = stride, groups, kernel, linear, manner
        self.weight = nn.Parameter(torch.randn(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        fan_in = inputs // groups * kernel * kernel
        self.register_buffer("scale", torch.full((outputs, 1, 1, 1), math.sqrt((1 if linear else 2) / fan_in)))

    def set_weights(self, weight: Tensor, bias: Tensor) -> None:
        """Take over plain convolution weights, (outputs, inputs / groups, kernel, kernel), and biases, (outputs,)."""
        self._set(weight, bias, over=(1, 2, 3))

    def _set(self, weight: Tensor, bias: Tensor, *, over: tuple[int, ...]) -> None:
        with torch.no_grad():
            scale = weight.square().mean(dim=over, keepdim=True).sqrt().clamp_min(1e-6)
            self.scale.copy_(scale)
            self.weight.copy_(weight / scale)
            self.bias.copy_(bias)

    def plain_weight(self) -> Tensor:
        """The convolution's weights as they compute, (outputs, inputs / groups, kernel, kernel)."""
        return self.weight if self.folded else self.weight * self.scale

    def fold(self) -> None:
        """Make `weight` the plain convolution weights for export; training goes on from the unfolded module only."""
        with torch.no_grad():
            self.weight.mul_(self.scale)
            self.scale.fill_(1.0)
        self.folded = True

    folded = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolve(x)
        if self.linear:
            return x
        return F.relu6(x, inplace=True) if self.manner.bounded else F.relu(x, inplace=True)

    def convolve(self, x: Tensor) -> Tensor:
        """What comes before the ReLU."""
        weight = self.plain_weight()
        if self.stride == 1 or self.manner.centred:
            return F.conv2d(x, weight, self.bias, stride=self.stride, padding=self.kernel // 2, groups=self.groups)
        return _SameConv.apply(x, weight, self.bias, self) if torch.onnx.is_in_onnx_export() else self._same(x, weight)

    def _same(self, x: Tensor, weight: Tensor) -> Tensor:
        """TF 'SAME' on even sizes at stride 2: for a kernel of 3, nothing left and above, one pixel right and below."""
        before, after = same_padding(self.kernel)
        return F.conv2d(F.pad(x, (before, after, before, after)), weight, self.bias, stride=self.stride, groups=self.groups)


class TransposedConv(Conv):
    """A convolution run backwards: each input pixel adds a kernel to an output that is `stride` times as large on both axes.

    A kernel that `stride` divides gives every output pixel as many inputs, so none of the checkerboard that others draw.

    Source: Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section 3.3; the kernel,
    Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts, Distill 2016.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 2, stride: int = 2, linear: bool = False) -> None:
        """kernel: a multiple of the stride, and of the same parity."""
        if kernel % stride or (kernel - stride) % 2:
            raise ValueError(f"expected a kernel that the stride divides, and of its parity, got {kernel} and {stride}")
        super().__init__(inputs, outputs, kernel=kernel, stride=stride, linear=linear)
        self.weight = nn.Parameter(torch.randn(inputs, outputs, kernel, kernel))
        fan_in = inputs * (kernel // stride) ** 2
        self.scale = torch.full((1, outputs, 1, 1), math.sqrt((1 if linear else 2) / fan_in))

    def set_weights(self, weight: Tensor, bias: Tensor) -> None:
        """Take over plain weights, (inputs, outputs, kernel, kernel), and biases, (outputs,)."""
        self._set(weight, bias, over=(0, 2, 3))

    def convolve(self, x: Tensor) -> Tensor:
        padding = (self.kernel - self.stride) // 2
        return F.conv_transpose2d(x, self.plain_weight(), self.bias, stride=self.stride, padding=padding)


def convolutions(network: nn.Module) -> dict[str, Conv]:
    """Every convolution of a network by its name, in the order in which they were made."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Conv)}


@torch.no_grad()
def standardise(network: nn.Module, images: Tensor, names: Collection[str]) -> None:
    """Begin fresh convolutions so that each channel, before its ReLU, has mean 0 and variance 1 over some pictures.

    Without normalisation layers nothing else sees to it: behind features of another size random weights give answers that
    ReLU6 cuts off, and what is cut off learns nothing.

    Args:
        images: (N, 3, H, W), as the network takes them.
        names: of the convolutions, those that keep their random directions.

    Source: Salimans & Kingma, Weight Normalization, 2016, section 3, data-dependent initialisation.
    """

    def fit(conv: Conv, inputs: tuple[Tensor, ...]) -> None:
        answers = conv.convolve(inputs[0])
        mean, deviation = answers.mean(dim=(0, 2, 3)), answers.std(dim=(0, 2, 3)).clamp_min(1e-6)
        conv.scale.div_(deviation.reshape(conv.scale.shape))
        conv.bias.copy_((conv.bias - mean) / deviation)

    fresh = [conv for name, conv in convolutions(network).items() if name in names]
    hooks = [conv.register_forward_pre_hook(fit) for conv in fresh]
    was_training = network.training
    try:
        network.eval()(images)  # in their order: each sees what those before it have become
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()


def same_padding(kernel: int) -> tuple[int, int]:
    """Pixels (before, after) that TF's 'SAME' adds on an axis of even size at stride 2: `kernel - 2`, the odd one after."""
    total = kernel - 2
    return total // 2, total - total // 2


class _SameConv(torch.autograd.Function):
    """Only for export: the exporter would write an asymmetric padding as a node of its own instead of the Conv's `pads`."""

    @staticmethod
    def forward(ctx: object, x: Tensor, weight: Tensor, _bias: Tensor, conv: Conv) -> Tensor:  # noqa: ARG004
        return conv._same(x, weight)

    @staticmethod
    def symbolic(g, x, weight, bias, conv):
        before, after = same_padding(conv.kernel)
        return g.op(
            "Conv",
            x,
            weight,
            bias,
            kernel_shape_i=[conv.kernel, conv.kernel],
            strides_i=[conv.stride, conv.stride],
            pads_i=[before, before, after, after],
            group_i=conv.groups,
        )
