"""GStreamer pipelines with Debian's real gst-launch."""

import shutil
import time
from pathlib import Path

import pytest
from waiting import Stopwatch

from edged.errors import SourceCause, SourceError
from edged.sources.base import SourceFrame
from edged.sources.gstreamer import LAUNCHER, GstreamerSource, GstreamerStream

PATIENCE_S = 10.0  # for frames that are expected, however busy the machine is

pytestmark = pytest.mark.skipif(shutil.which(LAUNCHER) is None, reason=f"{LAUNCHER} is not installed")


def children_of(stream: GstreamerStream) -> list[Path]:
    """What /proc knows of the pipeline's process, dead ones left out."""
    process = Path(f"/proc/{stream._child.pid}")
    return [process] if process.exists() else []


def read_until_failure(source: GstreamerSource) -> tuple[list[SourceFrame], SourceError, GstreamerStream]:
    """The frames before the failure, the failure, and the stream, closed."""
    frames = []
    with source.open() as stream:
        try:
            while len(frames) < 20:
                frames.append(stream.read())
        except SourceError as error:
            failure = error
        else:
            pytest.fail("no failure")
    return frames, failure, stream


@pytest.mark.parametrize(
    ("width", "height"),
    [
        pytest.param(64, 48, id="rows without padding"),
        pytest.param(65, 47, id="rows padded by one"),
        pytest.param(66, 10, id="rows padded by two"),
        pytest.param(1, 1, id="one pixel"),
    ],
)
def test_gstreamer_camera_gives_exact_frames(width: int, height: int) -> None:
    """Red is red at every pixel of every frame, whatever padding GStreamer puts behind a row."""
    source = GstreamerSource("videotestsrc is-live=true pattern=red", width=width, height=height, timeout_s=PATIENCE_S)

    with source.open() as stream:
        pictures = [stream.read().make_pixels_rgb() for _ in range(3)]

    assert {pixels.shape for pixels in pictures} == {(height, width, 3)}
    assert all((pixels == (255, 0, 0)).all() for pixels in pictures)


def test_gstreamer_fps_limits_the_frames() -> None:
    """Not more than asked for."""
    with GstreamerSource("videotestsrc is-live=true", width=64, height=48, fps=10.0, timeout_s=PATIENCE_S).open() as stream:
        stream.read()
        started_s = time.monotonic()
        for _ in range(20):  # some of them may wait in the pipe already
            stream.read()

    assert time.monotonic() - started_s > 1.0


@pytest.mark.parametrize(
    ("pipeline", "cause", "words"),
    [
        pytest.param("videotestsrc num-buffers=3", SourceCause.EOF, "ended", id="ends"),
        pytest.param("videotestsrc ! nosuchthing", SourceCause.PROTOCOL, 'no element "nosuchthing"', id="unknown element"),
        pytest.param("filesrc location=/no/such/file ! decodebin", SourceCause.PROTOCOL, "Resource not found", id="no file"),
        pytest.param("videotestsrc ! video/x-raw,width=10,height=10", SourceCause.PROTOCOL, "width", id="another size"),
        pytest.param("videotestsrc ! identity error-after=3", SourceCause.PROTOCOL, "Failed after", id="dies midway"),
    ],
)
def test_gstreamer_pipeline_that_ends_says_why(pipeline: str, cause: SourceCause, words: str) -> None:
    """With GStreamer's own words."""
    _, failure, stream = read_until_failure(GstreamerSource(pipeline, width=64, height=48, timeout_s=PATIENCE_S))

    assert failure.cause is cause
    assert words in str(failure)
    assert not children_of(stream)


def test_gstreamer_pipeline_that_hangs_is_killed_at_its_deadline() -> None:
    """No picture in time: stalled, and nothing of it is left."""
    source = GstreamerSource("videotestsrc is-live=true ! identity sleep-time=60000000", width=64, height=48, timeout_s=0.5)

    with Stopwatch() as watch:
        frames, failure, stream = read_until_failure(source)

    assert (len(frames), failure.cause) == (0, SourceCause.STALLED)
    assert watch.ran_s < source.deadline_s
    assert not children_of(stream)


def test_gstreamer_stubborn_child_is_killed(tmp_path: Path) -> None:
    """A child that ignores being asked is killed."""
    stubborn = tmp_path / "stubborn"
    stubborn.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n")
    stubborn.chmod(0o755)
    source = GstreamerSource("videotestsrc", width=64, height=48, timeout_s=0.3, launcher=str(stubborn))

    with Stopwatch() as watch:
        _, failure, stream = read_until_failure(source)

    assert failure.cause is SourceCause.STALLED
    assert watch.ran_s < source.deadline_s
    assert not children_of(stream)


def test_gstreamer_talkative_child_does_not_block(tmp_path: Path) -> None:
    """A child that writes more words than a pipe holds gets its picture out all the same; only its last words are kept."""
    talker = tmp_path / "talker"
    talker.write_text(
        "#!/bin/bash\nhead -c 300000 /dev/zero | tr '\\0' x\nhead -c 300000 /dev/zero | tr '\\0' y >&2\n"
        'pipe="${@: -1}"; head -c 48 /dev/zero >&"${pipe#fd=}"\necho the end\nexit 3\n'
    )
    talker.chmod(0o755)

    frames, failure, _ = read_until_failure(
        GstreamerSource("videotestsrc", width=4, height=4, timeout_s=PATIENCE_S, launcher=str(talker))
    )

    assert [frame.make_pixels_rgb().shape for frame in frames] == [(4, 4, 3)]
    assert "the end" in str(failure)
    assert len(str(failure)) < 500


def test_gstreamer_close_ends_the_child() -> None:
    """Nothing runs on after closing; closing twice is fine."""
    stream = GstreamerSource("videotestsrc is-live=true", width=64, height=48, timeout_s=PATIENCE_S).open()
    stream.read()

    stream.close()
    stream.close()

    assert not children_of(stream)
