"""From the configuration to the parts of the daemon and of a replay: which setting goes where."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.backends.base import Backend
from edged.backends.onnx import open_onnx_backend
from edged.clock import Clock
from edged.config import CameraConfig, Config, check_against_manifest
from edged.config.computing import ComputingConfig
from edged.config.models import OnTimeConfig
from edged.config.rules import ClassLimitsConfig
from edged.config.rules import SizeLimits as SizeLimitsConfig
from edged.config.source import (
    AnySource,
    CameraTlsConfig,
    FileSourceConfig,
    FolderSourceConfig,
    GstreamerSourceConfig,
    NetworkSourceConfig,
    SnapshotSourceConfig,
    V4l2SourceConfig,
)
from edged.errors import ConfigError, InferenceError, InputError, ModelError
from edged.events.event import ObjectFacts
from edged.models.detector import Detector, DetectorThresholds, SizeLimits, thresholds_of
from edged.models.face import FaceEncoder
from edged.models.liveness import Liveness
from edged.models.manifest import (
    DetectorManifest,
    EncoderManifest,
    LivenessManifest,
    Manifest,
    ManifestT,
    Precision,
    SegmenterManifest,
    find_engine,
    load_manifest,
)
from edged.models.network import Network
from edged.models.segmenter import Segmenter
from edged.pipeline import CameraPipeline, DetectionSettings, FrameResult, Mapped, MapRules
from edged.privacy import PrivacySettings, ScenePrivacy, is_known, make_public
from edged.rules.counters import CounterState
from edged.rules.engine import Rules
from edged.rules.settings import ClassLimits, CrowdSettings, LineSettings, ObjectSettings, RuleSettings, ZoneSettings
from edged.runtime.commands import Command, CommandRoom, CommandSettings
from edged.runtime.pacing import OnTime
from edged.runtime.recorder import Overlay
from edged.sinks.base import Sink
from edged.sinks.jsonl import JsonLinesSink
from edged.sinks.mqtt import MqttSink, RetryWait
from edged.sinks.mqtt_settings import MqttProtocol, MqttSettings, MqttTls
from edged.sources.base import FrameSource
from edged.sources.certificates import CameraTls
from edged.sources.folder import FolderSource
from edged.sources.gstreamer import GstreamerSource
from edged.sources.network import FileSource, NetworkSource, SnapshotSource
from edged.sources.street import StreetSource
from edged.sources.v4l2 import V4l2Source
from edged.tracking.tracker import Tracker, TrackerSettings
from edged.types import Frame, Track
from edged.vision.boxes import scaled
from edged.vision.draw import draw_overlay
from edged.vision.motion import MotionGate, MotionSettings
from edged.vision.redact import PublicPicture

NOTED_CLASSES, NOTED_SHARE = 3, 0.01
"""So many classes of a zone, from so large a share on, stand below its name in an overlay."""

LEAST_NOTED_AGE_S = 0.1
"""An overlay says how old its map is from here on."""

PERSON = "person"
"""The class of the detector whose objects have faces."""

_WEEKDAYS = {name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}


def parse_overrides(texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` arguments as values by dotted path.

    Raises:
        InputError: one has no `=`.
    """
    overrides = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise InputError(f"--set {text}: expected KEY=VALUE, e.g. --set mqtt.port=1884")
        overrides[path] = value
    return overrides


def find_manifest(config: Config) -> tuple[Path, DetectorManifest]:
    """The directory and the manifest of the engine that a configuration asks for.

    Raises:
        ConfigError: there is none, it cannot be used, or the configuration names classes that it does not know.
    """
    try:
        directory = find_engine(config.detector.engine, config_dir=config.directory, state_dir=config.state_dir)
        manifest = load_manifest(directory, precision=config.detector.named_precision, kind=DetectorManifest)
    except ModelError as error:
        raise ConfigError(config.source, [config.mistake_at("config.engine", ("detector", "engine"), str(error))]) from error
    mistakes = check_against_manifest(config, manifest.classes)
    try:
        check_precision(config.detector, manifest)
    except ModelError as error:
        mistakes = [config.mistake_at("config.precision", ("detector", "precision"), str(error)), *mistakes]
    if mistakes:
        raise ConfigError(config.source, mistakes)
    return directory, manifest


