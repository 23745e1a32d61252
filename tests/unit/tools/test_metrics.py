"""Average precision, recall and precision, held against figures computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edged.types import Detections
from tools.metrics import Matches, Truth, average_precision, pair_class, score_class

BOX = [0.0, 0.0, 10.0, 10.0]
FAR = [50.0, 50.0, 60.0, 60.0]


def _truth(boxes: list[list[float]], *, ignored: list[bool] | None = None, labelled: tuple[bool, ...] = (True,)) -> Truth:
    return Truth(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros(len(boxes), np.int64),
        np.array(ignored or [False] * len(boxes), np.bool_),
        np.array(labelled),
    )


def _found(*rows: tuple[float, list[float]]) -> Detections:
    return Detections(
        np.array([box for _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for score, _ in rows], np.float32),
        np.zeros(len(rows), np.int64),
    )


@pytest.mark.parametrize(
    ("hits", "n", "expected"),
    [
        pytest.param([True, True], 2, 1.0, id="all found, nothing invented"),
        pytest.param([True, True], 4, 0.5, id="half found"),
        pytest.param([False, True], 1, 0.5, id="one invented before"),
        pytest.param([True, False, True], 2, 0.5 + 0.5 * 2 / 3, id="one invented between"),
        pytest.param([False, True, True], 2, 2 / 3, id="precision that rises again counts backwards"),
        pytest.param([], 3, 0.0, id="nothing found"),
    ],
)
def test_average_precision_of_known_hits(hits: list[bool], n: int, expected: float) -> None:
    """The area under the precision envelope, as by hand."""
    scores = np.linspace(0.9, 0.1, len(hits), dtype=np.float32)

    assert average_precision(Matches(scores, np.array(hits, np.bool_), n)) == pytest.approx(expected)


def test_score_class_of_two_detections_on_one_object_counts_the_second_as_invented() -> None:
    """An object is found once."""
    score = score_class([_truth([BOX])], [_found((0.9, BOX), (0.8, BOX))], 0, threshold=0.5)

    assert (score.found, score.invented, score.recall, score.precision) == (1, 1, 1.0, 0.5)


@pytest.mark.parametrize(("threshold", "recall"), [(0.5, 1.0), (0.5001, 0.0)])
def test_score_class_at_the_threshold_counts(threshold: float, recall: float) -> None:
    """A detection exactly at the threshold is shown."""
    assert score_class([_truth([BOX])], [_found((0.5, BOX))], 0, threshold=threshold).recall == recall


@pytest.mark.parametrize(("width", "found"), [(20.0, 1), (20.1, 0)])
def test_score_class_at_the_overlap_counts(width: float, found: int) -> None:
    """An overlap of exactly a half is a hit."""
    score = score_class([_truth([BOX])], [_found((0.9, [0.0, 0.0, width, 10.0]))], 0, threshold=0.5)

    assert score.found == found


def test_score_class_of_a_detection_on_an_ignored_box_counts_neither_way() -> None:
    """What nobody can tell is no mistake."""
    score = score_class([_truth([BOX, FAR], ignored=[True, False])], [_found((0.9, BOX), (0.8, FAR))], 0, threshold=0.5)

    assert (score.n, score.found, score.invented) == (1, 1, 0)


def test_score_class_of_a_picture_that_does_not_label_it_is_left_out() -> None:
    """A detection of a class that a set does not label is no mistake either."""
    score = score_class([_truth([], labelled=(False,))], [_found((0.9, BOX))], 0, threshold=0.5)

    assert (score.n, score.ap50, score.invented) == (0, None, 0)


def test_score_class_of_crowding_gives_each_object_its_own_detection() -> None:
    """Two near objects and two near detections: both found, although one detection overlaps both."""
    boxes = [[0.0, 0.0, 10.0, 10.0], [3.0, 0.0, 13.0, 10.0]]

    score = score_class([_truth(boxes)], [_found((0.9, boxes[0]), (0.8, [2.0, 0.0, 12.0, 10.0]))], 0, threshold=0.5)

    assert score.found == 2


def test_pair_class_names_rows_and_objects_best_score_first() -> None:
    """Rows are those of the picture's detections, objects those of its truth, ignored ones never among them."""
    truth = _truth([FAR, BOX, [80.0, 80.0, 90.0, 90.0]], ignored=[True, False, False])

    pairing = pair_class(truth, _found((0.3, BOX), (0.9, FAR), (0.6, [0.0, 0.0, 10.0, 11.0])), 0)

    assert pairing.rows.tolist() == [1, 2, 0]
    assert pairing.objects.tolist() == [-1, 1, -1]
    assert pairing.excused.tolist() == [True, False, False]


@pytest.mark.parametrize(("width", "is_excused"), [(20.0, True), (20.1, False)])
def test_pair_class_of_half_a_box_inside_an_ignored_one_is_excused(width: float, is_excused: bool) -> None:
    """Exactly a half is enough."""
    pairing = pair_class(_truth([BOX], ignored=[True]), _found((0.9, [0.0, 0.0, width, 10.0])), 0)

    assert pairing.excused.tolist() == [is_excused]
