"""Which two persons of a gallery an embedding resembles most: one exact matrix product, in blocks that fit a cache.

Similarity is the cosine of two unit vectors, -1 to 1. Nothing here is approximate: for a million people of 128 numbers an index
that leaves some out would gain little and could miss the runner-up, on which the decision rests as much as on the best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Combination = Literal["best", "average"]
"""How several templates of one person become one score: the best of their scores, or the score of their mean direction."""

UNIT_TOLERANCE = 0.01
"""How far the length of a template or an embedding may be from 1."""

_BLOCK_ROWS = 8192
"""Templates at once: at 128 numbers each 4 MiB, which the products of one block reuse from the cache."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person and how much they resemble: the cosine, -1 to 1."""

    person_id: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """The templates of neighbouring persons, side by side: a product over columns that lie together reads memory fastest.

    Attributes:
        columns: (D, B) float32, contiguous.
        starts: (P,) column at which each person begins.
        first_person: number of the first of them.
    """

    columns: NDArray[np.float32]
    starts: NDArray[np.int64]
    first_person: int

    def ends(self) -> NDArray[np.int64]:
        """(P,) column after the last one of each person."""
        return np.append(self.starts[1:], self.columns.shape[1])


class Matcher:
    """An immutable snapshot of a gallery, used by any number of threads.

    Args:
        templates: (T, D) float32 of unit length; copied.
        person_ids: whose each template is, T of them, in any order.
        version: of the gallery it was taken from.
        model_digest: SHA-256 of the encoder that the templates come from, hex.
        combination: how several templates of one person count.
        names: what people are called, by id; for those who show an answer.

    Raises:
        ValueError: the shapes do not fit, or a template is not finite or not of unit length: one row of NaN would make everybody
            unknown.
    """

    def __init__(
        self,
        templates: NDArray[np.float32],
        person_ids: Sequence[str],
        *,
        version: int,
        model_digest: str,
        combination: Combination = "best",
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if combination not in get_args(Combination):
            raise ValueError(f"combination: expected one of {', '.join(get_args(Combination))}, got {combination!r}")
        check_unit_rows(templates, "templates")
        if len(person_ids) != len(templates):
            raise ValueError(f"expected a person for each of {len(templates)} templates, got {len(person_ids)}")
        self.version = version
        self.model_digest = model_digest
        self.names = names
        self.dimension = templates.shape[1]
        self.person_ids, starts, templates = _group(templates, person_ids)
        if combination == "average" and len(starts) < len(templates):
            templates = np.add.reduceat(templates, starts, axis=0)
            lengths = np.linalg.norm(templates, axis=1, keepdims=True)
            templates /= np.where(lengths > 0, lengths, 1)  # templates that cancel each other resemble nobody
            starts = np.arange(len(templates))
        self._blocks = _cut(templates, starts)

    def __len__(self) -> int:
        """How many persons there are."""
        return len(self.person_ids)

    @property
    def n_templates(self) -> int:
        """How many templates are compared; one a person where they were averaged."""
        return sum(block.columns.shape[1] for block in self._blocks)

    def rows(self) -> tuple[NDArray[np.float32], list[str]]:
        """The templates (T, D) as they are compared, a copy, and whose each is."""
        templates = [block.columns.T for block in self._blocks]
        counts = [n for block in self._blocks for n in block.ends() - block.starts]
        owners = [person_id for person_id, n in zip(self.person_ids, counts, strict=True) for _ in range(n)]
        return np.concatenate(templates) if templates else np.zeros((0, self.dimension), np.float32), owners

    def search(self, embeddings: NDArray[np.float32]) -> list[tuple[Candidate, ...]]:
        """The two persons that each embedding (N, D) resembles most, the better first; fewer where there are fewer.

        Of equal scores the person comes first whose templates did.

        Raises:
            ValueError: the embeddings are not (N, D) float32, finite and of unit length.
        """
        self._check(embeddings)
        n = len(embeddings)
        scores = np.full((n, 2), -np.inf, np.float32)
        persons = np.full((n, 2), -1, np.int64)
        for first_person, by_person in self._scored_blocks(embeddings):
            best = by_person.max(axis=1)
            for row in np.flatnonzero(best > scores[:, 1]):  # few, once the first blocks are done
                _insert_best_two(by_person[row], first_person, scores[row], persons[row])
        return [
            tuple(Candidate(self.person_ids[person], float(score)) for person, score in zip(*each, strict=True) if person >= 0)
            for each in zip(persons, scores, strict=True)
        ]

    def score(self, embeddings: NDArray[np.float32], person_id: str) -> NDArray[np.float32]:
        """How much each embedding (N, D) resembles one person: (N,).

        Raises:
            KeyError: nobody has this id here.
            ValueError: as for `search`.
        """
        self._check(embeddings)
        try:
            person = self.person_ids.index(person_id)
        except ValueError:
            raise KeyError(person_id) from None
        block = next(block for block in reversed(self._blocks) if block.first_person <= person)
        start, end = (int(each[person - block.first_person]) for each in (block.starts, block.ends()))
        return (embeddings @ block.columns[:, start:end]).max(axis=1)

    def _check(self, embeddings: NDArray[np.float32]) -> None:
        check_unit_rows(embeddings, "embeddings")
        if len(self) and embeddings.shape[1] != self.dimension:
            raise ValueError(f"embeddings: expected {self.dimension} numbers each, got {embeddings.shape[1]}")

    def _scored_blocks(self, embeddings: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The number of a block's first person, and the scores (N, persons of the block); they are valid until the next block."""
        most = max((block.columns.shape[1] for block in self._blocks), default=0)
        room = np.empty(len(embeddings) * most, np.float32)
        for block in self._blocks:
            n = block.columns.shape[1]
            products = np.matmul(embeddings, block.columns, out=room[: len(embeddings) * n].reshape(len(embeddings), n))
            if len(block.starts) < n:
                products = np.maximum.reduceat(products, block.starts, axis=1)
            yield block.first_person, products


def check_unit_rows(rows: NDArray[np.float32], name: str) -> None:
    """See that rows (N, D) are float32, finite and of unit length.

    Raises:
        ValueError: they are not; the message names the first row that is wrong.
    """
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise ValueError(f"{name}: expected (N, D) float32, got {rows.shape} {rows.dtype}")
    squares = np.einsum("nd,nd->n", rows, rows)
    wrong = ~(np.abs(np.sqrt(squares) - 1) <= UNIT_TOLERANCE)  # a NaN is not within anything
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"{name}: row {row}: expected finite numbers of unit length, got length {np.sqrt(squares[row]):.4g}")


def _group(
    templates: NDArray[np.float32], person_ids: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float32]]:
    """Persons in the order in which they first appear, the row at which each begins, and the templates in that order."""
    numbers: dict[str, int] = {}
    persons = np.fromiter((numbers.setdefault(each, len(numbers)) for each in person_ids), np.int64, len(person_ids))
    if np.any(np.diff(persons) < 0):
        order = np.argsort(persons, kind="stable")
        persons, templates = persons[order], templates[order]
    return tuple(numbers), np.searchsorted(persons, np.arange(len(numbers))), templates


