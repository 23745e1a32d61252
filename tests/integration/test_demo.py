"""`edged demo`: broker, daemon and subscriber together, on either broker, on the drawn street or a clip."""

import subprocess
import sys

import av
import numpy as np
import pytest

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


@pytest.mark.parametrize("broker", BROKERS)
def test_demo_shows_events_and_leaves_a_clip(tmp_path, broker):
    """What a person sees first: objects of the street as events of a real broker, and a clip with the boxes."""
    done = demo(tmp_path, "--for", "12", "--broker", broker)

    assert done.returncode == 0, done.stderr + (tmp_path / "demo-out" / "edged.log").read_text()
    assert f"broker:     {broker}" in done.stdout
    assert "is online 640x360" in done.stdout
    assert "object.new" in done.stdout
    with av.open(str(tmp_path / "demo-out" / "street.mp4")) as clip:
        n_pictures = sum(1 for _ in clip.decode(video=0))
    assert n_pictures >= 12 * 7.5 / 2


@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
def test_demo_of_a_clip_watches_it(tmp_path):
    """`make demo SOURCE=clip.mp4`."""
    with VideoWriter(tmp_path / "clip.mp4", 10.0) as writer:
        for shade in range(60):
            writer.write(redact(np.full((180, 320, 3), 60 + shade, np.uint8), NOTHING))

    done = demo(tmp_path, "--for", "4", "--source", "clip.mp4")

    assert done.returncode == 0, done.stderr
    assert "is online 320x180" in done.stdout


def test_demo_of_nothing_says_so(tmp_path):
    """A source that the environment does not have is bad input."""
    done = demo(tmp_path, "--source", "env:NO_SUCH_SOURCE")

    assert done.returncode == 78
    assert "the environment has no NO_SUCH_SOURCE" in done.stderr
