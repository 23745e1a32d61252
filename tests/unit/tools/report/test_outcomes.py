"""One matching, counted by class, by size and over several sets."""

from __future__ import annotations

import numpy as np
import pytest

from edged.types import Detections
from tools.metrics import Truth, collect_matches
from tools.report.outcomes import SIZES, Outcomes, join_outcomes, judge, size_of

SMALL, LARGE = [0.0, 0.0, 20.0, 20.0], [100.0, 100.0, 220.0, 220.0]


def _truth(boxes: list[list[float]], *, class_ids: list[int] | None = None, labelled: tuple[bool, ...] = (True, True)) -> Truth:
    n = len(boxes)
    ids = np.array(class_ids or [0] * n, np.int64)
    return Truth(np.array(boxes, np.float32).reshape(-1, 4), ids, np.zeros(n, np.bool_), np.array(labelled))


def _found(*rows: tuple[float, int, list[float]]) -> Detections:
    return Detections(
        np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for score, _, _ in rows], np.float32),
        np.array([class_id for _, class_id, _ in rows], np.int64),
    )


@pytest.mark.parametrize(
    ("side", "size"),
    [(0.0, "small"), (31.9, "small"), (32.0, "medium"), (95.9, "medium"), (96.0, "large"), (500.0, "large")],
)
def test_size_of_box_begins_at_its_limit(side: float, size: str) -> None:
    """A box of exactly 32 x 32 is medium, of 96 x 96 large."""
    assert SIZES[size_of(np.array([[0, 0, side, side]], np.float32))[0]] == size


def test_judge_agrees_with_collect_matches() -> None:
    """It is the same matching, with the pictures kept."""
    truths = [_truth([SMALL, LARGE], class_ids=[0, 1]), _truth([SMALL])]
    detections = [_found((0.4, 0, SMALL), (0.9, 1, LARGE), (0.8, 0, LARGE)), _found((0.7, 0, SMALL))]

    outcomes = judge(truths, detections, class_ids=[0, 1])

    for class_id in (0, 1):
        ours, expected = outcomes.of_class(class_id).matches, collect_matches(truths, detections, class_id)
        np.testing.assert_array_equal(ours.scores, expected.scores)
        np.testing.assert_array_equal(ours.hits, expected.hits)
        assert ours.n == expected.n


def test_of_class_knows_pictures_and_their_objects() -> None:
    """Each match carries its picture, each picture its objects."""
    sample = judge([_truth([SMALL]), _truth([])], [_found(), _found((0.5, 0, SMALL))], class_ids=[0]).of_class(0)

    assert (sample.pictures.tolist(), sample.objects.tolist()) == ([1], [1, 0])


def test_of_class_of_one_size_leaves_out_hits_on_other_sizes() -> None:
    """A detection on a large object is no invention among the small ones; one on nothing counts by its own size."""
    found = _found((0.9, 0, LARGE), (0.8, 0, [300.0, 300.0, 310.0, 310.0]), (0.7, 0, SMALL))

    outcomes = judge([_truth([SMALL, LARGE])], [found], class_ids=[0])

    small, large = outcomes.of_class(0, size=0).matches, outcomes.of_class(0, size=2).matches
    assert (small.n, small.hits.tolist()) == (1, [False, True])
    assert (large.n, large.hits.tolist()) == (1, [True])


def test_judge_remembers_the_score_with_which_an_object_was_found() -> None:
    """NaN stands for an object that nothing found."""
    outcomes = judge([_truth([SMALL, LARGE])], [_found((0.25, 0, LARGE))], class_ids=[0])

    np.testing.assert_array_equal(outcomes.object_scores, np.array([np.nan, 0.25], np.float32))


def test_judge_leaves_out_classes_that_a_picture_does_not_label() -> None:
    """Neither their objects nor their detections are there."""
    truth = _truth([SMALL], class_ids=[1], labelled=(True, False))

    outcomes = judge([truth], [_found((0.9, 1, SMALL))], class_ids=[0, 1])

    assert (len(outcomes.scores), len(outcomes.object_scores), outcomes.n_pictures) == (0, 0, 1)


def test_join_outcomes_counts_pictures_on() -> None:
    """The second set's first picture comes after the first set's last."""
    first = judge([_truth([]), _truth([SMALL])], [_found(), _found((0.5, 0, SMALL))], class_ids=[0])
    second = judge([_truth([LARGE])], [_found((0.6, 0, LARGE))], class_ids=[0])

    both = join_outcomes([first, second])

    assert (both.n_pictures, both.pictures.tolist(), both.object_pictures.tolist()) == (3, [1, 2], [1, 2])


def test_outcomes_has_one_column_a_field() -> None:
    """`join_outcomes` joins every field but the first, the number of pictures."""
    assert next(iter(Outcomes.__dataclass_fields__)) == "n_pictures"
