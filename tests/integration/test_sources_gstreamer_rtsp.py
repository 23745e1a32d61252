"""RTSP and RTSPS cameras as GStreamer's own server plays them (what many cameras have inside)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers.certificate import make_self_signed

from edged.errors import SourceCause, SourceError
from edged.sources.certificates import CameraTls
from edged.sources.network import NetworkSource

PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).parents[1] / "servers" / "gstreamer_rtsp.py"
PATIENCE_S = 15.0


def _has_server() -> bool:
    """Whether the system's Python can load the server and an encoder for it."""
    try:
        done = subprocess.run([PYTHON, str(SERVER), "--check"], capture_output=True, timeout=60, check=False)
    except OSError:
        return False
    return done.returncode == 0


pytestmark = pytest.mark.skipif(
    not _has_server(), reason="GStreamer's RTSP server is not installed: apt install python3-gi gir1.2-gst-rtsp-server-1.0"
)


@contextmanager
def camera(*arguments: str | Path) -> Iterator[str]:
    """The address of a running server, without scheme: `127.0.0.1:PORT/live`."""
    command = [PYTHON, str(SERVER), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}/live"
        finally:
            process.stdin.close()  # it ends with its input
            process.wait(10)


def read_size(source: NetworkSource) -> tuple[int, int]:
    """The size of the third frame."""
    with source.open() as stream:
        for _ in range(2):
            stream.read()
        frame = stream.read()
        assert frame.make_pixels_rgb().shape == (frame.height, frame.width, 3)
    return frame.width, frame.height


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_gstreamer_rtsp_camera_gives_frames(transport: str) -> None:
    """Over TCP and UDP."""
    with camera() as address:
        assert read_size(NetworkSource(f"rtsp://{address}", transport, timeout_s=PATIENCE_S)) == (320, 240)


def test_gstreamer_rtsp_digest_login_is_accepted_or_is_auth() -> None:
    """The right password opens the camera, a wrong one is said to be wrong and is not shown."""
    with camera("--user", "admin", "--password", "p@ss:w") as address:
        source = NetworkSource(f"rtsp://{address}", username="admin", password="p@ss:w", timeout_s=PATIENCE_S)
        wrong = NetworkSource(f"rtsp://{address}", username="admin", password="hunter2", timeout_s=PATIENCE_S)

        assert read_size(source) == (320, 240)
        with pytest.raises(SourceError) as refused:
            wrong.open()

    assert refused.value.cause is SourceCause.AUTH
    assert "hunter2" not in str(refused.value)


def test_gstreamer_rtsps_camera_with_a_known_certificate_gives_frames(tmp_path: Path) -> None:
    """Encrypted, the certificate checked, the login inside."""
    made = make_self_signed(tmp_path, "127.0.0.1")
    login = ("--user", "admin", "--password", "x")
    with camera("--certificate", made.certificate, "--key", made.key, *login) as address:
        source = NetworkSource(
            f"rtsps://{address}", username="admin", password="x", tls=CameraTls(ca=made.certificate), timeout_s=PATIENCE_S
        )

        assert read_size(source) == (320, 240)


def test_gstreamer_rtsps_camera_of_another_name_needs_that_name(tmp_path: Path) -> None:
    """The name that the certificate is for can be said; it is checked then."""
    made = make_self_signed(tmp_path, "camera.example")
    known = CameraTls(ca=made.certificate)
    named = CameraTls(ca=made.certificate, host_name="camera.example")
    with camera("--certificate", made.certificate, "--key", made.key) as address:
        with pytest.raises(SourceError, match=r"not valid for '127\.0\.0\.1'") as refused:
            NetworkSource(f"rtsps://{address}", tls=known, timeout_s=PATIENCE_S).open()

        assert read_size(NetworkSource(f"rtsps://{address}", tls=named, timeout_s=PATIENCE_S)) == (320, 240)
    assert refused.value.cause is SourceCause.AUTH


def test_gstreamer_rtsps_camera_that_nobody_vouches_for_is_refused_unless_told(tmp_path: Path) -> None:
    """As cameras come out of their box: with a certificate of their own making."""
    made = make_self_signed(tmp_path, "127.0.0.1")
    with camera("--certificate", made.certificate, "--key", made.key) as address:
        with pytest.raises(SourceError, match=r"self-signed certificate.*verify: false") as refused:
            NetworkSource(f"rtsps://{address}", timeout_s=PATIENCE_S).open()

        assert read_size(NetworkSource(f"rtsps://{address}", tls=CameraTls(verify=False), timeout_s=PATIENCE_S)) == (320, 240)
    assert refused.value.cause is SourceCause.AUTH
