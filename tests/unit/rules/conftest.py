"""Tracks made by hand: a box of 40 x 100 pixels whose bottom centre is at (x, y)."""

from collections.abc import Callable

import numpy as np
import pytest

from edged.types import Track, TrackState


@pytest.fixture
def make_track() -> Callable[..., Track]:
    def make(number: int, x: float, y: float, **changed: object) -> Track:
        size = changed.pop("size", (40.0, 100.0))
        box = np.array([x - size[0] / 2, y - size[1], x + size[0] / 2, y], np.float32)
        facts = {
            "class_id": 0,
            "score": 0.8,
            "state": TrackState.CONFIRMED,
            "is_stationary": False,
            "is_detected": True,
            "first_s": 0.0,
            "seen_s": 0.0,
        }
        return Track(number=number, box=box, **(facts | changed))

    return make
