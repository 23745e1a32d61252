"""From the configuration to what looks at faces: networks, gallery, thresholds, the slow loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edged import assembly
from edged.config import Config, find_gallery_key
from edged.config.faces import FacesConfig
from edged.engine_opening import open_configured_network
from edged.errors import ConfigError, GalleryError, Mistake, ModelError
from edged.face_reading import FaceReader
from edged.identity.calibration import settings_of
from edged.identity.decision import DecisionSettings, Yardstick
from edged.identity.gallery import open_gallery
from edged.identity.matching import Matcher
from edged.identity.operations import FaceOperations
from edged.identity.people import Snapshot
from edged.identity.snapshots import CurrentSnapshot
from edged.identity.track_identity import LookSettings
from edged.models.manifest import (
    DetectorManifest,
    EncoderManifest,
    LivenessManifest,
    Manifest,
    ManifestT,
    find_engine,
    load_manifest,
)
from edged.models.network import Network
from edged.retained_messages import RetainedMessages
from edged.runtime.board import LatestFrame
from edged.runtime.faces import FaceWatch
from edged.runtime.gallery_commands import GalleryDesk
from edged.runtime.loop import Opening

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FaceEngines:
    """The networks that a configuration asks for, each with its directory.

    Attributes:
        liveness: None where nothing tells living faces from pictures.
    """

    detector: tuple[Path, DetectorManifest]
    encoder: tuple[Path, EncoderManifest]
    liveness: tuple[Path, LivenessManifest] | None

    @property
    def networks(self) -> tuple[tuple[Path, Manifest], ...]:
        """All that there are."""
        return tuple(filter(None, (self.detector, self.encoder, self.liveness)))


@dataclass(frozen=True, slots=True)
class OpenedFaceReader:
    """A reader and what is to be known of it.

    Attributes:
        label: its networks and what computes each, for people.
        fallback: why the processor computes though the configuration asks for TensorRT; None where it is as configured.
    """

    reader: FaceReader
    label: str
    fallback: str | None


def find_face_engines(config: Config) -> FaceEngines:
    """The networks for faces, read but not opened.

    Raises:
        ConfigError: one is not there, or cannot be used or computed as configured; every such mistake.
    """
    mistakes: list[Mistake] = []
    faces = config.faces

    def find(key: str, name: str, kind: type[ManifestT]) -> tuple[Path, ManifestT] | None:
        try:
            directory = find_engine(name, config_dir=config.directory, state_dir=config.state_dir)
            manifest = load_manifest(directory, precision=faces.named_precision, kind=kind)
        except ModelError as error:
            mistakes.append(config.mistake_at("config.engine", ("faces", key), str(error)))
            return None
        try:
            assembly.check_precision(faces, manifest)
        except ModelError as error:
            mistakes.append(config.mistake_at("config.precision", ("faces", "precision"), str(error)))
        return directory, manifest

    detector = find("detector", faces.detector, DetectorManifest)
    encoder = find("encoder", faces.encoder, EncoderManifest)
    liveness = None if faces.liveness is None else find("liveness", faces.liveness, LivenessManifest)
    if mistakes or detector is None or encoder is None:
        raise ConfigError(config.source, list(dict.fromkeys(mistakes)))  # one key may be wrong for all three
    return FaceEngines(detector, encoder, liveness)


def open_face_reader(
    engines: FaceEngines,
    faces: FacesConfig,
    *,
    state_dir: Path,
    opening: Opening = nullcontext,
) -> OpenedFaceReader:
    """A reader with networks of its own, warm. Used and closed by the thread that opens it.

    Args:
        faces: by what the networks are computed; which they name does not count.
        state_dir: holds what `edged engines build` has built.
        opening: what each network is opened within.

    Raises:
        ModelError: a network cannot be used, or the detector finds something else than faces; without a fallback also where
            there is no device, or no engine for it.
        DeviceMemoryError, DeviceError: see `open_configured_network`.
    """
    batches, labels, reasons = [], [], []
    with ExitStack() as stack:

        def open_network(directory: Path, kind: type[ManifestT]) -> Network[ManifestT]:
            with opening(directory.name):
                opened = open_configured_network(directory, faces, state_dir=state_dir, kind=kind)
            stack.callback(opened.network.close)
            batches.append(opened.batch)
            labels.append(opened.network.label)
            reasons.extend([opened.fallback] if opened.fallback else [])
            return opened.network

        detector = open_network(engines.detector[0], DetectorManifest)
        encoder = open_network(engines.encoder[0], EncoderManifest)
        liveness = open_network(engines.liveness[0], LivenessManifest) if engines.liveness else None
        reader = FaceReader(detector, encoder, liveness, batch=min(batches))
        stack.pop_all()
    return OpenedFaceReader(reader, "; ".join(labels), "; ".join(dict.fromkeys(reasons)) or None)


def make_decision_settings(faces: FacesConfig, engines: FaceEngines) -> DecisionSettings:
    """From where on a face is somebody's: as configured, else as the networks ship. What is configured stands for no rate."""
    shipped = engines.encoder[1].thresholds
    live = engines.liveness[1].thresholds.live if engines.liveness else None
    return DecisionSettings(
        threshold=shipped.match if faces.match is None else faces.match,
        false_match_rate=shipped.false_match_rate if faces.match is None else None,
        margin=shipped.margin if faces.margin is None else faces.margin,
        live_threshold=live if faces.live is None or live is None else faces.live,
        least_quality=faces.min_quality,
        least_votes=faces.votes,
    )


