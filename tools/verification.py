"""Is it one person? Pairs of pictures, and how well scores of theirs tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P pairs of pictures.

    Attributes:
        first, second: (P,) int64 positions of the pictures.
        same: (P,) bool: one person.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.same)


def all_pairs(labels: NDArray[np.int64]) -> Pairs:
    """Every two different pictures, once."""
    first, second = np.triu_indices(len(labels), k=1)
    return Pairs(first, second, labels[first] == labels[second])
