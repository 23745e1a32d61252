"""The network that a configuration asks for: on the processor, or a built engine on an NVIDIA GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Generic

import numpy as np

from edged import assembly
from edged.backends.tensorrt.cache import EngineRecord, check_verified
from edged.backends.tensorrt.library import Library, import_library
from edged.config.computing import ComputingConfig
from edged.cpu_choice import chosen_precision
from edged.engine_building import make_cache, make_command, make_commands, make_key, make_options, make_target, target_of
from edged.engine_verification import find_device, halve_once, open_candidate
from edged.errors import DeviceMemoryError, DeviceMissingError, EngineMissingError, InferenceError, ModelError
from edged.models.manifest import Manifest, ManifestT, load_manifest
from edged.models.network import Network
from edged.vision.letterbox import GREY

_USUAL_PICTURE = (720, 1280, 3)
_FITTED = 15
"""What is fitted so often to see who is faster."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenedNetwork(Generic[ManifestT]):
    """A network and what is to be known of it.

    Attributes:
        batch: the most pictures to compute at once.
        fallback: why the processor computes though the configuration asks for TensorRT; None where it is as configured.
    """

    network: Network[ManifestT]
    batch: int
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class UsableEngine(Generic[ManifestT]):
    """A built engine that fits this device and was compared on it.

    Attributes:
        plan: its bytes, digest checked.
    """

    record: EngineRecord
    plan: bytes
    manifest: ManifestT
    library: Library


def open_configured_network(
    directory: Path, settings: ComputingConfig, *, state_dir: Path, kind: type[ManifestT] = Manifest
) -> OpenedNetwork[ManifestT]:
    """The network of an engine's directory, warm. Used and closed by the thread that opens it.

    Args:
        settings: by what it is computed.
        state_dir: holds what `edged engines build` has built.
        kind: the form that its manifest must have; any if absent.

    Raises:
        ModelError: the manifest or the network cannot be used; without a fallback also where there is no device or no engine.
        DeviceMemoryError: not even half the batch fits the device.
        DeviceError: the device is lost.
    """
    if settings.backend == "cpu":
        return OpenedNetwork(_open_on_cpu(directory, settings, state_dir, kind), _batch(settings, on_auto=1))
    try:
        return _open_on_device(find_usable_engine(directory, settings, state_dir=state_dir, kind=kind), settings)
    except (DeviceMissingError, EngineMissingError) as error:
        if settings.fallback != "cpu":
            raise
        logger.warning("%s: the processor computes instead of TensorRT: %s", directory.name, error)
        network = _open_on_cpu(directory, settings, state_dir, kind)
        return OpenedNetwork(network, _batch(settings, on_auto=1), fallback=str(error))


def find_usable_engine(
    directory: Path, settings: ComputingConfig, *, state_dir: Path, kind: type[ManifestT] = Manifest
) -> UsableEngine[ManifestT]:
    """The built engine that a configuration asks for, read but not loaded.

    Raises:
        DeviceMissingError: there is no TensorRT or no device.
        EngineMissingError: nothing was built for this device, the network has changed since, or it was never compared here.
        ModelError: the engine, its record or the network were changed, or others could have changed them.
    """
    library = import_library(settings.tensorrt.library)
    device = find_device(settings.tensorrt)
    manifest = load_manifest(directory, precision=settings.named_precision, kind=kind)
    options = make_options(settings.tensorrt, settings.named_precision)
    key = make_key(manifest, options, library=library, target=make_target(library, device))
    commands = make_commands(key, directory, state_dir=state_dir, settings=settings.tensorrt)
    record, plan = make_cache(state_dir).load_plan(key, commands)
    check_verified(record, target_of(device), commands)
    return UsableEngine(record, plan, manifest, library)


def _open_on_cpu(directory: Path, settings: ComputingConfig, state_dir: Path, kind: type[ManifestT]) -> Network[ManifestT]:
    precision, threads = settings.named_precision, settings.threads
    if settings.precision == "auto":
        choice = chosen_precision(state_dir, load_manifest(directory))
        if choice is None:
            logger.info(
                "%s: precision auto: nothing was measured on this processor, run %s: fp32 until then",
                directory.name,
                make_command("bench", directory, state_dir=state_dir),
            )
        else:
            precision, threads = choice
    elif precision == "fp16":  # the processor computes instead of a GPU, and gains nothing by half precision
        precision = "fp32"
    return assembly.open_network(directory, precision=precision, threads=threads, kind=kind)


def _open_on_device(engine: UsableEngine[ManifestT], settings: ComputingConfig) -> OpenedNetwork[ManifestT]:
    """Warm, with memory for the largest batch, or once for half of it where the device is too full."""

    def open_for(most: int) -> OpenedNetwork[ManifestT]:
        network = _open_warm(engine, settings, max_batch=most)
        return OpenedNetwork(network, min(most, _batch(settings, on_auto=most)))

    return halve_once(open_for, settings.tensorrt.max_batch, can_halve=settings.tensorrt.dla_core is None)


def _open_warm(engine: UsableEngine[ManifestT], settings: ComputingConfig, *, max_batch: int) -> Network[ManifestT]:
    network = open_candidate(
        engine.record, engine.plan, engine.manifest, library=engine.library, settings=settings.tensorrt, max_batch=max_batch
    )
    try:
        network.warm_up()
        if settings.tensorrt.preprocess == "auto" and network.can_fit_on_device:
            fit_where_faster(network)
    except DeviceMemoryError:
        network.close()
        raise
    except InferenceError as error:
        network.close()
        raise ModelError(f"{engine.record.key.label}: fails on a grey picture: {error} [model.invalid]") from error
    return network


def fit_where_faster(network: Network[Any], *, now_s: Callable[[], float] = time.perf_counter) -> None:
    """Let the host or the device fit pictures into the network, whoever takes less from a picture to the network's outputs.

    Args:
        network: one that can both.
    """
    picture = np.full(_USUAL_PICTURE, GREY, np.uint8)

    def measure_ms() -> float:
        times_ms = []
        for _ in range(_FITTED):
            began_s = now_s()
            network.infer(network.prepare([picture]))
            times_ms.append(1000 * (now_s() - began_s))
        return median(times_ms)  # the first ones wait for memory and graphs

    network.fit_on_host()
    on_host_ms = measure_ms()
    network.fit_on_device()
    on_device_ms = measure_ms()
    if on_host_ms <= on_device_ms:
        network.fit_on_host()
    who = "processor" if on_host_ms <= on_device_ms else "GPU"
    logger.info("the %s fits pictures: %.2f ms a picture on the processor, %.2f on the GPU", who, on_host_ms, on_device_ms)


def _batch(settings: ComputingConfig, *, on_auto: int) -> int:
    return on_auto if settings.batch == "auto" else settings.batch
