"""Pictures moved: cropped, mirrored, scaled, stretched, sheared, turned, shifted and bent, with boxes, points and masks.

Everything but the crop is one map, so pixels are resampled once, whatever comes together. Coordinates are those of
`edged/vision/boxes.py`: they count from the first pixel's corner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.types import Pixels
from edged.vision.letterbox import GREY
from tools.augmentation.bounds import check_range, check_share, check_within
from tools.augmentation.chance import Chance
from tools.augmentation.sample import Sample
from tools.augmentation.warp import Displacement
from tools.datasets.pictures import VOID

if TYPE_CHECKING:
    from tools.augmentation.settings import AugmentationSettings

_ELLIPSE_POINTS = 64
"""On a box's ellipse: its hull is at most 0.12 % of half a side too small."""
_LEAST_SIDE_PX = 0.5
"""What is narrower in the picture is gone."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of the source takes the whole picture's place; what is outside of it is gone.

    Attributes:
        share: of samples.
        area: least and most of the picture's area that is kept.
        stretch: the part's width to height is at most this many times the picture's, or as much less.

    Source: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6.
    """

    share: float = 0.0
    area: tuple[float, float] = (0.4, 1.0)
    stretch: float = 1.25

    def __post_init__(self) -> None:
        check_share(self.share)
        check_range("area", self.area, least=0.01, most=1)
        check_within("stretch", self.stretch, least=1, most=4)

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the part of a picture of that (width, height)."""
        side = np.sqrt(rng.uniform(*self.area))
        stretch = np.exp(rng.uniform(-1, 1) * np.log(self.stretch) / 2)
        w, h = (
            max(1, min(whole, round(whole * part))) for whole, part in zip(size, (side * stretch, side / stretch), strict=True)
        )
        x, y = int(rng.integers(0, size[0] - w + 1)), int(rng.integers(0, size[1] - h + 1))
        return x, y, x + w, y + h


@dataclass(frozen=True, slots=True)
class Shift:
    """The picture is pushed aside, over the edge if need be.

    Attributes:
        share: of samples.
        most_ratio: in parts of the training picture's width and height, to either side.
    """

    share: float = 0.0
    most_ratio: float = 0.1

    def __post_init__(self) -> None:
        check_share(self.share)
        check_within("most_ratio", self.most_ratio, least=0, most=1)


@dataclass(frozen=True, slots=True)
class Rotation:
    """The picture is turned about its middle.

    Attributes:
        share: of samples.
        most_degrees: to either side.
    """

    share: float = 0.0
    most_degrees: float = 10.0

    def __post_init__(self) -> None:
        check_share(self.share)
        check_within("most_degrees", self.most_degrees, least=0, most=180)


@dataclass(frozen=True, slots=True)
class Shear:
    """The picture's sides lean, as if seen from the side.

    Attributes:
        share: of samples.
        most_degrees: that either pair of sides leans, to either side.
    """

    share: float = 0.0
    most_degrees: float = 8.0

    def __post_init__(self) -> None:
        check_share(self.share)
        check_within("most_degrees", self.most_degrees, least=0, most=40)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where a source picture lies in one of training.

    Attributes:
        size: (width, height) of the training picture.
        affine: (2, 3) from the source to the picture before it is bent.
        displacement: how it is bent; None: not at all.
        mirrored: left is right.
    """

    size: tuple[int, int]
    affine: NDArray[np.float64]
    displacement: Displacement | None
    mirrored: bool

    def move_pixels(self, pixels_rgb: Pixels) -> Pixels:
        """The picture, bilinear, grey around it."""
        return self._resample(pixels_rgb, cv2.INTER_LINEAR, (GREY,) * 3)

    def move_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mask, from the nearest pixel, VOID around it."""
        return self._resample(mask, cv2.INTER_NEAREST, (VOID,))

    def _resample(self, source: NDArray[np.uint8], interpolation: int, fill: tuple[int, ...]) -> NDArray[np.uint8]:
        if self.displacement is None:
            centred = self.affine.copy()
            centred[:, 2] += self.affine[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts from the first pixel's centre
            return cv2.warpAffine(source, centred, self.size, flags=interpolation, borderValue=fill)
        x, y = self.displacement.look_up(cv2.invertAffineTransform(self.affine))
        return cv2.remap(source, x, y, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)

    def move_points(self, points: NDArray) -> NDArray[np.float64]:
        """Points (..., 2) of the source, in the picture or outside of it; NaN stays NaN."""
        moved = points.reshape(-1, 2) @ self.affine[:, :2].T + self.affine[:, 2]
        known = np.isfinite(moved).all(axis=1)
        if self.displacement is not None and known.any():
            moved[known] = self.displacement.undo(moved[known])
        return moved.reshape(points.shape)

    def move_boxes(self, boxes: NDArray) -> NDArray[np.float64]:
        """Boxes (M, 4) of the source, not cut at the picture's edges: the hull of the moved ellipse that fills each.

        A box does not tell its object's shape. The hull of its corners is the largest box that might be right, and teaches boxes
        that are too large; the ellipse's comes closest in the mean, and is exact where nothing is turned or bent.
        Source: Kalra et al., "Towards Rotation Invariance in Object Detection", ICCV 2021, section 4.1.
        """
        centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        outlines = self.move_points(centres[:, None] + halves[:, None] * _unit_circle())  # (M, 64, 2)
        return np.concatenate([outlines.min(axis=1), outlines.max(axis=1)], axis=1)


@cache
def _unit_circle() -> NDArray[np.float64]:
    """(64, 2), from the right; holds the topmost, lowest, leftmost and rightmost point."""
    angles = np.arange(_ELLIPSE_POINTS) * (2 * np.pi / _ELLIPSE_POINTS)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def draw_placement(
    source_size: tuple[int, int], *, size: tuple[int, int], settings: AugmentationSettings, chance: Chance, tile: int = 0
) -> Placement:
    """Where a source of that (width, height) comes to lie in a picture of that (width, height)."""
    scales = min(size[0] / source_size[0], size[1] / source_size[1]) * _draw_scales(settings, chance, tile)
    mirrored = chance.happens("mirror", settings.mirror, tile=tile) is not None
    linear = _draw_turn(settings, chance, tile) @ np.diag(scales * [-1 if mirrored else 1, 1])
    room = np.array(size) - np.array(source_size) * scales  # negative where the picture overhangs
    middle = np.array(size) / 2
    if settings.off_centre:
        middle += room * settings.off_centre * chance.of("off_centre", tile=tile).uniform(-0.5, 0.5, 2)
    if rng := chance.happens("shift", settings.shift.share, tile=tile):
        middle += np.array(size) * settings.shift.most_ratio * rng.uniform(-1, 1, 2)
    offset = middle - linear @ (np.array(source_size) / 2)
    rng = chance.happens("warp", settings.warp.share, tile=tile)
    return Placement(size, np.column_stack([linear, offset]), settings.warp.draw(size, rng) if rng else None, mirrored)


def _draw_scales(settings: AugmentationSettings, chance: Chance, tile: int) -> NDArray[np.float64]:
    """Of width and height, against a picture that just fits."""
    scale = stretch = 1.0
    if settings.scale != (1, 1):
        scale = np.exp(chance.of("scale", tile=tile).uniform(*np.log(settings.scale)))
    if settings.stretch != 1:
        stretch = np.exp(chance.of("stretch", tile=tile).uniform(-1, 1) * np.log(settings.stretch) / 2)
    return np.array([scale / stretch, scale * stretch])


def _draw_turn(settings: AugmentationSettings, chance: Chance, tile: int) -> NDArray[np.float64]:
    """(2, 2): lean, then turn."""
    turn = np.eye(2)
    if rng := chance.happens("shear", settings.shear.share, tile=tile):
        lean = np.tan(np.radians(settings.shear.most_degrees * rng.uniform(-1, 1)))
        turn = np.array([[1, lean], [0, 1]]) if rng.random() < 0.5 else np.array([[1, 0], [lean, 1]])
    if rng := chance.happens("rotation", settings.rotation.share, tile=tile):
        angle = np.radians(settings.rotation.most_degrees * rng.uniform(-1, 1))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ turn
    return turn


def place(source: Sample, *, size: tuple[int, int], settings: AugmentationSettings, chance: Chance, tile: int = 0) -> Sample:
    """The source, cropped and moved by chance, as a picture of that (width, height).

    Raises:
        InputError: points are to be mirrored, and nobody said which change places.
    """
    h, w = source.pixels_rgb.shape[:2]
    left = np.ones(len(source.boxes))
    if rng := chance.happens("crop", settings.crop.share, tile=tile):
        source, left = _cut(source, settings.crop.draw((w, h), rng))
        h, w = source.pixels_rgb.shape[:2]
    placement = draw_placement((w, h), size=size, settings=settings, chance=chance, tile=tile)
    swaps = _swaps(source.points, settings) if placement.mirrored else None
    whole, visible = _cut(_move(source, placement, swaps), (0, 0, *size))
    return _drop_remains(whole, left * visible, settings)


def _cut(source: Sample, part: tuple[int, int, int, int]) -> tuple[Sample, NDArray[np.float64]]:
    """The part x1, y1, x2, y2 of the picture, with all boxes cut to it, and how much of each box is left, 0 to 1."""
    x1, y1, x2, y2 = part
    low, high = np.array([x1, y1]), np.array([x2, y2])
    boxes = np.clip(source.boxes, [x1, y1, x1, y1], [x2, y2, x2, y2])
    left = _areas(boxes) / np.maximum(_areas(source.boxes), 1e-6)
    points, mask = source.points, source.mask
    if points is not None:
        inside = ((points >= low) & (points <= high)).all(axis=2, keepdims=True)  # NaN is nowhere
        points = np.where(inside, points - low, np.nan).astype(np.float32)
    if mask is not None:
        mask = mask[y1:y2, x1:x2]
    boxes = (boxes - [x1, y1, x1, y1]).astype(np.float32)
    return replace(source, pixels_rgb=source.pixels_rgb[y1:y2, x1:x2], boxes=boxes, points=points, mask=mask), left


def _areas(boxes: NDArray) -> NDArray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _move(source: Sample, placement: Placement, swaps: NDArray[np.int64] | None) -> Sample:
    points, mask = source.points, source.mask
    if points is not None:
        points = placement.move_points(points if swaps is None else points[:, swaps])
    if mask is not None:
        mask = placement.move_mask(mask)
    return replace(
        source,
        pixels_rgb=placement.move_pixels(source.pixels_rgb),
        boxes=placement.move_boxes(source.boxes),
        points=points,
        mask=mask,
    )


def _swaps(points: NDArray | None, settings: AugmentationSettings) -> NDArray[np.int64] | None:
    """Which point of the source becomes each point of its mirror picture."""
    if points is None:
        return None
    n_points = points.shape[1]
    if settings.mirror_pairs is None or max((max(pair) for pair in settings.mirror_pairs), default=-1) >= n_points:
        raise InputError(
            f"mirror_pairs: expected which of the {n_points} points change places in a mirror, such as [[0, 1], [3, 4]] for eyes "
            f"and corners of the mouth, or [] for none, got {settings.mirror_pairs}; mirror: 0 shows no picture mirrored"
        )
    swaps = np.arange(n_points)
    for one, other in settings.mirror_pairs:
        swaps[[one, other]] = other, one
    return swaps


def _drop_remains(sample: Sample, visible: NDArray[np.float64], settings: AugmentationSettings) -> Sample:
    """Drop what is gone; what is left of some is too little to be taught or held against anyone."""
    sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
    present = (sides > _LEAST_SIDE_PX).all(axis=1) & (visible > 0)
    little = (sides.min(axis=1, initial=np.inf) < settings.smallest_px) | (visible < settings.visible_ratio)
    return replace(
        sample,
        boxes=sample.boxes[present],
        class_ids=sample.class_ids[present],
        ignored=(sample.ignored | little)[present],
        points=None if sample.points is None else sample.points[present],
    )
