"""A segmenter's maps of a set of pictures, held against the masks: counted once, judged in many ways afterwards."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.models.segmenter import Segmenter
from edged.types import Pixels
from edged.vision.confusion import confusion
from edged.vision.label_maps import resized
from tools.datasets.pictures import VOID, Picture, PictureSet
from tools.label_boundaries import Tolerance, boundary_f1
from tools.report.judged import labelled_names, match_classes, shorten, tell_nothing_shared

log = logging.getLogger(__name__)

STAGES = ("letterbox", "network", "map")


@dataclass(frozen=True, slots=True, eq=False)
class MapRun:
    """One segmenter over one set of P pictures.

    Attributes:
        pictures: the set.
        classes: the segmenter's n, by class id.
        labelled: (n,) bool: the set labels it.
        counted: (P, n, n) int64, see `edged.vision.confusion`.
        boundaries: (P, n) see `boundary_f1`.
        left_out: pixels of each class that the set labels and the segmenter does not know: they count neither way.
        void: pixels of which the set says nothing.
        stages_ms: (P, 3) what each of `STAGES` took for each picture.
    """

    pictures: PictureSet
    classes: tuple[str, ...]
    labelled: NDArray[np.bool_]
    counted: NDArray[np.int64]
    boundaries: NDArray[np.float64]
    left_out: Mapping[str, int]
    void: int
    stages_ms: NDArray[np.float64]


class Judge:
    """A segmenter's maps beside the masks of one set, both at the pictures' own size and with the segmenter's classes.

    Attributes:
        labelled: (n,) bool: the set labels the class of the segmenter; see `make_judges` for those that label none.
    """

    def __init__(self, segmenter: Segmenter, pictures: PictureSet) -> None:
        self.segmenter = segmenter
        self.pictures = pictures
        self.classes = segmenter.manifest.classes
        places = match_classes(pictures.classes, self.classes)
        is_judged = pictures.labelled & (places >= 0)
        self._meaning = np.full(256, VOID, np.uint8)
        self._meaning[: len(places)] = np.where(is_judged, places, VOID)
        self.labelled = np.isin(np.arange(len(self.classes)), places[is_judged])
        self._strangers = np.flatnonzero(pictures.labelled & (places < 0))

    def look(self, picture: Picture) -> Judged:
        """What the segmenter says of a picture, and what is there.

        Raises:
            InputError: the picture or its mask cannot be decoded, or they are of two sizes.
            InferenceError: the network failed.
        """
        pixels_rgb, mask = picture.pixels_rgb(), picture.mask.indexes()
        height, width = pixels_rgb.shape[:2]
        if mask.shape != (height, width):
            mask_size = f"{mask.shape[1]}x{mask.shape[0]}"
            raise InputError(
                f"{picture.mask.name}: is {mask_size}, and its picture {width}x{height}: a mask has a pixel for each"
            )
        began_s = time.perf_counter()
        prepared = self.segmenter.prepare([pixels_rgb])
        prepared_s = time.perf_counter()
        outputs = self.segmenter.infer(prepared)
        inferred_s = time.perf_counter()
        (found,) = self.segmenter.decode(outputs, prepared.transforms)
        moments_s = (began_s, prepared_s, inferred_s, time.perf_counter())
        pixels = np.bincount(mask.ravel(), minlength=256)
        return Judged(
            pixels_rgb,
            resized(found.labels, width=width, height=height),
            self._meaning[mask],
            {self.pictures.classes[number]: int(pixels[number]) for number in self._strangers},
            1000 * np.diff(moments_s),
        )

    def run(self, tolerance: Tolerance) -> MapRun:
        """Look at every picture.

        Raises:
            InputError, InferenceError: see `look`.
        """
        n = len(self.classes)
        counted, boundaries, stages_ms = [], [], []
        left_out: Counter[str] = Counter(dict.fromkeys((self.pictures.classes[number] for number in self._strangers), 0))
        n_pixels = 0
        for picture in self.pictures.pictures:
            one = self.look(picture)
            height, width = one.truth.shape
            counted.append(confusion(one.labels, one.truth, n))
            tolerance_px = tolerance.in_pixels(width=width, height=height)
            boundaries.append(boundary_f1(one.labels, one.truth, n, tolerance_px=tolerance_px))
            left_out.update(one.left_out)
            n_pixels += one.truth.size
            stages_ms.append(one.stages_ms)
        void = n_pixels - int(np.sum(counted)) - left_out.total()
        return MapRun(
            self.pictures,
            self.classes,
            self.labelled,
            np.array(counted),
            np.array(boundaries),
            dict(left_out),
            void,
            np.array(stages_ms),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One picture, (H, W, 3) uint8 RGB.

    Attributes:
        labels: (H, W) uint8, what the segmenter says.
        truth: (H, W) uint8, what the mask says, by the segmenter's classes, `VOID` where that is none of them.
        left_out: pixels of each class that the set labels and the segmenter does not know.
        stages_ms: (3,) what each of `STAGES` took.
    """

    pixels_rgb: Pixels
    labels: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    left_out: Mapping[str, int]
    stages_ms: NDArray[np.float64]


def make_judges(segmenter: Segmenter, sets: Sequence[PictureSet]) -> list[Judge]:
    """One for each set that labels a class of the segmenter. Others are passed over with a warning.

    Raises:
        InputError: there is none.
    """
    judges = [Judge(segmenter, one) for one in sets]
    shared = [one for one in judges if one.labelled.any()]
    if not shared:
        raise InputError(f"{segmenter.manifest.name}: {tell_nothing_shared(segmenter.manifest.classes, sets)}")
    for one in judges:
        if one not in shared:
            names = shorten(labelled_names(one.pictures))
            log.warning("passed over: set %s labels no class of the engine, but %s", one.pictures.name, names)
    return shared
