"""One connection to a broker through paho; the only file that knows paho.

We own the socket's waiting, the window and the reconnection, because paho 2.2.0 (as 2.1.0 before it):
after a reconnect sends its whole queue at once, past its own limit and past the broker's Receive Maximum; reports a
refused message as published everywhere but in `on_publish`; and leaves its thread for ever when a callback raises.
So: no thread of paho's, one client for one connection, callbacks that only note what came.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from edged.errors import SinkError
from edged.sinks.base import Received
from edged.sinks.mqtt_settings import MqttProtocol, MqttSettings, MqttTls

if TYPE_CHECKING:
    from types import TracebackType

    from paho.mqtt.client import Client
    from paho.mqtt.properties import Properties

logger = logging.getLogger(__name__)

_AUTH_CODES = frozenset({0x86, 0x87, 0x8A, 0x8C})  # bad password, not authorised, banned, bad method
_VERSION_CODE = 0x84
_TAKEN_OVER_CODE = 0x8E
_RATE_CODES = frozenset({0x93, 0x96})  # receive maximum exceeded, message rate too high
_KEEPALIVE_CODE = 0x8D
_REFUSED_FROM = 0x80
_LOOK_S = 0.25
_CERTIFICATE_TIME_CODES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_CERTIFICATE_HOST_CODES = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


class MqttCause(str, Enum):
    """Why there is no connection; published in status and metrics."""

    NOBODY = "nobody"  # the machine answers, nothing listens on the port
    UNRESOLVED = "unresolved"  # the host name has no address
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"  # no TCP connection, or no end of the TLS handshake, in time
    SILENT = "silent"  # connected, but the broker does not answer CONNECT
    CERTIFICATE_TIME = "certificate_time"  # expired or not yet valid: as often our clock as the certificate
    CERTIFICATE_HOST = "certificate_host"  # made out to another name
    CERTIFICATE = "certificate"
    TLS = "tls"
    VERSION = "version"  # the broker does not speak our version of MQTT
    AUTH = "auth"
    REJECTED = "rejected"  # any other refusal of CONNECT
    CLOSED = "closed"
    KEEPALIVE = "keepalive"  # the broker fell silent
    UNANSWERED = "unanswered"  # the broker answers pings, but acknowledges nothing
    TAKEN_OVER = "taken_over"  # another client uses our client id
    RATE = "rate"  # we sent more at once than the broker wants
    PROTOCOL = "protocol"


_FALLBACK_CAUSES = frozenset({MqttCause.VERSION, MqttCause.CLOSED, MqttCause.SILENT})


class MqttError(SinkError):
    """There is no connection, or none any more.

    Attributes:
        cause: which of the known reasons it was.
    """

    def __init__(self, cause: MqttCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when we vanish without a goodbye."""

    topic: str
    body: bytes


