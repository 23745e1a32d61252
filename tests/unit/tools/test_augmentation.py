"""What is drawn into a picture is found again where the changed labels say: boxes, points and masks follow the pixels."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edged.errors import InputError
from edged.vision.letterbox import GREY
from tools.augmentation.augment import PIXEL_KINDS, augment, change_pixels
from tools.augmentation.chance import Chance
from tools.augmentation.damage import Jpeg, MotionBlur, Noise, add_sensor_noise
from tools.augmentation.geometry import Crop, Placement, Rotation, Shear, Shift, draw_placement, place
from tools.augmentation.light import Colour, PcaColour
from tools.augmentation.mosaic import make_mosaic
from tools.augmentation.sample import Sample
from tools.augmentation.settings import KINDS, KINDS_WITH_A_SHARE, AugmentationSettings
from tools.augmentation.warp import LocalWarp
from tools.augmentation.weather import Fog, Night
from tools.datasets.pictures import VOID

OFF = AugmentationSettings().off()
SIZE = (192, 160)
WIDTH, HEIGHT = 150, 120
ALONE = {
    "mirror": {"mirror": 1.0},
    "scale": {"scale": (0.6, 1.3)},
    "stretch": {"stretch": 1.6},
    "off_centre": {"off_centre": 1.0},
    "shift": {"shift": Shift(share=1, most_ratio=0.1)},
    "crop": {"crop": Crop(share=1, area=(0.7, 1.0))},
    "rotation": {"rotation": Rotation(share=1, most_degrees=180)},
    "shear": {"shear": Shear(share=1, most_degrees=25)},
    "warp": {"warp": LocalWarp(share=1, cells=4, ratio=(0.2, 0.24))},
}
TOGETHER = {name: value for one in ALONE.values() for name, value in one.items()} | {"mirror": 0.5, "scale": (0.6, 1.0)}
MOVES = {**ALONE, "together": TOGETHER}
KEEPS_UPRIGHT = ("mirror", "scale", "stretch", "off_centre", "shift", "crop")


def _settings(name: str) -> AugmentationSettings:
    return replace(OFF, mirror_pairs=((0, 1),), **MOVES[name])


def _shade(inside: Callable[[NDArray, NDArray], NDArray]) -> NDArray[np.float64]:
    """(HEIGHT, WIDTH) part of each pixel that a shape covers, 0 to 1, from 8 x 8 places in it."""
    y, x = np.mgrid[0 : 8 * HEIGHT, 0 : 8 * WIDTH] / 8 + 1 / 16
    return inside(x, y).reshape(HEIGHT, 8, WIDTH, 8).mean(axis=(1, 3))


@cache
def _disc(x1: float, y1: float, x2: float, y2: float) -> NDArray[np.float64]:
    cx, cy, rx, ry = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
    return _shade(lambda x, y: ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1)


@cache
def _rectangle(x1: float, y1: float, x2: float, y2: float) -> NDArray[np.float64]:
    return _shade(lambda x, y: (x >= x1) & (x < x2) & (y >= y1) & (y < y2))


def _sample(box: tuple[float, float, float, float] = (50, 40, 95, 75), shape: Callable = _disc) -> Sample:
    """Red where the shape is, elsewhere as little red as around the picture; full blue: what has less is not of this picture."""
    shade = shape(*box)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = np.round(GREY + (255 - GREY) * shade), 255
    mask = (shade > 0.5).astype(np.uint8)
    return Sample(pixels, np.array([box], np.float32), np.array([2]), np.array([False]), mask=mask)


def _is_red(pixels: NDArray) -> NDArray[np.bool_]:
    return pixels[..., 0] > (255 + GREY) / 2


def _red_box(pixels: NDArray) -> list[int]:
    rows, columns = np.nonzero(_is_red(pixels))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def _augment(source: Sample, settings: AugmentationSettings, seed: int) -> Sample:
    return augment(source, partners=[source], size=SIZE, settings=settings, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("name", MOVES)
def test_box_of_a_disc_lies_on_the_disc(name: str) -> None:
    """However a picture is moved, the box touches the disc on all sides, within 0.7 px; half a pixel is the pixels' own."""
    source = _sample()

    for seed in range(16):
        found = _augment(source, _settings(name), seed)

        assert found.pixels_rgb.shape == (SIZE[1], SIZE[0], 3)
        np.testing.assert_allclose(found.boxes, [_red_box(found.pixels_rgb)], atol=0.7, err_msg=f"seed {seed}")


