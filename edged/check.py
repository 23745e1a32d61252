"""`edged check`: what is wrong with a configuration, all at once, before anything runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.assembly import find_manifest, parse_overrides
from edged.config import Config, find_gallery_key, load_config
from edged.config.computing import ComputingConfig
from edged.config.source import FolderSourceConfig, source_path
from edged.engine_opening import find_usable_engine
from edged.errors import EXIT_CONFIG, ConfigError, DeviceMissingError, EngineMissingError, Mistake, ModelError
from edged.face_assembly import FaceEngines, find_face_engines, make_decision_settings
from edged.identity.gallery import GALLERY_NAME
from edged.map_assembly import find_segmenter, watches_views
from edged.models.manifest import DetectorManifest, SegmenterManifest
from edged.sources.url import redact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged check`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the configuration")
    help_text = "replace one value of the file, e.g. mqtt.port=1884; can be given again and again"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=help_text)
    parser.add_argument(
        "--skip-secrets", action="store_true", help="do not read passwords: for configurations of another machine"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a summary and warnings, or every mistake."""
    try:
        overrides = parse_overrides(arguments.set)
        config = load_config(arguments.file, overrides=overrides, reads_secrets=not arguments.skip_secrets)
        surroundings = check_surroundings(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{arguments.file}: ok")
    fallbacks = {
        "detector": surroundings.fallback,
        "faces": surroundings.faces_fallback,
        "segmentation": surroundings.maps_fallback,
    }
    for section, reason in fallbacks.items():
        if reason:
            print(f"warning: {section}.backend: the processor would compute: {reason}", file=sys.stderr)
    for line in _summary(config, surroundings):
        print(f"  {line}")
    return 0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a configuration names, found.

    Attributes:
        fallback: why the processor would compute though TensorRT should; None where it is as configured.
        faces: the networks for faces; None where they are not enabled.
        faces_fallback: the same of these.
        segmenter: None where no maps are made.
        maps_fallback: the same of this.
    """

    manifest: DetectorManifest
    fallback: str | None = None
    faces: FaceEngines | None = None
    faces_fallback: str | None = None
    segmenter: SegmenterManifest | None = None
    maps_fallback: str | None = None


def check_surroundings(config: Config) -> Surroundings:
    """What the configuration names.

    Raises:
        ConfigError: an engine, a class or a recording is not there, or TensorRT could not compute and nothing else may.
    """
    mistakes = list(_missing_recordings(config))
    fallback = faces = faces_fallback = segmenter = maps_fallback = None
    try:
        directory, manifest = find_manifest(config)
        fallback = _find_fallback(config, "detector", config.detector, [directory])
    except ConfigError as error:
        mistakes += error.mistakes
    try:
        if config.faces.enabled:
            faces = find_face_engines(config)
            directories = [directory for directory, _ in faces.networks]
            faces_fallback = _find_fallback(config, "faces", config.faces, directories)
    except ConfigError as error:
        mistakes += error.mistakes
    try:
        if config.segmentation.enabled:
            directory, segmenter = find_segmenter(config)
            maps_fallback = _find_fallback(config, "segmentation", config.segmentation, [directory])
    except ConfigError as error:
        mistakes += error.mistakes
    if mistakes:
        raise ConfigError(config.source, sorted(mistakes, key=lambda found: found.line or 0))
    return Surroundings(manifest, fallback, faces, faces_fallback, segmenter, maps_fallback)


def _find_fallback(config: Config, section: str, settings: ComputingConfig, directories: Sequence[Path]) -> str | None:
    """Why the processor would compute some of a section's networks though TensorRT should.

    Raises:
        ConfigError: TensorRT could not compute one, and nothing else may.
    """
    if settings.backend == "cpu":
        return None
    reasons, mistakes = [], []
    for directory in directories:
        try:
            find_usable_engine(directory, settings, state_dir=config.state_dir)
        except ModelError as error:
            if settings.fallback == "cpu" and isinstance(error, DeviceMissingError | EngineMissingError):
                reasons.append(str(error))
            else:
                mistakes.append(config.mistake_at("config.backend", (section, "backend"), str(error)))
    if mistakes:
        raise ConfigError(config.source, list(dict.fromkeys(mistakes)))
    return "; ".join(dict.fromkeys(reasons)) or None


def _missing_recordings(config: Config) -> Iterator[Mistake]:
    for name, camera in config.cameras.items():
        for role, source in (("source", camera.source), ("detect_source", camera.detect_source)):
            path = source_path(source) if source else None
            if path is None:
                continue
            is_folder = isinstance(source, FolderSourceConfig)
            if not (path.is_dir() if is_folder else path.is_file()):
                message = f"{path}: there is no such {'directory' if is_folder else 'file'}"
                yield config.mistake_at("config.file", ("cameras", name, role), message)


def _summary(config: Config, surroundings: Surroundings) -> Iterator[str]:
    manifest = surroundings.manifest
    yield f"device {config.device}, state in {config.state_dir}"
    size = f"{manifest.input.width}x{manifest.input.height}"
    yield f"engine {manifest.name} ({size}, {_describe_computing(config.detector)}): {', '.join(manifest.classes)}"
    yield f"  its licence, from its training data: {manifest.licence}"
    if surroundings.faces is not None:
        yield from _describe_faces(config, surroundings.faces)
    if surroundings.segmenter is not None:
        yield from _describe_maps(config, surroundings.segmenter)
    for name, camera in config.cameras.items():
        parts = [f"{len(camera.zones)} zones" if len(camera.zones) != 1 else "1 zone"]
        parts.append(f"{len(camera.lines)} lines" if len(camera.lines) != 1 else "1 line")
        parts.append(f"{camera.fps:g} fps" if camera.enabled else "not enabled")
        yield f"camera {name}: {_source_label(camera.source)}, {', '.join(parts)}"
    if config.mqtt is None:
        yield "no broker: events go to standard output"
    else:
        encryption = "TLS" if config.mqtt.tls else "not encrypted"
        yield f"broker {config.mqtt.host}:{config.mqtt.port}, {encryption}, topics {config.mqtt.prefix}/{config.device}/…"


def _describe_faces(config: Config, engines: FaceEngines) -> Iterator[str]:
    settings = make_decision_settings(config.faces, engines)
    networks = ", ".join(f"{manifest.name} ({manifest.licence})" for _, manifest in engines.networks)
    yield f"faces by {networks}: {_describe_computing(config.faces)}"
    if engines.liveness is None:
        yield "  liveness: nothing tells a living face from a picture of one"
    rate = "not measured" if settings.false_match_rate is None else f"{settings.false_match_rate:g}"
    yield f"  a match from {settings.threshold:g} on unless the gallery was calibrated, false-match rate {rate}"
    gallery, key = config.state_dir / GALLERY_NAME, find_gallery_key(config.state_dir).path
    there = "" if gallery.exists() else ", which is not there yet: nobody is known"
    yield f"  gallery {gallery}, key {key}{there}"


def _describe_maps(config: Config, manifest: SegmenterManifest) -> Iterator[str]:
    size = f"{manifest.input.width}x{manifest.input.height}"
    yield f"maps by {manifest.name} ({size}, {_describe_computing(config.segmentation)}): {', '.join(manifest.classes)}"
    yield f"  its licence, from its training data: {manifest.licence}"
    if not watches_views(config, manifest):
        yield "  no view is watched: too few of its classes stay where they are"


def _describe_computing(settings: ComputingConfig) -> str:
    return f"{settings.precision} on TensorRT" if settings.backend == "tensorrt" else settings.precision


def _source_label(source: object) -> str:
    """A source for people, without what may be secret."""
    path = source_path(source)
    place = redact(getattr(source, "url", "")) or path or getattr(source, "device", "")
    return f"{source.type} {place}".strip()
