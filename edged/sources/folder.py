"""A folder of pictures, read like a film in the order of their names."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.base import LARGEST_SIDE_PX, SourceFrame
from edged.types import Pixels
from edged.vision.picture import PictureError, decode_picture

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
LARGEST_FILE_BYTES = 64 * 1024 * 1024
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Pictures in a directory, not in those below it; pictures that cannot be read are left out and counted.

    Attributes:
        path: the directory.
        fps: how many of them make a second of stream time.
    """

    path: Path
    fps: float = 5.0

    def __post_init__(self) -> None:
        if self.fps <= 0:
            raise InputError(f"{self.path}: fps: expected more than 0, got {self.fps}")

    @property
    def is_live(self) -> bool:
        return False

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def deadline_s(self) -> float:
        return DEADLINE_S

    def open(self) -> FolderStream:
        try:
            pictures = sorted(
                (path for path in self.path.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()), key=natural_order
            )
        except PermissionError as error:
            raise SourceError(SourceCause.AUTH, f"{self.path}: cannot be read: {error.strerror}") from error
        except OSError as error:
            raise SourceError(SourceCause.NOT_FOUND, f"{self.path}: {error.strerror}") from error
        if not pictures:
            raise SourceError(SourceCause.NOT_FOUND, f"{self.path}: holds no picture ({', '.join(SUFFIXES)})")
        return FolderStream(self, pictures)


class FolderStream:
    """The pictures that were there when the folder was opened.

    Attributes:
        n_broken: pictures left out so far.
    """

    def __init__(self, source: FolderSource, pictures: list[Path]) -> None:
        self.n_broken = 0
        self._source = source
        self._waiting = list(reversed(pictures))
        self._n_read = 0

    def read(self) -> SourceFrame:
        while self._waiting:
            path = self._waiting.pop()
            try:
                pixels_rgb = load_picture(path)
            except PictureError as error:
                self.n_broken += 1
                if self.n_broken == 1:  # the others are told as a number at the end
                    logger.warning("picture left out: file=%s error=%s", path, error)
                continue
            stream_s = self._n_read / self._source.fps
            self._n_read += 1
            height, width = pixels_rgb.shape[:2]
            return SourceFrame(width, height, stream_s, partial(np.asarray, pixels_rgb))
        raise self._ended()

    def _ended(self) -> SourceError:
        if not self._n_read:
            return SourceError(SourceCause.PROTOCOL, f"{self._source.path}: none of {self.n_broken} pictures can be read")
        left_out = f", {self.n_broken} that cannot be read left out" if self.n_broken else ""
        return SourceError(SourceCause.EOF, f"{self._source.path}: end after {self._n_read} pictures{left_out}")

    def close(self) -> None:
        self._waiting.clear()

    def __enter__(self) -> FolderStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sorting key that puts 2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def load_picture(path: Path) -> Pixels:
    """(H, W, 3) uint8 RGB, turned as its EXIF says.

    Raises:
        PictureError: it cannot be read, is too large, or no picture. Its size is read from its header before anything is decoded.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise PictureError(f"larger than {LARGEST_FILE_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(error.strerror or str(error)) from error
    return decode_picture(data, largest_side_px=LARGEST_SIDE_PX)
