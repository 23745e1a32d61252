"""`edged probe` on cameras on loopback."""

import argparse
import json
from pathlib import Path

import cv2
import pytest
from servers.rtsp import FakeRtspServer, Faults, moving_square

from edged import probe


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    probe.add_arguments(parser)
    return probe.run(parser.parse_args(arguments))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_probe_rtsp_camera_tells_what_it_sends(tmp_path: Path, capsys: pytest.CaptureFixture[str], transport: str) -> None:
    """Codec, size, rate, transport, and a picture; user name and password are not shown."""
    with FakeRtspServer(moving_square(n=20), fps=20, username="admin", password="hunter2") as camera:
        url = camera.url.replace("//", "//admin:hunter2@")
        status = run(url, "--json", "--transport", transport, "--picture", str(tmp_path / "one.jpg"))

    said = capsys.readouterr().out
    facts = json.loads(said)
    assert status == 0
    assert (facts["codec"], facts["width"], facts["height"], facts["fps"]) == ("h264", 320, 240, 20.0)
    assert facts["transport"] == transport
    assert 0 < facts["first_frame_s"] < 10
    assert "hunter2" not in said
    assert "admin" not in said
    assert cv2.imread(str(tmp_path / "one.jpg")).shape == (240, 320, 3)


def test_probe_camera_that_refuses_us_says_auth(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 and the cause."""
    with FakeRtspServer(moving_square(n=2), faults=Faults(status=401)) as camera:
        status = run(camera.url)

    assert status == 1
    assert "[auth]" in capsys.readouterr().err
