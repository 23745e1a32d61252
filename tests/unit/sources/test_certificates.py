"""What FFmpeg is told about certificates; that it obeys is tested against real servers (tests/integration)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from servers.certificate import make_self_signed
from servers.http_camera import FakeHttpCamera

from edged.sources.certificates import CameraTls, find_certificate_problem, make_tls_options


def test_tls_options_without_settings_ask_the_systems_authorities(tmp_path: Path) -> None:
    """The first list that is there; FFmpeg's own guess is wrong on Debian."""
    (tmp_path / "second").touch()
    (tmp_path / "third").touch()

    options = make_tls_options(CameraTls(), authorities=[tmp_path / name for name in ("first", "second", "third")])

    assert options == {"tls_verify": "1", "ca_file": str(tmp_path / "second")}


def test_tls_options_on_a_system_without_authorities_still_check() -> None:
    """Nobody is believed then, rather than everybody."""
    assert make_tls_options(CameraTls(), authorities=[]) == {"tls_verify": "1"}


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        pytest.param(CameraTls(ca=Path("/a.crt")), {"tls_verify": "1", "ca_file": "/a.crt"}, id="certificate"),
        pytest.param(
            CameraTls(ca=Path("/a.crt"), host_name="cam"),
            {"tls_verify": "1", "ca_file": "/a.crt", "verifyhost": "cam"},
            id="name",
        ),
        pytest.param(CameraTls(ca=Path("/a.crt"), verify=False), {"tls_verify": "0"}, id="anybody"),
    ],
)
def test_tls_options_say_what_was_set(tls: CameraTls, expected: dict[str, str]) -> None:
    """Whether to check is always said: FFmpeg's default changes from one version to the next."""
    assert make_tls_options(tls) == expected


@pytest.mark.parametrize(
    ("names", "tls", "words"),
    [
        pytest.param(("127.0.0.1",), {}, None, id="believed"),
        pytest.param(("camera.example",), {"host_name": "camera.example"}, None, id="believed by another name"),
        pytest.param(("camera.example",), {}, "not valid for '127.0.0.1'", id="another name"),
        pytest.param(("127.0.0.1",), {"verify": False, "ca": None}, None, id="anybody is"),
        pytest.param(("127.0.0.1",), {"ca": None}, "self-signed", id="of nobody we know"),
        pytest.param(("127.0.0.1",), {"ca": Path("/etc/hostname")}, "/etc/hostname cannot be read", id="no certificates"),
    ],
)
def test_certificate_problem_is_told(tmp_path: Path, names: tuple[str, ...], tls: dict[str, object], words: str | None) -> None:
    """In the words of OpenSSL, or nothing."""
    made = make_self_signed(tmp_path, *names)
    settings = CameraTls(**{"ca": made.certificate, **tls})
    with FakeHttpCamera(tls=made) as server:
        port = int(server.url("").split(":")[2].strip("/"))

        problem = find_certificate_problem("127.0.0.1", port, settings, timeout_s=5.0)

    assert problem is None if words is None else words in problem


def test_certificate_problem_of_a_host_that_hangs_up_is_none(tmp_path: Path) -> None:
    """Then the certificate is not what is wrong."""
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]

    assert find_certificate_problem("127.0.0.1", port, CameraTls(), timeout_s=1.0) is None
