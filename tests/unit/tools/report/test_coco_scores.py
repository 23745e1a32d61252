"""COCO's figures by pycocotools, held against our own where both mean the same."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="COCO's figures come from pycocotools")

from edged.types import Detections
from tools.metrics import Matches, Truth, average_precision, collect_matches
from tools.report.coco_scores import CocoScore, score_coco

BOX = [0.0, 0.0, 10.0, 10.0]
FAR = [50.0, 50.0, 60.0, 60.0]


def _truth(boxes: list[list[float]], *, ignored: list[bool] | None = None, labelled: bool = True) -> Truth:
    n = len(boxes)
    flags = np.array(ignored or [False] * n, np.bool_)
    return Truth(np.array(boxes, np.float32).reshape(-1, 4), np.zeros(n, np.int64), flags, np.array([labelled]))


def _found(*rows: tuple[float, list[float]]) -> Detections:
    return Detections(
        np.array([box for _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for score, _ in rows], np.float32),
        np.zeros(len(rows), np.int64),
    )


def _random_scenes(seed: int) -> tuple[list[Truth], list[Detections]]:
    """40 pictures of up to 6 objects, every fourth ignored, with shaken copies of most and inventions between."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(40):
        n = int(rng.integers(0, 7))
        corners, sides = rng.uniform(0, 300, (n, 2)), rng.uniform(8, 150, (n, 2))
        boxes = np.concatenate([corners, corners + sides], axis=1)
        truths.append(_truth(boxes.tolist(), ignored=(rng.random(n) < 0.25).tolist()))
        shaken = boxes[rng.random(n) < 0.8] + rng.normal(0, 6, (1, 4))
        start = rng.uniform(0, 300, (4, 2))
        invented = np.concatenate([start, start + rng.uniform(10, 80, (4, 2))], axis=1)
        found = np.concatenate([shaken, invented])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        detections.append(_found(*zip(rng.uniform(0.05, 0.95, len(found)), found.tolist(), strict=True)))
    return truths, detections


def _at_101_recalls(matches: Matches) -> float:
    """Average precision as COCO reads it: the envelope at the recalls 0, 0.01 … 1."""
    order = np.argsort(-matches.scores, kind="stable")
    found = np.cumsum(matches.hits[order])
    envelope = np.maximum.accumulate((found / np.arange(1, len(order) + 1))[::-1])[::-1]
    places = np.searchsorted(found / matches.n, np.linspace(0, 1, 101), side="left")
    return float(np.append(envelope, 0.0)[places].mean())


@pytest.mark.parametrize("seed", range(5))
def test_score_coco_at_50_equals_our_matches_read_at_its_recalls(seed: int) -> None:
    """Matching, ignored boxes and envelope are the same: with the same interpolation nothing is left between them."""
    truths, detections = _random_scenes(seed)

    score = score_coco(truths, detections, 0)

    assert score.ap50 == pytest.approx(_at_101_recalls(collect_matches(truths, detections, 0)), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_score_coco_at_50_is_at_most_a_hundredth_from_ours(seed: int) -> None:
    """Both lie between the left and the right sums of a falling curve over steps of 0.01."""
    truths, detections = _random_scenes(seed)

    score = score_coco(truths, detections, 0)

    assert abs(score.ap50 - average_precision(collect_matches(truths, detections, 0))) <= 0.01


def test_score_coco_of_the_labels_themselves_is_one() -> None:
    """What is found exactly counts at every overlap; sizes without objects have no figure."""
    score = score_coco([_truth([BOX, FAR])], [_found((0.9, BOX), (0.8, FAR))], 0)

    assert score == CocoScore(pytest.approx(1), pytest.approx(1), pytest.approx(1), pytest.approx(1), None, None)


def test_score_coco_of_a_shifted_box_counts_at_the_smaller_overlaps() -> None:
    """An overlap of 0.6 counts at 0.50, 0.55 and 0.60, three of ten."""
    score = score_coco([_truth([BOX])], [_found((0.9, [0.0, 0.0, 10.0, 6.0]))], 0)

    assert (score.ap, score.ap50, score.ap75) == (pytest.approx(0.3), pytest.approx(1), 0.0)


def test_score_coco_of_detections_in_an_ignored_box_counts_none() -> None:
    """Any number of them may lie in it, as in a crowd."""
    inside = [50.0, 50.0, 56.0, 60.0]

    score = score_coco([_truth([BOX, FAR], ignored=[False, True])], [_found((0.9, FAR), (0.8, inside), (0.7, BOX))], 0)

    assert score.ap50 == pytest.approx(1)


def test_score_coco_leaves_out_pictures_that_do_not_label_the_class() -> None:
    """What is found in them is no mistake."""
    score = score_coco([_truth([BOX]), _truth([], labelled=False)], [_found((0.5, BOX)), _found((0.9, BOX))], 0)

    assert score.ap50 == pytest.approx(1)


@pytest.mark.parametrize(
    ("truths", "detections", "expected"),
    [
        pytest.param([], [], None, id="no pictures"),
        pytest.param([_truth([])], [_found((0.9, BOX))], None, id="no objects"),
        pytest.param([_truth([BOX])], [_found()], 0.0, id="no detections"),
    ],
)
def test_score_coco_of_nothing(truths: list[Truth], detections: list[Detections], expected: float | None) -> None:
    """Without objects there is no figure; without detections it is 0."""
    assert score_coco(truths, detections, 0).ap == expected


def test_score_coco_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """pycocotools tells its progress on standard output, where our JSON goes."""
    score_coco([_truth([BOX])], [_found((0.9, BOX))], 0)

    assert capsys.readouterr().out == ""
