"""Ends another thread's wait on the network."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Wake:
    """A socket that becomes readable: `set` by any thread, waited for and cleared by one.

    Attributes:
        receiver: what to poll.
    """

    def __enter__(self) -> Wake:
        self.receiver, self._sender = socket.socketpair()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._sender.close()
        self.receiver.close()

    def set(self) -> None:
        """Make it readable."""
        with contextlib.suppress(BlockingIOError):  # full: it is readable already
            self._sender.send(b"\0")

    def clear(self) -> None:
        """Forget every `set` so far."""
        with contextlib.suppress(BlockingIOError):
            while self.receiver.recv(4096):
                pass
