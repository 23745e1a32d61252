"""From the configuration to what looks at faces."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_encoder_manifest, make_liveness_manifest, make_manifest

from edged.config import Config, find_gallery_key, parse_config
from edged.errors import ConfigError
from edged.face_assembly import FaceEngines, GalleryFollower, make_decision_settings, make_face_watch
from edged.identity.calibration import Calibration
from edged.identity.gallery import open_gallery

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
