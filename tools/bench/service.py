"""The daemon as a child process: its memory, its first event, how soon events reach a subscriber, how many cameras it carries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

import yaml

from edged.brokers import RunningBroker, open_broker
from edged.errors import InputError
from edged.events.schema import CameraStateMessage, EventMessage
from edged.events.wire import decode_camera_state, decode_event
from edged.sinks.mqtt_connection import MqttConnection, open_connection
from edged.sinks.mqtt_settings import MqttSettings

SITE = Path(__file__).resolve().parents[2] / "configs" / "demo.yaml"
ANALYSED_FPS = 5.0
N_CAMERAS = 8
CAMERAS_S = 34.0
"""A little longer than the 30 s after which every camera's state is published again."""

_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 15.0
_TURN_S = 0.2
_GOODBYE_S = 1.0


@dataclass(frozen=True, slots=True)
class OneCamera:
    """A daemon with one camera.

    Attributes:
        first_event_s: from the start of the process to the first event at the subscriber.
        peak_rss_mb: most memory that it ever held.
        n_events: whose delay was measured.
        delay_ms_p50, delay_ms_p99: from capture of the frame that decided to the subscriber.
        infer_ms_p50: what the network took of that, by the clock on the wall.
        own_ms_p50, own_ms_p99: the delay without the network's time, event by event.
    """

    first_event_s: float
    peak_rss_mb: float
    n_events: int
    delay_ms_p50: float
    delay_ms_p99: float
    infer_ms_p50: float
    own_ms_p50: float
    own_ms_p99: float


@dataclass(frozen=True, slots=True)
class ManyCameras:
    """A daemon with several cameras.

    Attributes:
        captured, analysed, dropped: frames of all of them together.
        cpu_cores: cores kept busy, in the mean.
        cpu_ms_per_frame: CPU of the whole process by analysed frame; each camera decodes three frames for one analysed.
        peak_rss_mb: most memory that it ever held.
    """

    n_cameras: int
    seconds: float
    captured: int
    analysed: int
    dropped: int
    cpu_cores: float
    cpu_ms_per_frame: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message at the subscriber.

    Attributes:
        at: UTC seconds since 1970.
    """

    at: float
    topic: str
    body: bytes


def measure_one_camera(clip: Path, *, engine: str, directory: Path, seconds: float) -> OneCamera:
    """Run a daemon on one camera whose objects are reported with every frame, for so many seconds after the first event."""
    camera = {"objects": {"update_every_s": 0.2, "update_min_s": 0}}
    with ExitStack() as stack:
        broker = stack.enter_context(open_broker())
        subscriber = stack.enter_context(Subscriber(broker))
        daemon = stack.enter_context(DaemonChild(directory, make_config(clip, engine=engine, broker=broker, **camera)))
        first = subscriber.wait_for("/event/", limit_s=_START_LIMIT_S, daemon=daemon)
        subscriber.listen(seconds)
        peak_rss_mb = daemon.peak_rss_mb()
        daemon.stop()
    events = [(arrival, decode_event(arrival.body)) for arrival in subscriber.arrivals if "/event/" in arrival.topic]
    delays = [delay_of(arrival, event) for arrival, event in events if event.stages_ms]
    if not delays:
        raise InputError("the daemon sent no event that an analysed frame decided")
    totals, infers = [total for total, _ in delays], [infer for _, infer in delays]
    own = [total - infer for total, infer in delays]
    return OneCamera(
        first_event_s=first.at - daemon.started_at,
        peak_rss_mb=peak_rss_mb,
        n_events=len(delays),
        delay_ms_p50=median(totals),
        delay_ms_p99=percentile(totals, 99),
        infer_ms_p50=median(infers),
        own_ms_p50=median(own),
        own_ms_p99=percentile(own, 99),
    )


def measure_many_cameras(clip: Path, *, engine: str, directory: Path) -> ManyCameras:
    """Run a daemon on several cameras at once. The clip must last longer than `CAMERAS_S`: where it ends a camera is lost."""
    with ExitStack() as stack:
        broker = stack.enter_context(open_broker())
        subscriber = stack.enter_context(Subscriber(broker))
        config = make_config(clip, engine=engine, broker=broker, n_cameras=N_CAMERAS, motion={"enabled": False})
        daemon = stack.enter_context(DaemonChild(directory, config))
        subscriber.wait_for("/event/", limit_s=_START_LIMIT_S, daemon=daemon)
        began_s, began_cpu_s = time.monotonic(), daemon.cpu_s()
        subscriber.listen(CAMERAS_S)
        seconds, cpu_s, peak_rss_mb = time.monotonic() - began_s, daemon.cpu_s() - began_cpu_s, daemon.peak_rss_mb()
        daemon.stop()
    states = newest_states(subscriber.arrivals)
    if len(states) != N_CAMERAS or any(not state.frames.captured for state in states):
        raise InputError(f"expected frames of {N_CAMERAS} cameras, got {[(s.camera, s.frames.captured) for s in states]}")
    analysed = sum(state.frames.detected + state.frames.gated for state in states)
    return ManyCameras(
        n_cameras=N_CAMERAS,
        seconds=seconds,
        captured=sum(state.frames.captured for state in states),
        analysed=analysed,
        dropped=sum(state.frames.dropped for state in states),
        cpu_cores=cpu_s / seconds,
        cpu_ms_per_frame=1000 * cpu_s / (seconds * N_CAMERAS * ANALYSED_FPS),
        peak_rss_mb=peak_rss_mb,
    )


def make_config(clip: Path, *, engine: str, broker: RunningBroker, n_cameras: int = 1, **camera: object) -> dict:
    """The demo's site on a recording, so many times, with some keys of a camera changed."""
    site = yaml.safe_load(SITE.read_text(encoding="utf-8"))
    (street,) = site["cameras"].values()
    street = {**street, "source": str(clip), "fps": ANALYSED_FPS, **camera}
    return {
        **site,
        "device": "bench",
        "state_dir": "state",
        "mqtt": {"host": broker.host, "port": broker.port, "protocol": broker.protocol.value},
        "detector": {"engine": engine, "threads": 1},
        "cameras": {f"street{number}": street for number in range(1, n_cameras + 1)},
    }


