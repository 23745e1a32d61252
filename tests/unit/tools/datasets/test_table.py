"""Tables: labels, identities, boxes, points, and what is wrong in the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_folders import write_table

from edged.errors import InputError
from tools.datasets.opening import Layout, find_layout, load_set
from tools.datasets.pictures import Part

TWO = ("a.png", "b.png")


def test_load_set_of_a_table_of_labels(tmp_path: Path) -> None:
    """Without boxes the label is the picture's; classes are its values over all splits."""
    folder = write_table(tmp_path / "set", "file,label,split\na.png,live,train\nb.png,spoof,val\n", pictures=TWO)

    found = load_set(folder, split="train")

    assert find_layout(folder) is Layout.TABLE
    assert (found.part, found.classes) == (Part.LABEL, ("live", "spoof"))
    assert [picture.label for picture in found.pictures] == ["live"]


def test_load_set_of_a_table_of_boxes_gathers_rows_of_one_file(tmp_path: Path) -> None:
    """A row an object; four empty cells are a picture without one."""
    text = "file,x,y,w,h,label,split\na.png,1,2,3,4,mask,train\na.png,5,6,7,8,bare,train\nb.png,,,,,,train\n"
    folder = write_table(tmp_path / "set", text, pictures=TWO)

    found = load_set(folder)

    assert found.classes == ("bare", "mask")
    assert found.pictures[0].boxes.tolist() == [[1, 2, 4, 6], [5, 6, 12, 14]]
    assert found.pictures[0].class_ids.tolist() == [1, 0]
    assert len(found.pictures[1].boxes) == 0


def test_load_set_of_a_table_of_points_keeps_unknown_ones_as_nan(tmp_path: Path) -> None:
    """Named and numbered points in the order of the columns; x0 is a point, box_x is none."""
    text = "file,identity,box_x,box_y,box_w,box_h,nose_x,nose_y,x0,y0\na.png,ann,0,0,9,9,4,5,,\nb.png,ben,0,0,9,9,1,2,3,4\n"
    folder = write_table(tmp_path / "set", text, pictures=TWO)

    found = load_set(folder)

    assert found.point_names == ("nose", "0")
    np.testing.assert_array_equal(found.pictures[0].points, np.array([[[4, 5], [np.nan, np.nan]]], np.float32))
    assert [picture.label for picture in found.pictures] == ["ann", "ben"]
    assert found.classes == ("object",)


def test_load_set_of_a_table_without_split_is_all_train(tmp_path: Path) -> None:
    """The column may be absent."""
    folder = write_table(tmp_path / "set", "file,label\na.png,x\nb.png,y\n", pictures=TWO)

    assert len(load_set(folder, split="train").pictures) == 2
    with pytest.raises(InputError, match="no picture in split 'val'"):
        load_set(folder, split="val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("file,label\na.png,x\ngone.png,x\n", r"labels\.csv, line 3: names gone\.png", id="missing picture"),
        pytest.param("file,label\na.png\n", "line 2: expected 2 cells as in line 1, got 1", id="short row"),
        pytest.param("file,label,split\na.png,x,tain\n", "line 2: split 'tain': expected train, val or test", id="split"),
        pytest.param("file,label\na.png,\n", "line 2: the cell label is empty", id="no label"),
        pytest.param("file,label\na.png,x\na.png,y\n", "line 3: a.png stands in line 2 with another label", id="two labels"),
        pytest.param("file,label\na.png,x\na.png,x\n", "line 3: a.png stands in line 2 with the same file", id="twice"),
        pytest.param("file,x,y,w,h\na.png,1,2,x,4\n", "line 2: box .*expected four numbers", id="no number"),
        pytest.param("file,x,y,w,h\na.png,1,2,-3,4\n", "line 2: x, y, w, h = 1, 2, -3, 4 is not a box", id="negative width"),
        pytest.param("file,x,y,w,h,n_x,n_y\na.png,1,2,3,4,q,1\n", "line 2, column n_x: 'q'", id="point"),
        pytest.param("image,label\na.png,x\n", "line 1: expected .*file", id="no file column"),
        pytest.param("file,colour\na.png,x\n", "line 1: expected a column label or identity", id="nothing known"),
        pytest.param("", "line 1", id="empty"),
        pytest.param("file,label\n", "no picture", id="head only"),
    ],
)
def test_load_set_of_a_wrong_table_names_the_row(tmp_path: Path, text: str, message: str) -> None:
    """The error says where and what."""
    folder = write_table(tmp_path / "set", text, pictures=TWO)

    with pytest.raises(InputError, match=message):
        load_set(folder)


def test_load_set_tells_all_mistakes_up_to_a_bound(tmp_path: Path) -> None:
    """Twenty are told, of the others their number."""
    rows = "".join(f"gone{number}.png,x\n" for number in range(25))
    folder = write_table(tmp_path / "set", "file,label\n" + rows, pictures=())

    with pytest.raises(InputError) as raised:
        load_set(folder)

    lines = str(raised.value).splitlines()
    assert lines[0].endswith("25 mistakes")
    assert len(lines) == 1 + 20 + 1
    assert lines[-1] == "  … and 5 more"
