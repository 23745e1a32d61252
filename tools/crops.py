"""Pictures of one thing each, with one label each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Pictures of a face, or another thing, each with its label.

    Attributes:
        pixels: N of (h, w, 3) uint8 RGB, of any sizes.
        labels: (N,) int64 into `classes`.
        classes: names of the labels: identities, or `live` and `spoof`.
        names: N names of the pictures, for messages.
    """

    pixels: Sequence[Pixels]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.pixels)
        if self.labels.shape != (n,) or len(self.names) != n:
            raise ValueError(f"expected labels ({n},) and {n} names, got {self.labels.shape} and {len(self.names)}")
        if n and not (self.labels.min() >= 0 and self.labels.max() < len(self.classes)):
            raise ValueError(f"expected labels from 0 to {len(self.classes) - 1}, got up to {self.labels.max()}")

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: NDArray[np.intp]) -> Crops:
        """Some of them, by row; the classes stay."""
        return Crops([self.pixels[row] for row in rows], self.labels[rows], self.classes, tuple(self.names[row] for row in rows))


def join_crops(parts: Sequence[Crops]) -> Crops:
    """All crops in one, the same name of a class being the same class wherever it stands; classes in order of their names."""
    classes = tuple(sorted({name for part in parts for name in part.classes}))
    place = {name: number for number, name in enumerate(classes)}
    labels = [np.array([place[name] for name in part.classes], np.int64)[part.labels] for part in parts]
    return Crops(
        [pixels for part in parts for pixels in part.pixels],
        np.concatenate([np.zeros(0, np.int64), *labels]),
        classes,
        tuple(name for part in parts for name in part.names),
    )
