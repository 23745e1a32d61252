"""The detector that a configuration asks for: on the processor, or a built engine on an NVIDIA GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from edged import assembly
from edged.backends.tensorrt.cache import EngineRecord, check_verified
from edged.backends.tensorrt.library import Library, import_library
from edged.config.models import DetectorConfig
from edged.cpu_choice import chosen_precision
from edged.engine_building import make_cache, make_key, make_options, make_target, target_of
from edged.engine_verification import find_device, open_candidate
from edged.errors import DeviceMemoryError, DeviceMissingError, EngineMissingError, InferenceError, ModelError
from edged.models.detector import Detector
from edged.models.manifest import Manifest, load_manifest
from edged.vision.letterbox import GREY

_USUAL_PICTURE = (720, 1280, 3)
_FITTED = 15
"""What is fitted so often to see who is faster."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenedDetector:
    """A detector and what is to be known of it.

    Attributes:
        batch: the most frames to compute at once.
        fallback: why the processor computes though the configuration asks for TensorRT; None where it is as configured.
    """

    detector: Detector
    batch: int
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class UsableEngine:
    """A built engine that fits this device and was compared on it.

    Attributes:
        plan: its bytes, digest checked.
    """

    record: EngineRecord
    plan: bytes
    manifest: Manifest
    library: Library


def open_configured_detector(directory: Path, settings: DetectorConfig, *, state_dir: Path) -> OpenedDetector:
    """The detector of an engine's directory, warm. Used and closed by the thread that opens it.

    Args:
        state_dir: holds what `edged engines build` has built.

    Raises:
        ModelError: the manifest or the network cannot be used; without a fallback also where there is no device or no engine.
        DeviceMemoryError: not even half the batch fits the device.
        DeviceError: the device is lost.
    """
    if settings.backend == "cpu":
        return OpenedDetector(_open_on_cpu(directory, settings, state_dir), _batch(settings, on_auto=1))
    try:
        return _open_on_device(find_usable_engine(directory, settings, state_dir=state_dir), settings)
    except (DeviceMissingError, EngineMissingError) as error:
        if settings.fallback != "cpu":
            raise
        logger.warning("the processor computes instead of TensorRT: %s", error)
        return OpenedDetector(_open_on_cpu(directory, settings, state_dir), _batch(settings, on_auto=1), fallback=str(error))


def find_usable_engine(directory: Path, settings: DetectorConfig, *, state_dir: Path) -> UsableEngine:
    """The built engine that a configuration asks for, read but not loaded.

    Raises:
        DeviceMissingError: there is no TensorRT or no device.
        EngineMissingError: nothing was built for this device, the network has changed since, or it was never compared here.
        ModelError: the engine, its record or the network were changed, or others could have changed them.
    """
    library = import_library(settings.tensorrt.library)
    device = find_device(settings.tensorrt)
    manifest = load_manifest(directory, precision=settings.named_precision)
    options = make_options(settings.tensorrt, settings.named_precision)
    key = make_key(manifest, options, library=library, target=make_target(library, device))
    record, plan = make_cache(state_dir).load_plan(key)
    check_verified(record, target_of(device))
    return UsableEngine(record, plan, manifest, library)


def _open_on_cpu(directory: Path, settings: DetectorConfig, state_dir: Path) -> Detector:
    precision, threads = settings.named_precision, settings.threads
    if settings.precision == "auto":
        choice = chosen_precision(state_dir, load_manifest(directory))
        if choice is None:
            logger.info("precision auto: nothing was measured on this processor, run edged engines bench: fp32 until then")
        else:
            precision, threads = choice
    elif precision == "fp16":  # the processor computes instead of a GPU, and gains nothing by half precision
        precision = "fp32"
    return assembly.open_detector(directory, precision=precision, threads=threads)


def _open_on_device(engine: UsableEngine, settings: DetectorConfig) -> OpenedDetector:
    """Warm, with memory for the largest batch, or once for half of it where the device is too full."""
    most = settings.tensorrt.max_batch
    try:
        detector = _open_warm(engine, settings, max_batch=most)
    except DeviceMemoryError as error:
        if most == 1 or settings.tensorrt.dla_core is not None:
            raise
        logger.warning("batch halved: %d -> %d: %s", most, most // 2, error)
        most //= 2
        detector = _open_warm(engine, settings, max_batch=most)
    return OpenedDetector(detector, min(most, _batch(settings, on_auto=most)))


def _open_warm(engine: UsableEngine, settings: DetectorConfig, *, max_batch: int) -> Detector:
    detector = open_candidate(
        engine.record, engine.plan, engine.manifest, library=engine.library, settings=settings.tensorrt, max_batch=max_batch
    )
    try:
        detector.warm_up()
        if settings.tensorrt.preprocess == "auto" and detector.can_fit_on_device:
            fit_where_faster(detector)
    except DeviceMemoryError:
        detector.close()
        raise
    except InferenceError as error:
        detector.close()
        raise ModelError(f"{engine.record.key.label}: fails on a grey picture: {error} [model.invalid]") from error
    return detector


def fit_where_faster(detector: Detector, *, now_s: Callable[[], float] = time.perf_counter) -> None:
    """Let the host or the device fit pictures into the network, whoever takes less from a picture to the network's outputs.

    Args:
        detector: one that can both.
    """
    picture = np.full(_USUAL_PICTURE, GREY, np.uint8)

    def measure_ms() -> float:
        times_ms = []
        for _ in range(_FITTED):
            began_s = now_s()
            detector.infer(detector.prepare([picture]))
            times_ms.append(1000 * (now_s() - began_s))
        return median(times_ms)  # the first ones wait for memory and graphs

    detector.fit_on_host()
    on_host_ms = measure_ms()
    detector.fit_on_device()
    on_device_ms = measure_ms()
    if on_host_ms <= on_device_ms:
        detector.fit_on_host()
    who = "processor" if on_host_ms <= on_device_ms else "GPU"
    logger.info("the %s fits pictures: %.2f ms a picture on the processor, %.2f on the GPU", who, on_host_ms, on_device_ms)


def _batch(settings: DetectorConfig, *, on_auto: int) -> int:
    return on_auto if settings.batch == "auto" else settings.batch
