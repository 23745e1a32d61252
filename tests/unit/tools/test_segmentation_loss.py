"""What a segmenter is taught: cross-entropy with class weights, void ignored, and the overlap of each class."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from tools.datasets.pictures import VOID  # noqa: E402
from tools.segmentation_loss import (  # noqa: E402
    RAREST_TIMES,
    SegmentationLossSettings,
    class_weights,
    dice_loss,
    segmentation_loss,
)

pytestmark = pytest.mark.torch


def mask_of(*rows: list[int]) -> np.ndarray:
    """(H, W) uint8."""
    return np.array(rows, np.uint8)


def one_hot_logits(masks: torch.Tensor, *, n_classes: int, sure: float) -> torch.Tensor:
    """Logits that give the true class a lead of `sure`."""
    return sure * torch.nn.functional.one_hot(masks, n_classes).movedim(-1, 1).float()


def test_class_weights_are_the_median_share_over_the_share() -> None:
    """Shares 1/2, 1/4 and 1/4 of the pixels that are known; the median of them is 1/4."""
    masks = [mask_of([0, 0, 1, 2, VOID, VOID])]

    np.testing.assert_allclose(class_weights(masks, n_classes=3, balance=1.0), [0.5, 1, 1])
    np.testing.assert_allclose(class_weights(masks, n_classes=3, balance=0.5), [math.sqrt(0.5), 1, 1])
    np.testing.assert_allclose(class_weights(masks, n_classes=3, balance=0.0), [1, 1, 1])


def test_class_weights_look_at_the_pictures_that_show_a_class() -> None:
    """Half of one picture of two is a share of a half, not of a quarter."""
    masks = [mask_of([0, 0, 0, 0]), mask_of([0, 0, 1, 1])]

    np.testing.assert_allclose(class_weights(masks, n_classes=2, balance=1.0), [0.625 / 0.75, 0.625 / 0.5])


def test_class_weights_have_a_bound_and_an_unseen_class_counts_1() -> None:
    """One pixel in a thousand does not outweigh all the rest."""
    mask = np.zeros((100, 100), np.uint8)
    mask[0, 0] = 1
    mask[1:50] = 2

    weights = class_weights([mask], n_classes=4, balance=1.0)

    assert weights[1] == RAREST_TIMES
    assert weights[3] == 1


def test_cross_entropy_is_the_mean_of_known_pixels_by_their_weight() -> None:
    """By hand: two classes, logits equal: ln 2 at each; what is void does not change it, whatever is said there."""
    masks = torch.tensor([[[0, 1, VOID]]])
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 0, 0, 2] = 50
    weights = torch.tensor([1.0, 3.0])

    part = segmentation_loss(logits, masks, weights=weights, settings=SegmentationLossSettings())["class"]

    assert float(part.over) == 4
    assert float(part.sum) == pytest.approx(4 * math.log(2))


def test_cross_entropy_of_a_picture_of_void_alone_is_nothing() -> None:
    """No gradient, no division by nothing: the trainer divides by 1 at least."""
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    settings = SegmentationLossSettings(dice=1.0)

    parts = segmentation_loss(logits, torch.full((1, 2, 2), VOID), weights=torch.ones(3), settings=settings)
    sum(part.sum for part in parts.values()).backward()

    assert [float(part.sum) for part in parts.values()] == [0, 0]
    assert float(parts["class"].over) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_dice_of_a_sure_and_right_answer_is_nearly_nothing() -> None:
    """And of a sure wrong one 1, of each picture."""
    masks = torch.tensor([[[0, 0, 1]], [[1, 1, 1]]])

    assert float(dice_loss(one_hot_logits(masks, n_classes=3, sure=30), masks).sum) == pytest.approx(0, abs=1e-5)
    assert float(dice_loss(one_hot_logits((masks + 1) % 3, n_classes=3, sure=30), masks).sum) == pytest.approx(2, abs=0.9)


def test_dice_by_hand() -> None:
    """Class 0 has 2 of 3 pixels; 1/2 everywhere: 1 - 2*(1/2*2)/(3/4 + 2) and 1 - 2*(1/2)/(3/4 + 1), their mean."""
    expected = ((1 - 2 / 2.75) + (1 - 1 / 1.75)) / 2

    part = dice_loss(torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 0, 1]]]))

    assert float(part.sum) == pytest.approx(expected)
    assert float(part.over) == 1


def test_dice_looks_at_no_void_and_no_class_that_is_not_shown() -> None:
    """What is said of void, and of classes that the picture lacks where nothing is known, changes nothing."""
    masks = torch.tensor([[[0, 1, VOID]]])
    logits = torch.zeros(1, 3, 1, 3)
    changed = logits.clone()
    changed[0, 2, 0, 2] = 40

    assert float(dice_loss(changed, masks).sum) == float(dice_loss(logits, masks).sum)
