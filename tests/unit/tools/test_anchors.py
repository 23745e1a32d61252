"""Anchor sizes from boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder

from edged.errors import InputError
from tools.anchors import draw_chart, find_anchors, main, mean_best_overlap, size_overlaps, split_by_stride


def _clusters() -> tuple[np.ndarray, np.ndarray]:
    """Three sizes, and fifty boxes about each, the largest first."""
    rng = np.random.default_rng(3)
    means = np.array([[10, 20], [60, 40], [150, 200]])
    return means, np.concatenate([mean * rng.uniform(0.9, 1.1, (50, 2)) for mean in means[::-1]]).astype(np.float32)


def test_find_anchors_of_clear_groups_gives_their_means() -> None:
    """Three groups of sizes give their three means, by rising area."""
    means, sizes = _clusters()

    np.testing.assert_allclose(find_anchors(sizes, count=3), means, rtol=0.05)


def test_find_anchors_measures_by_overlap_not_by_distance() -> None:
    """30 and 40 pixels are one group beside 300, 400; 3 and 30 are not: only their ratio counts."""
    sizes = np.array([[3, 3], [3, 3], [30, 30], [40, 40]], np.float32)

    np.testing.assert_allclose(find_anchors(sizes, count=2), [[3, 3], [35, 35]])


def test_mean_best_overlap_stops_rising_at_the_number_of_groups() -> None:
    """Up to three anchors each one helps much, after that hardly: that is what the curve is for."""
    _, sizes = _clusters()

    one, two, three, four = (mean_best_overlap(sizes, find_anchors(sizes, count=k)) for k in (1, 2, 3, 4))

    assert two - one > 0.1
    assert three - two > 0.1
    assert 0 <= four - three < 0.05


@pytest.mark.parametrize("count", [1, 2])
def test_find_anchors_as_many_as_boxes_gives_the_boxes(count: int) -> None:
    """Each is met exactly."""
    sizes = np.array([[4, 8], [20, 10]], np.float32)[:count]

    anchors = find_anchors(sizes, count=count)

    np.testing.assert_array_equal(anchors, sizes)
    assert mean_best_overlap(sizes, anchors) == 1.0


@pytest.mark.parametrize("boxes", [0, 2])
def test_find_anchors_of_too_few_boxes_is_refused(boxes: int) -> None:
    """Three anchors of two boxes would be invented."""
    with pytest.raises(InputError, match="too few for 3 anchors"):
        find_anchors(np.ones((boxes, 2), np.float32), count=3)


def test_size_overlaps_of_known_sizes() -> None:
    """Boxes on one centre: the smaller sides' product over the union."""
    overlaps = size_overlaps(np.array([[2.0, 4.0]]), np.array([[4.0, 2.0], [2.0, 4.0]]))

    assert overlaps[0].tolist() == pytest.approx([4 / 12, 1.0])


def test_split_by_stride_gives_three_each_in_whole_pixels() -> None:
    """By rising area: the small ones to the fine cells."""
    anchors = np.array([[k + 0.4, 2 * k + 0.6] for k in range(1, 10)], np.float32)

    assert split_by_stride(anchors)[0] == [[1, 3], [2, 5], [3, 7]]
    assert split_by_stride(anchors)[2] == [[7, 15], [8, 17], [9, 19]]


def test_draw_chart_draws_a_curve_that_rises(tmp_path: Path) -> None:
    """The curve's pixels are higher on the right."""
    draw_chart([0.2, 0.6, 0.9], tmp_path / "chart.png")

    chart = cv2.imread(str(tmp_path / "chart.png"))
    rows, columns = np.nonzero((chart == (180, 90, 20)).all(axis=2))
    assert rows[columns < columns.min() + 5].mean() > rows[columns > columns.max() - 5].mean() + 100


@pytest.mark.parametrize("name", ["missing/chart.png", "chart.words"])
def test_draw_chart_that_cannot_be_written_says_so(tmp_path: Path, name: str) -> None:
    """No silent success."""
    with pytest.raises(InputError, match=name):
        draw_chart([0.5], tmp_path / name)


def test_anchors_command_prints_the_curve_and_nine_anchors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All boxes of the drawn set are 24 by 28 of 80 by 64 pixels: at 320 they are 96 by 112, and half of that."""
    write_coco_folder(tmp_path / "small", pictures=12)

    assert main([str(tmp_path), "--plot", str(tmp_path / "chart.png")]) == 0

    printed = capsys.readouterr().out
    assert " 2 1.000" in printed
    assert "[48, 56]" in printed
    assert "[96, 112]" in printed
    assert (tmp_path / "chart.png").exists()


def test_anchors_command_without_a_set_exits_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder is named, with what was expected in it."""
    assert main([str(tmp_path)]) == 78

    assert "annotations.json" in capsys.readouterr().err
