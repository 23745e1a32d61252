"""Encoded pictures: their size without decoding, whether they are whole, and the indexes of a PNG with a palette.

OpenCV decodes a JPEG of which a part is missing and fills the rest with grey. So the marker of the end is looked for, and
FFmpeg, which can be told to refuse damage, decodes it once more. The chunks of a PNG carry check sums.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
_END_OF_IMAGE = b"\xff\xd9"
_PALETTE, _GREY = 3, 0


def decode_rgb(encoded: bytes) -> Pixels | None:
    """(H, W, 3) uint8 as the file stores it, not turned by its EXIF orientation; None where OpenCV cannot decode it."""
    if not encoded:
        return None
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def encode_jpeg(pixels_rgb: Pixels, *, quality: int = 95) -> bytes:
    """A JPEG file of a picture (H, W, 3)."""
    bgr = cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def encode_indexes(indexes: NDArray[np.uint8]) -> bytes:
    """(H, W) as the bytes of a PNG of one 8-bit channel."""
    _, encoded = cv2.imencode(".png", indexes)
    return encoded.tobytes()


def decode_indexes(encoded: bytes) -> NDArray[np.uint8] | None:
    """(H, W) uint8: the numbers in a PNG of one channel, of grey or of places in a palette; None where it is none."""
    if not encoded.startswith(_PNG) or len(encoded) < 26 or encoded[25] not in (_GREY, _PALETTE):
        return None
    depth_bits = encoded[24]
    if depth_bits > 8:
        return None
    plain = _without_palette(encoded) if encoded[25] == _PALETTE else encoded
    indexes = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if indexes is None else indexes // (255 // (2**depth_bits - 1))  # fewer bits come spread over 0 to 255


def _without_palette(encoded: bytes) -> bytes:
    """The same PNG declared to be grey, which has the same data: OpenCV would replace the indexes by the palette's colours."""
    parts = [_PNG]
    for kind, body, _ in _png_chunks(encoded):
        if kind in (b"PLTE", b"tRNS"):
            continue
        body = body[:9] + bytes([_GREY]) + body[10:] if kind == b"IHDR" else body  # noqa: PLW2901
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)


def picture_size(encoded: bytes) -> tuple[int, int] | None:
    """Width and height, pixels, as stored; None where the file is no picture."""
    if encoded.startswith(_PNG) and len(encoded) >= 24:
        return struct.unpack(">II", encoded[16:24])
    if encoded.startswith(_JPEG):
        for marker, body, _ in _jpeg_segments(encoded):
            if marker in _START_OF_FRAME and len(body) >= 5:
                height, width = struct.unpack(">HH", body[1:5])
                return width, height
    pixels = decode_rgb(encoded)
    return None if pixels is None else (pixels.shape[1], pixels.shape[0])


def is_turned(encoded: bytes) -> bool:
    """Whether a JPEG's EXIF orientation asks viewers to turn or mirror it."""
    if not encoded.startswith(_JPEG):
        return False
    exif = next((body for marker, body, _ in _jpeg_segments(encoded) if marker == _APP1 and body[:6] == b"Exif\0\0"), None)
    if exif is None:
        return False
    order = "<" if exif[6:8] == b"II" else ">"
    at = exif.find(struct.pack(order + "HHI", 0x0112, 3, 1))  # the orientation's tag, a short, one of them
    return at >= 0 and len(exif) >= at + 10 and struct.unpack_from(order + "H", exif, at + 8)[0] not in (0, 1)


def find_damage(encoded: bytes) -> str:
    """What is wrong with an encoded picture; empty where it is whole."""
    if not encoded:
        return "the file is empty"
    if encoded.startswith(_PNG):
        damage = _find_png_damage(encoded)
    elif encoded.startswith(_JPEG):
        damage = _find_jpeg_damage(encoded)
    else:
        damage = ""
    return damage or ("not a picture that OpenCV can decode" if decode_rgb(encoded) is None else "")


def _find_png_damage(encoded: bytes) -> str:
    kind = b""
    for kind, body, stored_sum in _png_chunks(encoded):
        if stored_sum != zlib.crc32(kind + body):
            return f"damaged or cut short: the check sum of a PNG chunk {kind.decode('latin-1')!r} is wrong"
    return "" if kind == b"IEND" else "cut short: the end of the PNG is missing"


def _png_chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Kind, body and stored check sum of each chunk up to the end, or to where the file is cut."""
    at = len(_PNG)
    while at + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, at)
        if at + 12 + length > len(encoded):
            return
        yield kind, encoded[at + 8 : at + 8 + length], struct.unpack_from(">I", encoded, at + 8 + length)[0]
        if kind == b"IEND":
            return
        at += 12 + length


def _find_jpeg_damage(encoded: bytes) -> str:
    scan = next((end for marker, _, end in _jpeg_segments(encoded) if marker == _START_OF_SCAN), None)
    if scan is None or encoded.find(_END_OF_IMAGE, scan) < 0:  # inside the scans 0xff is always followed by something else
        return "cut short: the end of the JPEG is missing"
    return "damaged: the data of the JPEG are not whole" if _ffmpeg_refuses(encoded) else ""


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, body and end of each segment up to the first scan."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + struct.unpack_from(">H", encoded, at + 2)[0]
        yield marker, encoded[at + 4 : end], end
        if marker == _START_OF_SCAN:
            return
        at = end


def _ffmpeg_refuses(encoded: bytes) -> bool:
    import av  # here: it is needed by checks only

    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        decoder.decode(av.Packet(encoded))
    except av.error.InvalidDataError:
        return True
    except av.error.FFmpegError:  # a kind of JPEG that FFmpeg does not know tells nothing
        return False
    return False
