"""The contract of everything that messages are handed to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from edged.vision.redact import PublicPicture


class MessageKind(str, Enum):
    """What a message is, which decides whether a broker keeps it."""

    EVENT = "event"  # happened once; never retained
    STATE = "state"  # the newest value counts; retained


@dataclass(frozen=True, slots=True)
class Message:
    """One encoded message.

    Attributes:
        kind: event or state.
        topic: below `<prefix>/<device>/`, e.g. `door/events`; no leading slash.
        body: UTF-8 JSON.
        captured_s: monotonic time of the frame that caused it, for latency; None where no frame did.
    """

    kind: MessageKind
    topic: str
    body: bytes
    captured_s: float | None = None


class Sink(Protocol):
    """Takes messages from any thread and never blocks it; what cannot be kept is dropped and counted."""

    def publish(self, message: Message) -> None: ...

    @property
    def dropped(self) -> int:
        """Messages given up since the start."""
        ...

    def close(self) -> None:
        """Hand on what is waiting, within 5 s, then let go."""
        ...


class PictureWriter(Protocol):
    """Takes the pictures of a clip, one after the other; used by one thread."""

    def write(self, picture: PublicPicture) -> None:
        """Append a picture; all of one size.

        Raises:
            SinkError: it cannot be written.
        """
        ...

    def close(self) -> None:
        """Finish the clip.

        Raises:
            SinkError: it cannot be finished.
        """
        ...
