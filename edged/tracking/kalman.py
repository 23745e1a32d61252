"""Where a box is and how fast it moves: a constant velocity filter.

Each of the four numbers of a box (centre x, centre y, width, height) is filtered by itself: position and velocity, two
by two covariance. All noise is in shares of the box's size and in seconds, so neither the distance from the camera nor
the frame rate changes what a setting means.

Source: the constant velocity model with white noise acceleration, Bar-Shalom, Li, Kirubarajan: Estimation with
Applications to Tracking and Navigation (2001), 6.2.2. Noise relative to the box's size is the habit of the field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Box = Sequence[float]
"""x1, y1, x2, y2."""

_LEAST_SIDE_PX = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionNoise:
    """How much boxes jitter and how suddenly they move, in sizes of the box (mean of its width and height).

    Attributes:
        measured_ratio: standard deviation of a detected centre or side.
        sway_ratio: standard deviation that the box gains within one second without its object going anywhere: steps, turns,
            arms. It keeps the box close to what is measured while the velocity stays calm.
        acceleration_ratio: standard deviation that the velocity gains within one second, sizes per second.
        first_velocity_ratio: standard deviation of the unknown velocity of a new box, sizes per second.
    """

    measured_ratio: float = 0.06
    sway_ratio: float = 0.1
    acceleration_ratio: float = 0.3
    first_velocity_ratio: float = 1.5

    def __post_init__(self) -> None:
        if min(self.measured_ratio, self.acceleration_ratio, self.first_velocity_ratio) <= 0:
            raise ValueError(f"expected ratios over 0, got {self}")


class BoxFilter:
    """The filter of one box, in plain numbers: a frame has a dozen boxes, and each call into an array library costs more.

    The noise is the same for the four numbers, and they are measured together: so is their covariance, which is kept once.

    Attributes:
        box: xyxy, frame pixels; the estimate.
    """

    __slots__ = (
        "_covariance",
        "_height",
        "_height_speed",
        "_noise",
        "_variance",
        "_velocity_variance",
        "_width",
        "_width_speed",
        "_x",
        "_x_speed",
        "_y",
        "_y_speed",
        "box",
    )

    def __init__(self, box: Box, noise: MotionNoise) -> None:
        """A box seen for the first time, at rest."""
        self._noise = noise
        self.put(box)
        size = (self._width + self._height) / 2
        spread, speed_spread = noise.measured_ratio * size, noise.first_velocity_ratio * size
        self._variance = spread * spread
        self._covariance = 0.0
        self._velocity_variance = speed_spread * speed_spread

    @property
    def spread(self) -> float:
        """Standard deviation of the estimated centre, pixels, in x as in y."""
        return math.sqrt(self._variance)

    def predict(self, step_s: float) -> None:
        """Moves the box `step_s` seconds on."""
        noise = self._noise
        size = (self._width + self._height) / 2
        area = size * size
        self._x += step_s * self._x_speed
        self._y += step_s * self._y_speed
        self._width = max(self._width + step_s * self._width_speed, _LEAST_SIDE_PX)
        self._height = max(self._height + step_s * self._height_speed, _LEAST_SIDE_PX)
        gained = noise.acceleration_ratio**2 * step_s
        swayed = noise.sway_ratio**2 * step_s
        turned = step_s * self._velocity_variance
        self._variance += step_s * (2 * self._covariance + turned)
        self._variance += (gained * step_s**2 / 3 + swayed) * area
        self._covariance += turned
        self._covariance += gained * step_s / 2 * area
        self._velocity_variance += gained * area
        self._place()

    def correct(self, box: Box) -> None:
        """Takes in where it was measured (xyxy)."""
        x, y, width, height = _centred(box)
        measured_spread = self._noise.measured_ratio * ((width + height) / 2)
        variance, covariance = self._variance, self._covariance
        gain_base = variance + measured_spread * measured_spread
        x_miss = (x - self._x) / gain_base
        y_miss = (y - self._y) / gain_base
        width_miss = (width - self._width) / gain_base
        height_miss = (height - self._height) / gain_base
        self._x += variance * x_miss
        self._y += variance * y_miss
        self._width += variance * width_miss
        self._height += variance * height_miss
        self._x_speed += covariance * x_miss
        self._y_speed += covariance * y_miss
        self._width_speed += covariance * width_miss
        self._height_speed += covariance * height_miss
        self._velocity_variance -= covariance * covariance / gain_base
        left = 1 - variance / gain_base
        self._variance = variance * left
        self._covariance = covariance * left
        self._place()

    def put(self, box: Box) -> None:
        """Sets the box (xyxy) where it is known to be, at rest."""
        self._x, self._y, self._width, self._height = _centred(box)
        self.stop()
        self._place()

    def stop(self) -> None:
        """Sets its velocity to zero."""
        self._x_speed = self._y_speed = 0.0
        self.stop_growth()

    def stop_growth(self) -> None:
        """Sets the change of its width and height to zero."""
        self._width_speed = self._height_speed = 0.0

    def _place(self) -> None:
        half_width, half_height = self._width / 2, self._height / 2
        self.box = (self._x - half_width, self._y - half_height, self._x + half_width, self._y + half_height)


def _centred(box: Box) -> tuple[float, float, float, float]:
    """Centre x, centre y, width, height of a box xyxy; sides of at least one pixel."""
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, _LEAST_SIDE_PX), max(y2 - y1, _LEAST_SIDE_PX)
