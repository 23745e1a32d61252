"""Faces brought to a template: known transforms are undone, pixels land where points do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edged.vision.alignment import POINT_NAMES, TEMPLATES, Template, align, similarity
from edged.vision.letterbox import GREY

TEMPLATE = TEMPLATES["mean112"]


def moved(points: np.ndarray, *, scale: float = 1.0, degrees: float = 0.0, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + shift


def drawn(points: np.ndarray, *, size: int, radius: float, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """A dark picture with a bright spot at each point, drawn to a sixteenth of a pixel."""
    pixels = np.zeros((size, size, 3), np.uint8)
    for x, y in points + shift:
        centre = (round((x - 0.5) * 16), round((y - 0.5) * 16))
        cv2.circle(pixels, centre, round(radius * 16), (255, 255, 255), -1, lineType=cv2.LINE_AA, shift=4)
    return pixels


def spots(pixels_rgb: np.ndarray, places: np.ndarray, *, reach: int) -> np.ndarray:
    """The centres of brightness (N, 2) around N places."""
    found = []
    for x, y in places:
        x1, y1 = int(x) - reach, int(y) - reach
        part = pixels_rgb[y1 : y1 + 2 * reach, x1 : x1 + 2 * reach, 0].astype(float)
        rows, columns = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
        found.append((x1 + (part * columns).sum() / part.sum(), y1 + (part * rows).sum() / part.sum()))
    return np.array(found)


@pytest.mark.parametrize(
    ("scale", "degrees", "shift"),
    [
        pytest.param(1.0, 0, (0, 0), id="already there"),
        pytest.param(1.0, 0, (300.25, -20.5), id="shifted"),
        pytest.param(0.2, 0, (5, 5), id="small"),
        pytest.param(7.5, 30, (100, 40), id="large and tilted"),
        pytest.param(1.3, 180, (400, 400), id="head down"),
        pytest.param(1.0, -90, (0, 200), id="lying"),
    ],
)
def test_similarity_of_moved_points_undoes_the_movement(scale: float, degrees: float, shift: tuple[float, float]) -> None:
    """Points that are the template's under a similarity come back exactly."""
    points = moved(TEMPLATE.as_array(), scale=scale, degrees=degrees, shift=shift)

    matrix = similarity(points, TEMPLATE)

    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE.as_array(), atol=1e-9)
    assert np.hypot(matrix[0, 0], matrix[1, 0]) == pytest.approx(1 / scale)


def test_similarity_of_any_points_has_the_least_squared_distance() -> None:
    """No similarity nearby is better, and the linear least squares of four unknowns agree."""
    points = TEMPLATE.as_array() * 2 + np.random.default_rng(3).normal(0, 9, (5, 2))
    equations = np.concatenate([[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in points])
    a, b, x, y = np.linalg.lstsq(equations, TEMPLATE.as_array().ravel(), rcond=None)[0]

    matrix = similarity(points, TEMPLATE)

    np.testing.assert_allclose(matrix, [[a, -b, x], [b, a, y]], atol=1e-9)


def test_similarity_of_a_mirrored_face_does_not_reflect() -> None:
    """Left and right that were swapped are a mistake elsewhere; a reflection would hide it."""
    points = TEMPLATE.as_array() * (-1, 1) + (112, 0)

    matrix = similarity(points, TEMPLATE)

    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    ("points", "message"),
    [
        pytest.param(np.full((5, 2), 7.0), "apart from each other", id="one place"),
        pytest.param(np.full((5, 2), np.nan), "numbers", id="no numbers"),
        pytest.param(np.full((5, 2), np.inf), "numbers", id="infinite"),
        pytest.param(np.zeros((4, 2)), r"expected \(5, 2\) numbers, got \(4, 2\)", id="four"),
        pytest.param(np.zeros((1, 5, 2)), r"expected \(5, 2\) numbers", id="a batch"),
    ],
)
def test_similarity_of_no_face_is_refused(points: np.ndarray, message: str) -> None:
    """What has no similarity to a face gets no crop of chance."""
    with pytest.raises(ValueError, match=message):
        similarity(points, TEMPLATE)


