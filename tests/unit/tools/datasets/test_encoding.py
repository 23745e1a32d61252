"""Encoded pictures: sizes, damage, orientation."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from tools.datasets.encoding import find_damage, is_turned, picture_size


def _encoded(suffix: str) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def _progressive() -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def _with_orientation(value: int, order: str = "<") -> bytes:
    """A JPEG with an EXIF segment of one entry."""
    mark = b"II" if order == "<" else b"MM"
    tiff = mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, value, 0, 0)
    body = b"Exif\0\0" + tiff
    jpeg = _encoded(".jpg")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_find_damage_of_a_whole_picture_is_empty_and_its_size_is_told(suffix: str) -> None:
    """Every format that a folder may hold."""
    assert find_damage(_encoded(suffix)) == ""
    assert picture_size(_encoded(suffix)) == (50, 40)


def test_find_damage_of_a_progressive_jpeg_is_empty() -> None:
    """Several scans are no damage."""
    assert find_damage(_progressive()) == ""
    assert picture_size(_progressive()) == (50, 40)


def test_find_damage_of_a_jpeg_with_something_after_its_end_is_empty() -> None:
    """Cameras append data of their own."""
    assert find_damage(_encoded(".jpg") + b"made by a camera" * 9) == ""


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"no picture", "not a picture", id="text"),
        pytest.param(_encoded(".jpg")[:-2], "end of the JPEG is missing", id="jpeg without its end"),
        pytest.param(_encoded(".jpg")[:1500], "end of the JPEG is missing", id="half a jpeg"),
        pytest.param(_encoded(".jpg")[:1500] + bytes(900), "end of the JPEG is missing", id="jpeg filled up with zeros"),
        pytest.param(_encoded(".jpg")[:1500] + b"\xff\xd9", "not whole", id="half a jpeg with an end"),
        pytest.param(_encoded(".jpg")[:20], "end of the JPEG is missing", id="head of a jpeg"),
        pytest.param(_encoded(".png")[:-12], "end of the PNG is missing", id="png without its end"),
        pytest.param(_encoded(".png")[:900], "end of the PNG is missing", id="half a png"),
        pytest.param(_encoded(".png")[:900] + b"\0" + _encoded(".png")[901:], "check sum", id="png with a wrong byte"),
    ],
)
def test_find_damage_says_what_is_wrong(encoded: bytes, message: str) -> None:
    """OpenCV decodes several of these without a word."""
    assert message in find_damage(encoded)


@pytest.mark.parametrize(("value", "expected"), [(1, False), (6, True), (3, True), (0, False)])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
def test_is_turned_follows_the_exif_orientation(value: int, expected: bool, order: str) -> None:
    """1 is upright, everything above is turned or mirrored."""
    assert is_turned(_with_orientation(value, order)) is expected
    assert is_turned(_encoded(".png")) is False
