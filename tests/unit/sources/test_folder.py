"""A folder of pictures."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import png_header

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.base import LARGEST_SIDE_PX
from edged.sources.folder import FolderSource, load_picture, natural_order
from edged.vision.picture import PictureError


def write_picture(path: Path, *, shade: int = 100, width: int = 32, height: int = 24) -> None:
    cv2.imwrite(str(path), np.full((height, width, 3), shade, np.uint8))


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


def test_load_picture_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    """A small file that claims a huge size is not decoded."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(LARGEST_SIDE_PX + 1, 10))

    with pytest.raises(PictureError, match="4097 x 10"):
        load_picture(path)


def test_natural_order_mixed_names_sort() -> None:
    """Numbers and letters at the same place do not stop the sorting."""
    names = ["b.png", "²1.png", "10.png", "a10.png", "a9.png", "9.png"]

    ordered = sorted((Path(name) for name in names), key=natural_order)

    assert [path.name for path in ordered] == ["9.png", "10.png", "a9.png", "a10.png", "b.png", "²1.png"]
