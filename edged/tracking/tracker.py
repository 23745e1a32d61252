"""Objects out of detections: one camera's tracker.

Each frame: predict, match, correct, begin, end. Sure detections are matched first, to all tracks; doubtful ones then to
the tracks that are left, so that an object half hidden keeps its number but never gets one.

Source: the two rounds of association are the idea of Zhang et al., ByteTrack: Multi-Object Tracking by Associating Every
Detection Box, ECCV 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edged.tracking.association import Edge, buffered_iou, match, overlap, share_inside, similar_pairs
from edged.tracking.kalman import BoxFilters
from edged.tracking.life import ROUNDING_S, Life
from edged.tracking.settings import TrackerSettings
from edged.types import Detections, Track, Tracks, TrackState


class Tracker:
    """Follows the objects of one camera. Used by one thread; deterministic."""

    def __init__(self, settings: TrackerSettings, *, class_names: Sequence[str]) -> None:
        unknown = sorted(set(settings.class_high_scores) - set(class_names))
        if unknown:
            raise ValueError(f"class_high_scores: the detector knows {', '.join(class_names)}, but not {', '.join(unknown)}")
        self._settings = settings
        self._life_settings = settings.life
        high_scores = [settings.class_high_scores.get(name, settings.high_score) for name in class_names]
        self._high_scores = np.array(high_scores, np.float32)  # as scores are: equality counts
        self._new_scores = np.minimum(self._high_scores * settings.new_score_ratio, 1.0)
        self._low_scores = self._high_scores * settings.low_score_ratio
        self._affinity = _class_affinity(settings, class_names)
        self._filters = BoxFilters(settings.noise)
        self._lives: list[Life] = []
        self._averages: list[list[float]] = []  # each track's box over the last while
        self._places: list[list[float]] = []  # that average when the track was last found elsewhere
        self._now_s: float | None = None
        self._n_numbers = 0

    @property
    def least_score(self) -> float:
        """Detections below this score change nothing, whatever their class."""
        return float(self._low_scores.min())

    def update(self, detections: Detections, *, now_s: float) -> Tracks:
        """Takes in what was detected in a frame.

        Args:
            detections: after suppression, of any score.
            now_s: when the frame was captured; never falls.
        """
        step_s = self._advance(now_s)
        detections = self._usable(detections)
        self._filters.predict(step_s)
        matched = self._associate(detections)
        self._correct(detections, matched, now_s=now_s, step_s=step_s)
        self._begin(detections, matched, now_s=now_s)
        self._confirm()
        self._find_duplicates(step_s)
        return self._end()

    def hold(self, *, now_s: float) -> Tracks:
        """A frame that was not analysed because nothing moved in it: time goes on, nothing ages, moves or ends.

        What was there at the last analysed frame is still there; what was lost stays lost.
        """
        self._advance(now_s)
        for life in self._lives:
            if life.missed_s == 0.0:
                life.seen_s = now_s
            life.is_detected = False
        self._filters.stop(list(range(len(self._lives))))
        return Tracks(self._snapshots(range(len(self._lives))), ())

    def reset(self) -> Tracks:
        """Ends every track: the camera shows something else, or in another size. Numbers go on."""
        for life in self._lives:
            life.is_detected = False
        ended = self._snapshots(row for row, life in enumerate(self._lives) if life.is_believed)
        self._keep([])
        return Tracks((), ended)

    def _advance(self, now_s: float) -> float:
        """The watched seconds since the last frame; a longer gap counts as `gap_s`."""
        last_s = now_s if self._now_s is None else self._now_s
        if now_s < last_s:
            raise ValueError(f"expected now_s to never fall, got {now_s} after {last_s}")
        self._now_s = now_s
        return min(now_s - last_s, self._settings.gap_s)

    def _usable(self, detections: Detections) -> Detections:
        """Those that may at least continue a track."""
        is_usable = detections.scores >= self._low_scores[detections.class_ids]
        return detections if is_usable.all() else detections[is_usable]

    def _associate(self, detections: Detections) -> list[Edge]:
        """Which row is which detection, in rounds: sure with believed, doubtful with believed, sure with tentative."""
        if not self._lives or not len(detections):
            return []
        first, second, third = self._edges(detections)
        matched = match(first)
        for edges in (second, third):
            if edges:
                rows, columns = {edge.row for edge in matched}, {edge.column for edge in matched}
                matched += match([edge for edge in edges if edge.row not in rows and edge.column not in columns])
        return matched

    def _edges(self, detections: Detections) -> tuple[list[Edge], list[Edge], list[Edge]]:
        """The pairs that overlap enough, by round."""
        settings = self._settings
        boxes = self._filters.boxes()
        margin = np.minimum(
            settings.margin_sigmas * self._filters.spread(), settings.margin_ratio * (boxes[:, 2:] - boxes[:, :2])
        )
        overlaps = buffered_iou(boxes[:, None], detections.boxes[None], margin[:, None])  # (N, M)
        is_sure = (detections.scores >= self._high_scores[detections.class_ids]).tolist()
        class_ids = detections.class_ids.tolist()
        rounds: tuple[list[Edge], list[Edge], list[Edge]] = ([], [], [])
        rows, columns = np.nonzero(overlaps >= min(settings.high_iou, settings.low_iou, settings.tentative_iou))
        for row, column, overlapped in zip(rows.tolist(), columns.tolist(), overlaps[rows, columns].tolist(), strict=True):
            life, sure = self._lives[row], is_sure[column]
            gain = overlapped * self._affinity[life.class_id][class_ids[column]]
            if sure and life.is_believed and gain >= settings.high_iou:
                rounds[0].append(Edge(row, column, gain))
            elif life.is_believed and not sure and gain >= settings.low_iou:
                rounds[1].append(Edge(row, column, gain))
            elif sure and not life.is_believed and gain >= settings.tentative_iou:
                rounds[2].append(Edge(row, column, gain))
        return rounds

    def _correct(self, detections: Detections, matched: list[Edge], *, now_s: float, step_s: float) -> None:
        """Tells every track whether it was seen, and where."""
        column_of = {edge.row: edge.column for edge in matched}
        if matched:
            rows = np.fromiter(column_of.keys(), np.int64, len(column_of))
            columns = np.fromiter(column_of.values(), np.int64, len(column_of))
            self._filters.correct(rows, detections.boxes[columns])
        scores, class_ids = detections.scores.tolist(), detections.class_ids.tolist()
        missed = []
        for row, life in enumerate(self._lives):
            column = column_of.get(row)
            if column is None:
                life.miss(step_s)
                missed.append(row)
            else:
                life.hit(scores[column], class_ids[column], now_s=now_s)
        if missed:
            self._filters.stop_growth(missed)
        self._settle(now_s=now_s, step_s=step_s)

    def _settle(self, *, now_s: float, step_s: float) -> None:
        """Decides who is stationary: whoever has not left its place, which is where its averaged box was, for a while."""
        if not self._lives:
            return
        settings = self._settings
        follow = 1.0 - math.exp(-step_s / settings.still_smooth_s)
        boxes = self._filters.boxes().tolist()
        for row, (life, box) in enumerate(zip(self._lives, boxes, strict=True)):
            has_left = overlap(box, self._places[row]) < settings.stationary_iou
            if has_left and self._seems_to_move(row, boxes):
                self._filters.put(row, self._averages[row])
                continue
            if life.is_detected:
                pairs = zip(self._averages[row], box, strict=True)
                self._averages[row] = [average + follow * (now - average) for average, now in pairs]
            if has_left:
                self._places[row] = self._averages[row]
                life.still_since_s = now_s
            if life.is_detected:
                life.is_stationary = now_s - life.still_since_s >= settings.stationary_s - ROUNDING_S
        self._filters.stop([row for row, life in enumerate(self._lives) if life.is_stationary])

    def _seems_to_move(self, row: int, boxes: list[list[float]]) -> bool:
        """Whether an object that stands is half hidden by something that passes.

        A detector then sees both as one, or the part that is not hidden: less surely, and somewhere else.
        """
        life, settings = self._lives[row], self._settings
        if not (life.is_stationary and life.is_detected and life.score < settings.covered_score_ratio * life.mean_score):
            return False
        place, least = self._averages[row], settings.covered_ratio
        others = (boxes[other] for other, life in enumerate(self._lives) if other != row and life.is_moving)
        return any(share_inside(place, box) >= least for box in others)

    def _begin(self, detections: Detections, matched: list[Edge], *, now_s: float) -> None:
        """Begins tracks with the sure detections that nobody wanted and that show no object already followed."""
        is_fresh = detections.scores >= self._new_scores[detections.class_ids]
        is_fresh[[edge.column for edge in matched]] = False
        if not is_fresh.any():
            return
        fresh = np.flatnonzero(is_fresh)
        lives = zip(self._lives, self._filters.boxes().tolist(), strict=True)
        seen = [(life.class_id, box) for life, box in lives if life.is_detected]
        begun: list[int] = []
        for column in fresh[np.argsort(-detections.scores[fresh], kind="stable")].tolist():
            class_id, box = int(detections.class_ids[column]), detections.boxes[column].tolist()
            if not any(self._is_same(overlap(other, box), other_id, class_id) for other_id, other in seen):
                begun.append(column)
                seen.append((class_id, box))
        if begun:
            self._add(detections[np.array(begun)], now_s=now_s)

    def _add(self, detections: Detections, *, now_s: float) -> None:
        self._filters.append(detections.boxes)
        self._averages += detections.boxes.tolist()
        self._places += detections.boxes.tolist()
        for score, class_id in zip(detections.scores.tolist(), detections.class_ids.tolist(), strict=True):
            votes = [0.0] * len(self._affinity)
            votes[class_id] = score
            self._lives.append(
                Life(first_s=now_s, seen_s=now_s, still_since_s=now_s, votes=votes, class_id=class_id, score=score)
            )

    def _confirm(self) -> None:
        """Believes who was seen often enough; numbers are given here and nowhere else."""
        for life in self._lives:
            if life.may_be_confirmed(self._life_settings):
                life.state = TrackState.CONFIRMED
                self._n_numbers += 1
                life.number = self._n_numbers

    def _find_duplicates(self, step_s: float) -> None:
        """Counts for how long each track has covered the object of an older one."""
        doubled = set()
        least_iou = min(self._settings.duplicate_iou, self._settings.confused_iou)
        for *pair, shared in similar_pairs(self._filters.boxes().tolist(), least_iou):
            older, younger = sorted(pair, key=lambda row: _seniority(self._lives[row]))
            if self._is_same(shared, self._lives[older].class_id, self._lives[younger].class_id):
                doubled.add(younger)
        for row, life in enumerate(self._lives):
            life.doubled_s = life.doubled_s + step_s if row in doubled else 0.0

    def _is_same(self, shared: float, class_id: int, other_id: int) -> bool:
        """Whether two boxes that overlap so much show one object."""
        if class_id == other_id:
            return shared >= self._settings.duplicate_iou
        return self._affinity[class_id][other_id] > 0 and shared >= self._settings.confused_iou

    def _end(self) -> Tracks:
        """Removes who was missed for too long or is a duplicate."""
        is_over = [life.is_over(self._life_settings) or life.doubled_s > self._settings.duplicate_s for life in self._lives]
        ended: tuple[Track, ...] = ()
        if any(is_over):
            ended = self._snapshots(row for row, over in enumerate(is_over) if over and self._lives[row].is_believed)
            self._keep([row for row, over in enumerate(is_over) if not over])
        return Tracks(self._snapshots(range(len(self._lives))), ended)

    def _keep(self, rows: list[int]) -> None:
        self._filters.keep(rows)
        self._averages = [self._averages[row] for row in rows]
        self._places = [self._places[row] for row in rows]
        self._lives = [self._lives[row] for row in rows]

    def _snapshots(self, rows: Iterable[int]) -> tuple[Track, ...]:
        """The tracks of these rows by seniority; who stands still is shown where it is on average."""
        boxes = self._filters.boxes().astype(np.float32)
        for row, life in enumerate(self._lives):
            if life.is_stationary:
                boxes[row] = self._averages[row]
        ordered = sorted(rows, key=lambda row: _seniority(self._lives[row]))
        return tuple(_snapshot(self._lives[row], boxes[row]) for row in ordered)


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