def check_precision(settings: ComputingConfig, manifest: Manifest) -> None:
    """See that a network can be computed as configured.

    Raises:
        ModelError: the engine lacks the precision, or it is nothing for what computes.
    """
    if settings.precision == "fp16" and settings.backend == "cpu":
        raise ModelError("a processor gains nothing by fp16: choose fp32, or int8, or backend: tensorrt [model.precision]")
    if settings.precision == "auto" and settings.backend == "tensorrt":
        raise ModelError("auto is measured on processors only: choose fp32, fp16 or int8 for TensorRT [model.precision]")
    manifest.network(settings.named_precision, symmetric=settings.backend == "tensorrt")


def open_detector(directory: Path, *, precision: Precision = "fp32", threads: int = 1) -> Detector:
    """The detector of an engine directory; see `open_network`."""
    return open_network(directory, precision=precision, threads=threads, kind=DetectorManifest)


def open_encoder(directory: Path, *, precision: Precision = "fp32", threads: int = 1) -> FaceEncoder:
    """The face encoder of an engine directory; see `open_network`."""
    return open_network(directory, precision=precision, threads=threads, kind=EncoderManifest)


def open_liveness(directory: Path, *, precision: Precision = "fp32", threads: int = 1) -> Liveness:
    """The liveness network of an engine directory; see `open_network`."""
    return open_network(directory, precision=precision, threads=threads, kind=LivenessManifest)


def open_segmenter(directory: Path, *, precision: Precision = "fp32", threads: int = 1) -> Segmenter:
    """The segmenter of an engine directory; see `open_network`."""
    return open_network(directory, precision=precision, threads=threads, kind=SegmenterManifest)


def open_network(
    directory: Path, *, precision: Precision = "fp32", threads: int = 1, kind: type[ManifestT] = Manifest
) -> Network[ManifestT]:
    """The network of an engine directory on the processor, warm. Used and closed by the thread that opens it.

    Args:
        kind: the form that its manifest must have; any if absent.

    Raises:
        ModelError: the manifest or the network cannot be used.
    """
    manifest = load_manifest(directory, precision=precision, kind=kind)
    backend = open_onnx_backend(directory / manifest.network(precision).file, threads=threads)
    try:
        network = make_network(manifest, backend)
        network.warm_up()
    except InferenceError as error:
        backend.close()
        raise ModelError(f"{directory}: the network fails on a grey picture: {error} [model.invalid]") from error
    except ModelError:
        backend.close()
        raise
    return network


def make_network(manifest: ManifestT, backend: Backend) -> Network[ManifestT]:
    """The detector, face encoder, liveness network or segmenter, by the form of its manifest, that a backend computes.

    Raises:
        ModelError: they do not belong together.
    """
    match manifest:
        case DetectorManifest():
            return Detector(manifest, backend)
        case EncoderManifest():
            return FaceEncoder(manifest, backend)
        case LivenessManifest():
            return Liveness(manifest, backend)
        case SegmenterManifest():
            return Segmenter(manifest, backend)
    raise ValueError(f"{manifest.name}: expected the manifest of a task, got {type(manifest).__name__}")


