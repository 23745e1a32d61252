"""Which detector a configuration opens: on the processor, on a device, or on the processor instead of one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from models_onnx import make_encoder_manifest, make_manifest, save_engine, save_mean_colour_engine

from edged import engine_opening
from edged.assembly import open_detector
from edged.backends.tensorrt.cache import EngineRecord, ParityRecord
from edged.backends.tensorrt.driver import DeviceFacts
from edged.config.computing import TensorrtConfig
from edged.config.models import DetectorConfig
from edged.cpu_choice import CpuChoice
from edged.engine_building import make_cache, make_key, make_options, target_of
from edged.engine_opening import UsableEngine, find_usable_engine, fit_where_faster, open_configured_network
from edged.errors import DeviceMemoryError, DeviceMissingError, EngineMissingError, InferenceError, ModelError
from edged.models.detector import Detector
from edged.models.manifest import EncoderManifest, Manifest, load_manifest

ON_DEVICE = DetectorConfig(backend="tensorrt", tensorrt=TensorrtConfig(max_batch=8))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """An engine that sees one thing in every bright picture."""
    save_engine(
        tmp_path / "tiny", make_manifest(), boxes=np.array([[1, 1, 9, 9], [0, 0, 1, 1]]), scores=np.array([[1, 0], [0, 0]])
    )
    return tmp_path / "tiny"


class DeviceStandIn:
    """What a test says of the device: ONNX Runtime answers in its place.

    Attributes:
        fitting: the most pictures that its memory holds.
        missing: why there is no engine or device; None: there are both.
        opened: batches that memory was asked for.
    """

    def __init__(self, engine: Path) -> None:
        self._engine = engine
        self.fitting = 64
        self.missing: ModelError | None = None
        self.failure: InferenceError | None = None
        self.opened: list[int] = []

    def find_usable_engine(
        self, directory: Path, settings: DetectorConfig, *, state_dir: Path, kind: type[Manifest]
    ) -> UsableEngine:
        if self.missing:
            raise self.missing
        record = SimpleNamespace(key=SimpleNamespace(label="tiny fp32"))
        return UsableEngine(record, b"plan", load_manifest(directory, kind=kind), library=None)

    def open_candidate(self, record, plan, manifest, *, library, settings, max_batch) -> Detector:
        self.opened.append(max_batch)
        if max_batch > self.fitting:
            raise DeviceMemoryError(f"no memory for {max_batch} pictures")
        detector = open_detector(self._engine)
        if self.failure:
            detector.warm_up = self._fail
        return detector

    def _fail(self) -> None:
        raise self.failure


@pytest.fixture
def device(engine: Path, monkeypatch: pytest.MonkeyPatch) -> DeviceStandIn:
    stand_in = DeviceStandIn(engine)
    monkeypatch.setattr(engine_opening, "find_usable_engine", stand_in.find_usable_engine)
    monkeypatch.setattr(engine_opening, "open_candidate", stand_in.open_candidate)
    return stand_in


@pytest.mark.parametrize(("batch", "most"), [pytest.param("auto", 1, id="auto"), pytest.param(4, 4, id="as told")])
def test_open_on_the_processor_takes_the_batch_of_the_configuration(
    engine: Path, tmp_path: Path, batch: object, most: int
) -> None:
    """Auto is one at a time: a processor gains nothing by more."""
    opened = open_configured_network(engine, DetectorConfig(batch=batch), state_dir=tmp_path)

    with opened.network as detector:
        assert (opened.batch, opened.fallback) == (most, None)
        assert "onnxruntime" in detector.label


@pytest.mark.parametrize(
    ("fitting", "batch", "expected"),
    [
        pytest.param(8, "auto", ([8], 8), id="as large as built for"),
        pytest.param(8, 2, ([8], 2), id="smaller by configuration"),
        pytest.param(4, "auto", ([8, 4], 4), id="halved"),
        pytest.param(4, 6, ([8, 4], 4), id="halved below the configuration's"),
    ],
)
def test_open_on_a_device_halves_the_batch_once(
    device: DeviceStandIn, engine: Path, fitting: int, batch: object, expected: tuple[list[int], int]
) -> None:
    """Where the memory is too small for what the engine was built for, half of it is tried."""
    device.fitting = fitting

    opened = open_configured_network(engine, ON_DEVICE.model_copy(update={"batch": batch}), state_dir=engine.parent)

    opened.network.close()
    assert (device.opened, opened.batch) == expected
    assert opened.fallback is None


def test_open_on_a_device_that_is_too_small_for_half_fails(device: DeviceStandIn, engine: Path, tmp_path: Path) -> None:
    """It is not tried again and again."""
    device.fitting = 2

    with pytest.raises(DeviceMemoryError, match="no memory for 4 pictures"):
        open_configured_network(engine, ON_DEVICE, state_dir=tmp_path)
    assert device.opened == [8, 4]


def test_open_of_an_engine_that_fails_on_grey_is_refused(device: DeviceStandIn, engine: Path, tmp_path: Path) -> None:
    """A network that does not compute is a wrong network, told before any camera is opened."""
    device.failure = InferenceError("enqueue failed")

    with pytest.raises(ModelError, match="tiny fp32: fails on a grey picture: enqueue failed"):
        open_configured_network(engine, ON_DEVICE, state_dir=tmp_path)


@pytest.mark.parametrize("kind", [DeviceMissingError, EngineMissingError])
def test_open_without_a_device_or_an_engine_is_refused_or_falls_back(
    device: DeviceStandIn, engine: Path, caplog: pytest.LogCaptureFixture, kind: type[ModelError]
) -> None:
    """Never silently: without `fallback: cpu` nothing starts, with it the log and the result say why."""
    device.missing = kind("run edged engines build tiny")

    with pytest.raises(kind, match="run edged engines build tiny"):
        open_configured_network(engine, ON_DEVICE, state_dir=engine.parent)
    with caplog.at_level(logging.WARNING):
        opened = open_configured_network(engine, ON_DEVICE.model_copy(update={"fallback": "cpu"}), state_dir=engine.parent)

    with opened.network as detector:
        assert "onnxruntime" in detector.label
    assert (opened.batch, opened.fallback) == (1, "run edged engines build tiny")
    assert "the processor computes instead of TensorRT: run edged engines build tiny" in caplog.text


def test_open_of_a_changed_engine_is_refused_in_spite_of_a_fallback(device: DeviceStandIn, engine: Path, tmp_path: Path) -> None:
    """Somebody wrote where only edged should: that is not to be passed over."""
    device.missing = ModelError("expected sha256 1, found 2 [engine.digest]")

    with pytest.raises(ModelError, match=r"engine\.digest"):
        open_configured_network(engine, ON_DEVICE.model_copy(update={"fallback": "cpu"}), state_dir=tmp_path)


@pytest.mark.parametrize("settings", [DetectorConfig(), ON_DEVICE], ids=["processor", "device"])
def test_open_of_another_task_than_wanted_is_refused(
    device: DeviceStandIn, engine: Path, tmp_path: Path, settings: DetectorConfig
) -> None:
    """A detector is no encoder, whatever computes it."""
    with pytest.raises(ModelError, match=r"engine for detector, expected one for face_encoder \[model\.task\]"):
        open_configured_network(engine, settings, state_dir=tmp_path, kind=EncoderManifest)


def test_open_of_an_encoder_goes_the_way_of_a_detector(tmp_path: Path) -> None:
    """Whatever the task, the manifest says what is opened."""
    save_mean_colour_engine(tmp_path / "who", make_encoder_manifest(dimension=3), weights=np.eye(3))

    opened = open_configured_network(tmp_path / "who", DetectorConfig(), state_dir=tmp_path)

    with opened.network as encoder:
        assert encoder.encode([np.full((112, 112, 3), (0, 9, 0), np.uint8)]) == pytest.approx(np.array([[0, 1, 0]]))


class TwoWays:
    """A detector whose host and device take as long as a test says to fit a picture."""

    def __init__(self, *, host_ms: float, device_ms: float) -> None:
        self._ms = {"host": host_ms, "device": device_ms}
        self.now_s = 0.0
        self.way = "device"
        self.sizes: set[tuple[int, ...]] = set()

    def fit_on_host(self) -> None:
        self.way = "host"

    def fit_on_device(self) -> None:
        self.way = "device"

    def prepare(self, pictures: list[np.ndarray]) -> str:
        self.sizes |= {pixels.shape for pixels in pictures}
        return self.way

    def infer(self, prepared: str) -> None:
        self.now_s += self._ms[prepared] / 1000


@pytest.mark.parametrize(
    ("host_ms", "device_ms", "way"),
    [
        pytest.param(2.0, 1.0, "device", id="the device is faster"),
        pytest.param(1.0, 2.0, "host", id="the host is faster"),
        pytest.param(1.0, 1.0, "host", id="a draw"),
    ],
)
def test_fit_where_faster_takes_the_faster_way(
    caplog: pytest.LogCaptureFixture, host_ms: float, device_ms: float, way: str
) -> None:
    """Both are measured on a usual picture, and both figures are in the log."""
    detector = TwoWays(host_ms=host_ms, device_ms=device_ms)

    with caplog.at_level(logging.INFO):
        fit_where_faster(detector, now_s=lambda: detector.now_s)

    assert (detector.way, detector.sizes) == (way, {(720, 1280, 3)})
    who = {"device": "GPU", "host": "processor"}[way]
    assert f"the {who} fits pictures: {host_ms:.2f} ms a picture on the processor, {device_ms:.2f} on the GPU" in caplog.text


def test_open_with_preprocess_auto_measures_only_where_the_device_can(
    device: DeviceStandIn, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a kernel there is nothing to choose."""
    monkeypatch.setattr(engine_opening, "fit_where_faster", lambda detector: pytest.fail("nothing to choose"))
    settings = ON_DEVICE.model_copy(update={"tensorrt": TensorrtConfig(max_batch=8, preprocess="auto")})

    open_configured_network(engine, settings, state_dir=engine.parent).network.close()

    assert device.opened == [8]


