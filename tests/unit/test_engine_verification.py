"""An engine on a device is compared through the real runner, over stand-ins for TensorRT and for the device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models_onnx import make_manifest, save_engine
from stand_ins.device import open_stand_in_device
from stand_ins.tensorrt import StandInTensorrt, make_detector_network

from edged import engine_verification
from edged.assembly import open_detector
from edged.backends.tensorrt.builder import BuildOptions
from edged.backends.tensorrt.cache import EngineKey, EngineRecord
from edged.backends.tensorrt.cuda import Cuda
from edged.config.computing import TensorrtConfig
from edged.engine_building import target_of
from edged.engine_verification import check_fresh, compare_on_device, find_device, make_picture_format, open_candidate
from edged.errors import DeviceMemoryError, EngineMissingError, KernelError, ModelError
from edged.models.detector import Detector
from edged.models.manifest import Manifest
from edged.parity import Parity

BOXES = np.array([[2, 2, 30, 30], [34, 2, 60, 30]], np.float32)
SCORES = np.array([[0.9, 0], [0, 0.8]], np.float32)
PICTURES = [np.full((32, 64, 3), 255, np.uint8)] * 3
SETTINGS = TensorrtConfig()


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return save_engine(tmp_path, make_manifest(), boxes=BOXES, scores=SCORES)


class Device:
    """A stand-in device on which an engine answers these boxes.

    Attributes:
        record: of that engine.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        monkeypatch: pytest.MonkeyPatch,
        *,
        batch: tuple[int, int, int] = (1, 1, 2),
        dla_core: int | None = None,
        **network: Any,
    ) -> None:
        self._network = make_detector_network(manifest, **{"boxes": BOXES, "scores": SCORES, **network})
        self.device, self.cuda = open_stand_in_device()
        monkeypatch.setattr(engine_verification, "open_cuda", lambda binding, *, device: self._open_cuda())
        self.library = StandInTensorrt(self._network, self.device).as_library()
        options = BuildOptions("fp16" if dla_core is not None else "fp32", batch=batch, dla_core=dla_core)
        target = target_of(self.cuda.device)
        key = EngineKey("tiny", manifest.onnx.sha256, self.library.name, self.library.version, target, options)
        plan = self._network.plan
        self.record = EngineRecord(key, str(directory), "a.plan", "0" * 64, len(plan), 1.0, {}, (), "9")

    def _open_cuda(self) -> Cuda:
        """Another one where the first was closed."""
        if not self.device.live["context"]:
            self.cuda = Cuda(self.device, self.device, self.device.open(0))
        return self.cuda

    def compare(self, manifest: Manifest) -> Parity:
        return compare_on_device(self.record, self._network.plan, manifest, PICTURES, library=self.library, settings=SETTINGS)

    def open(self, manifest: Manifest, preprocess: str) -> Detector:
        settings = TensorrtConfig(preprocess=preprocess)
        return open_candidate(self.record, self._network.plan, manifest, library=self.library, settings=settings)


