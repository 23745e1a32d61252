"""Whether a replay still gives the events that it once gave, within the tolerances of another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from edged.errors import InputError, MessageError
from edged.events.schema import EventMessage
from edged.events.wire import decode_event
from edged.vision.boxes import iou_matrix

FRAME_TOLERANCE = 1
"""An event may be this many frames early or late."""

LEAST_BOX_IOU = 0.9
"""Its object's box must overlap the expected one at least this much."""

SCORE_TOLERANCE = 0.02
"""Its object's score may differ by this much."""

NEAR_FRAMES = 30
"""A missing and an unexpected event of one kind that are this near are reported as one that differs."""

ROUNDING = 1e-9
"""What sums of rounded decimals may be off by."""


_Match = Callable[[EventMessage, EventMessage], bool]
_Rank = Callable[[EventMessage, EventMessage], tuple[float, float]]
_Pairing = tuple[list[tuple[EventMessage, EventMessage]], list[EventMessage], list[EventMessage]]


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a replay is not what was expected.

    Attributes:
        frame_seq: of the expected event, or of the unexpected one.
        text: for people, one line.
    """

    frame_seq: int
    text: str


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """What comparing two runs of events found.

    Attributes:
        matched: expected events that came.
        differences: everything else, by frame; empty where the runs are equal.
    """

    matched: int
    differences: tuple[Difference, ...]

    @property
    def is_equal(self) -> bool:
        """Whether every expected event came and no other."""
        return not self.differences

    def __str__(self) -> str:
        head = f"{self.matched} events as expected, {len(self.differences)} differences"
        return "\n".join([head, *(f"  {difference.text}" for difference in self.differences)])


def compare(
    expected_lines: Iterable[str | bytes],
    actual_lines: Iterable[str | bytes],
    *,
    expected_name: str = "expected",
    actual_name: str = "actual",
) -> GoldenReport:
    """Compare two runs, each given as the JSON lines of its events.

    Type, camera, class, zone, line, direction and identity must be equal; time, box and score within the tolerances above.

    Args:
        expected_lines, actual_lines: one event a line; empty lines are passed over.
        expected_name, actual_name: what to call them in errors, e.g. the file's name.

    Raises:
        InputError: a line is not an event; names the line.
    """
    expected, actual = _read(expected_lines, expected_name), _read(actual_lines, actual_name)
    matched = 0
    differences: list[Difference] = []
    for kind in dict.fromkeys(_kind(event) for event in (*expected, *actual)):
        wanted_ones = [event for event in expected if _kind(event) == kind]
        got_ones = [event for event in actual if _kind(event) == kind]
        equal, wanted_ones, got_ones = _pair(wanted_ones, got_ones, is_match=_is_within_tolerance, rank=_earliest)
        near, wanted_ones, got_ones = _pair(wanted_ones, got_ones, is_match=_is_near, rank=_nearest)
        matched += len(equal)
        differences += [Difference(event.frame.seq, f"missing: {_describe(event)}") for event in wanted_ones]
        differences += [Difference(event.frame.seq, f"unexpected: {_describe(event)}") for event in got_ones]
        differences += [Difference(wanted.frame.seq, _describe_change(wanted, got)) for wanted, got in near]
    return GoldenReport(matched, tuple(sorted(differences, key=lambda difference: difference.frame_seq)))


def _read(lines: Iterable[str | bytes], name: str) -> list[EventMessage]:
    events = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                events.append(decode_event(line))
            except MessageError as error:
                raise InputError(f"{name} line {number}: {error}; expected one event of edged as JSON a line") from error
    return events


def _pair(wanted_ones: list[EventMessage], got_ones: list[EventMessage], *, is_match: _Match, rank: _Rank) -> _Pairing:
    """Give each wanted event, by time, the fitting one that ranks first; the pairs, and what is left of both."""
    pairs, missing, left = [], [], list(got_ones)
    for wanted in sorted(wanted_ones, key=lambda event: event.frame.seq):
        fitting = [got for got in left if is_match(wanted, got)]
        if fitting:
            pairs.append((wanted, min(fitting, key=lambda got: rank(wanted, got))))
            left.remove(pairs[-1][1])
        else:
            missing.append(wanted)
    return pairs, missing, left


def _earliest(wanted: EventMessage, got: EventMessage) -> tuple[float, float]:
    """Windows of equal length are all filled that can be filled when each takes the earliest."""
    return got.frame.seq, -_box_iou(wanted, got)


def _nearest(wanted: EventMessage, got: EventMessage) -> tuple[float, float]:
    return abs(got.frame.seq - wanted.frame.seq), -_box_iou(wanted, got)


def _kind(event: EventMessage) -> tuple[object, ...]:
    class_name = None if event.object is None else event.object.class_name
    answer = None if event.identity is None else (event.identity.kind, event.identity.subject)
    return event.type, event.camera, class_name, event.zone, event.line, event.direction, answer


def _is_within_tolerance(wanted: EventMessage, got: EventMessage) -> bool:
    return (
        abs(got.frame.seq - wanted.frame.seq) <= FRAME_TOLERANCE
        and _box_iou(wanted, got) >= LEAST_BOX_IOU
        and _score_change(wanted, got) <= SCORE_TOLERANCE + ROUNDING
    )


def _is_near(wanted: EventMessage, got: EventMessage) -> bool:
    return abs(got.frame.seq - wanted.frame.seq) <= NEAR_FRAMES


def _box_iou(wanted: EventMessage, got: EventMessage) -> float:
    """1 where neither has an object; kinds being equal, both have one or none. Equal boxes without area are equal."""
    if wanted.object is None or got.object is None or wanted.object.box_norm == got.object.box_norm:
        return 1.0
    size = (wanted.frame.width, wanted.frame.height) * 2
    boxes = np.array([wanted.object.box_norm, got.object.box_norm], np.float32) * np.array(size, np.float32)
    return float(iou_matrix(boxes[:1], boxes[1:])[0, 0])


def _score_change(wanted: EventMessage, got: EventMessage) -> float:
    if wanted.object is None or got.object is None:
        return 0.0
    return abs(got.object.score - wanted.object.score)


def _describe(event: EventMessage) -> str:
    parts = [event.type.value, f"frame {event.frame.seq}", event.camera or "device"]
    if event.object is not None:
        parts += [event.object.class_name, event.object.id]
    parts += [part for part in (event.zone, event.line, event.direction and event.direction.value) if part]
    if event.identity is not None:
        parts += [event.identity.kind.value, *([event.identity.subject] if event.identity.subject else [])]
    return " ".join(parts)


def _describe_change(wanted: EventMessage, got: EventMessage) -> str:
    return (
        f"differs: {_describe(wanted)}: came in frame {got.frame.seq} ({got.frame.seq - wanted.frame.seq:+d}), "
        f"box IoU {_box_iou(wanted, got):.2f}, score off by {_score_change(wanted, got):.3f}"
    )
