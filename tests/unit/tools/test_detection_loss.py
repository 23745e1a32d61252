"""What the loss teaches, and about what it is silent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest

torch = pytest.importorskip("torch", reason="the loss needs the training environment: pip install torch")

from tools.assignment import Targets  # noqa: E402
from tools.detection_loss import LossSettings, detection_loss, point_loss, score_loss  # noqa: E402
from tools.nets.yolo import Places, Predictions, Yolo, YoloSettings, decode_boxes, encode_boxes  # noqa: E402
from tools.overlaps import iou  # noqa: E402
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
    offsets = torch.zeros(1, len(places.centres), 4, requires_grad=True)
    boxes = decode_boxes(offsets, places)
    boxes.retain_grad()
    return Predictions(boxes, offsets, torch.full((1, len(places.centres), 2), -2.2).requires_grad_())


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
        _total(detection_loss(Predictions(boxes, start.offsets, logits), places, [targets], LossSettings())).backward()
        optimiser.step()

    boxes, logits = boxes.detach(), logits.detach()
    scores = torch.sigmoid(logits[0, :, CAR])
    best = int(scores.argmax())
    assert float(scores[best]) > 0.8
    assert float(iou(boxes[0, best : best + 1], torch.tensor([truth]))) > 0.9
    assert float(torch.sigmoid(logits[0, :, PERSON]).max()) < 0.05


@pytest.mark.parametrize(
    ("kind", "logit", "wanted", "expected"),
    [
        pytest.param("log", 0.0, 1.0, 0.693147, id="log: -ln 1/2"),
        pytest.param("log", math.log(3), 0.0, 1.386294, id="log: -ln 1/4"),
        pytest.param("balanced", 0.0, 1.0, 0.693147, id="balanced: as log, weighed later"),
        pytest.param("focal", 0.0, 1.0, 0.043322, id="focal: 0.25 * 0.5^2 * ln 2"),
        pytest.param("focal", 0.0, 0.0, 0.129965, id="focal, empty: 0.75 * 0.5^2 * ln 2"),
        pytest.param("focal", math.log(3), 0.0, 0.584843, id="focal, sure and wrong: 0.75 * 0.75^2 * ln 4"),
        pytest.param("quality_focal", 0.0, 1.0, 0.173287, id="quality focal: 0.5^2 * ln 2"),
        pytest.param("quality_focal", math.log(3), 0.0, 0.779790, id="quality focal: 0.75^2 * ln 4"),
        pytest.param("quality_focal", 0.0, 0.5, 0.0, id="quality focal: half is what was wanted"),
    ],
)
def test_score_loss_of_known_answers(kind: str, logit: float, wanted: float, expected: float) -> None:
    """Each formula as computed by hand."""
    found = score_loss(torch.tensor(logit), torch.tensor(wanted), LossSettings(score=kind))

    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_encode_boxes_is_what_decode_boxes_undoes(places: Places) -> None:
    """Offsets of a box decode to the box, at every place that can say it."""
    offsets = torch.linspace(-2.0, 2.0, 4 * len(places.centres)).reshape(-1, 4)

    found = encode_boxes(decode_boxes(offsets, places), places)

    torch.testing.assert_close(found, offsets, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # the place answers 4..20 by 4..20, the object is 6..22 by -4..28: 14 * 16 / (256 + 512 - 224)
        pytest.param("iou", 1 - 224 / 544, id="iou"),
        pytest.param("giou", 1 - (224 / 544 - (18 * 32 - 544) / (18 * 32)), id="giou"),
        pytest.param("diou", 1 - (224 / 544 - 4 / (18**2 + 32**2)), id="diou"),
        # v = 4 / pi^2 (atan 1 - atan 1/2)^2 = 0.041956, alpha = v / (1 - 224 / 544 + v) = 0.066574
        pytest.param("ciou", 1 - (224 / 544 - 4 / (18**2 + 32**2)) + 0.066574 * 0.041956, id="ciou"),
        # ln(0.625 / 0.375)^2 + ln(2)^2: a quarter of a cell to the right, twice as high
        pytest.param("squared", 0.260944 + 0.480453, id="squared"),
    ],
)
def test_box_loss_of_a_known_box(places: Places, kind: str, expected: float) -> None:
    """One place, one object, each formula as computed by hand; the sum over the one match."""
    targets = _targets((CAR, [6.0, -4.0, 22.0, 28.0], False))
    settings = LossSettings(assignment="textbook", box=kind)

    part = detection_loss(_predictions(places), places, [targets], settings)["box"]

    assert float(part.over) == 1.0
    assert float(part.sum.detach()) == pytest.approx(expected, abs=1e-4)
    assert part.weight == settings.box_weight


def test_balanced_loss_weighs_all_objects_as_much_as_all_empty_places(places: Places) -> None:
    """Objects over their number, empty places over theirs, whatever the proportion."""
    predictions = _predictions(places)
    settings = LossSettings(assignment="textbook", score="balanced", spared_iou=0.99)

    parts = detection_loss(predictions, places, [_targets((CAR, [5.0, 4.0, 19.0, 20.0], False))], settings)

    full, empty = parts["score"], parts["score_empty"]
    assert (float(full.over), float(empty.over)) == (1.0, 2 * 84 - 1)
    assert float(full.sum.detach()) == pytest.approx(math.log1p(math.exp(2.2)), rel=1e-4)
    assert float(empty.sum.detach() / empty.over) == pytest.approx(math.log1p(math.exp(-2.2)), rel=1e-4)


@dataclass(frozen=True)
class _Pushes:
    """Where the loss of a network with objectness pushes: gradients (R,) and (R, classes)."""

    objectness: torch.Tensor
    classes: torch.Tensor


def _object_pushes(places: Places, targets: Targets, *, person: float = -2.2, **settings: object) -> _Pushes:
    """person: the logit of that class everywhere; the other's stays at -2.2."""
    start = _predictions(places)
    with torch.no_grad():
        start.logits[..., PERSON] = person
    objectness = torch.full((1, len(places.centres)), -1.0, requires_grad=True)
    predictions = Predictions(start.boxes, start.offsets, start.logits, objectness)
    _total(detection_loss(predictions, places, [targets], LossSettings(objectness=True, **settings))).backward()
    return _Pushes(objectness.grad[0], start.logits.grad[0])


