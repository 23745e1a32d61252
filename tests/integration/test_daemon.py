"""The daemon as a user runs it: a child process, real cameras on loopback, real ONNX."""

import json
import os
import signal
import threading
import time

import av
import pytest
from daemons import DaemonProcess, save_still_engine
from servers.rtsp import FakeRtspServer, Faults, moving_square
from waiting import Stopwatch, wait_until


@pytest.fixture(name="engine")
def fixture_engine(tmp_path):
    return save_still_engine(tmp_path / "engines" / "still")


def make_config(source, **camera):
    """One camera called door, everything seen as in the middle of one big zone."""
    zone = {"polygon": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.95], [0.1, 0.95]]}
    return {
        "device": "gate",
        "state_dir": "state",
        "detector": {"engine": "engines/still"},
        "cameras": {"door": {"source": source, "fps": 10, "timeout_s": 2, "zones": {"hall": zone}, **camera}},
    }


def read_counters(directory):
    return json.loads((directory / "state" / "counters.json").read_text())


def test_daemon_on_an_rtsp_camera_that_dies_and_comes_back_goes_on(tmp_path, engine):
    """Its death is told with the cause, its return is found, and what still stands there keeps its id."""
    with (
        FakeRtspServer(moving_square(n=30)) as camera,
        DaemonProcess(tmp_path, make_config(camera.url, timeout_s=10)) as daemon,
    ):
        entered = daemon.wait_for_event("zone.enter")
        n_lost, n_online = (daemon.log.count(f"camera {what}: name=door") for what in ("lost", "online"))
        camera.stop()
        wait_until(lambda: daemon.log.count("camera lost: name=door") > n_lost, timeout_s=60)

        camera.start()
        wait_until(lambda: daemon.log.count("camera online: name=door") > n_online, timeout_s=60)
        status = daemon.stop()

    assert status == 0
    ended = [event["object"]["id"] for event in daemon.events if event["type"] == "object.end"]
    assert ended == [entered["object"]["id"]]


def test_daemon_with_a_password_in_the_url_never_shows_it(tmp_path, engine):
    """Neither log nor events nor the process list hold it, also when the camera refuses it."""
    secret = "pa55-w0rd"
    with FakeRtspServer(moving_square(), username="user", password="other") as camera:
        url = camera.url.replace("rtsp://", f"rtsp://user:{secret}@")
        with DaemonProcess(tmp_path, make_config(url)) as daemon:
            daemon.wait_for_log("cause=auth")
            with open(f"/proc/{daemon.process.pid}/cmdline", encoding="utf-8") as file:
                command_line = file.read()
            status = daemon.stop()

    assert status == 0
    assert secret not in daemon.log
    assert secret not in json.dumps(daemon.events)
    assert secret not in command_line
    assert "the URL holds a password" in daemon.log


@pytest.mark.parametrize("after_s", [0.0, 0.4, 0.8, 1.6, 3.0])
def test_daemon_stopped_at_any_moment_exits_with_0_in_time(tmp_path, engine, after_s):
    """From the first line of our code on, during start, connecting or running: status 0 within 10 s."""
    with DaemonProcess(tmp_path, make_config("street:")) as daemon:
        daemon.wait_until_catching(signal.SIGTERM)
        time.sleep(after_s)  # a moment, not a state: that is the point

        with Stopwatch() as watch:
            status = daemon.stop()

    assert status == 0, daemon.log
    assert watch.ran_s < 10


def test_daemon_restarted_keeps_its_counters_and_gets_a_new_epoch(tmp_path, engine):
    """Totals only rise; ids never repeat."""
    config = make_config("street:")
    epochs, totals = [], []
    for _ in range(2):
        with DaemonProcess(tmp_path, config) as daemon:
            epochs.append(daemon.wait_for_event("zone.enter")["epoch"])
            assert daemon.stop() == 0
        totals.append(read_counters(tmp_path)["door"]["zones"]["hall"]["person"])

    assert totals[1] == totals[0] + 1 >= 2
    assert epochs[0] != epochs[1]


def test_daemon_keeps_the_counters_of_a_disabled_camera(tmp_path, engine):
    """A camera that is switched on again counts on."""
    before = {"yard": {"lines": {}, "zones": {"lawn": {"person": 5}}}}
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "counters.json").write_text(json.dumps(before))
    config = make_config("street:")
    config["cameras"]["yard"] = {"source": "street:", "enabled": False}

    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_for_event("zone.enter")
        assert daemon.stop() == 0

    assert read_counters(tmp_path)["yard"] == before["yard"]
    assert read_counters(tmp_path)["door"]["zones"]["hall"]["person"] >= 1