def make_source(settings: AnySource, *, timeout_s: float) -> FrameSource:
    """How to reach what a configuration names as a source."""
    match settings:
        case NetworkSourceConfig():
            return NetworkSource(
                settings.url,
                transport=settings.transport,
                username=settings.username,
                password=settings.password and settings.password.reveal(),
                tls=_make_camera_tls(settings.tls),
                timeout_s=timeout_s,
            )
        case SnapshotSourceConfig():
            return SnapshotSource(
                settings.url,
                interval_s=settings.interval_s,
                username=settings.username,
                password=settings.password and settings.password.reveal(),
                tls=_make_camera_tls(settings.tls),
                timeout_s=timeout_s,
            )
        case FileSourceConfig(path=path):
            return FileSource(path)
        case FolderSourceConfig(path=path, fps=fps):
            return FolderSource(path, fps=fps)
        case V4l2SourceConfig(device=device, width=width, height=height, fps=fps):
            return V4l2Source(device, width=width, height=height, fps=fps, timeout_s=timeout_s)
        case GstreamerSourceConfig(pipeline=pipeline, width=width, height=height, fps=fps):
            return GstreamerSource(pipeline, width=width, height=height, fps=fps, timeout_s=timeout_s)
        case _:
            return StreetSource(
                seed=settings.scene_seed,
                width=settings.width,
                height=settings.height,
                fps=settings.fps,
                seconds=settings.seconds,
            )


def _make_camera_tls(settings: CameraTlsConfig) -> CameraTls:
    return CameraTls(ca=settings.ca, host_name=settings.host_name, verify=settings.verify)


def make_schedule(camera: CameraConfig) -> tuple[OnTime, ...]:
    """When a camera is on."""
    return tuple(_make_on_time(entry) for entry in camera.schedule)


def make_pipeline(
    camera: CameraConfig,
    config: Config,
    manifest: DetectorManifest,
    *,
    counters: CounterState | None = None,
    map_rules: MapRules | None = None,
    reports_weak: bool = False,
) -> CameraPipeline:
    """Everything that one camera remembers from frame to frame.

    Args:
        counters: totals to go on from.
        map_rules: None where no maps are made of its pictures.
        reports_weak: detections that the tracker cannot use are suppressed and reported, too.
    """
    detection = make_detection_settings(camera, config, manifest)
    tracker = make_tracker(camera, detection.thresholds, manifest.classes)
    if not reports_weak:
        floor = max(detection.thresholds.floor, tracker.least_score)
        detection = replace(detection, thresholds=replace(detection.thresholds, floor=floor))
    motion = camera.motion
    gate = MotionGate(
        MotionSettings(
            threshold=motion.threshold,
            min_area_ratio=motion.min_area_ratio,
            recheck_s=motion.recheck_s,
            linger_s=motion.linger_s,
            ignore=motion.ignore,
        )
    )
    return CameraPipeline(
        gate=gate if motion.enabled else None,
        detection=detection,
        tracker=tracker,
        rules=Rules(make_rule_settings(camera), class_names=manifest.classes, counters=counters),
        map_rules=map_rules,
    )


def make_detection_settings(camera: CameraConfig, config: Config, manifest: DetectorManifest) -> DetectionSettings:
    """What one camera accepts from the detector: its own settings, else the detector's, else the manifest's.

    Sizes that limit nothing and overlaps that are no class's own are left out: every frame would pay for them.
    """
    shipped, site, own = thresholds_of(manifest), config.detector, camera.detect
    nms_iou = _first(own.nms_iou, site.nms_iou, shipped.nms_iou)
    scores, overlaps, sizes = {}, {}, {}
    for class_id, name in enumerate(manifest.classes):
        levels = (
            own.classes.get(name),
            own,
            site.classes.get(name),
            site,
        )
        scores[class_id] = _first(
            *(level.score for level in levels if level), shipped.score_by_class.get(class_id), shipped.score
        )
        overlap = _first(*(level.nms_iou for level in levels if level), shipped.nms_iou_by_class.get(class_id), shipped.nms_iou)
        if overlap != nms_iou:
            overlaps[class_id] = overlap
        limits = _make_size_limits(own.classes[name]) if name in own.classes else SizeLimits()
        if limits != SizeLimits():
            sizes[class_id] = limits
    return DetectionSettings(
        thresholds=DetectorThresholds(
            score=_first(own.score, site.score, shipped.score),
            nms_iou=nms_iou,
            score_by_class=scores,
            nms_iou_by_class=overlaps,
        ),
        sizes=sizes,
        ignore=own.ignore,
    )


