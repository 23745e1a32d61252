"""What a text means as a source."""

from pathlib import Path

import pytest

from edged.errors import InputError
from edged.sources.base import FrameSource
from edged.sources.folder import FolderSource
from edged.sources.gstreamer import GstreamerSource
from edged.sources.network import FileSource, NetworkSource, SnapshotSource
from edged.sources.opening import make_source
from edged.sources.street import StreetSource
from edged.sources.v4l2 import V4l2Source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("rtsp://cam/1", NetworkSource("rtsp://cam/1"), id="RTSP"),
        pytest.param("RTSPS://cam/1", NetworkSource("RTSPS://cam/1"), id="RTSPS, upper case"),
        pytest.param("http://cam/video.mjpg", NetworkSource("http://cam/video.mjpg"), id="HTTP"),
        pytest.param("https://cam/now.jpg?c=1", SnapshotSource("https://cam/now.jpg?c=1"), id="picture over HTTP"),
        pytest.param("/dev/video2", V4l2Source("/dev/video2"), id="device"),
        pytest.param("0", V4l2Source("/dev/video0"), id="number"),
        pytest.param("street:", StreetSource(), id="street"),
        pytest.param("street:7", StreetSource(seed=7), id="street by seed"),
        pytest.param("street:seed=7,fps=10,seconds=2.5", StreetSource(seed=7, fps=10.0, seconds=2.5), id="street with numbers"),
        pytest.param("clip.mp4", FileSource(Path("clip.mp4")), id="file, not there yet"),
    ],
)
def test_make_source_text_gives_source(text: str, expected: FrameSource) -> None:
    """Each form means one kind of source."""
    assert make_source(text) == expected


def test_make_source_path_looks_at_the_file_system(tmp_path: Path) -> None:
    """A folder is a folder, and a file with a colon in its name is a file."""
    odd = tmp_path / "12:30.mp4"
    odd.touch()

    assert make_source(str(tmp_path), fps=2.0) == FolderSource(tmp_path, fps=2.0)
    assert make_source(str(odd), pace=True) == FileSource(odd, pace=True)


def test_make_source_settings_reach_their_source() -> None:
    """Size, transport and waits are handed on."""
    pipeline = make_source("gstreamer: videotestsrc ! identity", width=64, height=36, timeout_s=3.0)
    camera = make_source("rtsp://cam/1", transport="udp", username="u", password="p", timeout_s=3.0)
    snapshot = make_source("http://cam/now", snapshot_every_s=5.0)

    assert pipeline == GstreamerSource("videotestsrc ! identity", width=64, height=36, timeout_s=3.0)
    assert camera == NetworkSource("rtsp://cam/1", "udp", username="u", password="p", timeout_s=3.0)
    assert snapshot == SnapshotSource("http://cam/now", interval_s=5.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "names no source", id="empty"),
        pytest.param("ftp://u:hunter2@cam/1", "'ftp' is not allowed.*rtsp://", id="unknown scheme"),
        pytest.param("file:///etc/passwd", "'file' is not allowed", id="file URL"),
        pytest.param("concat:a.mp4|b.mp4", "'concat' is not allowed", id="FFmpeg protocol"),
        pytest.param("gstreamer: videotestsrc", "width and height", id="pipeline without size"),
        pytest.param("street:sead=7", "'sead=7'.*seed=", id="street with unknown name"),
        pytest.param("street:seed=x", "'seed=x'", id="street without number"),
        pytest.param("street:fps=-1", "fps", id="street out of bounds"),
    ],
)
def test_make_source_wrong_text_is_refused(text: str, words: str) -> None:
    """The message says what is allowed and shows no password."""
    with pytest.raises(InputError, match=words) as refused:
        make_source(text)

    assert "hunter2" not in str(refused.value)
