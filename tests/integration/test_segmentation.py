"""Maps in the stream as a user has them: real ONNX, a recording of known colours, a broker, the drawn street's truth."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from daemons import DaemonProcess, save_still_engine
from models_onnx import make_segmenter_manifest, save_pixel_colour_engine
from paho.mqtt import client as paho
from stand_ins.face_referee import ListeningSink
from stand_ins.street_segmenter import StreetSegmenter
from waiting import wait_until

from edged import replay
from edged.brokers import find_mosquitto, open_mosquitto
from edged.config import parse_config
from edged.engine_opening import OpenedNetwork
from edged.rules.scene import SceneSettings, SceneWatch, class_grid
from edged.rules.surfaces import MOVING
from edged.sinks.video import VideoWriter
from edged.sources.street import StreetSource
from edged.street.scene import Street
from edged.street.surfaces import CLASSES
from edged.vision.redact import NOTHING, redact

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="needs the program mosquitto")

RED, GREEN = (220, 10, 10), (10, 220, 10)  # road and car, to the segmenter
WIDTH, HEIGHT, FPS, SECONDS = 320, 240, 5, 20
BLOCKED_FROM_S, BLOCKED_TO_S = 6.0, 12.0
RIGHT = [[0.7, 0.0], [1.0, 0.0], [1.0, 1.0], [0.7, 1.0]]
LEFT = [[0.0, 0.0], [0.3, 0.0], [0.3, 1.0], [0.0, 1.0]]


def draw(second: float) -> np.ndarray:
    """All road; for a while a car fills the right third."""
    pixels = np.full((HEIGHT, WIDTH, 3), RED, np.uint8)
    if BLOCKED_FROM_S <= second < BLOCKED_TO_S:
        pixels[:, 224:] = GREEN
    return pixels


@pytest.fixture(name="site", scope="module")
def fixture_site(tmp_path_factory) -> Path:
    """A folder with the recording, a detector that sees a person in the middle, and the segmenter."""
    folder = tmp_path_factory.mktemp("site")
    save_still_engine(folder / "engines" / "still")
    save_pixel_colour_engine(folder / "engines" / "colours", make_segmenter_manifest(), weights=np.eye(3))
    with VideoWriter(folder / "clip.mp4", FPS) as clip:
        for index in range(FPS * SECONDS):
            clip.write(redact(draw(index / FPS), NOTHING))
    return folder


def make_config(**changed: object) -> dict:
    zones = {
        "way": {"polygon": RIGHT, "blocked": {"classes": ["car"], "above": 0.5, "for_s": 2}, "areas": ["car"]},
        "lawn": {"polygon": LEFT, "covered_by": [{"name": "van", "classes": ["car"], "above": 0.5}]},
    }
    camera = {"source": "clip.mp4", "fps": FPS, "motion": {"enabled": False}, "zones": zones, "scene": {"learn_s": 5}}
    return {
        "device": "gate",
        "state_dir": "state",
        "detector": {"engine": "engines/still"},
        "segmentation": {"enabled": True, "engine": "engines/colours", "every_s": 1},
        "cameras": {"door": {**camera, **changed}},
    }


def run_edged(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "edged", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_replay_says_when_a_way_is_blocked_and_free_and_what_one_stands_on(site):
    """On stream time, each after its `for_s`, by the shares of the true colours; in every run the same bytes."""
    (site / "replay.yaml").write_text(yaml.safe_dump(make_config()))
    runs = [run_edged(site, "replay", "clip.mp4", "--config", "replay.yaml", "--start", "2026-11-20T08:00:00Z") for _ in range(2)]

    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    events = [json.loads(line) for line in runs[0].stdout.splitlines()]
    told = {event["type"]: event for event in events}
    blocked, free = told["zone.blocked"], told["zone.free"]
    assert (blocked["zone"], blocked["captured_at"][17:23]) == ("way", "08.000")
    assert blocked["details"]["classes"]["car"] == pytest.approx(1.0, abs=0.05)
    assert free["captured_at"][17:23] == "14.000"
    assert free["details"]["lasted_s"] == BLOCKED_TO_S - BLOCKED_FROM_S + 2
    assert "zone.covered_by" not in told
    assert told["object.end"]["object"]["surface"] == "road"


def with_rule(**rule: object) -> dict:
    return {"zones": {"way": {"polygon": RIGHT, "blocked": rule}}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            {"areas": {"classes": ["rood"]}},
            "door.areas.classes[0]: the engine has no class 'rood'; did you mean road? it knows road, car, person",
            id="class of the picture",
        ),
        pytest.param(
            with_rule(classes=["van"], above=0.5),
            "zones.way.blocked.classes[0]: the engine has no class 'van'; ",
            id="class of a rule",
        ),
        pytest.param(with_rule(classes=["car"]), "needs above (these block it) or below", id="no bound"),
        pytest.param(with_rule(classes=["car"], above=0.5, below=0.1), "not both", id="two bounds"),
        pytest.param(with_rule(classes=["car"], above=0.05), "would never be over", id="hysteresis"),
        pytest.param(with_rule(classes=["car", "car"], above=0.5), "the class 'car' stands twice", id="twice"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_class_that_the_segmenter_lacks_is_named_before_anything_runs(site, command, change, expected):
    """With its place and the classes that there are, by `edged check` and at the start alike."""
    (site / "wrong.yaml").write_text(yaml.safe_dump(make_config(**change)))

    done = run_edged(site, command, *([] if command == "check" else ["--config"]), "wrong.yaml")

    assert done.returncode == 78
    assert expected in done.stderr


def test_check_tells_the_segmenter_and_its_classes(site):
    """And its licence, as for the other networks."""
    (site / "right.yaml").write_text(yaml.safe_dump(make_config()))

    done = run_edged(site, "check", "right.yaml")

    assert done.returncode == 0, done.stderr
    assert "maps by scene (64x32, fp32): road, car, person" in done.stdout


def test_engine_of_another_task_is_no_segmenter(site):
    """A detector makes no maps."""
    config = make_config()
    config["segmentation"]["engine"] = "engines/still"
    (site / "wrong.yaml").write_text(yaml.safe_dump(config))

    done = run_edged(site, "check", "wrong.yaml")

    assert done.returncode == 78
    assert "segmentation.engine" in done.stderr


class Listener:
    """A subscriber of areas and answers of the device: what it heard, and the topics from which a kept message was taken."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, dict, bool]] = []
        self.emptied: set[str] = set()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("edged/gate/+/areas", qos=1)
        self.client.subscribe("edged/gate/answer/#", qos=1)
        self.client.loop_start()

    def _hear(self, _client, _data, message) -> None:
        if message.payload:
            self.messages.append((message.topic, json.loads(message.payload), message.retain))
        else:
            self.emptied.add(message.topic)

    def areas(self) -> list[dict]:
        return [body for topic, body, _ in self.messages if topic.endswith("/areas")]


