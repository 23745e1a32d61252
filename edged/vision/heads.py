"""Where in a person's box the head is, as far as a box can say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edged.vision.boxes import Boxes

_OF_HEIGHT, _OF_WIDTH = 0.25, 0.75
"""A head ends above so much of the box's height where somebody stands, of its width where the edge cuts them, lie or sit near."""

_UPPER_SHARE = 0.6


def head_areas(boxes: Boxes) -> Boxes:
    """Areas (N, 4) that hold the heads of the persons in boxes (N, 4): their whole width, and down to where no chin is below.

    Generous on purpose: of somebody close, bent or lying it is most of the box.
    """
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas = boxes.copy()
    areas[:, 3] = boxes[:, 1] + np.minimum(heights, np.maximum(_OF_HEIGHT * heights, _OF_WIDTH * widths))
    return areas


def head_point(box: NDArray[np.float32]) -> tuple[float, float]:
    """Where the middle of the head of a person in a box (4,) is expected, xy: half a head below the top."""
    x1, y1, x2, y2 = (float(edge) for edge in box)
    return (x1 + x2) / 2, y1 + min(y2 - y1, 0.4 * (x2 - x1), 0.2 * (y2 - y1)) / 2


def face_region(box: NDArray[np.float32]) -> NDArray[np.float32]:
    """The upper part (4,) of a person's box (4,), in which the face is looked for."""
    x1, y1, x2, y2 = (float(edge) for edge in box)
    depth = min(y2 - y1, max(_UPPER_SHARE * (y2 - y1), 1.2 * (x2 - x1)))
    return np.array([x1, y1, x2, y1 + depth], np.float32)
