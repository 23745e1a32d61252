"""Gaps of labels filled by a teacher: what becomes a label, what is ignored, what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from models_onnx import make_manifest, save_engine

from edged.errors import InputError
from edged.models.detector import DetectorThresholds
from edged.types import Detections, Pixels
from tools.datasets import CLASSES, Picture, PictureSet
from tools.teacher import GapSettings, fill_gaps, fill_sets

BOX = (10.0, 10.0, 50.0, 50.0)
FAR = (60.0, 60.0, 90.0, 90.0)
NAMES = ("dog", "person", "car", "truck", "motorcycle")
"""The teacher's classes, in an order of its own and with one that is not ours."""

Row = tuple[str, float, tuple[float, float, float, float]]


class FakeTeacher:
    """Sees the same in every picture."""

    def __init__(self, *rows: Row, class_names: tuple[str, ...] = NAMES) -> None:
        self.class_names = class_names
        self.thresholds = DetectorThresholds(score=0.3, nms_iou=0.5)
        self.manifest = SimpleNamespace(name="fake")
        self._rows = sorted(rows, key=lambda row: -row[1])

    def detect(self, pictures: Sequence[Pixels], *, thresholds: Sequence[DetectorThresholds]) -> list[Detections]:
        shown = [row for row in self._rows if row[1] >= thresholds[0].floor]
        found = Detections(
            np.array([row[2] for row in shown], np.float32).reshape(-1, 4),
            np.array([row[1] for row in shown], np.float32),
            np.array([self.class_names.index(row[0]) for row in shown], np.int64),
        )
        return [found for _ in pictures]


def _set(
    *labels: tuple[str, tuple[float, float, float, float]], labelled: tuple[str, ...] = (), ignored: bool = False
) -> PictureSet:
    """One picture with these boxes."""
    picture = Picture(
        "small/1.png",
        cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1].tobytes(),
        np.array([box for _, box in labels], np.float32).reshape(-1, 4),
        np.array([CLASSES.index(name) for name, _ in labels], np.int64),
        np.full(len(labels), ignored, np.bool_),
    )
    return PictureSet("small", np.array([name in labelled for name in CLASSES]), (picture,))


def _content(filled: PictureSet) -> list[tuple[str, str]]:
    """Class and kind of each box."""
    (picture,) = filled.pictures
    return [
        (CLASSES[class_id], "ignored" if is_ignored else "label")
        for class_id, is_ignored in zip(picture.class_ids, picture.ignored, strict=True)
    ]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param(0.9, [("person", "label")], id="sure"),
        pytest.param(0.75, [("person", "label")], id="just sure"),
        pytest.param(0.74, [("person", "ignored")], id="not quite sure"),
        pytest.param(0.25, [("person", "ignored")], id="just doubtful"),
        pytest.param(0.24, [], id="not even doubtful"),
    ],
)
def test_fill_gaps_by_score(score: float, expected: list[tuple[str, str]]) -> None:
    """A label from sure on, ignored from doubtful on, nothing below; a score at a threshold reaches it."""
    filled = fill_gaps(_set(), FakeTeacher(("person", score, BOX)), sure=0.75, doubtful=0.25)

    assert _content(filled) == expected


def test_fill_gaps_tells_classes_by_name_and_counts_them_as_labelled() -> None:
    """What the teacher knows is labelled from then on, found or not; a dog is none of ours; a bus it does not know."""
    filled = fill_gaps(_set(), FakeTeacher(("car", 0.9, BOX), ("dog", 0.9, FAR)), sure=0.5, doubtful=0.3)

    assert _content(filled) == [("car", "label")]
    assert filled.pictures[0].boxes.tolist() == [list(BOX)]
    assert [name for name, known in zip(CLASSES, filled.labelled, strict=True) if known] == [
        "person",
        "car",
        "motorcycle",
        "truck",
    ]


def test_fill_gaps_with_scores_by_class_fills_those_only() -> None:
    """A class without a score stays unlabelled, whatever the teacher says of it."""
    teacher = FakeTeacher(("car", 0.9, BOX), ("person", 0.6, FAR))

    filled = fill_gaps(_set(), teacher, sure={"person": 0.7}, doubtful={"person": 0.3})

    assert _content(filled) == [("person", "ignored")]
    assert filled.labelled.sum() == 1


def test_fill_gaps_leaves_the_given_set_as_it_is() -> None:
    """A new set comes back."""
    before = _set()

    fill_gaps(before, FakeTeacher(("car", 0.9, BOX)), sure=0.5, doubtful=0.3)

    assert len(before.pictures[0].boxes) == 0
    assert not before.labelled.any()


