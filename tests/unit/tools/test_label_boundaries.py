"""How well borders between classes lie, on maps whose borders are known."""

from __future__ import annotations

import numpy as np
import pytest

from edged.errors import InputError
from tools.label_boundaries import PUBLISHED, Tolerance, boundary_f1, parse_tolerance

VOID = 255


def make_halves(edge: int, *, width: int = 20, height: int = 10) -> np.ndarray:
    """(height, width): class 0 left of a column, class 1 from there on."""
    labels = np.zeros((height, width), np.uint8)
    labels[:, edge:] = 1
    return labels


def test_boundary_f1_of_the_truth_itself_is_one() -> None:
    """Without any tolerance; a class that has no border has no figure."""
    truth = make_halves(8)

    assert boundary_f1(truth, truth, 3, tolerance_px=0) == pytest.approx([1, 1, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("tolerance_px", "score"), [pytest.param(2, 0, id="too far"), pytest.param(3, 1, id="as far as it may be")]
)
def test_boundary_f1_of_a_border_three_pixels_off_depends_on_the_tolerance(tolerance_px: float, score: float) -> None:
    """At the tolerance it is near enough."""
    found = boundary_f1(make_halves(11), make_halves(8), 2, tolerance_px=tolerance_px)

    assert found.tolist() == [score, score]


def test_boundary_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    """A second border that is said and is not there: half of the border pixels of both classes are wrong, none is missed."""
    truth, labels = make_halves(8), make_halves(8)
    labels[:, 15:] = 0

    found = boundary_f1(labels, truth, 2, tolerance_px=1)

    assert found == pytest.approx([2 * 0.5 * 1 / 1.5] * 2)


def test_boundary_f1_of_a_class_in_one_map_alone_is_zero() -> None:
    """Said and not there, or there and not said."""
    truth, labels = make_halves(8), make_halves(8)
    labels[4:6, 2:4] = 2

    assert boundary_f1(labels, truth, 3, tolerance_px=1)[2] == 0
    assert boundary_f1(truth, labels, 3, tolerance_px=1)[2] == 0


def test_boundary_f1_sees_no_border_along_void() -> None:
    """Between the classes lies a strip that nobody knows: there is nothing to judge, whatever is said in it."""
    truth = make_halves(8)
    truth[:, 6:10] = VOID

    assert np.isnan(boundary_f1(make_halves(8), truth, 2, tolerance_px=1)).all()


def test_boundary_f1_counts_no_border_at_the_picture_s_edge() -> None:
    """A picture of one class has none."""
    road = np.zeros((6, 6), np.uint8)

    assert np.isnan(boundary_f1(road, road, 2, tolerance_px=1)).all()


@pytest.mark.parametrize(
    ("text", "tolerance", "pixels", "told"),
    [
        pytest.param("0.75%", PUBLISHED, 4.5, "0.75 % of the diagonal", id="the published share"),
        pytest.param("3px", Tolerance(3, is_ratio=False), 3, "3 px", id="pixels"),
        pytest.param(" 1.5 px ", Tolerance(1.5, is_ratio=False), 1.5, "1.5 px", id="with spaces"),
    ],
)
def test_parse_tolerance_reads_shares_and_pixels(text: str, tolerance: Tolerance, pixels: float, told: str) -> None:
    """In a picture of 480x360 the diagonal is 600 pixels."""
    found = parse_tolerance(text)

    assert found == tolerance
    assert found.in_pixels(width=480, height=360) == pytest.approx(pixels)
    assert str(found) == told


@pytest.mark.parametrize("text", ["3", "-1px", "px", "0.75 %%", "1e3px", ""])
def test_parse_tolerance_of_anything_else_is_refused(text: str) -> None:
    """A bare number could be either."""
    with pytest.raises(InputError, match=r"expected a share of the diagonal such as 0\.75%, or pixels such as 3px"):
        parse_tolerance(text)
