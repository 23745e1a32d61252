"""Which setting goes where."""

import dataclasses
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from daemons import CLASSES
from models_onnx import make_manifest

from edged import assembly
from edged.config import parse_config
from edged.config.models import MotionConfig, TrackConfig
from edged.config.rules import LineConfig, ObjectsConfig, ZoneConfig
from edged.errors import InputError
from edged.models.manifest import SCORE_FLOOR
from edged.pipeline import FrameResult
from edged.privacy import PrivacySettings, ScenePrivacy
from edged.runtime.pacing import is_on
from edged.sinks.jsonl import JsonLinesSink
from edged.sinks.mqtt import MqttSink
from edged.sources.certificates import CameraTls
from edged.sources.folder import FolderSource
from edged.sources.gstreamer import GstreamerSource
from edged.sources.network import FileSource, NetworkSource, SnapshotSource
from edged.sources.street import StreetSource
from edged.sources.v4l2 import V4l2Source
from edged.types import Frame, Track, Tracks, TrackState


def read(text):
    return parse_config(text, source="test", directory=Path("/site"), environ={"HOME": "/home/me"})


def read_camera(text):
    config = read(f"cameras:\n  door:\n    {text}")
    return config.cameras["door"], config


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        pytest.param("rtsp://camera/stream", NetworkSource, id="rtsp"),
        pytest.param("https://camera/video.mjpg", NetworkSource, id="mjpeg"),
        pytest.param("{type: snapshot, url: 'http://camera/now.jpg', interval_s: 2}", SnapshotSource, id="snapshot"),
        pytest.param("clip.mp4", FileSource, id="file"),
        pytest.param("pictures/", FolderSource, id="folder"),
        pytest.param("/dev/video2", V4l2Source, id="usb"),
        pytest.param("{type: gstreamer, pipeline: videotestsrc, width: 320, height: 240}", GstreamerSource, id="gstreamer"),
        pytest.param("'street:7'", StreetSource, id="street"),
    ],
)
def test_source_of_every_form_is_made(source, kind):
    """Every form that the configuration takes has something that reads it."""
    camera, _ = read_camera(f"source: {source}")

    made = assembly.make_source(camera.source, timeout_s=camera.timeout_s)

    assert type(made) is kind


def test_source_with_a_password_gets_it_and_hides_it():
    """The library that logs in needs it; nobody else sees it."""
    camera, _ = read_camera("source: 'rtsp://me:s3cret@camera/stream'")

    made = assembly.make_source(camera.source, timeout_s=3.0)

    assert made.password == "s3cret"
    assert made.timeout_s == 3.0
    assert "s3cret" not in repr(made) + made.label + repr(camera)


@pytest.mark.parametrize("kind", ["network", "snapshot"])
def test_source_with_tls_gets_it(tmp_path, kind):
    """Every key of the section reaches whoever connects; left out, the certificate is checked."""
    (tmp_path / "camera.crt").touch()
    tls = f"{{ca: {tmp_path}/camera.crt, host_name: camera.example, verify: false}}"
    camera, _ = read_camera(f"source: {{type: {kind}, url: 'https://camera/x', tls: {tls}}}")
    plain, _ = read_camera(f"source: {{type: {kind}, url: 'https://camera/x'}}")

    made = assembly.make_source(camera.source, timeout_s=3.0)

    assert made.tls == CameraTls(ca=tmp_path / "camera.crt", host_name="camera.example", verify=False)
    assert assembly.make_source(plain.source, timeout_s=3.0).tls == CameraTls(ca=None, host_name=None, verify=True)


def test_thresholds_nearest_setting_wins():
    """Class of the camera, camera, class of the site, site, class of the manifest, manifest."""
    manifest = make_manifest(
        classes=CLASSES, thresholds={"score": 0.4, "nms_iou": 0.5, "per_class": {"bus": {"score": 0.7}, "car": {"score": 0.45}}}
    )
    camera, config = read_camera("source: 'street:'\n    detect: {classes: {person: {score: 0.2}}}")
    site = read(
        "detector: {classes: {car: {score: 0.6}}}\n"
        "cameras: {door: {source: 'street:', detect: {classes: {person: {score: 0.2}}}}}"
    )

    own = assembly.make_detection_settings(camera, config, manifest).thresholds
    with_site = assembly.make_detection_settings(site.cameras["door"], site, manifest).thresholds

    assert [own.score_by_class[CLASSES.index(name)] for name in ("person", "car", "bus", "truck")] == [0.2, 0.45, 0.7, 0.4]
    assert with_site.score_by_class[CLASSES.index("car")] == 0.6


