"""`python -m tools.bench.soak`: the memory, files and threads of a daemon while cameras, broker and configuration come and go.

Two cameras, with faces and maps: the drawn street, and a clip that is lost whenever it ends. Meanwhile the broker is away for
some seconds every few minutes, and the configuration is read again with another zone. What grows here would end a service that
is meant to run for years.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from edged.brokers import RunningBroker, open_broker
from edged.errors import EdgedError, InputError
from edged.models.manifest import find_engine
from tools.bench.clip import FPS, draw_clip
from tools.bench.report import describe_machine
from tools.bench.service import DaemonChild, make_config, memory_mb

CLIP_S = 15.0
SAMPLE_EVERY_S = 10.0
RELOAD_EVERY_S = 60.0
BROKER_EVERY_S = 180.0
BROKER_AWAY_S = 8.0
_WARM_UP = 0.15
"""Of the samples: caches fill, and each kind of thing comes for the first time."""
_FEWEST_SAMPLES = 10
_START_LIMIT_S = 120.0
_ZONE = {"polygon": [[0.1, 0.1], [0.3, 0.1], [0.3, 0.3]], "classes": ["person"]}


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds at a moment.

    Attributes:
        at_s: since its first camera was online.
        rss_mb: resident memory, MB of 10^6 bytes.
    """

    at_s: float
    rss_mb: float
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Soak:
    """A daemon after all that, without its warm-up.

    Attributes:
        lost, broker_restarts, reloads: how often the clip's camera was lost, the broker was away, and the configuration was read.
        rss_mb: median of each sixth of the time: memory swings by several MB, so what grows shows in all of them.
        files, threads: the fewest and the most at once.
    """

    hours: float
    lost: int
    broker_restarts: int
    reloads: int
    rss_mb: tuple[float, ...]
    files: tuple[int, int]
    threads: tuple[int, int]


def main(argv: list[str] | None = None) -> int:
    """Run and print. Returns 1 if the daemon ended before its time, or nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="edged-bench-") as directory:
            soak = measure(60 * arguments.minutes, Path(directory))
    except EdgedError as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"machine": describe_machine(), **asdict(soak)}, indent=1))
    else:
        print(f"{soak.hours:.2f} h: camera lost {soak.lost} times, broker away {soak.broker_restarts}, reloads {soak.reloads}")
        print(f"resident memory by sixths of the time: {', '.join(f'{mb:.1f}' for mb in soak.rss_mb)} MB")
        print(f"files {soak.files[0]} to {soak.files[1]}, threads {soak.threads[0]} to {soak.threads[1]}")
    return 0


def measure(seconds: float, directory: Path) -> Soak:
    """Let a daemon run for so long.

    Raises:
        InputError: it ended, or that is too short for a figure.
    """
    if seconds < _FEWEST_SAMPLES * SAMPLE_EVERY_S:
        raise InputError(f"{seconds:g} s are too short: expected at least {_FEWEST_SAMPLES * SAMPLE_EVERY_S:g}")
    clip = draw_clip(directory / "street.mp4", n_frames=round(CLIP_S * FPS))
    samples: list[Sample] = []
    with ExitStack() as stack:
        broker = stack.enter_context(_ComingAndGoing())
        daemon = stack.enter_context(DaemonChild(directory / "daemon", _make_config(clip, broker.running, reload=0)))
        _wait_until_online(daemon)
        began_s, reloads = time.monotonic(), 0
        while (passed_s := time.monotonic() - began_s) < seconds:
            time.sleep(SAMPLE_EVERY_S)
            if daemon.has_ended:
                raise InputError(f"the daemon ended after {passed_s:.0f} s; its log ends with\n{daemon.log_tail()}")
            samples.append(take_sample(daemon.pid, at_s=passed_s))
            if passed_s > (reloads + 1) * RELOAD_EVERY_S:
                reloads += 1
                daemon.reload(_make_config(clip, broker.running, reload=reloads))
            if passed_s > (broker.restarts + 1) * BROKER_EVERY_S:
                broker.restart()
        daemon.stop()
        return summarise(samples, lost=daemon.log().count("camera lost:"), broker_restarts=broker.restarts, reloads=reloads)


def _wait_until_online(daemon: DaemonChild) -> None:
    until_s = time.monotonic() + _START_LIMIT_S
    while "camera online:" not in daemon.log():
        if daemon.has_ended or time.monotonic() > until_s:
            raise InputError(f"no camera came online; the log ends with\n{daemon.log_tail()}")
        time.sleep(0.2)


def take_sample(pid: int, *, at_s: float) -> Sample:
    """What a process holds now."""
    place = Path(f"/proc/{pid}")
    return Sample(at_s, memory_mb(pid, "VmRSS"), len(os.listdir(place / "fd")), len(os.listdir(place / "task")))


def summarise(samples: Sequence[Sample], *, lost: int, broker_restarts: int, reloads: int) -> Soak:
    """The figures of a run."""
    warm = samples[round(_WARM_UP * len(samples)) :]
    sixths = [warm[len(warm) * part // 6 : len(warm) * (part + 1) // 6] for part in range(6)]
    files, threads = [sample.files for sample in warm], [sample.threads for sample in warm]
    return Soak(
        hours=samples[-1].at_s / 3600,
        lost=lost,
        broker_restarts=broker_restarts,
        reloads=reloads,
        rss_mb=tuple(round(median(sample.rss_mb for sample in part), 1) for part in sixths),
        files=(min(files), max(files)),
        threads=(min(threads), max(threads)),
    )


class _ComingAndGoing:
    """A broker that can be started anew on its port; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.restarts = 0

    def __enter__(self) -> _ComingAndGoing:
        self.running: RunningBroker = self._stack.enter_context(open_broker())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """Away for `BROKER_AWAY_S`, then back."""
        self._stack.close()
        time.sleep(BROKER_AWAY_S)
        self.running = self._stack.enter_context(open_broker(port=self.running.port))
        self.restarts += 1


def _make_config(clip: Path, broker: RunningBroker, *, reload: int) -> dict:
    """With another zone in every other reading."""
    config = make_config(clip, engine=_engine("detector"), broker=broker)
    ((name, camera),) = config["cameras"].items()
    if reload % 2:
        camera = {**camera, "zones": {**camera["zones"], "soak": _ZONE}}
    config["cameras"] = {name: camera, "drawn": {**camera, "source": "street:"}}
    config["faces"] = {"enabled": True, "detector": _engine("face-detector"), "encoder": _engine("face-encoder")}
    config["segmentation"] = {"enabled": True, "engine": _engine("scene-segmenter")}
    return config


def _engine(name: str) -> str:
    return str(find_engine(name, config_dir=None, state_dir=None).absolute())


if __name__ == "__main__":
    sys.exit(main())
