"""Sprites: small pictures with transparency, drawn once per look and pose, then only moved and scaled.

Everything is drawn without anti-aliasing at four times its size on a transparent canvas and shrunk by area: that gives
smooth edges, colours already multiplied by their opacity, and the same bits with every OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

OVERSAMPLING = 4
_SHIFT = 4
_SHADOW_SHRINK = 3
_SHADOW_DEPTH = 0.2

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A drawn thing that stands on the ground at its origin.

    Attributes:
        pixels: (h, w, 4) uint8 RGBA, colours multiplied by opacity.
        pixels_per_metre: scale it was drawn at.
        origin: ground point inside `pixels`, pixels (x, y).
        box_m: tight (x1, y1, x2, y2) around what is at least half opaque, metres from the origin, y down.
    """

    pixels: NDArray[np.uint8]
    pixels_per_metre: float
    origin: tuple[float, float]
    box_m: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Shadow:
    """The shadow of a sprite on the ground.

    Attributes:
        keep: (h, w) uint8, share of the light that the shadow leaves, times 255.
        origin: ground point inside `keep`, pixels (x, y).
        zoom: pixels of the sprite that one pixel of `keep` stands for.
    """

    keep: NDArray[np.uint8]
    origin: tuple[float, float]
    zoom: float


class Canvas:
    """Draws shapes given in metres: x to the right of the ground point, y up from the ground.

    Args:
        left, right, top: extent of the canvas, metres from the ground point.
        pixels_per_metre: scale of the finished sprite.
    """

    def __init__(self, *, left: float, right: float, top: float, pixels_per_metre: float) -> None:
        self._scale = pixels_per_metre * OVERSAMPLING
        self._pixels_per_metre = pixels_per_metre
        self._margin = 2
        width, height = (int(np.ceil(m * pixels_per_metre)) + 2 * self._margin for m in (left + right, top))
        self._origin = (left * pixels_per_metre + self._margin, float(height - self._margin))
        self._big = np.zeros((height * OVERSAMPLING, width * OVERSAMPLING, 4), np.uint8)

    def _points(self, points: Sequence[Point] | NDArray[np.float64]) -> NDArray[np.int32]:
        metres = np.asarray(points, np.float64).reshape(-1, 2)
        x = metres[:, 0] * self._scale + self._origin[0] * OVERSAMPLING
        y = self._origin[1] * OVERSAMPLING - metres[:, 1] * self._scale
        return np.rint(np.stack([x, y], axis=1) * (1 << _SHIFT)).astype(np.int32)

    def polygon(self, points: Sequence[Point], colour: Colour, *, rounds: int = 0) -> None:
        """Fill a polygon; `rounds` of corner cutting make its corners rounder."""
        ring = np.asarray(points, np.float64)
        for _ in range(rounds):
            after = np.roll(ring, -1, axis=0)
            ring = np.stack([0.78 * ring + 0.22 * after, 0.22 * ring + 0.78 * after], axis=1).reshape(-1, 2)
        cv2.fillPoly(self._big, [self._points(ring)], (*colour, 255), cv2.LINE_8, _SHIFT)

    def ellipse(self, centre: Point, radius_x: float, radius_y: float, colour: Colour) -> None:
        """Fill an upright ellipse."""
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        self.polygon(np.stack([centre[0] + radius_x * np.cos(angle), centre[1] + radius_y * np.sin(angle)], axis=1), colour)

    def ring(self, centre: Point, radius: float, thickness: float, colour: Colour) -> None:
        """Draw a circle line."""
        angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        points = self._points(np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1))
        cv2.polylines(self._big, [points], True, (*colour, 255), self._thick(thickness), cv2.LINE_8, _SHIFT)

    def stroke(self, points: Sequence[Point], thickness: float, colour: Colour) -> None:
        """Draw an open line with round ends."""
        cv2.polylines(self._big, [self._points(points)], False, (*colour, 255), self._thick(thickness), cv2.LINE_8, _SHIFT)

    def limb(self, start: Point, end: Point, start_radius: float, end_radius: float, colour: Colour) -> None:
        """Fill a limb that narrows from one round end to the other."""
        along = np.subtract(end, start)
        length = float(np.hypot(*along)) or 1.0
        normal = np.array([-along[1], along[0]]) / length
        ring = [
            start + normal * start_radius,
            end + normal * end_radius,
            end - normal * end_radius,
            start - normal * start_radius,
        ]
        self.polygon(ring, colour)
        self.ellipse(start, start_radius, start_radius, colour)
        self.ellipse(end, end_radius, end_radius, colour)

    def _thick(self, metres: float) -> int:
        return max(1, round(metres * self._scale))

    def finish(self, *, is_flipped: bool = False, shade: float = 0.16) -> Sprite:
        """Light the drawing from above, shrink it and measure its box."""
        big, origin_x = self._big, self._origin[0]
        if is_flipped:
            big = cv2.flip(big, 1)
            origin_x = big.shape[1] / OVERSAMPLING - origin_x
        box_m = self._measure(big[..., 3], origin_x)
        small = cv2.resize(big, None, fx=1 / OVERSAMPLING, fy=1 / OVERSAMPLING, interpolation=cv2.INTER_AREA)
        light = np.linspace(1.0 + shade / 2, 1.0 - shade, small.shape[0])[:, None, None]
        small[..., :3] = np.minimum(small[..., :3] * light, small[..., 3:])
        return Sprite(small, self._pixels_per_metre, (origin_x, self._origin[1]), box_m)

    def _measure(self, opacity: NDArray[np.uint8], origin_x: float) -> tuple[float, float, float, float]:
        x, y, w, h = cv2.boundingRect(opacity)
        left, top = x / OVERSAMPLING - origin_x, y / OVERSAMPLING - self._origin[1]
        scale = self._pixels_per_metre
        return (
            left / scale,
            top / scale,
            (left + w / OVERSAMPLING) / scale,
            (top + h / OVERSAMPLING) / scale,
        )


