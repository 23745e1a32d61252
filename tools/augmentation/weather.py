"""Fog, rain and night, as cameras show them; nothing moves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from tools.augmentation.bounds import check_range, check_share, check_within
from tools.augmentation.damage import add_sensor_noise

_NIGHT_READ_ELECTRONS = 3.0


@dataclass(frozen=True, slots=True)
class Fog:
    """Light of the air over everything, more of it higher in the picture, where things are farther.

    Attributes:
        share: of samples.
        haze: least and most part of the light at the top that comes from the air; at the bottom it is half of that.
        air: least and most brightness of the air, of 255.

    Source: Koschmieder's law; Narasimhan and Nayar, "Vision and the Atmosphere", IJCV 2002. The distance is a guess from the row.
    """

    share: float = 0.0
    haze: tuple[float, float] = (0.3, 0.7)
    air: tuple[float, float] = (150.0, 230.0)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("haze", self.haze, least=0, most=0.95)
        check_range("air", self.air, least=0, most=255)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """With less contrast."""
        haze = np.linspace(1, 0.5, len(pixels_rgb)) * rng.uniform(*self.haze)
        air = haze * rng.uniform(*self.air)
        return cv2.add(_scale(pixels_rgb, 1 - haze[:, None]), _spread(air, pixels_rgb.shape))


@dataclass(frozen=True, slots=True)
class Rain:
    """Bright streaks of falling drops.

    Attributes:
        share: of samples.
        streaks: least and most, in 100 x 100 px.
        length_px: least and most, of all streaks of a picture.
        most_degrees: that they lean from upright, to either side, all alike.
        brightness: least and most that a streak adds, of 255.

    Source: Garg and Nayar, "Vision and Rain", IJCV 2007: drops are brighter than what is behind them, and streak with exposure.
    """

    share: float = 0.0
    streaks: tuple[float, float] = (4.0, 20.0)
    length_px: tuple[float, float] = (6.0, 24.0)
    most_degrees: float = 20.0
    brightness: tuple[float, float] = (25.0, 80.0)

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("streaks", self.streaks, least=0, most=200)
        check_range("length_px", self.length_px, least=1, most=200)
        check_within("most_degrees", self.most_degrees, least=0, most=80)
        check_range("brightness", self.brightness, least=0, most=255)

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """With streaks drawn over it."""
        h, w = pixels_rgb.shape[:2]
        count = round(rng.uniform(*self.streaks) * h * w / 10_000)
        lean = np.radians(self.most_degrees * rng.uniform(-1, 1))
        way = rng.uniform(*self.length_px) * np.array([np.sin(lean), np.cos(lean)])
        starts = rng.uniform(-np.abs(way), np.array([w, h]) + np.abs(way), (count, 2))
        lines = np.round(np.stack([starts, starts + way], axis=1) * 16).astype(np.int32)
        streaks = np.zeros((h, w), np.uint8)
        cv2.polylines(streaks, list(lines), False, rng.uniform(*self.brightness), 1, cv2.LINE_AA, shift=4)
        return cv2.add(pixels_rgb, cv2.cvtColor(streaks, cv2.COLOR_GRAY2RGB))


@dataclass(frozen=True, slots=True)
class Night:
    """Dark, noisy, with little colour, or none under an infrared lamp.

    Attributes:
        share: of samples.
        brightness: least and most that values are multiplied by, after dark ones have been darkened more.
        colour: least and most part of the colour that is left without a lamp.
        electrons: least and most that make white, see `Noise`.
        infrared_share: of these samples, that are lit by the camera's infrared lamp: grey, as bright as by day in the middle of
            the lamp's light, fading from there.
    """

    share: float = 0.0
    brightness: tuple[float, float] = (0.2, 0.6)
    colour: tuple[float, float] = (0.1, 0.7)
    electrons: tuple[float, float] = (100.0, 1000.0)
    infrared_share: float = 0.4

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("brightness", self.brightness, least=0.02, most=1)
        check_range("colour", self.colour, least=0, most=1)
        check_range("electrons", self.electrons, least=10, most=1e6)
        check_share(self.infrared_share, name="infrared_share")

    def change(self, pixels_rgb: Pixels, rng: np.random.Generator) -> Pixels:
        """As a camera shows it without the sun."""
        grey = cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2GRAY)
        dimmed = _dim(grey, rng) if rng.random() < self.infrared_share else self._darken(pixels_rgb, grey, rng)
        electrons = np.exp(rng.uniform(*np.log(self.electrons)))
        noisy = add_sensor_noise(dimmed, electrons=electrons, read_electrons=_NIGHT_READ_ELECTRONS, rng=rng)
        return noisy if noisy.ndim == 3 else cv2.cvtColor(noisy, cv2.COLOR_GRAY2RGB)

    def _darken(self, pixels_rgb: Pixels, grey: NDArray[np.uint8], rng: np.random.Generator) -> Pixels:
        colour = rng.uniform(*self.colour)
        pale = cv2.addWeighted(pixels_rgb, colour, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - colour, 0)
        table = 255 * rng.uniform(*self.brightness) * np.linspace(0, 1, 256) ** rng.uniform(1.0, 1.5)
        return cv2.LUT(pale, table.astype(np.uint8))


def _dim(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W) under a lamp: its light falls off as a Gaussian from somewhere about the middle."""
    h, w = grey.shape
    spread, (x, y) = rng.uniform(0.35, 0.8), rng.uniform(0.35, 0.65, 2)
    across = np.exp(-(((np.arange(w) / w - x) / spread) ** 2) / 2)
    down = np.exp(-(((np.arange(h) / h - y) / spread) ** 2) / 2)
    return _scale(grey, 0.15 + 0.85 * np.outer(down, across))


def _scale(pixels: NDArray[np.uint8], part: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pixels (H, W) or (H, W, 3) multiplied by (H, W) or (H, 1) parts, 0 to 1, in steps of 1/255."""
    return cv2.multiply(pixels, _spread(255 * part, pixels.shape), scale=1 / 255)


def _spread(values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """(H,), (H, 1) or (H, W) values as bytes of that shape."""
    rows = values.reshape(len(values), -1, *(1,) * (len(shape) - 2)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(rows, shape))