def test_fill_gaps_of_a_labelled_class_adds_nothing() -> None:
    """What people labelled everywhere is left to them."""
    before = _set(labelled=("car",))

    filled = fill_gaps(before, FakeTeacher(("car", 0.9, BOX)), sure=0.5, doubtful=0.3)

    assert _content(filled) == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((10.0, 10.0, 50.0, 50.0), [], id="the same box"),
        pytest.param((10.0, 10.0, 50.0, 22.0), [], id="an overlap of 0.3 is the same object"),
        pytest.param((10.0, 10.0, 50.0, 21.0), [("car", "ignored")], id="less is another"),
        pytest.param(FAR, [("car", "ignored")], id="elsewhere"),
    ],
)
def test_fill_gaps_also_ignoring_marks_what_labels_miss(
    box: tuple[float, float, float, float], expected: list[tuple[str, str]]
) -> None:
    """In a labelled class a sure detection without a label is ignored, never taught."""
    before = _set(("car", BOX), labelled=("car",))

    filled = fill_gaps(before, FakeTeacher(("car", 0.9, box)), sure=0.5, doubtful=0.3, also_ignore_unlabelled=True)

    assert _content(filled) == [("car", "label"), *expected]


@pytest.mark.parametrize("ignored", [False, True], ids=["label", "ignored box"])
def test_fill_gaps_where_a_box_of_the_class_is_already_adds_none(*, ignored: bool) -> None:
    """A set may show some objects of a class that it does not label everywhere: these are known."""
    filled = fill_gaps(_set(("car", BOX), ignored=ignored), FakeTeacher(("car", 0.9, BOX)), sure=0.5, doubtful=0.3)

    assert len(_content(filled)) == 1


@pytest.mark.parametrize(
    ("label", "ignored", "box", "expected"),
    [
        pytest.param("car", False, BOX, [], id="a truck on a labelled car is left out"),
        pytest.param("car", False, (10.0, 10.0, 50.0, 30.0), [], id="at half the overlap, too"),
        pytest.param("car", False, (10.0, 10.0, 50.0, 29.0), [("truck", "label")], id="below half it may stand beside it"),
        pytest.param("car", True, BOX, [("truck", "label")], id="an ignored box says nothing"),
        pytest.param("person", False, BOX, [], id="a truck on a person is left out"),
    ],
)
def test_fill_gaps_against_a_label_of_another_class(
    label: str, ignored: bool, box: tuple[float, float, float, float], expected: list[tuple[str, str]]
) -> None:
    """What people labelled stands: one place holds one object."""
    before = _set((label, BOX), labelled=(label,), ignored=ignored)

    filled = fill_gaps(before, FakeTeacher(("truck", 0.9, box)), sure={"truck": 0.5}, doubtful={"truck": 0.3})

    assert _content(filled)[1:] == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param(BOX, "ignored", id="fills it: the motorcycle, or its rider"),
        pytest.param((20.0, -10.0, 40.0, 30.0), "ignored", id="half of it inside"),
        pytest.param((20.0, -11.0, 40.0, 30.0), "label", id="less than half inside: stands behind it"),
    ],
)
def test_fill_gaps_of_a_person_on_a_motorcycle_is_open(box: tuple[float, float, float, float], expected: str) -> None:
    """Teachers take parked motorcycles for persons, and riders are persons: neither taught nor forbidden."""
    before = _set(("motorcycle", BOX), labelled=("motorcycle",))

    filled = fill_gaps(before, FakeTeacher(("person", 0.9, box)), sure={"person": 0.5}, doubtful={"person": 0.3})

    assert _content(filled)[1:] == [("person", expected)]


def test_fill_gaps_of_one_object_called_two_things_teaches_the_surer() -> None:
    """Of two sure detections in one place the weaker is ignored."""
    teacher = FakeTeacher(("truck", 0.8, BOX), ("car", 0.9, BOX))

    filled = fill_gaps(_set(), teacher, sure=0.5, doubtful=0.3)

    assert _content(filled) == [("car", "label"), ("truck", "ignored")]


def test_fill_gaps_of_a_class_that_is_never_sure_only_ignores() -> None:
    """sure 1 makes no labels: for a class that the teacher confuses."""
    filled = fill_gaps(_set(), FakeTeacher(("truck", 0.99, BOX)), sure={"truck": 1.0}, doubtful={"truck": 0.2})

    assert _content(filled) == [("truck", "ignored")]


