"""Writes an annotated clip of every camera, for people who try out a configuration.

Between the fast loop and the recorder: a queue of `QUEUE` results; when it is full the newest is left out, counted.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from edged.errors import SinkError
from edged.pipeline import FrameResult
from edged.runtime.board import LatestFrame
from edged.runtime.loop import Loop
from edged.sinks.base import PictureWriter
from edged.types import Frame, Pixels

logger = logging.getLogger(__name__)

QUEUE = 32
POLL_S = 0.2

DETAIL_TOLERANCE_S = 0.5
"""A main stream's picture this far from the analysed one still shows the same moment."""

Overlay = Callable[[FrameResult, Frame], Pixels]
"""Draws what is known about a frame into a copy of a picture of that moment, which may be of another size."""


class Recorder:
    """The body of one `Loop`; `put` may be called from another thread.

    A camera whose clip cannot be written is logged and recorded no more; one that changes its size gets a further clip.

    Args:
        directory: gets the clips; made if missing.
        open_writer: opens a clip of that path and rate.
        overlays: of each camera.
        fps: of each camera's clip.
        details: newest frame of the main stream of cameras that detect on a smaller one; it is what is drawn into.
        most_s: how much of each camera is recorded; None: everything.
    """

    def __init__(
        self,
        directory: Path,
        open_writer: Callable[[Path, float], PictureWriter],
        *,
        overlays: Mapping[str, Overlay],
        fps: Mapping[str, float],
        details: Mapping[str, LatestFrame],
        most_s: float | None = None,
    ) -> None:
        self._directory = directory
        self._open_writer = open_writer
        self._overlays = overlays
        self._fps = fps
        self._details = details
        self._queue: queue.Queue[tuple[FrameResult, Frame]] = queue.Queue(QUEUE)
        self._left_out = 0
        self._most_s = most_s
        self._end_s: dict[str, float] = {}
        self._failed: set[str] = set()

    def put(self, result: FrameResult) -> None:
        """Offer a result; never blocks."""
        frame = result.frame
        if self._most_s is not None and frame.captured_s > self._end_s.setdefault(frame.camera, frame.captured_s + self._most_s):
            return
        detail = self._details.get(frame.camera)
        picture = detail.near(frame.captured_s, tolerance_s=DETAIL_TOLERANCE_S) if detail else None
        try:
            self._queue.put_nowait((result, picture or frame))
        except queue.Full:
            self._left_out += 1

    def run(self, loop: Loop) -> None:
        """Write until told to stop and nothing waits; then finish the clips."""
        writers: dict[tuple[str, int, int], PictureWriter] = {}
        while not (loop.stopping and self._queue.empty()):
            loop.beat()
            try:
                result, picture = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if result.frame.camera not in self._failed:
                self._try(result.frame.camera, partial(self._write, result, picture, writers))
        for (camera, _, _), writer in writers.items():
            self._try(camera, writer.close)
        logger.info("clips written: folder=%s frames_left_out=%d", self._directory, self._left_out)

    def _write(self, result: FrameResult, picture: Frame, writers: dict[tuple[str, int, int], PictureWriter]) -> None:
        camera = result.frame.camera
        key = (camera, picture.width, picture.height)
        if key not in writers:
            self._directory.mkdir(parents=True, exist_ok=True)
            is_first = all(known != camera for known, _, _ in writers)
            name = camera if is_first else f"{camera}-{picture.width}x{picture.height}"
            writers[key] = self._open_writer(self._directory / f"{name}.mp4", self._fps[camera])
        writers[key].write(self._overlays[camera](result, picture))

    def _try(self, camera: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (SinkError, OSError) as error:
            self._failed.add(camera)
            logger.error("clip is not written: camera=%s error=%s", camera, error)
