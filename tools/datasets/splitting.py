"""Which pictures train and which measure: whole groups, every class in both as far as that goes, the same for the same seed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from tools.datasets.mistakes import Mistakes
from tools.datasets.pictures import Part, Picture, PictureSet

TRIES = 8
"""So many orders of the groups are tried; the best balanced outcome counts."""
SWEEPS = 3
"""So often every group may change sides: the first time rare classes get their share, then the common ones are mended."""


def find_groups(found: PictureSet, *, pattern: str = "") -> list[str]:
    """The group of each picture: its column's value, or what a pattern finds in its file's name; alone where there is neither.

    Args:
        pattern: a regular expression; its first group counts, or all of it where it has none.

    Raises:
        InputError: it is no regular expression, or a name does not match it.
    """
    if not pattern:
        return [one.origin.group or one.origin.file for one in found.pictures]
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"pattern {pattern!r}: not a regular expression: {error}") from error
    mistakes = Mistakes(found.name)
    groups = []
    for one in found.pictures:
        match = expression.search(one.origin.file)
        if match is None:
            mistakes.add(one.origin.file, "", f"the pattern {pattern!r} does not match; each name must tell its group")
        groups.append((match[1] if expression.groups else match[0]) if match else "")
    mistakes.refuse()
    return [str(group) for group in groups]


def assign_splits(found: PictureSet, groups: Sequence[str], *, val_share: float, seed: int) -> list[str]:
    """`train` or `val` for each picture; those of another split keep it.

    Groups go to `val`, and back, one by one where that brings its share of the pictures and of each class nearer to what is
    wanted, those with rare classes first. A class that stands in one group only cannot be shared and does not count.

    Source: Sechidis et al., On the stratification of multi-label data, 2011: rarest first; here over groups, in several orders.

    Args:
        groups: of each picture.
        val_share: of `val`, between 0 and 1.
    """
    free = [number for number, one in enumerate(found.pictures) if one.origin.split in ("train", "val", "unlisted", "")]
    names = sorted({groups[number] for number in free})
    place = {name: row for row, name in enumerate(names)}
    counts = np.zeros((len(names), 1 + len(found.classes)))  # pictures, then objects of each class
    for number in free:
        counts[place[groups[number]]] += _counts(found.pictures[number], found)
    shares = counts[:, (counts > 0).sum(axis=0) > 1]
    shares = shares / shares.sum(axis=0)  # (groups, what counts)
    rng = np.random.default_rng(seed)
    outcomes = [_choose(shares, val_share, rng) for _ in range(TRIES if len(names) > 1 else 0)]
    best = min(outcomes, key=lambda outcome: outcome[0])[1] if outcomes else np.zeros(len(names), np.bool_)
    splits = [one.origin.split for one in found.pictures]
    for number in free:
        splits[number] = "val" if best[place[groups[number]]] else "train"
    return splits


def _counts(one: Picture, found: PictureSet) -> NDArray[np.float64]:
    counts = np.zeros(1 + len(found.classes))
    counts[0] = 1
    if found.part is Part.BOXES:
        np.add.at(counts, 1 + one.class_ids[~one.ignored], 1)
    elif found.part is Part.LABEL:
        counts[1 + found.classes.index(one.label)] = 1
    return counts


def _choose(shares: NDArray[np.float64], wanted: float, rng: np.random.Generator) -> tuple[float, NDArray[np.bool_]]:
    """How far one try stays from what is wanted, and (groups,) which are of `val`."""
    rarity = np.where(shares > 0, (shares > 0).sum(axis=0), np.inf).min(axis=1)  # groups that share the rarest class of each
    mixed = rng.permutation(len(shares))
    order = mixed[np.argsort(rarity[mixed], kind="stable")]
    is_val, have = np.zeros(len(shares), np.bool_), np.zeros(shares.shape[1])
    for _ in range(SWEEPS):
        for row in order:
            other = have - shares[row] if is_val[row] else have + shares[row]
            if _distance(other, wanted) < _distance(have, wanted):
                is_val[row], have = not is_val[row], other
    return _distance(have, wanted), is_val


def _distance(have: NDArray[np.float64], wanted: float) -> float:
    return float(((have - wanted) ** 2).sum())
