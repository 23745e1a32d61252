"""A gallery on disk, and people to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stand_ins.faces import STAND_IN_DIGEST, embedding_of

from edged.identity.encryption import KeyPlace
from edged.identity.gallery import Gallery, open_gallery

NOW_AT = 1_800_000_000.0


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def open_here(state_dir: Path) -> Iterator[Callable[[], Gallery]]:
    """Opens the gallery of the test's state directory; all are closed at the end."""
    opened: list[Gallery] = []

    def open_one() -> Gallery:
        opened.append(open_gallery(state_dir, KeyPlace(state_dir / "gallery.key")))
        return opened[-1]

    yield open_one
    for gallery in opened:
        gallery.close()


@pytest.fixture
def gallery(open_here: Callable[[], Gallery]) -> Gallery:
    return open_here()


def add(
    gallery: Gallery,
    name: str,
    number: int,
    *,
    model_digest: str = STAND_IN_DIGEST,
    expires_at: float | None = None,
    embedding: NDArray[np.float32] | None = None,
) -> str:
    """Enrol the drawn person of this number with what the stand-in says of them, or with another embedding; their id."""
    with gallery.transaction():
        person_id = gallery.add_person(name, consent="form 12", enrolled_at=NOW_AT, expires_at=expires_at)
        gallery.add_template(person_id, embedding_of(number) if embedding is None else embedding, model_digest=model_digest)
    return person_id
