"""How to reach a broker and what to call ourselves there: plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class MqttProtocol(str, Enum):
    """The version of MQTT to speak."""

    AUTO = "auto"  # 5, and 3.1.1 where the broker refuses 5
    V5 = "5"
    V3 = "3.1.1"


@dataclass(frozen=True, slots=True)
class MqttTls:
    """Encryption, and who proves what to whom. The files are read anew at every connection, so that they can be renewed.

    Attributes:
        ca: certificates that may sign the broker's; None for the system's own.
        certificate, key: what we prove ourselves with (mutual TLS); None where the broker does not ask.
        verify: False accepts any broker: for trying things out only.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """One broker and our place in it.

    Attributes:
        host, port: of the broker.
        device: name of this machine; with `prefix` it heads every topic.
        protocol: version to speak.
        username, password: None where the broker does not ask.
        tls: None for plain TCP.
        prefix: head of every topic, no slash at either end.
        client_id: None for `<prefix>-<device>`; two clients with one id throw each other out.
        qos_event, qos_state: 0 (sent once, may be lost) or 1 (sent until acknowledged).
        keepalive_s: whole seconds between signs of life; a dead broker is noticed within twice of it.
        connect_timeout_s: for each of: TCP connection, TLS handshake, answer to CONNECT.
        queue_limit: events kept in memory while the broker is away or slow; then the oldest goes, counted.
    """

    host: str
    device: str
    port: int = 1883
    protocol: MqttProtocol = MqttProtocol.AUTO
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: MqttTls | None = None
    prefix: str = "edged"
    client_id: str | None = None
    qos_event: int = 1
    qos_state: int = 1
    keepalive_s: int = 15
    connect_timeout_s: float = 5.0
    queue_limit: int = 2000

    def __post_init__(self) -> None:
        if not self.host or not self.device or not self.prefix:
            raise ValueError("host, device and prefix must not be empty")
        if self.qos_event not in (0, 1) or self.qos_state not in (0, 1):
            raise ValueError(f"qos must be 0 or 1, got event={self.qos_event} state={self.qos_state}")
        if self.queue_limit < 1 or self.keepalive_s < 1:
            raise ValueError(f"queue_limit and keepalive_s must be at least 1, got {self.queue_limit} and {self.keepalive_s}")

    @property
    def topic_head(self) -> str:
        """What every topic of this device starts with, slash included."""
        return f"{self.prefix}/{self.device}/"

    @property
    def broker(self) -> str:
        """The broker's address for people."""
        return f"{self.host}:{self.port}"

    @property
    def wire_client_id(self) -> str:
        """The client id that goes to the broker."""
        return self.client_id or f"{self.prefix}-{self.device}".replace("/", "-")
