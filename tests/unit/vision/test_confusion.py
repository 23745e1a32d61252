"""Two label maps held against each other."""

from __future__ import annotations

import numpy as np
import pytest

from edged.vision.confusion import class_ious, confusion


def test_confusion_has_a_row_for_what_is_and_a_column_for_what_is_said() -> None:
    """Each pixel counts once, in the place of its pair."""
    truth = np.uint8([[0, 0, 1], [1, 2, 2]])
    labels = np.uint8([[0, 1, 1], [1, 0, 2]])

    counted = confusion(labels, truth, 3)

    assert counted.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert counted.dtype == np.int64


def test_confusion_leaves_out_what_is_of_no_class() -> None:
    """Whatever is said there, it may even be of no class itself."""
    counted = confusion(np.uint8([[9, 0, 1]]), np.uint8([[255, 0, 2]]), 2)

    assert counted.tolist() == [[1, 0], [0, 0]]


def test_confusion_of_void_alone_is_empty() -> None:
    """No pixel counts, and that is no mistake."""
    counted = confusion(np.zeros((2, 3), np.uint8), np.full((2, 3), 255, np.uint8), 2)

    assert counted.tolist() == [[0, 0], [0, 0]]


def test_confusion_of_many_classes_does_not_overflow() -> None:
    """255 classes have more pairs than a byte has numbers."""
    last = np.full((2, 2), 254, np.uint8)

    counted = confusion(last, last, 255)

    assert counted[254, 254] == 4
    assert counted.sum() == 4


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        pytest.param(np.zeros((2, 4), np.uint8), r"two maps of one size, got \(2, 4\) and \(2, 3\)", id="another size"),
        pytest.param(np.full((2, 3), 2, np.uint8), "expected labels below 2, got 2", id="no class"),
    ],
)
def test_confusion_of_what_does_not_fit_is_refused(labels: np.ndarray, words: str) -> None:
    """A pixel that counts was said to be of some class."""
    with pytest.raises(ValueError, match=words):
        confusion(labels, np.zeros((2, 3), np.uint8), 2)


def test_class_ious_are_intersections_over_unions() -> None:
    """A class that only is, or is only said, has none of it; one that is nowhere has no figure."""
    counted = np.array([[6, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [4, 0, 0, 0]])

    ious = class_ious(counted)

    assert ious == pytest.approx([6 / 12, 0, np.nan, 0], nan_ok=True)
    assert class_ious(np.stack([counted, np.diag([1, 2, 3, 4])]))[1].tolist() == [1, 1, 1, 1]