def test_daemon_killed_has_its_counters_on_disk(tmp_path, engine):
    """A crash loses at most the last second of counting."""
    counters = tmp_path / "state" / "counters.json"
    with DaemonProcess(tmp_path, make_config("street:")) as daemon:
        daemon.wait_for_event("zone.enter")
        wait_until(lambda: counters.exists() and '"person":1' in counters.read_text())

        daemon.stop(number=signal.SIGKILL)

    assert read_counters(tmp_path)["door"]["zones"]["hall"]["person"] >= 1


def test_daemon_started_twice_on_one_state_directory_is_refused(tmp_path, engine):
    """The second one says why and leaves the first alone."""
    config = make_config("street:")
    with DaemonProcess(tmp_path, config) as first:
        first.wait_for_log("camera online")

        with DaemonProcess(tmp_path, config) as second:
            status = second.process.wait(30)

        assert status == 1
        assert "in use by another edged" in second.log
        assert first.process.poll() is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"engine": "engines/none"}, "model.not_found", id="no such engine"),
        pytest.param({"engine": "engines/none"}, "edged.yaml: 1 mistake\n  line", id="place of the mistake"),
        pytest.param({"engine": "engines/still", "classes": {"persn": {}}}, "did you mean person", id="unknown class"),
        pytest.param({"engine": "engines/still", "thread": 2}, "did you mean threads", id="unknown key"),
    ],
)
def test_daemon_with_a_wrong_configuration_exits_with_78(tmp_path, engine, change, expected):
    """systemd must not restart it for that."""
    config = {**make_config("street:"), "detector": change}

    with DaemonProcess(tmp_path, config) as daemon:
        status = daemon.process.wait(30)
        wait_until(lambda: expected in daemon.log)

    assert status == 78


