"""Changed pictures keep their labels where the objects are."""

from __future__ import annotations

import numpy as np
import pytest

from tools.augmentation import AugmentationSettings, Sample, change_light, mosaic, tile

RED = (250, 10, 10)


def _sample(box: tuple[int, int, int, int] = (30, 20, 70, 60), size: tuple[int, int] = (120, 90)) -> Sample:
    """A red rectangle on black."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = RED
    return Sample(pixels, np.array([box], np.float32), np.array([2]), np.array([False]))


def _red_box(pixels: np.ndarray) -> list[int]:
    rows, columns = np.nonzero((pixels[..., 0] > 180) & (pixels[..., 1] < 60))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("seed", range(8))
def test_tile_moves_boxes_with_their_objects(seed: int) -> None:
    """Scaled, shifted, stretched or mirrored: the box lies on the red pixels, within the blur of a pixel."""
    settings = AugmentationSettings(scale=(0.6, 1.4), stretch=1.4)

    tiled = tile(_sample(), size=(96, 96), settings=settings, rng=np.random.default_rng(seed))

    assert tiled.pixels_rgb.shape == (96, 96, 3)
    np.testing.assert_allclose(tiled.boxes[0], _red_box(tiled.pixels_rgb), atol=1.5)


@pytest.mark.parametrize("seed", range(4))
def test_mosaic_moves_boxes_with_their_objects(seed: int) -> None:
    """Of four pictures with one red object the box stands on it, whichever corner it is in."""
    empty = Sample(np.zeros((90, 120, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    settings = AugmentationSettings(scale=(0.9, 1.0), stretch=1.0)
    sources = [empty, empty, empty, empty]
    sources[seed] = _sample()

    whole = mosaic(sources, size=128, settings=settings, rng=np.random.default_rng(seed))

    assert whole.pixels_rgb.shape == (128, 128, 3)
    np.testing.assert_allclose(whole.boxes, [_red_box(whole.pixels_rgb)], atol=1.5)


def test_tile_ignores_what_is_too_small_and_drops_what_is_gone() -> None:
    """A box under the least side stays as ignored; settings decide, not chance."""
    settings = AugmentationSettings(scale=(0.5, 0.5), stretch=1.0, smallest_px=30)

    tiled = tile(_sample(), size=(96, 96), settings=settings, rng=np.random.default_rng(0))

    assert tiled.ignored.tolist() == [True]


def test_tile_that_cuts_an_object_off_ignores_the_rest_of_it() -> None:
    """Of an object at the edge of a picture blown up four times, less than the visible share is never taught."""
    settings = AugmentationSettings(scale=(4.0, 4.0), stretch=1.0, visible_ratio=0.99)

    for seed in range(10):
        tiled = tile(_sample(box=(0, 0, 120, 90)), size=(96, 96), settings=settings, rng=np.random.default_rng(seed))

        assert tiled.ignored.tolist() == [True]
        assert tiled.boxes.min() >= 0
        assert tiled.boxes.max() <= 96


def test_change_light_of_the_same_seed_is_the_same_and_keeps_the_size() -> None:
    """All chance comes from the generator."""
    pixels = _sample().pixels_rgb

    for seed in range(12):
        once, again = (change_light(pixels, np.random.default_rng(seed)) for _ in range(2))

        assert once.shape == pixels.shape
        assert once.dtype == np.uint8
        np.testing.assert_array_equal(once, again)
