"""Random numbers of one sample, apart for each kind of change.

The rule: what a kind draws depends on the sample's seed, the kind's name and the tile of a mosaic, on nothing else. So switching
one kind on, off or further changes that kind alone: the same sample is still mirrored, moved and dimmed as before. A kind that is
off draws nothing.
"""

from __future__ import annotations

import zlib

import numpy as np


class Chance:
    """One counter-based generator that is given another key for each kind.

    Keys differ, so the streams are independent, and taking a new key costs a fraction of seeding a new generator.
    Source: Philox, Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
    """

    def __init__(self, seed: int) -> None:
        """seed: of the sample, 0 <= seed < 2**64."""
        self._seed = seed
        self._bits = np.random.Philox(key=0)
        self._fresh = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def of(self, kind: str, *, tile: int = 0) -> np.random.Generator:
        """The kind's numbers from their beginning; valid until the next call.

        Args:
            kind: its key in the settings.
            tile: number of the picture within a mosaic.
        """
        self._fresh["state"]["key"] = np.array([self._seed, (tile << 32) + zlib.crc32(kind.encode())], np.uint64)
        self._bits.state = self._fresh
        return self._generator

    def happens(self, kind: str, share: float, *, tile: int = 0) -> np.random.Generator | None:
        """The kind's numbers, after the one that decided that it happens in this sample; None where it does not.

        Args:
            share: of samples in which it does; at 0 nothing is drawn.
        """
        if share <= 0:
            return None
        rng = self.of(kind, tile=tile)
        return rng if rng.random() < share else None