def test_open_with_precision_auto_takes_what_was_measured_here(
    engine: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a measurement float; with one its precision and threads."""
    settings = DetectorConfig(precision="auto", threads=1)
    with caplog.at_level(logging.INFO), open_configured_network(engine, settings, state_dir=tmp_path).network as detector:
        assert detector.label.endswith("1 thread")
    assert "nothing was measured on this processor, run edged engines bench" in caplog.text

    monkeypatch.setattr(engine_opening, "chosen_precision", lambda state_dir, manifest: CpuChoice("fp32", 2))
    with open_configured_network(engine, settings, state_dir=tmp_path).network as detector:
        assert detector.label.endswith("2 threads")


# Which built engine is usable


class Built:
    """An engine in a cache, as `edged engines build` and `verify` leave it; a TensorRT and a device that say who they are."""

    settings = DetectorConfig(backend="tensorrt", precision="fp32", tensorrt=TensorrtConfig(max_batch=8))

    def __init__(self, engine: Path, state_dir: Path) -> None:
        differences = SimpleNamespace(portable=False)
        self.library = SimpleNamespace(name="tensorrt", version="10.3.0", label="TensorRT 10.3.0", differences=differences)
        self.device = DeviceFacts("Orin", (8, 7), "12.6", 1 << 33, is_integrated=True)
        self._engine = engine
        self._state_dir = state_dir
        self.cache = make_cache(state_dir)

    def build(self) -> EngineRecord:
        options = make_options(self.settings.tensorrt, "fp32")
        key = make_key(load_manifest(self._engine), options, library=self.library, target=target_of(self.device))
        with self.cache.lock(lambda: pytest.fail("nobody else builds")):
            return self.cache.write(key, b"plan", directory=self._engine, seconds=1.0, types={}, fell_back=(), edged_version="0")

    def compare(self, record: EngineRecord, *, is_passed: bool) -> None:
        with self.cache.lock(lambda: pytest.fail("nobody else builds")):
            self.cache.record_parity(record, ParityRecord(target_of(self.device), {"ap50": 0.9}, 24, is_passed))

    def find(self, **changes: object) -> UsableEngine:
        settings = self.settings.model_copy(update=changes)
        return find_usable_engine(self._engine, settings, state_dir=self._state_dir)


@pytest.fixture
def built(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    built = Built(engine, tmp_path / "state")
    monkeypatch.setattr(engine_opening, "import_library", lambda name: built.library)
    monkeypatch.setattr(engine_opening, "find_device", lambda settings: built.device)
    return built


def test_find_of_an_engine_that_was_built_and_passed_gives_its_plan(built: Built) -> None:
    """The one way to be used."""
    built.compare(built.build(), is_passed=True)

    found = built.find()

    assert (found.plan, found.record.key.name, found.library) == (b"plan", "tiny", built.library)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(lambda built: None, "engine.missing", id="never built"),
        pytest.param(lambda built: built.build(), "engine.unverified", id="never compared"),
        pytest.param(lambda built: built.compare(built.build(), is_passed=False), "engine.parity", id="failed"),
    ],
)
def test_find_of_an_engine_that_is_not_ready_is_refused(built: Built, spoil: Callable[[Built], object], code: str) -> None:
    """Whatever is missing, nothing is used that was not seen to compute the same."""
    spoil(built)

    with pytest.raises(EngineMissingError, match=re.escape(f"[{code}]")):
        built.find()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda built: setattr(built.library, "version", "10.16.1"), id="another TensorRT"),
        pytest.param(lambda built: setattr(built, "device", replace(built.device, name="Thor")), id="another device"),
        pytest.param(lambda built: setattr(built, "device", replace(built.device, driver_version="13.2")), id="another driver"),
    ],
)
def test_find_of_an_engine_for_other_surroundings_is_refused(built: Built, change: Callable[[Built], None]) -> None:
    """Passed or not: it was another library, device or driver that passed."""
    built.compare(built.build(), is_passed=True)
    change(built)

    with pytest.raises(EngineMissingError, match=r"tiny fp32: .*\[engine\.stale\]"):
        built.find()


def test_find_of_an_engine_for_other_settings_or_another_network_is_refused(built: Built, engine: Path) -> None:
    """What is asked for is what must have been built."""
    built.compare(built.build(), is_passed=True)

    with pytest.raises(EngineMissingError, match=r"built for batch 1/4/8 .* wanted is batch 1/2/4 .*\[engine\.stale\]"):
        built.find(tensorrt=TensorrtConfig(max_batch=4))
    save_engine(engine, make_manifest(), boxes=np.zeros((2, 4)), scores=np.zeros((2, 2)))
    with pytest.raises(EngineMissingError, match=r"built from the network of sha256 .*\[engine\.stale\]"):
        built.find()


def test_find_of_a_plan_that_was_changed_is_refused_with_both_digests(built: Built) -> None:
    """A plan is a program."""
    record = built.build()
    built.compare(record, is_passed=True)
    (built.cache.path / record.plan_name).write_bytes(b"plam")

    with pytest.raises(ModelError, match=r"expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}") as caught:
        built.find()
    assert not isinstance(caught.value, EngineMissingError)