def make_tracker(camera: CameraConfig, thresholds: DetectorThresholds, class_names: tuple[str, ...]) -> Tracker:
    """One camera's tracker; a detection is sure from the score on that counts as seen."""
    track, defaults = camera.track, TrackerSettings()
    settings = TrackerSettings(
        high_score=thresholds.score,
        class_high_scores={class_names[class_id]: score for class_id, score in thresholds.score_by_class.items()},
        confirm_s=track.confirm_s,
        lost_s=track.lost_s,
        gap_s=min(defaults.gap_s, track.lost_s / 2),
        stationary_s=track.stationary_s,
        stationary_lost_s=track.stationary_lost_s,
    )
    return Tracker(settings, class_names=class_names)


def make_rule_settings(camera: CameraConfig) -> RuleSettings:
    """One camera's zones, lines and objects."""
    return RuleSettings(
        zones=tuple(
            ZoneSettings(
                name=name,
                polygon_norm=zone.polygon,
                classes=_make_class_limits(zone.classes),
                anchor=zone.anchor,
                dwell_s=zone.dwell_s,
                dwell_repeat_s=zone.dwell_repeat_s,
                crowd=CrowdSettings(at=zone.crowd.at, for_s=zone.crowd.for_s) if zone.crowd else None,
                hysteresis_ratio=zone.hysteresis_ratio,
                settle_s=zone.settle_s,
            )
            for name, zone in camera.zones.items()
        ),
        lines=tuple(
            LineSettings(
                name=name,
                start_norm=line.from_,
                end_norm=line.to,
                classes=_make_class_limits(line.classes),
                anchor=line.anchor,
                hysteresis_ratio=line.hysteresis_ratio,
            )
            for name, line in camera.lines.items()
        ),
        objects=ObjectSettings(
            classes=_make_class_limits(camera.objects.classes),
            update_every_s=camera.objects.update_every_s,
            update_min_s=camera.objects.update_min_s,
        ),
    )


def make_sink(config: Config, *, backoff: RetryWait) -> Sink:
    """Where messages go: the broker, or standard output where none is configured."""
    settings = make_mqtt_settings(config)
    return JsonLinesSink(sys.stdout.buffer) if settings is None else MqttSink(settings, backoff=backoff)


def make_command_room(config: Config, commands: Sequence[Command], *, sink: MqttSink, clock: Clock) -> CommandRoom:
    """Where commands from the broker are done; the sink, not yet running, brings them and takes the answers."""
    room = CommandRoom(
        commands,
        device=config.device,
        topic_head=sink.topic_head,
        clock=clock,
        send=sink.publish,
        settings=CommandSettings(rate_per_s=config.commands.rate_per_s, queue_limit=config.commands.queue_limit),
    )
    sink.listen(room.subscription)
    return room


def make_mqtt_settings(config: Config) -> MqttSettings | None:
    """The broker and our place in it; None where no broker is configured."""
    mqtt = config.mqtt
    if mqtt is None:
        return None
    tls = mqtt.tls and MqttTls(ca=mqtt.tls.ca, certificate=mqtt.tls.certificate, key=mqtt.tls.key, verify=mqtt.tls.verify)
    return MqttSettings(
        host=mqtt.host,
        port=mqtt.port,
        device=config.device,
        protocol=MqttProtocol(mqtt.protocol),
        username=mqtt.username,
        password=mqtt.password and mqtt.password.reveal(),
        tls=tls,
        prefix=mqtt.prefix,
        client_id=mqtt.client_id,
        qos_event=mqtt.qos.event,
        qos_state=mqtt.qos.state,
        keepalive_s=mqtt.keepalive_s,
        queue_limit=mqtt.queue_limit,
    )


