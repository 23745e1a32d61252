"""The values that travel through the daemon. Frozen, checked once when made, then trusted.

Boxes follow the one convention of `vision/boxes.py`: xyxy, frame pixels, float32, x2/y2 exclusive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture of one camera, not yet converted to pixels.

    Attributes:
        camera: id of the camera.
        seq: number of the decoded frame on this camera, from 1, rising also over frames that are never analysed.
        captured_s: monotonic seconds when it was captured (live), stream seconds (replay).
        captured_at: UTC seconds since 1970 of the same moment.
        width, height: size of the picture, pixels.
        make_pixels_rgb: converts the decoder's own frame; called at most once.
    """

    camera: str
    seq: int
    captured_s: float
    captured_at: float
    width: int
    height: int
    make_pixels_rgb: Callable[[], Pixels] = field(repr=False)
    _made: list[Pixels] = field(default_factory=list, init=False, repr=False)

    @property
    def pixels_rgb(self) -> Pixels:
        """(height, width, 3) uint8 RGB, made on first use. Used by one thread at a time."""
        if not self._made:
            pixels = self.make_pixels_rgb()
            if pixels.shape != (self.height, self.width, 3) or pixels.dtype != np.uint8:
                raise ValueError(
                    f"camera {self.camera}: expected pixels ({self.height}, {self.width}, 3) uint8, "
                    f"got {pixels.shape} {pixels.dtype}"
                )
            self._made.append(pixels)
        return self._made[0]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What one network saw in one frame, as a struct of arrays.

    Attributes:
        boxes: (N, 4) float32 xyxy, frame pixels.
        scores: (N,) float32 in [0, 1].
        class_ids: (N,) int64, index into the manifest's class list.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.class_ids.shape != (n,):
            raise ValueError(
                f"expected boxes (N, 4), scores (N,), class_ids (N,), "
                f"got {self.boxes.shape}, {self.scores.shape}, {self.class_ids.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Detections:
        """The detections that a mask, an index array or a slice selects."""
        return Detections(self.boxes[keep], self.scores[keep], self.class_ids[keep])

    @classmethod
    def empty(cls) -> Detections:
        """No detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


class TrackState(str, Enum):
    """Where a track stands in its life."""

    TENTATIVE = "tentative"  # seen, not yet believed
    CONFIRMED = "confirmed"  # believed and matched by the last detection run
    LOST = "lost"  # believed, at present not matched


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One object as its tracker sees it after one frame: a snapshot, never changed afterwards.

    Attributes:
        number: counted from 1 in order of confirmation, never reused by this tracker; 0 while tentative.
        class_id: index into the manifest's class list, voted over the life of the track.
        box: (4,) float32 xyxy, frame pixels; the filter's estimate.
        score: of the newest matched detection.
        state: tentative, confirmed or lost.
        is_stationary: it has not moved for a while.
        is_detected: a detection matched it in this very frame.
        first_s: time of its first detection.
        seen_s: time of its newest matched detection, or of the newest still frame held.
    """

    number: int
    class_id: int
    box: NDArray[np.float32]
    score: float
    state: TrackState
    is_stationary: bool
    is_detected: bool
    first_s: float
    seen_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """A tracker's answer to one frame.

    Attributes:
        live: every track that is alive, tentative ones included, ordered by number, tentative last.
        ended: confirmed tracks that this frame ended, each reported exactly once.
    """

    live: tuple[Track, ...]
    ended: tuple[Track, ...]

    @property
    def confirmed(self) -> tuple[Track, ...]:
        """The live tracks in state confirmed."""
        return tuple(track for track in self.live if track.state is TrackState.CONFIRMED)
