"""What a picture must be before somebody is enrolled with it: a picture, of one face, large and sharp, and of nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import FaceError
from edged.identity.matching import Candidate, Matcher, check_unit_rows
from edged.types import Face, Pixels
from edged.vision.alignment import TEMPLATES, align
from edged.vision.face_quality import measure_quality
from edged.vision.picture import PictureError, PictureSizeError, decode_picture

MOST_PICTURE_BYTES = 20 * 1024 * 1024
MOST_PIXELS = 50_000_000
LARGEST_SIDE_PX = 12_000
_SHOWN_SIDE_PX = 4096
"""A larger picture is made smaller before faces are looked for: the encoder is shown a hundred pixels of it."""

BYSTANDER_RATIO = 0.25
"""A face smaller than this beside the largest is somebody in the background."""

SAME_PERSON_RATIO = 0.5

KEPT_TEMPLATE = "mean112"
"""How kept crops are aligned, whatever the encoder of the day wants."""


class ReadsFaces(Protocol):
    """What enrolment needs of a `FaceReader`."""

    @property
    def model_digest(self) -> str: ...

    def find(self, pixels_rgb: Pixels) -> list[Face]: ...

    def read(self, pixels_rgb: Pixels, faces: Sequence[Face]) -> list[Face]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentLimits:
    """What a face must reach to be enrolled; see `FaceQuality`.

    Attributes:
        least_side_px: shorter side of its box.
        least_frontality, least_sharpness: in [0, 1].
    """

    least_side_px: float = 64.0
    least_frontality: float = 0.4
    least_sharpness: float = 0.2


def read_picture(data: bytes) -> Pixels:
    """(H, W, 3) uint8 RGB of a photograph that somebody gave us, turned as its EXIF says, its longer side at most 4096 pixels.

    Raises:
        FaceError: it is too large, which is found out before anything is decoded, or no picture.
    """
    if len(data) > MOST_PICTURE_BYTES:
        raise _refuse(
            "enrol.too_large",
            f"the picture has {len(data) / 1e6:.0f} MB, allowed are {MOST_PICTURE_BYTES / 1e6:.0f}",
            "save it smaller",
        )
    try:
        pixels_rgb = decode_picture(data, largest_side_px=LARGEST_SIDE_PX, most_pixels=MOST_PIXELS)
    except PictureSizeError as error:
        raise _refuse("enrol.too_large", f"the picture has {error}", "save it smaller") from None
    except PictureError as error:
        raise _refuse("enrol.not_a_picture", f"this is no picture: {error}", "save it as JPEG or PNG") from None
    height, width = pixels_rgb.shape[:2]
    scale = _SHOWN_SIDE_PX / max(height, width)
    if scale >= 1:
        return pixels_rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels_rgb, size, interpolation=cv2.INTER_AREA)


def read_one_face(pixels_rgb: Pixels, reader: ReadsFaces) -> Face:
    """The only face of a picture but for those of bystanders, encoded.

    Raises:
        FaceError: there is none, or there are several, or the encoder's answer is no direction.
        InferenceError: a network failed.
    """
    found = sorted(reader.find(pixels_rgb), key=_side_px, reverse=True)
    if not found:
        raise _refuse(
            "enrol.no_face", "no face was found in the picture", "take one in which the face is larger, lit, and not covered"
        )
    others = [face for face in found[1:] if _side_px(face) >= BYSTANDER_RATIO * _side_px(found[0])]
    if others:
        raise _refuse("enrol.many_faces", f"{1 + len(others)} faces were found in the picture", "cut out the one that is meant")
    (face,) = reader.read(pixels_rgb, found[:1])
    if face.embedding is None:
        raise RuntimeError("expected a face that was read to have an embedding")
    try:
        check_unit_rows(face.embedding[None], "embedding")
    except ValueError as error:
        raise _refuse(
            "enrol.embedding", f"the encoder gave no usable answer: {error}", "check the engine: edged engines verify"
        ) from None
    return face


def check_quality(pixels_rgb: Pixels, face: Face, limits: EnrolmentLimits) -> None:
    """See that a face shows enough to be enrolled.

    Raises:
        FaceError: it is too small, turned away or blurred.
    """
    quality = measure_quality(pixels_rgb, face.box, face.points)
    if quality.size_px < limits.least_side_px:
        raise _refuse(
            "enrol.too_small",
            f"the face is {quality.size_px:.0f} pixels wide, it takes {limits.least_side_px:.0f}",
            "go nearer, or give a picture of more pixels",
        )
    if quality.sharpness < limits.least_sharpness:
        raise _refuse(
            "enrol.blurred",
            f"the face has a sharpness of {quality.sharpness:.2f}, it takes {limits.least_sharpness:.2f}",
            "take a sharper picture, with more light",
        )
    if quality.frontality < limits.least_frontality:
        raise _refuse(
            "enrol.turned_away",
            f"the face looks aside: frontality {quality.frontality:.2f}, it takes {limits.least_frontality:.2f}",
            "take a picture in which the face looks into the camera",
        )


def check_nobody_else(
    embedding: NDArray[np.float32], matcher: Matcher, *, threshold: float, person_id: str | None
) -> Candidate | None:
    """The nearest other person, who must not be taken for this one.

    Args:
        embedding: (D,) float32 of unit length.
        threshold: score from which on a face is somebody's.
        person_id: whose face it is said to be; None: of somebody new.

    Raises:
        FaceError: somebody else has this face, by the threshold that the door uses.
    """
    (candidates,) = matcher.search(embedding[None])
    others = [candidate for candidate in candidates if candidate.person_id != person_id]
    nearest = others[0] if others else None
    if nearest is not None and nearest.score >= threshold:
        name = matcher.names.get(nearest.person_id, "")
        raise _refuse(
            "enrol.duplicate_of",
            f"this face is {name!r} ({nearest.person_id}) by a score of {nearest.score:.3f} (threshold {threshold:.3f})",
            "add the picture to that person; or allow look-alikes where they are two, who will then be `ambiguous`",
        )
    return nearest


def check_same_person(embedding: NDArray[np.float32], others: Iterable[NDArray[np.float32]], *, threshold: float) -> None:
    """See that a further picture shows whom the pictures (D,) before it showed, of which there may be none.

    It may be as little like them as `SAME_PERSON_RATIO` of the threshold: a picture with other glasses or another beard is worth
    adding because it is not yet matched.

    Raises:
        FaceError: it resembles none of them enough.
    """
    best = max((float(embedding @ other) for other in others), default=None)
    least = SAME_PERSON_RATIO * threshold
    if best is not None and best < least:
        raise _refuse(
            "enrol.other_person",
            f"this picture does not look like the others of this person: score {best:.3f}, it takes {least:.3f}",
            "check whose picture it is; take one more like the others",
        )


def make_crop(pixels_rgb: Pixels, face: Face) -> bytes:
    """PNG of the aligned face, from which another encoder can make another template."""
    try:
        crop = align(pixels_rgb, face.points, TEMPLATES[KEPT_TEMPLATE])
    except ValueError as error:
        raise _refuse("enrol.no_face", f"the face cannot be aligned: {error}", "take another picture") from None
    is_encoded, png = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    if not is_encoded:
        raise RuntimeError("OpenCV cannot write a PNG")
    return png.tobytes()


def read_crop(png: bytes, reader: ReadsFaces) -> Face:
    """What an encoder says of a kept crop.

    Raises:
        FaceError: it is no crop of ours.
        InferenceError: a network failed.
    """
    template = TEMPLATES[KEPT_TEMPLATE]
    side = template.side_px
    try:
        crop = decode_picture(png, largest_side_px=side)
    except PictureError as error:
        raise _refuse("enrol.not_a_picture", f"a kept crop is no picture: {error}", "enrol this person again") from None
    box, points = np.array([0, 0, side, side], np.float32), template.as_array().astype(np.float32)
    (face,) = reader.read(crop, [Face(box, points, score=1.0, quality=1.0)])
    return face


def _side_px(face: Face) -> float:
    x1, y1, x2, y2 = face.box
    return float(min(x2 - x1, y2 - y1))


def _refuse(code: str, message: str, mend: str) -> FaceError:
    return FaceError(code, message, mend=mend, where="arguments.pictures")
