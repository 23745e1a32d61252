"""Where boxes are and how fast they move: constant velocity filters of all tracks at once.

Each of the four numbers of a box (centre x, centre y, width, height) is filtered by itself: position and velocity, two
by two covariance. All noise is in shares of the box's size and in seconds, so neither the distance from the camera nor
the frame rate changes what a setting means.

Source: the constant velocity model with white noise acceleration, Bar-Shalom, Li, Kirubarajan: Estimation with
Applications to Tracking and Navigation (2001), 6.2.2. Noise relative to the box's size is the habit of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_POSITION, _VELOCITY, _VARIANCE, _COVARIANCE, _VELOCITY_VARIANCE = range(5)
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


class BoxFilters:
    """The filters of N boxes as one array; row i belongs to the i-th box. Rows are appended and kept, never moved."""

    def __init__(self, noise: MotionNoise) -> None:
        self._noise = noise
        self._state = np.zeros((5, 0, 4))  # (position | velocity | variances, N, cx cy w h)
        self._boxes: NDArray[np.float64] | None = None  # of these positions, once somebody has asked

    def __len__(self) -> int:
        return self._state.shape[1]

    def predict(self, step_s: float) -> None:
        """Moves every box `step_s` seconds on."""
        position, velocity, variance, covariance, velocity_variance = self._state
        area = _mean_side(position) ** 2  # (N, 1)
        position += step_s * velocity
        np.maximum(position[:, 2:], _LEAST_SIDE_PX, out=position[:, 2:])
        variance += step_s * (2 * covariance + step_s * velocity_variance)
        covariance += step_s * velocity_variance
        gained = self._noise.acceleration_ratio**2 * step_s
        swayed = self._noise.sway_ratio**2 * step_s
        gains = np.array([gained * step_s**2 / 3 + swayed, gained * step_s / 2, gained])  # of the last three
        self._state[_VARIANCE:] += gains[:, None, None] * area
        self._boxes = None

    def correct(self, rows: NDArray[np.int64], boxes: NDArray[np.floating]) -> None:
        """Takes in what was measured.

        Args:
            rows: (K,) the rows that were measured, each at most once.
            boxes: (K, 4) xyxy, the measured boxes in the order of `rows`.
        """
        state = self._state[:, rows]  # (5, K, 4), a copy
        position, velocity, variance, covariance, velocity_variance = state
        measured = _centred(boxes)
        gain_base = variance + (self._noise.measured_ratio * _mean_side(measured)) ** 2
        missed_by = (measured - position) / gain_base
        position += variance * missed_by
        velocity += covariance * missed_by
        velocity_variance -= covariance * covariance / gain_base
        left = 1 - variance / gain_base
        variance *= left
        covariance *= left
        self._state[:, rows] = state
        self._boxes = None

    def append(self, boxes: NDArray[np.floating]) -> None:
        """Adds rows for boxes seen for the first time, at rest.

        Args:
            boxes: (K, 4) xyxy.
        """
        measured = _centred(boxes)
        size = _mean_side(measured)
        fresh = np.zeros((5, len(measured), 4))
        fresh[_POSITION] = measured
        fresh[_VARIANCE] = (self._noise.measured_ratio * size) ** 2
        fresh[_VELOCITY_VARIANCE] = (self._noise.first_velocity_ratio * size) ** 2
        self._state = np.concatenate([self._state, fresh], axis=1)
        self._boxes = None

    def keep(self, rows: list[int]) -> None:
        """Keeps these rows in this order and forgets the others."""
        self._state = self._state[:, rows]
        self._boxes = None

    def put(self, row: int, box: Sequence[float]) -> None:
        """Sets one box (xyxy) where it is known to be, at rest."""
        self._state[_POSITION, row] = _centred(np.array([box]))[0]
        self._state[_VELOCITY, row] = 0.0
        self._boxes = None

    def stop(self, rows: list[int]) -> None:
        """Sets the velocity of these rows to zero."""
        self._state[_VELOCITY, rows] = 0.0

    def stop_growth(self, rows: list[int]) -> None:
        """Sets the change of width and height of these rows to zero."""
        self._state[_VELOCITY, rows, 2:] = 0.0

    def boxes(self) -> NDArray[np.float64]:
        """(N, 4) xyxy, the estimated boxes; not to be written to."""
        if self._boxes is None:
            centre, half = self._state[_POSITION, :, :2], self._state[_POSITION, :, 2:] / 2
            self._boxes = np.empty((len(self), 4))
            np.subtract(centre, half, out=self._boxes[:, :2])
            np.add(centre, half, out=self._boxes[:, 2:])
        return self._boxes

    def spread(self) -> NDArray[np.float64]:
        """(N, 2) standard deviation of the estimated centres, pixels in x and y."""
        return np.sqrt(self._state[_VARIANCE, :, :2])


def _centred(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """(K, 4) centre x, centre y, width, height of xyxy boxes; sides of at least one pixel."""
    boxes = boxes.astype(np.float64)
    low, high = boxes[:, :2], boxes[:, 2:]
    centred = np.empty_like(boxes)
    np.divide(low + high, 2, out=centred[:, :2])
    np.maximum(high - low, _LEAST_SIDE_PX, out=centred[:, 2:])
    return centred


def _mean_side(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 1) mean of width and height."""
    return (centred[:, 2:3] + centred[:, 3:4]) / 2
