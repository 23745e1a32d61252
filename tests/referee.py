"""Judges events against the drawn street's truth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edged.street.truth import StreetEvent

JUDGED = ("zone.enter", "zone.leave", "zone.dwell", "line.crossed")


@dataclass(frozen=True, slots=True)
class Seen:
    """One event, reduced to what truth and rules both say; frames from 0."""

    frame: int
    kind: str
    place: str
    class_name: str
    direction: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run.

    Attributes:
        n_clear: events that every observer must see.
        missing: those of them that nobody reported in time.
        n_reported: reported events.
        invented: those of them that fit no true event, clear or not.
    """

    n_clear: int
    missing: tuple[StreetEvent, ...]
    n_reported: int
    invented: tuple[Seen, ...]

    @property
    def recall(self) -> float:
        return 1 - len(self.missing) / self.n_clear

    @property
    def invented_ratio(self) -> float:
        return len(self.invented) / max(1, self.n_reported)


def read_events(bodies: Iterable[bytes]) -> list[Seen]:
    """The judged events among messages of a replay of every frame."""
    seen = []
    for body in bodies:
        event = json.loads(body)
        if event["type"] in JUDGED:
            place = event.get("zone") or event["line"]
            direction = event.get("direction")
            seen.append(Seen(event["frame"]["seq"] - 1, event["type"], place, event["object"]["class"], direction))
    return seen


def judge(seen: Sequence[Seen], truth: Sequence[StreetEvent], *, clear_frames: int, unclear_frames: int) -> Verdict:
    """Give every true event the nearest report that fits, the clear ones first.

    Args:
        clear_frames, unclear_frames: how far from the truth a report may be for an event that is clear, or is not.
    """
    left, missing = list(seen), []
    for true in sorted(truth, key=lambda true: (not true.is_clear, true.frame)):
        reach = clear_frames if true.is_clear else unclear_frames
        fitting = [report for report in left if _fits(report, true, reach)]
        if fitting:
            left.remove(min(fitting, key=lambda report: abs(report.frame - true.frame)))
        elif true.is_clear:
            missing.append(true)
    n_clear = sum(true.is_clear for true in truth)
    return Verdict(n_clear, tuple(missing), len(seen), tuple(left))


def _fits(report: Seen, true: StreetEvent, reach: int) -> bool:
    what = (report.kind, report.place, report.class_name, report.direction)
    return what == (true.kind, true.place, true.class_name, true.direction) and abs(report.frame - true.frame) <= reach
