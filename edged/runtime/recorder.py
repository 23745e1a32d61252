"""Writes an annotated clip of every camera, for people who try out a configuration.

Between the fast loop and the recorder: a queue of `QUEUE` results; when it is full the newest is left out, counted.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from pathlib import Path

from edged.errors import SinkError
from edged.pipeline import FrameResult
from edged.runtime.loop import Loop
from edged.sinks.base import PictureWriter
from edged.types import Pixels

logger = logging.getLogger(__name__)

QUEUE = 32
POLL_S = 0.2

Overlay = Callable[[FrameResult], Pixels]
"""Draws what is known about a frame into a copy of its picture."""


class Recorder:
    """The body of one `Loop`; `put` may be called from another thread.

    A camera whose clip cannot be written is logged and recorded no more; one that changes its size gets a further clip.

    Args:
        directory: gets the clips; made if missing.
        open_writer: opens a clip of that path and rate.
        overlays: of each camera.
        fps: of each camera's clip.
        most_s: how much of each camera is recorded; None: everything.
    """

    def __init__(
        self,
        directory: Path,
        open_writer: Callable[[Path, float], PictureWriter],
        *,
        overlays: Mapping[str, Overlay],
        fps: Mapping[str, float],
        most_s: float | None = None,
    ) -> None:
        self._directory = directory
        self._open_writer = open_writer
        self._overlays = overlays
        self._fps = fps
        self._queue: queue.Queue[FrameResult] = queue.Queue(QUEUE)
        self._left_out = 0
        self._most_s = most_s
        self._end_s: dict[str, float] = {}
        self._failed: set[str] = set()

    def put(self, result: FrameResult) -> None:
        """Offer a result; never blocks."""
        frame = result.frame
        if self._most_s is not None and frame.captured_s > self._end_s.setdefault(frame.camera, frame.captured_s + self._most_s):
            return
        try:
            self._queue.put_nowait(result)
        except queue.Full:
            self._left_out += 1

    def run(self, loop: Loop) -> None:
        """Write until told to stop and nothing waits; then finish the clips."""
        writers: dict[tuple[str, int, int], PictureWriter] = {}
        while not (loop.stopping and self._queue.empty()):
            loop.beat()
            try:
                result = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if result.frame.camera not in self._failed:
                self._try(result.frame.camera, lambda result=result: self._write(result, writers))
        for (camera, _, _), writer in writers.items():
            self._try(camera, writer.close)
        logger.info("clips written: folder=%s frames_left_out=%d", self._directory, self._left_out)

    def _write(self, result: FrameResult, writers: dict[tuple[str, int, int], PictureWriter]) -> None:
        frame = result.frame
        key = (frame.camera, frame.width, frame.height)
        if key not in writers:
            self._directory.mkdir(parents=True, exist_ok=True)
            is_first = all(camera != frame.camera for camera, _, _ in writers)
            name = frame.camera if is_first else f"{frame.camera}-{frame.width}x{frame.height}"
            writers[key] = self._open_writer(self._directory / f"{name}.mp4", self._fps[frame.camera])
        writers[key].write(self._overlays[frame.camera](result))

    def _try(self, camera: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (SinkError, OSError) as error:
            self._failed.add(camera)
            logger.error("clip is not written: camera=%s error=%s", camera, error)
