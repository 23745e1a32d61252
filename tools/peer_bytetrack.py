"""Detections in, tracks out, through ByteTrack of the public `trackers` package.

Runs in an environment of its own (`pip install trackers`), for its dependencies overwrite ours; it therefore imports
nothing of this project. `tools.evaluate_tracking` starts it.

    python tools/peer_bytetrack.py DETECTIONS OUT --fps 15 --frames 263 [--settings '{"track_activation_threshold": 0.5}']
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version

import numpy as np
import supervision
import trackers


def main() -> int:
    """Writes the tracks and prints the package's version and settings as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detections", help="MOT rows: frame,id,x,y,w,h,score,class,-1,-1")
    parser.add_argument("out", help="MOT rows with the peer's numbers")
    parser.add_argument("--fps", type=float, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON: arguments of ByteTrackTracker")
    arguments = parser.parse_args()
    rows = np.loadtxt(arguments.detections, delimiter=",", ndmin=2)
    tracker = trackers.ByteTrackTracker(frame_rate=arguments.fps, **arguments.settings)
    with open(arguments.out, "w", encoding="utf-8") as out:
        for frame in range(1, arguments.frames + 1):
            for line in _track(tracker, rows[rows[:, 0] == frame] if len(rows) else np.zeros((0, 10)), frame=frame):
                out.write(line)
    print(json.dumps({"version": version("trackers"), "settings": arguments.settings}))
    return 0


def _track(tracker: trackers.ByteTrackTracker, rows: np.ndarray, *, frame: int) -> list[str]:
    """The MOT rows of one frame; detections without a number are left out."""
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    seen = supervision.Detections(xyxy=boxes, confidence=rows[:, 6], class_id=rows[:, 7].astype(int))
    tracked = tracker.update(seen)
    return (
        [
            f"{frame},{number},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},{class_id},-1,-1\n"
            for (x1, y1, x2, y2), score, class_id, number in zip(
                tracked.xyxy, tracked.confidence, tracked.class_id, tracked.tracker_id, strict=True
            )
            if number >= 0
        ]
        if len(tracked)
        else []
    )


if __name__ == "__main__":
    sys.exit(main())
