"""What one frame costs in Ultralytics YOLO11n with ByteTrack, for comparison; weights are random, so nothing is downloaded.

Runs in an environment of its own (`requirements/bench.txt`), for its dependencies overwrite ours; it therefore imports
nothing of this project. `tools.bench` starts it.

    python tools/peer_ultralytics.py CLIP --size 320 --frames 240 [--minimal]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types

import cv2
import torch
from ultralytics import YOLO, __version__
from ultralytics.utils.nms import TorchNMS

WARM_UP_FRAMES = 20


def main() -> int:
    """Print CPU milliseconds a frame and frames a second as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--size", type=int, required=True, help="side of the network's input, pixels")
    parser.add_argument("--frames", type=int, required=True, help="frames to measure after the first few")
    parser.add_argument("--minimal", action="store_true", help="cut the input to the shape of the picture, its default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    has_torchvision = _stand_in_for_torchvision()
    network = YOLO("yolo11n.yaml")
    results = network.track(
        arguments.clip,
        stream=True,
        imgsz=arguments.size,
        rect=arguments.minimal,
        tracker="bytetrack.yaml",
        device="cpu",
        verbose=False,
    )
    for _ in range(WARM_UP_FRAMES):
        next(results)
    began_s, began_cpu_s, n_frames, n_tracks, speed_ms = time.perf_counter(), time.process_time(), 0, 0, {}
    for result in results:
        n_frames += 1
        n_tracks += len(result.boxes)
        for stage, ms in result.speed.items():
            speed_ms[stage] = speed_ms.get(stage, 0.0) + ms
        if n_frames == arguments.frames:
            break
    passed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    figures = {
        "version": __version__,
        "torch": torch.__version__,
        "has_torchvision": has_torchvision,
        "frames": n_frames,
        "cpu_ms_per_frame": 1000 * cpu_s / n_frames,
        "frames_per_s": n_frames / passed_s,
        "boxes_per_frame": n_tracks / n_frames,
        "stages_ms": {stage: ms / n_frames for stage, ms in speed_ms.items()},
    }
    print(json.dumps(figures))
    return 0


def _stand_in_for_torchvision() -> bool:
    """Whether torchvision is usable; where its build does not fit torch's, suppression is Ultralytics' own fallback.

    Ultralytics imports torchvision for its suppression alone, and fails if it cannot, although it has its own.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # RuntimeError: "operator torchvision::nms does not exist"
        stand_in = types.ModuleType("torchvision")
        stand_in.ops = types.SimpleNamespace(nms=TorchNMS.nms)
        sys.modules["torchvision"] = stand_in
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
