"""Cameras and recordings that FFmpeg reads, through PyAV: RTSP, HTTP, MJPEG, snapshots, files.

The decoder's own frame is kept and converted to RGB only when somebody looks at it. One decoding thread a camera:
frame threads would add a frame of delay each and cost a fifth more CPU.

What FFmpeg's errors mean stands in `failures.py`.
"""

from __future__ import annotations

import stat
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np

from edged.errors import InputError, SourceCause, SourceError
from edged.sources.base import LARGEST_SIDE_PX, SourceFrame
from edged.sources.certificates import CameraTls, make_tls_options
from edged.sources.failures import FailureReporter
from edged.sources.timeline import Timeline
from edged.sources.url import Address, check_transport, redact, scheme_of, split_credentials
from edged.types import Pixels

if TYPE_CHECKING:
    import av

MOST_UNDECODABLE = 250
"""So many packets in a row without one picture are no video."""

CONNECT_SHARE = 0.5
SILENCE_SHARE = 0.8
"""Of `timeout_s`, for each of FFmpeg's two steps of opening, and for one packet: FFmpeg's interruption is late by a
tenth of a second or so, and it shall give up by itself before its reader gives it up."""

GRACE_S = 1.0
"""How much later than `timeout_s` a reader may give a call up as stuck."""

FILE_DEADLINE_S = 30.0
_FALLBACK_FPS = 25.0
_WITHOUT_TIME_STAMPS = ("mpjpeg", "mjpeg", "image2", "jpeg_pipe", "png_pipe")  # FFmpeg counts 25 a second for these
_NETWORK_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto"

Transport = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """A camera behind a URL: RTSP, RTSPS, or any container over HTTP (MJPEG, MPEG-TS, HLS, …).

    Attributes:
        url: may hold `user:password@`, percent-encoded where they have special signs; never shown.
        transport: of RTSP's pictures; TCP never loses any. RTSPS has them inside its one encrypted connection.
        username, password: instead of those in the URL, as the camera knows them.
        tls: what the camera's certificate must be, where it is asked for one.
        timeout_s: longest wait for an answer or for the next picture.

    Raises:
        InputError: the URL cannot be one of a camera.
    """

    url: str = field(repr=False)
    transport: Transport = "tcp"
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: CameraTls = field(default_factory=CameraTls)
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        split_credentials(self.url)
        if self.transport not in ("tcp", "udp"):
            raise InputError(f"transport: expected tcp or udp, got {self.transport!r}")
        check_transport(self.url, self.transport)
        if self.timeout_s <= 0:
            raise InputError(f"timeout_s: expected more than 0 seconds, got {self.timeout_s}")

    @property
    def is_live(self) -> bool:
        return True

    @property
    def label(self) -> str:
        return redact(self.address.url)

    @property
    def deadline_s(self) -> float:
        return self.timeout_s + GRACE_S

    @property
    def address(self) -> Address:
        """URL and credentials apart, the keys going before what the URL says."""
        address = split_credentials(self.url)
        if self.username is None:
            return address
        return Address(address.url, self.username, self.password)

    def open(self) -> PictureStream:
        address = self.address
        is_rtsp = scheme_of(address.url) in ("rtsp", "rtsps")
        reporter = FailureReporter(self.label, address, self.tls)
        options = _rtsp_options(self) if is_rtsp else _http_options(self)
        container = _open_container(address.with_credentials(), options, timeout_s=self.timeout_s, reporter=reporter)
        # A recording over HTTP would come as fast as the line allows; it is shown at its own pace like a camera.
        pace = not is_rtsp and container.duration is not None
        transport = self.transport if is_rtsp else scheme_of(address.url) or ""
        return PictureStream(container, reporter, timeout_s=self.timeout_s, pace=pace, transport=transport)


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """A camera that gives one picture per request.

    Attributes:
        url: of the picture, http or https; credentials as in `NetworkSource`.
        interval_s: from one request to the next.
        username, password: instead of those in the URL.
        tls: what the camera's certificate must be, where it is asked for one.
        timeout_s: longest wait for one picture.
    """

    url: str = field(repr=False)
    interval_s: float = 1.0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: CameraTls = field(default_factory=CameraTls)
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if scheme_of(self.url) not in ("http", "https"):
            raise InputError(f"{redact(self.url)}: snapshots are polled over http or https only")
        if self.interval_s <= 0:
            raise InputError(f"interval_s: expected more than 0 seconds, got {self.interval_s}")
        self.request.__post_init__()

    @property
    def is_live(self) -> bool:
        return True

    @property
    def label(self) -> str:
        return self.request.label

    @property
    def deadline_s(self) -> float:
        return self.interval_s + self.timeout_s + GRACE_S

    @property
    def request(self) -> NetworkSource:
        """One request, as the source that it is."""
        return NetworkSource(self.url, username=self.username, password=self.password, tls=self.tls, timeout_s=self.timeout_s)

    def open(self) -> SnapshotStream:
        stream = SnapshotStream(self)
        stream.fetch()
        return stream