def test_engine_that_answers_as_its_network_does_has_full_parity(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches up to the engine's largest, and nothing of the device is kept."""
    here = Device(tmp_path, manifest, monkeypatch)

    parity = here.compare(manifest)

    assert parity == Parity({"ap50": 1.0, "mean_iou": 1.0}, "6 of 6 objects on 3 pictures", 3)
    assert +here.device.live == {}


def limit_memory(monkeypatch: pytest.MonkeyPatch, *, fits: int) -> None:
    """Let the device hold so many pictures at once."""
    real = engine_verification.open_candidate

    def open_or_refuse(*arguments: Any, max_batch: int, **settings: Any) -> Detector:
        if max_batch > fits:
            raise DeviceMemoryError(f"no memory for {max_batch}")
        return real(*arguments, max_batch=max_batch, **settings)

    monkeypatch.setattr(engine_verification, "open_candidate", open_or_refuse)


def watch_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of batch that engines are compared in from now on."""
    real, sizes = engine_verification.check_parity, []

    def check(*arguments: Any, batches: Sequence[int]) -> Parity:
        sizes.extend(batches)
        return real(*arguments, batches=batches)

    monkeypatch.setattr(engine_verification, "check_parity", check)
    return sizes


def test_engine_is_compared_in_batches_of_every_kind(tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ones, those that leave a rest, and one picture as one camera asks for it: each is computed in its own way."""
    here = Device(tmp_path, manifest, monkeypatch, batch=(1, 4, 8))
    sizes = watch_batches(monkeypatch)

    here.compare(manifest)

    assert sizes == [8, 7, 1]


def test_engine_is_compared_in_half_the_batch_where_the_device_is_too_small(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As it is opened then: else a device that can use an engine could not verify it."""
    here = Device(tmp_path, manifest, monkeypatch, batch=(1, 4, 8))
    limit_memory(monkeypatch, fits=4)
    sizes = watch_batches(monkeypatch)

    parity = here.compare(manifest)

    assert (parity.figures["ap50"], sizes) == (1.0, [4, 3, 1])
    assert "batch halved: 8 -> 4: no memory for 8" in caplog.text


@pytest.mark.parametrize(
    ("batch", "dla_core"),
    [pytest.param((1, 8, 16), None, id="not even half"), pytest.param((8, 8, 8), 0, id="a DLA takes one size")],
)
def test_engine_that_the_device_cannot_hold_is_not_compared(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, batch: tuple[int, int, int], dla_core: int | None
) -> None:
    """It is halved once."""
    here = Device(tmp_path, manifest, monkeypatch, batch=batch, dla_core=dla_core)
    limit_memory(monkeypatch, fits=4)

    with pytest.raises(DeviceMemoryError, match="no memory for 8"):
        here.compare(manifest)

    here.cuda.close()


def test_engine_that_answers_otherwise_is_told_from_its_network(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second box is somewhere else: half of what there is was found."""
    moved = BOXES + np.array([[0], [12]], np.float32)
    here = Device(tmp_path, manifest, monkeypatch, boxes=moved)

    parity = here.compare(manifest)

    assert parity.compared == "3 of 6 objects on 3 pictures"
    assert parity.figures["ap50"] < 0.6


def test_engine_that_is_not_what_the_manifest_describes_gives_the_device_back(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing is compared in the end."""
    here = Device(tmp_path, manifest, monkeypatch)
    other = manifest.model_copy(update={"classes": ("person", "car", "bus")})

    with pytest.raises(ModelError, match=r"model\.classes"):
        here.compare(other)

    assert +here.device.live == {}


def test_device_is_found_and_given_back(tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its facts stay."""
    here = Device(tmp_path, manifest, monkeypatch)

    assert find_device(SETTINGS) == here.cuda.device
    assert +here.device.live == {}


def test_engine_is_fresh_while_nothing_that_it_was_built_from_changes(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a library or a device here, those of the record are believed; the network never is."""
    here = Device(tmp_path, manifest, monkeypatch)
    key = here.record.key

    place = {"state_dir": tmp_path, "settings": SETTINGS}
    assert check_fresh(here.record, library=here.library, target=key.target, **place) == manifest
    assert check_fresh(here.record, library=None, target=None, **place) == manifest
    here.cuda.close()
    save_engine(tmp_path, make_manifest(), boxes=BOXES + 1, scores=SCORES)
    said = rf"tiny fp32: stale: run edged engines build {tmp_path} .*\(built from the network of sha256 .*engine\.stale"
    with pytest.raises(EngineMissingError, match=said):
        check_fresh(here.record, library=None, target=None, **place)


@pytest.mark.parametrize("preprocess", ["cpu", "gpu", "auto"])
def test_engine_opened_for_pictures_finds_what_it_finds_in_arrays(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, kernels: bytes, preprocess: str
) -> None:
    """Whoever fits pictures into the network, the detections are the same, and are where they were in the pictures."""
    here = Device(tmp_path, manifest, monkeypatch)
    here.device.module = kernels
    pictures = [np.full((90, 160, 3), 255, np.uint8), np.full((64, 128, 3), 230, np.uint8)]

    with open_detector(tmp_path) as on_cpu, here.open(manifest, preprocess) as on_device:
        for expected, found in zip(on_cpu.detect(pictures), on_device.detect(pictures), strict=True):
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)

    assert (here.device.calls["launch_kernel"] > 0) == (preprocess != "cpu")
    assert +here.device.live == {}


def test_engine_for_pictures_without_a_compiler_is_refused_unless_the_host_may_do_it(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`gpu` is what somebody asked for; `auto` says in the log who does it instead."""
    here = Device(tmp_path, manifest, monkeypatch)

    def refuse(source: str, architecture: str) -> bytes:
        raise KernelError("no NVRTC [preprocess.compiler]")

    monkeypatch.setattr(here.device, "compile", refuse)

    with pytest.raises(KernelError, match="no NVRTC"):
        here.open(manifest, "gpu")
    with caplog.at_level("INFO"), here.open(manifest, "auto") as detector:
        assert not detector.can_fit_on_device
        assert len(detector.detect(PICTURES[:1])[0]) == 2

    assert "the processor fits pictures into the network: no NVRTC" in caplog.text
    assert +here.device.live == {}


def test_make_picture_format_says_what_the_manifest_does() -> None:
    """number = pixel * factor + offset is (pixel * scale - mean) / std."""
    wanted = {"name": "images", "width": 64, "height": 32, "colour": "bgr", "layout": "nchw", "dtype": "float32"}
    scaling = {"scale": 1 / 255, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}

    made = make_picture_format(make_manifest(input={**wanted, **scaling}).input)

    assert (made.name, made.is_bgr, made.fill) == ("images", True, 114)
    np.testing.assert_allclose(
        200 * np.array(made.factors) + made.offsets, (200 / 255 - np.array(scaling["mean"])) / scaling["std"]
    )
