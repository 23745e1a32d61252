"""`edged replay` as a user runs it: a recording in, the same bytes out, every time."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml
from daemons import save_still_engine

from edged.sinks.video import VideoWriter
from edged.vision.redact import NOTHING, redact

PICTURES = 30


@pytest.fixture(name="site", scope="module")
def fixture_site(tmp_path_factory):
    """A folder with a recording of 30 pictures at 10 a second, an engine that sees a person in it, and two configurations."""
    folder = tmp_path_factory.mktemp("site")
    save_still_engine(folder / "engines" / "still")
    with VideoWriter(folder / "clip.mp4", 10.0) as clip:
        for shade in range(PICTURES):
            clip.write(redact(np.full((240, 320, 3), 120 + shade, np.uint8), NOTHING))
    camera = {
        "source": "rtsp://camera/stream",
        "fps": 5,
        "motion": {"enabled": False},
        "zones": {"hall": {"polygon": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.99], [0.1, 0.99]], "dwell_s": 1}},
    }
    config = {"detector": {"engine": "engines/still"}, "cameras": {"door": camera}}
    (folder / "site.yaml").write_text(yaml.safe_dump(config))
    (folder / "two.yaml").write_text(
        yaml.safe_dump({**config, "cameras": {"door": {**camera}, "yard": json.loads(json.dumps(camera))}})
    )
    return folder


def replay(site, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "edged", "replay", *arguments], cwd=site, capture_output=True, text=True, check=False
    )


def test_replay_twice_gives_equal_bytes_everywhere(site):
    """Events, tracks, detections and the annotated clip."""
    outputs = []
    for run in ("a", "b"):
        files = [f"tracks-{run}.txt", f"detections-{run}.txt", f"overlay-{run}.mp4"]
        done = replay(
            site, "clip.mp4", "--config", "site.yaml", "--tracks", files[0], "--detections", files[1], "--overlay", files[2]
        )
        assert done.returncode == 0, done.stderr
        outputs.append([done.stdout.encode(), *((site / name).read_bytes() for name in files)])

    assert outputs[0] == outputs[1]
    assert all(outputs[0])


def test_replay_of_a_site_tells_its_events_on_stream_time(site):
    """Analysed at the camera's rate, stamped from the chosen moment."""
    done = replay(site, "clip.mp4", "--config", "site.yaml", "--start", "2026-11-20T08:00:00Z")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    dwell = next(event for event in events if event["type"] == "zone.dwell")
    assert [event["type"] for event in events][:2] == ["object.new", "zone.enter"]
    assert events[-1]["type"] == "object.end"
    assert events[0]["id"] == "replay/replay/door/1"
    assert events[0]["captured_at"].startswith("2026-11-20T08:00:00.")
    assert 1.0 <= dwell["dwell_s"] < 1.3
    assert "stages_ms" not in events[0]
    assert f"{PICTURES} frames, {PICTURES // 2} analysed" in done.stderr


def test_replay_of_pictures_takes_the_rate_that_is_named(site):
    """Frames of a tracking sequence are no five a second, and tracks live on stream time."""
    (site / "frames").mkdir()
    for number in range(1, 11):
        cv2.imwrite(str(site / "frames" / f"{number:06}.jpg"), np.full((240, 320, 3), 120, np.uint8))

    done = replay(site, "frames", "--engine", "engines/still", "--fps", "15")

    end = json.loads(done.stdout.splitlines()[-1])
    assert end["type"] == "object.end"
    assert end["captured_at"].startswith("1970-01-01T00:00:00.6")  # nine steps of 1/15 s


def test_replay_rows_number_decoded_frames_from_one(site):
    """MOT rows: frame, id, x, y, w, h, conf, class, -1, -1; every frame has its detection, confirmed tracks their number."""
    replay(site, "clip.mp4", "--config", "site.yaml", "--tracks", "t.txt", "--detections", "d.txt", "--engine", "engines/still")

    detections = [row.split(",") for row in (site / "d.txt").read_text().splitlines()]
    tracks = [row.split(",") for row in (site / "t.txt").read_text().splitlines()]
    assert [int(row[0]) for row in detections] == list(range(1, PICTURES + 1, 2))
    assert all(len(row) == 10 and row[1] == "-1" and row[7:] == ["0", "-1", "-1"] for row in detections)
    assert {row[1] for row in tracks} == {"1"}
    x, y, w, h = map(float, detections[0][2:6])
    assert (x, w) == pytest.approx((140, 40), abs=0.1)
    assert (y, h) == pytest.approx((70, 100), abs=0.1)  # the network's 320 x 320 input holds 40 grey rows above the picture


def test_replay_against_its_own_events_is_equal(site):
    """Exit status 0, and 1 once an event is missing."""
    golden = replay(site, "clip.mp4", "--config", "site.yaml").stdout
    (site / "golden.jsonl").write_text(golden)
    (site / "short.jsonl").write_text("".join(golden.splitlines(keepends=True)[:-1]))

    equal = replay(site, "clip.mp4", "--config", "site.yaml", "--expect", "golden.jsonl")
    different = replay(site, "clip.mp4", "--config", "site.yaml", "--expect", "short.jsonl")

    assert (equal.returncode, different.returncode) == (0, 1)
    assert "unexpected" in different.stdout


def test_replay_with_the_brokers_password_missing_works_all_the_same(site):
    """A replay talks to nobody: the site's secrets may be elsewhere."""
    config = yaml.safe_load((site / "site.yaml").read_text())
    config["mqtt"] = {"host": "broker", "username": "me", "password": {"file": "/nonexistent/password"}}
    (site / "secret.yaml").write_text(yaml.safe_dump(config))

    assert replay(site, "clip.mp4", "--config", "secret.yaml").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["none.mp4"], "none.mp4", id="no such recording"),
        pytest.param(["site.yaml"], "site.yaml", id="not a recording"),
        pytest.param(["clip.mp4", "--fps", "15"], "leave it out", id="rate of a video"),
        pytest.param(["rtsp://camera/x"], "cannot be replayed", id="a camera"),
        pytest.param(["clip.mp4", "--config", "two.yaml"], "choose one with --camera: door, yard", id="several cameras"),
        pytest.param(["clip.mp4", "--config", "site.yaml", "--camera", "dor"], "no camera 'dor'", id="unknown camera"),
        pytest.param(["clip.mp4", "--config", "site.yaml", "--expect", "none.jsonl"], "--expect none.jsonl", id="no golden file"),
        pytest.param(["clip.mp4", "--config", "site.yaml", "--expect", "site.yaml"], "site.yaml line 1", id="no golden events"),
        pytest.param(["clip.mp4", "--config", "none.yaml"], "none.yaml", id="no configuration"),
        pytest.param(["clip.mp4", "--config", "site.yaml", "--tracks", "no/t.txt"], "no/t.txt", id="nowhere to write"),
        pytest.param(["clip.mp4", "--engine", "none"], "no engine 'none'", id="no such engine"),
    ],
)
def test_replay_of_bad_input_exits_with_78_and_names_it(site, arguments, expected):
    """The message says which input and what to do; there is no traceback."""
    done = replay(site, *arguments)

    assert done.returncode == 78, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
