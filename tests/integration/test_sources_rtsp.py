"""RTSP cameras, good and bad, against a server of our own on loopback."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from servers.rtsp import FakeRtspServer, Faults, moving_square
from waiting import Stopwatch, wait_until

from edged.errors import SourceCause, SourceError
from edged.sources.base import FrameStream, SourceFrame
from edged.sources.network import NetworkSource

TIMEOUT_S = 4.0  # where silence is the matter
PATIENCE_S = 10.0  # where frames, an answer or an end are expected, however busy the machine is
ANSWERED_S = 3.0  # what a failure may take that needs no waiting
FPS = 30.0


def camera(faults: Faults | None = None, **settings: object) -> FakeRtspServer:
    return FakeRtspServer(moving_square(n=15), fps=FPS, faults=faults, **settings)


def read_frames(source: NetworkSource, n: int) -> tuple[list[SourceFrame], SourceError | None, float]:
    """Up to n frames, what ended them before that, and for how long we ran from the last frame (or the start) to that end."""
    frames: list[SourceFrame] = []
    last_s = 0.0
    with Stopwatch() as watch:
        try:
            with source.open() as stream:
                while len(frames) < n:
                    frames.append(stream.read())
                    last_s = watch.ran_s
        except SourceError as error:
            return frames, error, watch.ran_s - last_s
    return frames, None, 0.0


def read_on(stream: FrameStream) -> tuple[int, SourceError]:
    """How many more frames came before the failure, and the failure."""
    for n in range(99):
        try:
            stream.read()
        except SourceError as error:
            return n, error
    pytest.fail("99 more frames and no failure")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_camera_gives_frames(transport: str) -> None:
    """Frames with their size, times and colours, over TCP and UDP."""
    with camera() as server:
        frames, failure, _ = read_frames(NetworkSource(server.url, transport, timeout_s=PATIENCE_S), 12)

    assert failure is None
    assert {(frame.width, frame.height) for frame in frames} == {(320, 240)}
    assert np.diff([frame.stream_s for frame in frames]) == pytest.approx(1 / FPS, abs=0.01)
    red = frames[0].make_pixels_rgb()[120, 20].astype(int)
    assert red[0] > red[1] + 100
    assert server.connections == 1


def test_rtsp_camera_is_read_with_one_frame_of_delay() -> None:
    """A frame is out as soon as the next one begins: that is how FFmpeg's parser knows that it is whole."""
    fps = 8.0  # slow, so that a busy machine's own delay is little of a frame
    with (
        FakeRtspServer(moving_square(n=15), fps=fps) as server,
        NetworkSource(server.url, timeout_s=PATIENCE_S).open() as stream,
    ):
        for _ in range(10):
            stream.read()
        delays_s = []
        for _ in range(8):
            frame = stream.read()
            delays_s.append(time.monotonic() - server.sent_s[round(frame.stream_s * fps)])

    assert np.median(delays_s) < 1.8 / fps


@pytest.mark.parametrize(
    ("faults", "cause"),
    [
        pytest.param(Faults(silent_at="OPTIONS"), SourceCause.TIMEOUT, id="accepts and says nothing"),
        pytest.param(Faults(silent_at="DESCRIBE"), SourceCause.TIMEOUT, id="silent to DESCRIBE"),
        pytest.param(Faults(silent_at="SETUP"), SourceCause.TIMEOUT, id="silent to SETUP"),
        pytest.param(Faults(silent_at="PLAY"), SourceCause.TIMEOUT, id="silent to PLAY"),
        pytest.param(Faults(stall_after=0), SourceCause.STALLED, id="plays nothing"),
        pytest.param(Faults(status=401), SourceCause.AUTH, id="401"),
        pytest.param(Faults(status=403), SourceCause.AUTH, id="403"),
        pytest.param(Faults(status=404), SourceCause.NOT_FOUND, id="404"),
        pytest.param(Faults(status=500), SourceCause.PROTOCOL, id="500"),
        pytest.param(Faults(sdp=""), SourceCause.PROTOCOL, id="no SDP"),
        pytest.param(Faults(sdp="garbage"), SourceCause.PROTOCOL, id="garbage for SDP"),
        pytest.param(Faults(sdp="v=0\r\nm=audio 0 RTP/AVP 0\r\na=control:t\r\n"), SourceCause.PROTOCOL, id="sound only"),
    ],
)
def test_rtsp_bad_camera_fails_with_its_cause(faults: Faults, cause: SourceCause) -> None:
    """Each fault has its own cause, found within the time limit."""
    is_silent = cause in (SourceCause.TIMEOUT, SourceCause.STALLED)
    timeout_s, most_s = (TIMEOUT_S, 2 * TIMEOUT_S) if is_silent else (PATIENCE_S, ANSWERED_S)

    with camera(faults) as server:
        frames, failure, waited_s = read_frames(NetworkSource(server.url, timeout_s=timeout_s), 1)

    assert not frames
    assert failure is not None
    assert failure.cause is cause
    assert waited_s < most_s


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_stream_that_stalls_is_stalled_in_time(transport: str) -> None:
    """A camera that stays connected and sends nothing more is found out within the time limit, counted from its last data."""
    with (
        camera(Faults(stall_after=12)) as server,
        NetworkSource(server.url, transport, timeout_s=TIMEOUT_S).open() as stream,
    ):
        for _ in range(10):
            stream.read()
        with Stopwatch() as watch:
            n_more, failure = read_on(stream)
        silent_s = time.monotonic() - server.sent_s[-1]

    assert n_more == 2
    assert failure.cause is SourceCause.STALLED
    assert silent_s > 0.7 * TIMEOUT_S
    assert watch.ran_s < 1.4 * TIMEOUT_S