def test_fill_gaps_with_one_number_beside_names_means_those_classes() -> None:
    """doubtful may be one number for all that sure names."""
    teacher = FakeTeacher(("car", 0.9, BOX), ("person", 0.2, FAR))

    filled = fill_gaps(_set(), teacher, sure={"person": 0.7}, doubtful=0.1)

    assert _content(filled) == [("person", "ignored")]
    assert filled.labelled.sum() == 1


def test_fill_gaps_of_a_set_with_classes_of_its_own_uses_those() -> None:
    """Ids, rules and labelled classes follow the set's names, whatever ours are: the rider stays open."""
    picture = replace(_set(("bicycle", BOX)).pictures[0], class_ids=np.array([1]))
    before = PictureSet("own", np.array([False, True, False]), (picture,), classes=("dog", "motorcycle", "person"))

    filled = fill_gaps(before, FakeTeacher(("dog", 0.9, FAR), ("person", 0.8, BOX), ("car", 0.7, FAR)), sure=0.5, doubtful=0.1)

    (picture,) = filled.pictures
    assert picture.class_ids.tolist() == [1, 0, 2]
    assert picture.ignored.tolist() == [False, False, True]
    assert filled.labelled.tolist() == [True, True, True]


def test_fill_gaps_of_objects_with_points_knows_none_of_the_new() -> None:
    """Points and boxes stay one row an object."""
    before = _set(("car", BOX), labelled=("car",))
    before = replace(before, pictures=(replace(before.pictures[0], points=np.ones((1, 5, 2), np.float32)),))

    filled = fill_gaps(before, FakeTeacher(("person", 0.9, FAR)), sure=0.5, doubtful=0.3)

    (points,) = [one.points for one in filled.pictures]
    assert points.shape == (2, 5, 2)
    assert (points[0] == 1).all()
    assert np.isnan(points[1]).all()


def test_fill_sets_ignores_what_labels_miss_in_the_named_sets_only(tmp_path: Path) -> None:
    """Sets are told by the name that the settings use, not by that of their folder."""
    save_engine(tmp_path / "tiny", make_manifest(), boxes=[[20, 4, 40, 28], [0, 0, 1, 1]], scores=[[0.0, 0.9], [0.0, 0.0]])
    white = cv2.imencode(".png", np.full((32, 64, 3), 255, np.uint8))[1].tobytes()
    one = _set(labelled=("car",))
    one = replace(one, pictures=(replace(one.pictures[0], source=white),))
    settings = GapSettings(engine=tmp_path / "tiny", sure=0.5, doubtful=0.3, also_ignore_unlabelled=("b",))

    filled = fill_sets({"a": one, "b": one}, settings, threads=1)

    assert [_content(each) for each in filled] == [[], [("car", "ignored")]]


def test_fill_gaps_by_a_teacher_of_other_classes_is_refused() -> None:
    """It would add nothing, and nobody would notice."""
    with pytest.raises(InputError, match="fake finds none of person, bicycle"):
        fill_gaps(_set(), FakeTeacher(class_names=("dog",)), sure=0.5, doubtful=0.3)


def test_fill_gaps_of_no_picture_gives_none() -> None:
    """The classes count as labelled all the same."""
    empty = PictureSet("none", np.zeros(len(CLASSES), np.bool_), ())

    filled = fill_gaps(empty, FakeTeacher(), sure=0.5, doubtful=0.3)

    assert filled.pictures == ()
    assert filled.labelled.any()


@pytest.mark.parametrize(
    ("sure", "doubtful", "message"),
    [
        pytest.param(0.3, 0.5, "doubtful 0.5, sure 0.3", id="doubtful above sure"),
        pytest.param(0.5, 0.0, "expected 0 < doubtful", id="doubtful 0"),
        pytest.param(1.1, 0.5, "sure <= 1", id="above 1"),
        pytest.param(1.0, 1.0, "doubtful below 1", id="nothing is doubtful"),
        pytest.param({"person": 0.5}, {"car": 0.5}, "name the same classes", id="two lists"),
        pytest.param(
            {"bus": 0.5}, {"bus": 0.3}, "sure: bus: expected classes that are ours and the teacher's", id="unknown to it"
        ),
        pytest.param({"dog": 0.5}, {"dog": 0.3}, "sure: dog: expected classes that are ours", id="none of ours"),
    ],
)
def test_fill_gaps_of_wrong_scores_says_what_was_expected(sure: object, doubtful: object, message: str) -> None:
    """The numbers come from a person's configuration."""
    with pytest.raises(InputError, match=message):
        fill_gaps(_set(), FakeTeacher(), sure=sure, doubtful=doubtful)
