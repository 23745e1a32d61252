"""Objects out of detections: one camera's tracker.

Each frame: predict, match, correct, begin, end. Sure detections are matched first, to all tracks; doubtful ones then to
the tracks that are left, so that an object half hidden keeps its number but never gets one.

Source: the two rounds of association are the idea of Zhang et al., ByteTrack: Multi-Object Tracking by Associating Every
Detection Box, ECCV 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edged.tracking.association import Edge, match, meeting_pairs, overlap, share_inside, similar_pairs
from edged.tracking.kalman import Box, BoxFilter
from edged.tracking.life import ROUNDING_S, Life
from edged.tracking.settings import TrackerSettings
from edged.types import Detections, Track, Tracks, TrackState


class _Found(NamedTuple):
    """One detection in plain numbers, box xyxy."""

    box: Box
    score: float
    class_id: int


@dataclass(slots=True, eq=False)
class _Followed:
    """One object: its life and where it is.

    Attributes:
        average: its box over the last while.
        place: that average when it was last found elsewhere.
    """

    life: Life
    filter: BoxFilter
    average: Box
    place: Box


class Tracker:
    """Follows the objects of one camera. Used by one thread; deterministic.

    A frame has a dozen objects: it is all done in plain numbers, since each call into an array library costs more than a box.
    """

    def __init__(self, settings: TrackerSettings, *, class_names: Sequence[str]) -> None:
        unknown = sorted(set(settings.class_high_scores) - set(class_names))
        if unknown:
            raise ValueError(f"class_high_scores: the detector knows {', '.join(class_names)}, but not {', '.join(unknown)}")
        self._settings = settings
        self._life_settings = settings.life
        high_scores = [settings.class_high_scores.get(name, settings.high_score) for name in class_names]
        high = np.array(high_scores, np.float32)  # as scores are: equality counts
        self._high_scores: list[float] = high.tolist()
        self._new_scores: list[float] = np.minimum(high * settings.new_score_ratio, 1.0).tolist()
        self._low_scores: list[float] = (high * settings.low_score_ratio).tolist()
        self._affinity = _class_affinity(settings, class_names)
        self._followed: list[_Followed] = []
        self._now_s: float | None = None
        self._n_numbers = 0

    @property
    def least_score(self) -> float:
        """Detections below this score change nothing, whatever their class."""
        return min(self._low_scores)

    def update(self, detections: Detections, *, now_s: float) -> Tracks:
        """Takes in what was detected in a frame.

        Args:
            detections: after suppression, of any score.
            now_s: when the frame was captured; never falls.
        """
        step_s = self._advance(now_s)
        found = self._usable(detections)
        for followed in self._followed:
            followed.filter.predict(step_s)
        matched = self._associate(found)
        self._correct(found, matched, now_s=now_s, step_s=step_s)
        self._settle(now_s=now_s, step_s=step_s)
        self._begin(found, matched, now_s=now_s)
        self._confirm()
        self._find_duplicates(step_s)
        return self._end()

    def hold(self, *, now_s: float) -> Tracks:
        """A frame that was not analysed because nothing moved in it: time goes on, nothing ages, moves or ends.

        What was there at the last analysed frame is still there; what was lost stays lost.
        """
        self._advance(now_s)
        for followed in self._followed:
            life = followed.life
            if life.missed_s == 0.0:
                life.seen_s = now_s
            life.is_detected = False
            followed.filter.stop()
        return Tracks(_snapshots(self._followed), ())

    def reset(self) -> Tracks:
        """Ends every track: the camera shows something else, or in another size. Numbers go on."""
        for followed in self._followed:
            followed.life.is_detected = False
        ended = _snapshots(followed for followed in self._followed if followed.life.is_believed)
        self._followed = []
        return Tracks((), ended)

    def _advance(self, now_s: float) -> float:
        """The watched seconds since the last frame; a longer gap counts as `gap_s`."""
        last_s = now_s if self._now_s is None else self._now_s
        if now_s < last_s:
            raise ValueError(f"expected now_s to never fall, got {now_s} after {last_s}")
        self._now_s = now_s
        return min(now_s - last_s, self._settings.gap_s)

    def _usable(self, detections: Detections) -> list[_Found]:
        """Those that may at least continue a track."""
        low_scores = self._low_scores
        found = map(_Found, detections.boxes.tolist(), detections.scores.tolist(), detections.class_ids.tolist())
        return [one for one in found if one.score >= low_scores[one.class_id]]

    def _associate(self, found: Sequence[_Found]) -> list[Edge]:
        """Which row is which detection, in rounds: sure with believed, doubtful with believed, sure with tentative."""
        first, second, third = self._edges(found)
        matched = match(first)
        for edges in (second, third):
            if edges:
                rows, columns = {edge.row for edge in matched}, {edge.column for edge in matched}
                matched += match([edge for edge in edges if edge.row not in rows and edge.column not in columns])
        return matched

    def _edges(self, found: Sequence[_Found]) -> tuple[list[Edge], list[Edge], list[Edge]]:
        """The pairs that overlap enough, by round."""
        settings = self._settings
        boxes = [followed.filter.box for followed in self._followed]
        pairs = meeting_pairs(
            boxes,
            [self._margin(followed.filter) for followed in self._followed],
            [one.box for one in found],
            min(settings.high_iou, settings.low_iou, settings.tentative_iou),
        )
        rounds: tuple[list[Edge], list[Edge], list[Edge]] = ([], [], [])
        for row, column, overlapped in pairs:
            life, (_, score, class_id) = self._followed[row].life, found[column]
            is_sure = score >= self._high_scores[class_id]
            gain = overlapped * self._affinity[life.class_id][class_id]
            if is_sure and life.is_believed and gain >= settings.high_iou:
                rounds[0].append(Edge(row, column, gain))
            elif life.is_believed and not is_sure and gain >= settings.low_iou:
                rounds[1].append(Edge(row, column, gain))
            elif is_sure and not life.is_believed and gain >= settings.tentative_iou:
                rounds[2].append(Edge(row, column, gain))
        return rounds

    def _margin(self, filter: BoxFilter) -> tuple[float, float]:
        """By how much a box is widened in x and y before it is compared, pixels."""
        x1, y1, x2, y2 = filter.box
        unsure_px, ratio = self._settings.margin_sigmas * filter.spread, self._settings.margin_ratio
        return min(unsure_px, ratio * (x2 - x1)), min(unsure_px, ratio * (y2 - y1))

    def _correct(self, found: Sequence[_Found], matched: list[Edge], *, now_s: float, step_s: float) -> None:
        """Tells every track whether it was seen, and where."""
        column_of = {edge.row: edge.column for edge in matched}
        for row, followed in enumerate(self._followed):
            column = column_of.get(row)
            if column is None:
                followed.life.miss(step_s)
                followed.filter.stop_growth()
            else:
                box, score, class_id = found[column]
                followed.life.hit(score, class_id, now_s=now_s)
                followed.filter.correct(box)

    def _settle(self, *, now_s: float, step_s: float) -> None:
        """Decides who is stationary: whoever has not left its place, which is where its averaged box was, for a while."""
        settings = self._settings
        follow = 1.0 - math.exp(-step_s / settings.still_smooth_s)
        for followed in self._followed:
            life, box = followed.life, followed.filter.box
            has_left = overlap(box, followed.place) < settings.stationary_iou
            if has_left and self._seems_to_move(followed):
                followed.filter.put(followed.average)
                continue
            if life.is_detected:
                pairs = zip(followed.average, box, strict=True)
                followed.average = [average + follow * (now - average) for average, now in pairs]
            if has_left:
                followed.place = followed.average
                life.still_since_s = now_s
            if life.is_detected:
                life.is_stationary = now_s - life.still_since_s >= settings.stationary_s - ROUNDING_S
            if life.is_stationary:
                followed.filter.stop()

    def _seems_to_move(self, followed: _Followed) -> bool:
        """Whether an object that stands is half hidden by something that passes.

        A detector then sees both as one, or the part that is not hidden: less surely, and somewhere else.
        """
        life, settings = followed.life, self._settings
        if not (life.is_stationary and life.is_detected and life.score < settings.covered_score_ratio * life.mean_score):
            return False
        boxes = (other.filter.box for other in self._followed if other.life.is_moving)
        return any(share_inside(followed.average, box) >= settings.covered_ratio for box in boxes)

    def _begin(self, found: Sequence[_Found], matched: list[Edge], *, now_s: float) -> None:
        """Begins tracks with the sure detections that nobody wanted and that show no object already followed."""
        wanted = {edge.column for edge in matched}
        unwanted = (one for column, one in enumerate(found) if column not in wanted)
        fresh = [one for one in unwanted if one.score >= self._new_scores[one.class_id]]
        if not fresh:
            return
        detected = (followed for followed in self._followed if followed.life.is_detected)
        seen = [(followed.life.class_id, followed.filter.box) for followed in detected]
        for one in sorted(fresh, key=lambda one: -one.score):
            if not any(self._is_same(overlap(box, one.box), class_id, one.class_id) for class_id, box in seen):
                seen.append((one.class_id, one.box))
                self._followed.append(self._start(one, now_s=now_s))

    def _start(self, found: _Found, *, now_s: float) -> _Followed:
        box, score, class_id = found
        votes = [0.0] * len(self._affinity)
        votes[class_id] = score
        life = Life(first_s=now_s, seen_s=now_s, still_since_s=now_s, votes=votes, class_id=class_id, score=score)
        return _Followed(life, BoxFilter(box, self._settings.noise), average=box, place=box)

    def _confirm(self) -> None:
        """Believes who was seen often enough; numbers are given here and nowhere else."""
        for followed in self._followed:
            life = followed.life
            if life.may_be_confirmed(self._life_settings):
                life.state = TrackState.CONFIRMED
                self._n_numbers += 1
                life.number = self._n_numbers

    def _find_duplicates(self, step_s: float) -> None:
        """Counts for how long each track has covered the object of an older one."""
        lives = [followed.life for followed in self._followed]
        doubled = set()
        least_iou = min(self._settings.duplicate_iou, self._settings.confused_iou)
        for *pair, shared in similar_pairs([followed.filter.box for followed in self._followed], least_iou):
            older, younger = sorted(pair, key=lambda row: _seniority(lives[row]))
            if self._is_same(shared, lives[older].class_id, lives[younger].class_id):
                doubled.add(younger)
        for row, life in enumerate(lives):
            life.doubled_s = life.doubled_s + step_s if row in doubled else 0.0

    def _is_same(self, shared: float, class_id: int, other_id: int) -> bool:
        """Whether two boxes that overlap so much show one object."""
        if class_id == other_id:
            return shared >= self._settings.duplicate_iou
        return self._affinity[class_id][other_id] > 0 and shared >= self._settings.confused_iou

    def _end(self) -> Tracks:
        """Removes who was missed for too long or is a duplicate."""
        over = [followed for followed in self._followed if self._is_over(followed.life)]
        if not over:
            return Tracks(_snapshots(self._followed), ())
        self._followed = [followed for followed in self._followed if followed not in over]
        ended = _snapshots(followed for followed in over if followed.life.is_believed)
        return Tracks(_snapshots(self._followed), ended)

    def _is_over(self, life: Life) -> bool:
        return life.is_over(self._life_settings) or life.doubled_s > self._settings.duplicate_s


def _snapshots(all_followed: Iterable[_Followed]) -> tuple[Track, ...]:
    """The tracks by seniority; who stands still is shown where it is on average."""
    ordered = sorted(all_followed, key=lambda followed: _seniority(followed.life))
    boxes = [followed.average if followed.life.is_stationary else followed.filter.box for followed in ordered]
    return tuple(_snapshot(followed.life, box) for followed, box in zip(ordered, np.array(boxes, np.float32), strict=True))


def _seniority(life: Life) -> tuple[bool, int, float]:
    """Sorts by number, tentative tracks last and by age."""
    return (not life.is_believed, life.number, life.first_s)


def _snapshot(life: Life, box: NDArray[np.float32]) -> Track:
    return Track(
        number=life.number,
        class_id=life.class_id,
        box=box,
        score=life.score,
        state=life.state,
        is_stationary=life.is_stationary,
        is_detected=life.is_detected,
        first_s=life.first_s,
        seen_s=life.seen_s,
    )


def _class_affinity(settings: TrackerSettings, class_names: Sequence[str]) -> list[list[float]]:
    """(C, C) what an overlap of a track and a detection of these classes counts."""
    affinity = np.eye(len(class_names))
    for group in settings.confusable:
        members = [index for index, name in enumerate(class_names) if name in group]
        affinity[np.ix_(members, members)] = settings.confusable_ratio
    np.fill_diagonal(affinity, 1.0)
    return affinity.tolist()
