"""A scripted MQTT broker on a real socket: it does what a broker should not, and remembers what came."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


@dataclass
class Connected:
    """A CONNECT that came."""

    level: int
    client_id: str
    username: str | None
    password: str | None
    will_topic: str | None
    will_body: bytes | None
    will_retained: bool
    properties: bytes


@dataclass
class Subscribed:
    """A SUBSCRIBE that came: one filter and its options (QoS, retain handling) as on the wire."""

    topic_filter: str
    options: int


@dataclass
class Published:
    """A PUBLISH that came."""

    topic: str
    body: bytes
    qos: int
    is_retained: bool
    properties: bytes
    at_s: float


@dataclass
class Script:
    """What one connection meets.

    Attributes:
        connack: reason code by protocol level (4 or 5); None: say nothing.
        closes_on_level: protocol level at which CONNECT closes the connection.
        connack_properties: of MQTT 5, encoded.
        receive_maximum: more un-acknowledged messages than this end the connection with 0x93.
        puback: reason code for a message; None: no answer.
        suback: reason code for a subscription.
        ack_delay_s: messages are answered when nothing more has come for so long.
        closes_after: the connection ends at this many messages, before they are answered.
        closes_on: or at such a message.
        disconnect_code: with a DISCONNECT of this code.
        reads: False: freeze after CONNACK; nothing is read any more.
    """

    connack: Callable[[int], int | None] = lambda level: 0
    closes_on_level: int | None = None
    connack_properties: bytes = b""
    receive_maximum: int | None = None
    puback: Callable[[Published], int | None] = lambda published: 0
    suback: int = 1
    ack_delay_s: float = 0.0
    closes_after: int | None = None
    closes_on: Callable[[Published], bool] = lambda published: False
    disconnect_code: int | None = None
    reads: bool = True
    answers_pings: bool = True


@dataclass
class FakeBroker:
    """Listens on a port of its own; every connection plays `scripts[n]`, the last script for all further ones.

    Attributes:
        connects, subscribed, published, goodbyes: what came; a goodbye is the reason code of a client's DISCONNECT.
        confirmed: packet ids of delivered messages that a client acknowledged.
        most_outstanding: highest number of messages that were un-acknowledged at once.
    """

    scripts: list[Script]
    connects: list[Connected] = field(default_factory=list)
    subscribed: list[Subscribed] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    confirmed: list[int] = field(default_factory=list)
    goodbyes: list[int] = field(default_factory=list)
    most_outstanding: int = 0

    def __enter__(self) -> "FakeBroker":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="fake broker", daemon=True)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._sockets:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for client in self._sockets:
            client.close()

    def bodies(self, kind: str = "/event/") -> list[bytes]:
        """Bodies of the messages whose topic holds `kind`, in order of arrival."""
        return [published.body for published in self.published if kind in published.topic]

    def deliver(
        self, topic: str, body: bytes, *, properties: bytes = b"", level: int = 5, retain: bool = False, mid: int = 1
    ) -> None:
        """Hand a message to the newest client, with QoS 1 and, in MQTT 5, encoded properties (shorter than 128 bytes)."""
        rest = bytes([len(properties)]) + properties if level == 5 else b""
        packet = encode_text(topic) + struct.pack("!H", mid) + rest + body
        self._sockets[-1].sendall(bytes([0x32 | retain]) + encode_length(len(packet)) + packet)

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts[min(number, len(self.scripts) - 1)]
            number += 1
            self._sockets.append(client)
            thread = threading.Thread(target=self._play, args=(client, script), name=f"fake broker {number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, client: socket.socket, script: Script) -> None:
        with contextlib.suppress(OSError, EOFError):
            try:
                _Session(self, client, script).run()
            finally:
                client.shutdown(socket.SHUT_RDWR)


class _Session:
    def __init__(self, broker: FakeBroker, client: socket.socket, script: Script) -> None:
        self.broker, self.client, self.script = broker, client, script
        self.level = 0
        self.outstanding: list[tuple[int, Published]] = []
        self.messages = 0
        self.buffer = b""

    def run(self) -> None:
        while True:
            packet = self.next_packet()
            if packet is None:
                self.answer()
            elif not self.handle(*packet):
                return

    def handle(self, kind: int, flags: int, body: bytes) -> bool:
        """Whether the connection goes on."""
        if kind == CONNECT:
            return self.on_connect(body)
        if kind == PUBLISH:
            return self.on_publish(flags, body)
        if kind == SUBSCRIBE:
            self.on_subscribe(body)
        if kind == PUBACK:
            self.broker.confirmed.append(struct.unpack("!H", body[:2])[0])
        if kind == PINGREQ and self.script.answers_pings:
            self.client.sendall(b"\xd0\x00")
        if kind == DISCONNECT:
            self.answer()
            self.broker.goodbyes.append(body[0] if body else 0)
            return False
        return True

    def on_connect(self, body: bytes) -> bool:
        connected = parse_connect(body)
        self.level = connected.level
        self.broker.connects.append(connected)
        if self.script.closes_on_level == self.level:
            return False
        code = self.script.connack(self.level)
        if code is not None:
            rest = bytes([len(self.script.connack_properties)]) + self.script.connack_properties if self.level == 5 else b""
            self.client.sendall(bytes([0x20, 2 + len(rest), 0, code]) + rest)
        while not self.script.reads:
            time.sleep(0.01)
            self.client.send(b"")
            if self.client.fileno() < 0 or self.broker._listener.fileno() < 0:
                return False
        return code in (0, None)

    def on_subscribe(self, body: bytes) -> None:
        rest = skip_properties(body[2:])[1] if self.level == 5 else body[2:]
        topic_filter, options = take_text(rest)
        self.broker.subscribed.append(Subscribed(topic_filter, options[0]))
        answer = body[:2] + (b"\0" if self.level == 5 else b"") + bytes([self.script.suback])
        self.client.sendall(bytes([0x90, len(answer)]) + answer)

    def on_publish(self, flags: int, body: bytes) -> bool:
        published, mid = parse_publish(flags, body, self.level)
        self.broker.published.append(published)
        self.messages += 1
        is_last = self.script.closes_after is not None and self.messages >= self.script.closes_after
        if is_last or self.script.closes_on(published):
            return self.disconnect(self.script.disconnect_code) if self.script.disconnect_code is not None else False
        if published.qos:
            self.outstanding.append((mid, published))
            self.broker.most_outstanding = max(self.broker.most_outstanding, len(self.outstanding))
        if self.script.receive_maximum is not None and len(self.outstanding) > self.script.receive_maximum:
            return self.disconnect(0x93)
        return True

    def answer(self) -> None:
        waiting, self.outstanding = self.outstanding, []
        for mid, published in waiting:
            code = self.script.puback(published)
            if code is None:
                self.outstanding.append((mid, published))
                continue
            rest = bytes([code, 0]) if self.level == 5 and code else b""
            self.client.sendall(bytes([0x40, 2 + len(rest)]) + struct.pack("!H", mid) + rest)

    def disconnect(self, code: int) -> bool:
        """Tell the client why, and give it time to read that before it writes into a closed socket."""
        self.client.sendall(bytes([0xE0, 2, code, 0]))
        self.client.shutdown(socket.SHUT_WR)
        self.client.settimeout(30.0)
        while self.client.recv(65536):
            pass
        return False

    def next_packet(self) -> tuple[int, int, bytes] | None:
        """The next packet; None when nothing came for `ack_delay_s` and something waits for its answer."""
        while (packet := self.take_packet()) is None:
            self.client.settimeout(max(self.script.ack_delay_s, 0.001) if self.outstanding else None)
            try:
                data = self.client.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise EOFError
            self.buffer += data
        return packet

    def take_packet(self) -> tuple[int, int, bytes] | None:
        length, shift, at = 0, 0, 1
        while True:
            if len(self.buffer) <= at:
                return None
            length |= (self.buffer[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not self.buffer[at - 1] & 0x80:
                break
        if len(self.buffer) < at + length:
            return None
        first, body = self.buffer[0], self.buffer[at : at + length]
        self.buffer = self.buffer[at + length :]
        return first >> 4, first & 0x0F, body


def parse_connect(body: bytes) -> Connected:
    """Fields of a CONNECT."""
    _, rest = take_text(body)
    level, flags = rest[0], rest[1]
    rest = rest[4:]
    properties = b""
    if level == 5:
        properties, rest = skip_properties(rest)
    client_id, rest = take_text(rest)
    will_topic = will_body = username = password = None
    if flags & 0x04:
        if level == 5:
            rest = skip_properties(rest)[1]
        will_topic, rest = take_text(rest)
        will_text, rest = take_text(rest)
        will_body = will_text.encode()
    if flags & 0x80:
        username, rest = take_text(rest)
    if flags & 0x40:
        password, rest = take_text(rest)
    return Connected(level, client_id, username, password, will_topic, will_body, bool(flags & 0x20), properties)


def parse_publish(flags: int, body: bytes, level: int) -> tuple[Published, int]:
    """A message and its packet id (0 at QoS 0)."""
    qos = flags >> 1 & 3
    topic, rest = take_text(body)
    mid = 0
    if qos:
        (mid,) = struct.unpack("!H", rest[:2])
        rest = rest[2:]
    properties = b""
    if level == 5:
        properties, rest = skip_properties(rest)
    return Published(topic, rest, qos, bool(flags & 1), properties, time.monotonic()), mid


def take_text(data: bytes) -> tuple[str, bytes]:
    """A length-prefixed text and what follows it."""
    (length,) = struct.unpack("!H", data[:2])
    return data[2 : 2 + length].decode(), data[2 + length :]


def encode_text(text: str) -> bytes:
    """A text with its length before it."""
    return struct.pack("!H", len(text.encode())) + text.encode()


def encode_length(length: int) -> bytes:
    """A packet's length as a variable byte integer."""
    digits = bytearray()
    while not digits or length:
        digits.append(length % 128 | (0x80 if length >= 128 else 0))
        length //= 128
    return bytes(digits)


def skip_properties(data: bytes) -> tuple[bytes, bytes]:
    """The properties (shorter than 128 bytes) and what follows them."""
    return data[1 : 1 + data[0]], data[1 + data[0] :]
