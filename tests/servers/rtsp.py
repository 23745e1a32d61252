"""An RTSP camera on 127.0.0.1 with faults: H.264 over RTP, interleaved on TCP or in UDP datagrams.

    with FakeRtspServer(moving_square(n=30), fps=15) as camera:
        source = NetworkSource(camera.url)

`stop()` cuts every connection, `start()` brings the camera back on the same port: a camera that dies and returns.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import random
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np

RTP_CLOCK_HZ = 90_000
PAYLOAD_TYPE = 96
LARGEST_PAYLOAD_BYTES = 1200
FIRST_STAMP = 12_345  # FFmpeg takes 0 for "no time stamp"
NEEDED_TO_START = (5, 7, 8)  # NAL units: key frame, sequence and picture parameter sets
REALM = "camera"
NONCE = "0123456789abcdef"


def moving_square(*, n: int = 30, width: int = 320, height: int = 240) -> list[np.ndarray]:
    """n frames (height, width, 3) uint8 RGB: a red square that walks over grey, one step a frame."""
    frames = []
    for index in range(n):
        pixels = np.full((height, width, 3), 90, np.uint8)
        x = (index * 8) % (width - 40)
        pixels[height // 2 - 20 : height // 2 + 20, x : x + 40] = (220, 40, 40)
        frames.append(pixels)
    return frames


@dataclass(frozen=True)
class Faults:
    """What the camera does wrong; counts are frames of one connection.

    Attributes:
        silent_at: says nothing any more from this request on ("DESCRIBE", "SETUP", "PLAY"; "OPTIONS" is the first).
        status: answers DESCRIBE with this status, e.g. 401, 404, 500.
        sdp: answers DESCRIBE with this text instead of its own.
        stall_after: stays connected and sends nothing more.
        close_after: closes the connection.
        resize_after: goes on with `resize_to` frames (new parameter sets in the same stream); an event: once it is set.
        without_key_frames: leaves parameter sets and key frames out, so that nothing can be decoded.
        corrupt_ratio: share of RTP payload bytes flipped, seeded; the NAL header stays.
        jump_after, jump_s: adds jump_s to every later RTP time stamp.
    """

    silent_at: str | None = None
    status: int = 200
    sdp: str | None = None
    stall_after: int | None = None
    close_after: int | None = None
    resize_after: int | threading.Event | None = None
    resize_to: Sequence[np.ndarray] = field(default=(), repr=False)
    without_key_frames: bool = False
    corrupt_ratio: float = 0.0
    jump_after: int | None = None
    jump_s: float = 0.0


class FakeRtspServer:
    """A camera that loops over its frames for ever, on a port of 127.0.0.1 that stays the same over stop and start.

    Args:
        frames: (H, W, 3) uint8 RGB each, even sizes; encoded once, here.
        fps: pace of the stream.
        faults: may be replaced at any time; connections made later follow the new ones.
        username, password: asked for when given.
        digest: asks for digest instead of basic authorisation.
        port: 0 takes a free one.

    Attributes:
        connections: how many were accepted so far.
        requests: first line of every request, in order.
        sent_s: monotonic moments at which the newest connection's frames were sent.
    """

    def __init__(
        self,
        frames: Iterable[np.ndarray],
        *,
        fps: float = 15.0,
        faults: Faults | None = None,
        username: str | None = None,
        password: str | None = None,
        digest: bool = False,
        port: int = 0,
    ) -> None:
        self.fps = fps
        self.faults = faults or Faults()
        self.username = username
        self.password = password
        self.digest = digest
        self.port = port
        self.connections = 0
        self.requests: list[str] = []
        self.sent_s: list[float] = []
        self._units = encode_h264(frames, fps=fps)
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"rtsp://127.0.0.1:{self.port}/live"

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._open)

    def __enter__(self) -> FakeRtspServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, again on the same port after a stop."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), name="fake-rtsp", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Die: the port is closed and every connection cut."""
        if self._listener is None:
            return
        cut(self._listener)
        self._acceptor.join(5)
        for connection in list(self._open):
            cut(connection)
        for thread in self._threads:
            thread.join(5)
        self._threads.clear()
        self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="fake-rtsp-client", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            _Session(self, connection, self.faults).run()
        except OSError:
            pass  # the client left, or stop() cut the connection
        finally:
            self._open.discard(connection)
            connection.close()