@pytest.mark.parametrize("score", ["log", "focal", "balanced", "quality_focal"])
def test_objectness_of_a_fully_labelled_empty_picture_goes_down_everywhere(places: Places, score: str) -> None:
    """Nothing is there, and so nothing is said of what it would be."""
    pushes = _object_pushes(places, _targets(), score=score)

    assert (pushes.objectness > 0).all()
    assert (pushes.classes == 0).all()


@pytest.mark.parametrize("assignment", ["textbook", "task_aligned"])
def test_objectness_where_an_unlabelled_class_is_as_likely_is_never_pushed_down(places: Places, assignment: str) -> None:
    """A car may stand anywhere: only the person's place goes up, and elsewhere `person` goes down, `car` stays."""
    targets = _targets((PERSON, [4.0, 4.0, 20.0, 20.0], False), labelled=(True, False))

    pushes = _object_pushes(places, targets, assignment=assignment)

    assert (pushes.objectness <= 0).all()
    assert pushes.objectness[9] < 0
    assert pushes.classes[9, PERSON] < 0
    assert pushes.classes[63, PERSON] > 0
    assert (pushes.classes[:, CAR] == 0).all()


def test_objectness_of_a_set_that_leaves_a_class_unlabelled_goes_down_as_far_as_the_others_are_believed(places: Places) -> None:
    """At p(person) = 0.75 and p(car) = 0.1 the share is 0.88, and the push 0.76 of that of a fully labelled picture."""
    person = math.log(3.0)
    car = 1 / (1 + math.exp(2.2))

    partly = _object_pushes(places, _targets(labelled=(True, False)), person=person, score="log").objectness
    fully = _object_pushes(places, _targets(), person=person, score="log").objectness

    share = 0.75 / (0.75 + car)
    torch.testing.assert_close(partly, fully * (2 * share - 1))


def test_objectness_that_is_unknown_lowers_absent_classes_by_what_the_network_believes(places: Places) -> None:
    """The weight of "no person" is p(object): ln(1 + e^-2.2) / (1 + e) at each of 84 places."""
    start = _predictions(places)
    predictions = Predictions(start.boxes, start.offsets, start.logits, torch.full((1, 84), -1.0))
    settings = LossSettings(objectness=True, score="log")

    parts = detection_loss(predictions, places, [_targets(labelled=(True, False))], settings)

    assert float(parts["objectness"].sum) == 0.0
    assert float(parts["class"].sum.detach()) == pytest.approx(84 * math.log1p(math.exp(-2.2)) / (1 + math.e), rel=1e-4)


def test_objectness_inside_an_ignored_box_is_silent(places: Places) -> None:
    """Something may be there; if so, it may be of the ignored class but is no car, which the picture shows elsewhere."""
    pushes = _object_pushes(places, _targets((PERSON, [0.0, 0.0, 32.0, 32.0], True)))

    inside = (places.centres <= 32).all(dim=1)
    assert (pushes.objectness[inside] == 0).all()
    assert (pushes.objectness[~inside] > 0).all()
    assert (pushes.classes[inside, PERSON] == 0).all()
    assert (pushes.classes[inside, CAR] > 0).all()
    assert (pushes.classes[~inside] == 0).all()


def test_objectness_of_an_object_teaches_its_class_at_its_place_alone(places: Places) -> None:
    """Up for its class, down for the other, silent elsewhere: the textbook's class loss."""
    targets = _targets((PERSON, [5.0, 4.0, 19.0, 20.0], False))

    pushes = _object_pushes(places, targets, assignment="textbook", score="log", spared_iou=0.99)

    assert pushes.objectness[9] < 0
    assert (pushes.classes[9, PERSON] < 0, pushes.classes[9, CAR] > 0) == (True, True)
    others = torch.arange(84) != 9
    assert (pushes.objectness[others] > 0).all()
    assert (pushes.classes[others] == 0).all()


