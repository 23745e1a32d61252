"""The contract between a camera and everything that reads it.

A `FrameSource` says how to connect; it is plain data and picklable. `open()` gives a `FrameStream`, which one thread
reads and closes. Sources know no camera name, no sequence number and no clock: the reader stamps those.

*Live* sources (cameras) produce at their own pace: whoever is too slow loses frames. *Recorded* ones (files, folders)
wait for their reader, so that every frame is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from edged.types import Pixels

LARGEST_SIDE_PX = 4096
"""Wider or higher pictures are refused: they are a mistake or an attack on our memory."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceFrame:
    """One decoded picture as its source gives it.

    Attributes:
        width, height: pixels; may change from frame to frame.
        stream_s: seconds since the start of the stream by its own time stamps, never falling; None where it has none.
        make_pixels_rgb: converts to (height, width, 3) uint8 RGB; cheap to hold, called at most once, from any thread.
    """

    width: int
    height: int
    stream_s: float | None
    make_pixels_rgb: Callable[[], Pixels] = field(repr=False)


class FrameStream(Protocol):
    """An open connection. Read and closed by the thread that opened it."""

    def read(self) -> SourceFrame:
        """The next frame; blocks until there is one.

        Raises:
            SourceError: no frame within the source's own deadline (stalled), the end of the stream (eof), or any
                other cause. The stream is of no further use and must be closed.
        """
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...

    def __enter__(self) -> FrameStream: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class FrameSource(Protocol):
    """How to reach one camera or recording. Frozen, picklable, opens nothing when made."""

    @property
    def is_live(self) -> bool:
        """Whether frames come at the camera's pace (True) or wait for the reader (False)."""
        ...

    @property
    def label(self) -> str:
        """What people may see of it in logs and messages: never a user name, password or token."""
        ...

    @property
    def deadline_s(self) -> float:
        """The longest that `open` or one `read` may take before its reader gives it up as stuck."""
        ...

    def open(self) -> FrameStream:
        """Connect.

        Raises:
            SourceError: with the cause.
        """
        ...
