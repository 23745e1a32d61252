"""Anchor sizes from boxes."""

from __future__ import annotations

import numpy as np
import pytest

from tools.anchors import find_anchors, size_overlaps


def test_find_anchors_of_clear_groups_gives_their_means() -> None:
    """Three groups of sizes give their three means, by rising area."""
    rng = np.random.default_rng(3)
    means = np.array([[10, 20], [60, 40], [150, 200]])
    sizes = np.concatenate([mean * rng.uniform(0.9, 1.1, (50, 2)) for mean in means[::-1]]).astype(np.float32)

    anchors = find_anchors(sizes, count=3)

    np.testing.assert_allclose(anchors, means, rtol=0.05)


def test_size_overlaps_of_known_sizes() -> None:
    """Boxes on one centre: the smaller sides' product over the union."""
    overlaps = size_overlaps(np.array([[2.0, 4.0]]), np.array([[4.0, 2.0], [2.0, 4.0]]))

    assert overlaps[0].tolist() == pytest.approx([4 / 12, 1.0])
