"""The contract of everything that messages are handed to, and of what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from edged.vision.redact import PublicPicture


class MessageKind(str, Enum):
    """What a message is, which decides whether a broker keeps it."""

    EVENT = "event"  # happened once; never retained
    STATE = "state"  # the newest value counts; retained
    ANSWER = "answer"  # to one command; never retained


@dataclass(frozen=True, slots=True)
class Message:
    """One encoded message.

    Attributes:
        kind: event, state or answer.
        topic: below `<prefix>/<device>/`, e.g. `door/event/zone.enter`; no leading slash.
        body: UTF-8 JSON.
        captured_s: monotonic time of the frame that caused it, for latency; None where no frame did.
        correlation: of the command that an answer answers; None where it had none.
    """

    kind: MessageKind
    topic: str
    body: bytes
    captured_s: float | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """One message from a subscription.

    Attributes:
        topic: whole, from the prefix on.
        body: as it came; nothing is known of it yet.
        is_retained: the broker kept it, or shall keep it.
        answer_topic, correlation: where the sender wants an answer and what it shall carry (MQTT 5); None: it did not say.
    """

    topic: str
    body: bytes
    is_retained: bool
    answer_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """What we want to hear, and who listens.

    Attributes:
        topic_filter: below `<prefix>/<device>/`; no leading slash.
        most_bytes: a broker of MQTT 5 hands on no longer message.
        listen: takes each message on the thread of the connection, so it must not block or raise.
    """

    topic_filter: str
    most_bytes: int
    listen: Callable[[Received], None]


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