@contextmanager
def listening(port: int):
    listener = Listener(port)
    try:
        yield listener
    finally:
        listener.client.loop_stop()
        listener.client.disconnect()


@needs_mosquitto
def test_areas_are_kept_by_the_broker_and_follow_the_configuration(site):
    """Whoever comes later sees them; `map.get` answers; a stop takes them back; after a restart there are the new zones alone."""
    street = {"source": "street:", "motion": {"enabled": True}}
    with open_mosquitto() as broker:
        config = make_config(**street) | {"mqtt": {"host": "127.0.0.1", "port": broker.port}, "commands": {"enabled": True}}
        with DaemonProcess(site, config) as daemon:
            daemon.wait_for_log("maps ready: scene")
            with listening(broker.port) as early:
                wait_until(lambda: any("picture" in each for each in early.areas()), timeout_s=60)
            with listening(broker.port) as late:
                wait_until(lambda: late.messages)
                request = {"id": "1", "arguments": {"camera": "door", "form": "rle"}}
                late.client.publish("edged/gate/command/map.get", json.dumps(request), qos=1)
                wait_until(lambda: any("answer" in topic for topic, _, _ in late.messages))
                status = daemon.stop()
                wait_until(lambda: late.areas()[-1]["zones"] == {})
        config["cameras"]["door"]["zones"] = {"yard": {"polygon": LEFT}}
        with DaemonProcess(site, config) as daemon, listening(broker.port) as again:
            wait_until(lambda: any(each["zones"] for each in again.areas()), timeout_s=60)
            daemon.stop()
        config["cameras"] = {"yard": config["cameras"]["door"]}
        with listening(broker.port) as witness, DaemonProcess(site, config) as daemon:
            daemon.wait_for_log("maps ready: scene")
            wait_until(lambda: "edged/gate/door/areas" in witness.emptied)
            with listening(broker.port) as last:
                wait_until(lambda: any(each["zones"] for each in last.areas()), timeout_s=60)
                daemon.stop()

    topic, kept, is_retained = late.messages[0]
    answer = next(body for topic, body, _ in late.messages if "answer" in topic)
    assert status == 0, daemon.log
    assert (topic, is_retained) == ("edged/gate/door/areas", True)
    assert list(kept["zones"]) == ["way", "lawn"]
    assert list(kept["zones"]["way"]["shares"]) == ["car"]
    assert set(kept["picture"]) == {"road", "car", "person"}
    assert sum(kept["picture"].values()) == pytest.approx(1, abs=1e-3)
    assert len(kept["model"]) == 64
    assert answer["ok"]
    assert set(answer["answer"]["classes"]) <= {"road", "car", "person"}
    assert "picture" not in late.areas()[-1]
    assert next(list(each["zones"]) for each in again.areas() if each["zones"]) == ["yard"]
    assert {topic for topic, _, _ in last.messages} == {"edged/gate/yard/areas"}


