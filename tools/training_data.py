"""What one epoch shows the network: which pictures, in which order, at which size, changed how; all follows from the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from tools.augmentation.augment import augment
from tools.augmentation.sample import Sample, decode_picture
from tools.augmentation.settings import AugmentationSettings
from tools.datasets import PictureSet
from tools.detection_loss import Targets
from tools.training import Trainer


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures of one size and what is known of them.

    Attributes:
        images: (N, 3, size, size) uint8 RGB.
        targets: N of them.
    """

    images: torch.Tensor
    targets: list[Targets]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        targets = [target.to(device) for target in self.targets]
        return Batch(self.images.to(device, non_blocking=True), targets)

    def pin_memory(self) -> Batch:
        """Called by the loader where a GPU will fetch the pictures."""
        return Batch(self.images.pin_memory(), self.targets)


@dataclass(frozen=True, slots=True)
class Key:
    """One sample of one epoch."""

    epoch: int
    position: int
    picture: int
    size: int


class TrainingPictures(Dataset):
    """Decoded pictures of several sets, changed anew for every key; the same key gives the same sample."""

    def __init__(self, sets: Sequence[PictureSet], *, settings: Sequence[AugmentationSettings], seed: int) -> None:
        """settings: how the pictures of each set are changed."""
        self._settings, self._seed = settings, seed
        self._samples = [decode_picture(picture) for one in sets for picture in one.pictures]
        self._set_of = np.repeat(np.arange(len(sets)), [len(one.pictures) for one in sets])
        self._labelled = [one.labelled for one in sets]
        self._members = [
            [self._samples[place] for place in np.flatnonzero(self._set_of == number)] for number in range(len(sets))
        ]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: Key) -> tuple[NDArray[np.uint8], Targets]:
        rng = np.random.default_rng((self._seed, key.epoch, key.position))
        set_number = self._set_of[key.picture]
        sample = augment(
            self._samples[key.picture],
            partners=self._members[set_number],  # of one set only: one rule of what is labelled
            size=(key.size, key.size),
            settings=self._settings[set_number],
            rng=rng,
        )
        return sample.pixels_rgb.transpose(2, 0, 1), _targets(sample, self._labelled[set_number])


def _targets(sample: Sample, labelled: NDArray[np.bool_]) -> Targets:
    return Targets(
        torch.from_numpy(sample.boxes),
        torch.from_numpy(sample.class_ids),
        torch.from_numpy(sample.ignored),
        torch.from_numpy(labelled),
        None if sample.points is None else torch.from_numpy(sample.points),
    )


@dataclass(slots=True)
class EpochPlan(Sampler):
    """Which samples make up an epoch: each picture of a set as often as its weight says (2.5: twice, and half of them once more).

    Attributes:
        counts: pictures of each set, in the order of `TrainingPictures`.
        weights: of each set.
        sizes: sides to draw from for each batch.
        batch: pictures of a batch, of all processes together.
        epoch: set before each epoch.
        first_batch: set where an interrupted epoch goes on.
        share: (rank, count): this process takes the rank-th of so many equal parts of every batch.
    """

    counts: Sequence[int]
    weights: Sequence[float]
    sizes: Sequence[int]
    batch: int
    seed: int
    epoch: int = field(default=0)
    first_batch: int = field(default=0)
    share: tuple[int, int] = field(default=(0, 1))

    def __len__(self) -> int:
        return sum(round(count * weight) for count, weight in zip(self.counts, self.weights, strict=True)) // self.batch

    def __iter__(self) -> Iterator[list[Key]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order, start = [], 0
        for count, weight in zip(self.counts, self.weights, strict=True):
            wanted = round(count * weight)
            rounds = [rng.permutation(count) + start for _ in range(wanted // count + 1)]
            order.append(np.concatenate(rounds)[:wanted])
            start += count
        shuffled = rng.permutation(np.concatenate(order))
        rank, count = self.share
        pictures = self.batch // count
        for number in range(len(self)):
            size = int(rng.choice(self.sizes))  # drawn also for batches that are passed over: the rest stays as it was
            if number >= self.first_batch:
                first = number * self.batch + rank * pictures
                positions = range(first, first + pictures)
                yield [Key(self.epoch, position, int(shuffled[position]), size) for position in positions]


def collate_targets(items: list[tuple[NDArray[np.uint8], Targets]]) -> Batch:
    """The pictures of one batch with their targets."""
    return Batch(torch.from_numpy(np.stack([pixels for pixels, _ in items])), [targets for _, targets in items])


def make_loader(
    pictures: Dataset,
    plan: Sampler,
    *,
    workers: int,
    pinned: bool = False,
    collate: Callable[[list[Any]], Any] = collate_targets,
) -> DataLoader:
    """Batches of the plan's present epoch; with workers they are made ahead in other processes.

    Args:
        pictures: answers to the plan's keys.
        pinned: for a GPU.
        collate: makes a batch of what `pictures` answers.
    """
    return DataLoader(
        pictures,
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=collate,
        prefetch_factor=4 if workers else None,
        pin_memory=pinned,
    )


def remaining_batches(
    pictures: Dataset,
    plan: Sampler,
    trainer: Trainer,
    *,
    workers: int,
    collate: Callable[[list[Any]], Any] = collate_targets,
) -> DataLoader:
    """What is left of the epoch that the trainer stands in.

    Args:
        plan: with `epoch` and `first_batch`.
        pictures, workers, collate: as `make_loader` has them.
    """
    plan.epoch, plan.first_batch = trainer.epoch, trainer.batch
    return make_loader(pictures, plan, workers=workers, pinned=trainer.processes.device.type == "cuda", collate=collate)