@pytest.mark.parametrize("name", KEEPS_UPRIGHT)
@pytest.mark.parametrize("box", [(50, 40, 95, 75), (0, 0, 60, 50), (100, 60, 150, 120)], ids=["inside", "first corner", "last"])
def test_box_of_a_rectangle_lies_on_it_where_nothing_is_turned(name: str, box: tuple[int, int, int, int]) -> None:
    """Upright stays upright: also rectangles, and what is cut off by the edge, have exact boxes."""
    source = _sample(box, _rectangle)

    for seed in range(8):
        found = _augment(source, _settings(name), seed)

        np.testing.assert_allclose(found.boxes, [_red_box(found.pixels_rgb)], atol=0.7, err_msg=f"seed {seed}")


@pytest.mark.parametrize("name", MOVES)
def test_points_lie_on_their_dots(name: str) -> None:
    """Each point follows its dot within a seventh of a pixel; where left is right, the two of a pair have changed places."""
    places = np.array([[60, 50], [90, 55], [75, 75]])
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    dots = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 3.0**2)) for cx, cy in places]
    pixels = np.round(255 * np.stack(dots, axis=-1)).astype(np.uint8)
    source = Sample(pixels, np.array([[50, 40, 100, 85]], np.float32), np.array([0]), np.array([False]), places[None])

    swapped = []
    for seed in range(16):
        found = _augment(source, _settings(name), seed)
        weights = np.maximum(found.pixels_rgb.astype(float) - 140, 0)  # over GREY
        y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] + 0.5
        centres = [[(x * w).sum() / w.sum(), (y * w).sum() / w.sum()] for w in np.moveaxis(weights, -1, 0)]
        swapped.append(abs(found.points[0, 0] - centres[1]).max() < abs(found.points[0, 0] - centres[0]).max())
        expected = np.array(centres)[[1, 0, 2] if swapped[-1] else [0, 1, 2]]

        np.testing.assert_allclose(found.points[0], expected, atol=0.15, err_msg=f"seed {seed}")
    assert any(swapped) == (name in ("mirror", "together"))
    assert all(swapped) == (name == "mirror")


@pytest.mark.parametrize("name", MOVES)
def test_mask_lies_on_its_picture(name: str) -> None:
    """A class covers what is red, VOID what is not of the picture: they differ at most in the pixels along an edge."""
    source = _sample()

    for seed in range(8):
        found = _augment(source, _settings(name), seed)

        assert found.mask.dtype == np.uint8
        for labelled, seen in [
            (found.mask == 1, _is_red(found.pixels_rgb)),
            (found.mask == VOID, found.pixels_rgb[..., 2] < (255 + GREY) / 2),
        ]:
            assert not (labelled & ~_grown(seen)).any(), seed
            assert not (seen & ~_grown(labelled)).any(), seed


