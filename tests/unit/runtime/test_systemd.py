"""What the service manager is told."""

import re
import socket

import pytest

from edged.runtime.systemd import Notifier


@pytest.mark.parametrize("is_abstract", [pytest.param(False, id="path"), pytest.param(True, id="abstract")])
def test_notifier_tells_each_state_as_one_datagram(tmp_path, is_abstract):
    """In the words of sd_notify(3), at either kind of address."""
    address = f"@edged-{tmp_path.name}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if is_abstract else address)
        manager.settimeout(5)
        notifier = Notifier(address)

        notifier.starting("analysis opens detector", within_s=300.0)
        notifier.ready("2 cameras")
        notifier.reloading()
        notifier.alive("fine")
        notifier.stopping()

        starting, ready, reloading, *others = [manager.recv(256) for _ in range(5)]
        assert starting == b"EXTEND_TIMEOUT_USEC=300000000\nSTATUS=analysis opens detector"
        assert ready == b"READY=1\nSTATUS=2 cameras"
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
        assert others == [
            b"WATCHDOG=1\nSTATUS=fine",
            b"STOPPING=1",
        ]


@pytest.mark.parametrize("address", [pytest.param(None, id="none"), pytest.param("/no/such/socket", id="gone")])
def test_notifier_without_a_manager_goes_on(address):
    """Nobody to tell is no reason to stop watching cameras."""
    Notifier(address).ready("up")