@dataclass(frozen=True, slots=True)
class FileSource:
    """A recording; waits for its reader.

    Attributes:
        path: a regular file in any container that FFmpeg knows.
    """

    path: Path

    @property
    def is_live(self) -> bool:
        return False

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def deadline_s(self) -> float:
        return FILE_DEADLINE_S

    def open(self) -> PictureStream:
        _check_file(self.path)
        reporter = FailureReporter(self.label)
        # "file:" in front, so that no name is taken for a protocol ("concat:…"); and nothing else may be opened.
        options = {"protocol_whitelist": "file", "pattern_type": "none"}
        container = _open_container(f"file:{self.path.absolute()}", options, timeout_s=None, reporter=reporter)
        return PictureStream(container, reporter, timeout_s=None, pace=False, transport="file")


class PictureStream:
    """Decoded pictures of one open container. Read and closed by the thread that opened it.

    Attributes:
        codec: FFmpeg's name of the codec.
        fps: what the stream says of itself, None where it says nothing.
        transport: tcp, udp, http, https or file.
        n_corrupt: packets that arrived damaged and were left out.
        n_undecodable: packets that the decoder refused.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        reporter: FailureReporter,
        *,
        timeout_s: float | None,
        pace: bool,
        transport: str,
    ) -> None:
        video = container.streams.best("video")
        problem = _problem_of(video)
        if problem:
            container.close()
            raise reporter.unusable(problem)
        video.thread_type = "SLICE"
        video.codec_context.thread_count = 1
        video.codec_context.options = {"max_pixels": str(LARGEST_SIDE_PX**2)}  # the decoder refuses more before it allocates
        has_time_stamps = transport == "file" or container.format.name not in _WITHOUT_TIME_STAMPS
        rate = (video.average_rate or video.guessed_rate) if has_time_stamps else None
        self.codec: str = video.codec_context.name
        self.fps: float | None = float(rate) if rate else None
        self.transport = transport
        self.n_corrupt = 0
        self.n_undecodable = 0
        self._container = container
        self._reporter = reporter
        self._timeout_s = timeout_s
        self._pace = _Pace() if pace else None
        self._video = video
        self._packets = container.demux()
        self._decoded: deque[av.VideoFrame] = deque()
        self._undecodable_in_a_row = 0
        self._is_silent = False
        self._timeline = Timeline(step_s=1 / (self.fps or _FALLBACK_FPS)) if has_time_stamps else None
        self._to_rgb = RgbConverter()

    def read(self) -> SourceFrame:
        asked_s = time.monotonic()
        while not self._decoded:
            self._decode_next_packet(asked_s)
        frame = self._make_frame(self._decoded.popleft())
        if self._pace and frame.stream_s is not None:
            self._pace.wait(frame.stream_s)
        return frame

    def close(self) -> None:
        self._decoded.clear()
        self._packets.close()
        self._container.close()

    def __enter__(self) -> PictureStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _decode_next_packet(self, asked_s: float) -> None:
        packet = self._next_packet()
        if packet.stream is self._video:
            self._decode(packet)
        if not self._decoded and self._timeout_s is not None and time.monotonic() - asked_s > self._timeout_s:
            raise self._reporter.stalled(
                f"data arrives, but no picture could be decoded from it for {self._timeout_s:g} s: "
                "let the camera send key frames more often, or raise timeout_s"
            )

    def _next_packet(self) -> av.Packet:
        if self._is_silent:
            raise self._reporter.stalled("no picture in time")
        started_s = time.monotonic()
        failure: Exception = EOFError()
        try:
            packet = next(self._packets, None)
        except Exception as error:  # PyAV raises what it likes, a bare IndexError among it
            packet, failure = None, error
        if packet is None:  # several of FFmpeg's readers report even an interruption as the end of the stream
            raise self._reporter.reading_failed(failure, is_late=self._is_late(started_s)) from None
        # FFmpeg's parser keeps the newest frame until the next one begins, or until it is interrupted: a packet that comes
        # so late is that frame, and waiting once more would double the time limit.
        self._is_silent = self._is_late(started_s)
        return packet

    def _is_late(self, started_s: float) -> bool:
        return self._timeout_s is not None and time.monotonic() - started_s > 0.95 * SILENCE_SHARE * self._timeout_s

    def _decode(self, packet: av.Packet) -> None:
        if packet.is_corrupt:
            self.n_corrupt += 1
            return
        try:
            self._decoded.extend(packet.decode())
        except Exception as error:  # one damaged packet is no reason to lose the camera; many are
            self.n_undecodable += 1
            self._undecodable_in_a_row += 1
            if self._undecodable_in_a_row >= MOST_UNDECODABLE:
                raise self._reporter.unusable(f"{MOST_UNDECODABLE} packets could not be decoded, last: {error}") from None
        if self._decoded:
            self._undecodable_in_a_row = 0

    def _make_frame(self, frame: av.VideoFrame) -> SourceFrame:
        if _is_too_large(frame):
            raise self._reporter.unusable(_too_large(frame))
        quarter_turns = round(frame.rotation / 90) % 4
        width, height = (frame.height, frame.width) if quarter_turns % 2 else (frame.width, frame.height)
        pts_s = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else None
        stream_s = self._timeline.advance(pts_s) if self._timeline else None
        return SourceFrame(width, height, stream_s, partial(self._to_rgb.convert, frame, quarter_turns=quarter_turns))


class SnapshotStream:
    """Asks for one picture after the other, each at its time."""

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source
        self._fetched: SourceFrame | None = None
        self._next_s = time.monotonic()

    def fetch(self) -> None:
        """Ask for the next picture now."""
        self._next_s = max(self._next_s, time.monotonic() - self._source.interval_s) + self._source.interval_s
        with self._source.request.open() as stream:
            self._fetched = stream.read()

    def read(self) -> SourceFrame:
        if self._fetched is None:
            time.sleep(max(0.0, self._next_s - time.monotonic()))
            self.fetch()
        frame, self._fetched = self._fetched, None
        return frame

    def close(self) -> None:
        self._fetched = None

    def __enter__(self) -> SnapshotStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class RgbConverter:
    """Converts decoded frames of one stream to RGB; from any thread, one at a time.

    One converter is kept for the stream: a new one for each frame costs five times the conversion.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()

    def convert(self, frame: av.VideoFrame, *, quarter_turns: int = 0) -> Pixels:
        """(H, W, 3) uint8 RGB of a frame, turned counter-clockwise by so many quarters."""
        with self._lock:
            converted = self._reformatter.reformat(frame, format="rgb24", threads=1)
        pixels = converted.to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels


