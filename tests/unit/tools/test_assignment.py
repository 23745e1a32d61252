"""Which places answer for an object."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the loss needs the training environment: pip install torch")

from tools.assignment import AssignmentSettings, Match, Targets, assign  # noqa: E402
from tools.nets.yolo import Places, Predictions, Yolo, YoloSettings, decode_boxes  # noqa: E402

pytestmark = pytest.mark.torch

ANCHORS = (((16.0, 16.0),), ((32.0, 32.0),), ((64.0, 64.0),))
FIRST_OF_STRIDE_16 = 64
FIRST_OF_STRIDE_32 = 80
PERSON, CAR = 0, 1


@pytest.fixture(scope="module")
def places() -> Places:
    """Where a 64 pixel input is answered: 8x8, 4x4 and 2x2 cells."""
    return Yolo(YoloSettings(classes=("person", "car"), anchors=ANCHORS, width=0.25, neck=16)).places(64, 64)


def _assign(places: Places, *objects: tuple[int, list[float], bool], kind: str = "textbook", labelled: bool = True) -> Match:
    """objects: class, box, ignored. Every place answers its anchor, with score 0.1 for both classes. labelled: cars."""
    offsets = torch.zeros(1, len(places.centres), 4)
    predictions = Predictions(decode_boxes(offsets, places), offsets, torch.full((1, len(places.centres), 2), -2.2))
    targets = Targets(
        torch.tensor([box for _, box, _ in objects]).reshape(-1, 4),
        torch.tensor([number for number, _, _ in objects], dtype=torch.int64),
        torch.tensor([ignored for _, _, ignored in objects], dtype=torch.bool),
        torch.tensor([True, labelled]),
    )
    return assign(predictions, [targets], places=places, settings=AssignmentSettings(assignment=kind))


@pytest.mark.parametrize(
    ("box", "row"),
    [
        pytest.param([4.0, 4.0, 20.0, 20.0], 9, id="midpoint inside a cell"),
        pytest.param([0.0, 4.0, 16.0, 20.0], 9, id="midpoint on an edge belongs to the cell behind it"),
        pytest.param([5.0, 5.0, 35.0, 35.0], FIRST_OF_STRIDE_16 + 5, id="another anchor has the better shape"),
        pytest.param([0.0, 0.0, 60.0, 60.0], FIRST_OF_STRIDE_32, id="the largest"),
    ],
)
def test_textbook_gives_the_cell_of_the_midpoint_and_the_anchor_of_the_best_shape(
    places: Places, box: list[float], row: int
) -> None:
    """One place an object, wanted to score 1."""
    match = _assign(places, (CAR, box, False))

    assert match.rows.tolist() == [row]
    assert match.pictures.tolist() == [0]
    assert match.class_ids.tolist() == [CAR]
    assert match.boxes.tolist() == [box]
    assert match.quality.tolist() == [1.0]


def test_textbook_gives_a_place_that_two_want_to_the_better_shape(places: Places) -> None:
    """The other is not taught."""
    match = _assign(places, (PERSON, [6.0, 5.0, 18.0, 19.0], False), (CAR, [4.0, 4.0, 20.0, 20.0], False))

    assert match.rows.tolist() == [9]
    assert match.class_ids.tolist() == [CAR]


def test_textbook_gives_a_place_that_two_want_alike_to_the_first(places: Places) -> None:
    """Ties keep the lower index."""
    match = _assign(places, (PERSON, [4.0, 4.0, 20.0, 20.0], False), (CAR, [4.0, 4.0, 20.0, 20.0], False))

    assert match.class_ids.tolist() == [PERSON]


def test_textbook_spares_other_places_whose_box_overlaps_the_object_well(places: Places) -> None:
    """The next cell's box overlaps by 11.5 / 20.5 = 0.56, so it is taught nothing; the one behind by 0.12, so it is empty.

    The object's own place overlaps, too, and is still taught that it is no person.
    """
    match = _assign(places, (CAR, [7.5, 4.0, 23.5, 20.0], False))

    assert match.rows.tolist() == [9]
    assert match.known[0, 9].all()
    assert not match.known[0, 10].any()
    assert match.known[0, 11].all()


def test_textbook_of_an_object_outside_the_picture_gives_nothing(places: Places) -> None:
    """A midpoint on the far edge is in no cell."""
    assert len(_assign(places, (CAR, [60.0, 60.0, 68.0, 68.0], False)).rows) == 0


def test_task_aligned_prefers_the_place_whose_box_fits(places: Places) -> None:
    """At equal scores the best overlap has the highest quality, which is that overlap; others have less."""
    match = _assign(places, (CAR, [4.0, 4.0, 20.0, 20.0], False), kind="task_aligned")

    best = int(match.quality.argmax())
    assert match.rows[best] == 9
    assert float(match.quality[best]) == pytest.approx(1.0, abs=1e-4)
    assert len(match.rows) > 1
    assert sorted(match.quality.tolist())[-2] < 0.5


@pytest.mark.parametrize("kind", ["textbook", "task_aligned"])
@pytest.mark.parametrize(
    ("objects", "labelled"),
    [
        pytest.param([], True, id="none"),
        pytest.param([(CAR, [4.0, 4.0, 20.0, 20.0], True)], True, id="only an ignored one"),
        pytest.param([(CAR, [4.0, 4.0, 20.0, 20.0], False)], False, id="of a class that the set does not label"),
    ],
)
def test_assign_of_nothing_that_counts_matches_nothing(places: Places, kind: str, objects: list, labelled: bool) -> None:
    """Empty pictures, ignored boxes and stray labels teach no place."""
    match = _assign(places, *objects, kind=kind, labelled=labelled)

    assert len(match.rows) == len(match.quality) == len(match.boxes) == 0
    assert match.known[0, :, PERSON].all()


def test_assign_keeps_pictures_apart(places: Places) -> None:
    """The second picture's object is matched in the second picture."""
    offsets = torch.zeros(2, len(places.centres), 4)
    predictions = Predictions(decode_boxes(offsets, places), offsets, torch.zeros(2, len(places.centres), 2))
    empty = Targets(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0).bool(), torch.ones(2).bool())
    one = Targets(torch.tensor([[4.0, 4.0, 20.0, 20.0]]), torch.tensor([CAR]), torch.tensor([False]), torch.ones(2).bool())

    match = assign(predictions, [empty, one], places=places, settings=AssignmentSettings(assignment="textbook"))

    assert (match.pictures.tolist(), match.rows.tolist()) == ([1], [9])
    assert match.known.shape == (2, len(places.centres), 2)


@pytest.mark.parametrize("kind", ["textbook", "task_aligned"])
def test_assign_gives_each_place_the_points_of_its_object(places: Places, kind: str) -> None:
    """Those of ignored objects go with them; the order of the objects is that of the boxes."""
    offsets = torch.zeros(1, len(places.centres), 4)
    predictions = Predictions(decode_boxes(offsets, places), offsets, torch.zeros(1, len(places.centres), 2))
    boxes = torch.tensor([[4.0, 4.0, 20.0, 20.0], [0.0, 0.0, 60.0, 60.0], [40.0, 40.0, 56.0, 56.0]])
    targets = Targets(
        boxes,
        torch.tensor([CAR, CAR, CAR]),
        torch.tensor([False, True, False]),
        torch.ones(2).bool(),
        torch.stack([boxes[:, :2], boxes[:, 2:]], dim=1),
    )

    match = assign(predictions, [targets], places=places, settings=AssignmentSettings(assignment=kind))

    assert {tuple(box) for box in match.boxes.tolist()} == {tuple(boxes[0].tolist()), tuple(boxes[2].tolist())}
    torch.testing.assert_close(match.points.flatten(1), match.boxes)
