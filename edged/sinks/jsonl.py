"""Events as JSON lines on a stream: what a daemon without a broker does, and what replay prints."""

from __future__ import annotations

import logging
import threading
from typing import BinaryIO

from edged.sinks.base import Message, MessageKind

logger = logging.getLogger(__name__)


class JsonLinesSink:
    """One event a line, flushed at once, written by the caller's thread: whoever reads slowly slows the caller down.

    States are not written. When the reader is gone every later event is dropped and counted.

    Args:
        stream: binary, e.g. `sys.stdout.buffer`; not closed by us.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._is_gone = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Events given up since the start."""
        return self._dropped

    def publish(self, message: Message) -> None:
        """Write an event."""
        if message.kind is not MessageKind.EVENT:
            return
        with self._lock:
            try:
                if not self._is_gone:
                    self._stream.write(message.body + b"\n")
                    self._stream.flush()
                    return
            except (OSError, ValueError) as error:  # BrokenPipeError, a full disk; ValueError: closed by its owner
                self._is_gone = True
                logger.warning("events cannot be written any more: error=%s", error)
            self._dropped += 1

    def close(self) -> None:
        """Nothing is waiting; the stream stays its owner's."""
