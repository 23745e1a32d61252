"""Cameras whose pictures were drawn before anything is timed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edged import assembly
from edged.clock import SystemClock, read_clock_quality
from edged.config import load_config
from edged.models.detector import Detector
from edged.models.manifest import DetectorManifest
from edged.pipeline import BatchInFlight, CameraPipeline, FrameResult, begin, finish
from edged.runtime.analysis import Analysis
from edged.runtime.board import FrameBoard
from edged.runtime.camera_status import CameraState, CameraStatus
from edged.runtime.journal import Journal
from edged.runtime.loop import Loop
from edged.sinks.jsonl import JsonLinesSink
from edged.street.scene import Street
from edged.types import Frame, Pixels

FPS = 5.0
"""Analysed pictures a second of a camera, as the daemon takes them unless told otherwise."""
SEEDS = (0, 1, 2, 3)
FRAMES = 40
FIRST_FRAME = 30
"""The street has filled by then."""

_SITE = Path(__file__).resolve().parents[2] / "configs" / "demo.yaml"
_CAMERA = "street"


def draw_clips(*, frames: int = FRAMES) -> list[list[Pixels]]:
    """One clip a street, (360, 640, 3) uint8 RGB each, `1 / FPS` seconds apart; forth and back, so that it can be repeated."""
    clips = []
    for seed in SEEDS:
        street = Street(seed, width=640, height=360, fps=FPS)
        forth = [street.frame(FIRST_FRAME + index) for index in range(frames)]
        clips.append(forth + forth[-2:0:-1])
    return clips


class DrawnCameras:
    """So many cameras with the zones, lines and thresholds of the demo, without motion gate: every frame is analysed.

    Args:
        clips: of `draw_clips`; the cameras share them, each at a place of its own.
    """

    def __init__(self, clips: list[list[Pixels]], manifest: DetectorManifest, *, count: int) -> None:
        still_too = {f"cameras.{_CAMERA}.motion": "{enabled: false}"}
        config = load_config(_SITE, overrides=still_too)
        self._clips = clips
        self.names = tuple(f"camera{number}" for number in range(1, count + 1))
        self.pipelines: Mapping[str, CameraPipeline] = {
            name: assembly.make_pipeline(config.cameras[_CAMERA], config, manifest) for name in self.names
        }
        self._turn = 0

    def frame(self, index: int, turn: int, *, captured_s: float) -> Frame:
        """What one camera sees at a turn."""
        clip = self._clips[index % len(self._clips)]
        picture = clip[(turn + 7 * (index // len(self._clips))) % len(clip)]
        height, width = picture.shape[:2]
        return Frame(self.names[index], turn + 1, captured_s, captured_s, width, height, lambda: picture)

    def analyse(self, detector: Detector, count: int) -> list[FrameResult]:
        """Take so many batches of one frame a camera through the pipeline, as the analysis loop does where frames always wait.

        Returns:
            The results of the last one.
        """
        results: list[FrameResult] = []
        in_flight: deque[BatchInFlight] = deque()
        for _ in range(count):
            frames = [self.frame(index, self._turn, captured_s=self._turn / FPS) for index in range(len(self.names))]
            in_flight.append(begin(frames, self.pipelines, detector, now_s=time.perf_counter))
            self._turn += 1
            if len(in_flight) == detector.most_in_flight:
                results = finish(in_flight.popleft(), self.pipelines, detector)
        while in_flight:
            results = finish(in_flight.popleft(), self.pipelines, detector)
        return results


@dataclass(frozen=True, slots=True)
class Played:
    """What became of the frames of cameras in real time.

    Attributes:
        due: put on the board.
        dropped: replaced there by a newer one of their camera.
        delays_ms: of those analysed, from their time to their result.
    """

    due: int
    dropped: int
    delays_ms: list[float]


def play(cameras: DrawnCameras, detector: Detector, *, batch: int, seconds: float, output: BinaryIO) -> Played:
    """Show every camera's frames in real time, their times spread evenly, to the analysis loop that the daemon runs.

    Args:
        batch: the most frames computed at once.
        seconds: at least one frame of each camera is shown.
        output: takes the events, as JSON lines.
    """
    clock, board = SystemClock(), FrameBoard()
    delays_ms: list[float] = []
    dropped: list[Frame] = []
    turns = max(1, round(seconds * FPS))
    journal = Journal(device="check", epoch="check", clock=clock, quality=read_clock_quality, sinks=[JsonLinesSink(output)])
    analysis = Analysis(
        board=board,
        cameras=cameras.pipelines,
        statuses={name: CameraStatus(CameraState.ONLINE, now_s=clock.now_s()) for name in cameras.names},
        detector=detector,
        journal=journal,
        clock=clock,
        batch=batch,
        absent_s=60.0,
        listeners=[lambda result: delays_ms.append(1000 * (clock.now_s() - result.frame.captured_s))],
    )
    loop = Loop("analysis", analysis.run, limit_s=60.0, now_s=clock.now_s)
    player = threading.Thread(
        target=lambda: _show(cameras, turns, board, loop, now_s=clock.now_s, dropped=dropped), name="player", daemon=True
    )
    player.start()
    try:
        analysis.run(loop)
    finally:
        loop.stop()
        player.join()
    return Played(turns * len(cameras.names), len(dropped), delays_ms)


def _show(
    cameras: DrawnCameras, turns: int, board: FrameBoard, loop: Loop, *, now_s: Callable[[], float], dropped: list[Frame]
) -> None:
    """Put every frame on the board when it is due, late ones at once, then let the loop end."""
    count = len(cameras.names)
    began_s = now_s() + 0.1
    for number in range(turns * count):
        due_s = began_s + number / (count * FPS)
        if loop.stop_event.wait(max(0.0, due_s - now_s())):
            return
        frame = cameras.frame(number % count, number // count, captured_s=due_s)
        if not board.put(frame):
            dropped.append(frame)
    loop.stop_event.wait(1 / FPS)  # what is on the board is analysed
    loop.stop()
