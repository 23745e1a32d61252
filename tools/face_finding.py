"""The most prominent face of a picture, by the detector that the daemon uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.assembly import open_detector
from edged.errors import InputError
from edged.models.detector import Detector
from edged.types import Detections, Pixels
from edged.vision.alignment import POINT_NAMES
from tools.face_crops import FindPoints


@contextmanager
def open_finder(engine: Path | None, *, threads: int) -> Iterator[FindPoints | None]:
    """Finds the points of a picture's most prominent face; None without an engine.

    Raises:
        ModelError, InputError: the engine cannot be used, or does not tell the five points.
    """
    if engine is None:
        yield None
        return
    with open_detector(engine, threads=threads) as detector:
        check_points(detector)
        yield lambda pixels_rgb: _points_of(most_prominent(detector, pixels_rgb))


def check_points(detector: Detector) -> None:
    """Raises: InputError: the detector does not tell the five points of a face."""
    if detector.manifest.points != POINT_NAMES:
        told = ", ".join(detector.manifest.points) or "none"
        raise InputError(f"{detector.manifest.name}: expected a detector that tells {', '.join(POINT_NAMES)}; it tells {told}")


def most_prominent(detector: Detector, pixels_rgb: Pixels) -> Detections | None:
    """The one face whose score times size, the square root of its box's area, is largest; None where there is none."""
    (found,) = detector.detect([pixels_rgb])
    if not len(found):
        return None
    sizes = np.sqrt((found.boxes[:, 2:] - found.boxes[:, :2]).prod(axis=1))
    best = int(np.argmax(found.scores * sizes))
    return found[np.array([best])]


def _points_of(face: Detections | None) -> NDArray[np.float32] | None:
    return None if face is None else face.points[0]
