"""What lens, sensor, scaler and encoder do to a picture; nothing moves by more than a fraction of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from tools.augmentation.bounds import check_range, check_share, check_within

GAMMA = 2.2
"""A picture's values are about the light on the sensor to the power of 1/2.2."""
_STRIP_ROWS = 32
"""Noise is made for so many rows at a time: floats of a whole picture are mapped anew by the allocator, which takes longer."""


@dataclass(frozen=True, slots=True)
class Blur:
    """Out of focus.

    Attributes:
        share: of samples.
        sigma_px: least and most standard deviation of the Gaussian, pixels of the training picture.
    """

    share: float = 0.15
    sigma_px: tuple[float, float] = (0.4, 1.4)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("sigma_px", self.sigma_px, least=0.1, most=20)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """Blurred evenly."""
        return cv2.GaussianBlur(pixels_rgb, (0, 0), rng.uniform(*self.sigma_px))


@dataclass(frozen=True, slots=True)
class MotionBlur:
    """The camera or everything else moved while the shutter was open.

    Attributes:
        share: of samples.
        length_px: least and most way, pixels of the training picture, in any direction.
    """

    share: float = 0.0
    length_px: tuple[float, float] = (2.0, 8.0)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("length_px", self.length_px, least=0, most=64)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """Blurred along a line whose middle stays."""
        length_px, angle = rng.uniform(*self.length_px), rng.uniform(0, np.pi)
        reach = int(np.ceil(length_px / 2))
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        along, across = np.abs(x * np.cos(angle) + y * np.sin(angle)), np.abs(y * np.cos(angle) - x * np.sin(angle))
        kernel = np.clip((length_px + 1) / 2 - along, 0, 1) * np.clip(1 - across, 0, 1)  # how much of each pixel the line covers
        return cv2.filter2D(pixels_rgb, -1, kernel / kernel.sum())


@dataclass(frozen=True, slots=True)
class Noise:
    """Of the sensor: of the light itself and of reading it out.

    Attributes:
        share: of samples.
        electrons: least and most that make white, their logarithm spread evenly; the fewer, the noisier.
        read_electrons: standard deviation of reading out.

    Source: Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", TIP 2008.
    """

    share: float = 0.15
    electrons: tuple[float, float] = (150.0, 5000.0)
    read_electrons: float = 3.0

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("electrons", self.electrons, least=10, most=1e6)
        check_within("read_electrons", self.read_electrons, least=0, most=100)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """As a sensor that catches so little light sees it."""
        electrons = np.exp(rng.uniform(*np.log(self.electrons)))
        return add_sensor_noise(pixels_rgb, electrons=electrons, read_electrons=self.read_electrons, rng=rng)


@dataclass(frozen=True, slots=True)
class Rescale:
    """Made small and large again, as cheap cameras and substreams do.

    Attributes:
        share: of samples.
        factor: least and most that the sides shrink by in between, their logarithm spread evenly.
    """

    share: float = 0.0
    factor: tuple[float, float] = (1.2, 3.0)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("factor", self.factor, least=1, most=16)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """With less detail."""
        h, w = pixels_rgb.shape[:2]
        factor = np.exp(rng.uniform(*np.log(self.factor)))
        small = cv2.resize(pixels_rgb, (max(1, round(w / factor)), max(1, round(h / factor))), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True, slots=True)
class Jpeg:
    """Compressed too far.

    Attributes:
        share: of samples.
        quality: least and most, 1 to 100.
    """

    share: float = 0.15
    quality: tuple[int, int] = (25, 74)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("quality", self.quality, least=1, most=100)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """Encoded and decoded."""
        quality = int(rng.integers(self.quality[0], self.quality[1] + 1))
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def add_sensor_noise(
    pixels: NDArray[np.uint8], *, electrons: float, read_electrons: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Pixels (H, W) or (H, W, 3) with noise that depends on their brightness.

    The normal numbers are 256 quantiles looked up by random bytes: as good in 8 bits as exact ones, at a fraction of the time.
    """
    noisy = np.empty_like(pixels)
    by_value, quantiles = _noise_by_value(electrons, read_electrons), _normal_quantiles()
    for top in range(0, len(pixels), _STRIP_ROWS):
        strip = pixels[top : top + _STRIP_ROWS]
        dice = np.frombuffer(rng.bytes(strip.size), np.uint8).reshape(strip.shape)
        noise = cv2.multiply(cv2.LUT(strip, by_value), cv2.LUT(dice, quantiles))
        cv2.add(strip, noise, dst=noisy[top : top + _STRIP_ROWS], dtype=cv2.CV_8U)
    return noisy


def _noise_by_value(electrons: float, read_electrons: float) -> NDArray[np.float32]:
    """(256,) standard deviation at each value, of 255: that of the light, seen through the gamma curve."""
    light = np.linspace(0, 1, 256) ** GAMMA
    deviation = np.sqrt(light * electrons + read_electrons**2) / electrons
    high, low = (light + deviation) ** (1 / GAMMA), np.maximum(light - deviation, 0) ** (1 / GAMMA)
    return (255 * (high - low) / 2).astype(np.float32)


@cache
def _normal_quantiles() -> NDArray[np.float32]:
    """(256,) normal numbers, each as probable as any other."""
    return np.array([NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)], np.float32)
