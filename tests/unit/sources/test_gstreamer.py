"""GStreamer pipelines: what the child is told, what is refused. The real one runs in the integration tests."""

import pickle

import pytest

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.gstreamer import GstreamerSource


def test_gstreamer_arguments_are_a_list_without_shell() -> None:
    """Quoted words stay one argument, and nothing is left to a shell."""
    source = GstreamerSource("filesrc location='a b;rm $x' ! decodebin", width=640, height=360)

    arguments = source.arguments(pipe=7)

    assert arguments == [
        *("gst-launch-1.0", "-q", "--no-fault", "filesrc", "location=a b;rm $x", "!", "decodebin"),
        *("!", "videoconvert", "!", "video/x-raw,format=RGB,width=640,height=360", "!", "fdsink", "fd=7"),
    ]


def test_gstreamer_fps_drops_before_converting() -> None:
    """Frames that nobody takes are not converted."""
    arguments = GstreamerSource("videotestsrc", width=64, height=36, fps=5.0).arguments(pipe=1)

    assert arguments.index("max-rate=5") < arguments.index("videoconvert")


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        pytest.param("", "without a sink", id="empty"),
        pytest.param("videotestsrc !", "without a sink", id="ends open"),
        pytest.param("filesrc location='a", "quotation", id="open quote"),
        pytest.param("rtspsrc location=rtsp://admin:hunter2@cam/1 ! decodebin", "list of processes", id="password in URL"),
        pytest.param(
            "rtspsrc location=rtsp://cam/1 user-id=admin user-pw=hunter2 ! decodebin", "list of processes", id="password as key"
        ),
    ],
)
def test_gstreamer_wrong_pipeline_is_refused(pipeline: str, words: str) -> None:
    """With the mend in the message, and no password."""
    with pytest.raises(InputError, match=words) as refused:
        GstreamerSource(pipeline, width=64, height=36)

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"width": 0, "height": 36}, id="no width"),
        pytest.param({"width": 64, "height": 4097}, id="too high"),
        pytest.param({"width": 64, "height": 36, "fps": 0.0}, id="no rate"),
    ],
)
def test_gstreamer_wrong_size_is_refused(settings: dict[str, float]) -> None:
    """A picture has 1 to 4096 pixels a side."""
    with pytest.raises(InputError):
        GstreamerSource("videotestsrc", **settings)


def test_gstreamer_without_launcher_is_not_found() -> None:
    """The message says what to install."""
    with pytest.raises(SourceError, match="apt-get install") as failed:
        GstreamerSource("videotestsrc", width=64, height=36, launcher="no-such-launcher").open()

    assert failed.value.cause is SourceCause.NOT_FOUND


def test_gstreamer_source_is_plain_data_and_shows_little() -> None:
    """It can go to a child process; its label names the first element only."""
    source = GstreamerSource("nvarguscamerasrc ! nvvidconv", width=64, height=36)

    assert pickle.loads(pickle.dumps(source)) == source
    assert source.label == "gstreamer:nvarguscamerasrc"
    assert source.is_live