def cut(connection: socket.socket) -> None:
    """Close it so that a thread blocked on it wakes up."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class _Session:
    """One client, from its first request to the end of its stream."""

    def __init__(self, server: FakeRtspServer, connection: socket.socket, faults: Faults) -> None:
        self.server = server
        self.connection = connection
        self.faults = faults
        self.sequence = 0
        self.client_ports: tuple[int, int] | None = None
        self.datagrams: socket.socket | None = None
        self.random = random.Random(7)

    def run(self) -> None:
        try:
            for method, headers, text in self._requests():
                self.server.requests.append(text.splitlines()[0])
                if self.faults.silent_at in (method, "OPTIONS"):
                    self._wait_for_end()
                    return
                if not self._answer(method, headers):
                    return
        finally:
            if self.datagrams:
                self.datagrams.close()

    def _requests(self) -> Iterator[tuple[str, dict[str, str], str]]:
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                received = self.connection.recv(4096)
                if not received:
                    return
                pending += received
            head, pending = pending.split(b"\r\n\r\n", 1)
            text = head.decode("utf-8", "replace")
            lines = text.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            yield lines[0].split(" ")[0], {key.lower(): value for key, value in headers.items()}, text

    def _wait_for_end(self) -> None:
        while self.connection.recv(4096):
            pass

    def _reply(self, headers: dict[str, str], *, status: int = 200, extra: str = "", body: str = "") -> None:
        reply = f"RTSP/1.0 {status} X\r\nCSeq: {headers.get('cseq', '0')}\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}"
        self.connection.sendall(reply.encode())

    def _answer(self, method: str, headers: dict[str, str]) -> bool:
        """Answer one request; False when the session is over."""
        if method == "OPTIONS":
            self._reply(headers, extra="Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n")
        elif method == "DESCRIBE":
            self._describe(headers)
        elif method == "SETUP":
            self._set_up(headers)
        elif method == "PLAY":
            self._reply(headers, extra="Session: 1\r\n")
            self._stream()
            return False
        else:
            self._reply(headers)
        return method != "TEARDOWN"

    def _describe(self, headers: dict[str, str]) -> None:
        if self.server.username is not None and not self._is_authorised(headers.get("authorization", "")):
            kind = f'Digest realm="{REALM}", nonce="{NONCE}"' if self.server.digest else f'Basic realm="{REALM}"'
            self._reply(headers, status=401, extra=f"WWW-Authenticate: {kind}\r\n")
        elif self.faults.status != 200:
            self._reply(headers, status=self.faults.status)
        else:
            sdp = self.faults.sdp if self.faults.sdp is not None else self._sdp()
            self._reply(headers, extra="Content-Type: application/sdp\r\n", body=sdp)

    def _is_authorised(self, header: str) -> bool:
        user, password = self.server.username, self.server.password
        if not self.server.digest:
            return header == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="([^"]*)"', header))
        secret = _md5(f"{user}:{REALM}:{password}")
        expected = _md5(f"{secret}:{NONCE}:{_md5('DESCRIBE:' + fields.get('uri', ''))}")
        return fields.get("username") == user and fields.get("response") == expected

    def _sdp(self) -> str:
        parameter_sets = [nal for nal in self.server._units[0] if nal[0] & 31 in (7, 8)]
        sprop = ",".join(base64.b64encode(nal).decode() for nal in parameter_sets)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}\r\na=rtpmap:{PAYLOAD_TYPE} H264/{RTP_CLOCK_HZ}\r\n"
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;sprop-parameter-sets={sprop}\r\n"
            f"a=framerate:{self.server.fps:g}\r\na=control:track1\r\n"
        )

    def _set_up(self, headers: dict[str, str]) -> None:
        transport = headers.get("transport", "")
        ports = re.search(r"client_port=(\d+)-(\d+)", transport)
        if ports and "TCP" not in transport:
            self.client_ports = int(ports[1]), int(ports[2])
            self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.datagrams.bind(("127.0.0.1", 0))
            own = self.datagrams.getsockname()[1]
            transport = f"RTP/AVP;unicast;client_port={ports[1]}-{ports[2]};server_port={own}-{own + 1}"
        else:
            transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
        self._reply(headers, extra=f"Transport: {transport}\r\nSession: 1;timeout=60\r\n")

    def _stream(self) -> None:
        started_s = time.monotonic()
        self.server.sent_s.clear()
        for index, unit in enumerate(self._schedule()):
            if index == self.faults.stall_after:
                self._wait_for_end()
                return
            if index == self.faults.close_after:
                return
            jump_s = self.faults.jump_s if self.faults.jump_after is not None and index >= self.faults.jump_after else 0.0
            stamp = FIRST_STAMP + int((index / self.server.fps + jump_s) * RTP_CLOCK_HZ) & 0xFFFFFFFF
            self.server.sent_s.append(time.monotonic())
            self._send_unit(unit, stamp)
            if self._has_left(until_s=started_s + (index + 1) / self.server.fps):
                return

    def _has_left(self, *, until_s: float) -> bool:
        """Wait until then for the client to leave or to end its session; whatever else it says is not answered."""
        while (rest_s := until_s - time.monotonic()) > 0:
            try:
                received = self.connection.recv(4096) if select.select([self.connection], [], [], rest_s)[0] else None
            except (OSError, ValueError):  # the server has closed it meanwhile
                return True
            if received is not None and (not received or b"TEARDOWN" in received):
                return True
        return False

    def _schedule(self) -> Iterator[list[bytes]]:
        """The access units of this connection, without end."""
        units, after = self.server._units, self.faults.resize_after
        if after is not None:
            resized = encode_h264(self.faults.resize_to, fps=self.server.fps)
            for index in itertools.count():
                if after.is_set() if isinstance(after, threading.Event) else index == after:
                    units = resized
                    break
                yield units[index % len(units)]
        while True:
            yield from units

    def _send_unit(self, unit: list[bytes], stamp: int) -> None:
        if self.faults.without_key_frames:
            unit = [nal for nal in unit if nal[0] & 31 not in NEEDED_TO_START]
        for position, nal in enumerate(unit):
            payloads = list(_fragments(nal))
            for part, payload in enumerate(payloads):
                is_last = position == len(unit) - 1 and part == len(payloads) - 1
                self._send_packet(self._damaged(payload), stamp, marker=is_last)

    def _damaged(self, payload: bytes) -> bytes:
        if not self.faults.corrupt_ratio:
            return payload
        damaged = bytearray(payload)
        for index in range(2, len(damaged)):
            if self.random.random() < self.faults.corrupt_ratio:
                damaged[index] ^= 1 << self.random.randrange(8)
        return bytes(damaged)

    def _send_packet(self, payload: bytes, stamp: int, *, marker: bool) -> None:
        header = struct.pack(">BBHII", 0x80, PAYLOAD_TYPE | marker << 7, self.sequence, stamp, 0x1234)
        self.sequence = (self.sequence + 1) & 0xFFFF
        if self.client_ports and self.datagrams:
            self.datagrams.sendto(header + payload, ("127.0.0.1", self.client_ports[0]))
        else:
            self.connection.sendall(b"$" + struct.pack(">BH", 0, len(header) + len(payload)) + header + payload)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _fragments(nal: bytes) -> Iterator[bytes]:
    """One NAL unit as RTP payloads: itself when small, else FU-A.

    Source: RFC 6184, sections 5.6 and 5.8.
    """
    if len(nal) <= LARGEST_PAYLOAD_BYTES:
        yield nal
        return
    indicator, kind, body = nal[0] & 0xE0 | 28, nal[0] & 31, nal[1:]
    for start in range(0, len(body), LARGEST_PAYLOAD_BYTES):
        is_first, is_last = start == 0, start + LARGEST_PAYLOAD_BYTES >= len(body)
        yield bytes([indicator, is_first << 7 | is_last << 6 | kind]) + body[start : start + LARGEST_PAYLOAD_BYTES]


def encode_h264(frames: Iterable[np.ndarray], *, fps: float) -> list[list[bytes]]:
    """Access units as lists of NAL units without start codes; the first one carries the parameter sets."""
    units: list[list[bytes]] = []
    context: av.VideoCodecContext | None = None
    for index, pixels in enumerate(frames):
        if context is None:
            context = _open_encoder(pixels, fps=fps)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts = index
        units.extend(_split_annex_b(bytes(packet)) for packet in context.encode(frame))
    if context is None:
        raise ValueError("a camera needs at least one frame")
    units.extend(_split_annex_b(bytes(packet)) for packet in context.encode(None))
    return units


def _open_encoder(pixels: np.ndarray, *, fps: float) -> av.VideoCodecContext:
    rate = Fraction(fps).limit_denominator(1000)
    context = av.CodecContext.create("libx264", "w")
    context.height, context.width = pixels.shape[:2]
    context.pix_fmt = "yuv420p"
    context.framerate, context.time_base = rate, 1 / rate
    context.gop_size = max(1, round(fps))
    context.thread_count = 1
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}
    return context


def _split_annex_b(data: bytes) -> list[bytes]:
    nals = [nal.rstrip(b"\0") for nal in re.split(b"\0\0\1", data)]
    return [nal for nal in nals if nal and nal[0] & 31 not in (6, 9)]  # without SEI and delimiters