def test_daemon_with_a_damaged_engine_exits_with_78(tmp_path, engine):
    """A flipped bit is found before the network is loaded."""
    body = bytearray((engine / "model.onnx").read_bytes())
    body[len(body) // 2] ^= 1
    (engine / "model.onnx").write_bytes(body)

    with DaemonProcess(tmp_path, make_config("street:")) as daemon:
        status = daemon.process.wait(30)
        wait_until(lambda: "sha256" in daemon.log or "digest" in daemon.log)

    assert status == 78


def test_daemon_with_one_silent_camera_serves_the_other(tmp_path, engine):
    """A dead camera stalls nobody."""
    with FakeRtspServer(moving_square(), faults=Faults(silent_at="DESCRIBE")) as silent:
        config = make_config("street:")
        config["cameras"]["yard"] = {"source": silent.url, "timeout_s": 1}
        with DaemonProcess(tmp_path, config) as daemon:
            event = daemon.wait_for_event("zone.enter")
            daemon.wait_for_log("camera lost: name=yard cause=timeout")
            status = daemon.stop()

    assert event["camera"] == "door"
    assert status == 0


def test_daemon_on_a_camera_that_changes_its_size_says_so_and_starts_anew(tmp_path, engine):
    """Objects end, camera.format is said, boxes are in the new pixels."""
    is_seen = threading.Event()
    faults = Faults(resize_after=is_seen, resize_to=moving_square(n=30, width=480, height=270))
    with (
        FakeRtspServer(moving_square(n=30), faults=faults) as camera,
        DaemonProcess(tmp_path, make_config(camera.url, timeout_s=10)) as daemon,
    ):
        daemon.wait_for_event("object.new")
        is_seen.set()
        changed = daemon.wait_for_event("camera.format")
        position = daemon.events.index(changed)
        again = daemon.wait_for_event("object.new", after=position)
        daemon.stop()

    assert any(event["type"] == "object.end" for event in daemon.events[:position])
    assert (changed["frame"]["width"], changed["frame"]["height"]) != (
        changed["details"]["from_width"],
        changed["details"]["from_height"],
    )
    assert again["frame"]["width"] == changed["frame"]["width"]


def test_daemon_sent_sigusr1_tells_what_every_thread_does_and_goes_on(tmp_path, engine):
    """Whoever operates it can see where it hangs, as often as they like."""
    with DaemonProcess(tmp_path, make_config("street:")) as daemon:
        daemon.wait_for_log("camera online")
        n_asked = 0

        def n_told() -> int:
            return daemon.log.count("thread MainThread (most recent call last)")

        def is_told_again(before: int) -> bool:
            nonlocal n_asked
            os.kill(daemon.process.pid, signal.SIGUSR1)  # adds nothing while the one before is still being answered
            n_asked += 1
            time.sleep(0.02)
            return n_told() > before

        for _ in range(20):
            before = n_told()
            wait_until(lambda before=before: is_told_again(before))

        assert 20 <= n_told() <= n_asked
        for thread in ("capture door", "analysis"):
            assert f"thread {thread} (most recent call last):" in daemon.log
        assert "in _watch" in daemon.log
        assert daemon.stop() == 0


def test_daemon_aborted_by_the_watchdog_tells_where_it_hung(tmp_path, engine):
    """systemd sends SIGABRT to a service that stopped feeding its watchdog."""
    with DaemonProcess(tmp_path, make_config("street:")) as daemon:
        daemon.wait_for_log("camera online")
        wait_until((tmp_path / "state" / "counters.json").exists)  # its main thread goes round

        assert daemon.stop(number=signal.SIGABRT) == -signal.SIGABRT

    assert "Fatal Python error: Aborted" in daemon.log
    assert "in _watch" in daemon.log


def test_daemon_asked_to_run_for_a_while_stops_by_itself(tmp_path, engine):
    """`--for` and `--record`: for trying out a configuration."""
    with DaemonProcess(tmp_path, make_config("street:"), arguments=["--for", "10", "--record", "clips"]) as daemon:
        status = daemon.process.wait(60)

    assert status == 0, daemon.log
    assert (tmp_path / "clips" / "door.mp4").stat().st_size > 1000


def test_daemon_that_detects_on_a_small_stream_draws_into_the_main_one(tmp_path, engine):
    """The sub-stream is analysed; what people look at comes from the main stream."""
    with FakeRtspServer(moving_square(n=30, width=640, height=480)) as main, FakeRtspServer(moving_square(n=30)) as small:
        config = make_config(main.url, detect_source=small.url, timeout_s=10)
        second = tmp_path / "clips" / "door.2.mp4.part"  # there is one where the main stream was late
        with DaemonProcess(tmp_path, config, arguments=["--record", "clips"]) as daemon:
            entered = daemon.wait_for_event("zone.enter")
            daemon.wait_for_log("camera online: name=door size=640x480")
            with Stopwatch() as watch:
                wait_until(lambda: second.exists() or watch.ran_s > 4, timeout_s=60)
            status = daemon.stop()

    assert status == 0, daemon.log
    assert (entered["frame"]["width"], entered["frame"]["height"]) == (320, 240)
    clips = (tmp_path / "clips").glob("*.mp4")
    newest = max(clips, key=lambda clip: clip.stat().st_mtime_ns)
    with av.open(str(newest)) as clip:
        assert (clip.streams.video[0].width, clip.streams.video[0].height) == (640, 480)


def test_daemon_sent_sighup_takes_over_zones_and_refuses_mistakes(tmp_path, engine):
    """What changes is told as events; a typo changes nothing; what needs a restart is named."""
    config = make_config("street:", motion={"enabled": False})
    everywhere = {"polygon": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]}
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_for_event("zone.enter")

        config["cameras"]["door"]["zones"] = {"yard": everywhere}
        config["cameras"]["door"]["fps"] = 7
        config["detector"] = {"engine": "nowhere"}
        daemon.reload(config)
        left = daemon.wait_for_event("zone.leave")
        entered = daemon.wait_for_event("zone.enter", after=daemon.events.index(left))
        daemon.wait_for_log("these keys count after a restart: detector.engine, cameras.door.fps")
        daemon.wait_for_log("edged would not start with this configuration: ")

        config["cameras"]["door"]["zones"] = {"yard": {**everywhere, "dwel_s": 1}}
        daemon.reload(config)
        daemon.wait_for_log("the configuration is not taken over, the one before stays")

        config["cameras"]["door"]["zones"] = {"yard": {**everywhere, "dwell_s": 1}}
        daemon.reload(config)
        dwelt = daemon.wait_for_event("zone.dwell")
        assert daemon.stop() == 0

    assert (left["zone"], left["details"]) == ("hall", {"reason": "removed"})
    assert (entered["zone"], entered["object"]["id"]) == ("yard", left["object"]["id"])
    assert (dwelt["zone"], dwelt["object"]["id"]) == ("yard", left["object"]["id"])
    assert "cameras.door.zones.yard.dwel_s" in daemon.log
    assert read_counters(tmp_path)["door"]["zones"] == {"hall": {"person": 1}, "yard": {"person": 1}}


def test_daemon_that_stands_still_calls_no_camera_stuck(tmp_path, engine):
    """A virtual machine that is moved, a board that is too hot: nothing is opened anew for that."""
    with FakeRtspServer(moving_square(n=30)) as camera, DaemonProcess(tmp_path, make_config(camera.url)) as daemon:
        daemon.wait_for_event("zone.enter")

        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(5)  # more than a capture may take
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_for_log("edged stood still")
        time.sleep(2)
        assert daemon.stop() == 0

    assert "loop is stuck" not in daemon.log
