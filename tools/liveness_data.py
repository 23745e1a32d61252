"""Faces that were shown to a camera: live, or an attack of some kind. What training, thresholds and figures are made of."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from edged.models.manifest import LIVE
from edged.types import Pixels
from tools.datasets.mistakes import Mistakes
from tools.datasets.opening import read_set
from tools.datasets.pictures import Part, Picture, PictureSet
from tools.liveness_figures import KINDS, SPOOF

LABELS = (LIVE, *KINDS, SPOOF)
"""What the pictures of a set may be labelled with."""


@dataclass(frozen=True, slots=True, eq=False)
class Presentation:
    """One face in one picture.

    Attributes:
        picture: decoded when asked for.
        box: (4,) float32 xyxy of the face, pixels of the picture; None: the picture is the face.
        label: of LABELS.
        recording: where it comes from: what was recorded at one time resembles itself. Empty where nobody tells.
    """

    picture: Picture
    box: NDArray[np.float32] | None
    label: str
    recording: str = ""

    def face(self) -> tuple[Pixels, NDArray[np.float32]]:
        """The picture, (h, w, 3) uint8 RGB, and the box of the face in it, (4,).

        Raises:
            InputError: the picture cannot be decoded.
        """
        pixels_rgb = self.picture.pixels_rgb()
        height, width = pixels_rgb.shape[:2]
        return pixels_rgb, np.array([0, 0, width, height], np.float32) if self.box is None else self.box


def load_presentations(
    folder: Path, *, split: str | None, recordings: str = "", all_live: bool = False, allows_empty: bool = False
) -> list[Presentation]:
    """The faces of a set: a picture each, labelled `live` or with the attack; or boxes of faces, where all are live.

    Args:
        split, allows_empty: as in `load_set`.
        recordings: the column that tells where a picture comes from; empty: none.
        all_live: whatever the labels say, nobody pretends: photographs of people.

    Raises:
        InputError: the set cannot be read, or does not tell live from attack.
    """
    mistakes = Mistakes(folder)
    pictures = read_set(folder, split=split, mistakes=mistakes, group_column=recordings, allows_empty=allows_empty)
    mistakes.refuse()
    if all_live:
        return [Presentation(picture, box, LIVE) for picture in pictures.pictures for box in _boxes(picture, pictures)]
    _check_labels(pictures, folder)
    return [Presentation(picture, None, picture.label, picture.origin.group) for picture in pictures.pictures]


def load_split(data: Path, sets: Sequence[str], *, split: str, recordings: str) -> list[Presentation]:
    """The faces of several sets in a split; all but `train` may be empty.

    Args:
        data: the folder around the sets.
        recordings: as in `load_presentations`.

    Raises:
        InputError: a set cannot be read.
    """
    allows_empty = split != "train"
    parts = [load_presentations(data / name, split=split, recordings=recordings, allows_empty=allows_empty) for name in sets]
    return [one for part in parts for one in part]


def split_training(
    found: Sequence[Presentation], *, left_out: Collection[str], kept_back: float
) -> tuple[list[Presentation], list[Presentation], list[Presentation]]:
    """Of a train split: what is learnt from, what is kept back (`hold_back`), and the recordings that are left out."""
    learnt, kept = hold_back([one for one in found if one.recording not in left_out], kept_back)
    return learnt, kept, [one for one in found if one.recording in left_out]


def _boxes(picture: Picture, pictures: PictureSet) -> Sequence[NDArray[np.float32] | None]:
    """Those of the faces of a picture; none that is ignored, nor one without an area."""
    if pictures.part is not Part.BOXES:
        return [None]
    has_area = (picture.boxes[:, :2] < picture.boxes[:, 2:]).all(axis=1)
    return list(picture.boxes[has_area & ~picture.ignored])


def _check_labels(pictures: PictureSet, folder: Path) -> None:
    if pictures.part is not Part.LABEL:
        raise InputError(
            f"{folder}: has a {pictures.part.value} for each picture and no label such as live or replay; where every face is "
            "live say so with --live"
        )
    if strange := sorted({picture.label for picture in pictures.pictures} - set(LABELS)):
        raise InputError(
            f"{folder}: the labels {', '.join(strange[:6])} say neither live nor what attack; expected {', '.join(LABELS)}; "
            "where every face is live say so with --live"
        )


def hold_back(presentations: Sequence[Presentation], share: float) -> tuple[list[Presentation], list[Presentation]]:
    """Those to learn from, and the last part of each recording and label, which is kept back for the threshold.

    Neighbours in a recording are nearly the same picture, so that a share drawn by lot would be known by heart.

    Args:
        share: of each recording; a recording of several pictures keeps one of each part at least.
    """
    parts: dict[tuple[str, str], list[Presentation]] = {}
    for one in presentations:
        parts.setdefault((one.recording, one.label), []).append(one)
    learnt, kept = [], []
    for part in parts.values():
        n_kept = min(math.ceil(share * len(part)), len(part) - 1)
        learnt += part[: len(part) - n_kept]
        kept += part[len(part) - n_kept :]
    return learnt, kept


def kinds_of(presentations: Sequence[Presentation], kinds: Mapping[str, str]) -> list[str]:
    """What each is, live or the kind of attack.

    Args:
        kinds: what a label stands for in this set, where somebody knows more than the label tells: `{"spoof": "replay"}`.
    """
    return [kinds.get(one.label, one.label) for one in presentations]
