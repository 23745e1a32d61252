"""How alike two embeddings are: four metrics, each telling more the more alike they are.

Recognition among many uses the cosine alone (`matching.py`), which one matrix product gives. Verifying that two pictures show one
person may use any: what is asked then is a single pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Metric(str, Enum):
    """How two embeddings are compared."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"
    CHI_SQUARE = "chi_square"
    LOGISTIC = "logistic"


class PairForm(str, Enum):
    """What a logistic unit is shown of two embeddings, one number a dimension, 0 where they agree."""

    ABSOLUTE = "absolute"
    CHI_SQUARE = "chi_square"


@dataclass(frozen=True, slots=True)
class PairClassifier:
    """A logistic unit that was taught with pairs of pictures: the probability that two embeddings are of one person.

    Attributes:
        form: what it is shown.
        weights: one a dimension.
        bias: added to the weighted sum.

    Sources: |f(a) - f(b)|, Koch, Zemel, Salakhutdinov, Siamese Neural Networks for One-shot Image Recognition, 2015; the
    chi-square form, Taigman, Yang, Ranzato, Wolf, DeepFace, CVPR 2014, section 4.2.
    """

    form: PairForm
    weights: tuple[float, ...]
    bias: float

    def __post_init__(self) -> None:
        if not self.weights or not np.isfinite([*self.weights, self.bias]).all():
            raise ValueError(f"expected a finite weight for each dimension and a finite bias, got {len(self.weights)} weights")

    def probability(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N,) probability that each pair is of one person; embeddings a, b: (N, D) of unit length."""
        if np.shape(a)[-1] != len(self.weights):
            raise ValueError(f"expected embeddings of {len(self.weights)} numbers, got {np.shape(a)[-1]}")
        raw = pair_form(a, b, self.form) @ np.array(self.weights) + self.bias
        return 0.5 * (1 + np.tanh(raw / 2))  # the logistic function, without overflow


def compare(
    a: NDArray[np.floating], b: NDArray[np.floating], metric: Metric, *, classifier: PairClassifier | None = None
) -> NDArray[np.float64]:
    """(N,) how alike the pairs are, higher the more.

    cosine: -1 to 1. euclidean: minus the distance, -2 to 0. chi_square: minus the distance, -2 to 0. logistic: a probability.

    Args:
        a, b: (N, D) embeddings of unit length; row i of one is compared with row i of the other.
        classifier: needed for `logistic`.

    Raises:
        ValueError: shapes differ, or the classifier is missing or of another dimension.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"expected two equal shapes (N, D), got {a.shape} and {b.shape}")
    if metric is Metric.COSINE:
        return (a * b).sum(axis=1)
    if metric is Metric.EUCLIDEAN:
        return -np.linalg.norm(a - b, axis=1)
    if metric is Metric.CHI_SQUARE:
        return -pair_form(a, b, PairForm.CHI_SQUARE).sum(axis=1)
    if classifier is None:
        raise ValueError("the metric logistic needs the classifier of the encoder's manifest, which has none")
    return classifier.probability(a, b)


def pair_form(a: NDArray[np.floating], b: NDArray[np.floating], form: PairForm) -> NDArray[np.float64]:
    """(N, D) what sets pairs apart, by dimension, never negative: |a - b|, or (p - q)^2 / (p + q) of their histograms."""
    if form is PairForm.ABSOLUTE:
        return np.abs(np.asarray(a, np.float64) - b)
    p, q = histogram(a), histogram(b)
    return (p - q) ** 2 / (p + q)


def histogram(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, D) embeddings as shares that are above 0 and add up to 1, so that chi-square has something to divide by.

    It is softmax(sqrt(D) * embedding): the numbers of a unit vector are about 1 / sqrt(D), so shares differ by factors around e.
    """
    embeddings = np.asarray(embeddings, np.float64)
    powers = np.exp(np.sqrt(embeddings.shape[-1]) * (embeddings - embeddings.max(axis=-1, keepdims=True)))
    return powers / powers.sum(axis=-1, keepdims=True)
