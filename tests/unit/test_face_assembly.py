"""From the configuration to what looks at faces."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from models_onnx import make_encoder_manifest, make_liveness_manifest, make_manifest
from stand_ins.device import open_stand_in_device
from stand_ins.faces import StandInFaceReader, draw_portrait
from stand_ins.tensorrt import StandInNetwork, StandInTensor, StandInTensorrt

from edged import engine_opening, engine_verification, face_assembly
from edged.assembly import open_network
from edged.backends.onnx import open_onnx_backend
from edged.backends.tensorrt.cuda import Cuda
from edged.config import Config, find_gallery_key, parse_config
from edged.config.computing import ComputingConfig
from edged.engine_opening import UsableEngine
from edged.errors import ConfigError, DeviceMissingError, EngineMissingError, ModelError
from edged.face_assembly import (
    FaceEngines,
    GalleryFollower,
    OpenedFaceReader,
    find_face_engines,
    make_decision_settings,
    make_face_watch,
    make_gallery_desk,
    open_face_reader,
)
from edged.identity.calibration import Calibration
from edged.identity.gallery import open_gallery
from edged.identity.requests import EnrolArguments, ShowArguments
from edged.models.manifest import Manifest, load_manifest
from edged.models.network import Network
from edged.runtime.loop import Opening
from edged.types import Face
from edged.vision.alignment import TEMPLATES

DIGEST = "7" * 64
ENCODER = make_encoder_manifest(onnx={"file": "model.onnx", "sha256": DIGEST, "opset": 17})  # match 0.5, margin 0.05
ENGINES = FaceEngines((Path(), make_manifest(classes=["face"])), (Path(), ENCODER), (Path(), make_liveness_manifest()))
ANNA = np.eye(4, dtype=np.float32)[0]


def read(directory: Path, *, cameras: dict | None = None, **faces: object) -> Config:
    text = {
        "state_dir": str(directory / "state"),
        "faces": {"enabled": True, **faces},
        "cameras": cameras or {"door": {"source": "street:"}},
    }
    return parse_config(json.dumps(text), source="test", directory=directory)


def enrol(config: Config, name: str, *, expires_at: float | None = None, digest: str = DIGEST) -> str:
    with open_gallery(config.state_dir, find_gallery_key(config.state_dir)) as gallery, gallery.transaction():
        person_id = gallery.add_person(name, consent="paper 1", enrolled_at=0.0, expires_at=expires_at)
        gallery.add_template(person_id, ANNA, model_digest=digest)
    return person_id


class DeviceStandIn:
    """A device in whose place ONNX Runtime computes the networks that ship.

    Attributes:
        missing: by engine, why it cannot be used.
        asked: the settings that each engine was asked for by, and the pictures that memory was taken for.
    """

    def __init__(self) -> None:
        self.missing: dict[str, ModelError] = {}
        self.asked: dict[str, tuple[str, int]] = {}

    def find_usable_engine(self, directory: Path, settings: ComputingConfig, *, state_dir: Path, kind: type) -> UsableEngine:
        if directory.name in self.missing:
            raise self.missing[directory.name]
        self.asked[directory.name] = settings.named_precision, 0
        record = SimpleNamespace(key=SimpleNamespace(label=directory.name), directory=directory)
        return UsableEngine(record, b"plan", load_manifest(directory, kind=kind), library=None)

    def open_candidate(self, record, plan, manifest, *, library, settings, max_batch) -> Network[Manifest]:
        name = record.directory.name
        self.asked[name] = self.asked[name][0], max_batch
        return open_network(record.directory, kind=type(manifest))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> DeviceStandIn:
    stand_in = DeviceStandIn()
    monkeypatch.setattr(engine_opening, "find_usable_engine", stand_in.find_usable_engine)
    monkeypatch.setattr(engine_opening, "open_candidate", stand_in.open_candidate)
    return stand_in


POINTS = TEMPLATES["mean112"].as_array() / 112
"""Of a face, in shares of its box."""
ON_DEVICE = {"backend": "tensorrt", "tensorrt": {"max_batch": 4}, "liveness": "face-liveness"}


def test_face_reader_is_computed_as_the_section_says(tmp_path: Path, device: DeviceStandIn) -> None:
    """All three networks by one set of keys, the detector's of objects aside."""
    config = read(tmp_path, **ON_DEVICE)

    opened = open_face_reader(find_face_engines(config), config.faces, state_dir=config.state_dir)

    with opened.reader as reader:
        assert reader.find(np.full((64, 64, 3), 114, np.uint8)) == []
    assert opened.fallback is None
    assert [part.split()[0] for part in opened.label.split("; ")] == ["face-detector", "face-encoder", "face-liveness"]
    assert device.asked == dict.fromkeys(("face-detector", "face-encoder", "face-liveness"), ("fp32", 4))