def make_overlay(camera: CameraConfig, class_names: tuple[str, ...], *, caption: str, privacy: PrivacySettings) -> Overlay:
    """Hides who must not be shown, and draws a camera's zones, lines and tracks into its pictures, of whatever size."""
    zones = {name: zone.polygon for name, zone in camera.zones.items()}
    lines = {name: (line.from_, line.to) for name, line in camera.lines.items()}

    person = class_names.index(PERSON) if PERSON in class_names else None

    def overlay(result: FrameResult, picture: Frame) -> PublicPicture:
        public = make_public(result, picture, privacy, person_class_id=person)
        mapped = result.scene
        draw_overlay(
            public,
            tracks=_scale_tracks(result.tracks.live, result.frame, picture),
            class_names=class_names,
            object_notes=_note_objects(result.objects),
            zones=zones,
            lines=lines,
            zone_notes=_note_zones(mapped) if mapped else None,
            scene=mapped and mapped.map,
            caption=caption + (_age_note(picture.captured_s - mapped.captured_s) if mapped else ""),
        )
        return public

    return overlay


def _age_note(age_s: float) -> str:
    return f", map {age_s:.1f} s old" if age_s >= LEAST_NOTED_AGE_S else ""


def _note_zones(mapped: Mapped) -> dict[str, list[str]]:
    """Which classes most of each zone is."""
    return {zone: _note_shares(mapped.map.classes, shares) for zone, shares in mapped.shares.zones.items()}


def _note_shares(classes: tuple[str, ...], shares: NDArray[np.float64]) -> list[str]:
    most = np.argsort(-shares, kind="stable")[:NOTED_CLASSES]
    return [f"{classes[index]} {100 * shares[index]:.0f}%" for index in most if shares[index] >= NOTED_SHARE]


def make_privacy(camera: CameraConfig) -> PrivacySettings:
    """What a camera's pictures may show."""
    settings = camera.privacy
    scene = None
    if settings.hide or settings.show:
        scene = ScenePrivacy(
            hide=frozenset(settings.hide or ()),
            show=None if settings.show is None else frozenset(settings.show),
            most_age_s=settings.map_age_s,
            speed_ratio=settings.speed_ratio,
            margin_ratio=settings.margin_ratio,
        )
    return PrivacySettings(
        pixelate=settings.pixelate,
        zones={name: zone.pixelate for name, zone in camera.zones.items() if zone.pixelate is not None},
        polygons=settings.polygons,
        scene=scene,
        style=settings.style,
    )


def _note_objects(objects: Mapping[int, ObjectFacts]) -> dict[int, str]:
    """Who is who, and what they stand on, as far as it is known."""
    return {number: _note_object(facts) for number, facts in objects.items()}


def _note_object(facts: ObjectFacts) -> str:
    decision = facts.identity if is_known(facts) else None
    name = (decision.name or decision.subject or "") if decision else ""
    return f"{name} on {facts.surface}".lstrip() if facts.surface else name


def _scale_tracks(tracks: Iterable[Track], frame: Frame, picture: Frame) -> list[Track]:
    """The tracks of a frame in the pixels of another picture of the same view."""
    sizes = (frame.width, frame.height), (picture.width, picture.height)
    return [replace(track, box=scaled(track.box[None], *sizes)[0]) for track in tracks]


def _first(*values: float | None) -> float:
    """The first that was set; the last one always is."""
    return next(value for value in values if value is not None)


def _make_on_time(entry: OnTimeConfig) -> OnTime:
    return OnTime(frozenset(_WEEKDAYS[day] for day in entry.days), entry.from_, entry.to)


def _make_size_limits(limits: SizeLimitsConfig) -> SizeLimits:
    return SizeLimits(
        min_width_ratio=limits.min_width_ratio,
        min_height_ratio=limits.min_height_ratio,
        max_width_ratio=limits.max_width_ratio,
        max_height_ratio=limits.max_height_ratio,
    )


def _make_class_limits(classes: Mapping[str, ClassLimitsConfig] | None) -> dict[str, ClassLimits] | None:
    if classes is None:
        return None
    return {
        name: ClassLimits(
            min_score=limits.min_score,
            min_width_ratio=limits.min_width_ratio,
            min_height_ratio=limits.min_height_ratio,
            max_width_ratio=limits.max_width_ratio,
            max_height_ratio=limits.max_height_ratio,
        )
        for name, limits in classes.items()
    }