@pytest.mark.parametrize(
    ("scale", "degrees"),
    [
        pytest.param(1.0, 0, id="as it is"),
        pytest.param(0.5, 10, id="grown"),
        pytest.param(1.7, -35, id="shrunk a little"),
        pytest.param(2.0, 0, id="halved"),
        pytest.param(4.6, 25, id="shrunk by blocks"),
    ],
)
def test_align_puts_the_pixels_of_points_on_the_template(scale: float, degrees: float) -> None:
    """Spots drawn at the points lie at the template's points, to a fifth of a pixel, whatever size the face had."""
    size = round(200 * max(scale, 1))
    points = moved(TEMPLATE.as_array() - 56, scale=scale, degrees=degrees, shift=(size / 2, size / 2))
    pixels = drawn(points, size=size, radius=3.0 * scale)

    crop = align(pixels, points, TEMPLATE)

    assert crop.shape == (112, 112, 3)
    assert crop.dtype == np.uint8
    np.testing.assert_allclose(spots(crop, TEMPLATE.as_array(), reach=6), TEMPLATE.as_array(), atol=0.2)


def test_align_of_a_picture_that_lies_on_the_template_changes_nothing() -> None:
    """No pixel is moved or blurred when there is nothing to do."""
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)

    crop = align(pixels, TEMPLATE.as_array(), TEMPLATE)

    np.testing.assert_array_equal(crop, pixels)


def test_align_of_a_large_face_averages_its_pixels() -> None:
    """A pattern finer than the crop's pixels becomes its mean: nothing is passed over."""
    pixels = np.zeros((448, 448, 3), np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 200

    crop = align(pixels, TEMPLATE.as_array() * 4, TEMPLATE)

    assert (np.abs(crop.astype(int) - 100) <= 1).all()


def test_align_beyond_the_picture_is_grey() -> None:
    """A face cut by the picture's edge is filled up; the rest stays where it belongs."""
    pixels = np.full((112, 56, 3), 200, np.uint8)

    crop = align(pixels, TEMPLATE.as_array(), TEMPLATE)

    assert (crop[:, :55] == 200).all()
    assert (crop[:, 57:] == GREY).all()


@pytest.mark.parametrize("scale", [pytest.param(1.0, id="near"), pytest.param(30.0, id="large")])
def test_align_of_points_outside_the_picture_is_all_grey(scale: float) -> None:
    """Points that a network put beside the picture do no harm."""
    crop = align(np.full((4, 4, 3), 200, np.uint8), TEMPLATE.as_array() * scale + 5000, TEMPLATE)

    assert (crop == GREY).all()


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_symmetrical_faces_inside_their_crop(name: str) -> None:
    """A mirrored crop is an aligned crop of the mirrored face: mirroring may be used in training."""
    template = TEMPLATES[name]
    left_eye, right_eye, nose, mouth_left, mouth_right = template.as_array()
    mirror = np.array([template.side_px, 0])

    np.testing.assert_allclose(mirror + left_eye * (-1, 1), right_eye)
    np.testing.assert_allclose(mirror + mouth_left * (-1, 1), mouth_right)
    assert nose[0] == template.side_px / 2
    assert 0 < left_eye[1] < nose[1] < mouth_left[1] < template.side_px


def test_template_with_a_point_missing_is_refused() -> None:
    """A template is of all five points."""
    with pytest.raises(ValueError, match=f"expected {len(POINT_NAMES)} points"):
        Template(112, ((0.0, 0.0),))


def test_template_with_room_shows_the_same_face_and_more_around_it() -> None:
    """The middle of the larger crop is the crop, but for a level where OpenCV rounds another way."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    points = moved(TEMPLATE.as_array(), scale=1.2, degrees=10, shift=(20, 20))

    roomy = align(pixels, points, TEMPLATE.with_room(16))

    assert roomy.shape == (144, 144, 3)
    np.testing.assert_allclose(roomy[16:128, 16:128].astype(int), align(pixels, points, TEMPLATE), atol=1)


def test_template_scaled_shows_the_same_view() -> None:
    """Half the side, half of every coordinate."""
    half = TEMPLATE.scaled(56)

    assert half.side_px == 56
    np.testing.assert_allclose(half.as_array() * 2, TEMPLATE.as_array())