def test_networks_for_faces_are_opened_one_by_one_under_their_names(tmp_path: Path, device: DeviceStandIn) -> None:
    """Whoever watches sees which one takes long."""
    seen: list[str] = []

    @contextmanager
    def opening(network: str) -> Iterator[None]:
        seen.append(f"{network} begins")
        yield
        seen.append(f"{network} is open")

    config = read(tmp_path, **ON_DEVICE)
    open_face_reader(find_face_engines(config), config.faces, state_dir=config.state_dir, opening=opening).reader.close()

    assert seen == [
        f"{name} {what}" for name in ("face-detector", "face-encoder", "face-liveness") for what in ("begins", "is open")
    ]


def make_answering_network(directory: Path, manifest: Manifest) -> StandInNetwork:
    """What TensorRT would have built of an engine's network: ONNX Runtime computes it."""
    backend = open_onnx_backend(directory / manifest.onnx.file, threads=1)
    inputs, outputs = (
        {
            name: StandInTensor("UINT8" if spec.dtype == "uint8" else "FLOAT", tuple(-1 if n is None else n for n in spec.shape))
            for name, spec in side.items()
        }
        for side in (backend.inputs, backend.outputs)
    )
    return StandInNetwork(inputs, outputs, backend.infer, batches=(1, 4))


