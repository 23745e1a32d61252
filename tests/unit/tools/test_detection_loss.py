"""What the loss teaches, and about what it is silent."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the loss needs the training environment: pip install torch")

from tools.detection_loss import LossSettings, Targets, detection_loss, generalised_iou, iou  # noqa: E402
from tools.nets.yolo import Places, Predictions, Yolo, YoloSettings  # noqa: E402
from tools.training import Part  # noqa: E402

pytestmark = pytest.mark.torch

ANCHORS = (((16.0, 16.0),), ((32.0, 32.0),), ((64.0, 64.0),))
PERSON, CAR = 0, 1


@pytest.fixture
def places() -> Places:
    """Where a 64 pixel input is answered: 8x8, 4x4 and 2x2 cells."""
    return Yolo(YoloSettings(classes=("person", "car"), anchors=ANCHORS, width=0.25, neck=16)).places(64, 64)


def _predictions(places: Places) -> Predictions:
    """Every place answers its anchor, with score 0.1 for both classes."""
    boxes = torch.cat([places.centres - places.anchors / 2, places.centres + places.anchors / 2], dim=1)[None]
    return Predictions(boxes.clone().requires_grad_(), torch.full((1, len(places.centres), 2), -2.2).requires_grad_())


def _targets(*objects: tuple[int, list[float], bool], labelled: tuple[bool, bool] = (True, True)) -> Targets:
    """objects: class, box, ignored."""
    return Targets(
        torch.tensor([box for _, box, _ in objects]).reshape(-1, 4),
        torch.tensor([kind for kind, _, _ in objects], dtype=torch.int64),
        torch.tensor([ignored for _, _, ignored in objects], dtype=torch.bool),
        torch.tensor(labelled),
    )


def _total(parts: dict[str, Part]) -> torch.Tensor:
    """The loss as the loop makes it of the parts."""
    return sum(part.weight * part.sum / part.over.clamp_min(1.0) for part in parts.values())


def _gradient(places: Places, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, classes) gradient of the logits and (R, 4) of the boxes, zeros where there is none."""
    predictions = _predictions(places)
    _total(detection_loss(predictions, places, [targets], LossSettings())).backward()
    boxes = predictions.boxes.grad
    return predictions.logits.grad[0], torch.zeros_like(predictions.boxes[0]) if boxes is None else boxes[0]


def test_loss_of_an_unlabelled_class_has_no_gradient_anywhere(places: Places) -> None:
    """A set that does not label cars teaches nothing about cars, neither that there are some nor that there are none."""
    targets = _targets((PERSON, [8.0, 8.0, 24.0, 24.0], False), labelled=(True, False))

    gradient, _ = _gradient(places, targets)

    assert (gradient[:, CAR] == 0).all()
    assert (gradient[:, PERSON] != 0).all()


def test_loss_of_an_object_of_an_unlabelled_class_teaches_nothing(places: Places) -> None:
    """A stray label of a class that the set does not label everywhere is not learnt from either."""
    targets = _targets((CAR, [8.0, 8.0, 24.0, 24.0], False), labelled=(True, False))

    gradient, boxes = _gradient(places, targets)

    assert (gradient[:, CAR] == 0).all()
    assert (boxes == 0).all()


def test_loss_of_a_labelled_picture_without_objects_lowers_every_score(places: Places) -> None:
    """An empty picture says that nothing is anywhere."""
    gradient, boxes = _gradient(places, _targets())

    assert (gradient > 0).all()
    assert (boxes == 0).all()


def test_loss_of_an_object_raises_its_best_place_and_lowers_far_ones(places: Places) -> None:
    """The place whose box is the object's is told to score; one in the far corner is told not to; the other class never is."""
    gradient, _ = _gradient(places, _targets((PERSON, [4.0, 4.0, 20.0, 20.0], False)))

    row = int(torch.nonzero((places.centres == 12.0).all(dim=1) & (places.strides[:, 0] == 8))[0])
    assert gradient[row, PERSON] < 0
    assert gradient[row, CAR] > 0
    assert gradient[63, PERSON] > 0


def test_loss_inside_an_ignored_box_is_silent_about_its_class_only(places: Places) -> None:
    """Where something may be, its class is not pushed down; the other class is; outside, both are."""
    gradient, _ = _gradient(places, _targets((PERSON, [0.0, 0.0, 32.0, 32.0], True)))

    inside = (places.centres <= 32).all(dim=1)
    assert (gradient[inside, PERSON] == 0).all()
    assert (gradient[inside, CAR] > 0).all()
    assert (gradient[~inside] > 0).all()


def test_loss_of_an_object_in_an_ignored_box_still_teaches_the_object(places: Places) -> None:
    """An ignored crowd does not hide the labelled person in it."""
    targets = _targets((PERSON, [0.0, 0.0, 32.0, 32.0], True), (PERSON, [4.0, 4.0, 20.0, 20.0], False))

    gradient, boxes = _gradient(places, targets)

    assert (gradient[:, PERSON] < 0).any()
    assert (boxes != 0).any()


def test_loss_falls_to_about_zero_when_taught(places: Places) -> None:
    """Plain descent on the answers themselves ends at the object's box with a high score, and nothing else."""
    truth = [6.0, 3.0, 24.0, 22.0]
    targets = _targets((CAR, truth, False))
    start = _predictions(places)
    boxes, logits = start.boxes.detach().requires_grad_(), start.logits.detach().requires_grad_()
    optimiser = torch.optim.Adam([{"params": [boxes], "lr": 0.3}, {"params": [logits], "lr": 0.2}])

    for _ in range(100):
        optimiser.zero_grad()
        _total(detection_loss(Predictions(boxes, logits), places, [targets], LossSettings())).backward()
        optimiser.step()

    boxes, logits = boxes.detach(), logits.detach()
    scores = torch.sigmoid(logits[0, :, CAR])
    best = int(scores.argmax())
    assert float(scores[best]) > 0.8
    assert float(iou(boxes[0, best : best + 1], torch.tensor([truth]))) > 0.9
    assert float(torch.sigmoid(logits[0, :, PERSON]).max()) < 0.05


@pytest.mark.parametrize(
    ("a", "b", "overlap", "generalised"),
    [
        pytest.param([0, 0, 2, 2], [0, 0, 2, 2], 1.0, 1.0, id="the same"),
        pytest.param([0, 0, 2, 2], [1, 0, 3, 2], 1 / 3, 1 / 3, id="half beside, hull full"),
        pytest.param([0, 0, 1, 1], [2, 0, 3, 1], 0.0, -1 / 3, id="apart, a third of the hull empty"),
        pytest.param([0, 0, 4, 4], [1, 1, 3, 3], 0.25, 0.25, id="inside"),
    ],
)
def test_overlaps_of_known_boxes(a: list[float], b: list[float], overlap: float, generalised: float) -> None:
    """IoU and generalised IoU as computed by hand."""
    first, second = torch.tensor([a], dtype=torch.float32), torch.tensor([b], dtype=torch.float32)

    assert float(iou(first, second)) == pytest.approx(overlap)
    assert float(generalised_iou(first, second)) == pytest.approx(generalised)
