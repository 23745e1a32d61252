"""The daemon while it opens its networks, which takes seconds or minutes on a device."""

import logging
import threading
from dataclasses import replace

import pytest
from daemons import save_still_engine
from stand_ins.face_referee import ListeningSink
from waiting import wait_until

from edged import daemon
from edged.config import parse_config
from edged.daemon import Daemon
from edged.engine_opening import open_configured_network
from edged.errors import EXIT_CONFIG, EXIT_DEVICE, DeviceError, InputError, ModelError
from edged.runtime import loop
from edged.runtime.systemd import Notifier


class Manager(Notifier):
    """The service manager: keeps what it is told, and tells the test that the end has come."""

    def __init__(self):
        super().__init__("kept")
        self.told = []
        self.is_stopping = threading.Event()

    def stopping(self):
        super().stopping()
        self.is_stopping.set()

    def _send(self, text):
        self.told.append(text)


@pytest.fixture(name="config")
def fixture_config(tmp_path):
    save_still_engine(tmp_path / "engines" / "still")
    text = "{state_dir: state, detector: {engine: engines/still}, cameras: {door: {source: 'street:'}}}"
    return parse_config(text, source="test", directory=tmp_path)


def run_daemon(config, manager, *, stop=None, run_for_s=0.0):
    return Daemon(config, stop=stop or threading.Event(), notifier=manager, run_for_s=run_for_s).run()


def test_daemon_that_opens_a_network_for_long_has_systemd_wait(config, monkeypatch):
    """Again and again until it is ready, and not once after that; no watchdog runs before."""
    manager = Manager()

    def open_slowly(*arguments, **settings):
        wait_until(lambda: sum(text.endswith("STATUS=analysis opens still") for text in manager.told) >= 3)
        return open_configured_network(*arguments, **settings)

    monkeypatch.setattr(daemon, "open_configured_network", open_slowly)
    monkeypatch.setattr(daemon, "STARTING_PERIOD_S", 0.0)

    status = run_daemon(config, manager)

    *starting, ready, stopping = manager.told
    assert status == 0
    assert starting.count("EXTEND_TIMEOUT_USEC=300000000\nSTATUS=analysis opens still") >= 3
    assert all(text.startswith("EXTEND_TIMEOUT_USEC=300000000\n") for text in starting)
    assert (ready, stopping) == ("READY=1\nSTATUS=1 cameras", "STOPPING=1")


def test_daemon_whose_network_never_opens_ends_with_1_and_says_which(config, monkeypatch, caplog):
    """A driver that does not answer ends the process, as any other loop that is stuck does."""
    manager = Manager()

    def open_never(*_, **__):
        manager.is_stopping.wait(60)
        raise ModelError("nobody cares any more")

    monkeypatch.setattr(daemon, "open_configured_network", open_never)
    monkeypatch.setattr(loop, "OPENING_LIMIT_S", 1.0)

    with caplog.at_level(logging.ERROR):
        status = run_daemon(config, manager)

    assert status == 1
    assert "edged stops: analysis is still opening still after 1 s" in caplog.text
    assert manager.told[-1] == "STOPPING=1"


def test_daemon_whose_processor_computes_instead_says_so_in_the_state_of_its_cameras(config, monkeypatch):
    """Never silently."""
    stop = threading.Event()

    class SinkUntilState(ListeningSink):
        def publish(self, message):
            super().publish(message)
            if self.states:
                stop.set()

    sink = SinkUntilState()

    def open_instead(*arguments, **settings):
        return replace(open_configured_network(*arguments, **settings), fallback="no GPU")

    monkeypatch.setattr(daemon, "open_configured_network", open_instead)
    monkeypatch.setattr(daemon.assembly, "make_sink", lambda config, *, backoff: sink)

    assert run_daemon(config, Manager(), stop=stop, run_for_s=300.0) == 0
    assert [state["fallback"] for state in sink.states] == ["no GPU"] * len(sink.states)
    assert sink.states


def test_daemon_that_is_stopped_while_a_network_is_opened_starts_nothing_more(config, monkeypatch):
    """It ends well, and never says that it was ready."""
    manager, stop = Manager(), threading.Event()

    def open_at_the_stop(*arguments, **settings):
        stop.set()
        manager.is_stopping.wait(60)
        return open_configured_network(*arguments, **settings)

    monkeypatch.setattr(daemon, "open_configured_network", open_at_the_stop)

    assert run_daemon(config, manager, stop=stop) == 0
    assert [text for text in manager.told if not text.startswith("EXTEND_TIMEOUT_USEC")] == ["STOPPING=1"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(DeviceError(999, "the device is lost"), EXIT_DEVICE, id="a device that is lost"),
        pytest.param(ModelError("the engine is stale"), EXIT_CONFIG, id="a network that is wrong"),
        pytest.param(InputError("they contradict each other"), EXIT_CONFIG, id="settings that are wrong"),
        pytest.param(RuntimeError("broken"), 1, id="anything else"),
    ],
)
def test_daemon_whose_network_fails_to_open_exits_by_the_reason(config, monkeypatch, error, expected):
    """Only what a new start may mend is started anew."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(daemon, "open_configured_network", fail)

    assert run_daemon(config, Manager()) == expected
