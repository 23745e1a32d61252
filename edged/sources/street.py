"""The drawn street as a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from edged.errors import SourceCause, SourceError
from edged.sources.base import SourceFrame
from edged.street.scene import Street, check_street
from edged.types import Pixels

DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class StreetSource:
    """A street that is drawn instead of filmed.

    Attributes:
        seed: which street, >= 0.
        width, height: of the frames, pixels.
        fps: frames per second.
        seconds: how long it plays before it ends like a recording; None: for ever.
        is_live: True: frames come in real time and late readers miss some; False: every frame, as fast as they are read.
        now_s, sleep: the clock that live frames keep to.

    Raises:
        ValueError: a value outside these bounds.
    """

    seed: int = 0
    width: int = 640
    height: int = 360
    fps: float = 15.0
    seconds: float | None = None
    is_live: bool = True
    now_s: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_street(self.seed, width=self.width, height=self.height, fps=self.fps)
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"street: seconds must be above 0, or none for ever, got {self.seconds}")

    @property
    def label(self) -> str:
        return f"street:{self.seed}"

    @property
    def deadline_s(self) -> float:
        return DEADLINE_S + 1 / self.fps

    def open(self) -> StreetStream:
        return StreetStream(self)


class StreetStream:
    """An open street; frames are drawn only when their pixels are asked for."""

    def __init__(self, source: StreetSource) -> None:
        self._source = source
        self._street = Street(source.seed, width=source.width, height=source.height, fps=source.fps)
        self._drawing = threading.Lock()  # pixels may be asked for by any thread, a Street works for one
        self._started_s: float | None = None
        self._next_index = 0
        self._is_closed = False

    def read(self) -> SourceFrame:
        source = self._source
        if self._is_closed:
            raise SourceError(SourceCause.EOF, f"{source.label} is closed; open it anew to go on")
        index = self._await_index() if source.is_live else self._next_index
        if source.seconds is not None and index >= source.seconds * source.fps:
            raise SourceError(SourceCause.EOF, f"{source.label} ended after {source.seconds:g} s as it was told to")
        self._next_index = index + 1
        return SourceFrame(source.width, source.height, index / source.fps, lambda: self._draw(index))

    def _await_index(self) -> int:
        """Wait until the next frame is due; a late reader gets the newest one that is."""
        source = self._source
        if self._started_s is None:
            self._started_s = source.now_s()
        due_s = self._started_s + self._next_index / source.fps
        wait_s = due_s - source.now_s()
        if wait_s > 0:
            source.sleep(wait_s)
            return self._next_index
        return self._next_index + int(-wait_s * source.fps)

    def _draw(self, index: int) -> Pixels:
        with self._drawing:
            return self._street.frame(index)

    def close(self) -> None:
        self._is_closed = True

    def __enter__(self) -> StreetStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
