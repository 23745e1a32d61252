"""Every mistake is found once, with the cause that fits, and agrees with the counts of `tools.metrics`."""

from __future__ import annotations

import numpy as np
import pytest

from edged.types import Detections
from tools.metrics import Truth, score_class
from tools.report.mistakes import Alarm, AlarmCause, Miss, MissCause, find_mistakes, worst_alarms, worst_misses

BOX = [0.0, 0.0, 10.0, 10.0]
NEAR = [0.0, 0.0, 10.0, 12.0]
SHIFTED = [6.0, 0.0, 16.0, 10.0]
"""Overlaps BOX by a quarter."""
FAR = [50.0, 50.0, 60.0, 60.0]
PERSON, CAR = 0, 1
THRESHOLDS = {PERSON: 0.5, CAR: 0.5}


def _truth(*rows: tuple[int, list[float]], ignored: bool = False, labelled: tuple[bool, bool] = (True, True)) -> Truth:
    return Truth(
        np.array([box for _, box in rows], np.float32).reshape(-1, 4),
        np.array([class_id for class_id, _ in rows], np.int64),
        np.full(len(rows), ignored),
        np.array(labelled),
    )


def _found(*rows: tuple[float, int, list[float]]) -> Detections:
    return Detections(
        np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for score, _, _ in rows], np.float32),
        np.array([class_id for _, class_id, _ in rows], np.int64),
    )


def _find(truth: Truth, found: Detections, thresholds: dict[int, float] = THRESHOLDS):
    return find_mistakes([truth], [found], np.array([[100, 100]]), thresholds=thresholds, n_classes=2)


@pytest.mark.parametrize(
    ("found", "cause", "nearest"),
    [
        pytest.param([(0.9, CAR, BOX)], MissCause.CONFUSED, 0, id="another class"),
        pytest.param([(0.49, PERSON, BOX)], MissCause.WEAK, 0, id="just below the threshold"),
        pytest.param([(0.049, PERSON, BOX)], MissCause.NOTHING, None, id="below what a daemon reports"),
        pytest.param([(0.9, PERSON, SHIFTED)], MissCause.OFF, 0, id="too far off"),
        pytest.param([(0.9, PERSON, FAR)], MissCause.NOTHING, None, id="elsewhere"),
        pytest.param([], MissCause.NOTHING, None, id="no detection"),
        pytest.param([(0.9, CAR, SHIFTED), (0.3, PERSON, NEAR)], MissCause.WEAK, 1, id="the one that explains it is shown"),
    ],
)
def test_find_mistakes_tells_why_an_object_was_missed(found: list, cause: MissCause, nearest: int | None) -> None:
    """One object, one miss, one cause, and the detection that speaks for it."""
    (miss,) = _find(_truth((PERSON, BOX)), _found(*found)).misses

    assert (miss.cause, miss.nearest) == (cause, nearest)


def test_find_mistakes_one_box_for_two_objects_is_crowded() -> None:
    """The second object has a fitting box, which belongs to its neighbour."""
    (miss,) = _find(_truth((PERSON, BOX), (PERSON, NEAR)), _found((0.9, PERSON, BOX))).misses

    assert (miss.row, miss.cause) == (1, MissCause.CROWDED)


@pytest.mark.parametrize(
    ("objects", "found", "cause"),
    [
        pytest.param([(PERSON, BOX)], [(0.9, PERSON, BOX), (0.8, PERSON, NEAR)], AlarmCause.TWICE, id="second box"),
        pytest.param([(CAR, BOX)], [(0.9, PERSON, BOX)], AlarmCause.CONFUSED, id="another class"),
        pytest.param([(CAR, BOX)], [(0.9, CAR, BOX), (0.8, PERSON, BOX)], AlarmCause.CONFUSED, id="another class, found as well"),
        pytest.param([(PERSON, BOX)], [(0.9, PERSON, SHIFTED)], AlarmCause.OFF, id="too far off"),
        pytest.param([(PERSON, BOX)], [(0.9, PERSON, BOX), (0.8, PERSON, FAR)], AlarmCause.NOTHING, id="elsewhere"),
        pytest.param([], [(0.5, PERSON, FAR)], AlarmCause.NOTHING, id="empty picture, at the threshold"),
    ],
)
def test_find_mistakes_tells_why_a_detection_is_wrong(objects: list, found: list, cause: AlarmCause) -> None:
    """The last detection is the false alarm."""
    (alarm,) = _find(_truth(*objects), _found(*found)).alarms

    assert (alarm.row, alarm.cause) == (len(found) - 1, cause)


