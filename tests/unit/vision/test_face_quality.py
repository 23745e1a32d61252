"""A large, sharp face that looks at us is worth more than any other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edged.vision.face_quality import FaceQuality, measure_quality

FRONTAL = np.array([[35, 40], [65, 40], [50, 56], [38, 70], [62, 70]], np.float32)
BOX = np.array([20, 20, 80, 90], np.float32)


def textured_picture() -> np.ndarray:
    """(100, 100, 3) grey blotches of many sizes."""
    rng = np.random.default_rng(4)
    grey = sum(
        cv2.resize(rng.uniform(0, 60, (side, side)).astype(np.float32), (100, 100), interpolation=cv2.INTER_CUBIC)
        for side in (4, 12, 40, 100)
    )
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((50, 50), degrees, 1.0)
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def test_quality_of_a_frontal_face_is_nearly_full():
    """The nose on the middle line, half-way down."""
    quality = measure_quality(textured_picture(), BOX, FRONTAL)

    assert quality.size_px == 60
    assert quality.frontality > 0.9


@pytest.mark.parametrize("degrees", [-90, -20, 45, 180])
def test_frontality_of_a_face_that_lies_on_its_side_is_the_same(degrees):
    """Alignment turns a face upright, so its turn in the picture costs nothing."""
    straight = measure_quality(textured_picture(), BOX, FRONTAL).frontality

    assert measure_quality(textured_picture(), BOX, turned(FRONTAL, degrees)).frontality == pytest.approx(straight, abs=1e-4)


@pytest.mark.parametrize(
    "nose", [pytest.param((68, 56), id="sideways"), pytest.param((50, 40), id="up"), pytest.param((50, 69), id="down")]
)
def test_frontality_of_a_face_turned_away_is_nothing(nose):
    """A nose beside the eyes, at their height or at that of the mouth."""
    points = FRONTAL.copy()
    points[2] = nose

    assert measure_quality(textured_picture(), BOX, points).frontality == pytest.approx(0, abs=0.15)


def test_frontality_falls_as_the_nose_leaves_the_middle():
    """Worse step by step, equally to both sides."""
    values = []
    for x in (50, 54, 58, 62):
        points = FRONTAL.copy()
        points[2, 0] = x
        values.append(measure_quality(textured_picture(), BOX, points).frontality)
        points[2, 0] = 100 - x
        assert measure_quality(textured_picture(), BOX, points).frontality == pytest.approx(values[-1], abs=1e-6)

    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("points", [np.zeros((5, 2), np.float32), np.full((5, 2), np.nan, np.float32)])
def test_frontality_of_points_that_are_no_face_is_nothing(points):
    """A detector that answers nonsense makes no good face."""
    assert measure_quality(textured_picture(), BOX, points).frontality == 0


def test_sharpness_falls_with_blur_and_hardly_with_darkness():
    """Blur takes away what tells people apart; a dark face still has it."""
    picture = textured_picture()
    blurred = cv2.GaussianBlur(picture, (0, 0), 2)
    sharp, soft, dark = (measure_quality(each, BOX, FRONTAL).sharpness for each in (picture, blurred, picture // 3))

    assert soft < 0.6 * sharp
    assert dark > 0.85 * sharp


def test_sharpness_of_a_small_face_made_large_is_low():
    """Pixels that were invented count for nothing."""
    picture = textured_picture()
    enlarged = cv2.resize(cv2.resize(picture, (20, 20), interpolation=cv2.INTER_AREA), (100, 100))

    assert measure_quality(enlarged, BOX, FRONTAL).sharpness < 0.7 * measure_quality(picture, BOX, FRONTAL).sharpness


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((200, 200, 260, 260), id="outside"),
        pytest.param((80, 90, 20, 20), id="inside out"),
        pytest.param((10, 10, 10, 10), id="empty"),
        pytest.param((99.9, 0, 150, 50), id="touches an edge"),
    ],
)
def test_quality_of_a_box_without_pixels_is_nothing(box):
    """No pixels, no face."""
    quality = measure_quality(textured_picture(), np.array(box, np.float32), FRONTAL)

    assert quality.sharpness == 0
    assert quality.score == 0


def test_sharpness_of_a_uniform_face_is_nothing():
    """A blank wall is not sharp, and divides by no zero."""
    assert measure_quality(np.full((100, 100, 3), 128, np.uint8), BOX, FRONTAL).sharpness == 0


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        pytest.param(FaceQuality(112, 1, 1), 1.0, id="all there is"),
        pytest.param(FaceQuality(500, 1, 1), 1.0, id="size beyond the crop adds nothing"),
        pytest.param(FaceQuality(14, 1, 1), 0.5, id="an eighth of the size"),
        pytest.param(FaceQuality(112, 0, 1), 0.0, id="nothing frontal"),
    ],
)
def test_score_is_the_geometric_mean_of_the_parts(quality, expected):
    """In [0, 1], and 0 where one part is."""
    assert quality.score == pytest.approx(expected)
