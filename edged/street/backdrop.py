"""What stands still: sky, houses, pavements, road, and the tree and lamp posts that hide others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.street import geometry as place
from edged.street import surfaces
from edged.street.sprites import Canvas, Colour, Sprite, darker
from edged.types import Pixels
from edged.vision.label_maps import Labels

_FACADES: tuple[Colour, ...] = (
    (190, 150, 122),
    (206, 190, 160),
    (150, 92, 76),
    (172, 176, 178),
    (214, 204, 186),
    (134, 140, 128),
    (178, 124, 96),
    (160, 150, 140),
)
_AWNINGS: tuple[Colour, ...] = ((160, 44, 44), (40, 92, 74), (44, 70, 120), (200, 150, 60))
_SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((96, 150, 214), (206, 224, 238)),
    ((150, 164, 178), (214, 218, 220)),
    ((128, 150, 190), (246, 214, 178)),
)


@dataclass(frozen=True, slots=True)
class Light:
    """The weather of a street.

    Attributes:
        sky: which of the skies.
        tint: gains of red, green and blue over the whole picture.
        shadow_lean: how far cast shadows lean to the right per height (negative: left).
        shadow_opacity: 0..1.
    """

    sky: int
    tint: tuple[float, float, float]
    shadow_lean: float
    shadow_opacity: float


def make_light(seed: int) -> Light:
    """The weather of a seed."""
    rng = np.random.default_rng([seed, 101])
    sky = int(rng.integers(len(_SKIES)))
    gain = float(rng.uniform(0.9, 1.05))
    tint = ((gain, gain, gain), (0.96 * gain, 0.98 * gain, gain), (1.04 * gain, 0.98 * gain, 0.9 * gain))[sky]
    lean = float(rng.uniform(0.35, 0.9)) * (1 if rng.random() < 0.5 else -1)
    return Light(sky, tint, lean, (0.42, 0.2, 0.36)[sky])


@dataclass(frozen=True, slots=True, eq=False)
class Fixture:
    """Something that stands still and hides what passes behind it; `x`, `y` is its ground point, design pixels."""

    sprite: Sprite
    label: int
    x: float
    y: float


class _Painter:
    """Paints in design pixels on a picture twice as large as asked for; `finish` shrinks it.

    Attributes:
        label: of what is painted from now on.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._scale = (2 * width / place.DESIGN_WIDTH, 2 * height / place.DESIGN_HEIGHT)
        self._big = np.zeros((2 * height, 2 * width, 3), np.uint8)
        self._big_labels = np.zeros((2 * height, 2 * width), np.uint8)
        self.label = surfaces.SKY

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        scaled = np.rint(np.asarray(points) * self._scale * 16).astype(np.int32)
        cv2.fillPoly(self._big, [scaled], colour, cv2.LINE_8, 4)
        cv2.fillPoly(self._big_labels, [scaled], self.label, cv2.LINE_8, 4)

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)

    def gradient(self, y1: float, y2: float, top: Colour, bottom: Colour) -> None:
        first, last = (round(y * self._scale[1]) for y in (y1, y2))
        share = np.linspace(0, 1, max(1, last - first))[:, None]
        self._big[first:last] = ((1 - share) * np.array(top) + share * np.array(bottom)).astype(np.uint8)[:, None, :]
        self._big_labels[first:last] = self.label

    def finish(self) -> tuple[Pixels, Labels]:
        return cv2.resize(self._big, self._size, interpolation=cv2.INTER_AREA), self._big_labels[::2, ::2].copy()


def paint_backdrop(seed: int, *, sky: int, width: int, height: int) -> tuple[Pixels, Labels]:
    """Paint everything behind the actors: (height, width, 3) uint8 RGB, and (height, width) uint8, what each pixel shows."""
    rng = np.random.default_rng([seed, 102])
    painter = _Painter(width, height)
    top, bottom = _SKIES[sky]
    painter.gradient(0, place.WALL_Y, top, bottom)
    _paint_houses(painter, rng)
    _paint_ground(painter)
    _paint_markings(painter)
    pixels, labels = painter.finish()
    return _roughen(pixels, rng), labels


def _paint_houses(painter: _Painter, rng: np.random.Generator) -> None:
    painter.label = surfaces.BUILDING
    x = -20.0
    while x < place.DESIGN_WIDTH:
        house_width, roof_y = float(rng.uniform(80, 150)), float(rng.uniform(-20, 42))
        colour = darker(_FACADES[int(rng.integers(len(_FACADES)))], float(rng.uniform(0.82, 1.05)))
        painter.box(x, roof_y, x + house_width, place.WALL_Y, colour)
        painter.box(x, roof_y, x + house_width, roof_y + 5, darker(colour, 0.62))
        painter.box(x + house_width - 1.5, roof_y, x + house_width, place.WALL_Y, darker(colour, 0.7))
        _paint_windows(painter, rng, x=x, house_width=house_width, roof_y=roof_y, colour=colour)
        _paint_shop(painter, rng, x, house_width, colour)
        x += house_width