def _grown(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize("name", MOVES)
def test_mosaic_moves_labels_with_their_objects(name: str, corner: int) -> None:
    """Of four pictures with one object labels stand on it, whichever corner it is in."""
    object_at = replace(_sample(), points=np.full((1, 2, 2), [72.5, 57.5], np.float32))
    empty = replace(
        object_at,
        pixels_rgb=np.full_like(object_at.pixels_rgb, (GREY, 0, 255)),
        boxes=np.zeros((0, 4), np.float32),
        class_ids=np.zeros(0, np.int64),
        ignored=np.zeros(0, np.bool_),
        points=np.zeros((0, 2, 2), np.float32),
        mask=np.zeros_like(object_at.mask),
    )
    sources = [empty] * 4
    sources[corner] = object_at

    for seed in range(4):
        found = make_mosaic(sources, size=SIZE, middle=(0.45, 0.55), settings=_settings(name), chance=Chance(seed))

        assert found.pixels_rgb.shape == (SIZE[1], SIZE[0], 3)
        np.testing.assert_allclose(found.boxes, [_red_box(found.pixels_rgb)], atol=0.7)
        np.testing.assert_allclose(found.points[0, 0], (found.boxes[0, :2] + found.boxes[0, 2:]) / 2, atol=8)
        assert not ((found.mask == 1) & ~_grown(_is_red(found.pixels_rgb))).any()


def test_place_drops_points_outside_and_keeps_unknown_ones_unknown() -> None:
    """NaN stays NaN, a point that leaves the picture becomes NaN, the last corner is still inside."""
    points = np.array([[[0, 0], [np.nan, np.nan], [WIDTH, HEIGHT], [WIDTH / 2, HEIGHT / 2]]], np.float32)
    source = replace(_sample(), points=points)

    fitted = place(source, size=(WIDTH, HEIGHT), settings=OFF, chance=Chance(0))
    blown_up = place(source, size=(WIDTH, HEIGHT), settings=replace(OFF, scale=(2.0, 2.0)), chance=Chance(0))

    np.testing.assert_allclose(fitted.points, points, atol=1e-4)
    assert fitted.points.dtype == np.float32
    assert np.isfinite(blown_up.points[0]).all(axis=1).tolist() == [False, False, False, True]


def test_place_of_everything_off_gives_the_picture_back() -> None:
    """A picture that fits is not touched at all: no half pixel, no blur."""
    source = _sample()

    fitted = place(source, size=(WIDTH, HEIGHT), settings=OFF, chance=Chance(0))

    np.testing.assert_array_equal(fitted.pixels_rgb, source.pixels_rgb)
    np.testing.assert_array_equal(fitted.mask, source.mask)
    np.testing.assert_allclose(fitted.boxes, source.boxes, atol=1e-4)


@pytest.mark.parametrize("pairs", [None, ((0, 3),)], ids=["not told", "beyond the last"])
def test_place_of_points_in_a_mirror_must_know_the_pairs(pairs: tuple | None) -> None:
    """Left eyes that become left eyes in a mirror would teach nonsense: nothing is mirrored before somebody said what swaps."""
    source = replace(_sample(), points=np.zeros((1, 3, 2), np.float32))

    with pytest.raises(InputError, match="mirror_pairs"):
        place(source, size=SIZE, settings=replace(OFF, mirror=1.0, mirror_pairs=pairs), chance=Chance(0))


def test_box_of_a_turned_rectangle_is_that_of_its_ellipse() -> None:
    """A square of 40 turned by 45 degrees keeps a box of 40, where its corners would say 57."""
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    placement = Placement((100, 100), np.column_stack([turn, [50, 50]]), None, False)

    box = placement.move_boxes(np.array([[-20, -20, 20, 20]]))

    np.testing.assert_allclose(box, [[30, 30, 70, 70]], atol=0.05)


def test_place_ignores_what_is_too_small_and_drops_what_is_gone() -> None:
    """A box under the least side stays as ignored; one just as long is taught; one outside of the picture is dropped."""
    source = _sample((50, 40, 90, 80))
    small = replace(OFF, scale=(0.5, 0.5), smallest_px=20)

    at_threshold = place(source, size=(WIDTH, HEIGHT), settings=small, chance=Chance(0))
    below = place(source, size=(WIDTH, HEIGHT), settings=replace(small, smallest_px=20.1), chance=Chance(0))
    gone = place(_sample((0, 0, 20, 20)), size=(WIDTH, HEIGHT), settings=replace(OFF, scale=(2.0, 2.0)), chance=Chance(0))

    assert at_threshold.ignored.tolist() == [False]
    assert below.ignored.tolist() == [True]
    assert len(gone.boxes) == len(gone.class_ids) == len(gone.ignored) == 0


@pytest.mark.parametrize(
    ("visible_ratio", "ignored"), [pytest.param(0.24, False, id="enough"), pytest.param(0.26, True, id="too little")]
)
def test_place_counts_what_the_crop_and_the_edge_took_together(visible_ratio: float, ignored: bool) -> None:
    """Half cut off by the crop and half of the rest by the edge leaves a quarter."""
    source = _sample((0, 0, WIDTH, HEIGHT), _rectangle)
    settings = replace(OFF, crop=Crop(share=1, area=(0.5, 0.5), stretch=1.0), scale=(2**0.5, 2**0.5), visible_ratio=visible_ratio)

    found = place(source, size=(WIDTH, HEIGHT), settings=settings, chance=Chance(3))

    assert found.ignored.tolist() == [ignored]
    assert found.boxes.min() >= 0
    assert (found.boxes <= [WIDTH, HEIGHT] * 2).all()


def test_augment_of_a_picture_without_objects_has_none() -> None:
    """Nothing stays nothing, with everything on."""
    empty = Sample(
        np.full((1, 1, 3), 90, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_),
        np.zeros((0, 5, 2), np.float32), np.zeros((1, 1), np.uint8),
    )  # fmt: skip

    for seed in range(10):
        found = _augment(empty, _everything(), seed)

        assert found.boxes.shape == (0, 4)
        assert found.points.shape == (0, 5, 2)
        assert found.mask.shape == found.pixels_rgb.shape[:2] == SIZE[::-1]


def _everything() -> AugmentationSettings:
    """Every kind, each in every second sample."""
    shares = {name: replace(getattr(OFF, name), share=0.5) for name in KINDS_WITH_A_SHARE}
    return AugmentationSettings(mirror_pairs=((0, 1),), **shares)


def test_augment_of_the_same_seed_is_the_same_to_the_last_byte() -> None:
    """All chance comes from the generator; another seed is another sample."""
    source = _sample()

    made = [_augment(source, _everything(), seed) for seed in (*range(12), *range(12))]

    for once, again in zip(made[:12], made[12:], strict=True):
        np.testing.assert_array_equal(once.pixels_rgb, again.pixels_rgb)
        np.testing.assert_array_equal(once.boxes, again.boxes)
        np.testing.assert_array_equal(once.mask, again.mask)
    assert len({one.pixels_rgb.tobytes() for one in made}) == 12


def test_augment_leaves_its_sources_as_they_were() -> None:
    """Pictures are decoded once and shown many times."""
    source = _sample()
    before = source.pixels_rgb.copy(), source.boxes.copy(), source.mask.copy()

    for seed in range(10):
        _augment(source, _everything(), seed)

    for was, now in zip(before, (source.pixels_rgb, source.boxes, source.mask), strict=True):
        np.testing.assert_array_equal(was, now)


def test_augment_of_plain_samples_only_fits_them() -> None:
    """`plain` overrules all kinds in its share of samples."""
    source = _sample()

    found = _augment(source, replace(_everything(), plain=1.0), 5)

    np.testing.assert_array_equal(found.pixels_rgb, _augment(source, OFF, 6).pixels_rgb)


@pytest.mark.parametrize("name", [name for name in ALONE if name not in ("scale", "stretch", "off_centre")])
def test_kind_switched_on_leaves_the_chances_of_others_alone(name: str) -> None:
    """The same sample is mirrored, scaled and bent as before; only the new kind comes to it."""
    others = replace(OFF, mirror=0.5, scale=(0.5, 2.0), stretch=1.5, warp=LocalWarp(share=0.5), shear=Shear(share=0.5))
    with_it = replace(others, **ALONE[name])
    without = replace(others, **{name: getattr(OFF, name)})

    for seed in range(10):
        one, other = (
            draw_placement((WIDTH, HEIGHT), size=SIZE, settings=settings, chance=Chance(seed)) for settings in (with_it, without)
        )

        if name != "shear":
            assert abs(np.linalg.det(one.affine[:, :2])) == pytest.approx(abs(np.linalg.det(other.affine[:, :2])))
        if name != "mirror":
            assert one.mirrored == other.mirrored
        if name != "warp":
            np.testing.assert_array_equal(getattr(one.displacement, "nodes", 0), getattr(other.displacement, "nodes", 0))


def test_chance_of_a_kind_depends_on_seed_kind_and_tile_alone() -> None:
    """What others drew before changes nothing; another seed, kind or tile does."""
    chance = Chance(7)
    first = chance.of("blur").random(4)
    chance.of("noise").bytes(1001)

    np.testing.assert_array_equal(chance.of("blur").random(4), first)
    for other in (Chance(8).of("blur"), chance.of("noise"), chance.of("blur", tile=1)):
        assert not np.isclose(other.random(4), first).any()


def test_chance_tells_all_kinds_apart() -> None:
    """No two names have one key."""
    names = {*KINDS, "plain", "light"}

    assert len({zlib.crc32(name.encode()) for name in names}) == len(names)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_chance_lets_a_kind_happen_in_its_share_of_samples(share: float) -> None:
    """0 is never, 1 always, a third of samples about a third of them."""
    n = sum(Chance(seed).happens("night", share) is not None for seed in range(2000))

    assert n == pytest.approx(2000 * share, abs=0 if share in (0, 1) else 80)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.24])
