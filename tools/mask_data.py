"""Pictures with a class for every pixel, changed anew for each key; all follows from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from tools.augmentation.augment import augment
from tools.augmentation.sample import decode_picture
from tools.augmentation.settings import AugmentationSettings
from tools.datasets.pictures import PictureSet
from tools.training_data import Key

STRIDE_PX = 32
"""Sides of pictures are multiples of it."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskBatch:
    """Pictures of one size and their masks.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        masks: (N, H, W) int64 class ids, `VOID` where nothing is known.
    """

    images: torch.Tensor
    masks: torch.Tensor

    def to(self, device: torch.device) -> MaskBatch:
        """The same on a device."""
        return MaskBatch(self.images.to(device, non_blocking=True), self.masks.to(device, non_blocking=True))

    def pin_memory(self) -> MaskBatch:
        """Called by the loader where a GPU will fetch the pictures."""
        return MaskBatch(self.images.pin_memory(), self.masks.pin_memory())


class TrainingMasks(Dataset):
    """Decoded pictures of several sets with their masks; the same key gives the same sample.

    Args:
        sets: with masks of the same classes.
        settings: how the pictures of each set are changed.
        ratio: height over width of what is shown; a key's size is the width.
    """

    def __init__(self, sets: Sequence[PictureSet], *, settings: Sequence[AugmentationSettings], ratio: float, seed: int) -> None:
        self._settings, self._ratio, self._seed = settings, ratio, seed
        self._samples = [decode_picture(picture) for one in sets for picture in one.pictures]
        self._set_of = np.repeat(np.arange(len(sets)), [len(one.pictures) for one in sets])
        self._members = [
            [self._samples[place] for place in np.flatnonzero(self._set_of == number)] for number in range(len(sets))
        ]

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def masks(self) -> list[NDArray[np.uint8]]:
        """(H, W) of each picture as it is labelled."""
        return [sample.mask for sample in self._samples]

    def __getitem__(self, key: Key) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        set_number = self._set_of[key.picture]
        sample = augment(
            self._samples[key.picture],
            partners=self._members[set_number],
            size=(key.size, nearest_side(key.size * self._ratio)),
            settings=self._settings[set_number],
            rng=np.random.default_rng((self._seed, key.epoch, key.position)),
        )
        return sample.pixels_rgb.transpose(2, 0, 1), sample.mask


def nearest_side(side_px: float) -> int:
    """The multiple of 32 that a side comes nearest to, one at least."""
    return max(1, round(side_px / STRIDE_PX)) * STRIDE_PX


def collate_masks(items: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> MaskBatch:
    """The pictures of one batch with their masks; for `make_loader`."""
    images, masks = (torch.from_numpy(np.stack(each)) for each in zip(*items, strict=True))
    return MaskBatch(images, masks.long())
