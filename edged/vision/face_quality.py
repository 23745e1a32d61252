"""How much a face in a picture can tell: its size, whether it looks at us, how sharp it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels

FULL_SIZE_PX = 112
"""The side of an aligned crop: a larger face shows the encoder no more."""
_SIDEWAYS, _UPRIGHT, _NODDING = 0.6, 0.54, 0.4
"""Of the nose: how far off the middle line it is, in eye distances, when nothing frontal is left; how far down from eyes to mouth
it lies in a face that looks straight ahead (the median of `faces/landmarks`), and how far off that when nothing is left."""
_SHARPNESS_SIDE_PX = 64
_HALF_SHARP = 0.02
"""The share of fine detail that counts as 0.5: of the photographs of `faces/landmarks` half have more than 0.09, of the same
blurred by a sixty-fourth of their width more than 0.038, by a thirty-second more than 0.010."""
_QUIET_VARIANCE = 25.0
"""Grey levels squared, the noise of a dark or uniform picture: without it, its noise would pass for detail."""


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """What a face is worth, by its parts.

    Attributes:
        size_px: the shorter side of its box, pixels.
        frontality: 1 looking straight ahead, 0 so far to a side, up or down that the other half is hidden.
        sharpness: 0 without any detail to 1; blur and a small face made large lower it, darkness hardly does.
    """

    size_px: float
    frontality: float
    sharpness: float

    @property
    def score(self) -> float:
        """All in one number in [0, 1]: the geometric mean, so that what is lacking altogether is not made up for by the rest."""
        size = min(1.0, self.size_px / FULL_SIZE_PX)
        return (size * self.frontality * self.sharpness) ** (1 / 3)


def measure_quality(pixels_rgb: Pixels, box: NDArray[np.float32], points: NDArray[np.float32]) -> FaceQuality:
    """The quality of one face.

    Args:
        pixels_rgb: (H, W, 3) uint8, the picture that the face is in.
        box: (4,) xyxy, its pixels; what lies outside the picture counts as size, not as detail.
        points: (5, 2) xy: left eye, right eye, nose, left and right corner of the mouth, left and right as seen in the picture.
    """
    x1, y1, x2, y2 = (float(each) for each in box)
    return FaceQuality(
        size_px=max(0.0, min(x2 - x1, y2 - y1)),
        frontality=_frontality(np.asarray(points, np.float64)),
        sharpness=_sharpness(pixels_rgb, x1, y1, x2, y2),
    )


def _frontality(points: NDArray[np.float64]) -> float:
    """From where the nose lies between eyes and mouth; turning the picture changes nothing."""
    left_eye, right_eye, nose, mouth_left, mouth_right = points
    eyes, down = right_eye - left_eye, (mouth_left + mouth_right - left_eye - right_eye) / 2
    eye_distance, height = np.hypot(*eyes), np.hypot(*down)
    if not eye_distance > 0 or not height > 0:
        return 0.0
    from_eyes = nose - (left_eye + right_eye) / 2
    sideways = abs(from_eyes[0] * down[1] - from_eyes[1] * down[0]) / height / eye_distance  # off the middle line
    nodding = abs(from_eyes @ down / height**2 - _UPRIGHT)
    return float(max(0.0, 1 - max(sideways / _SIDEWAYS, nodding / _NODDING)))


def _sharpness(pixels_rgb: Pixels, x1: float, y1: float, x2: float, y2: float) -> float:
    """How much of the variance of the grey face is fine detail: that of its Laplacian, at a fixed size.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000): variance of the Laplacian; here relative
    to the variance of the face itself, so that light does not count.
    """
    height, width = pixels_rgb.shape[:2]
    left, top, right, bottom = max(0, round(x1)), max(0, round(y1)), min(width, round(x2)), min(height, round(y2))
    if right - left < 2 or bottom - top < 2:
        return 0.0
    face = cv2.cvtColor(pixels_rgb[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    shrinks = max(face.shape) > _SHARPNESS_SIDE_PX
    side = (_SHARPNESS_SIDE_PX, _SHARPNESS_SIDE_PX)
    grey = cv2.resize(face, side, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(np.float32)
    detail = float(cv2.Laplacian(grey, cv2.CV_32F).var()) / (float(grey.var()) + _QUIET_VARIANCE)
    return detail / (detail + _HALF_SHARP)
