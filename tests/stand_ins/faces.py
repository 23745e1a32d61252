"""Faces that need no network: drawn with their truth in them, and a stand-in for `FaceReader` that reads it.

A drawn face is a magenta frame around 4 x 3 cells, black or white, which say whose face it is and whether it lives. That
survives JPEG, scaling down to about 20 px and pasting into any picture; turned upside down it is no face.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Face, Pixels
from edged.vision.face_quality import measure_quality

N_PEOPLE = 512
STAND_IN_DIGEST = "5" * 64
_COLUMNS, _ROWS = 4, 3
_FRAME = 0.15
"""Of the width of a face, on each side."""
_SMALLEST_PX = 16
_POINTS = np.array([[0.33, 0.40], [0.67, 0.40], [0.50, 0.57], [0.37, 0.75], [0.63, 0.75]], np.float32)
"""Where eyes, nose and corners of the mouth lie in a box."""


def draw_face(pixels_rgb: Pixels, number: int, box: Sequence[int], *, live: bool = True) -> None:
    """Draw the face of person `number` (0 to 511) into a picture.

    Args:
        box: x1, y1, x2, y2 in whole pixels; at least about 20 px wide.
        live: False: a picture of a face that is held up.
    """
    if not 0 <= number < N_PEOPLE:
        raise ValueError(f"expected a person from 0 to {N_PEOPLE - 1}, got {number}")
    x1, y1, x2, y2 = box
    bits = [True, live, *(bool(number >> bit & 1) for bit in range(9)), False]
    cells = np.where(np.array(bits).reshape(_ROWS, _COLUMNS), 235, 20).astype(np.uint8)
    pixels_rgb[y1:y2, x1:x2] = (255, 0, 255)
    inside = pixels_rgb[_inside(x1, y1, x2, y2)]
    grey = cv2.resize(cells, inside.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    inside[:] = grey[..., None]


def draw_portrait(number: int, *, face_px: int = 160, live: bool = True) -> Pixels:
    """(H, W, 3) uint8: one face in the middle of grey."""
    picture = np.full((face_px * 2, face_px * 2, 3), 120, np.uint8)
    draw_face(picture, number, (face_px // 2, face_px // 2, face_px // 2 + face_px, face_px // 2 + face_px), live=live)
    return picture


def embedding_of(number: int, *, dimension: int = 128) -> NDArray[np.float32]:
    """(D,) float32 of unit length: what the stand-in answers for a person, but for its noise."""
    return _unit(np.random.default_rng(number).standard_normal(dimension))


class StandInFaceReader:
    """Finds drawn faces and knows whose they are.

    Args:
        dimension: of the embeddings.
        noise: length of the random part of an embedding beside 1; it depends on the pixels alone.
        look_alikes: by person, whom they resemble and with which cosine.
        model_digest: another one stands for another encoder.
    """

    def __init__(
        self,
        *,
        dimension: int = 128,
        noise: float = 0.2,
        look_alikes: Mapping[int, tuple[int, float]] = {},
        model_digest: str = STAND_IN_DIGEST,
    ) -> None:
        self.model_digest = model_digest
        self.n_read = 0
        self.is_closed = False
        self._dimension = dimension
        self._noise = noise
        self._look_alikes = look_alikes

    def find(self, pixels_rgb: Pixels, region: Sequence[float] | None = None) -> list[Face]:
        """Faces in a picture, or in a part of it, in frame pixels, with their quality."""
        height, width = pixels_rgb.shape[:2]
        left, top, right, bottom = (0, 0, width, height) if region is None else (round(float(each)) for each in region)
        left, top = max(0, left), max(0, top)
        return [
            Face(box=box, points=points, score=0.9, quality=measure_quality(pixels_rgb, box, points).score)
            for box in _find_frames(pixels_rgb[top : max(top, bottom), left : max(left, right)], left, top)
            if _read_truth(pixels_rgb, box) is not None
            for points in [box[:2] + _POINTS * (box[2:] - box[:2])]
        ]

    def read(self, pixels_rgb: Pixels, faces: Sequence[Face]) -> list[Face]:
        """The same faces with embedding and liveness."""
        return [self._read_one(pixels_rgb, face) for face in faces]

    def _read_one(self, pixels_rgb: Pixels, face: Face) -> Face:
        truth = _read_truth(pixels_rgb, face.box)
        if truth is None:
            raise ValueError(f"no face was drawn at {face.box}")
        number, is_live = truth
        self.n_read += 1
        x1, y1, x2, y2 = (max(0, round(float(each))) for each in face.box)
        seed = zlib.crc32(np.ascontiguousarray(pixels_rgb[y1:y2, x1:x2]).tobytes())
        noise = self._noise * _unit(np.random.default_rng(seed).standard_normal(self._dimension))
        return replace(face, embedding=_unit(self.embedding_of(number) + noise), live=0.95 if is_live else 0.05)

    def embedding_of(self, number: int) -> NDArray[np.float32]:
        """(D,) float32 of unit length, without noise, look-alikes counted."""
        own = embedding_of(number, dimension=self._dimension)
        if number not in self._look_alikes:
            return own
        other_number, cosine = self._look_alikes[number]
        other = embedding_of(other_number, dimension=self._dimension)
        return _unit(cosine * other + np.sqrt(1 - cosine**2) * _unit(own - (own @ other) * other))

    def close(self) -> None:
        """Nothing is held."""
        self.is_closed = True


def _inside(x1: int, y1: int, x2: int, y2: int) -> tuple[slice, slice]:
    frame = max(2, round((x2 - x1) * _FRAME))
    return slice(y1 + frame, y2 - frame), slice(x1 + frame, x2 - frame)


def _find_frames(part: Pixels, left: int, top: int) -> list[NDArray[np.float32]]:
    """Boxes (4,) around magenta, from left to right."""
    if part.size == 0:
        return []
    mask = cv2.inRange(part, (150, 0, 150), (255, 110, 255))
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    boxes = [(x + left, y + top, x + w + left, y + h + top) for x, y, w, h, _ in stats[1:] if min(w, h) >= _SMALLEST_PX]
    return [np.array(box, np.float32) for box in sorted(boxes)]


def _read_truth(pixels_rgb: Pixels, box: NDArray[np.float32]) -> tuple[int, bool] | None:
    """Number and whether it lives; None where no face was drawn."""
    inside = pixels_rgb[_inside(*(max(0, round(float(each))) for each in box))]
    if inside.size == 0:
        return None
    cells = cv2.resize(inside, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA).mean(axis=2).reshape(-1) > 127
    if not cells[0] or cells[-1]:
        return None
    return sum(1 << bit for bit, is_set in enumerate(cells[2:-1]) if is_set), bool(cells[1])


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
