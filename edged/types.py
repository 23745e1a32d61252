"""The values that travel through the daemon. Frozen, checked once when made, then trusted.

Boxes follow the one convention of `vision/boxes.py`: xyxy, frame pixels, float32, x2/y2 exclusive.
"""

from __future__ import annotations

import threading
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
    _making: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def pixels_rgb(self) -> Pixels:
        """(height, width, 3) uint8 RGB, made on first use, by whichever thread asks first."""
        if not self._made:
            with self._making:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]

    def _make(self) -> Pixels:
        pixels = self.make_pixels_rgb()
        if pixels.shape != (self.height, self.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(
                f"camera {self.camera}: expected pixels ({self.height}, {self.width}, 3) uint8, got {pixels.shape} {pixels.dtype}"
            )
        return pixels


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What one network saw in one frame, as a struct of arrays.

    Attributes:
        boxes: (N, 4) float32 xyxy, frame pixels.
        scores: (N,) float32 in [0, 1].
        class_ids: (N,) int64, index into the manifest's class list.
        points: (N, K, 2) float32 xy, frame pixels, those that the manifest names; None where the network answers none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    points: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.class_ids.shape != (n,):
            raise ValueError(
                f"expected boxes (N, 4), scores (N,), class_ids (N,), "
                f"got {self.boxes.shape}, {self.scores.shape}, {self.class_ids.shape}"
            )
        points = self.points
        if points is not None and (points.ndim != 3 or (len(points), points.shape[2]) != (n, 2)):
            raise ValueError(f"expected points ({n}, K, 2), got {points.shape}")

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Detections:
        """The detections that a mask, an index array or a slice selects."""
        points = None if self.points is None else self.points[keep]
        return Detections(self.boxes[keep], self.scores[keep], self.class_ids[keep], points)

    @classmethod
    def empty(cls, *, n_points: int = 0) -> Detections:
        """No detections, of a network that answers so many points of each."""
        points = np.zeros((0, n_points, 2), np.float32) if n_points else None
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), points)


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationMap:
    """What each place of one picture shows: the picture alone, nothing of the border around it, as finely as the network looks.

    Attributes:
        labels: (h, w) uint8, index into `classes`; row and column i cover the i-th of h or w equal parts of the picture.
        classes: name of each class id.
        frame_width, frame_height: size of the picture, pixels.
        confidence: (h, w) uint8, how sure the network is of each label, 255 for certain; None where it does not say.
    """

    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    frame_width: int
    frame_height: int
    confidence: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        for name, array in (("labels", self.labels), ("confidence", self.confidence)):
            if array is not None and (array.ndim != 2 or array.size == 0 or array.dtype != np.uint8):
                raise ValueError(f"expected {name} (h, w) uint8, got {array.shape} {array.dtype}")
        if self.confidence is not None and self.confidence.shape != self.labels.shape:
            raise ValueError(f"expected a confidence of each label {self.labels.shape}, got {self.confidence.shape}")
        highest = int(self.labels.max())
        if highest >= len(self.classes):
            raise ValueError(f"expected labels below {len(self.classes)}, one a class, got {highest}")
        if self.frame_width < 1 or self.frame_height < 1:
            raise ValueError(f"expected the size of a picture, got {self.frame_width}x{self.frame_height}")


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


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one picture, as far as it has been read.

    Attributes:
        box: (4,) float32 xyxy, frame pixels.
        points: (5, 2) float32 xy, frame pixels: the eyes, the tip of the nose, the corners of the mouth; of pairs the one that
            is on the left in the picture comes first.
        score: how sure the detector is, in [0, 1].
        quality: what the face is good for, in [0, 1]: large, turned to the camera and sharp is 1.
        embedding: (D,) float32 of unit length; None until it is encoded.
        live: probability that it is no picture of a face; None until it is judged, or where nothing judges it.
    """

    box: NDArray[np.float32]
    points: NDArray[np.float32]
    score: float
    quality: float
    embedding: NDArray[np.float32] | None = field(default=None, repr=False)
    live: float | None = None

    def __post_init__(self) -> None:
        if self.box.shape != (4,) or self.points.shape != (5, 2):
            raise ValueError(f"expected box (4,) and points (5, 2), got {self.box.shape} and {self.points.shape}")
        if self.embedding is not None and self.embedding.ndim != 1:
            raise ValueError(f"expected embedding (D,), got {self.embedding.shape}")


class FaceDecisionKind(str, Enum):
    """What became of asking whose face it is."""

    MATCH = "match"  # somebody who is enrolled
    UNKNOWN = "unknown"  # nobody who is
    AMBIGUOUS = "ambiguous"  # two who are enrolled are as near
    SPOOF = "spoof"  # no living face
    LOW_QUALITY = "low_quality"  # none of its pictures was good enough to ask


@dataclass(frozen=True, slots=True)
class FaceDecision:
    """Whose face it is, with the evidence; of one picture or of many, against one person or all.

    Attributes:
        subject: id of the person where it is a match, of the nearest one where it is ambiguous, of whom it would have been where
            it is a spoof; None where it is nobody.
        score: cosine of the nearest person; None where nobody was compared.
        margin: by how much that is above the next person; None where there is no other.
        threshold: score from which on it is a match.
        false_match_rate: the share of pairs of two people that reach the threshold; None where that was never measured.
        votes: so many pictures were counted.
        live: probability that it is no picture of a face, over those; None where nothing judged it.
        gallery_version: of the enrolled people, rising with every change; None where one was compared with one.
        model: SHA-256 of the encoder.
        name: what the subject is called; None where there is no subject, or the subject has no name.
    """

    kind: FaceDecisionKind
    subject: str | None
    score: float | None
    margin: float | None
    threshold: float
    false_match_rate: float | None
    votes: int
    live: float | None
    gallery_version: int | None
    model: str
    name: str | None = None

    def __post_init__(self) -> None:
        if self.kind in (FaceDecisionKind.MATCH, FaceDecisionKind.AMBIGUOUS) and self.subject is None:
            raise ValueError(f"the decision {self.kind.value} needs a subject")
        if self.kind in (FaceDecisionKind.UNKNOWN, FaceDecisionKind.LOW_QUALITY) and self.subject is not None:
            raise ValueError(f"the decision {self.kind.value} has no subject, got {self.subject!r}")
