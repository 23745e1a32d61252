"""The life of one track: tentative, confirmed, lost, over. Everything about a track but its geometry."""

from __future__ import annotations

from dataclasses import dataclass

from edged.types import TrackState

ROUNDING_S = 1e-6
"""Times are sums of floating point steps: 3 x 0.1 s counts as 0.3 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeSettings:
    """When a track is believed and when it is given up.

    Attributes:
        confirm_hits: detections that a tentative track needs to be confirmed.
        confirm_s: least time between the first and the confirming detection.
        tentative_lost_s: a tentative track ends when it was not matched for longer.
        lost_s: a confirmed track ends when it was not matched for longer.
        stationary_lost_s: the same for one that stood still; things that stand are hidden, they do not vanish.
    """

    confirm_hits: int
    confirm_s: float
    tentative_lost_s: float
    lost_s: float
    stationary_lost_s: float

    def __post_init__(self) -> None:
        if self.confirm_hits < 1:
            raise ValueError(f"confirm_hits: expected at least 1, got {self.confirm_hits}")
        times = (self.confirm_s, self.tentative_lost_s, self.lost_s, self.stationary_lost_s)
        if min(times) < 0:
            raise ValueError(f"expected times of at least 0 s, got {self}")


@dataclass(slots=True)
class Life:
    """What a tracker remembers of one object beside its box. Changed in place by its tracker only.

    Attributes:
        votes: sum of the scores that each class got.
        missed_s: watched time since the last match; neither gaps nor still frames count.
        doubled_s: how long it has covered the same object as an older track.
        still_since_s: since when it has not left the place where it is.
        The others are those of `Track`.
    """

    first_s: float
    seen_s: float
    still_since_s: float
    votes: list[float]
    class_id: int
    score: float
    number: int = 0
    hits: int = 1
    missed_s: float = 0.0
    doubled_s: float = 0.0
    state: TrackState = TrackState.TENTATIVE
    is_stationary: bool = False
    is_detected: bool = True

    @property
    def mean_score(self) -> float:
        """Of all its detections."""
        return sum(self.votes) / self.hits

    @property
    def is_moving(self) -> bool:
        """Whether it was seen in the newest frame and does not stand."""
        return self.is_detected and not self.is_stationary

    @property
    def is_believed(self) -> bool:
        """Whether it was ever confirmed."""
        return self.state is not TrackState.TENTATIVE

    def hit(self, score: float, class_id: int, *, now_s: float) -> None:
        """A detection was matched."""
        self.seen_s = now_s
        self.missed_s = 0.0
        self.hits += 1
        self.score = score
        self.is_detected = True
        self.votes[class_id] += score
        if class_id != self.class_id and self.votes[class_id] > self.votes[self.class_id]:
            self.class_id = class_id
        if self.state is TrackState.LOST:
            self.state = TrackState.CONFIRMED

    def miss(self, watched_s: float) -> None:
        """No detection was matched although somebody looked."""
        self.missed_s += watched_s
        self.is_detected = False
        if self.state is TrackState.CONFIRMED:
            self.state = TrackState.LOST

    def may_be_confirmed(self, settings: LifeSettings) -> bool:
        """Whether a tentative track was seen often enough, for long enough, and in this very frame."""
        return (
            self.state is TrackState.TENTATIVE
            and self.is_detected
            and self.hits >= settings.confirm_hits
            and self.seen_s - self.first_s >= settings.confirm_s - ROUNDING_S
        )

    def is_over(self, settings: LifeSettings) -> bool:
        """Whether it was missed for too long."""
        if self.state is TrackState.TENTATIVE:
            patience_s = settings.tentative_lost_s
        elif self.is_stationary:
            patience_s = settings.stationary_lost_s
        else:
            patience_s = settings.lost_s
        return self.missed_s > patience_s + ROUNDING_S
