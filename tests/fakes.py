"""Stand-ins for what lies outside: a clock that tests move, a loop of so many turns, a camera that follows a script, a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edged.backends.base import Tensors
from edged.errors import SourceCause, SourceError
from edged.sources.base import SourceFrame


class FakeClock:
    """Monotonic time that moves only when told; wall time is `offset_s` ahead of it."""

    def __init__(self, now_s: float = 100.0, *, offset_s: float = 1_000_000.0) -> None:
        self.time_s = now_s
        self.offset_s = offset_s

    def now_s(self) -> float:
        return self.time_s

    def at(self, monotonic_s: float) -> float:
        return monotonic_s + self.offset_s

    def advance(self, seconds: float) -> None:
        self.time_s += seconds


@dataclass(frozen=True)
class Done:
    """The ticket of a batch that was computed when it was submitted."""

    outputs: Tensors

    def result(self) -> Tensors:
        return self.outputs


class Turns:
    """A loop that stops by itself after so many turns."""

    def __init__(self, n: int) -> None:
        self._left = n

    @property
    def stopping(self) -> bool:
        self._left -= 1
        return self._left < 0

    def beat(self) -> None:
        """Nobody watches."""


def make_source_frame(*, width: int = 64, height: int = 36, stream_s: float | None = None, shade: int = 0) -> SourceFrame:
    """A frame of one colour."""
    return SourceFrame(width, height, stream_s, lambda: np.full((height, width, 3), shade, np.uint8))


@dataclass
class FakeSource:
    """A live camera whose connections follow a script: each is a list of frames, or what `open` raises.

    After the last connection of the script `open` calls `on_exhausted` and raises eof.
    """

    connections: Sequence[Sequence[SourceFrame] | SourceError]
    on_exhausted: Callable[[], None]
    before_read: Callable[[], None] = lambda: None
    label: str = "fake"
    is_live: bool = True
    deadline_s: float = 5.0
    opened: int = field(default=0, init=False)
    closed: int = field(default=0, init=False)

    def open(self) -> FakeStream:
        self.opened += 1
        if self.opened > len(self.connections):
            self.on_exhausted()
            raise SourceError(SourceCause.EOF, "the script is over")
        connection = self.connections[self.opened - 1]
        if isinstance(connection, SourceError):
            raise connection
        return FakeStream(self, list(connection))


class FakeStream:
    """One connection of a `FakeSource`; ends with eof."""

    def __init__(self, source: FakeSource, frames: list[SourceFrame]) -> None:
        self._source = source
        self._frames = frames

    def read(self) -> SourceFrame:
        self._source.before_read()
        if not self._frames:
            raise SourceError(SourceCause.EOF, "the camera ended the stream")
        return self._frames.pop(0)

    def close(self) -> None:
        self._source.closed += 1

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
