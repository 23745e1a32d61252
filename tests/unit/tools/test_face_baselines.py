"""Local binary patterns: which they are, and how faces are compared by them."""

from __future__ import annotations

import numpy as np
import pytest

from tools.face_baselines import lbp_histograms, lbp_scores


def test_histograms_of_a_flat_face_have_one_pattern_in_each_cell() -> None:
    """All neighbours are as bright as the middle: the uniform pattern of eight ones, everywhere."""
    (histogram,) = lbp_histograms([np.full((112, 112, 3), 90, np.uint8)])

    cells = histogram.reshape(49, 59)
    np.testing.assert_allclose(cells.sum(axis=1), 1)
    assert (cells.max(axis=1) == 1).all()
    assert len(set(cells.argmax(axis=1))) == 1


def test_histograms_do_not_see_how_bright_it_is() -> None:
    """More light changes no pattern."""
    face = np.random.default_rng(0).integers(0, 100, (112, 112, 1), np.uint8).repeat(3, axis=2)

    dim, bright = lbp_histograms([face, face + 100])

    np.testing.assert_array_equal(dim, bright)


def test_scores_are_the_chi_square_distance_by_hand() -> None:
    """(1 - 0)^2 / 1 twice; bins that both lack count nothing; the same is 0, the most there is."""
    a, b = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])

    assert lbp_scores(a, b) == pytest.approx([-2.0])
    assert lbp_scores(a, a) == pytest.approx([0.0])
