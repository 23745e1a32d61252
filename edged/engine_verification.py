"""Whether a built engine is what was built, still is the one that is wanted, and computes what ONNX Runtime computes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from edged.assembly import make_network, open_network
from edged.backends.tensorrt.cache import EngineKey, EngineRecord, ParityRecord, Target, describe_stale
from edged.backends.tensorrt.cuda import open_cuda
from edged.backends.tensorrt.driver import DeviceFacts
from edged.backends.tensorrt.letterbox import PictureFormat
from edged.backends.tensorrt.library import Library
from edged.backends.tensorrt.runner import TensorrtBackend, open_tensorrt_backend
from edged.config.computing import TensorrtConfig
from edged.engine_building import make_commands
from edged.errors import DeviceMemoryError, EngineMissingError, InferenceError, KernelError, ModelError
from edged.models.manifest import InputSpec, Manifest, ManifestT, ParityLimits, load_manifest
from edged.models.network import Network
from edged.parity import Parity, batches_of, check_parity
from edged.types import Pixels
from edged.vision.letterbox import GREY

Outcome = TypeVar("Outcome")

logger = logging.getLogger(__name__)


def find_device(settings: TensorrtConfig) -> DeviceFacts:
    """What is known of the CUDA device that the settings name.

    Raises:
        DeviceMissingError: there is none, or nothing to reach it by.
    """
    with open_cuda(settings.cuda, device=settings.device) as cuda:
        return cuda.device


def open_candidate(
    record: EngineRecord,
    plan: bytes,
    manifest: ManifestT,
    *,
    library: Library,
    settings: TensorrtConfig,
    max_batch: int | None = None,
) -> Network[ManifestT]:
    """The network of a built engine on the device; close it after use.

    Args:
        max_batch: memory is taken for so many pictures; None: for as many as the engine was built for.

    Raises:
        DeviceMissingError: there is no device.
        ModelError: the engine cannot be loaded, or is not what the manifest describes.
        KernelError: the GPU shall fit pictures into it, and nothing compiles what does.
        InferenceError, DeviceError: it fails.
    """

    def open_backend(pictures: PictureFormat | None) -> TensorrtBackend:
        return open_tensorrt_backend(
            plan,
            name=record.key.label,
            library=library,
            cuda=open_cuda(settings.cuda, device=settings.device),  # which the backend closes, also where it cannot be opened
            max_batch=max_batch or record.key.options.batch[2],
            pictures=pictures,
            use_graphs=settings.graphs,
        )

    try:
        backend = open_backend(None if settings.preprocess == "cpu" else make_picture_format(manifest.input))
    except KernelError as error:
        if settings.preprocess != "auto":
            raise
        logger.info("the processor fits pictures into the network: %s", error)
        backend = open_backend(None)
    try:
        return make_network(manifest, backend)
    except ModelError:
        backend.close()
        raise


def make_picture_format(wanted: InputSpec) -> PictureFormat:
    """What the device must know to fit pictures into an input as `edged.models.network` does on the host."""
    return PictureFormat(wanted.name, is_bgr=wanted.colour == "bgr", fill=GREY, factors=wanted.factors, offsets=wanted.offsets)


def find_wanted(record: EngineRecord, *, library: Library | None, target: Target | None) -> tuple[EngineKey, Manifest]:
    """What would be built now in the place of an engine, and its manifest.

    Args:
        library: the TensorRT that is here; None where there is none to compare with.
        target: what it builds for; None likewise.

    Raises:
        ModelError: the manifest or the network was changed, or is not there any more.
    """
    key = record.key
    manifest = load_manifest(Path(record.directory), precision=key.options.precision)
    wanted = replace(
        key,
        name=manifest.name,
        onnx_sha256=manifest.network(key.options.precision, symmetric=True).sha256,
        library=library.name if library else key.library,
        library_version=library.version if library else key.library_version,
        target=target or key.target,
    )
    return wanted, manifest


def check_fresh(
    record: EngineRecord, *, library: Library | None, target: Target | None, state_dir: Path, settings: TensorrtConfig
) -> Manifest:
    """Refuse an engine that is not the one that would be built now; returns its manifest. Library and target: see `find_wanted`.

    Args:
        state_dir: where it lies.
        settings: by which it is computed.

    Raises:
        EngineMissingError: its network, the library or the device is another one.
        ModelError: the manifest or the network was changed, or is not there any more.
    """
    wanted, manifest = find_wanted(record, library=library, target=target)
    if wanted != record.key:
        commands = make_commands(wanted, Path(record.directory), state_dir=state_dir, settings=settings)
        raise EngineMissingError(describe_stale(record.key, wanted, commands))
    return manifest


def compare_on_device(
    record: EngineRecord,
    plan: bytes,
    manifest: Manifest,
    pictures: Sequence[Pixels],
    *,
    library: Library,
    settings: TensorrtConfig,
) -> Parity:
    """How an engine, opened as the daemon opens it, compares with its network in float in ONNX Runtime.

    Raises:
        InputError, DeviceMemoryError: see `compare_candidate`.
        ModelError, InferenceError, DeviceError: see `open_candidate`.
    """

    def open_with(most: int) -> Network[Manifest]:
        return open_candidate(record, plan, manifest, library=library, settings=settings, max_batch=most)

    return compare_candidate(record, open_with, pictures)


def compare_candidate(record: EngineRecord, open_with: Callable[[int], Network[Manifest]], pictures: Sequence[Pixels]) -> Parity:
    """How an engine compares with its network in float in ONNX Runtime.

    In the batches of `batches_of` as many as it takes, or as half of them where the device has too little memory for that.

    Args:
        open_with: the engine's network on the device, with memory for so many pictures at once; it is closed after use.

    Raises:
        InputError: the pictures show nothing to compare.
        DeviceMemoryError: not even half the batch fits the device.
        ModelError, InferenceError, DeviceError: it cannot be opened, or fails.
    """

    def compare(most: int) -> Parity:
        with open_with(most) as candidate, open_network(Path(record.directory)) as reference:
            return check_parity(reference, candidate, pictures, batches=batches_of(most))

    options = record.key.options
    return halve_once(compare, options.batch[2], can_halve=options.dla_core is None)


def judge(compare: Callable[[], Parity], limits: ParityLimits, target: Target) -> tuple[ParityRecord, str]:
    """What is to be noted of an engine after a comparison, and what it says in words. One that does not answer has failed.

    Args:
        target: where it is compared.

    Raises:
        DeviceMemoryError: the device is too full, which others may be the reason of: it says nothing of the engine.
        InputError, ModelError, DeviceError: as `compare` raises them.
    """
    try:
        parity = compare()
    except DeviceMemoryError:
        raise
    except InferenceError as error:
        return ParityRecord(target, {}, 0, is_passed=False), str(error)
    return ParityRecord(target, parity.figures, parity.pictures, parity.reaches(limits)), parity.describe(limits)


def halve_once(work: Callable[[int], Outcome], most: int, *, can_halve: bool) -> Outcome:
    """What comes of work with the most pictures at once, or with half of them where the device is too full, which the log says.

    Args:
        can_halve: the engine takes smaller batches; one for a DLA does not.

    Raises:
        DeviceMemoryError: not even half of them fit.
    """
    try:
        return work(most)
    except DeviceMemoryError as error:
        if most == 1 or not can_halve:
            raise
        logger.warning("batch halved: %d -> %d: %s", most, most // 2, error)
    return work(most // 2)