def test_camera_that_is_pushed_while_edged_is_off_is_noticed_after_the_start(site):
    """What a view was like is kept in the state directory; the same view is known by its first map."""
    pushed = np.full((HEIGHT, WIDTH, 3), RED, np.uint8)
    pushed[:, 224:] = GREEN
    for name, pixels in (("before.mp4", draw(0.0)), ("after.mp4", pushed)):
        with VideoWriter(site / name, FPS) as clip:
            for _ in range(FPS * 30):
                clip.write(redact(pixels, NOTHING))
    config = make_config(source="before.mp4", zones={}, scene={"learn_s": 1, "for_s": 1})
    config["segmentation"] |= {"every_s": 0.2, "min_s": 0.2, "moving": ["person"]}
    config["state_dir"] = "views"

    with DaemonProcess(site, config) as daemon:
        wait_until((site / "views" / "views.json").exists, timeout_s=60)
        assert daemon.stop() == 0
    with DaemonProcess(site, config) as again:
        again.wait_for_event("object.new")
        time.sleep(5)  # in which nothing is said
        assert again.stop() == 0
    config["cameras"]["door"]["source"] = "after.mp4"
    with DaemonProcess(site, config) as after:
        moved = after.wait_for_event("camera.moved")
        assert after.stop() == 0

    assert not any(event["type"] == "camera.moved" for event in again.events)
    assert moved["details"]["difference"] == pytest.approx(0.3, abs=0.05)


STREET = StreetSource(seed=3, width=320, height=180, fps=5.0, seconds=12.0, is_live=False)


@pytest.fixture(name="true_site")
def fixture_true_site(tmp_path, monkeypatch):
    """A site whose segmenter knows what the street truly shows."""
    manifest = make_segmenter_manifest(classes=list(CLASSES))
    save_pixel_colour_engine(tmp_path / "engines" / "truth", manifest, weights=np.zeros((3, len(CLASSES))))

    opened = OpenedNetwork(StreetSegmenter(STREET, width=160, height=90), 1)
    monkeypatch.setattr(replay, "open_configured_segmenter", lambda directory, config: opened)
    text = {
        "state_dir": str(tmp_path / "state"),
        "detector": {"engine": "detector-wide"},
        "segmentation": {"enabled": True, "engine": "engines/truth", "every_s": 1},
        "cameras": {"street": {"source": "street:3", "motion": {"enabled": False}}},
    }
    return parse_config(json.dumps(text), source="test", directory=tmp_path)


def test_objects_of_the_street_stand_on_what_they_truly_stand_on(true_site):
    """Vehicles on the road, walkers on road or pavement, by the true maps and the shipped detector."""
    sink = ListeningSink()
    replay.Replay(true_site, "street", every_frame=True, start_at=0.0, sinks=[sink]).run(replace(STREET))

    ended = [event["object"] for event in sink.events if event["type"] == "object.end"]
    stood = Counter((thing["class"] == "person", thing.get("surface")) for thing in ended)
    print(f"objects by (is a person, what they stood on last): {dict(stood)}")
    vehicles = {surface for is_person, surface in stood if not is_person}
    assert vehicles <= {"road", "pavement"}
    assert stood[False, "road"] >= 1
    assert stood[True, "pavement"] + stood[True, "road"] >= 1
    assert all(surface in ("road", "pavement") for _, surface in stood)


def watch_street(seed: int, *, shift: tuple[float, float]) -> list[tuple[int, float]]:
    """Ten minutes of true maps through a window that is shifted after 350 s; when that is said, and how much differs."""
    street = Street(seed, width=240, height=136, fps=1.0)
    watch = SceneWatch(SceneSettings(), np.array([name not in MOVING for name in CLASSES]))
    said = []
    for second in range(0, 600, 10):
        x, y = (30 + round(180 * shift[0]), 17 + round(102 * shift[1])) if second >= 350 else (30, 17)
        moved = watch.update(class_grid(street.labels(second)[y : y + 102, x : x + 180], len(CLASSES)), float(second))
        said += [] if moved is None else [(second, moved.difference)]
    return said


@pytest.mark.parametrize(("seed", "shift"), [(0, (0.075, 0.0)), (1, (0.0, 0.05)), (2, (0.15, 0.15))])
def test_view_of_the_street_that_is_shifted_is_another_one(seed, shift):
    """A fourteenth sideways, a twentieth up or down: said once, after its minute."""
    ((second, difference),) = watch_street(seed, shift=shift)

    print(f"street:{seed} shifted by {shift}: difference {difference:.3f}")
    assert second == 350 + 60


@pytest.mark.parametrize("seed", [0, 1])
def test_view_of_the_street_is_the_same_whatever_passes(seed):
    """Buses, trucks, people."""
    assert watch_street(seed, shift=(0.0, 0.0)) == []
