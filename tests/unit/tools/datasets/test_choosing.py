"""The wanted classes and points of a set, by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_folders import write_table

from tools.datasets.choosing import choose_classes, choose_points, without_picture_labels
from tools.datasets.opening import load_set
from tools.datasets.pictures import Part

POINTS = "file,x,y,w,h,nose_x,nose_y,x0,y0,tail_x,tail_y\na.png,1,2,30,40,5,6,7,8,,\n"


def test_choose_points_takes_them_by_name_in_the_wanted_order(tmp_path: Path) -> None:
    """One that the set does not know, or not of this object, is NaN; what is not wanted goes."""
    found = load_set(write_table(tmp_path, POINTS, pictures=["a.png"]))

    chosen = choose_points(found, ("tail", "0", "nose", "ear"))

    assert chosen.point_names == ("tail", "0", "nose", "ear")
    nothing = [np.nan, np.nan]
    np.testing.assert_array_equal(chosen.pictures[0].points, [[nothing, [7, 8], [5, 6], nothing]])


def test_choose_points_of_a_set_without_any_are_all_unknown(tmp_path: Path) -> None:
    """A box of a set without points teaches the box alone."""
    found = load_set(write_table(tmp_path, "file,x,y,w,h\na.png,1,2,3,4\na.png,5,6,7,8\n", pictures=["a.png"]))

    (picture,) = choose_points(found, ("nose", "tail")).pictures

    assert picture.points.shape == (2, 2, 2)
    assert np.isnan(picture.points).all()


def test_choose_points_of_none_leaves_a_set_without(tmp_path: Path) -> None:
    """A network without points is told of none."""
    found = load_set(write_table(tmp_path, POINTS, pictures=["a.png"]))

    assert choose_points(found, ()).pictures[0].points is None


@pytest.mark.parametrize(
    ("wanted", "ids", "labelled"),
    [
        pytest.param(("face",), [0], [True], id="the only class that is wanted"),
        pytest.param(("face", "person"), [], [False, False], id="it could be either of two"),
        pytest.param(("object",), [0], [True], id="its own name"),
    ],
)
def test_choose_classes_of_a_table_without_a_column_for_them(
    tmp_path: Path, wanted: tuple[str, ...], ids: list[int], labelled: list[bool]
) -> None:
    """Its boxes are all of one class, which has no name."""
    found = load_set(write_table(tmp_path, "file,x,y,w,h\na.png,1,2,3,4\n", pictures=["a.png"]))

    chosen = choose_classes(found, wanted)

    assert chosen.pictures[0].class_ids.tolist() == ids
    assert chosen.labelled.tolist() == labelled


def test_choose_classes_takes_faces_with_and_without_a_mask_for_faces(tmp_path: Path) -> None:
    """Sets of masked faces name the faces by their masks; both names count, and the set labels faces everywhere."""
    text = "file,x,y,w,h,label\na.png,1,2,3,4,with_mask\na.png,5,6,7,8,without_mask\n"

    chosen = choose_classes(load_set(write_table(tmp_path, text, pictures=["a.png"])), ("face",))

    assert chosen.pictures[0].class_ids.tolist() == [0, 0]
    assert chosen.labelled.tolist() == [True]


def test_without_picture_labels_knows_of_no_object(tmp_path: Path) -> None:
    """Pictures of people are pictures in which a network may look for faces."""
    found = load_set(write_table(tmp_path, "file,identity\na.png,anna\nb.png,bert\n", pictures=["a.png", "b.png"]))

    unlabelled = without_picture_labels(found)
    chosen = choose_classes(unlabelled, ("face",))

    assert (unlabelled.part, len(unlabelled.pictures)) == (Part.BOXES, 2)
    assert not chosen.labelled.any()
    assert all(len(one.boxes) == 0 for one in chosen.pictures)


def test_without_picture_labels_leaves_boxes_as_they_are(tmp_path: Path) -> None:
    """Only what is said of whole pictures goes."""
    found = load_set(write_table(tmp_path, POINTS, pictures=["a.png"]))

    assert without_picture_labels(found) is found
