"""The order of an epoch: shared among processes, gone on with after an interruption."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from tools.training_data import EpochPlan, Key

pytestmark = pytest.mark.torch


def _keys(**changes: object) -> list[list[Key]]:
    """Batches of four, of ten pictures shown twice and three shown once."""
    settings = {"counts": [10, 3], "weights": [2.0, 1.0], "sizes": [64, 96], "batch": 4, "seed": 5, "epoch": 2}
    return list(EpochPlan(**{**settings, **changes}))


def test_plan_shared_by_two_is_the_plan_of_one() -> None:
    """The shares of a batch, one after the other, are the batch: same pictures, same positions, same size."""
    first, second = _keys(share=(0, 2)), _keys(share=(1, 2))

    assert [[*a, *b] for a, b in zip(first, second, strict=True)] == _keys()
    assert {len(batch) for batch in first} == {2}


@pytest.mark.parametrize("first_batch", [0, 1, 4, 5])
def test_plan_gone_on_with_is_the_rest_of_the_plan(first_batch: int) -> None:
    """What was shown is passed over; sizes and order of the rest stay; after the last batch there is nothing."""
    assert len(_keys()) == 5

    assert _keys(first_batch=first_batch) == _keys()[first_batch:]
