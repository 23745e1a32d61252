"""A daemon of our own as a child process, and what it said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import yaml
from models_onnx import make_manifest, save_engine
from waiting import wait_until

CLASSES = ["person", "bicycle", "car", "motorcycle", "bus", "truck"]


def save_still_engine(directory: Path, *, score: float = 1.6) -> Path:
    """An engine that sees one person in the middle of every picture that is not dark: real ONNX, known answer."""
    shape = {"name": "images", "width": 320, "height": 320, "colour": "rgb", "layout": "nchw", "dtype": "uint8"}
    manifest = make_manifest(name="still", input=shape, classes=CLASSES, strides=[32], anchors=[[[16.0, 24.0]]])
    boxes = np.tile(np.float32([140, 110, 180, 210]), (100, 1))
    scores = np.zeros((100, len(CLASSES)), np.float32)
    scores[0, 0] = score
    save_engine(directory, manifest, boxes=boxes, scores=scores)
    return directory


class DaemonProcess:
    """`edged run` with a configuration, in a directory of its own; a context manager that leaves nothing behind."""

    def __init__(self, directory: Path, config: dict, *, arguments: list[str] | None = None) -> None:
        self.directory = directory
        self.config_path = directory / "edged.yaml"
        self._write(config)
        self._arguments = arguments or []
        self.events: list[dict] = []
        self.log = ""

    def __enter__(self) -> DaemonProcess:
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edged", "run", "--config", str(self.config_path), *self._arguments],
            cwd=self.directory,
            start_new_session=True,  # without a terminal, as a service
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._join_readers()
        self.process.stdout.close()
        self.process.stderr.close()

    def wait_for_log(self, text: str, *, timeout_s: float = 60.0) -> None:
        """Return once the log holds a text."""
        wait_until(lambda: text in self.log or self.process.poll() is not None, timeout_s=timeout_s)
        assert text in self.log, self.log

    def wait_for_event(self, type: str, *, after: int = 0, timeout_s: float = 60.0) -> dict:
        """The first event of a type after the first `after` events."""
        wait_until(lambda: any(event["type"] == type for event in self.events[after:]), timeout_s=timeout_s)
        return next(event for event in self.events[after:] if event["type"] == type)

    def wait_until_catching(self, number: signal.Signals) -> None:
        """Return once the process has a handler for a signal; before, Python itself is still starting."""
        status = Path(f"/proc/{self.process.pid}/status")
        bit = 1 << (number - 1)
        wait_until(lambda: int(status.read_text().split("SigCgt:")[1].split()[0], 16) & bit)

    def reload(self, config: dict) -> None:
        """Write another configuration and have it read."""
        self._write(config)
        self.process.send_signal(signal.SIGHUP)

    def stop(self, *, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout_s)
        self._join_readers()
        return status

    def _join_readers(self) -> None:
        """Return once all that it said was read."""
        for reader in self._readers:
            reader.join(30)
            assert not reader.is_alive()

    def _write(self, config: dict) -> None:
        self.config_path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def _read_events(self) -> None:
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _read_log(self) -> None:
        for line in self.process.stderr:
            self.log += line