class _Pace:
    """Lets frames out at the speed at which they were recorded."""

    def __init__(self) -> None:
        self._started_s: float | None = None

    def wait(self, stream_s: float) -> None:
        now_s = time.monotonic()
        if self._started_s is None:
            self._started_s = now_s - stream_s
        time.sleep(max(0.0, self._started_s + stream_s - now_s))


def _rtsp_options(source: NetworkSource) -> dict[str, str]:
    return {
        "rtsp_transport": source.transport,
        "allowed_media_types": "video",  # sound would keep a camera alive that shows nothing
        "timeout": _microseconds(source.timeout_s * SILENCE_SHARE),
        "fpsprobesize": "0",  # else opening takes 28 frames, only to guess the rate
        "protocol_whitelist": _NETWORK_PROTOCOLS,
        **make_tls_options(source.tls),
    }


def _http_options(source: NetworkSource) -> dict[str, str]:
    return {
        "rw_timeout": _microseconds(source.timeout_s * SILENCE_SHARE),
        "fpsprobesize": "0",
        "pattern_type": "none",  # a % in the name of a picture is a %
        "protocol_whitelist": _NETWORK_PROTOCOLS,
        **make_tls_options(source.tls),
    }


def _microseconds(seconds: float) -> str:
    return str(round(seconds * 1_000_000))


def _open_container(
    url: str, options: dict[str, str], *, timeout_s: float | None, reporter: FailureReporter
) -> av.container.InputContainer:
    import av  # loading FFmpeg takes a moment and memory: only who reads video pays

    limits_s = (timeout_s * CONNECT_SHARE, timeout_s * SILENCE_SHARE) if timeout_s else None
    started_s = time.monotonic()
    try:
        return av.open(url, options=options, timeout=limits_s)
    except Exception as error:  # PyAV raises what it likes, a bare IndexError among it
        is_late = limits_s is not None and time.monotonic() - started_s > 0.95 * limits_s[0]
        raise reporter.opening_failed(error, is_late=is_late) from None


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return
    except FileNotFoundError:
        raise SourceError(SourceCause.NOT_FOUND, f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(SourceCause.AUTH, f"{path}: cannot be read: {error.strerror}") from error
    raise SourceError(SourceCause.PROTOCOL, f"{path}: expected a regular file")


def _problem_of(video: av.VideoStream | None) -> str | None:
    """Why a stream cannot be decoded here."""
    if video is None:
        return "it holds no video stream"
    if video.codec_context is None:
        return "this FFmpeg has no decoder for its video: let the camera send H.264 or H.265"
    return _too_large(video.codec_context) if _is_too_large(video.codec_context) else None


def _is_too_large(picture: av.VideoFrame | av.VideoCodecContext) -> bool:
    return max(picture.width, picture.height) > LARGEST_SIDE_PX


def _too_large(picture: av.VideoFrame | av.VideoCodecContext) -> str:
    return f"pictures of {picture.width} x {picture.height} are too large, at most {LARGEST_SIDE_PX} x {LARGEST_SIDE_PX}"
