"""A picture out of the bytes of a file: how large it says it is, before anything is decoded, and its pixels."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from edged.types import Pixels

_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class PictureError(ValueError):
    """These bytes are no picture that we can use."""


class PictureSizeError(PictureError):
    """It has too many pixels, or none."""


def decode_picture(data: bytes, *, largest_side_px: int, most_pixels: int | None = None) -> Pixels:
    """(H, W, 3) uint8 RGB, turned as its EXIF says.

    Args:
        data: of a JPEG, PNG or BMP.
        largest_side_px: a wider or higher picture is refused.
        most_pixels: so is one that has more in all.

    Raises:
        PictureError: it is too large, or no picture. Its size is read from its header before anything is decoded.
    """
    width, height = picture_size(data)
    if not (0 < width <= largest_side_px and 0 < height <= largest_side_px):
        raise PictureSizeError(f"{width} x {height} pixels, allowed are 1 to {largest_side_px} each")
    if most_pixels is not None and width * height > most_pixels:
        raise PictureSizeError(f"{width} x {height} pixels, allowed are {most_pixels / 1e6:.0f} million")
    pixels_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels_bgr is None or sorted(pixels_bgr.shape[:2]) != sorted((height, width)):
        raise PictureError("damaged")
    return cv2.cvtColor(pixels_bgr, cv2.COLOR_BGR2RGB)


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height that a JPEG, PNG or BMP says it has.

    Raises:
        PictureError: it is none of these, or cut off.

    Source: ITU-T T.81 annex B (JPEG), W3C PNG 11.2.2, BITMAPINFOHEADER.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            return width, abs(height)
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
    except (struct.error, IndexError):
        raise PictureError("cut off") from None
    raise PictureError("neither JPEG, PNG nor BMP")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    while True:
        if data[position] != 0xFF:
            raise PictureError("damaged header")
        marker = data[position + 1]
        if marker in _JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        if marker == 0xFF:  # fill byte
            position += 1
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            position += 2 + length