def _paint_windows(
    painter: _Painter, rng: np.random.Generator, *, x: float, house_width: float, roof_y: float, colour: Colour
) -> None:
    columns = max(2, int(house_width // 30))
    pitch = house_width / columns
    for y in np.arange(roof_y + 13, 108, 31):
        for column in range(columns):
            left = x + pitch * (column + 0.5) - 7
            glass = darker((74, 92, 110), float(rng.uniform(0.7, 1.5)))
            painter.box(left - 1.5, y - 1.5, left + 15.5, y + 21.5, darker(colour, 1.18))
            painter.box(left, y, left + 14, y + 20, glass)
            painter.box(left, y, left + 14, y + 6, darker(glass, 1.3))
            painter.box(left + 6.5, y, left + 7.5, y + 20, darker(colour, 1.18))
            painter.box(left - 3, y + 21.5, left + 17, y + 23.5, darker(colour, 0.75))


def _paint_shop(painter: _Painter, rng: np.random.Generator, x: float, house_width: float, colour: Colour) -> None:
    painter.box(x, 124, x + house_width, place.WALL_Y, darker(colour, 0.78))
    door = x + float(rng.uniform(0.1, 0.7)) * house_width
    painter.box(x + 6, 134, x + house_width - 6, 160, darker((70, 84, 92), float(rng.uniform(0.7, 1.2))))
    painter.box(x + 6, 134, x + house_width - 6, 141, darker((110, 124, 132), float(rng.uniform(0.8, 1.1))))
    painter.box(door - 1.5, 130, door + 17.5, place.WALL_Y, darker(colour, 0.6))
    painter.box(door, 132, door + 16, place.WALL_Y, darker((70, 50, 40), float(rng.uniform(0.8, 1.6))))
    painter.box(door + 3, 136, door + 13, 150, (96, 112, 122))
    if rng.random() < 0.6:
        awning = _AWNINGS[int(rng.integers(len(_AWNINGS)))]
        stripes = np.linspace(x + 5, x + house_width - 5, 11)
        for number, (left, right) in enumerate(pairwise(stripes)):
            stripe = awning if number % 2 else (226, 222, 212)
            painter.polygon([(left, 122), (right, 122), (right + 1, 133), (left - 1, 133)], stripe)


def _ground_x(x: float, y: float) -> float:
    """Where a line on the ground that passes through (x, 260) meets picture height `y`: it runs to the vanishing point."""
    return 320 + (x - 320) * (y - place.HORIZON_Y) / (260 - place.HORIZON_Y)


def _paint_ground(painter: _Painter) -> None:
    painter.label = surfaces.PAVEMENT
    painter.gradient(place.WALL_Y, place.FAR_KERB_Y, (150, 146, 140), (166, 162, 156))
    painter.label = surfaces.ROAD
    painter.gradient(place.FAR_KERB_Y, place.NEAR_KERB_Y, (88, 90, 94), (104, 106, 110))
    painter.label = surfaces.PAVEMENT
    painter.gradient(place.NEAR_KERB_Y, place.DESIGN_HEIGHT, (168, 164, 158), (182, 178, 170))
    for y1, y2, rows in ((place.WALL_Y, place.FAR_KERB_Y, (176, 186)), (place.NEAR_KERB_Y, 360.0, (322, 342))):
        for x in np.arange(-700, 1400, 42):
            painter.polygon(
                [(_ground_x(x, y1), y1), (_ground_x(x, y1) + 0.8, y1), (_ground_x(x, y2) + 0.8, y2), (_ground_x(x, y2), y2)],
                (136, 132, 126),
            )
        for y in rows:
            painter.box(0, y, 640, y + 0.8, (138, 134, 128))
    painter.box(0, place.WALL_Y, 640, place.WALL_Y + 2.5, (112, 108, 104))
    painter.box(0, place.FAR_KERB_Y - 1, 640, place.FAR_KERB_Y + 1, (196, 194, 190))
    painter.label = surfaces.ROAD
    painter.box(0, place.FAR_KERB_Y + 1, 640, place.FAR_KERB_Y + 3.5, (74, 74, 76))
    painter.label = surfaces.PAVEMENT
    painter.box(0, place.NEAR_KERB_Y, 640, place.NEAR_KERB_Y + 3.5, (204, 202, 198))
    painter.label = surfaces.ROAD
    painter.box(0, place.NEAR_KERB_Y - 1.5, 640, place.NEAR_KERB_Y, (70, 70, 72))


def _paint_markings(painter: _Painter) -> None:
    painter.label = surfaces.ROAD
    white: Colour = (214, 214, 208)
    painter.box(0, 283, 640, place.NEAR_KERB_Y - 1.5, (128, 92, 86))
    painter.box(0, 282, 640, 283.5, white)
    for x in np.arange(-600, 1300, 64):
        painter.polygon([(_ground_x(x, y) + dx, y) for dx, y in ((0, 245), (30, 245), (30, 247), (0, 247))], white)
    for x in (400.0, 580.0):
        painter.polygon([(x, 205), (x + 2, 205), (x + 3, 222), (x + 1, 222)], white)
    painter.box(400, 221, 582, 222.2, white)
    left, right = place.ZEBRA_X
    painter.box(left - 6, 206, right + 6, 302, (98, 100, 104))
    for y1, y2 in ((206, 212), (219, 226), (234, 242), (251, 260), (270, 280), (291, 302)):
        painter.box(left, y1, right, y2, (224, 224, 218))
    painter.box(left - 16, 248, left - 12, 281, white)
    painter.box(right + 12, 206, right + 15, 244, white)


def _roughen(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Add stains and grain, so that surfaces do not look like paper."""
    height, width = pixels.shape[:2]
    stains = cv2.resize(rng.normal(0, 6, (12, 22)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 3.0, (height, width)).astype(np.float32)
    share = np.where(np.arange(height) > place.WALL_Y * height / place.DESIGN_HEIGHT, 1.0, 0.35)[:, None]
    return np.clip(pixels + ((stains + grain) * share)[..., None], 0, 255).astype(np.uint8)


def make_fixtures(seed: int, *, scale: float) -> tuple[Fixture, ...]:
    """The tree on the near pavement, a younger one on the far one, and a lamp post."""
    rng = np.random.default_rng([seed, 103])

    def at(y: float) -> float:
        return place.pixels_per_metre(y) * scale

    return (
        Fixture(_draw_tree(rng, at(200.0), height=4.6), surfaces.TREE, 232.0, 200.0),
        Fixture(_draw_lamp(at(200.0)), surfaces.POLE, 410.0, 200.0),
        Fixture(_draw_tree(rng, at(351.0), height=6.2), surfaces.TREE, 452.0, 351.0),
    )


def _draw_tree(rng: np.random.Generator, pixels_per_metre: float, *, height: float) -> Sprite:
    canvas = Canvas(left=1.9, right=1.9, top=height + 0.3, pixels_per_metre=pixels_per_metre)
    bark: Colour = (92, 72, 56)
    canvas.limb((0.0, 0.0), (0.03, 0.6 * height), 0.15, 0.1, bark)
    canvas.stroke([(-0.07, 0.1), (-0.04, 0.55 * height)], 0.05, darker(bark, 0.7))
    canvas.limb((0.0, 0.5 * height), (-0.7, 0.72 * height), 0.07, 0.04, bark)
    canvas.limb((0.0, 0.52 * height), (0.75, 0.74 * height), 0.07, 0.04, bark)
    leaves: NDArray[np.float64] = rng.normal(0, 1, (90, 3))
    for dx, dy, tone in leaves[np.argsort(-leaves[:, 1])[::-1]]:
        x = float(np.clip(0.75 * dx, -1.5, 1.5))
        y = float(np.clip(0.78 * height + 0.5 * dy, 0.62 * height, height))
        canvas.ellipse((x, y), 0.3, 0.24, darker((70, 112, 56), 0.85 + 0.12 * tone + 0.25 * (y / height - 0.7)))
    return canvas.finish(shade=0.1)


def _draw_lamp(pixels_per_metre: float) -> Sprite:
    canvas = Canvas(left=0.4, right=1.2, top=5.2, pixels_per_metre=pixels_per_metre)
    iron: Colour = (62, 66, 68)
    canvas.limb((0.0, 0.0), (0.0, 4.8), 0.08, 0.05, iron)
    canvas.limb((0.0, 0.0), (0.0, 0.7), 0.12, 0.1, iron)
    canvas.stroke([(0.0, 4.75), (0.3, 5.0), (0.9, 5.02)], 0.08, iron)
    canvas.polygon([(0.6, 5.06), (1.05, 5.06), (1.0, 4.92), (0.65, 4.92)], (232, 226, 196))
    return canvas.finish()
