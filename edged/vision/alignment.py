"""Bring a face's five points to fixed places, so that an encoder always sees eyes, nose and mouth where it learnt them.

One place for training, evaluation, enrolment and the daemon. The manifest of an encoder names its template.

Source: the least-squares similarity of two point sets, Umeyama, Least-Squares Estimation of Transformation Parameters Between Two
Point Patterns, IEEE TPAMI 13(4), 1991; in the plane, with points as complex numbers, it is one quotient.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from edged.vision.letterbox import GREY

POINT_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""The order of the points everywhere; left and right as seen in the picture."""


@dataclass(frozen=True, slots=True)
class Template:
    """Where the points of a face are to lie in an aligned crop.

    Attributes:
        side_px: of the square crop.
        points: (x, y) of each of `POINT_NAMES`, crop pixels.
    """

    side_px: int
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.points) != len(POINT_NAMES):
            raise ValueError(f"expected {len(POINT_NAMES)} points, {', '.join(POINT_NAMES)}; got {len(self.points)}")

    def scaled(self, side_px: int) -> Template:
        """The same view of a face in a crop of another size."""
        scale = side_px / self.side_px
        return Template(side_px, tuple((scale * x, scale * y) for x, y in self.points))

    def with_room(self, room_px: int) -> Template:
        """A face of the same size in a crop that shows so much more on each side."""
        return Template(self.side_px + 2 * room_px, tuple((x + room_px, y + room_px) for x, y in self.points))

    def as_array(self) -> NDArray[np.float64]:
        """The points, (5, 2)."""
        return np.array(self.points, np.float64)


_MEAN112 = Template(
    side_px=112,
    points=((38.0, 37.2), (74.0, 37.2), (56.0, 58.9), (41.5, 77.3), (70.5, 77.3)),
)
TEMPLATES = {"mean112": _MEAN112, "mean96": _MEAN112.scaled(96)}
"""By name, never changed once an encoder was trained with it.

mean112: the mean shape of the people in faces/landmarks (train split; each person counts once, with its mirror image; shapes
brought onto each other by similarities, Gower, Generalized Procrustes Analysis, 1975), the eyes 36 px apart: the mean chin is at
y = 104, and there is as much forehead above the eyes as fits. mean96: the same in 96 px.
"""


def similarity(points: NDArray[np.floating], template: Template) -> NDArray[np.float64]:
    """The rotation, scaling and shift, (2, 3), that bring points nearest to the template's in the least-squares sense.

    crop point = matrix[:, :2] @ point + matrix[:, 2], both in the coordinates of `boxes.py`. It never reflects.

    Args:
        points: (5, 2) in the order of `POINT_NAMES`, pixels of the picture.

    Raises:
        ValueError: a point is no number, or all five are in one place: that is no face.
    """
    points = np.asarray(points, np.float64)
    if points.shape != (len(POINT_NAMES), 2) or not np.isfinite(points).all():
        raise ValueError(f"points of one face: expected ({len(POINT_NAMES)}, 2) numbers, got {points.shape}: {points.tolist()}")
    wanted = template.as_array()
    centre, wanted_centre = points.mean(axis=0), wanted.mean(axis=0)
    z = (points - centre) @ (1, 1j)
    spread = (z.conj() @ z).real
    if spread < 1e-6:
        raise ValueError(f"points of one face: expected five places apart from each other, got {points.tolist()}")
    turn = (z.conj() @ ((wanted - wanted_centre) @ (1, 1j))) / spread  # scale * e^(i * angle)
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([matrix, wanted_centre - matrix @ centre])


def align(pixels_rgb: Pixels, points: NDArray[np.floating], template: Template) -> Pixels:
    """The face with its points on the template's: (side, side, 3) uint8; grey where the picture ends.

    Args:
        pixels_rgb: (h, w, 3) uint8, any size from 1x1.
        points: (5, 2) in the order of `POINT_NAMES`, pixels of the picture.

    Raises:
        ValueError: as `similarity`.
    """
    matrix = similarity(points, template)
    pixels_rgb, matrix = _shrink(pixels_rgb, matrix, side=template.side_px)
    # OpenCV counts from the centre of a pixel, `boxes.py` from its edge.
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    return cv2.warpAffine(
        pixels_rgb,
        matrix,
        (template.side_px, template.side_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(GREY, GREY, GREY),
    )


def _shrink(pixels_rgb: Pixels, matrix: NDArray[np.float64], *, side: int) -> tuple[Pixels, NDArray[np.float64]]:
    """The part of a picture that the crop shows, averaged over whole blocks where that leaves it larger than the crop.

    Bilinear sampling alone would pass over pixels of a large face, and what is seen of it would flicker.
    """
    factor = int(1 / np.hypot(matrix[0, 0], matrix[1, 0]))
    if factor < 2:
        return pixels_rgb, matrix
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)]) @ inverse[:, :2].T + inverse[:, 2]
    height, width = pixels_rgb.shape[:2]
    x1, y1 = np.clip(np.floor(corners.min(axis=0)) - factor, 0, (width, height)).astype(int)
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)) + factor, 0, (width, height)).astype(int)
    columns, rows = (x2 - x1) // factor, (y2 - y1) // factor
    if not (columns and rows):
        return pixels_rgb, matrix
    part = pixels_rgb[y1 : y1 + rows * factor, x1 : x1 + columns * factor]
    matrix = np.column_stack([matrix[:, :2] * factor, matrix[:, :2] @ (x1, y1) + matrix[:, 2]])
    return cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), matrix