def darker(colour: Colour, share: float) -> Colour:
    """A colour with `share` of its light (above 1: lighter)."""
    red, green, blue = (int(min(255, max(0, channel * share))) for channel in colour)
    return red, green, blue


def tinted(sprite: Sprite, tint: tuple[float, float, float]) -> Sprite:
    """The sprite in coloured light."""
    pixels = sprite.pixels.copy()
    pixels[..., :3] = np.minimum(pixels[..., :3] * np.array(tint), pixels[..., 3:])
    return replace(sprite, pixels=pixels)


def make_shadow(sprite: Sprite, *, lean: float, opacity: float) -> Shadow:
    """Lay the outline of a sprite flat on the ground behind it, leaning to the right per height, with soft edges."""
    width = sprite.pixels.shape[1]
    shrink = 1 / _SHADOW_SHRINK
    margin = 4.0
    rise = sprite.origin[1] * shrink
    left = margin + max(0.0, -lean) * rise
    size = (int(width * shrink + abs(lean) * rise + 2 * margin), int(rise * _SHADOW_DEPTH + 3 * margin))
    ground = size[1] - 1.5 * margin
    # x' = x + lean * (ground - y), y' = depth * y, both from the ground point
    matrix = np.array(
        [
            [shrink, -lean * shrink, left + lean * shrink * sprite.origin[1]],
            [0, _SHADOW_DEPTH * shrink, ground - _SHADOW_DEPTH * shrink * sprite.origin[1]],
        ]
    )
    cast = cv2.warpAffine(np.ascontiguousarray(sprite.pixels[..., 3]), matrix, size, flags=cv2.INTER_AREA)
    origin = (left + sprite.origin[0] * shrink, ground)
    half = (sprite.box_m[2] - sprite.box_m[0]) * sprite.pixels_per_metre * shrink / 2
    under = np.zeros_like(cast)
    middle = (round(origin[0]), round(ground - 0.3))
    cv2.ellipse(under, middle, (max(1, round(half * 0.95)), max(1, round(half * 0.07 + 1))), 0, 0, 360, 255, -1)
    soft = cv2.GaussianBlur(np.maximum(cast, under), (0, 0), 1.1)
    return Shadow(np.rint(255 - opacity * soft).astype(np.uint8), origin, float(_SHADOW_SHRINK))