def test_displacement_undone_is_where_the_place_went(ratio: float) -> None:
    """There and back again: each place has one image and each image one place, up to the largest displacement allowed."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        displacement = LocalWarp(cells=5, ratio=(ratio, ratio)).draw(SIZE, rng)
        places = rng.uniform(-20, 220, (200, 2))

        np.testing.assert_allclose(displacement.undo(places + displacement.at(places)), places, atol=0.05)
        there = displacement.undo(places)
        np.testing.assert_allclose(there + displacement.at(there), places, atol=0.05)


def _scene() -> NDArray[np.uint8]:
    """A bright disc of 60 px on dark, about the middle."""
    shade = _disc(45, 30, 105, 90)[..., None]
    return np.round(shade * [220, 210, 200] + (1 - shade) * [30, 40, 50]).astype(np.uint8)


@pytest.mark.parametrize("name", PIXEL_KINDS)
def test_change_of_pixels_moves_nothing(name: str) -> None:
    """Whatever light and camera do: the middle of a disc stays within half a pixel, its edge within one and a half."""
    settings = replace(AugmentationSettings(), night=Night(electrons=(500, 1000))).only(name)

    for seed in range(8):
        changed = change_pixels(_scene(), settings, Chance(seed))

        assert changed.shape == (HEIGHT, WIDTH, 3)
        assert changed.dtype == np.uint8
        assert changed.flags.c_contiguous
        grey = cv2.medianBlur(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), 5)
        rows, columns = np.nonzero(grey > (float(np.median(grey[50:70, 65:85])) + float(np.median(grey[30:90, 20:30]))) / 2)
        assert [columns.mean() + 0.5, rows.mean() + 0.5] == pytest.approx([75, 60], abs=0.5), seed
        assert len(rows) == pytest.approx(np.pi * 30**2, rel=0.1), seed


@pytest.mark.parametrize("name", PIXEL_KINDS)
def test_change_of_pixels_changes_them(name: str) -> None:
    """Each kind does something, differently from sample to sample."""
    settings = AugmentationSettings(colour=Colour(most_hue_degrees=20, saturation=(0.5, 1.5))).only(name)

    seen = {change_pixels(_scene(), settings, Chance(seed)).tobytes() for seed in range(6)}

    assert _scene().tobytes() not in seen
    assert len(seen) > 1


def test_light_switched_off_changes_no_pixel() -> None:
    """`light` stands over all kinds that change pixels."""
    settings = replace(_everything(), light=0.0)

    for seed in range(5):
        np.testing.assert_array_equal(change_pixels(_scene(), settings, Chance(seed)), _scene())


def test_colour_turned_by_120_degrees_makes_red_green() -> None:
    """Hues turn, brightness stays, grey stays grey; fully desaturated colours are grey."""
    pixels = np.array([[[120, 60, 60], [100, 100, 100]]], np.uint8)
    plain = Colour(gain=0, channel_gain=0, bias=0)
    weights = [0.299, 0.587, 0.114]

    turned = [
        replace(plain, most_hue_degrees=180).change(pixels, np.random.default_rng(seed)).astype(int)[0] for seed in range(20)
    ]
    pale = replace(plain, saturation=(0, 0)).change(pixels, np.random.default_rng(0)).astype(int)[0]

    for red, grey in turned:
        assert red @ weights == pytest.approx(pixels[0, 0] @ weights, abs=2)
        assert abs(grey - 100).max() <= 1
    assert {int(red.argmax()) for red, _ in turned} == {0, 1, 2}
    assert np.ptp(pale, axis=1).max() <= 1


def test_pca_colour_adds_one_colour_mostly_brightness() -> None:
    """Along the first component the spread is strength x variance x 255, as in the paper; all pixels get the same."""
    pixels = np.full((4, 5, 3), 120, np.uint8)

    added = np.array(
        [PcaColour(strength=0.2).change(pixels, np.random.default_rng(seed)).astype(float) - 120 for seed in range(600)]
    )

    assert (np.ptp(added, axis=(1, 2)) == 0).all()
    along = added[:, 0, 0] @ [0.5675, 0.5808, 0.5836]
    assert along.std() == pytest.approx(255 * 0.2 * 0.2175, rel=0.1)


@pytest.mark.parametrize(
    ("value", "electrons", "expected"),
    [
        pytest.param(118, 500, 5.9, id="mid grey"),
        pytest.param(118, 5000, 1.8, id="much light"),
        pytest.param(200, 500, 5.4, id="light grey"),
    ],
)
def test_sensor_noise_is_as_strong_as_counting_electrons_says(value: int, electrons: float, expected: float) -> None:
    """Standard deviation sqrt(N + read^2) of N electrons, through the slope of the gamma curve."""
    pixels = np.full((200, 200), value, np.uint8)

    noisy = add_sensor_noise(pixels, electrons=electrons, read_electrons=3, rng=np.random.default_rng(0)).astype(float)

    assert noisy.mean() == pytest.approx(value, abs=0.2)
    assert noisy.std() == pytest.approx(expected, rel=0.1)


def test_noise_differs_from_strip_to_strip() -> None:
    """It is made in strips; none repeats another."""
    noisy = Noise(electrons=(100, 100)).change(np.full((96, 40, 3), 100, np.uint8), np.random.default_rng(0))

    assert not np.array_equal(noisy[:32], noisy[32:64])
    assert len(np.unique(noisy[64:])) > 20


def test_motion_blur_of_no_length_keeps_the_picture() -> None:
    """The least way of all is none."""
    changed = MotionBlur(length_px=(0, 0)).change(_scene(), np.random.default_rng(1))

    np.testing.assert_array_equal(changed, _scene())


def test_jpeg_keeps_colours_in_their_channels() -> None:
    """Red comes back as red."""
    pixels = np.full((32, 32, 3), (200, 30, 60), np.uint8)

    changed = Jpeg(quality=(90, 90)).change(pixels, np.random.default_rng(0))

    np.testing.assert_allclose(changed.astype(int), pixels, atol=6)


def test_fog_takes_more_contrast_from_what_is_higher() -> None:
    """Black and white come closer, at the top more than at the bottom."""
    pixels = np.zeros((100, 20, 3), np.uint8)
    pixels[:, 10:] = 255

    contrast = np.ptp(Fog(haze=(0.6, 0.6)).change(pixels, np.random.default_rng(0)).astype(int), axis=(1, 2))

    assert contrast[0] == pytest.approx(255 * 0.4, abs=2)
    assert contrast[-1] == pytest.approx(255 * 0.7, abs=2)


@pytest.mark.parametrize("infrared_share", [0.0, 1.0])
def test_night_is_darker_and_has_less_colour(infrared_share: float) -> None:
    """Without a lamp a rest of colour, with one none."""
    pixels = np.full((64, 64, 3), (200, 120, 80), np.uint8)

    for seed in range(8):
        changed = Night(infrared_share=infrared_share).change(pixels, np.random.default_rng(seed)).astype(float)

        assert changed.mean() < pixels.mean()
        assert np.ptp(changed.mean(axis=(0, 1))) < (0.1 if infrared_share else 100)


def test_settings_untouched_use_no_kind_that_came_later() -> None:
    """Whoever has not heard of a kind does not get it: configurations of old trainings mean what they meant."""
    on = {name for name in KINDS_WITH_A_SHARE if getattr(AugmentationSettings(), name).share > 0}

    assert on == {"colour", "blur", "noise", "grey", "jpeg"}


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_only_one_kind_turn_the_others_off(kind: str) -> None:
    """That one happens in every sample."""
    only = AugmentationSettings().only(kind)

    assert {name for name in KINDS_WITH_A_SHARE if getattr(only, name).share > 0} == {kind} & set(KINDS_WITH_A_SHARE)
    assert (only.mosaic, only.mirror) == (float(kind == "mosaic"), float(kind == "mirror"))
    assert getattr(only, kind) != getattr(OFF, kind)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: AugmentationSettings(mosaic=1.1), "mosaic: expected 0 to 1, got 1.1", id="share over 1"),
        pytest.param(lambda: AugmentationSettings(light=float("nan")), "light", id="not a number"),
        pytest.param(lambda: AugmentationSettings(scale=(1.5, 0.5)), "scale: .* smaller first", id="range turned round"),
        pytest.param(lambda: AugmentationSettings(scale=(0.0, 1.0)), "scale", id="size of nothing"),
        pytest.param(lambda: AugmentationSettings(stretch=0.9), "stretch", id="stretch under 1"),
        pytest.param(lambda: AugmentationSettings(mirror_pairs=((0, 1), (1, 2))), "mirror_pairs", id="point in two pairs"),
        pytest.param(lambda: AugmentationSettings(mirror_pairs=((-1, 1),)), "mirror_pairs", id="point below 0"),
        pytest.param(lambda: Crop(area=(0.0, 1.0)), "area", id="crop of nothing"),
        pytest.param(lambda: Rotation(most_degrees=181), "most_degrees", id="more than half a turn"),
        pytest.param(lambda: LocalWarp(ratio=(0.1, 0.25)), "ratio", id="two places in one"),
        pytest.param(lambda: Noise(electrons=(5, 100)), "electrons", id="too dark"),
        pytest.param(lambda: Jpeg(quality=(0, 50)), "quality", id="quality 0"),
        pytest.param(lambda: Night(infrared_share=-0.1), "infrared_share", id="share under 0"),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(make: Callable[[], object], message: str) -> None:
    """The message names the key."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"points": np.zeros((2, 5, 2), np.float32)}, "points", id="rows as boxes"),
        pytest.param({"points": np.zeros((1, 5), np.float32)}, "points", id="x and y"),
        pytest.param({"mask": np.zeros((3, 3), np.uint8)}, "mask", id="size of the picture"),
    ],
)
def test_sample_of_wrong_shapes_is_refused(change: dict, message: str) -> None:
    """Labels belong to the picture and its boxes."""
    with pytest.raises(ValueError, match=message):
        replace(_sample(), **change)
