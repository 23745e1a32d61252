"""Faces as an encoder sees them, out of labelled pictures: by points that are known or found, or from about the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from edged.vision.alignment import POINT_NAMES, TEMPLATES, Template, align
from tools.crops import Crops
from tools.datasets.pictures import Picture, PictureSet

CENTRAL_EYES = ((0.36, 0.41), (0.64, 0.41))
"""Where eyes are in a picture of one face, about in its middle, as shares of its sides."""

Points = Sequence[NDArray[np.floating]]

FindPoints = Callable[[Pixels], NDArray[np.floating] | None]
"""(h, w, 3) -> the (5, 2) points of the picture's most prominent face, its pixels; None: there is no face."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrops:
    """Aligned faces of a set.

    Attributes:
        crops: in the order of the set's pictures; the label is the picture's.
        central: (N,) bool: no points were known or found, the middle of the picture was taken.
        points: N of (5, 2), what was aligned by, pixels of each picture.
    """

    crops: Crops
    central: NDArray[np.bool_]
    points: Points


def crop_faces(pictures: PictureSet, template: Template, *, find: FindPoints | None = None) -> FaceCrops:
    """One face of every picture, aligned.

    Args:
        pictures: labelled as a whole; points of `POINT_NAMES` are used where the set knows them.
        find: asked where it does not.
    """
    columns = [pictures.point_names.index(name) for name in POINT_NAMES if name in pictures.point_names]
    aligned, central, used = [], [], []
    for picture in pictures.pictures:
        pixels_rgb = picture.pixels_rgb()
        points = _known_points(picture, columns)
        if points is None and find:
            points = find(pixels_rgb)
        central.append(points is None)
        used.append(central_points(pixels_rgb) if points is None else points)
        aligned.append(align(pixels_rgb, used[-1], template))
    classes = tuple(sorted({picture.label for picture in pictures.pictures}))
    place = {name: number for number, name in enumerate(classes)}
    labels = np.array([place[picture.label] for picture in pictures.pictures], np.int64)
    names = tuple(picture.origin.file for picture in pictures.pictures)
    return FaceCrops(Crops(aligned, labels, classes, names), np.array(central, np.bool_), used)


def align_faces(pictures: PictureSet, points: Points, template: Template) -> list[Pixels]:
    """The same faces by another template; points: one (5, 2) a picture, as `FaceCrops` has them."""
    return [align(picture.pixels_rgb(), own, template) for picture, own in zip(pictures.pictures, points, strict=True)]


def _known_points(picture: Picture, columns: list[int]) -> NDArray[np.float32] | None:
    """The points of the first object, if all five are known."""
    if picture.points is None or not len(picture.points) or len(columns) < len(POINT_NAMES):
        return None
    points = picture.points[0, columns]
    return points if np.isfinite(points).all() else None


def central_points(pixels_rgb: Pixels) -> NDArray[np.float64]:
    """(5, 2) where the points of an upright face in the middle of a picture are about."""
    height, width = pixels_rgb.shape[:2]
    eyes = np.array(CENTRAL_EYES) * (width, height)
    template = TEMPLATES["mean112"].as_array()
    scale = (eyes[1, 0] - eyes[0, 0]) / (template[1, 0] - template[0, 0])
    return (template - template[:2].mean(axis=0)) * scale + eyes.mean(axis=0)
