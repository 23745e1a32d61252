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


class TrackIdentity:
    """What is known of the face of one track. Used by one thread at a time.

    Args:
        settings: when to look.
    """

    def __init__(self, settings: LookSettings) -> None:
        self._settings = settings
        self._told: FaceDecision | None = None
        self._begin()

    @property
    def is_settled(self) -> bool:
        """Whether it has the answer that it keeps until something calls it into question."""
        return self._is_settled

    @property
    def has_answer(self) -> bool:
        """Whether something was told, be it in question now or not."""
        return self._told is not None

    @property
    def tries(self) -> int:
        """How often it was looked at for the answer that is being sought, with and without success."""
        return self._looks + self._misses

    def is_wanted(self, *, now_s: float, height_px: float) -> bool:
        """Whether a look is worth its cost now; calls a settled answer into question where it has aged or shows more.

        Args:
            now_s: time of the frame that would be looked at.
            height_px: of the track's box in it.
        """
        if self._is_settled:
            if now_s - self._settled_s >= self._settings.recheck_s:
                self._begin()
            elif height_px >= self._settings.growth_ratio * self._settled_height_px:
                self._is_settled, self._looks = False, 0
        return not self._is_settled and now_s >= self._due_s

    def restart(self) -> None:
        """Ask anew, from nothing: whoever is seen now may be somebody else. The answer stands until there is another."""
        self._begin()

    def miss(self, *, now_s: float) -> None:
        """There was no face to be seen: wait a little, longer each time."""
        self._misses += 1
        self._waits += 1
        self._due_s = now_s + min(MOST_WAIT_S, WAIT_STEP_S * self._waits)

    def add(self, face: Face, yardstick: Yardstick, *, now_s: float, height_px: float) -> FaceDecision | None:
        """Take a face that was seen; the answer, if there is one to be told.

        Args:
            face: with its embedding; without one it was not good enough to be read.
            yardstick: what it is held against.
            now_s: time of the frame that shows it.
            height_px: of the track's box in it.
        """
        if face.embedding is None:
            self._poor += 1
            self.miss(now_s=now_s)
            return self._tell(self._evidence.decide(yardstick)) if self._poor == self._settings.most_looks else None
        self._looks += 1
        self._waits = 0
        self._evidence.add(face)
        decision = self._evidence.decide(yardstick)
        if decision.kind is FaceDecisionKind.MATCH or self._looks >= self._settings.most_looks:
            self._is_settled, self._settled_s, self._settled_height_px = True, now_s, height_px
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

    def _begin(self) -> None:
        self._evidence = Evidence()
        self._looks = self._misses = self._poor = self._waits = 0
        self._due_s = float("-inf")
        self._is_settled, self._settled_s, self._settled_height_px = False, 0.0, 0.0
