"""Between the capture threads and the fast loop: the newest frame of every camera.

Holds one frame a camera. When the fast loop is too slow the newer frame replaces the older one, and `put` says so.
"""

from __future__ import annotations

import threading

from edged.types import Frame


class FrameBoard:
    """The newest frame of every camera. Written by any thread, read by one."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._frames: dict[str, Frame] = {}  # in order of waiting: a replaced frame keeps its place
        self._is_woken = False

    def put(self, frame: Frame) -> bool:
        """Offer a frame. Returns False if it replaced one that nobody had taken."""
        with self._ready:
            is_first = frame.camera not in self._frames
            self._frames[frame.camera] = frame
            self._ready.notify()
            return is_first

    def take(self, most: int, *, timeout_s: float) -> list[Frame]:
        """Wait for frames and take at most `most`, one a camera, the longest waiting camera first."""
        with self._ready:
            self._ready.wait_for(lambda: self._frames or self._is_woken, timeout_s)
            self._is_woken = False
            cameras = list(self._frames)[:most]
            return [self._frames.pop(camera) for camera in cameras]

    def wake(self) -> None:
        """End a `take` that is waiting."""
        with self._ready:
            self._is_woken = True
            self._ready.notify()
