"""Crops of one thing each, with one label each: what a network that tells them apart is shown. All follows from the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from edged.errors import InputError
from edged.types import Pixels
from tools.augmentation.augment import augment
from tools.augmentation.sample import Sample
from tools.augmentation.settings import AugmentationSettings
from tools.crops import Crops
from tools.training_data import Key


@dataclass(frozen=True, slots=True, eq=False)
class CropBatch:
    """Crops of one size and their labels.

    Attributes:
        images: (N, 3, size, size) uint8 RGB.
        labels: (N,) int64.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> CropBatch:
        """The same on a device."""
        return CropBatch(self.images.to(device, non_blocking=True), self.labels.to(device, non_blocking=True))

    def pin_memory(self) -> CropBatch:
        """Called by the loader where a GPU will fetch the pictures."""
        return CropBatch(self.images.pin_memory(), self.labels.pin_memory())


class TrainingCrops(Dataset):
    """Crops changed anew for every key; the same key gives the same picture."""

    def __init__(self, crops: Crops, *, settings: AugmentationSettings, seed: int) -> None:
        """settings: how the crops are changed.

        Raises:
            InputError: crops would be put together to mosaics: what label would that have?
        """
        if settings.mosaic:
            raise InputError(f"augmentation.mosaic: expected 0 where each picture has one label, got {settings.mosaic:g}")
        self._crops, self._settings, self._seed = crops, settings, seed

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, key: Key) -> tuple[NDArray[np.uint8], int]:
        rng = np.random.default_rng((self._seed, key.epoch, key.position))
        sample = augment(
            _without_objects(self._crops.pixels[key.picture]),
            partners=(),
            size=(key.size, key.size),
            settings=self._settings,
            rng=rng,
        )
        return sample.pixels_rgb.transpose(2, 0, 1), int(self._crops.labels[key.picture])


def _without_objects(pixels_rgb: Pixels) -> Sample:
    return Sample(pixels_rgb, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))


def stack_pictures(pixels: Sequence[Pixels]) -> torch.Tensor:
    """(N, 3, h, w) uint8 of pictures (h, w, 3) of one size."""
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())


def collate_crops(items: Sequence[tuple[NDArray[np.uint8], int]]) -> CropBatch:
    """The crops of one batch; for `make_loader`."""
    return CropBatch(torch.from_numpy(np.stack([pixels for pixels, _ in items])), torch.tensor([label for _, label in items]))


@dataclass(slots=True)
class LabelPlan(Sampler):
    """Batches of P labels with K crops each ("PxK"), in which every crop has others of its label to be compared with.

    An epoch shows every crop of a label that has enough: its crops are shuffled and dealt into groups of K, the last one
    filled up with more of the same label, of each as few times as can be. A label with more than `most_groups` groups shows
    only so many, other ones in the next epoch. Labels of a batch are drawn by how many groups they have left, each once; what
    would not fill a batch is left out.

    Attributes:
        labels: (N,) of each crop.
        labels_per_batch, crops_per_label: P and K, of all processes together.
        size: side of the picture, pixels.
        most_groups: of a label in one epoch.
        least_crops: a label with fewer is not shown. 1: a single crop is compared with itself, changed otherwise each time.
        epoch: set before each epoch.
        first_batch: set where an interrupted epoch goes on.
        share: (rank, count): this process takes the rank-th of so many equal parts of every batch, whole labels.

    Source: PxK batches, Hermans, Beyer, Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017, section 2.
    """

    labels: NDArray[np.int64]
    labels_per_batch: int
    crops_per_label: int
    size: int
    seed: int
    most_groups: int = 8
    least_crops: int = 2
    epoch: int = field(default=0)
    first_batch: int = field(default=0)
    share: tuple[int, int] = field(default=(0, 1))

    def __len__(self) -> int:
        """As many batches as can be filled: no label can be in more of them than it has groups."""
        counts = np.sort(self._group_counts())
        for batches in range(int(counts.sum()) // self.labels_per_batch, 0, -1):
            if np.minimum(counts, batches).sum() >= batches * self.labels_per_batch:
                return batches
        return 0

    def __iter__(self) -> Iterator[list[Key]]:
        rank, count = self.share
        crops = self.labels_per_batch * self.crops_per_label
        for number, batch in enumerate(self._batches()):
            if number >= self.first_batch:
                start = rank * crops // count
                mine = range(start, start + crops // count)
                yield [Key(self.epoch, number * crops + place, batch[place], self.size) for place in mine]

    def _batches(self) -> list[list[int]]:
        """Positions of crops, batch by batch, label by label."""
        rng = np.random.default_rng((self.seed, self.epoch))
        groups = self._groups(rng)
        left = np.array([len(one) for one in groups])
        batches = []
        for remaining in range(len(self), 0, -1):
            drawn = self._draw_labels(left, remaining, rng)
            left[drawn] -= 1
            batches.append([position for label in drawn for position in groups[label][left[label]]])
        return batches

    def _draw_labels(self, left: NDArray[np.int64], remaining: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Labels of the next batch: those that must be in all that remain, the others by how many groups they have left."""
        due = rng.permutation(np.flatnonzero(left >= remaining))[: self.labels_per_batch]
        others = np.where(left >= remaining, 0, left)
        wanted = self.labels_per_batch - len(due)
        return np.concatenate([due, rng.choice(len(left), wanted, replace=False, p=others / others.sum())]) if wanted else due

    def _groups(self, rng: np.random.Generator) -> list[list[list[int]]]:
        """Groups of K crops, of each label that is shown."""
        groups = []
        for label, count in zip(self._shown_labels(), self._group_counts(), strict=True):
            crops = np.flatnonzero(self.labels == label)
            wanted = int(count) * self.crops_per_label
            order = np.concatenate([rng.permutation(crops) for _ in range(-(-wanted // len(crops)))])[:wanted].tolist()
            groups.append([order[start : start + self.crops_per_label] for start in range(0, wanted, self.crops_per_label)])
        return groups

    def _shown_labels(self) -> NDArray[np.int64]:
        labels, counts = np.unique(self.labels, return_counts=True)
        return labels[counts >= self.least_crops]

    def _group_counts(self) -> NDArray[np.int64]:
        """How many groups each shown label has."""
        _, counts = np.unique(self.labels, return_counts=True)
        return np.minimum(-(-counts[counts >= self.least_crops] // self.crops_per_label), self.most_groups)
