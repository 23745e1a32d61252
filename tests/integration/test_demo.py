"""`edged demo`: broker, daemon and subscriber together, on either broker, on the drawn street or a clip."""

import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from waiting import wait_until

from edged.brokers import find_mosquitto, has_amqtt
from edged.sinks.video import VideoWriter
from edged.vision.redact import NOTHING, redact

BROKERS = [
    pytest.param("mosquitto", marks=pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")),
    pytest.param("amqtt", marks=pytest.mark.skipif(not has_amqtt(), reason="amqtt is not installed (extra `demo`)")),
]


def demo(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "edged", "demo", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def n_pictures_in(part: Path) -> int:
    """How many pictures of H.264 an MP4 holds that is still being written, without its table of contents."""
    data = part.read_bytes() if part.exists() else b""
    n, at = 0, data.find(b"mdat") + 4
    while at + 4 < len(data):
        n += data[at + 4] & 31 in (1, 5)  # slices; our clips have one a picture
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return n


@pytest.mark.parametrize("broker", BROKERS)
def test_demo_shows_events_and_leaves_a_clip(tmp_path, broker):
    """What a person sees first: objects of the street as events of a real broker, and a clip with the boxes; Ctrl-C ends it."""
    out, said = tmp_path / "demo-out", tmp_path / "said"
    command = [sys.executable, "-m", "edged", "demo", "--for", "90", "--broker", broker]
    with said.open("w") as file, subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT) as process:
        wait_until(lambda: process.poll() is not None or n_pictures_in(out / "street.mp4.part") >= 45, timeout_s=120)
        process.send_signal(signal.SIGINT)
        status = process.wait(30)

    assert status == 0, said.read_text() + (out / "edged.log").read_text()
    assert f"broker:     {broker}" in said.read_text()
    assert "is online 640x360" in said.read_text()
    assert "object.new" in said.read_text()
    with av.open(str(out / "street.mp4")) as clip:
        n_pictures = sum(1 for _ in clip.decode(video=0))
    assert n_pictures >= 45


@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
def test_demo_of_a_clip_watches_it(tmp_path):
    """`make demo SOURCE=clip.mp4`."""
    with VideoWriter(tmp_path / "clip.mp4", 10.0) as writer:
        for shade in range(60):
            writer.write(redact(np.full((180, 320, 3), 60 + shade, np.uint8), NOTHING))

    done = demo(tmp_path, "--for", "12", "--source", "clip.mp4")

    assert done.returncode == 0, done.stderr
    assert "is online 320x180" in done.stdout


def test_demo_of_nothing_says_so(tmp_path):
    """A source that the environment does not have is bad input."""
    done = demo(tmp_path, "--source", "env:NO_SUCH_SOURCE")

    assert done.returncode == 78
    assert "the environment has no NO_SUCH_SOURCE" in done.stderr
