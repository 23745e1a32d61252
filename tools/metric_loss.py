"""Losses that teach distances: triplets, and classification with a margin between angles.

Sources: triplets and semi-hard negatives, Schroff, Kalenichenko, Philbin, FaceNet, CVPR 2015; the hardest of each batch, Hermans,
Beyer, Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017; a margin on the angle, Deng et al., ArcFace, CVPR
2019; a margin on its cosine, Wang et al., CosFace, CVPR 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.training import Part


@dataclass(frozen=True, slots=True)
class AngularSettings:
    """Classification by the angle to one direction an identity.

    Attributes:
        weight: in the whole loss; 0: off.
        kind: `angle`: the margin is added to the angle, radians (ArcFace). `cosine`: it is taken from the cosine (CosFace).
        margin: how much nearer than needed a picture must be to its own direction.
        scale: what cosines are multiplied by to be logits.
        smoothing: share of the target that is spread over all identities.
        rise_epochs: so long the margin rises from 0, linearly: at the start nothing is near to anything.
    """

    weight: float = 1.0
    kind: Literal["angle", "cosine"] = "cosine"
    margin: float = 0.3
    scale: float = 32.0
    smoothing: float = 0.05
    rise_epochs: float = 3.0

    def __post_init__(self) -> None:
        if not (
            self.weight >= 0 and 0 <= self.margin < 1 and self.scale > 0 and 0 <= self.smoothing < 1 and self.rise_epochs >= 0
        ):
            raise ValueError(
                f"expected weight and rise_epochs of 0 or more, margin and smoothing from 0 to below 1, scale above 0; got {self}"
            )


@dataclass(frozen=True, slots=True)
class TripletSettings:
    """Each picture nearer to one of its own identity than to any other's, by a margin.

    Attributes:
        weight: in the whole loss; 0: off.
        margin: between squared distances, which are 0 to 4 for unit vectors.
        mining: `semi_hard`: every pair of one identity with the nearest other that is farther than it. `batch_hard`: every
            picture with the farthest of its own and the nearest other.
        start_epoch: from this one on, counted from 1.
    """

    weight: float = 1.0
    margin: float = 0.2
    mining: Literal["semi_hard", "batch_hard"] = "semi_hard"
    start_epoch: int = 1

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and 0 <= self.margin < 4 and self.start_epoch >= 1):
            raise ValueError(f"expected weight of 0 or more, margin from 0 to below 4, start_epoch from 1 on; got {self}")


def angular_loss(cosines: Tensor, labels: Tensor, settings: AngularSettings, *, margin_share: float = 1.0) -> Part:
    """Cross-entropy of scaled cosines after a margin made the right one harder, summed over the pictures.

    Args:
        cosines: (N, identities) of the angles between each embedding and each identity's direction.
        labels: (N,) the right identity.
        margin_share: of the margin, while it rises.
    """
    margin = settings.margin * margin_share
    own = cosines.gather(1, labels[:, None])  # (N, 1)
    if settings.kind == "cosine":
        harder = own - margin
    else:
        sine = (1 - own.square()).clamp_min(1e-6).sqrt()
        turned = own * math.cos(margin) - sine * math.sin(margin)  # cos(angle + margin)
        # Beyond half a turn the cosine would rise again; from there on it goes on falling along a straight line, as in ArcFace.
        harder = torch.where(own > -math.cos(margin), turned, own - margin * math.sin(margin))
    logits = settings.scale * cosines.scatter(1, labels[:, None], harder)
    loss = F.cross_entropy(logits, labels, label_smoothing=settings.smoothing, reduction="sum")
    return Part(loss, torch.tensor(float(len(labels)), device=loss.device), settings.weight)


def triplet_loss(embeddings: Tensor, labels: Tensor, settings: TripletSettings) -> Part:
    """What is missing to the margin, summed over the triplets that mining finds.

    Args:
        embeddings: (N, dimension) of unit length.
        labels: (N,).
    """
    distances = squared_distances(embeddings)
    same = labels[:, None] == labels[None]
    mine = semi_hard if settings.mining == "semi_hard" else batch_hard
    anchors, positives, negatives = mine(distances.detach(), same)
    gaps = distances[anchors, positives] - distances[anchors, negatives] + settings.margin
    return Part(gaps.clamp_min(0).sum(), torch.tensor(float(len(anchors)), device=gaps.device), settings.weight)


def squared_distances(embeddings: Tensor) -> Tensor:
    """(N, N) squared Euclidean distances of unit vectors, 0 to 4."""
    return (2 - 2 * embeddings @ embeddings.T).clamp_min(0)


def semi_hard(distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Triplets (T,) of anchor, positive, negative: for every ordered pair of one label the nearest negative beyond the positive.

    Where none is beyond, the farthest there is: it is the least wrong of those that are too near. Harder ones, near the start,
    pull all embeddings into one point (FaceNet, section 3.2).

    Args:
        distances: (N, N); same: (N, N) bool.
    """
    anchors, positives = torch.nonzero(same & ~torch.eye(len(same), dtype=torch.bool, device=same.device), as_tuple=True)
    has_negative = ~same[anchors].all(dim=1)
    anchors, positives = anchors[has_negative], positives[has_negative]
    to_others = distances[anchors]  # (T, N)
    is_beyond = ~same[anchors] & (to_others > distances[anchors, positives][:, None])
    nearest_beyond = to_others.masked_fill(~is_beyond, math.inf).argmin(dim=1) if len(anchors) else anchors
    farthest = to_others.masked_fill(same[anchors], -math.inf).argmax(dim=1) if len(anchors) else anchors
    return anchors, positives, torch.where(is_beyond.any(dim=1), nearest_beyond, farthest)


def batch_hard(distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Triplets (T,) of anchor, positive, negative: every picture with the farthest of its label and the nearest of another.

    Args:
        distances: (N, N); same: (N, N) bool.
    """
    others_of_label = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    anchors = torch.nonzero(others_of_label.any(dim=1) & ~same.all(dim=1)).flatten()
    if not len(anchors):
        return anchors, anchors, anchors
    positives = distances.masked_fill(~others_of_label, -math.inf)[anchors].argmax(dim=1)
    negatives = distances.masked_fill(same, math.inf)[anchors].argmin(dim=1)
    return anchors, positives, negatives
