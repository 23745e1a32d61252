"""How far points are off: lengths, who counts, and what the bootstrap says."""

from __future__ import annotations

import numpy as np
import pytest

from edged.types import Detections
from tools.metrics import Truth
from tools.report.bootstrap import draw_weights
from tools.report.points import PointErrors, point_errors, summarise

NAMES = ("left_eye", "right_eye", "nose")
BOX = np.array([[10, 10, 50, 50]], np.float32)
POINTS = np.array([[[20, 20], [40, 20], [30, 30]]], np.float32)
"""The eyes are half of the box's side apart."""


def _truth(points: np.ndarray | None = POINTS, *, boxes: np.ndarray = BOX, ignored: bool = False) -> Truth:
    n = len(boxes)
    return Truth(boxes, np.zeros(n, np.int64), np.full(n, ignored), np.ones(1, np.bool_), points)


def _found(points: np.ndarray | None, *, boxes: np.ndarray = BOX, score: float = 0.9) -> Detections:
    return Detections(boxes, np.full(len(boxes), score, np.float32), np.zeros(len(boxes), np.int64), points)


def _errors(truth: Truth, found: Detections, *, names: tuple[str, ...] = NAMES) -> PointErrors:
    return point_errors([truth], [found], 0, threshold=0.5, names=names)


def test_point_errors_are_over_the_eyes_and_over_the_box() -> None:
    """Every point 3 and 4 pixels off is 5 pixels; the eyes are 20 apart, the box is 40 wide."""
    errors = _errors(_truth(), _found(POINTS + np.float32([3, 4])))

    assert errors.by_eyes.tolist() == [pytest.approx(5 / 20)]
    assert errors.by_box.tolist() == [pytest.approx(5 / 40)]


def test_point_errors_count_known_points_only() -> None:
    """An unknown nose is no error; without an eye there is no distance of the eyes."""
    found = _found(POINTS + np.float32([[0, 4], [0, 8], [90, 90]]))
    no_nose, no_eye = POINTS.copy(), POINTS.copy()
    no_nose[0, 2], no_eye[0, 1:] = np.nan, np.nan

    assert _errors(_truth(no_nose), found).by_eyes.tolist() == [pytest.approx(6 / 20)]
    errors = _errors(_truth(no_eye), found)
    assert np.isnan(errors.by_eyes).tolist() == [True]
    assert errors.by_box.tolist() == [pytest.approx(4 / 40)]


def test_point_errors_without_eyes_among_the_names_have_the_box_alone() -> None:
    """Other things than faces have points, too."""
    errors = _errors(_truth(), _found(POINTS), names=("wheel", "door", "roof"))

    assert (np.isnan(errors.by_eyes).tolist(), errors.by_box.tolist()) == ([True], [0.0])


@pytest.mark.parametrize(
    ("truth", "found", "n"),
    [
        pytest.param(_truth(), _found(POINTS, score=0.4), 1, id="not sure enough"),
        pytest.param(_truth(), _found(POINTS, boxes=BOX + 100), 1, id="elsewhere"),
        pytest.param(_truth(), Detections.empty(n_points=3), 1, id="nothing found"),
        pytest.param(_truth(ignored=True), _found(POINTS), 0, id="ignored"),
        pytest.param(_truth(np.full_like(POINTS, np.nan)), _found(POINTS), 0, id="no point known"),
        pytest.param(_truth(None), _found(POINTS), 0, id="a set without points"),
        pytest.param(_truth(), _found(None), 0, id="an engine without points"),
    ],
)
def test_point_errors_of_what_is_not_found_or_does_not_count_are_none(truth: Truth, found: Detections, n: int) -> None:
    """What is not found has no error, but counts as not found where its points are known."""
    errors = _errors(truth, found)

    assert (len(errors.by_box), len(errors.object_sizes)) == (0, n)


def test_point_errors_belong_to_the_object_that_each_detection_is_best_on() -> None:
    """Two objects, found in the other order, and one picture before them without any."""
    boxes = np.concatenate([BOX, BOX + 100])
    truth = _truth(np.concatenate([POINTS, POINTS + 100]), boxes=boxes)
    found = _found(np.concatenate([POINTS + 101, POINTS]), boxes=boxes[::-1].copy())
    nothing = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_), np.ones(1, np.bool_), POINTS[:0])

    errors = point_errors([nothing, truth], [Detections.empty(n_points=3), found], 0, threshold=0.5, names=NAMES)

    assert errors.pictures.tolist() == [1, 1]
    np.testing.assert_allclose(np.sort(errors.by_box), [0, np.sqrt(2) / 40], rtol=1e-5)


def test_summarise_gives_mean_median_and_the_share_of_good_ones() -> None:
    """Twelve pictures, of which three are far off; sizes of which there is no object are not told."""
    by_eyes = np.array([0.02] * 9 + [0.5] * 3)
    errors = PointErrors(np.arange(12), np.ones(12, np.int64), by_eyes, by_eyes / 2, np.array([1] * 13))
    weights = draw_weights(12, resamples=400, rng=np.random.default_rng(1))

    figures = summarise(errors, weights)

    assert figures.keys() == {"all", "medium"}
    whole = figures["all"]
    assert (whole.n, whole.found, whole.by_eyes.median) == (13, 12, 0.02)
    assert whole.by_eyes.mean.value == pytest.approx(0.14)
    assert whole.by_eyes.good.value == 0.75
    assert whole.by_box.mean.value == pytest.approx(0.07)
    assert 0.02 <= whole.by_eyes.mean.interval.low < 0.14 < whole.by_eyes.mean.interval.high < 0.3
    assert 0.4 < whole.by_eyes.good.interval.low < 0.75 < whole.by_eyes.good.interval.high <= 1


def test_summarise_of_few_pictures_has_no_interval_and_of_nothing_found_no_figure() -> None:
    """Three pictures would show next to no spread."""
    few = PointErrors(np.arange(3), np.full(3, 2), np.full(3, 0.1), np.full(3, 0.1), np.full(3, 2))
    none = PointErrors(*(np.zeros(0, kind) for kind in (np.int64, np.int64, float, float)), np.array([0, 0]))
    weights = draw_weights(3, resamples=10, rng=np.random.default_rng(1))

    assert summarise(few, weights)["all"].by_eyes.mean.interval is None
    figures = summarise(none, weights)["all"]
    assert (figures.n, figures.found, figures.by_eyes.mean.value, figures.by_eyes.median) == (2, 0, None, None)


def test_summarise_without_an_object_is_empty() -> None:
    """A set without points says nothing of them."""
    nothing = PointErrors(*(np.zeros(0, kind) for kind in (np.int64, np.int64, float, float, np.int64)))

    assert summarise(nothing, draw_weights(5, resamples=10, rng=np.random.default_rng(1))) == {}
