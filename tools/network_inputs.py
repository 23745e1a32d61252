"""Pictures out of labelled sets as the daemon shows them to a network, whatever its task."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edged.errors import InputError
from edged.models.face import FaceEncoder
from edged.models.liveness import Liveness
from edged.models.manifest import Manifest
from edged.models.network import Network
from edged.types import Pixels
from edged.vision.crops import cut_square
from tools.datasets import Picture, PictureSet
from tools.datasets.opening import load_sets
from tools.face_crops import crop_faces

log = logging.getLogger(__name__)


def load_faces(data: Path, *, split: str | None) -> list[PictureSet]:
    """The sets of a folder whose pictures show a face each: those with a label for each picture. Others are passed over.

    Args:
        data, split: as in `load_sets`.

    Raises:
        InputError: a set is wrong, or none has such labels.
    """
    sets = load_sets(data, split=split)
    labelled = [one for one in sets if all(picture.label for picture in one.pictures)]
    for one in sets:
        if one not in labelled:
            log.warning("passed over: set %s has no label for each picture", one.name)
    if not labelled:
        where = f" in split {split!r}" if split else ""
        raise InputError(f"{data}: no set there has a label for each picture{where}: name one whose pictures show a face each")
    return labelled


def choose_evenly(sets: Sequence[PictureSet], count: int) -> list[PictureSet]:
    """So many pictures, about the same number of each set where it has them, evenly over its length.

    Raises:
        InputError: fewer than one.
    """
    if count < 1:
        raise InputError(f"--pictures {count}: expected at least 1")
    share = -(-count // len(sets))
    chosen = []
    for one in sets:
        places = np.unique(np.linspace(0, len(one.pictures) - 1, share).astype(np.int64))
        chosen.append(replace(one, pictures=tuple(one.pictures[place] for place in places)))
    return chosen


def show(network: Network[Manifest], pictures: PictureSet) -> Iterator[Pixels]:
    """What a network is shown of each picture: an encoder the aligned face, a liveness network its square, others all of it.

    Of a picture without points the face is taken from about its middle; of one without a box the whole is the face.
    """
    match network:
        case FaceEncoder():
            yield from crop_faces(pictures, network.template).crops.pixels
        case Liveness():
            for picture in pictures.pictures:
                yield _cut_face(picture, network)
        case _:
            for picture in pictures.pictures:
                yield picture.pixels_rgb()


def _cut_face(picture: Picture, network: Liveness) -> Pixels:
    pixels_rgb = picture.pixels_rgb()
    height, width = pixels_rgb.shape[:2]
    box = picture.boxes[0] if len(picture.boxes) else np.array([0, 0, width, height])
    return cut_square(pixels_rgb, box, margin=network.manifest.margin, side_px=network.manifest.input.width)