def open_connection(
    settings: MqttSettings,
    *,
    will: Will | None = None,
    most_received_bytes: int | None = None,
    timeout_s: float | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> MqttConnection:
    """Connect; with `protocol: auto` MQTT 5 first, then 3.1.1 if the broker refuses 5.

    Brokers that do not know 5 refuse with a code, close the connection or (amqtt) never answer. The next connection
    starts with 5 again: a broker that was just being restarted must not pin us to 3.1.1.

    Args:
        most_received_bytes: a broker of MQTT 5 hands on no longer message than this; None: whatever comes.
        timeout_s: instead of the settings' `connect_timeout_s`.
        is_wanted: asked while waiting for the broker's answer; False ends the wait.

    Raises:
        MqttError: no connection.
    """
    timeout_s = settings.connect_timeout_s if timeout_s is None else timeout_s
    first = MqttProtocol.V5 if settings.protocol is MqttProtocol.AUTO else settings.protocol
    try:
        return MqttConnection(settings, first, will, most_received_bytes).open(timeout_s, is_wanted)
    except MqttError as error:
        if settings.protocol is not MqttProtocol.AUTO or error.cause not in _FALLBACK_CAUSES or not is_wanted():
            raise
        logger.debug("mqtt 5 refused, trying 3.1.1: broker=%s reason=%s", settings.broker, error)
    return MqttConnection(settings, MqttProtocol.V3, will, most_received_bytes).open(timeout_s, is_wanted)


def make_tls_context(tls: MqttTls) -> ssl.SSLContext:
    """A context that verifies the broker, host name included, unless `verify` is off.

    Raises:
        MqttError: a file cannot be read or is not what it should be; the message names it.
    """
    place = f"ca {tls.ca}"
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.certificate:
            place = f"certificate {tls.certificate} with key {tls.key or tls.certificate}"
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise MqttError(MqttCause.TLS, f"mqtt tls: cannot use {place}: {error}; expected PEM files we may read") from error
    context.sslsocket_class = _ClosingSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class MqttConnection:
    """One connection from CONNECT to its end; used by one thread, never used again once it is lost.

    Attributes:
        protocol: the version spoken.
        lost: why the connection ended; None while it stands.
        refused_subscription: what the broker said to a subscription that may be refused; None: nothing bad.
        n_subscribed: subscriptions that the broker has taken.
        receive_maximum: messages that the broker takes un-acknowledged.
        maximum_packet_bytes: largest packet that the broker takes; None for no limit.
    """

    def __init__(
        self, settings: MqttSettings, protocol: MqttProtocol, will: Will | None, most_received_bytes: int | None
    ) -> None:
        self.protocol = protocol
        self.lost: MqttError | None = None
        self.refused_subscription: str | None = None
        self.n_subscribed = 0
        self.receive_maximum = 65535
        self.maximum_packet_bytes: int | None = None
        self._settings = settings
        self._will = will
        self._most_received_bytes = most_received_bytes
        self._optional: set[int] = set()  # packet ids of subscriptions that may be refused
        self._qos_limit = 2
        self._can_retain = True
        self._is_accepted = False
        self._complaints = _Complaints()
        self._acks: list[tuple[int, int]] = []
        self._received: list[Received] = []
        self._properties: dict[str, Properties] = {}  # of messages that answer nothing, by content type
        self._client = self._make_client()

    def __enter__(self) -> MqttConnection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.abandon()

    def open(self, timeout_s: float, is_wanted: Callable[[], bool] = lambda: True) -> MqttConnection:
        """Connect and wait for the broker's yes, `timeout_s` for each step of it, no longer than `is_wanted`.

        Raises:
            MqttError: refused or failed; the connection is closed.
        """
        settings = self._settings
        try:
            if settings.tls:
                self._client.tls_set_context(make_tls_context(settings.tls))
            self._client.connect_timeout = timeout_s
            self._client.connect(settings.host, settings.port, settings.keepalive_s, properties=self._connect_properties())
            self._set_socket_options()
        except MqttError:
            raise
        except Exception as error:  # border to paho and the resolver: sockets, TLS, malformed host names
            self.abandon()
            raise _connect_error(error, settings) from error
        deadline_s = time.monotonic() + timeout_s
        while not self._is_accepted and not self.lost:
            rest_s = deadline_s - time.monotonic()
            if rest_s > 0 and is_wanted():
                self.turn(min(rest_s, _LOOK_S))
            else:
                self._lose(MqttCause.SILENT, f"no answer to CONNECT from {settings.broker} within {timeout_s:g} s")
        if self.lost:
            self.abandon()
            raise self.lost
        return self

    def publish(
        self,
        topic: str,
        body: bytes,
        *,
        qos: int,
        retain: bool,
        content_type: str | None = None,
        correlation: bytes | None = None,
    ) -> int:
        """Send a message now and return its packet id, which `take_acks` will name.

        Args:
            correlation: of the message that this one answers; only MQTT 5 can say so.

        Raises:
            ValueError: the topic cannot be published to.
        """
        properties = self._properties_for(content_type, correlation)
        try:
            return self._client.publish(topic, body, min(qos, self._qos_limit), retain and self._can_retain, properties).mid
        except ValueError:
            raise
        except Exception as error:  # border to paho
            self._lose(MqttCause.PROTOCOL, f"paho failed: {type(error).__name__}: {error}")
            return 0

    def packet_bytes(self, topic: str, body: bytes, *, content_type: str | None = None, correlation: bytes | None = None) -> int:
        """Size of the packet that `publish` would send, rounded up by at most 5 bytes."""
        properties = self._properties_for(content_type, correlation)
        return 5 + 2 + len(topic.encode()) + 2 + (len(properties.pack()) if properties else 1) + len(body)

    def subscribe(self, topic_filter: str, *, qos: int) -> None:
        """Ask for messages, kept ones too; a refusal ends the connection."""
        self._client.subscribe(topic_filter, qos)

    def subscribe_to_new(self, topic_filter: str, *, qos: int) -> None:
        """Ask for messages from now on; a refusal is noted in `refused_subscription`.

        With MQTT 5 the broker hands no kept message over and says of each whether its sender wants it kept. With 3.1.1 it
        hands the kept ones over, marked as retained.
        """
        if self.protocol is MqttProtocol.V5:
            from paho.mqtt.subscribeoptions import SubscribeOptions

            never = SubscribeOptions.RETAIN_DO_NOT_SEND
            options = SubscribeOptions(qos=qos, retainAsPublished=True, retainHandling=never)
            _, mid = self._client.subscribe(topic_filter, options=options)
        else:
            _, mid = self._client.subscribe(topic_filter, qos)
        if mid is not None:  # None: the connection was just lost
            self._optional.add(mid)

    def take_acks(self) -> list[tuple[int, int]]:
        """(packet id, reason code) of every message answered since the last call; under 0x80 means taken."""
        acks, self._acks = self._acks, []
        return acks

    def take_received(self) -> list[Received]:
        """Messages that arrived since the last call."""
        received, self._received = self._received, []
        return received

    def turn(self, timeout_s: float, *, wake: socket.socket | None = None) -> None:
        """Wait until the network or `wake` has something, at most `timeout_s`, and handle the network's part."""
        sock: Any = self._client.socket()
        if sock is None:
            self._lose(MqttCause.CLOSED, f"connection to {self._settings.broker} lost")
            return
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        if wake is not None:
            poll.register(wake, select.POLLIN)
        has_answers = bool(self._acks or self._received or _decrypted_bytes(sock))
        ready = dict(poll.poll(0 if has_answers else max(0.0, timeout_s) * 1000))
        events = ready.get(sock.fileno(), 0)
        try:
            if events & ~select.POLLOUT or _decrypted_bytes(sock):
                self._read(sock)
                _confirm_at_once(sock)
            if events & select.POLLOUT and self._client.socket() is not None:
                self._client.loop_write()
            self._client.loop_misc()
        except Exception as error:  # border to paho: what a broken broker can make it raise is not documented
            self._lose(MqttCause.PROTOCOL, f"paho failed: {type(error).__name__}: {error}")

    def close(self, timeout_s: float) -> None:
        """Say goodbye, so that the broker does not publish the will, and close."""
        self._client.disconnect()
        deadline_s = time.monotonic() + timeout_s
        while not self.lost and time.monotonic() < deadline_s:
            self.turn(deadline_s - time.monotonic())
        self.abandon()

    def abandon(self) -> None:
        """Close the socket without a goodbye: the broker publishes the will."""
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _make_client(self) -> Client:
        from paho.mqtt import client as paho

        settings = self._settings
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=settings.wire_client_id,
            protocol=paho.MQTTv5 if self.protocol is MqttProtocol.V5 else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.suppress_exceptions = True
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.enable_logger(self._complaints.logger)
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if self._will:
            client.will_set(self._will.topic, self._will.body, qos=1, retain=True)
        return client

    def _set_socket_options(self) -> None:
        sock = self._client.socket()
        if sock is None:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Nagle would hold an event back for 40 ms
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000 * self._settings.keepalive_s)

    def _read(self, sock: Any) -> None:
        self._client.loop_read()
        while self._client.socket() is not None and _decrypted_bytes(sock):
            self._client.loop_read()  # bytes inside the TLS layer do not wake poll

    def _connect_properties(self) -> Properties | None:
        if self.protocol is not MqttProtocol.V5 or self._most_received_bytes is None:
            return None
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = self._most_received_bytes
        return properties

    def _properties_for(self, content_type: str | None, correlation: bytes | None) -> Properties | None:
        if self.protocol is not MqttProtocol.V5 or content_type is None:
            return None
        if correlation is not None:
            properties = _publish_properties(content_type)
            properties.CorrelationData = correlation
            return properties
        if content_type not in self._properties:
            self._properties[content_type] = _publish_properties(content_type)
        return self._properties[content_type]

    def _lose(self, cause: MqttCause, message: str) -> None:
        if self.lost is None:
            self.lost = MqttError(cause, message)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        broker = self._settings.broker
        if reason.value == 0:
            self.receive_maximum = getattr(properties, "ReceiveMaximum", 65535)
            self.maximum_packet_bytes = getattr(properties, "MaximumPacketSize", None)
            self._qos_limit = getattr(properties, "MaximumQoS", 2)
            self._can_retain = getattr(properties, "RetainAvailable", 1) == 1
            self._is_accepted = True
        elif reason.value == _VERSION_CODE:
            self._lose(MqttCause.VERSION, f"{broker} does not speak MQTT {self.protocol.value}")
        elif reason.value in _AUTH_CODES:
            self._lose(MqttCause.AUTH, f"{broker} refused us: {reason}; check username, password and certificate")
        else:
            self._lose(MqttCause.REJECTED, f"{broker} refused the connection: {reason}")

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        broker = self._settings.broker
        told = getattr(properties, "ReasonString", None) or str(reason)
        if not flags.is_disconnect_packet_from_server:
            if reason.value == _KEEPALIVE_CODE:
                self._lose(MqttCause.KEEPALIVE, f"{broker} fell silent for more than {self._settings.keepalive_s} s")
            elif self._is_accepted:
                self._lose(MqttCause.CLOSED, f"connection to {broker} lost{self._complaints.newest}")
            else:
                self._lose(*self._closed_before_answer())
        elif reason.value == _TAKEN_OVER_CODE:
            self._lose(
                MqttCause.TAKEN_OVER,
                f"another client with id {self._settings.wire_client_id} is at {broker}; give each device its own name",
            )
        elif reason.value in _RATE_CODES:
            self._lose(MqttCause.RATE, f"{broker} ended the connection: {told}")
        elif reason.value in _AUTH_CODES:
            self._lose(MqttCause.AUTH, f"{broker} ended the connection: {told}")
        else:
            self._lose(MqttCause.CLOSED, f"{broker} ended the connection: {told}")

    def _closed_before_answer(self) -> tuple[MqttCause, str]:
        broker = self._settings.broker
        if "SSL" in self._complaints.newest:
            return MqttCause.TLS, f"{broker} ended the TLS connection{self._complaints.newest}; does it ask for a certificate?"
        hint = _closing_hint(self._settings)
        return MqttCause.CLOSED, f"{broker} closed the connection on MQTT {self.protocol.value} CONNECT{hint}"

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._acks.append((mid, reason.value))

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        refused = ", ".join(str(reason) for reason in reasons if reason.value >= _REFUSED_FROM)
        if refused and mid in self._optional:
            self.refused_subscription = refused
        elif refused:
            self._lose(MqttCause.AUTH, f"{self._settings.broker} refused the subscription: {refused}")
        else:
            self.n_subscribed += 1

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        properties = message.properties
        received = Received(
            message.topic,
            bytes(message.payload),
            message.retain,
            answer_topic=getattr(properties, "ResponseTopic", None),
            correlation=getattr(properties, "CorrelationData", None),
        )
        self._received.append(received)


