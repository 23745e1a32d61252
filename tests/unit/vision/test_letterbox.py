"""Pictures into a network's input, boxes there and back."""

from __future__ import annotations

import numpy as np
import pytest

from edged.vision.letterbox import GREY, letterbox, make_transform

SIZES = [
    pytest.param((640, 360), (320, 320), id="wide, halved"),
    pytest.param((360, 640), (320, 320), id="tall"),
    pytest.param((320, 320), (320, 320), id="same"),
    pytest.param((641, 361), (320, 320), id="odd"),
    pytest.param((100, 37), (320, 192), id="grows"),
    pytest.param((1920, 1080), (416, 256), id="large"),
    pytest.param((4000, 3), (320, 320), id="a thread"),
    pytest.param((1, 1), (64, 32), id="one pixel"),
]


@pytest.mark.parametrize(("source", "wanted"), SIZES)
def test_letterbox_of_any_size_fills_the_input(source: tuple[int, int], wanted: tuple[int, int]) -> None:
    """The picture lies where the transform says, grey around it, and nowhere else."""
    pixels = np.full((source[1], source[0], 3), 200, np.uint8)

    canvas, transform = letterbox(pixels, width=wanted[0], height=wanted[1])

    x1, y1, x2, y2 = transform.to_input(np.array([[0, 0, *source]], np.float32))[0].round().astype(int)
    inner = np.zeros(wanted[::-1], bool)
    inner[y1:y2, x1:x2] = True
    assert canvas.shape == (wanted[1], wanted[0], 3)
    assert (canvas[inner] == 200).all()
    assert (canvas[~inner] == GREY).all()
    assert inner.any()


@pytest.mark.parametrize(("source", "wanted"), SIZES)
def test_letterbox_keeps_the_aspect_to_whole_pixels(source: tuple[int, int], wanted: tuple[int, int]) -> None:
    """One side fills the input; the other has its share of the length to within half a pixel, or one pixel at least."""
    transform = make_transform(*source, width=wanted[0], height=wanted[1])

    inner = np.array([transform.scale_x * source[0], transform.scale_y * source[1]])
    exact = min(wanted[0] / source[0], wanted[1] / source[1]) * np.array(source)
    assert (np.abs(inner - np.maximum(exact, 1)) <= 0.5).all()
    assert np.isclose(inner, wanted).any()


@pytest.mark.parametrize(("source", "wanted"), SIZES)
def test_transform_there_and_back_gives_the_boxes(source: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Boxes go into the input and come back to a thousandth of a pixel."""
    rng = np.random.default_rng(1)
    corners = np.sort(rng.random((50, 2, 2)), axis=1).reshape(50, 4)
    boxes = (corners * (*source, *source)).astype(np.float32)
    transform = make_transform(*source, width=wanted[0], height=wanted[1])

    back = transform.to_source(transform.to_input(boxes))

    np.testing.assert_allclose(back, boxes, atol=1e-3 * max(1.0, 1 / transform.scale_x, 1 / transform.scale_y))


def test_transform_to_source_cuts_what_lies_in_the_grey() -> None:
    """A box that reaches into the grey ends at the picture's edge, x2 = width included; one in the grey becomes empty there."""
    transform = make_transform(640, 360, width=320, height=320)
    boxes = np.array(
        [[0, 0, 320, 320], [10, 70, 20, 75], [310, 240, 320, 250], [310, 240, 330, 260], [9, 300, 20, 310]], np.float32
    )

    inside = transform.to_source(boxes)

    assert inside.tolist() == [[0, 0, 640, 360], [20, 0, 40, 10], [620, 340, 640, 360], [620, 340, 640, 360], [18, 360, 40, 360]]
    assert boxes[0].tolist() == [0, 0, 320, 320]


@pytest.mark.parametrize("source", [(643, 361), (640, 360), (97, 61)], ids=str)
def test_letterbox_puts_pixels_where_the_transform_puts_their_boxes(source: tuple[int, int]) -> None:
    """A blob's centre of mass is the centre of the box around it, to 0.05 pixels: they share one geometry."""
    width, height = source
    x, y = 0.8 * width, 0.3 * height
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    blob = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (height / 20) ** 2))

    canvas, transform = letterbox(np.repeat(blob.astype(np.uint8)[..., None], 3, axis=2), width=320, height=320, fill=0)

    left, top, right, bottom = transform.to_input(np.array([[x - 9, y - 9, x + 9, y + 9]], np.float32))[0]
    weights = canvas[..., 0].astype(float)
    rows, columns = np.mgrid[0:320, 0:320] + 0.5
    assert (weights * columns).sum() / weights.sum() == pytest.approx((left + right) / 2, abs=0.05)
    assert (weights * rows).sum() / weights.sum() == pytest.approx((top + bottom) / 2, abs=0.05)


def test_letterbox_of_a_view_equals_that_of_a_copy() -> None:
    """A picture whose rows are not contiguous, such as a crop, gives the same."""
    whole = np.random.default_rng(0).integers(0, 255, (360, 640, 3), dtype=np.uint8)
    crop = whole[10:200, 30:333]

    canvas, _ = letterbox(crop, width=320, height=320)

    np.testing.assert_array_equal(canvas, letterbox(crop.copy(), width=320, height=320)[0])