def delay_of(arrival: Arrival, event: EventMessage) -> tuple[float, float]:
    """Milliseconds from capture to arrival, and how many of them the network took."""
    captured_at = datetime.fromisoformat(event.captured_at.replace("Z", "+00:00")).timestamp()
    return 1000 * (arrival.at - captured_at), event.stages_ms.get("infer", 0.0)


def newest_states(arrivals: Sequence[Arrival]) -> list[CameraStateMessage]:
    """The last state of every camera."""
    states = {}
    for arrival in arrivals:
        if arrival.topic.endswith("/state"):
            state = decode_camera_state(arrival.body)
            states[state.camera] = state
    return list(states.values())


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def memory_mb(pid: int, name: str) -> float:
    """A figure of the kernel about a process's memory, e.g. `VmRSS`, MB of 10^6 bytes.

    Source: proc_pid_status(5).
    """
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(found.split()[1]) * 1024 / 1e6


class Subscriber:
    """Notes what a broker sends and when; a context manager."""

    def __init__(self, broker: RunningBroker) -> None:
        self._settings = MqttSettings(
            host=broker.host, port=broker.port, device="+", protocol=broker.protocol, client_id="edged-bench-subscriber"
        )
        self.arrivals: list[Arrival] = []

    def __enter__(self) -> Subscriber:
        self._connection: MqttConnection = open_connection(self._settings)
        self._connection.subscribe(f"{self._settings.topic_head}#", qos=1)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close(_GOODBYE_S)

    def listen(self, seconds: float) -> None:
        """Note what comes within this time."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._turn()

    def wait_for(self, part: str, *, limit_s: float, daemon: DaemonChild) -> Arrival:
        """The first message whose topic has this in it."""
        until_s, looked_at = time.monotonic() + limit_s, 0
        while True:
            for arrival in self.arrivals[looked_at:]:
                if part in arrival.topic:
                    return arrival
            looked_at = len(self.arrivals)
            if time.monotonic() > until_s or daemon.has_ended:
                raise InputError(f"no {part} from the daemon; its log ends with\n{daemon.log_tail()}")
            self._turn()

    def _turn(self) -> None:
        self._connection.turn(_TURN_S)
        if self._connection.lost:
            raise self._connection.lost
        at = time.time()
        self.arrivals += [Arrival(at, received.topic, received.body) for received in self._connection.take_received()]


class DaemonChild:
    """`edged run` as a child process in a directory of its own; a context manager that leaves no process behind."""

    def __init__(self, directory: Path, config: dict) -> None:
        directory.mkdir()
        self._directory = directory
        self._config_path = directory / "edged.yaml"
        self._log_path = directory / "edged.log"
        self._write(config)

    def __enter__(self) -> DaemonChild:
        command = [sys.executable, "-m", "edged", "run", "--config", str(self._config_path)]
        with self._log_path.open("wb") as log:
            self.started_at = time.time()
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_STOP_LIMIT_S)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def log(self) -> str:
        """What it said so far."""
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    def log_tail(self) -> str:
        """The end of what it said."""
        return self.log()[-2000:]

    def reload(self, config: dict) -> None:
        """Have it read another configuration."""
        self._write(config)
        self._process.send_signal(signal.SIGHUP)

    def peak_rss_mb(self) -> float:
        """The most resident memory so far, MB of 10^6 bytes."""
        return memory_mb(self.pid, "VmHWM")

    def cpu_s(self) -> float:
        """CPU seconds of all its threads so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime

    def stop(self) -> None:
        """End it as systemd would.

        Raises:
            InputError: it did not end well.
        """
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(_STOP_LIMIT_S)
        if status:
            raise InputError(f"the daemon ended with {status}; its log ends with\n{self.log_tail()}")

    def _write(self, config: dict) -> None:
        self._config_path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML without aliases, which are refused
