"""`edged demo`: broker, daemon and subscriber on one machine, for a minute."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edged.brokers import RunningBroker, open_amqtt, open_broker, open_mosquitto
from edged.config import Config, load_config
from edged.config.source import read_source_argument
from edged.daemon import Daemon
from edged.errors import InputError
from edged.log import configure_logging
from edged.runtime.interpreter import setter
from edged.runtime.systemd import Notifier

CAMERA = "street"
BROKERS = {"mosquitto": open_mosquitto, "amqtt": open_amqtt}
SUBSCRIBE_S = 20.0
GOODBYE_S = 0.5
STOP_S = 5.0
DEMO_S = 60.0
RECORD_S = 60.0
"""A demo that runs on for ever does not fill the disk."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `edged demo`."""
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="watch this instead of the drawn street: rtsp://…, /dev/video0, clip.mp4, …; "
        "env:NAME takes it from the environment, so that no process list shows a password in it",
    )
    parser.add_argument(
        "--broker", choices=("auto", *BROKERS), default="auto", help="auto is Mosquitto where it is installed, else amqtt"
    )
    parser.add_argument(
        "--for", dest="run_for_s", type=float, default=DEMO_S, metavar="SECONDS", help="how long (default: %(default)s)"
    )
    parser.add_argument("--forever", action="store_true", help="run until Ctrl-C instead")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-out"), metavar="DIR", help="where clip and log go (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Start the parts, say where everything is, stop them again."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, setter(stop))
    source = None if arguments.source is None else read_source_argument(arguments.source)
    out: Path = arguments.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be made: {error.strerror}") from error
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(BROKERS.get(arguments.broker, open_broker)())
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="edged-demo-"))
        log = stack.enter_context((out / "edged.log").open("w", encoding="utf-8"))
        config = _load_demo_config(broker, state=Path(state), source=source)
        configure_logging(level="info", style="text", stream=log)
        _introduce(config, broker, out, length="until Ctrl-C" if arguments.forever else f"for {arguments.run_for_s:g} s")
        stack.enter_context(_subscriber(broker, log_path=out / "watch.log"))
        daemon = Daemon(
            config,
            stop=stop,
            notifier=Notifier(None),
            run_for_s=None if arguments.forever else arguments.run_for_s,
            record_directory=out,
            record_s=RECORD_S,
        )
        status = daemon.run()
    clip = out / f"{CAMERA}.mp4"
    if status:
        print(f"\nthe daemon stopped with status {status}; see {out / 'edged.log'}", file=sys.stderr)
    elif clip.exists():
        print(f"\nannotated clip: {clip}\nlog:            {out / 'edged.log'}")
    return status


def _load_demo_config(broker: RunningBroker, *, state: Path, source: str | None) -> Config:
    overrides = {
        "mqtt.host": broker.host,
        "mqtt.port": str(broker.port),
        "mqtt.protocol": json.dumps(broker.protocol.value),
        "state_dir": json.dumps(str(state)),
    }
    if source is not None:
        is_path = Path(source).exists()
        overrides[f"cameras.{CAMERA}.source"] = json.dumps(str(Path(source).absolute()) if is_path else source)
    return load_config(_find_config(), overrides=overrides)


def _find_config() -> Path:
    """The demo's configuration: in the package, or in the checkout that the package is run from."""
    package = Path(__file__).resolve().parent
    places = [root / "configs" / "demo.yaml" for root in (package, package.parent)]
    return next((place for place in places if place.is_file()), places[0])


def _introduce(config: Config, broker: RunningBroker, out: Path, *, length: str) -> None:
    mqtt = config.mqtt
    print(f"edged demo, {length}")
    print(f"  broker:     {broker.name} on {broker.host}:{broker.port}")
    print(f"  events:     mosquitto_sub -h {broker.host} -p {broker.port} -v -t '{mqtt.prefix}/#'")
    print(f"  clip, log:  {out}/\n", flush=True)


@contextlib.contextmanager
def _subscriber(broker: RunningBroker, *, log_path: Path) -> Iterator[None]:
    """`edged watch` in a process of its own, as any subscriber would be; entered once it listens, to miss nothing."""
    command = [sys.executable, "-m", "edged", "watch", "--host", broker.host, "--port", str(broker.port)]
    with log_path.open("w", encoding="utf-8") as log:
        watcher = subprocess.Popen(command, stderr=log)
    try:
        until_s = time.monotonic() + SUBSCRIBE_S
        while "watching" not in log_path.read_text(encoding="utf-8") and time.monotonic() < until_s:
            time.sleep(0.05)
        yield
        time.sleep(GOODBYE_S)  # the last events are on their way
    finally:
        watcher.terminate()
        try:
            watcher.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.wait()