def test_thresholds_of_a_camera_beat_those_of_a_class_at_the_site():
    """What is said of this camera is nearer than what is said of every camera."""
    config = read(
        "detector: {classes: {car: {score: 0.6, nms_iou: 0.3}}}\ncameras: {door: {source: 'street:', detect: {score: 0.5}}}"
    )

    settings = assembly.make_detection_settings(config.cameras["door"], config, make_manifest(classes=CLASSES))

    assert settings.thresholds.score_by_class[CLASSES.index("car")] == 0.5
    assert settings.thresholds.nms_iou_by_class == {CLASSES.index("car"): 0.3}


def test_sizes_and_ignored_areas_of_a_camera_reach_the_filter():
    """Only classes that have limits are limited; a class that has only a score of its own has none."""
    camera, config = read_camera(
        "source: 'street:'\n    detect: {ignore: [[[0, 0], [1, 0], [1, 0.3]]], "
        "classes: {car: {min_width_ratio: 0.1}, bus: {score: 0.3}}}"
    )

    settings = assembly.make_detection_settings(camera, config, make_manifest(classes=CLASSES))

    assert list(settings.sizes) == [CLASSES.index("car")]
    assert settings.sizes[CLASSES.index("car")].min_width_ratio == 0.1
    assert len(settings.ignore) == 1


@pytest.mark.parametrize("lost_s", [0.2, 2.0, 60.0])
def test_tracker_with_any_lost_time_can_be_made(lost_s):
    """Settings that depend on one another stay within each other's bounds."""
    camera, config = read_camera(f"source: 'street:'\n    track: {{lost_s: {lost_s}}}\n    detect: {{score: 0.06}}")

    assert assembly.make_pipeline(camera, config, make_manifest(classes=CLASSES)) is not None


@pytest.mark.parametrize(
    ("score", "floor"),
    [
        pytest.param(0.5, 0.3, id="what continues a track"),
        pytest.param(0.06, SCORE_FLOOR, id="never below the detector's"),
    ],
)
def test_pipeline_asks_for_no_detection_that_its_tracker_cannot_use(score, floor):
    """The floor is the least score that continues a track of any class; whoever wants the rest says so."""
    camera, config = read_camera(f"source: 'street:'\n    detect: {{score: {score}, classes: {{car: {{score: 0.9}}}}}}")
    manifest = make_manifest(classes=CLASSES)

    usual = assembly.make_pipeline(camera, config, manifest)
    curious = assembly.make_pipeline(camera, config, manifest, reports_weak=True)

    assert usual.detection.thresholds.floor == pytest.approx(floor)
    assert curious.detection.thresholds.floor == SCORE_FLOOR


POLYGON = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
LIMITS = {
    "min_score": 0.3,
    "min_width_ratio": 0.1,
    "max_width_ratio": 0.9,
    "min_height_ratio": 0.2,
    "max_height_ratio": 0.8,
}
DEFAULTS = {"zones": {"porch": {"polygon": [[0, 0], [1, 0], [0, 1]]}}, "lines": {"gate": {"from": [0, 0], "to": [1, 1]}}}
OTHERS = {"enabled", "pixelate", "areas", "blocked", "covered_by"}
"""Keys that other parts work with."""
RENAMED = {"polygon": "polygon_norm", "from": "start_norm", "to": "end_norm"}


@pytest.mark.parametrize(
    ("place", "section", "settings", "keys"),
    [
        pytest.param(
            ("motion",),
            MotionConfig,
            "MotionSettings",
            {"threshold": 20.0, "min_area_ratio": 0.02, "recheck_s": 3.0, "linger_s": 7.0, "ignore": [POLYGON]},
            id="motion",
        ),
        pytest.param(
            ("track",),
            TrackConfig,
            "TrackerSettings",
            {"confirm_s": 0.7, "lost_s": 4.0, "stationary_s": 9.0, "stationary_lost_s": 11.0},
            id="track",
        ),
        pytest.param(
            ("objects",),
            ObjectsConfig,
            "ObjectSettings",
            {"classes": {"car": LIMITS}, "update_every_s": 20.0, "update_min_s": 3.0},
            id="objects",
        ),
        pytest.param(
            ("zones", "porch"),
            ZoneConfig,
            "ZoneSettings",
            {
                "polygon": POLYGON,
                "classes": {"person": LIMITS},
                "anchor": "centre",
                "dwell_s": 5.0,
                "dwell_repeat_s": 6.0,
                "crowd": {"at": 3, "for_s": 4.0},
                "hysteresis_ratio": 0.11,
                "settle_s": 0.9,
            },
            id="zone",
        ),
        pytest.param(
            ("lines", "gate"),
            LineConfig,
            "LineSettings",
            {"from": [0.1, 0.2], "to": [0.7, 0.8], "classes": {"bus": LIMITS}, "anchor": "centre", "hysteresis_ratio": 0.12},
            id="line",
        ),
    ],
)
def test_settings_every_key_of_a_section_reaches_them(monkeypatch, place, section, settings, keys):
    """No key is read and then forgotten: with any value but the default, the part that works with it has that value."""
    made = []
    make = getattr(assembly, settings)
    monkeypatch.setattr(assembly, settings, lambda **given: made.append(make(**given)) or made[-1])

    def make_settings(camera):
        config = read(json.dumps({"cameras": {"door": {"source": "street:", **DEFAULTS, **camera}}}))
        assembly.make_pipeline(config.cameras["door"], config, make_manifest(classes=CLASSES))
        return made[-1]

    default = make_settings({})
    new = make_settings({place[0]: {place[1]: keys} if place[1:] else keys})

    assert {field.alias or name for name, field in section.model_fields.items()} - OTHERS == keys.keys()
    for key, value in keys.items():
        name = RENAMED.get(key, key)
        assert getattr(new, name) != getattr(default, name), key
        assert _plain(getattr(new, name)) == value, key


