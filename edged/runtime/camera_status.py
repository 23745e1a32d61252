"""What is known of one camera's health: written by its capture and the fast loop, published as its state."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import Enum

from edged.errors import SourceCause
from edged.rules.scene import SceneState


class CameraState(str, Enum):
    """Where a camera stands."""

    CONNECTING = "connecting"
    ONLINE = "online"
    OFFLINE = "offline"  # tried and failed, for a cause; tried again later
    DISABLED = "disabled"  # by configuration
    SCHEDULED_OFF = "scheduled_off"  # by its schedule


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """What became of every frame since the start: captured = skipped + dropped + gated + detected + waiting (0 or 1).

    Attributes:
        captured: decoded by the source.
        skipped: not due by the camera's `fps`.
        dropped: due, but replaced by a newer one before it was analysed, or without a picture that can be converted.
        gated: analysed as still, without the detector.
        detected: analysed with the detector.
    """

    captured: int = 0
    skipped: int = 0
    dropped: int = 0
    gated: int = 0
    detected: int = 0

    @property
    def analysed(self) -> int:
        """Those that went through the pipeline."""
        return self.gated + self.detected


@dataclass(frozen=True, slots=True)
class CameraSnapshot:
    """One reading of a camera's status.

    Attributes:
        state: where it stands.
        cause: why it is offline, else None.
        message: for people; no secrets.
        since_s: monotonic time at which state or cause last changed.
        last_frame_s: monotonic time of the newest captured frame, None before the first.
        width, height: of the newest captured frame, 0 before the first.
        reconnects: connections made after the first.
        next_try_s: monotonic time of the next try, None where none is due.
        frames: counts since the start.
        scene: whether it shows the view that was learnt; None where nobody looks.
    """

    state: CameraState
    cause: SourceCause | None
    message: str
    since_s: float
    last_frame_s: float | None = None
    width: int = 0
    height: int = 0
    reconnects: int = 0
    next_try_s: float | None = None
    frames: FrameCounts = FrameCounts()
    scene: SceneState | None = None


class CameraStatus:
    """The status of one camera; every method may be called from any thread."""

    def __init__(self, state: CameraState, *, now_s: float) -> None:
        self._lock = threading.Lock()
        self._snapshot = CameraSnapshot(state, None, "", now_s)
        self._connections = 0
        self._changes = 0

    @property
    def changes(self) -> int:
        """How often state, cause or scene has changed; a reader that sees a new number publishes."""
        return self._changes

    def snapshot(self) -> CameraSnapshot:
        """The present status."""
        return self._snapshot

    def enter(
        self,
        state: CameraState,
        *,
        now_s: float,
        cause: SourceCause | None = None,
        message: str = "",
        next_try_s: float | None = None,
    ) -> None:
        """Change state; repeating the present state and cause changes only the message and the next try."""
        with self._lock:
            before = self._snapshot
            is_change = (before.state, before.cause) != (state, cause)
            if state is CameraState.ONLINE and is_change:
                self._connections += 1
            self._snapshot = replace(
                before,
                state=state,
                cause=cause,
                message=message,
                since_s=now_s if is_change else before.since_s,
                reconnects=max(0, self._connections - 1),
                next_try_s=next_try_s,
            )
            self._changes += is_change

    def saw_frame(self, *, captured_s: float, width: int, height: int) -> None:
        """Note the newest captured frame."""
        with self._lock:
            self._snapshot = replace(self._snapshot, last_frame_s=captured_s, width=width, height=height)

    def saw_scene(self, scene: SceneState | None) -> None:
        """Note whether it shows the view that was learnt."""
        with self._lock:
            self._changes += self._snapshot.scene != scene
            self._snapshot = replace(self._snapshot, scene=scene)

    def count(self, **added: int) -> None:
        """Add to the frame counts, e.g. `count(captured=1, skipped=1)`."""
        with self._lock:
            frames = self._snapshot.frames
            self._snapshot = replace(
                self._snapshot,
                frames=replace(frames, **{name: getattr(frames, name) + more for name, more in added.items()}),
            )