class _Complaints(logging.Handler):
    """What paho logs as an error, the only place that says why a socket failed; the rest is not even put into words.

    Attributes:
        logger: for paho.
        newest: after a colon, or nothing.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.newest = ""
        self.logger = logging.Logger("paho", logging.ERROR)
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.newest = f": {record.getMessage()}"


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho 2.2.0 forgets that socket open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:  # an interruption would leave it open just the same; it goes on up
            self.close()
            raise


def _publish_properties(content_type: str) -> Properties:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.PUBLISH)
    properties.PayloadFormatIndicator = 1  # UTF-8
    properties.ContentType = content_type
    return properties


def _closing_hint(settings: MqttSettings) -> str:
    """What a broker may want that closes without a word. TLS has words for it, but the closing often overtakes them."""
    if settings.tls is None:
        return "; does it expect TLS on this port?"
    return "" if settings.tls.certificate else "; does it ask for a certificate (tls.certificate and tls.key)?"


def _confirm_at_once(sock: Any) -> None:
    """Tell the broker now that its bytes arrived: Mosquitto sends a second answer only then, and Linux takes 40 ms over it.

    Linux forgets the wish, so it is made after every reading. Elsewhere there is no such wish.
    """
    if hasattr(socket, "TCP_QUICKACK") and sock.fileno() >= 0:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _decrypted_bytes(sock: Any) -> int:
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0


def _connect_error(error: Exception, settings: MqttSettings) -> MqttError:
    broker = settings.broker
    cause, text = MqttCause.PROTOCOL, f"cannot connect to {broker}: {type(error).__name__}: {error}"
    match error:
        case ssl.SSLCertVerificationError(verify_code=code) if code in _CERTIFICATE_TIME_CODES:
            cause = MqttCause.CERTIFICATE_TIME
            text = f"certificate of {broker}: {error.verify_message}; check the certificate and this machine's clock"
        case ssl.SSLCertVerificationError(verify_code=code) if code in _CERTIFICATE_HOST_CODES:
            cause, text = MqttCause.CERTIFICATE_HOST, f"certificate of {broker}: {error.verify_message}"
        case ssl.SSLCertVerificationError():
            cause = MqttCause.CERTIFICATE
            text = f"certificate of {broker} not trusted: {error.verify_message}; check mqtt.tls.ca"
        case ssl.SSLError():
            cause, text = MqttCause.TLS, f"TLS with {broker} failed: {error}; is TLS expected on this port?"
        case socket.gaierror():
            cause, text = MqttCause.UNRESOLVED, f"host {settings.host} has no address: {error.strerror}"
        case ConnectionRefusedError():
            cause, text = MqttCause.NOBODY, f"nothing listens on {broker}"
        case TimeoutError():
            cause, text = MqttCause.TIMEOUT, f"no answer from {broker} in time"
        case ConnectionError():
            cause, text = MqttCause.CLOSED, f"{broker} closed the connection: {error}{_closing_hint(settings)}"
        case OSError():
            cause, text = MqttCause.UNREACHABLE, f"cannot reach {broker}: {error}"
    return MqttError(cause, text)