def _plain(value):
    """Settings as they stand in a file."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def test_schedule_of_a_camera_covers_its_days_and_times():
    """The names of days become weekdays."""
    camera, _ = read_camera("source: 'street:'\n    schedule: [{days: [fri], from: '22:00', to: '06:00'}]")

    schedule = assembly.make_schedule(camera)

    assert is_on(schedule, datetime(2026, 11, 20, 23, 0))
    assert not is_on(schedule, datetime(2026, 11, 19, 23, 0))


def test_sink_without_a_broker_is_standard_output():
    """Events go somewhere from the first minute."""
    config = read("cameras: {door: {source: 'street:'}}")

    assert isinstance(assembly.make_sink(config, backoff=None), JsonLinesSink)


def test_sink_with_a_broker_is_mqtt():
    """Every key of the broker's section is taken over without complaint."""
    config = read("mqtt: {host: broker, username: me, password: s3cret, tls: {}}\ncameras: {door: {source: 'street:'}}")

    assert isinstance(assembly.make_sink(config, backoff=None), MqttSink)


def test_overrides_without_a_value_are_refused():
    """The message shows the form."""
    assert assembly.parse_overrides(["mqtt.port=1884", "device=a=b"]) == {"mqtt.port": "1884", "device": "a=b"}
    with pytest.raises(InputError, match="expected KEY=VALUE"):
        assembly.parse_overrides(["mqtt.port"])


def test_privacy_of_camera_and_zones_reaches_its_settings():
    """Zones that say nothing about it leave it to the camera."""
    zones = {name: {"polygon": POLYGON} for name in ("porch", "garden")}
    zones["garden"]["pixelate"] = "nobody"
    camera, _ = read_camera(json.dumps({"source": "street:", "privacy": {"pixelate": "unknown"}, "zones": zones}))

    assert assembly.make_privacy(camera) == PrivacySettings(pixelate="unknown", zones={"garden": "nobody"})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        pytest.param({"hide": ["car"]}, {"hide": frozenset({"car"})}, id="hide some"),
        pytest.param({"show": ["road"]}, {"show": frozenset({"road"})}, id="show some alone"),
        pytest.param(
            {"hide": ["car"], "show": ["car", "road"]},
            {"hide": frozenset({"car"}), "show": frozenset({"car", "road"})},
            id="both",
        ),
    ],
)
def test_privacy_by_class_and_polygon_reaches_its_settings(keys, expected):
    """What is hidden by its class, and how far a map of another moment is trusted."""
    privacy = {**keys, "polygons": [POLYGON], "style": "fill", "map_age_s": 0.5, "speed_ratio": 0.1, "margin_ratio": 0.02}
    camera, _ = read_camera(json.dumps({"source": "street:", "privacy": privacy}))

    scene = ScenePrivacy(**expected, most_age_s=0.5, speed_ratio=0.1, margin_ratio=0.02)
    polygon = tuple(tuple(point) for point in POLYGON)
    assert assembly.make_privacy(camera) == PrivacySettings(polygons=(polygon,), scene=scene, style="fill")


def test_overlay_hides_heads_unless_the_camera_shows_everybody():
    """What leaves as a clip is pixelated by default, and on request only is it not."""
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    frame = Frame("door", 1, 0.0, 0.0, 320, 240, lambda: pixels)
    box = np.array([100, 40, 160, 220], np.float32)
    track = Track(1, CLASSES.index("person"), box, 0.9, TrackState.CONFIRMED, False, True, 0.0, 0.0)
    result = FrameResult(frame, None, Tracks((track,), ()), (), {})

    def head(privacy):
        camera, _ = read_camera(json.dumps({"source": "street:", "privacy": privacy}))
        overlay = assembly.make_overlay(camera, CLASSES, caption="door", privacy=assembly.make_privacy(camera))
        return overlay(result, frame).pixels_rgb[45:75, 110:150]

    np.testing.assert_array_equal(head({"pixelate": "nobody"}), pixels[45:75, 110:150])
    assert head({}).std() < 0.5 * pixels.std()
