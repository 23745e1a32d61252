"""Other light and other colours; nothing moves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from tools.augmentation.bounds import check_range, check_share, check_within

RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""Brightness and two colour axes. Source: NTSC; Foley et al., "Computer Graphics: Principles and Practice", section 13.3.3."""

IMAGENET_COMPONENTS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
"""(3, 3) eigenvectors as columns of the covariance of red, green and blue over ImageNet's training pictures, and …

Source: facebookarchive/fb.resnet.torch @0c85640, datasets/imagenet.lua: "Computed from random subset of ImageNet
training images".
"""
IMAGENET_VARIANCES = np.array([0.2175, 0.0188, 0.0045])
"""… what belongs to each, with white at 1. Same source."""


@dataclass(frozen=True, slots=True)
class Colour:
    """Brightness, white balance, black level, hue and saturation.

    Attributes:
        share: of samples.
        gain: standard deviation of the logarithm of what all colours are multiplied by.
        channel_gain: the same for each of red, green and blue alone.
        bias: standard deviation of what is added, of 255.
        most_hue_degrees: that hues are turned by, to either side.
        saturation: least and most that the distance from grey is multiplied by.
    """

    share: float = 1.0
    gain: float = 0.25
    channel_gain: float = 0.08
    bias: float = 12.0
    most_hue_degrees: float = 0.0
    saturation: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_within("gain", self.gain, least=0, most=1)
        check_within("channel_gain", self.channel_gain, least=0, most=1)
        check_within("bias", self.bias, least=0, most=100)
        check_within("most_hue_degrees", self.most_hue_degrees, least=0, most=180)
        check_range("saturation", self.saturation, least=0, most=3)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """In another light."""
        gains = np.exp(rng.normal(0, self.gain)) * np.exp(rng.normal(0, self.channel_gain, 3))
        changed = _look_up(pixels_rgb, np.arange(256)[:, None] * gains + rng.normal(0, self.bias))
        angle, saturation = np.radians(self.most_hue_degrees * rng.uniform(-1, 1)), rng.uniform(*self.saturation)
        if angle == 0 and saturation == 1:
            return changed
        return cv2.transform(changed, _turn_colours(angle, saturation))


@dataclass(frozen=True, slots=True)
class PcaColour:
    """One colour added everywhere, of those that vary most over photographs: brightness, then yellow to blue, then red to green.

    Attributes:
        share: of samples.
        strength: standard deviation of the shift along each component, in parts of its variance; 0.1 in the paper.

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS 2012,
    section 4.1: [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T is added to every pixel.
    """

    share: float = 0.0
    strength: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.share)
        check_within("strength", self.strength, least=0, most=2)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """With one colour added everywhere."""
        added = 255 * IMAGENET_COMPONENTS @ (IMAGENET_VARIANCES * rng.normal(0, self.strength, 3))
        return _look_up(pixels_rgb, np.arange(256)[:, None] + added)


@dataclass(frozen=True, slots=True)
class Grey:
    """Less colour, or none.

    Attributes:
        share: of samples.
        whole_share: of these, that lose all colour.
        part: least and most that the others lose.
    """

    share: float = 0.25
    whole_share: float = 0.4
    part: tuple[float, float] = (0.2, 0.8)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_share(self.whole_share, name="whole_share")
        check_range("part", self.part, least=0, most=1)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """Mixed with its own grey."""
        part = 1.0 if rng.random() < self.whole_share else rng.uniform(*self.part)
        grey = cv2.cvtColor(cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return grey if part == 1 else cv2.addWeighted(grey, part, pixels_rgb, 1 - part, 0)


def _look_up(pixels_rgb: Pixels, table: NDArray[np.float64]) -> Pixels:
    """Each value replaced by the table's, (256, 3), cut to 0 to 255."""
    return cv2.LUT(pixels_rgb, np.clip(table, 0, 255).astype(np.uint8)[None])


def _turn_colours(angle: float, saturation: float) -> NDArray[np.float64]:
    """(3, 3) on red, green, blue: hues turned, distances from grey multiplied, brightness kept."""
    cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
    return np.linalg.inv(RGB_TO_YIQ) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ RGB_TO_YIQ
