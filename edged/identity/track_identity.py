"""One track's way to an answer: when its face is worth a look, and what the looks amount to."""

from __future__ import annotations

from dataclasses import dataclass

from edged.identity.decision import Evidence, Yardstick
from edged.types import Face, FaceDecision, FaceDecisionKind

WAIT_STEP_S = 0.1
MOST_WAIT_S = 0.4
"""Somebody who shows no usable face is looked at again after a pause, longer each time up to this: it must leave most of the
second that an answer may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookSettings:
    """How long a track is looked at, and when again.

    Attributes:
        doubt_looks: anything but a name is said only after so many looks, or when the track is about to end: the next face may
            be a better one.
        most_looks: a track that stays without a name is looked at so often, then no more.
        recheck_s: an answered track is asked anew after this; the person in it may have changed unnoticed.
        growth_ratio: one that has become so many times as tall is looked at again: it shows more now.
        refound_s: one that was not seen for so long may be somebody else.
    """

    doubt_looks: int = 4
    most_looks: int = 10
    recheck_s: float = 60.0
    growth_ratio: float = 1.5
    refound_s: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.doubt_looks <= self.most_looks:
            raise ValueError(f"expected 1 <= doubt_looks <= most_looks, got {self.doubt_looks} and {self.most_looks}")
        if self.recheck_s <= 0 or self.growth_ratio <= 1 or self.refound_s <= 0:
            raise ValueError(f"expected times above 0 and a growth above 1, got {self}")


@dataclass(frozen=True, slots=True)
class LookPlan:
    """When a track's face is worth a look: for those who only need to know that, in whatever thread.

    Attributes:
        due_s: from this time on,
        grown_ratio: or from this height of its box on, as a share of the picture's.
    """

    due_s: float = float("-inf")
    grown_ratio: float = float("inf")

    def is_due(self, *, now_s: float, height_ratio: float) -> bool:
        """Whether a look is worth its cost in a frame of that time, in which the box is so high."""
        return now_s >= self.due_s or height_ratio >= self.grown_ratio


class TrackIdentity:
    """What is known of the face of one track. Used by one thread.

    Args:
        settings: when to look.
    """

    def __init__(self, settings: LookSettings) -> None:
        self._settings = settings
        self._told: FaceDecision | None = None
        self._begin()

    @property
    def has_answer(self) -> bool:
        """Whether something was told, be it in question now or not."""
        return self._told is not None

    @property
    def tries(self) -> int:
        """How often it was looked at for the answer that is being sought, with and without success."""
        return self._looks + self._misses

    @property
    def plan(self) -> LookPlan:
        """When it is to be looked at next: soon while the answer is open, else where it may have changed."""
        if not self._is_settled:
            return LookPlan(self._due_s)
        return LookPlan(self._settled_s + self._settings.recheck_s, self._settings.growth_ratio * self._settled_height_ratio)

    def restart(self) -> None:
        """Ask anew, from nothing: whoever is seen now may be somebody else. The answer stands until there is another."""
        self._begin()

    def miss(self, *, now_s: float) -> None:
        """There was no face to be seen: wait a little, longer each time."""
        self._reopen(now_s)
        self._misses += 1
        self._waits += 1
        self._due_s = now_s + min(MOST_WAIT_S, WAIT_STEP_S * self._waits)

    def add(self, face: Face, yardstick: Yardstick, *, now_s: float, height_ratio: float) -> FaceDecision | None:
        """Take a face that was seen; the answer, if there is one to be told.

        Args:
            face: with its embedding; without one it was not good enough to be read.
            yardstick: what it is held against.
            now_s: time of the frame that shows it.
            height_ratio: of the track's box in it, as a share of the picture's height.
        """
        self._reopen(now_s)
        if face.embedding is None:
            self._poor += 1
            self.miss(now_s=now_s)
            return self._tell(self._evidence.decide(yardstick)) if self._poor == self._settings.most_looks else None
        self._looks += 1
        self._waits = 0
        self._evidence.add(face)
        decision = self._evidence.decide(yardstick)
        if decision.kind is FaceDecisionKind.MATCH or self._looks >= self._settings.most_looks:
            self._is_settled, self._settled_s, self._settled_height_ratio = True, now_s, height_ratio
        if decision.kind is FaceDecisionKind.MATCH or self._looks >= self._settings.doubt_looks:
            return self._tell(decision)
        return None

    def conclude(self, yardstick: Yardstick) -> FaceDecision | None:
        """The track is about to end: the answer from what there is, if none was told."""
        has_seen = self._looks + self._poor > 0
        return self._tell(self._evidence.decide(yardstick)) if self._told is None and has_seen else None

    def reconsider(self, yardstick: Yardstick) -> FaceDecision | None:
        """With another yardstick: what the same faces amount to, if that is to be told."""
        if self._told is None:
            return None
        is_forgotten = self._told.subject is not None and self._told.subject not in yardstick.matcher.person_ids
        return self._tell(self._evidence.decide(yardstick), is_retraction=is_forgotten)

    def _tell(self, decision: FaceDecision, *, is_retraction: bool = False) -> FaceDecision | None:
        """What is said: want of good faces, only where nothing was said before or what was said must not stand."""
        if decision.kind is FaceDecisionKind.LOW_QUALITY and self._told is not None and not is_retraction:
            return None
        self._told = decision
        return decision

    def _reopen(self, now_s: float) -> None:
        """A look at a settled track calls its answer into question: wholly where it has aged, else what is known still counts."""
        if not self._is_settled:
            return
        if now_s - self._settled_s >= self._settings.recheck_s:
            self._begin()
        else:
            self._is_settled, self._looks = False, 0

    def _begin(self) -> None:
        self._evidence = Evidence()
        self._looks = self._misses = self._poor = self._waits = 0
        self._due_s = float("-inf")
        self._is_settled, self._settled_s, self._settled_height_ratio = False, 0.0, 0.0
