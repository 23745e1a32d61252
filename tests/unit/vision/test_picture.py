"""Pictures out of bytes: sized before they are decoded."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pictures import png_header

from edged.vision.picture import PictureError, PictureSizeError, decode_picture, picture_size


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_picture_size_header_gives_size(suffix: str) -> None:
    """The size is in the header of each kind."""
    _, encoded = cv2.imencode(suffix, np.full((30, 40, 3), 100, np.uint8))

    assert picture_size(encoded.tobytes()) == (40, 30)
    assert decode_picture(encoded.tobytes(), largest_side_px=40).shape == (30, 40, 3)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"GIF89a" + bytes(50), id="another kind"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="PNG cut off"),
        pytest.param(b"\xff\xd8", id="JPEG cut off"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x10" + bytes(30), id="JPEG damaged"),
        pytest.param(b"\xff\xd8" + b"\xff" * 20, id="JPEG of fill bytes"),
    ],
)
def test_picture_size_bad_header_is_refused(data: bytes) -> None:
    """Cut off, damaged or unknown headers raise one error."""
    with pytest.raises(PictureError):
        picture_size(data)


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        pytest.param(4096, 4096, "damaged", id="at the bound: decoding is tried"),
        pytest.param(4097, 10, "4097 x 10", id="too wide"),
        pytest.param(10, 4097, "10 x 4097", id="too high"),
        pytest.param(0, 10, "0 x 10", id="nothing"),
    ],
)
def test_decode_picture_size_is_checked_before_decoding(width: int, height: int, words: str) -> None:
    """A few bytes that claim a huge size are refused by their header."""
    with pytest.raises(PictureError, match=words):
        decode_picture(png_header(width, height), largest_side_px=4096)


def test_decode_picture_of_too_many_pixels_is_refused() -> None:
    """Each side may be long, not both."""
    with pytest.raises(PictureSizeError, match="4000 x 3000 pixels, allowed are 10 million"):
        decode_picture(png_header(4000, 3000), largest_side_px=4096, most_pixels=10_000_000)


def test_decode_picture_colours_are_rgb() -> None:
    """Red comes first."""
    _, encoded = cv2.imencode(".png", np.full((4, 4, 3), (0, 0, 200), np.uint8))

    assert decode_picture(encoded.tobytes(), largest_side_px=4)[0, 0].tolist() == [200, 0, 0]
