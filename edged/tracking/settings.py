"""What can be set about tracking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edged.tracking.kalman import MotionNoise
from edged.tracking.life import LifeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """How one camera's objects are tracked. Chosen on the drawn street; times in seconds, so any frame rate does.

    Attributes:
        high_score: a detection of at least this score is sure; it may be matched to any track.
        class_high_scores: class name -> its own high_score.
        new_score_ratio: a detection that fits no track begins one from this many times its class's high_score on.
        low_score_ratio: a detection that is not sure continues a confirmed track from this share of its class's high_score
            on; weaker ones are ignored.
        high_iou, low_iou, tentative_iou: least overlap (with margin) of a sure detection with a believed track, of a
            doubtful one with a believed track, of a sure one with a tentative track.
        margin_sigmas: boxes are widened by this many standard deviations of the predicted centre before they are compared.
        margin_ratio: the most they are widened by, in shares of the track's own width and height.
        confusable: groups of classes that detectors take for one another; a track may hold several of one group.
        confusable_ratio: what the overlap with a detection of another class of the group counts.
        duplicate_iou: two tracks of one class or group that overlap at least this much cover the same object …
        duplicate_s: … when they have done so for this long; the younger one ends. A detection
            that covers an object which was just detected begins no track at all.
        confused_iou: the same for two of different classes of one group. Two people may stand close together, but what looks
            like a bicycle and like a motorcycle in one place is one of them.
        confirm_hits, confirm_s, tentative_lost_s, lost_s, stationary_lost_s: see `LifeSettings`.
        gap_s: a pause between two frames counts as at most this long: nobody looked, so nothing was missed. At most half of
            lost_s: so that a track has two frames to be found again after any gap.
        stationary_s: an object that kept its place for this long is stationary.
        stationary_iou: it keeps its place while its box overlaps the one it had there by at least this much.
        covered_ratio: a stationary object keeps its place while something that moves covers at least this share of it …
        covered_score_ratio: … and its detections, wherever they are, have less than this share of its mean score: half hidden.
        still_smooth_s: time constant of the average that is shown of a stationary object.
        noise: of the filter.
    """

    high_score: float = 0.5
    class_high_scores: Mapping[str, float] = field(default_factory=dict)
    new_score_ratio: float = 1.0
    low_score_ratio: float = 0.6
    high_iou: float = 0.3
    low_iou: float = 0.4
    tentative_iou: float = 0.3
    margin_sigmas: float = 1.0
    margin_ratio: float = 0.5
    confusable: tuple[tuple[str, ...], ...] = (("car", "bus", "truck"), ("bicycle", "motorcycle"))
    confusable_ratio: float = 0.7
    duplicate_iou: float = 0.8
    confused_iou: float = 0.5
    duplicate_s: float = 1.0
    confirm_hits: int = 2
    confirm_s: float = 0.2
    tentative_lost_s: float = 0.3
    lost_s: float = 2.0
    stationary_lost_s: float = 10.0
    gap_s: float = 1.0
    stationary_s: float = 2.5
    stationary_iou: float = 0.6
    covered_ratio: float = 0.1
    covered_score_ratio: float = 0.8
    still_smooth_s: float = 1.0
    noise: MotionNoise = field(default_factory=MotionNoise)

    def __post_init__(self) -> None:
        for score in (self.high_score, *self.class_high_scores.values()):
            if not 0.0 < score <= 1.0:
                raise ValueError(f"high_score: expected over 0 and at most 1, got {score}")
        if not 0.0 <= self.low_score_ratio <= 1.0 <= self.new_score_ratio:
            raise ValueError(f"expected 0 <= low_score_ratio <= 1 <= new_score_ratio, got {self}")
        if not 0.0 < 2 * self.gap_s <= self.lost_s:
            raise ValueError(f"gap_s: expected over 0 and at most half of lost_s ({self.lost_s}), got {self.gap_s}")
        ratios = ("high_iou", "low_iou", "tentative_iou", "confusable_ratio", "duplicate_iou", "confused_iou")
        for name in (*ratios, "stationary_iou", "covered_ratio", "covered_score_ratio"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: expected over 0 and at most 1, got {getattr(self, name)}")
        if min(self.margin_sigmas, self.margin_ratio, self.duplicate_s, self.stationary_s) < 0 or self.still_smooth_s <= 0:
            raise ValueError(f"expected margins and times of at least 0 and still_smooth_s over 0, got {self}")
        _ = self.life  # checks its own part

    @property
    def life(self) -> LifeSettings:
        """The part that decides over life and end."""
        return LifeSettings(
            confirm_hits=self.confirm_hits,
            confirm_s=self.confirm_s,
            tentative_lost_s=self.tentative_lost_s,
            lost_s=self.lost_s,
            stationary_lost_s=self.stationary_lost_s,
        )
