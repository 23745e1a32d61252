"""Ultralytics YOLO11n with ByteTrack on the same clip, run by a Python of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edged.errors import InputError

_SCRIPT = Path(__file__).resolve().parents[1] / "peer_ultralytics.py"
_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class PeerCost:
    """What the peer needs.

    Attributes:
        version: of Ultralytics and torch.
        has_torchvision: False where its build does not fit torch's; suppression is then Ultralytics' own.
        cpu_ms_per_frame, frames_per_s: on one thread.
        boxes_per_frame: with random weights none, so tracking costs it next to nothing.
    """

    version: str
    has_torchvision: bool
    cpu_ms_per_frame: float
    frames_per_s: float
    boxes_per_frame: float


def measure_peer(clip: Path, *, python: Path, directory: Path, size: int, n_frames: int, is_minimal: bool) -> PeerCost:
    """Run the peer on the first frames of a clip.

    Args:
        python: of the environment that holds it.
        directory: where it may keep its settings.
        size: side of the network's input, pixels.
        is_minimal: its default, an input cut to the shape of the picture; else square, as ours is.

    Raises:
        InputError: it cannot be started or fails.
    """
    command = [str(python), str(_SCRIPT), str(clip), "--size", str(size), "--frames", str(n_frames)]
    quiet = {"YOLO_CONFIG_DIR": str(directory), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command + ["--minimal"] * is_minimal,
            env={**os.environ, **quiet},
            cwd=directory,
            check=True,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
        )
    except OSError as error:
        raise InputError(f"{python}: cannot be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{python}: the peer took longer than {_LIMIT_S:g} s") from error
    except subprocess.CalledProcessError as error:
        raise InputError(f"{python}: the peer failed; are requirements/bench.txt installed?\n{error.stderr[-2000:]}") from error
    figures = json.loads(done.stdout.splitlines()[-1])
    return PeerCost(
        version=f"ultralytics {figures['version']}, torch {figures['torch']}",
        has_torchvision=figures["has_torchvision"],
        cpu_ms_per_frame=figures["cpu_ms_per_frame"],
        frames_per_s=figures["frames_per_s"],
        boxes_per_frame=figures["boxes_per_frame"],
    )
