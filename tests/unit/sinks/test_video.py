"""Clips written through PyAV."""

import av
import numpy as np
import pytest

from edged.errors import SinkError
from edged.sinks.video import VideoWriter
from edged.vision.redact import NOTHING, redact


def pictures(n: int = 8, *, width: int = 64, height: int = 48) -> list[np.ndarray]:
    made = []
    for index in range(n):
        pixels = np.full((height, width, 3), (30, 90, 160), np.uint8)
        pixels[8:24, index * 4 : index * 4 + 16] = (220, 40, 40)
        made.append(pixels)
    return made


def write(path, frames, fps=10.0):
    with VideoWriter(path, fps) as writer:
        for pixels in frames:
            writer.write(redact(pixels, NOTHING))


def read(path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.avi"])
def test_video_written_reads_back_alike(tmp_path, name):
    """Every picture is there, in order, in its colours."""
    frames = pictures()

    write(tmp_path / name, frames)
    seen = read(tmp_path / name)

    assert len(seen) == len(frames)
    differences = [np.abs(a.astype(int) - b.astype(int)).mean() for a, b in zip(frames, seen, strict=True)]
    assert max(differences) < 6


def test_video_frame_rate_is_kept(tmp_path):
    """Players show it at the speed it was filmed."""
    write(tmp_path / "clip.mp4", pictures(), fps=12.5)

    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == 12.5


@pytest.mark.parametrize(("width", "height"), [(65, 49), (65, 48), (64, 49)])
def test_video_odd_size_loses_the_last_row_or_column(tmp_path, width, height):
    """4:2:0 colour needs even sizes."""
    write(tmp_path / "clip.mp4", pictures(width=width, height=height))

    assert read(tmp_path / "clip.mp4")[0].shape == (48, 64, 3)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_video_written_twice_gives_equal_bytes(tmp_path, name):
    """Replay's clip is reproducible."""
    (tmp_path / "again").mkdir()
    write(tmp_path / name, pictures())
    write(tmp_path / "again" / name, pictures())

    assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_video_unfinished_is_not_at_its_path(tmp_path):
    """What is at the path is whole."""
    writer = VideoWriter(tmp_path / "clip.mp4", 10)
    writer.write(redact(pictures()[0], NOTHING))
    before = (tmp_path / "clip.mp4").exists()
    writer.close()
    writer.close()

    assert not before
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_video_without_pictures_writes_nothing(tmp_path):
    """No picture, no file."""
    write(tmp_path / "clip.mp4", [])

    assert list(tmp_path.iterdir()) == []


def test_video_without_libx264_uses_mpeg4(tmp_path, monkeypatch):
    """Builds of FFmpeg without x264 still write a clip."""
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})

    write(tmp_path / "clip.mp4", pictures())

    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda path: VideoWriter(path / "clip.txt", 10), "must end in", id="unknown ending"),
        pytest.param(lambda path: VideoWriter(path / "clip.mp4", 0), "above 0", id="no fps"),
        pytest.param(lambda path: write(path / "none" / "clip.mp4", pictures()), "cannot write", id="no such directory"),
        pytest.param(lambda path: write(path / "clip.mp4", [*pictures(1), *pictures(1, width=32)]), "32x48", id="size changes"),
        pytest.param(lambda path: write(path / "clip.mp4", [np.zeros((1, 1, 3), np.uint8)]), "2x2", id="one pixel"),
    ],
)
def test_video_that_cannot_be_written_names_the_file(tmp_path, make, says):
    """The error says which clip and why."""
    with pytest.raises(SinkError, match=says) as raised:
        make(tmp_path)

    assert str(tmp_path) in str(raised.value)


def test_video_closed_takes_no_more(tmp_path):
    """Writing after the end is an error."""
    writer = VideoWriter(tmp_path / "clip.mp4", 10)
    writer.close()

    with pytest.raises(SinkError, match="closed"):
        writer.write(redact(pictures()[0], NOTHING))