def _cut(templates: NDArray[np.float32], starts: NDArray[np.int64]) -> tuple[_Block, ...]:
    """Templates (T, D), of persons that begin at these rows (P,), in blocks of about `_BLOCK_ROWS`, never cut inside a person."""
    n = len(templates)
    persons = np.unique(np.append(np.searchsorted(starts, np.arange(0, n, _BLOCK_ROWS)), len(starts)))
    rows = np.append(starts, n)[persons]
    return tuple(
        _Block(np.ascontiguousarray(templates[row:next_row].T), starts[person:next_person] - row, int(person))
        for row, next_row, person, next_person in zip(rows, rows[1:], persons, persons[1:], strict=False)
    )


def _insert_best_two(
    by_person: NDArray[np.float32], first_person: int, scores: NDArray[np.float32], persons: NDArray[np.int64]
) -> None:
    """Put the best two of one embedding's scores (P,) among its best two so far, (2,) each, descending. Changes all arrays."""
    for _ in range(2):
        best = int(by_person.argmax())
        score = by_person[best]
        if not score > scores[1]:
            return
        if score > scores[0]:
            scores[1], persons[1] = scores[0], persons[0]
        place = 0 if score > scores[0] else 1
        scores[place], persons[place] = score, first_person + best
        by_person[best] = -np.inf
