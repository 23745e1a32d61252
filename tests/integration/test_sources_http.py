"""HTTP cameras: MJPEG, snapshots and recordings, against a server of our own on loopback."""

import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from servers.certificate import make_self_signed
from servers.http_camera import FakeHttpCamera
from servers.rtsp import moving_square
from waiting import Stopwatch

from edged.errors import SourceCause, SourceError
from edged.sources.base import FrameSource
from edged.sources.certificates import CameraTls
from edged.sources.network import NetworkSource, SnapshotSource

TIMEOUT_S = 4.0  # where silence is the matter
PATIENCE_S = 10.0  # where frames, an answer or an end are expected, however busy the machine is
ANSWERED_S = 3.5  # what a failure may take that needs no waiting


def first_failure(source: FrameSource, *, n: int = 99) -> tuple[int, SourceError]:
    """How many frames came before the failure, and the failure."""
    count = 0
    try:
        with source.open() as stream:
            while count < n:
                stream.read()
                count += 1
    except SourceError as error:
        return count, error
    pytest.fail(f"{count} frames and no failure")


def test_mjpeg_camera_gives_frames_without_times() -> None:
    """MJPEG has no time stamps, and FFmpeg's invented ones are not believed."""
    with FakeHttpCamera(moving_square(n=10)) as server, NetworkSource(server.url("mjpeg"), timeout_s=PATIENCE_S).open() as stream:
        frames = [stream.read() for _ in range(5)]

    assert {(frame.width, frame.height, frame.stream_s) for frame in frames} == {(320, 240, None)}
    assert stream.codec == "mjpeg"
    assert stream.fps is None
    red = frames[0].make_pixels_rgb()[120, 20].astype(int)
    assert red[0] > red[1] + 100


def test_snapshots_come_at_their_interval() -> None:
    """One request a frame, one interval apart, each a new picture."""
    with FakeHttpCamera(moving_square(n=10)) as server:
        source = SnapshotSource(server.url("snapshot.jpg"), interval_s=0.2, timeout_s=PATIENCE_S)
        with source.open() as stream, Stopwatch() as watch:
            started_s = time.monotonic()
            frames = [stream.read() for _ in range(4)]
            took_s = time.monotonic() - started_s

    assert len(server.requests) == 4
    assert took_s >= 0.3
    assert watch.ran_s <= 0.9
    assert not np.array_equal(frames[0].make_pixels_rgb(), frames[1].make_pixels_rgb())


@pytest.mark.parametrize(
    ("settings", "path", "cause"),
    [
        pytest.param({"is_silent": True}, "mjpeg", SourceCause.TIMEOUT, id="silent"),
        pytest.param({"username": "u", "password": "p"}, "mjpeg", SourceCause.AUTH, id="login needed"),
        pytest.param({}, "nothing", SourceCause.NOT_FOUND, id="404"),
        pytest.param({"status": 503}, "mjpeg", SourceCause.PROTOCOL, id="503"),
        pytest.param({"files": {"a": b"<html>login</html>" * 50}}, "file/a", SourceCause.PROTOCOL, id="web page"),
        pytest.param({"files": {"a": bytes(range(256)) * 50}}, "file/a", SourceCause.PROTOCOL, id="noise"),
        pytest.param({"files": {"a": b""}}, "file/a", SourceCause.PROTOCOL, id="empty"),
    ],
)
@pytest.mark.parametrize("kind", [NetworkSource, SnapshotSource])
def test_http_bad_camera_fails_with_its_cause(
    kind: type[NetworkSource] | type[SnapshotSource], settings: dict[str, object], path: str, cause: SourceCause
) -> None:
    """Streams and snapshots fail with the same causes, in time."""
    is_silent = cause is SourceCause.TIMEOUT
    timeout_s, most_s = (TIMEOUT_S, TIMEOUT_S + 2.0) if is_silent else (PATIENCE_S, ANSWERED_S)

    with Stopwatch() as watch, FakeHttpCamera(moving_square(n=2), **settings) as server:
        _, failure = first_failure(kind(server.url(path), timeout_s=timeout_s), n=1)

    assert failure.cause is cause
    assert watch.ran_s < most_s


@pytest.mark.parametrize("kind", [NetworkSource, SnapshotSource])
def test_http_login_is_accepted(kind: type[NetworkSource] | type[SnapshotSource]) -> None:
    """User name and password reach the camera."""
    with FakeHttpCamera(moving_square(n=2), username="u", password="p@:/") as server:
        path = "mjpeg" if kind is NetworkSource else "snapshot.jpg"
        with kind(server.url(path), username="u", password="p@:/", timeout_s=PATIENCE_S).open() as stream:
            frame = stream.read()

    assert frame.width == 320


