"""What a configuration may say although it is unwise."""

from __future__ import annotations

from collections.abc import Iterator

from edged.config.models import Config
from edged.config.secret import Secret
from edged.config.source import AnySource, NetworkSourceConfig, SnapshotSourceConfig
from edged.errors import Mistake
from edged.sources.url import has_credentials
from edged.strict_yaml import KeyPath

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def find_warnings(config: Config) -> list[Mistake]:
    """Everything unwise, in the order of the file."""
    found = [*_broker(config), *_faces(config), *_maps(config), *_cameras(config), *_private_classes(config)]
    warnings = [config.mistake_at(code, path, message) for code, path, message in found]
    return sorted(warnings, key=lambda warning: warning.line or 0)


_Warning = tuple[str, KeyPath, str]


def _broker(config: Config) -> Iterator[_Warning]:
    mqtt = config.mqtt
    if mqtt is None:
        return
    yield from _secret(mqtt.password, ("mqtt", "password"))
    if mqtt.tls is not None and not mqtt.tls.verify:
        yield "config.insecure", ("mqtt", "tls", "verify"), "any machine can pose as the broker: leave verify out, or give ca"
    if mqtt.password is not None and mqtt.tls is None and mqtt.host not in _LOOPBACK:
        yield "config.insecure", ("mqtt", "password"), "travels readable through the network: give tls"
    has_name = mqtt.username is not None or (mqtt.tls is not None and mqtt.tls.certificate is not None)
    if config.commands.enabled and not has_name and mqtt.host not in _LOOPBACK:
        message = "the broker asks us for no name, so it asks nobody: whoever reaches it may command; see docs/commands.md"
        yield "config.insecure", ("commands", "enabled"), message


def _faces(config: Config) -> Iterator[_Warning]:
    faces = config.faces
    if not faces.enabled:
        return
    if faces.liveness is None:
        yield "config.insecure", ("faces", "liveness"), "a photograph that is held up is taken for the person on it"
    if not any(camera.enabled and camera.faces for camera in config.cameras.values()):
        yield "config.idle", ("faces", "enabled"), "no camera that is enabled has faces: true"


def _maps(config: Config) -> Iterator[_Warning]:
    is_enabled = config.segmentation.enabled
    is_used = any(camera.enabled and camera.segmentation for camera in config.cameras.values())
    if is_enabled and not is_used:
        yield "config.idle", ("segmentation", "enabled"), "no camera that is enabled has segmentation: true"
        return
    for name, camera in config.cameras.items():
        if is_enabled and camera.segmentation:
            continue
        for zone_name, zone in camera.zones.items():
            for key, rules in (("blocked", zone.blocked), ("covered_by", zone.covered_by)):
                if rules:
                    yield (
                        "config.idle",
                        ("cameras", name, "zones", zone_name, key),
                        f"does nothing without maps: {_how_to_map(config)}",
                    )


def _how_to_map(config: Config) -> str:
    """What a camera lacks of which no maps are made."""
    return "set its segmentation: true" if config.segmentation.enabled else "set segmentation.enabled: true"


def _private_classes(config: Config) -> Iterator[_Warning]:
    """Cameras of whose pictures more is hidden than somebody may have meant."""
    pace_s = config.segmentation.every_s
    for name, camera in config.cameras.items():
        privacy = camera.privacy
        if not camera.enabled or (privacy.hide is None and privacy.show is None):
            continue
        path = ("cameras", name, "privacy", "hide" if privacy.hide is not None else "show")
        if not (config.segmentation.enabled and camera.segmentation):
            yield "config.idle", path, f"no maps are made of its pictures, so everything is hidden: {_how_to_map(config)}"
        elif pace_s > privacy.map_age_s:
            message = (
                f"maps come every {pace_s:g} s and count for {privacy.map_age_s:g} s (map_age_s): in between everything is hidden"
            )
            yield "config.idle", path, message


def _cameras(config: Config) -> Iterator[_Warning]:
    if not any(camera.enabled for camera in config.cameras.values()):
        yield "config.idle", ("cameras",), "no camera is enabled"
    for name, camera in config.cameras.items():
        yield from _source(camera.source, ("cameras", name, "source"))
        if camera.detect_source is not None:
            yield from _source(camera.detect_source, ("cameras", name, "detect_source"))


def _source(source: AnySource, path: KeyPath) -> Iterator[_Warning]:
    if not isinstance(source, NetworkSourceConfig | SnapshotSourceConfig):
        return
    yield from _secret(source.password, path)
    if not source.tls.verify:
        yield "config.insecure", (*path, "tls", "verify"), "any machine can pose as the camera: leave verify out, or give ca"
    if has_credentials(source.url):
        yield "config.insecure", path, "the URL seems to hold a token: it is never shown, but it stands in this file"


def _secret(secret: Secret | None, path: KeyPath) -> Iterator[_Warning]:
    if secret is not None and secret.warning is not None:
        yield "config.secret", path, secret.warning
