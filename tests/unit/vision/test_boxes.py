"""Arithmetic on boxes."""

from __future__ import annotations

import numpy as np
import pytest

from edged.vision.boxes import Anchor, anchor_point, anchor_points, area, iou_matrix, to_norm


def boxes_of(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param((0, 0, 10, 10), (0, 0, 10, 10), 1.0, id="equal"),
        pytest.param((0, 0, 10, 10), (10, 0, 20, 10), 0.0, id="touching edges share nothing"),
        pytest.param((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3, id="half over half"),
        pytest.param((0, 0, 10, 10), (2, 2, 7, 7), 0.25, id="inside"),
        pytest.param((0, 0, 10, 10), (20, 20, 30, 30), 0.0, id="apart in both"),
        pytest.param((3, 3, 3, 3), (3, 3, 3, 3), 0.0, id="both empty"),
        pytest.param((8, 8, 2, 2), (0, 0, 10, 10), 0.0, id="inside out"),
    ],
)
def test_iou_matrix_of_a_pair_is_shared_over_union(a: tuple, b: tuple, expected: float) -> None:
    """Intersection over union without any added pixel, the same both ways."""
    there, back = iou_matrix(boxes_of(a), boxes_of(b)), iou_matrix(boxes_of(b), boxes_of(a))

    assert there[0, 0] == back[0, 0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1), (2, 3)])
def test_iou_matrix_of_any_numbers_has_one_row_and_column_each(n: int, m: int) -> None:
    """N boxes against M give (N, M) float32, none included."""
    result = iou_matrix(np.zeros((n, 4), np.float32), np.zeros((m, 4), np.float32))

    assert result.shape == (n, m)
    assert result.dtype == np.float32


def test_iou_matrix_of_random_boxes_equals_counted_pixels() -> None:
    """With whole-numbered corners, IoU is what counting painted pixels gives."""
    rng = np.random.default_rng(3)
    corners = np.sort(rng.integers(0, 12, (20, 2, 2)), axis=1).reshape(20, 4)
    painted = np.zeros((20, 12, 12), bool)
    for canvas, (x1, y1, x2, y2) in zip(painted, corners, strict=True):
        canvas[y1:y2, x1:x2] = True
    shared = (painted[:, None] & painted[None]).sum(axis=(2, 3))
    either = (painted[:, None] | painted[None]).sum(axis=(2, 3))

    result = iou_matrix(corners.astype(np.float32), corners.astype(np.float32))

    np.testing.assert_allclose(result, shared / np.maximum(either, 1), atol=1e-6)
    np.testing.assert_array_equal(area(corners.astype(np.float32)), painted.sum(axis=(1, 2)))


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        pytest.param(Anchor.BOTTOM_CENTRE, (20, 60), id="bottom centre"),
        pytest.param(Anchor.CENTRE, (20, 40), id="centre"),
        pytest.param(Anchor.TOP_CENTRE, (20, 20), id="top centre"),
    ],
)
def test_anchor_points_of_a_box_lie_on_its_middle_line(anchor: Anchor, expected: tuple[float, float]) -> None:
    """Each anchor is the named point, of one box as of many, and computing it changes no box."""
    boxes = boxes_of((10, 20, 30, 60))

    points = anchor_points(boxes, anchor)

    assert points.tolist() == [list(expected)]
    assert anchor_point([10, 20, 30, 60], anchor) == expected
    assert boxes.tolist() == [[10, 20, 30, 60]]


def test_to_norm_of_boxes_gives_shares_of_the_picture() -> None:
    """The whole picture is 0..1."""
    boxes = boxes_of((0, 0, 640, 360), (64, 90, 320, 180))

    boxes_norm = to_norm(boxes, width=640, height=360)

    assert boxes_norm.tolist() == [[0, 0, 1, 1], [pytest.approx(0.1), 0.25, 0.5, 0.5]]