def test_three_networks_for_faces_run_on_one_device_and_leave_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real runner, over stand-ins for TensorRT and the driver: five faces in batches of four, as on the processor."""
    config = read(tmp_path, **ON_DEVICE)
    engines = find_face_engines(config)
    device, first = open_stand_in_device()
    first.close()

    def find_usable_engine(directory: Path, settings: ComputingConfig, *, state_dir: Path, kind: type) -> UsableEngine:
        manifest = load_manifest(directory, kind=kind)
        network = make_answering_network(directory, manifest)
        record = SimpleNamespace(key=SimpleNamespace(label=directory.name))
        return UsableEngine(record, network.plan, manifest, StandInTensorrt(network, device).as_library())

    monkeypatch.setattr(engine_opening, "find_usable_engine", find_usable_engine)
    monkeypatch.setattr(engine_verification, "open_cuda", lambda *_, **__: Cuda(device, device, device.open(0)))
    picture = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    boxes = [np.array([x, x, x + 100, x + 100], np.float32) for x in range(0, 200, 40)]
    faces = [Face(box, box[:2] + 100 * POINTS, 0.9, 0.9) for box in boxes]

    answers, labels = [], []
    for settings in (config.faces, config.faces.model_copy(update={"backend": "cpu"})):
        opened = open_face_reader(engines, settings, state_dir=config.state_dir)
        labels.append(opened.label)
        with opened.reader as reader:
            answers.append((reader.find(picture), reader.read(picture, faces)))

    (found, on_device), (also_found, on_processor) = answers
    assert [label.count("TensorRT") for label in labels] == [3, 0]
    assert len(found) == len(also_found)
    np.testing.assert_allclose(*([face.embedding for face in each] for each in (on_device, on_processor)), atol=1e-5)
    np.testing.assert_allclose(*([face.live for face in each] for each in (on_device, on_processor)), atol=1e-5)
    assert +device.live == {}


def test_face_reader_with_a_fallback_says_once_what_is_missing(
    tmp_path: Path, device: DeviceStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """Each network that the processor computes is in the log, each reason once in the answer; what can be is on the device."""
    device.missing = {
        "face-detector": DeviceMissingError("no CUDA device 0"),
        "face-encoder": DeviceMissingError("no CUDA device 0"),
    }
    config = read(tmp_path, **ON_DEVICE, fallback="cpu")

    with caplog.at_level(logging.WARNING):
        opened = open_face_reader(find_face_engines(config), config.faces, state_dir=config.state_dir)

    opened.reader.close()
    assert opened.fallback == "no CUDA device 0"
    assert [record.getMessage() for record in caplog.records] == [
        f"{name}: the processor computes instead of TensorRT: no CUDA device 0" for name in ("face-detector", "face-encoder")
    ]
    assert list(device.asked) == ["face-liveness"]


def test_face_reader_without_an_engine_or_a_fallback_is_refused(tmp_path: Path, device: DeviceStandIn) -> None:
    """What was opened before is closed, and the command that mends it is named."""
    device.missing = {"face-encoder": EngineMissingError("run edged engines build face-encoder")}
    config = read(tmp_path, **ON_DEVICE)

    with pytest.raises(EngineMissingError, match="run edged engines build face-encoder"):
        open_face_reader(find_face_engines(config), config.faces, state_dir=config.state_dir)


@pytest.mark.parametrize(
    ("faces", "words"),
    [
        pytest.param({"precision": "fp16"}, "a processor gains nothing by fp16", id="fp16 on a processor"),
        pytest.param({"backend": "tensorrt", "precision": "auto"}, "auto is measured on processors only", id="auto on a GPU"),
        pytest.param({"precision": "int8"}, "has no INT8 network.*tools.quantise", id="what the engine lacks"),
    ],
)
def test_face_engines_in_a_precision_that_cannot_be_are_a_mistake(tmp_path: Path, faces: dict, words: str) -> None:
    """As for the detector of objects, by the same check; what is wrong for every network alike is told once."""
    with pytest.raises(ConfigError, match=words) as caught:
        find_face_engines(read(tmp_path, **faces))

    assert len(set(caught.value.mistakes)) == len(caught.value.mistakes)


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        pytest.param({}, (0.5, 0.001, 0.05, 0.5), id="as the networks ship"),
        pytest.param({"match": 0.6}, (0.6, None, 0.05, 0.5), id="a threshold of one's own stands for no rate"),
        pytest.param({"margin": 0.2, "live": 0.9}, (0.5, 0.001, 0.2, 0.9), id="margin and liveness of one's own"),
    ],
)
def test_decision_settings_are_those_configured_else_those_shipped(tmp_path: Path, faces: dict, expected: tuple) -> None:
    """What the configuration says goes first."""
    settings = make_decision_settings(read(tmp_path, **faces).faces, ENGINES)

    assert (settings.threshold, settings.false_match_rate, settings.margin, settings.live_threshold) == expected


def test_decision_settings_without_a_liveness_network_ask_for_no_life(tmp_path: Path) -> None:
    """A threshold without a network behind it would be nothing."""
    engines = FaceEngines(ENGINES.detector, ENGINES.encoder, None)

    assert make_decision_settings(read(tmp_path, live=0.9).faces, engines).live_threshold is None


@pytest.mark.parametrize(("keep_crops", "crops"), [(False, 0), (True, 1)])
def test_enrolment_by_command_keeps_crops_as_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_crops: bool, crops: int
) -> None:
    """Where the command says nothing of them."""
    opened = OpenedFaceReader(StandInFaceReader(model_digest=DIGEST), "a stand-in", None)
    monkeypatch.setattr(face_assembly, "open_face_reader", lambda engines, faces, **_: opened)
    _, picture = cv2.imencode(".png", draw_portrait(3))
    desk = make_gallery_desk(read(tmp_path, keep_crops=keep_crops), ENGINES, actor="mqtt", now=lambda: 0.0)

    desk.operations().enrol(EnrolArguments(pictures=[picture.tobytes()], name="Anna", consent="form 12"))

    assert desk.operations().show(ShowArguments(person="Anna")).crops == crops
    desk.close()


def test_desk_opens_its_networks_as_its_thread_has_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the loop of that thread is not taken for stuck meanwhile."""
    asked: list[object] = []

    def open_reader(*_: object, opening: Opening, **__: object) -> OpenedFaceReader:
        asked.append(opening)
        return OpenedFaceReader(StandInFaceReader(model_digest=DIGEST), "a stand-in", None)

    def opening(network: str) -> AbstractContextManager[object]:
        return nullcontext(network)

    monkeypatch.setattr(face_assembly, "open_face_reader", open_reader)
    _, picture = cv2.imencode(".png", draw_portrait(3))
    desk = make_gallery_desk(read(tmp_path), ENGINES, actor="mqtt", now=lambda: 0.0)

    desk.begin(opening)
    desk.operations().enrol(EnrolArguments(pictures=[picture.tobytes()], name="Anna", consent="form 12"))
    desk.close()

    assert asked == [opening]