def test_objectness_of_a_spared_place_is_silent(places: Places) -> None:
    """The cell beside the object overlaps it well enough to be no mistake, whatever class it believes in."""
    pushes = _object_pushes(places, _targets((PERSON, [7.5, 4.0, 23.5, 20.0], False)), assignment="textbook")

    assert pushes.objectness[9] < 0
    assert pushes.objectness[10] == 0
    assert (pushes.classes[10] == 0).all()
    assert pushes.objectness[11] > 0


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, list[Targets]]:
    """Two drawn pictures of 64 pixels: a red person, a green car."""
    images = torch.full((2, 3, 64, 64), 110, dtype=torch.uint8)
    images[0, 0, 10:40, 8:24] = 220
    images[1, 1, 20:44, 20:60] = 220
    person, car = _targets((PERSON, [8.0, 10.0, 24.0, 40.0], False)), _targets((CAR, [20.0, 20.0, 60.0, 44.0], False))
    return images, [person, car]


@pytest.mark.parametrize("score", ["log", "focal", "balanced", "quality_focal"])
@pytest.mark.parametrize("box", ["iou", "giou", "diou", "ciou", "squared"])
@pytest.mark.parametrize("objectness", [False, True])
@pytest.mark.parametrize("assignment", ["textbook", "task_aligned"])
def test_every_choice_of_losses_teaches_a_network(
    batch: tuple[torch.Tensor, list[Targets]], assignment: str, objectness: bool, box: str, score: str
) -> None:
    """A few steps of the heads on two pictures lower the loss."""
    torch.manual_seed(1)
    settings = LossSettings(assignment=assignment, objectness=objectness, box=box, score=score)
    network = Yolo(YoloSettings(("person", "car"), ANCHORS, width=0.25, neck=16, objectness=objectness))
    optimiser = torch.optim.Adam([*network.mix.parameters(), *network.heads.parameters()], lr=0.2)
    images, targets = batch
    places = network.places(64, 64)
    with torch.no_grad():
        features = network.neck(network.backbone(images.float() / 127.5 - 1.0))
    losses = []

    for _ in range(20):
        optimiser.zero_grad()
        loss = _total(detection_loss(network.answer(features, places), places, targets, settings))
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))

    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def _points_part(places: Places, labelled: list[list[float]], found: torch.Tensor | None = None, **settings: object) -> Part:
    """Of one person's box of 16 x 16 with two points; every place answers its cell's middle for both, or what is given."""
    start = _predictions(places)
    found = places.centres[:, None].expand(1, -1, 2, -1) if found is None else found
    predictions = Predictions(start.boxes, start.offsets, start.logits, points=found)
    box = _targets((PERSON, [4.0, 4.0, 20.0, 20.0], False))
    targets = replace(box, points=torch.tensor([labelled]))
    settings = {"assignment": "textbook", **settings}
    return detection_loss(predictions, places, [targets], LossSettings(**settings))["points"]


def test_points_are_taught_by_their_distance_in_sides_of_the_box(places: Places) -> None:
    """The cell's middle is (12, 12): (16, 12) is a quarter of the box's side off in x, (12, 4) half of it in y."""
    part = _points_part(places, [[16.0, 12.0], [12.0, 4.0]], points="l1", points_weight=3.0)

    assert part.sum.item() == pytest.approx(0.25 + 0.5)
    assert part.over.item() == 2
    assert part.weight == 3.0


def test_points_that_are_unknown_teach_nothing(places: Places) -> None:
    """Neither the sum nor its gradient has them, and what it is divided by neither."""
    found = places.centres[:, None].expand(1, -1, 2, -1).clone().requires_grad_()

    part = _points_part(places, [[16.0, 12.0], [math.nan, math.nan]], found, points="l1")
    part.sum.backward()

    assert (part.sum.item(), part.over.item()) == (pytest.approx(0.25), 1)
    assert torch.isfinite(found.grad).all()
    assert found.grad[..., 0, :].abs().sum() > 0
    assert found.grad[..., 1, :].abs().sum() == 0


def test_points_of_nobody_or_of_a_network_without_are_no_part(places: Places) -> None:
    """Where a batch knows no point at all the part is 0; a network without points has no such part."""
    nobody = _points_part(places, [[math.nan, math.nan]] * 2)

    assert (nobody.sum.item(), nobody.over.item()) == (0, 0)
    targets = _targets((PERSON, [4.0, 4.0, 20.0, 20.0], False))
    assert "points" not in detection_loss(_predictions(places), places, [targets], LossSettings())


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        pytest.param(0.0, 0.0, id="none"),
        pytest.param(0.02, 0.1 * math.log(2), id="a logarithm near"),
        pytest.param(0.1, 0.1 * math.log(6), id="both meet at the width"),
        pytest.param(0.5, 0.1 * math.log(6) + 0.4, id="as it is far away"),
    ],
)
def test_point_loss_wing_is_the_papers(distance: float, expected: float) -> None:
    """Feng et al., equation 5, with w = 0.1 and epsilon = 0.02."""
    assert point_loss(torch.tensor(distance), LossSettings(points="wing")).item() == pytest.approx(expected, abs=1e-6)