def test_find_mistakes_of_an_ignored_object_has_none() -> None:
    """Neither is it missed nor is what lies on it an alarm."""
    mistakes = _find(_truth((PERSON, BOX), ignored=True), _found((0.9, PERSON, BOX)))

    assert (mistakes.misses, mistakes.alarms, mistakes.confusion.sum()) == ((), (), 0)


def test_find_mistakes_of_a_class_that_is_not_labelled_has_no_alarm() -> None:
    """It is still told where it takes an object of a labelled class for its own."""
    mistakes = _find(_truth((PERSON, BOX), labelled=(True, False)), _found((0.9, CAR, BOX), (0.9, CAR, FAR)))

    assert mistakes.alarms == ()
    assert mistakes.confusion.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_find_mistakes_of_a_class_without_threshold_misses_none() -> None:
    """An engine cannot miss what it does not know."""
    assert _find(_truth((CAR, BOX)), _found(), {PERSON: 0.5}).misses == ()


def test_find_mistakes_without_detections_says_nothing_of_every_object() -> None:
    """All objects stand in the column "nothing"."""
    assert _find(_truth((PERSON, BOX), (CAR, FAR)), _found()).confusion.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_find_mistakes_agrees_with_the_counts_of_metrics(seed: int) -> None:
    """Diagonal = found, misses = objects - found, alarms = invented, rows = objects, columns = detections."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 30, (30, 2))], axis=1).tolist()
    truth = _truth(*zip(rng.integers(0, 2, 15).tolist(), boxes[:15], strict=True))
    shaken = (np.array(boxes) + rng.normal(0, 3, (30, 4))).tolist()
    found = _found(*zip(rng.uniform(0.2, 1, 30).tolist(), rng.integers(0, 2, 30).tolist(), shaken, strict=True))

    mistakes = _find(truth, found)

    for class_id in (PERSON, CAR):
        score = score_class([truth], [found], class_id, threshold=0.5)
        assert mistakes.confusion[class_id, class_id] == score.found
        assert mistakes.confusion[class_id].sum() == score.n
        assert mistakes.confusion[:, class_id].sum() == score.found + score.invented
        assert sum(miss.class_id == class_id for miss in mistakes.misses) == score.n - score.found
        assert sum(alarm.class_id == class_id for alarm in mistakes.alarms) == score.invented


def test_worst_misses_are_the_largest_of_their_class_one_a_picture() -> None:
    """Neither small ones, nor other classes, nor a second one of the same picture."""
    rows = [(0, PERSON, 0.5), (0, PERSON, 0.4), (1, PERSON, 0.6), (2, PERSON, 0.1), (3, CAR, 0.9)]
    misses = [Miss(picture, 0, kind, share, MissCause.NOTHING, None, 0.0) for picture, kind, share in rows]

    assert [(each.picture, each.share) for each in worst_misses(misses, PERSON, limit=2)] == [(1, 0.6), (0, 0.5)]


def test_worst_alarms_are_the_surest() -> None:
    """The highest score comes first; none are wanted with a limit of 0."""
    alarms = [Alarm(number, 0, PERSON, score, AlarmCause.NOTHING, None, 0.0) for number, score in enumerate((0.6, 0.9, 0.7))]

    assert [each.score for each in worst_alarms(alarms, PERSON, limit=2)] == [0.9, 0.7]
    assert worst_alarms(alarms, PERSON, limit=0) == []