def test_face_watch_looks_at_the_cameras_that_are_asked_for(tmp_path: Path) -> None:
    """Neither at those that are off nor at those left out."""
    camera = {"source": "street:"}
    cameras = {"door": camera, "garden": {**camera, "faces": False}, "yard": {**camera, "enabled": False}}

    watch = make_face_watch(read(tmp_path, cameras=cameras), ["car", "person"], details={}, now_s=lambda: 0.0)

    assert watch.cameras == ("door",)


def test_face_watch_with_a_detector_that_knows_no_persons_is_a_mistake(tmp_path: Path) -> None:
    """It would look at nothing, silently."""
    with pytest.raises(ConfigError, match="needs a detector that knows the class 'person'"):
        make_face_watch(read(tmp_path), ["car"], details={}, now_s=lambda: 0.0)


def test_gallery_is_followed_through_enrolment_expiry_and_forgetting(tmp_path: Path) -> None:
    """Others may change it at any time; while nothing has changed the very same yardstick comes back."""
    config = read(tmp_path)
    with GalleryFollower(config, ENGINES) as follower:
        empty = follower.load(0.0)
        person_id = enrol(config, "Anna", expires_at=100.0)
        known, again, expired = follower.load(1.0), follower.load(2.0), follower.load(100.0)
        with open_gallery(config.state_dir, find_gallery_key(config.state_dir)) as gallery, gallery.transaction():
            gallery.set_expiry(person_id, None)
        renewed = follower.load(101.0)
        with open_gallery(config.state_dir, find_gallery_key(config.state_dir)) as gallery, gallery.transaction():
            gallery.remove_person(person_id)
        forgotten = follower.load(102.0)

    assert [len(each.matcher) for each in (empty, known, expired, renewed, forgotten)] == [0, 1, 0, 1, 0]
    assert again is known


@pytest.mark.parametrize(
    ("faces", "expected"), [({}, (0.7, 0.02)), ({"match": 0.6}, (0.6, None))], ids=["calibrated", "configured"]
)
def test_gallery_that_was_calibrated_sets_the_threshold_unless_it_is_configured(
    tmp_path: Path, faces: dict, expected: tuple
) -> None:
    """What the people of this site showed goes before what the encoder ships with."""
    config = read(tmp_path, **faces)
    enrol(config, "Anna")
    calibration = Calibration(
        threshold=0.7, wanted=0.01, measured=0.0, low=0.0, high=0.02, level=0.95, n_pairs=150, n_people=5, is_shown=False
    )
    with open_gallery(config.state_dir, find_gallery_key(config.state_dir)) as gallery, gallery.transaction():
        gallery.set_calibration(DIGEST, calibration)

    with GalleryFollower(config, ENGINES) as follower:
        settings = follower.load(0.0).settings

    assert (settings.threshold, settings.false_match_rate) == expected


def test_gallery_of_another_encoder_names_nobody_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name from incomparable numbers would be chance; what is wrong is logged, not repeated."""
    config = read(tmp_path)
    enrol(config, "Anna", digest="8" * 64)
    with GalleryFollower(config, ENGINES) as follower, caplog.at_level(logging.ERROR):
        loaded = [follower.load(float(second)) for second in range(3)]

    assert [len(each.matcher) for each in loaded] == [0, 0, 0]
    assert loaded[0] is loaded[2]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "nobody is named" in caplog.text


def test_gallery_without_its_key_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    """edged does not start and is not started again: somebody must put the key back."""
    config = read(tmp_path)
    enrol(config, "Anna")
    find_gallery_key(config.state_dir).path.unlink()

    with pytest.raises(ConfigError, match="key"), GalleryFollower(config, ENGINES):
        pass
