"""Between the capture threads and those who look: the newest frame of every camera.

The board holds one frame a camera. When the fast loop is too slow the newer frame replaces the older one, and `put` says so.
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

    def wake(self) -> None:
        """Let who waits for frames look up at once, though there is none."""
        with self._ready:
            self._is_woken = True
            self._ready.notify()

    def take(self, most: int, *, timeout_s: float) -> list[Frame]:
        """Wait for frames and take at most `most`, one a camera, the longest waiting camera first; none if woken."""
        with self._ready:
            self._ready.wait_for(lambda: self._frames or self._is_woken, timeout_s)
            self._is_woken = False
            cameras = list(self._frames)[:most]
            return [self._frames.pop(camera) for camera in cameras]


class LatestFrame:
    """The newest frame of one stream, for whoever wants to look at it closely; written and read by any thread.

    Holds one frame, not converted until somebody looks. A newer one replaces it: nothing is lost that was wanted.
    """

    def __init__(self) -> None:
        self._frame: Frame | None = None

    def put(self, frame: Frame) -> bool:
        """Replace the frame; always True: nobody waits for every one of them."""
        self._frame = frame
        return True

    def near(self, captured_s: float, *, tolerance_s: float) -> Frame | None:
        """The frame, if it was captured at about that time."""
        frame = self._frame
        return frame if frame is not None and abs(frame.captured_s - captured_s) <= tolerance_s else None
