"""Writes an annotated clip of every camera, for people who try out a configuration.

Between the fast loop and the recorder: a queue of `QUEUE` results; when it is full the newest is left out, counted.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edged.errors import SinkError
from edged.pipeline import FrameResult
from edged.runtime.board import LatestFrame
from edged.runtime.loop import Loop
from edged.sinks.base import PictureWriter
from edged.types import Frame
from edged.vision.redact import PublicPicture

logger = logging.getLogger(__name__)

QUEUE = 32
POLL_S = 0.2

MOST_CLIPS = 100
"""Of one camera; one that changes its size with every picture must not fill the folder with clips of one picture."""

DETAIL_TOLERANCE_S = 0.5
"""A main stream's picture this far from the analysed one still shows the same moment."""

Overlay = Callable[[FrameResult, Frame], PublicPicture]
"""Hides who must not be shown and draws what is known about a frame into a picture of that moment, maybe of another size."""


class Recorder:
    """The body of one `Loop`; `put` may be called from another thread.

    A clip has one size of picture. When a camera changes its size, its clip is finished and the next one begins:
    `door.mp4`, `door.2.mp4`, and so on in order of time, also where an earlier size returns. One clip a camera is open.
    A camera whose clip cannot be written, or that would need more than `MOST_CLIPS`, is logged and recorded no more.

    Args:
        directory: gets the clips; made if missing. Clips of the same names in it are replaced.
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
        self._overlays = dict(overlays)
        self._fps = fps
        self._details = details
        self._queue: queue.Queue[_Waiting] = queue.Queue(QUEUE)
        self._left_out = 0
        self._most_s = most_s
        self._end_s: dict[str, float] = {}
        self._failed: set[str] = set()

    def change_overlay(self, camera: str, overlay: Overlay) -> None:
        """Hide and draw otherwise from the next result that is offered on."""
        self._overlays[camera] = overlay

    def put(self, result: FrameResult) -> None:
        """Offer a result; never blocks."""
        frame = result.frame
        if self._most_s is not None and frame.captured_s > self._end_s.setdefault(frame.camera, frame.captured_s + self._most_s):
            return
        detail = self._details.get(frame.camera)
        picture = detail.near(frame.captured_s, tolerance_s=DETAIL_TOLERANCE_S) if detail else None
        try:
            self._queue.put_nowait(_Waiting(result, picture or frame, self._overlays[frame.camera]))
        except queue.Full:
            self._left_out += 1

    def run(self, loop: Loop) -> None:
        """Write until told to stop and nothing waits; then finish the clips."""
        clips: dict[str, _Clip] = {}
        while not (loop.stopping and self._queue.empty()):
            loop.beat()
            try:
                waiting = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                continue
            camera = waiting.result.frame.camera
            if camera not in self._failed:
                self._try(camera, partial(self._write, waiting, clips))
        for camera, clip in clips.items():
            self._try(camera, clip.writer.close)
        logger.info("clips written: folder=%s frames_left_out=%d", self._directory, self._left_out)

    def _write(self, waiting: _Waiting, clips: dict[str, _Clip]) -> None:
        result, picture = waiting.result, waiting.picture
        camera, size = result.frame.camera, (picture.width, picture.height)
        clip = clips.get(camera)
        is_makeshift = camera in self._details and picture is result.frame
        if is_makeshift and clip is not None and clip.size != size:  # the main stream is late: a gap, not two clips more
            self._left_out += 1
            return
        if clip is None or clip.size != size:
            clip = clips[camera] = self._next_clip(camera, size, after=clips.pop(camera, None))
        clip.writer.write(waiting.overlay(result, picture))

    def _next_clip(self, camera: str, size: tuple[int, int], *, after: _Clip | None) -> _Clip:
        """The clip that goes on with pictures of another size; the one before is finished."""
        number = 1
        if after is not None:
            after.writer.close()
            number = after.number + 1
        if number > MOST_CLIPS:
            raise SinkError(f"its pictures changed their size {MOST_CLIPS} times, the last time to {size[0]}x{size[1]}")
        self._directory.mkdir(parents=True, exist_ok=True)
        name = camera if number == 1 else f"{camera}.{number}"  # a dot, which no camera's own name has
        return _Clip(self._open_writer(self._directory / f"{name}.mp4", self._fps[camera]), size, number)

    def _try(self, camera: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (SinkError, OSError) as error:
            self._failed.add(camera)
            logger.error("clip is not written: camera=%s error=%s", camera, error)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """What is to be written: a result, the picture that is drawn into, and what hides by the rules that made the result."""

    result: FrameResult
    picture: Frame
    overlay: Overlay


@dataclass(frozen=True, slots=True)
class _Clip:
    """The clip that a camera is writing: its pictures' size, and which of the camera's clips it is, from 1."""

    writer: PictureWriter
    size: tuple[int, int]
    number: int
