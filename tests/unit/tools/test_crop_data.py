"""Crops with labels: which come together in a batch, and what a key makes of them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from edged.errors import InputError  # noqa: E402
from tools.augmentation.settings import AugmentationSettings  # noqa: E402
from tools.crop_data import LabelPlan, TrainingCrops, collate_crops  # noqa: E402
from tools.crops import Crops, join_crops  # noqa: E402
from tools.training_data import Key, make_loader  # noqa: E402

pytestmark = pytest.mark.torch

COUNTS = [1, 2, 3, 4, 5, 9, 30, 1, 7]
"""Crops of each label."""
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))


def make_crops(labels: list[int], *, side: int = 40) -> Crops:
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in labels]
    classes = tuple(f"person {number}" for number in range(max(labels) + 1))
    return Crops(pixels, np.array(labels), classes, tuple(f"{number}.png" for number in range(len(labels))))


def make_plan(labels: np.ndarray = LABELS, **changes: object) -> LabelPlan:
    settings = {"labels_per_batch": 3, "crops_per_label": 4, "size": 32, "seed": 5, "epoch": 2}
    return LabelPlan(labels, **{**settings, **changes})


def shown(plan: LabelPlan) -> list[int]:
    return [key.picture for batch in plan for key in batch]


def test_plan_makes_batches_of_p_labels_with_k_crops() -> None:
    """Each batch has three labels, each with four crops side by side; no label of a single crop is there."""
    batches = list(make_plan())

    assert len(batches) == len(make_plan())
    for batch in batches:
        labels = LABELS[[key.picture for key in batch]].reshape(3, 4)
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0])) == 3
        assert not {0, 7} & set(labels[:, 0])


def test_plan_without_an_end_that_fills_no_batch_shows_every_crop() -> None:
    """With as many groups as fit, each crop of a label with two at least is shown; few are shown twice, to fill groups up."""
    labels = np.repeat([0, 1, 2, 3], [2, 4, 5, 7])  # 1 + 1 + 2 + 2 groups of 4

    pictures = shown(make_plan(labels, labels_per_batch=2))

    assert sorted(set(pictures)) == list(range(18))
    assert len(pictures) == 24
    assert max(np.bincount(pictures)) == 2


def test_plan_that_takes_single_crops_shows_them_as_a_whole_group() -> None:
    """A single crop is its own company."""
    labels = np.repeat([0, 1, 2], [1, 4, 4])

    assert np.bincount(shown(make_plan(labels, least_crops=1))).tolist() == [4, 1, 1, 1, 1, 1, 1, 1, 1]
    assert shown(make_plan(labels)) == []


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param([30, 2, 2, 2], 1, id="three labels a batch: one label cannot be in it twice"),
        pytest.param([8, 8, 8], 2, id="all full"),
        pytest.param([8, 8, 4, 4], 2, id="the scarce ones share"),
        pytest.param([8, 8], 0, id="too few labels"),
        pytest.param([1, 1, 1, 1], 0, id="none has two"),
        pytest.param([200, 200, 200], 8, id="no more than most_groups"),
    ],
)
def test_plan_makes_as_many_batches_as_can_be_filled(counts: list[int], expected: int) -> None:
    """The count is exact, whatever is drawn by lot, in every epoch."""
    labels = np.repeat(np.arange(len(counts)), counts)

    made = {len(list(make_plan(labels, epoch=epoch))) for epoch in range(20)}

    assert made == {expected} == {len(make_plan(labels))}


def test_plan_shared_by_three_is_the_plan_of_one() -> None:
    """The shares of a batch, one after the other, are the batch: whole labels, same positions."""
    shares = [list(make_plan(share=(rank, 3))) for rank in range(3)]

    assert [[*a, *b, *c] for a, b, c in zip(*shares, strict=True)] == list(make_plan())


@pytest.mark.parametrize("first_batch", [0, 1, 3, 99])
def test_plan_gone_on_with_is_the_rest_of_the_plan(first_batch: int) -> None:
    """What was shown is passed over, the rest stays."""
    assert list(make_plan(first_batch=first_batch)) == list(make_plan())[first_batch:]


def test_plan_of_another_epoch_is_another_order() -> None:
    """The same epoch is the same, the next one is not."""
    assert shown(make_plan()) == shown(make_plan())
    assert shown(make_plan(epoch=3)) != shown(make_plan())


def test_crops_of_a_key_are_the_same_again_and_others_for_another_position() -> None:
    """All changes follow from seed, epoch and position."""
    settings = AugmentationSettings(mosaic=0.0)
    crops = TrainingCrops(make_crops([0, 1, 1]), settings=settings, seed=7)

    first, again = crops[Key(1, 4, 2, 32)], crops[Key(1, 4, 2, 32)]
    other = crops[Key(1, 5, 2, 32)]

    assert first[0].shape == (3, 32, 32)
    assert first[1] == 1
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()


def test_crops_without_changes_are_fitted_into_the_size() -> None:
    """A crop of the very size comes through as it is."""
    made = make_crops([0, 1], side=32)
    crops = TrainingCrops(made, settings=AugmentationSettings(plain=1.0, mosaic=0.0), seed=7)

    pixels, label = crops[Key(0, 0, 1, 32)]

    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), made.pixels[1])
    assert label == 1


def test_crops_with_mosaics_are_refused() -> None:
    """A picture of four people has no label."""
    with pytest.raises(InputError, match=r"augmentation\.mosaic: expected 0"):
        TrainingCrops(make_crops([0]), settings=AugmentationSettings(), seed=7)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_of_crops_makes_batches_of_pictures_and_labels(workers: int) -> None:
    """Batches come in the plan's order, with workers as without."""
    made = make_crops([0, 0, 1, 1, 2, 2])
    crops = TrainingCrops(made, settings=AugmentationSettings(mosaic=0.0), seed=7)
    plan = make_plan(made.labels, labels_per_batch=3, crops_per_label=2)

    (batch,) = make_loader(crops, plan, workers=workers, collate=collate_crops)

    assert batch.images.shape == (6, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert batch.labels.tolist() == [int(made.labels[key.picture]) for key in next(iter(plan))]


def test_joined_crops_know_a_class_by_its_name() -> None:
    """Who is in two sets is one person."""
    first = Crops([np.zeros((2, 2, 3), np.uint8)] * 2, np.array([0, 1]), ("Bo", "Al"), ("a", "b"))
    second = Crops([np.ones((3, 3, 3), np.uint8)] * 2, np.array([1, 0]), ("Al", "Cy"), ("c", "d"))

    joined = join_crops([first, second])

    assert joined.classes == ("Al", "Bo", "Cy")
    assert [joined.classes[label] for label in joined.labels] == ["Bo", "Al", "Cy", "Al"]
    assert joined.names == ("a", "b", "c", "d")


def test_joined_crops_of_nothing_are_none() -> None:
    """No part, no crop."""
    assert len(join_crops([])) == 0


def test_taken_crops_keep_their_labels() -> None:
    """Rows are taken in the given order, the classes stay."""
    crops = make_crops([0, 1, 2])

    taken = crops.take(np.array([2, 0]))

    assert taken.labels.tolist() == [2, 0]
    assert taken.names == ("2.png", "0.png")
    assert taken.classes == crops.classes


@pytest.mark.parametrize(
    ("labels", "message"),
    [pytest.param([0], "expected labels", id="too few"), pytest.param([0, 5], "up to 5", id="no such class")],
)
def test_crops_that_do_not_fit_together_are_refused(labels: list[int], message: str) -> None:
    """A crop has one label that there is."""
    with pytest.raises(ValueError, match=message):
        Crops([np.zeros((2, 2, 3), np.uint8)] * 2, np.array(labels), ("a", "b"), ("x", "y"))
