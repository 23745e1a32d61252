"""Keeps one camera connected and its newest frame on the board."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from edged.clock import Clock, now_at
from edged.errors import SourceCause, SourceError
from edged.runtime.backoff import Backoff
from edged.runtime.camera_status import CameraState, CameraStatus
from edged.runtime.loop import Loop
from edged.runtime.pacing import OnTime, Pacer, is_on
from edged.sources.base import FrameSource, SourceFrame
from edged.types import Frame

logger = logging.getLogger(__name__)

AUTH_WAIT_S = 60.0
"""A refused login is not repeated sooner: cameras lock accounts."""

GOOD_AFTER_S = 10.0
"""A connection that gave frames for this long makes the next failure the first one again."""

SCHEDULE_CHECK_S = 5.0


class Capture:
    """One camera's capture, from the first try to the last; the body of one `Loop`.

    `run` tries again until told to stop; `run_once` is one connection, and its errors go up.

    Args:
        camera: id of the camera.
        source: how to reach it.
        clock: stamps the frames.
        fps: frames a second to analyse; None for all.
        schedule: when the camera is on; empty for always.
        backoff: waits between tries.
        status: where the health is noted.
        on_frame: takes a due frame; returns False if that replaced one not yet analysed.
    """

    def __init__(
        self,
        *,
        camera: str,
        source: FrameSource,
        clock: Clock,
        fps: float | None,
        schedule: Sequence[OnTime],
        backoff: Backoff,
        status: CameraStatus,
        on_frame: Callable[[Frame], bool],
        first_seq: int = 1,
    ) -> None:
        self._camera = camera
        self._source = source
        self._clock = clock
        self._pacer = Pacer(fps)
        self._schedule = schedule
        self._backoff = backoff
        self._status = status
        self._on_frame = on_frame
        self._seq = first_seq - 1
        self._first_s: float | None = None  # of the frames of this connection
        self._newest_s = 0.0

    @property
    def seq(self) -> int:
        """Number of the newest captured frame."""
        return self._seq

    def run(self, loop: Loop) -> None:
        """Capture until the loop is asked to stop."""
        while not loop.stopping:
            if not self._is_on():
                self._enter(CameraState.SCHEDULED_OFF)
                loop.wait(SCHEDULE_CHECK_S)
                continue
            try:
                self.run_once(loop)
            except SourceError as error:
                if loop.stopping:
                    return
                if self._was_good():
                    self._backoff.reset()
                wait_s = self._backoff.next_s(at_least_s=AUTH_WAIT_S if error.cause is SourceCause.AUTH else 0.0)
                self._lost(error, wait_s=wait_s)
                loop.wait(wait_s)

    def run_once(self, loop: Loop) -> None:
        """One connection: open, read until it ends, the schedule ends or the loop is asked to stop.

        Raises:
            SourceError: the camera could not be opened or gave no more frames.
        """
        self._first_s = None
        if self._status.snapshot().state is not CameraState.OFFLINE:  # while it is tried again it stays offline
            self._enter(CameraState.CONNECTING)
        with self._source.open() as stream:
            opened_s = self._clock.now_s()
            next_check_s = opened_s + SCHEDULE_CHECK_S
            while True:
                loop.beat()
                source_frame = stream.read()
                if not self._source.is_live and source_frame.stream_s is not None:
                    # A recording plays at its own speed, as the camera did that it stands for.
                    loop.wait(max(0.0, opened_s + source_frame.stream_s - self._clock.now_s()))
                if loop.stopping:  # asked to stop, or given up as stuck while it was reading
                    return
                now_s = self._clock.now_s()
                self._take(source_frame, now_s=now_s)
                if self._schedule and now_s >= next_check_s:
                    if not self._is_on():
                        return
                    next_check_s = now_s + SCHEDULE_CHECK_S

    def _take(self, source_frame: SourceFrame, *, now_s: float) -> None:
        self._seq += 1
        self._first_s = now_s if self._first_s is None else self._first_s
        self._newest_s = now_s
        self._status.saw_frame(captured_s=now_s, width=source_frame.width, height=source_frame.height)
        if self._status.snapshot().state is not CameraState.ONLINE:
            self._enter(CameraState.ONLINE)
            logger.info("camera online: name=%s size=%dx%d", self._camera, source_frame.width, source_frame.height)
        if not self._pacer.is_due(now_s):
            self._status.count(captured=1, skipped=1)
            return
        frame = Frame(
            camera=self._camera,
            seq=self._seq,
            captured_s=now_s,
            captured_at=self._clock.at(now_s),
            width=source_frame.width,
            height=source_frame.height,
            make_pixels_rgb=source_frame.make_pixels_rgb,
        )
        is_first = self._on_frame(frame)
        self._status.count(captured=1, dropped=0 if is_first else 1)

    def _was_good(self) -> bool:
        """Whether the last connection gave frames for long; how long it took to open or to stall says nothing."""
        return self._first_s is not None and self._newest_s - self._first_s >= GOOD_AFTER_S

    def _is_on(self) -> bool:
        return is_on(self._schedule, datetime.fromtimestamp(now_at(self._clock)))

    def _enter(self, state: CameraState) -> None:
        self._status.enter(state, now_s=self._clock.now_s())

    def _lost(self, error: SourceError, *, wait_s: float) -> None:
        before = self._status.snapshot()
        now_s = self._clock.now_s()
        self._status.enter(CameraState.OFFLINE, now_s=now_s, cause=error.cause, message=str(error), next_try_s=now_s + wait_s)
        is_news = (before.state, before.cause) != (CameraState.OFFLINE, error.cause)
        level = logging.WARNING if is_news else logging.DEBUG
        logger.log(level, "camera lost: name=%s cause=%s next_try=%.1fs error=%s", self._camera, error.cause.value, wait_s, error)