def test_rtsp_data_without_pictures_is_stalled() -> None:
    """Packets that never make a picture are no sign of life."""
    with camera(Faults(without_key_frames=True)) as server:
        frames, failure, silent_s = read_frames(NetworkSource(server.url, timeout_s=TIMEOUT_S), 1)

    assert not frames
    assert failure is not None
    assert failure.cause is SourceCause.STALLED
    assert "key frames" in str(failure)
    assert silent_s < 2 * TIMEOUT_S + 1.5


def test_rtsp_little_damage_costs_no_connection() -> None:
    """One flipped bit in 500 bytes: pictures go on."""
    with camera(Faults(corrupt_ratio=0.002)) as server:
        frames, failure, _ = read_frames(NetworkSource(server.url, timeout_s=PATIENCE_S), 25)

    assert failure is None
    assert len(frames) == 25


def test_rtsp_camera_that_hangs_up_is_eof() -> None:
    """A live stream that ends was ended by the camera."""
    with camera(Faults(close_after=12)) as server:
        frames, failure, waited_s = read_frames(NetworkSource(server.url, timeout_s=PATIENCE_S), 99)

    assert len(frames) == 12
    assert failure is not None
    assert failure.cause is SourceCause.EOF
    assert waited_s < 0.5 * PATIENCE_S


def test_rtsp_change_of_resolution_is_followed() -> None:
    """New parameter sets in the same stream: each frame has its own size."""
    faults = Faults(resize_after=12, resize_to=moving_square(n=15, width=640, height=360))
    with camera(faults) as server:
        frames, failure, _ = read_frames(NetworkSource(server.url, timeout_s=PATIENCE_S), 18)

    assert failure is None
    assert [(frame.width, frame.height) for frame in frames] == [(320, 240)] * 12 + [(640, 360)] * 6
    assert frames[-1].make_pixels_rgb().shape == (360, 640, 3)


@pytest.mark.parametrize(
    ("jump_s", "longest_s"), [pytest.param(3600.0, 2.0, id="an hour ahead"), pytest.param(-5.0, 0.0, id="back")]
)
def test_rtsp_jump_of_time_stamps_is_bounded(jump_s: float, longest_s: float) -> None:
    """A camera that sets its clock makes neither hours nor negative times."""
    with camera(Faults(jump_after=12, jump_s=jump_s)) as server:
        frames, _, _ = read_frames(NetworkSource(server.url, timeout_s=PATIENCE_S), 16)

    steps_s = np.diff([frame.stream_s for frame in frames])
    assert steps_s.min() >= 0.0
    assert steps_s.max() <= max(longest_s, 0.1)


@pytest.mark.parametrize("digest", [pytest.param(False, id="basic"), pytest.param(True, id="digest")])
def test_rtsp_login_with_odd_signs_is_accepted(digest: bool) -> None:
    """User name and password reach the camera as they were given, whatever signs they have."""
    with camera(username="ü", password="p:@/ s%?#", digest=digest) as server:
        _, failure, _ = read_frames(NetworkSource(server.url, username="ü", password="p:@/ s%?#", timeout_s=PATIENCE_S), 1)

    assert failure is None


@pytest.mark.parametrize("digest", [pytest.param(False, id="basic"), pytest.param(True, id="digest")])
def test_rtsp_wrong_login_is_auth_and_shows_nothing(digest: bool) -> None:
    """One try, the cause, and no secret in the message or in the chain behind it."""
    with camera(username="admin", password="right", digest=digest) as server:
        url = server.url.replace("//", "//admin:hunter2@")
        _, failure, _ = read_frames(NetworkSource(url, timeout_s=PATIENCE_S), 1)

    assert failure is not None
    assert failure.cause is SourceCause.AUTH
    assert not re.search("admin|hunter2", f"{failure}")
    assert failure.__suppress_context__
    assert sum("DESCRIBE" in request for request in server.requests) <= 2


def test_rtsp_password_stays_out_of_the_process_list() -> None:
    """What other users of the machine can see of us holds no password."""
    with camera(username="admin", password="hunter2canary") as server:
        source = NetworkSource(server.url, username="admin", password="hunter2canary", timeout_s=PATIENCE_S)
        with source.open() as stream:
            stream.read()
            lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]

    assert any(b"pytest" in line for line in lines)
    assert not any(b"hunter2canary" in line for line in lines)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        pytest.param("rtsp://127.0.0.1:1/x", SourceCause.NOT_FOUND, id="nobody listens"),
        pytest.param("rtsp://no-such-host.invalid/x", SourceCause.NOT_FOUND, id="no such host"),
    ],
)
def test_rtsp_wrong_address_is_not_found(url: str, cause: SourceCause) -> None:
    """No camera at that address."""
    with pytest.raises(SourceError) as failed:
        NetworkSource(url, timeout_s=PATIENCE_S).open()

    assert failed.value.cause is cause


def test_rtsp_camera_that_dies_and_returns_is_read_again() -> None:
    """Dead: eof, then not found; back on the same port: frames again."""
    with camera() as server:
        source = NetworkSource(server.url, timeout_s=PATIENCE_S)
        with source.open() as stream:
            stream.read()
            server.stop()
            _, lost = read_on(stream)
        _, gone, _ = read_frames(source, 1)
        server.start()
        after, failure, _ = read_frames(source, 3)

    assert (lost.cause, gone.cause) == (SourceCause.EOF, SourceCause.NOT_FOUND)
    assert failure is None
    assert len(after) == 3


def test_rtsp_connection_is_closed_with_its_stream() -> None:
    """The camera sees that we left."""
    with camera() as server:
        with NetworkSource(server.url, timeout_s=PATIENCE_S).open() as stream:
            stream.read()

        wait_until(lambda: server.open_connections == 0)
