"""The keys about the broker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, ValidationInfo, field_validator
from pydantic_core import CoreSchema

from edged.config.context import mistake
from edged.config.secret import SecretKey
from edged.config.values import (
    Flag,
    ReadableFile,
    Section,
    Text,
    Whole,
    default_of,
    setting,
)
from edged.sinks.mqtt_settings import MqttSettings

TLS_PORT = 8883


def _check_prefix(prefix: str) -> str:
    if len(prefix) > 128 or not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+){0,7}", prefix):
        raise mistake("config.id", "expected words of A-Z a-z 0-9 _ - with single slashes between, at most 128 characters")
    return prefix


def _check_client_id(client_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", client_id):
        raise mistake("config.id", "expected 1 to 128 of the characters A-Z a-z 0-9 _ . : -")
    return client_id


def _protocol_as_text(value: Any) -> Any:
    return "5" if type(value) is int and value == 5 else value


class _OrNumber5:
    """Tells editors that an unquoted 5 will do as well."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        return {**schema, "enum": [*schema["enum"], 5]}


class TlsConfig(Section):
    """Encryption to the broker. `tls: {}` is enough where the broker's certificate is signed by a known authority."""

    ca: ReadableFile | None = setting(None, "Certificates that may sign the broker's; the system's own if left out.")
    certificate: ReadableFile | None = setting(None, "Certificate to prove ourselves with, where the broker asks for one.")
    key: ReadableFile | None = setting(None, "Private key of that certificate.", validate_default=True)
    verify: Flag = setting(True, "Check the broker's certificate; false accepts any, for trying things out only.")

    @field_validator("key")
    @classmethod
    def _comes_with_certificate(cls, private_key: Path | None, info: ValidationInfo) -> Path | None:
        if "certificate" in info.data and (private_key is None) != (info.data["certificate"] is None):
            raise mistake("config.missing_key", "certificate and key are given both or neither")
        return private_key


class QosConfig(Section):
    """How surely messages arrive: 0 sent once, 1 sent until the broker acknowledges."""

    event: Whole = setting(default_of(MqttSettings, "qos_event"), "For events.", unit="level", ge=0, le=1)
    state: Whole = setting(default_of(MqttSettings, "qos_state"), "For states and counters.", unit="level", ge=0, le=1)


class MqttConfig(Section):
    """The broker that gets the events."""

    host: Text = setting("127.0.0.1", "Name or address of the broker.")
    tls: TlsConfig | None = setting(None, "Encryption; none if left out, and then passwords travel readable.")
    port: Whole = setting(None, "Its port; 1883 if left out, 8883 with tls.", unit="port", ge=1, le=65_535, validate_default=True)
    protocol: Annotated[Literal["auto", "5", "3.1.1"], BeforeValidator(_protocol_as_text), _OrNumber5()] = setting(
        "auto", "Version of MQTT; auto tries 5 and falls back to 3.1.1 where the broker refuses it."
    )
    username: Text | None = setting(None, "User name that the broker asks for.")
    password: SecretKey | None = setting(None, "Password that the broker asks for: {file: …}, {env: …} or {credential: …}.")
    prefix: Annotated[str, AfterValidator(_check_prefix)] = setting(
        default_of(MqttSettings, "prefix"), "Head of every topic, without slash at its ends."
    )
    client_id: Annotated[str, AfterValidator(_check_client_id)] | None = setting(
        None, "Our id at the broker, <prefix>-<device> if left out; two clients with one id throw each other out."
    )
    qos: QosConfig = setting(QosConfig, "How surely messages arrive.")
    keepalive_s: Whole = setting(default_of(MqttSettings, "keepalive_s"), "Between signs of life.", unit="s", ge=5, le=3600)
    queue_limit: Whole = setting(
        default_of(MqttSettings, "queue_limit"),
        "Events kept in memory while the broker is away; then the oldest goes, and is counted.",
        unit="count",
        ge=1,
        le=100_000,
    )

    @field_validator("host")
    @classmethod
    def _is_bare_host(cls, host: str) -> str:
        if re.search(r"[/@\s]", host):
            message = "expected a bare host name or address; port, username, password and tls have keys of their own"
            raise mistake("config.host", message)
        return host

    @field_validator("port", mode="before")
    @classmethod
    def _default_port(cls, port: Any, info: ValidationInfo) -> Any:
        if port is None:
            return default_of(MqttSettings, "port") if info.data.get("tls") is None else TLS_PORT
        return port

    @field_validator("password")
    @classmethod
    def _needs_username(cls, password: Any, info: ValidationInfo) -> Any:
        if password is not None and "username" in info.data and info.data["username"] is None:
            raise mistake("config.missing_key", "a password needs a username")
        return password
