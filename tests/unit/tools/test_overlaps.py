"""Overlaps of boxes, against numbers worked out by hand."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the loss needs the training environment: pip install torch")

from tools.overlaps import complete_iou, distance_iou, generalised_iou, iou, shape_iou  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param([0, 0, 2, 2], [0, 0, 2, 2], (1.0, 1.0, 1.0, 1.0), id="the same"),
        pytest.param([0, 0, 2, 2], [1, 0, 3, 2], (1 / 3, 1 / 3, 1 / 3 - 1 / 13, 1 / 3 - 1 / 13), id="half beside, hull full"),
        pytest.param([0, 0, 1, 1], [1, 0, 2, 1], (0.0, 0.0, -1 / 5, -1 / 5), id="touching"),
        pytest.param([0, 0, 1, 1], [2, 0, 3, 1], (0.0, -1 / 3, -4 / 10, -4 / 10), id="apart, a third of the hull empty"),
        pytest.param([0, 0, 4, 4], [1, 1, 3, 3], (0.25, 0.25, 0.25, 0.25), id="inside, on one centre"),
        # v = 4 / pi^2 (atan 2 - atan 1/2)^2 = 0.16783, alpha = v / (2/3 + v) = 0.20111
        pytest.param([0, 0, 4, 2], [0, 0, 2, 4], (1 / 3, 1 / 12, 1 / 3 - 1 / 16, 0.23708), id="lying and standing"),
        pytest.param([1, 1, 1, 1], [0, 0, 2, 2], (0.0, 0.0, 0.0, 0.0), id="a point on the centre"),
    ],
)
def test_overlaps_of_known_boxes(a: list[float], b: list[float], expected: tuple[float, float, float, float]) -> None:
    """IoU, generalised, distance and complete IoU as computed by hand, in both orders."""
    first, second = torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)

    for one, other in ((first, second), (second, first)):
        found = [float(overlap(one, other)) for overlap in (iou, generalised_iou, distance_iou, complete_iou)]
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("overlap", "pulls"), [(iou, False), (generalised_iou, True), (distance_iou, True), (complete_iou, True)]
)
def test_overlap_of_boxes_apart_pulls_them_together_but_for_the_plain_one(overlap: object, pulls: bool) -> None:
    """That is what its successors were made for."""
    box = torch.tensor([0.0, 0.0, 1.0, 1.0], requires_grad=True)

    overlap(box, torch.tensor([2.0, 0.0, 3.0, 1.0])).backward()

    assert (float(box.grad[2]) > 0) is pulls


def test_overlap_of_all_pairs_is_a_table() -> None:
    """(M, 1, 4) against (R, 4) gives (M, R)."""
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0]])
    b = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]])

    table = iou(a[:, None], b)

    torch.testing.assert_close(table, torch.tensor([[1.0, 1 / 3, 0.0], [0.25, 0.0, 0.0]]))


def test_shape_iou_of_known_sizes() -> None:
    """Boxes on one centre: the smaller sides' product over the union."""
    found = shape_iou(torch.tensor([[2.0, 4.0]]), torch.tensor([[4.0, 2.0], [2.0, 4.0]]))

    torch.testing.assert_close(found, torch.tensor([4 / 12, 1.0]))
