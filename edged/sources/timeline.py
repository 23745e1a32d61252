"""Stream time from a stream's own time stamps, however wrong those are."""

from __future__ import annotations

LONGEST_STEP_S = 2.0
"""A larger step between two frames is a jump of the camera's clock, not a pause."""


class Timeline:
    """Turns presentation times into seconds since the first frame: never falling, never jumping.

    Args:
        step_s: what a frame without a time stamp adds, seconds.
    """

    def __init__(self, *, step_s: float) -> None:
        self._step_s = step_s
        self._stream_s: float | None = None
        self._last_pts_s: float | None = None

    def advance(self, pts_s: float | None) -> float:
        """Stream seconds of the next frame.

        Args:
            pts_s: its presentation time by the stream's clock, None where it has none.
        """
        if self._stream_s is None:
            self._stream_s = 0.0
        elif pts_s is None or self._last_pts_s is None:
            self._stream_s += self._step_s
        else:
            self._stream_s += min(max(pts_s - self._last_pts_s, 0.0), LONGEST_STEP_S)
        if pts_s is not None:
            self._last_pts_s = pts_s
        elif self._last_pts_s is not None:
            self._last_pts_s += self._step_s
        return self._stream_s
