"""Linear discriminants: directions along which labels lie far apart and pictures of one label near together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COMPONENTS = 800
"""Principal components in which discriminants are looked for: far fewer than pictures, or they would fit these alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Discriminants:
    """Numbers that tell labels apart: weights @ features + biases; over the pictures of mean 0, within a label of deviation 1.

    Attributes:
        weights: (dimension, F) float32.
        biases: (dimension,) float32.
    """

    weights: Tensor
    biases: Tensor


def find_discriminants(
    features: Tensor, labels: Tensor, *, dimension: int, components: int = COMPONENTS, ridge: float = 0.3
) -> Discriminants:
    """The best discriminants first; those that there are no labels for are the main components that are left.

    Every label counts alike, however many pictures it has.

    Args:
        features: (N, F) float; labels: (N,), numbered from 0 without a gap.
        components: of the features' main components that are looked at, `dimension` at least.
        ridge: what is added to the spread within labels, in parts of its mean: with few pictures it is known badly.

    Raises:
        ValueError: there are fewer pictures, features or components than dimensions.

    Source: Belhumeur, Hespanha, Kriegman, Eigenfaces vs. Fisherfaces, IEEE TPAMI 19(7), 1997, section 2.4; the ridge,
    Friedman, Regularized Discriminant Analysis, JASA 84, 1989.
    """
    n, width = features.shape
    components = min(components, n - 1, width)
    if components < dimension:
        raise ValueError(f"expected more than {dimension} pictures, features and components, got {n}, {width}, {components}")
    mean, deviation = features.mean(dim=0), features.std(dim=0).clamp_min(1e-3)
    scaled = ((features - mean) / deviation).float()
    _, axes = torch.linalg.eigh(scaled.T @ scaled / n)
    axes = axes[:, -components:].flip(1)  # (F, components), the widest first
    shown = scaled @ axes  # (N, components)
    counts = torch.bincount(labels).float()
    means = torch.zeros(len(counts), components).index_add_(0, labels, shown) / counts[:, None]
    within = (shown - means[labels]) / counts[labels, None].sqrt()
    spread = within.T @ within / len(counts)
    spread += ridge * spread.diagonal().mean().clamp_min(1e-6) * torch.eye(components)
    lengths, turns = torch.linalg.eigh(spread)
    whiten = turns / lengths.sqrt()
    between = means @ whiten
    between -= between.mean(dim=0)
    _, _, directions = torch.linalg.svd(between, full_matrices=True)
    weights = (axes @ whiten @ directions[:dimension].T / deviation[:, None]).T
    return Discriminants(weights.contiguous(), -(weights @ mean))
