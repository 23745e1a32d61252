"""Values are checked when they are made."""

import numpy as np
import pytest

from edged.types import Detections, Frame


def test_frame_pixels_are_made_once():
    """Conversion is paid for by those who look, and only once."""
    made = []
    frame = Frame("door", 1, 0.0, 0.0, 4, 2, lambda: made.append(1) or np.zeros((2, 4, 3), np.uint8))

    first, second = frame.pixels_rgb, frame.pixels_rgb

    assert first is second
    assert made == [1]


def test_frame_with_pixels_of_another_size_is_refused():
    """A source that lies about its size is found at once."""
    frame = Frame("door", 1, 0.0, 0.0, 4, 2, lambda: np.zeros((4, 2, 3), np.uint8))

    with pytest.raises(ValueError, match=r"camera door: expected pixels \(2, 4, 3\) uint8, got \(4, 2, 3\)"):
        frame.pixels_rgb  # noqa: B018


@pytest.mark.parametrize(
    ("boxes", "scores", "class_ids"),
    [
        pytest.param((2, 4), (3,), (3,), id="fewer boxes"),
        pytest.param((3, 5), (3,), (3,), id="five numbers a box"),
        pytest.param((3, 4), (3, 1), (3,), id="scores of two axes"),
        pytest.param((3, 4), (3,), (2,), id="fewer classes"),
    ],
)
def test_detections_of_unequal_lengths_are_refused(boxes, scores, class_ids):
    """The arrays of one struct belong together."""
    with pytest.raises(ValueError, match="expected boxes"):
        Detections(np.zeros(boxes, np.float32), np.zeros(scores, np.float32), np.zeros(class_ids, np.int64))


def test_detections_masked_keep_the_arrays_together():
    """A mask selects rows of every array."""
    detections = Detections(np.arange(12, dtype=np.float32).reshape(3, 4), np.float32([0.1, 0.2, 0.3]), np.arange(3))

    kept = detections[np.array([True, False, True])]

    assert len(kept) == 2
    assert kept.boxes[:, 0].tolist() == [0, 8]
    assert kept.class_ids.tolist() == [0, 2]
