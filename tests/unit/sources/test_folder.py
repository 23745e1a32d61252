"""A folder of pictures."""

import logging
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.base import LARGEST_SIDE_PX
from edged.sources.folder import FolderSource, PictureError, load_picture, natural_order, picture_size


def write_picture(path: Path, *, shade: int = 100, width: int = 32, height: int = 24) -> None:
    cv2.imwrite(str(path), np.full((height, width, 3), shade, np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def read_all(source: FolderSource) -> tuple[list[float], list[int], SourceError, int]:
    """Times, shades, how it ended and how many were left out."""
    times_s, shades = [], []
    with source.open() as stream:
        while True:
            try:
                frame = stream.read()
            except SourceError as end:
                return times_s, shades, end, stream.n_broken
            times_s.append(frame.stream_s)
            shades.append(int(frame.make_pixels_rgb()[0, 0, 0]))


def test_folder_pictures_come_in_natural_order(tmp_path: Path) -> None:
    """2 comes before 10, each picture a step of stream time later, then the end."""
    for number in (10, 2, 1):
        write_picture(tmp_path / f"frame{number}.png", shade=number)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "below.png").mkdir()

    times_s, shades, end, n_broken = read_all(FolderSource(tmp_path, fps=4.0))

    assert shades == [1, 2, 10]
    assert times_s == [0.0, 0.25, 0.5]
    assert (end.cause, n_broken) == (SourceCause.EOF, 0)


def test_folder_broken_pictures_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Broken ones cost no time step and one log line together; the end tells their number."""
    write_picture(tmp_path / "1.png", shade=1)
    (tmp_path / "2.jpg").write_bytes(b"not a picture")
    (tmp_path / "3.png").write_bytes(png_header(100_000, 100_000))
    write_picture(tmp_path / "4.png", shade=4)

    with caplog.at_level(logging.WARNING):
        times_s, shades, end, n_broken = read_all(FolderSource(tmp_path, fps=1.0))

    assert (shades, times_s, n_broken) == ([1, 4], [0.0, 1.0], 2)
    assert "2 that cannot be read" in str(end)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("name", [pytest.param("", id="empty folder"), pytest.param("missing", id="no folder")])
def test_folder_without_pictures_is_not_found(tmp_path: Path, name: str) -> None:
    """There must be something to read."""
    with pytest.raises(SourceError) as failed:
        FolderSource(tmp_path / name).open()

    assert failed.value.cause is SourceCause.NOT_FOUND
    assert str(tmp_path) in str(failed.value)


def test_folder_with_broken_pictures_only_is_no_film(tmp_path: Path) -> None:
    """A folder of which nothing can be read is an error, not an end."""
    (tmp_path / "1.jpg").write_bytes(b"")

    _, _, end, _ = read_all(FolderSource(tmp_path))

    assert end.cause is SourceCause.PROTOCOL


def test_folder_fps_zero_is_refused(tmp_path: Path) -> None:
    """Stream time needs a pace."""
    with pytest.raises(InputError, match="fps"):
        FolderSource(tmp_path, fps=0.0)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_picture_size_header_gives_size(tmp_path: Path, suffix: str) -> None:
    """The size is in the header of each kind."""
    path = tmp_path / f"a{suffix}"
    write_picture(path, width=40, height=30)

    assert picture_size(path.read_bytes()) == (40, 30)
    assert load_picture(path).shape == (30, 40, 3)


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
        pytest.param(LARGEST_SIDE_PX, LARGEST_SIDE_PX, "damaged", id="at the bound: decoding is tried"),
        pytest.param(LARGEST_SIDE_PX + 1, 10, "4097 x 10", id="too wide"),
        pytest.param(10, LARGEST_SIDE_PX + 1, "10 x 4097", id="too high"),
        pytest.param(0, 10, "0 x 10", id="nothing"),
    ],
)
def test_load_picture_size_is_checked_before_decoding(tmp_path: Path, width: int, height: int, words: str) -> None:
    """A small file that claims a huge size is refused by its header."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))

    with pytest.raises(PictureError, match=words):
        load_picture(path)


def test_load_picture_colours_are_rgb(tmp_path: Path) -> None:
    """Red comes first."""
    pixels_bgr = np.zeros((4, 4, 3), np.uint8)
    pixels_bgr[:, :, 2] = 200
    cv2.imwrite(str(tmp_path / "red.png"), pixels_bgr)

    assert load_picture(tmp_path / "red.png")[0, 0].tolist() == [200, 0, 0]


def test_natural_order_mixed_names_sort() -> None:
    """Numbers and letters at the same place do not stop the sorting."""
    names = ["b.png", "²1.png", "10.png", "a10.png", "a9.png", "9.png"]

    ordered = sorted((Path(name) for name in names), key=natural_order)

    assert [path.name for path in ordered] == ["9.png", "10.png", "a9.png", "a10.png", "b.png", "²1.png"]
