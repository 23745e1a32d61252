"""What a count of pixels says."""

from __future__ import annotations

import numpy as np
import pytest

from tools.segmentation_figures import measure_confusion


def test_figures_of_a_count_are_those_of_its_classes() -> None:
    """The mean is over the classes that are known, the accuracy over all pixels."""
    counted = np.array([[30, 10, 0], [0, 60, 0], [0, 0, 0]])

    figures = measure_confusion(counted, ["road", "car", "person"])

    assert figures.iou == {"road": pytest.approx(0.75), "car": pytest.approx(60 / 70), "person": None}
    assert figures.mean_iou == pytest.approx((0.75 + 60 / 70) / 2)
    assert figures.pixel_accuracy == pytest.approx(0.9)


def test_figures_of_a_perfect_map_are_one() -> None:
    """And of plain numbers, which JSON can hold."""
    figures = measure_confusion(np.diag([3, 4]), ["road", "car"])

    assert (figures.iou, figures.mean_iou, figures.pixel_accuracy) == ({"road": 1.0, "car": 1.0}, 1.0, 1.0)
    assert type(figures.mean_iou) is float


def test_figures_of_a_class_that_is_only_said_count_as_nothing_right() -> None:
    """Who sees cars where there are none is not spared."""
    figures = measure_confusion(np.array([[3, 1], [0, 0]]), ["road", "car"])

    assert figures.iou == {"road": 0.75, "car": 0.0}
    assert figures.mean_iou == 0.375


def test_figures_of_no_pixel_are_unknown() -> None:
    """Nothing is not zero."""
    figures = measure_confusion(np.zeros((2, 2), np.int64), ["road", "car"])

    assert (figures.mean_iou, figures.pixel_accuracy) == (None, None)


def test_figures_of_other_classes_than_were_counted_are_refused() -> None:
    """A name for each row."""
    with pytest.raises(ValueError, match=r"a count for 2 classes, got \(3, 3\)"):
        measure_confusion(np.zeros((3, 3), np.int64), ["road", "car"])
