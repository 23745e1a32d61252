"""What a segmenter is taught: the right class at every pixel, rare classes counting more; and the overlap of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from tools.datasets.pictures import VOID
from tools.training import Part

RAREST_TIMES = 10.0
"""No class counts more than so many times what the median class does: a few pixels would outweigh whole pictures."""


class SegmentationLossSettings(BaseModel):
    """How much each part counts.

    Attributes:
        balance: how far rare classes count more: the exponent of (median share / share) of their pixels; 0 not at all, 1 wholly.
        dice: weight of the Dice loss beside the cross-entropy; 0: not computed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    balance: Annotated[float, Field(ge=0, le=1)] = 0.5
    dice: Annotated[float, Field(ge=0)] = 0.0


def class_weights(masks: Sequence[NDArray[np.uint8]], *, n_classes: int, balance: float) -> NDArray[np.float32]:
    """(n_classes,): of each class's pixels in the cross-entropy; a class that is in no mask counts 1.

    The share of a class is that in the pictures which show it, so that one that is in few pictures is not taken for a small one.

    Args:
        masks: (H, W) each, `VOID` where nothing is known.

    Source: Eigen & Fergus, Predicting Depth, Surface Normals and Semantic Labels, ICCV 2015, section 6.3.2, median frequency
    balancing.
    """
    counts = np.stack([np.bincount(mask.ravel(), minlength=256)[:n_classes] for mask in masks])
    known = counts.sum(axis=1, keepdims=True)
    seen, shown_in = counts.sum(axis=0), np.where(counts > 0, known, 0).sum(axis=0)
    weights = np.ones(n_classes)
    present = seen > 0
    shares = seen[present] / shown_in[present]
    weights[present] = np.minimum((np.median(shares) / shares) ** balance, RAREST_TIMES)
    return weights.astype(np.float32)


def segmentation_loss(logits: Tensor, masks: Tensor, *, weights: Tensor, settings: SegmentationLossSettings) -> dict[str, Part]:
    """The parts of the loss.

    Args:
        logits: (N, classes, H, W).
        masks: (N, H, W) int64 class ids, `VOID` where nothing counts.
        weights: (classes,).
    """
    known = masks != VOID
    pixels = F.cross_entropy(logits, masks, weight=weights, ignore_index=VOID, reduction="sum")
    parts = {"class": Part(pixels, weights[masks[known]].sum())}
    if settings.dice:
        parts["dice"] = dice_loss(logits, masks, weight=settings.dice)
    return parts


def dice_loss(logits: Tensor, masks: Tensor, *, weight: float = 1.0) -> Part:
    """1 - Dice, the mean over the classes that a picture shows, summed over pictures.

    Source: Milletari, Navab, Ahmadi, V-Net, 3DV 2016, section 3, with squares in the denominator.
    """
    known = (masks != VOID)[:, None]
    probabilities = torch.softmax(logits, dim=1) * known
    truth = F.one_hot(masks.clamp_max(logits.shape[1] - 1), logits.shape[1]).movedim(-1, 1) * known
    common = (probabilities * truth).sum(dim=(2, 3))
    both = probabilities.square().sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    shown = truth.amax(dim=(2, 3)) > 0
    losses = torch.where(shown, 1 - 2 * common / both.clamp_min(1e-6), 0.0)
    of_pictures = losses.sum(dim=1) / shown.sum(dim=1).clamp_min(1)
    return Part(of_pictures.sum(), torch.tensor(float(len(masks)), device=logits.device), weight)
