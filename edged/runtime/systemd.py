"""Telling systemd how we are.

Source: sd_notify(3), the datagram protocol; a few lines here instead of a dependency.
"""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Sends state to the service manager; does nothing where there is none.

    Args:
        address: of the manager's socket, as in `$NOTIFY_SOCKET`; None outside systemd.
    """

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def starting(self, status: str, *, within_s: float) -> None:
        """The service comes up, and needs longer than its unit says: it is `ready`, or sends this again, within this time."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(within_s * 1_000_000)}\nSTATUS={status}")

    def ready(self, status: str) -> None:
        """The service is up."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` says that it is done."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self, status: str) -> None:
        """Every loop makes progress or is known to wait: feed the watchdog."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The service goes down on purpose."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.sendto(text.encode(), os.fsencode(self._address))
        except OSError:
            # A manager that went away must not take the cameras with it; its watchdog will tell.
            return
