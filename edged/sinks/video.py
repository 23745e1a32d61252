"""Writes pictures as an H.264 (or MPEG-4) clip through PyAV."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.errors import SinkError

if TYPE_CHECKING:
    from types import TracebackType

    from edged.vision.redact import PublicPicture

_FORMATS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov", ".avi": "avi"}
_CODECS = (
    # x264's macroblock tree gives other bytes now and then for equal pictures (PyAV 18.1, small sizes; never with asm=0)
    ("libx264", {"preset": "veryfast", "crf": "23", "x264-params": "mbtree=0"}),
    ("mpeg4", {"qscale": "4"}),
)


class VideoWriter:
    """A clip at `path`, which appears when `close` has finished it; until then it grows beside it as `<name>.part`.

    The first picture decides the size; later ones must have it. Odd sizes lose their last row or column, which 4:2:0
    colour cannot hold. Two runs over equal pictures write equal bytes.

    Args:
        path: ends in .mp4, .mkv, .mov or .avi.
        fps: pictures a second.

    Raises:
        SinkError: from every method: what failed, on which file.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in _FORMATS:
            raise SinkError(f"cannot write {path}: the name must end in one of {', '.join(_FORMATS)}")
        if fps <= 0:
            raise SinkError(f"cannot write {path}: fps must be above 0, got {fps}")
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._fps = Fraction(fps).limit_denominator(1000)
        self._container: Any = None
        self._stream: Any = None
        self._is_closed = False

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def write(self, picture: PublicPicture) -> None:
        """Append a picture."""
        if self._is_closed:
            raise SinkError(f"cannot write {self._path}: it is closed")
        pixels_rgb = picture.pixels_rgb
        height, width = pixels_rgb.shape[0] // 2 * 2, pixels_rgb.shape[1] // 2 * 2
        try:
            import av

            if self._container is None:
                self._open(av, width, height)
            if (self._stream.width, self._stream.height) != (width, height):
                raise SinkError(
                    f"cannot write {self._path}: it holds {self._stream.width}x{self._stream.height}, got {width}x{height}"
                )
            frame = av.VideoFrame.from_ndarray(pixels_rgb[:height, :width], format="rgb24")
            self._container.mux(self._stream.encode(frame))
        except SinkError:
            raise
        except Exception as error:  # border to PyAV, which raises more than it documents
            self._is_closed = True  # nothing to finish: a second error would hide this one
            raise SinkError(f"cannot write {self._path}: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Finish the clip and give it its name. Nothing appears if no picture was written."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            os.replace(self._part, self._path)
        except Exception as error:  # border to PyAV
            raise SinkError(f"cannot finish {self._path}: {type(error).__name__}: {error}; see {self._part}") from error

    def _open(self, av: Any, width: int, height: int) -> None:
        codec, options = next((codec for codec in _CODECS if codec[0] in av.codecs_available), (None, None))
        if codec is None:
            raise SinkError(f"cannot write {self._path}: this PyAV has neither libx264 nor mpeg4")
        if width < 2 or height < 2:
            raise SinkError(f"cannot write {self._path}: a picture needs at least 2x2 pixels")
        self._part.touch()  # PyAV opens the file late, when the first packet leaves the encoder
        exact = {"fflags": "+bitexact"}  # no random ids, no times
        container = av.open(str(self._part), "w", format=_FORMATS[self._path.suffix.lower()], container_options=exact)
        stream = container.add_stream(codec, rate=self._fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1  # one thread: the same bytes every time, and no cores taken from the rest
        self._container, self._stream = container, stream