def make_gallery_desk(config: Config, engines: FaceEngines, *, actor: str, now: Callable[[], float]) -> GalleryDesk:
    """Where commands find the operations on the gallery.

    Args:
        actor: who commands, for the audit log.
        now: UTC seconds since 1970.
    """
    broker = assembly.make_mqtt_settings(config)
    return GalleryDesk(
        lambda opening: FaceOperations(
            open_gallery=lambda: open_gallery(config.state_dir, find_gallery_key(config.state_dir)),
            open_reader=lambda: open_face_reader(engines, config.faces, state_dir=config.state_dir, opening=opening).reader,
            model_digest=engines.encoder[1].onnx.sha256,
            settings=make_decision_settings(config.faces, engines),
            actor=actor,
            now=now,
            traces=[RetainedMessages(broker)] if broker else [],
            keeps_crops=config.faces.keep_crops,
            follows_calibration=config.faces.match is None,
        )
    )


def make_face_watch(
    config: Config,
    class_names: Sequence[str],
    *,
    details: Mapping[str, LatestFrame],
    now_s: Callable[[], float],
    on_answer: Callable[[], None] = lambda: None,
) -> FaceWatch:
    """The slow loop of all cameras whose faces are asked for.

    Args:
        class_names: the detector's.
        details, now_s, on_answer: as `FaceWatch` has them.

    Raises:
        ConfigError: the detector knows no persons.
    """
    if assembly.PERSON not in class_names:
        message = f"needs a detector that knows the class {assembly.PERSON!r}; this one knows {', '.join(class_names)}"
        raise ConfigError(config.source, [config.mistake_at("config.class_unknown", ("faces", "enabled"), message)])
    return FaceWatch(
        cameras=[name for name, camera in config.cameras.items() if camera.enabled and camera.faces],
        person_class_id=list(class_names).index(assembly.PERSON),
        looks=LookSettings(recheck_s=config.faces.recheck_s),
        looks_per_s=config.faces.looks_per_s,
        least_face_px=config.faces.min_face_px,
        details=details,
        now_s=now_s,
        on_answer=on_answer,
    )


class GalleryFollower:
    """What faces are held against as the gallery is now; a context manager. Opened, used and closed by one thread.

    While the gallery cannot be read nobody is named, and that is logged: a name that may have been forgotten is worse than none.

    Args:
        config: says where the gallery is, and what counts unless it was calibrated.
        engines: the encoder is one of them.

    Raises:
        ConfigError: on entering: the gallery cannot be used.
    """

    def __init__(self, config: Config, engines: FaceEngines) -> None:
        manifest = engines.encoder[1]
        self._config = config
        self._settings = make_decision_settings(config.faces, engines)
        self._model_digest = manifest.onnx.sha256
        self._nobody = Matcher(np.zeros((0, manifest.dimension), np.float32), [], version=0, model_digest=self._model_digest)
        self._yardstick = Yardstick(self._nobody, self._settings)
        self._is_failing = False

    def __enter__(self) -> GalleryFollower:
        config = self._config
        try:
            self._gallery = open_gallery(config.state_dir, find_gallery_key(config.state_dir))
        except GalleryError as error:
            raise ConfigError(config.source, [config.mistake_at("config.gallery", ("faces", "enabled"), str(error))]) from error
        self._snapshots = CurrentSnapshot(self._gallery, model_digest=self._model_digest)
        return self

    def __exit__(self, *_: object) -> None:
        self._gallery.close()

    def load(self, now_at: float) -> Yardstick:
        """The newest; the very same object while nothing has changed.

        Args:
            now_at: UTC seconds since 1970: whose consent has ended by then is not named.
        """
        try:
            snapshot = self._snapshots.get(now_at)
            matcher = snapshot.matcher
            if matcher is not self._yardstick.matcher:
                self._yardstick = Yardstick(matcher, self._calibrated(snapshot))
                logger.info("gallery: people=%d version=%d", len(matcher), matcher.version)
            self._is_failing = False
        except GalleryError as error:
            if not self._is_failing:
                logger.error("the gallery cannot be used, nobody is named: %s", error)
            self._is_failing = True
            if self._yardstick.matcher is not self._nobody:
                self._yardstick = Yardstick(self._nobody, self._settings)
        return self._yardstick

    def _calibrated(self, snapshot: Snapshot) -> DecisionSettings:
        """What the gallery says of its own threshold goes before what the encoder ships with, not before what is configured."""
        if self._config.faces.match is not None:
            return self._settings
        return settings_of(self._settings, snapshot.calibration)