@pytest.mark.parametrize(
    ("settings", "timeout_s", "cause"),
    [
        pytest.param({"stall_after": 4}, TIMEOUT_S, SourceCause.STALLED, id="stalls"),
        pytest.param({"close_after": 4}, PATIENCE_S, SourceCause.EOF, id="hangs up"),
    ],
)
def test_mjpeg_stream_that_stops_says_why(settings: dict[str, int], timeout_s: float, cause: SourceCause) -> None:
    """Silence is a stall, hanging up an end."""
    with FakeHttpCamera(moving_square(n=4), **settings) as server:
        n_frames, failure = first_failure(NetworkSource(server.url("mjpeg"), timeout_s=timeout_s))

    assert n_frames >= 3  # the last one's end shows only with the next one's beginning
    assert failure.cause is cause


def test_http_recording_plays_at_its_pace(tmp_path: Path) -> None:
    """A film over HTTP is a camera: it takes as long as it was recorded."""
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        film = container.add_stream("libx264", rate=20, options={"tune": "zerolatency"})
        film.width, film.height, film.pix_fmt = 320, 240, "yuv420p"
        for pixels in moving_square(n=20):
            container.mux(film.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(film.encode(None))
    content = (tmp_path / "film.mp4").read_bytes()

    with FakeHttpCamera(files={"film.mp4": content}) as server:
        source = NetworkSource(server.url("file/film.mp4"), timeout_s=PATIENCE_S)
        started_s = time.monotonic()
        n_frames, failure = first_failure(source)

    assert n_frames == 20
    assert failure.cause is SourceCause.EOF
    assert time.monotonic() - started_s >= 0.9


def test_snapshot_too_large_is_refused() -> None:
    """A picture that would take our memory is refused by its header."""
    _, data = cv2.imencode(".jpg", np.zeros((16, 4112, 3), np.uint8))

    with FakeHttpCamera(files={"a.jpg": data.tobytes()}) as server:
        _, failure = first_failure(SnapshotSource(server.url("file/a.jpg"), timeout_s=PATIENCE_S), n=1)

    assert failure.cause is SourceCause.PROTOCOL
    assert "too large" in str(failure)


def test_http_redirect_to_a_file_is_not_followed(tmp_path: Path) -> None:
    """A camera cannot make us read our own files: a playlist that names one gives nothing."""
    secret = tmp_path / "secret.ts"
    secret.write_bytes(b"G" * 188 * 10)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"

    with FakeHttpCamera(files={"a.m3u8": playlist.encode()}) as server:
        n_frames, failure = first_failure(NetworkSource(server.url("file/a.m3u8"), timeout_s=PATIENCE_S))

    assert n_frames == 0
    assert failure.cause in (SourceCause.PROTOCOL, SourceCause.EOF)


@pytest.mark.parametrize(
    "make_tls",
    [
        pytest.param(lambda certificate: CameraTls(ca=certificate), id="its own certificate is known"),
        pytest.param(lambda certificate: CameraTls(verify=False), id="any certificate will do"),
    ],
)
def test_https_camera_that_is_believed_gives_frames(tmp_path: Path, make_tls: Callable[[Path], CameraTls]) -> None:
    """A stream and single pictures, encrypted."""
    made = make_self_signed(tmp_path, "127.0.0.1")
    tls = make_tls(made.certificate)
    with FakeHttpCamera(moving_square(n=5), tls=made) as server:
        with NetworkSource(server.url("mjpeg"), tls=tls, timeout_s=PATIENCE_S).open() as stream:
            streamed = stream.read()
        with SnapshotSource(server.url("snapshot.jpg"), tls=tls, timeout_s=PATIENCE_S).open() as stream:
            single = stream.read()

    assert (streamed.width, single.width) == (320, 320)


def test_https_camera_with_the_name_that_was_expected_gives_frames(tmp_path: Path) -> None:
    """Many cameras' certificates are for a name that nobody reaches them by."""
    made = make_self_signed(tmp_path, "camera.example")
    tls = CameraTls(ca=made.certificate, host_name="camera.example")
    with (
        FakeHttpCamera(moving_square(n=5), tls=made) as server,
        NetworkSource(server.url("mjpeg"), tls=tls, timeout_s=PATIENCE_S).open() as stream,
    ):
        assert stream.read().width == 320


@pytest.mark.parametrize(
    ("names", "days", "knows_it", "words"),
    [
        pytest.param(("127.0.0.1",), 1.0, False, "self-signed certificate", id="of nobody we know"),
        pytest.param(("127.0.0.1",), -1.0, True, "expired", id="expired"),
        pytest.param(("camera.example",), 1.0, True, "not valid for '127.0.0.1'", id="another name"),
    ],
)
def test_https_camera_that_is_not_believed_is_auth_and_says_why(
    tmp_path: Path, names: tuple[str, ...], days: float, knows_it: bool, words: str
) -> None:
    """No password reaches whoever only says that it is the camera."""
    made = make_self_signed(tmp_path, *names, days=days)
    tls = CameraTls(ca=made.certificate) if knows_it else CameraTls()
    with FakeHttpCamera(moving_square(n=5), tls=made) as server:
        count, failure = first_failure(
            NetworkSource(server.url("mjpeg"), username="me", password="x", tls=tls, timeout_s=PATIENCE_S)
        )

    assert (count, failure.cause) == (0, SourceCause.AUTH)
    assert words in str(failure)
    assert "tls: {ca: FILE}" in str(failure)
    assert server.requests == []
