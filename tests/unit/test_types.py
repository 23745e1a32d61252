"""Values are checked when they are made."""

import numpy as np
import pytest

from edged.types import Detections, Face, FaceDecision, FaceDecisionKind, Frame, SegmentationMap


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


def test_detections_with_points_keep_them_with_their_boxes():
    """Points follow their detection through a mask, an index array and a slice."""
    points = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    detections = Detections(np.zeros((3, 4), np.float32), np.zeros(3, np.float32), np.zeros(3, np.int64), points)

    assert detections[np.array([False, True, True])].points.tolist() == points[1:].tolist()
    assert detections[np.array([2, 0])].points.tolist() == points[[2, 0]].tolist()
    assert detections[:0].points.shape == (0, 2, 2)
    assert Detections.empty(n_points=5).points.shape == (0, 5, 2)


@pytest.mark.parametrize("shape", [(2, 5, 2), (3, 5, 3), (3, 10)], ids=str)
def test_detections_with_points_of_another_shape_are_refused(shape):
    """So many points each, two numbers a point."""
    with pytest.raises(ValueError, match="expected points"):
        Detections(np.zeros((3, 4), np.float32), np.zeros(3, np.float32), np.zeros(3, np.int64), np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("box", "points", "embedding"),
    [
        pytest.param((1, 4), (5, 2), (8,), id="many boxes"),
        pytest.param((4,), (4, 2), (8,), id="four points"),
        pytest.param((4,), (5, 2), (1, 8), id="many embeddings"),
    ],
)
def test_face_of_other_shapes_is_refused(box, points, embedding):
    """One box, its five points, one embedding."""
    with pytest.raises(ValueError, match="expected"):
        Face(np.zeros(box, np.float32), np.zeros(points, np.float32), 0.9, 0.8, np.zeros(embedding, np.float32))


@pytest.mark.parametrize(
    ("kind", "subject"),
    [("match", None), ("ambiguous", None), ("unknown", "anna"), ("low_quality", "anna")],
)
def test_face_decision_names_somebody_where_it_must_and_nobody_else(kind, subject):
    """A match is with somebody; a stranger has no name."""
    with pytest.raises(ValueError, match=f"the decision {kind}"):
        FaceDecision(FaceDecisionKind(kind), subject, 0.7, 0.2, 0.5, 0.001, 3, 0.9, 1, "0" * 64)


def test_segmentation_map_holds_every_class_of_its_network():
    """The last class id and the smallest picture will do; nobody has to be sure."""
    labels = np.uint8([[0, 2]])

    found = SegmentationMap(labels, ("road", "car", "person"), 1, 1)

    assert found.labels is labels
    assert found.confidence is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"labels": np.zeros((1, 4, 6), np.uint8)}, r"expected labels \(h, w\) uint8, got \(1, 4, 6\)", id="a batch"),
        pytest.param({"labels": np.zeros((4, 6), np.int64)}, r"got \(4, 6\) int64", id="other numbers"),
        pytest.param({"labels": np.zeros((0, 6), np.uint8)}, r"got \(0, 6\)", id="nothing"),
        pytest.param({"labels": np.full((4, 6), 2, np.uint8)}, "expected labels below 2, one a class, got 2", id="no such class"),
        pytest.param({"confidence": np.zeros((4, 6), np.float32)}, "expected confidence .* float32", id="sure in floats"),
        pytest.param({"confidence": np.zeros((6, 4), np.uint8)}, r"a confidence of each label \(4, 6\)", id="sure elsewhere"),
        pytest.param({"frame_width": 0}, "expected the size of a picture, got 0x360", id="no picture"),
    ],
)
def test_segmentation_map_of_other_shapes_is_refused(changes, words):
    """One label a place, of a class that has a name; a confidence for each or for none."""
    fields = {"labels": np.zeros((4, 6), np.uint8), "classes": ("road", "car"), "frame_width": 480, "frame_height": 360}

    with pytest.raises(ValueError, match=words):
        SegmentationMap(**fields | changes)
