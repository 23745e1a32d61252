"""YOLO text: boxes and polygons in shares, lists of classes and pictures, and what is wrong in the files."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_folders import write_picture, write_text, write_yolo

from edged.errors import InputError
from tools.datasets.opening import Layout, find_layout, load_set
from tools.datasets.yolo import label_file


def test_load_set_of_yolo_gives_pixels_of_centres_and_of_polygons(tmp_path: Path) -> None:
    """Centre and sides in shares become corners in pixels; of a polygon its bounding box is taken."""
    folder = write_yolo(tmp_path / "set", {"train/a": "1 0.5 0.5 0.5 0.25\n0 0.1 0.25 0.2 0.25 0.2 0.5\n", "val/b": ""})

    found = load_set(folder)

    assert find_layout(folder) is Layout.YOLO
    assert found.classes == ("person", "car")
    assert found.pictures[0].boxes.tolist() == [[20, 24, 60, 40], [8, 16, 16, 32]]
    assert found.pictures[0].class_ids.tolist() == [1, 0]
    assert [picture.origin.split for picture in found.pictures] == ["train", "val"]
    assert found.pictures[1].boxes.shape == (0, 4)


def test_load_set_of_yolo_without_a_label_file_has_no_objects(tmp_path: Path) -> None:
    """A picture of nothing needs no file."""
    folder = write_yolo(tmp_path / "set", {"train/a": "0 0.5 0.5 1 1\n", "val/b": ""})
    (folder / "labels" / "val" / "b.txt").unlink()

    assert len(load_set(folder, split="val").pictures[0].boxes) == 0


@pytest.mark.parametrize(
    "names", ["names:\n  0: person\n  1: car\n", "nc: 2\nnames:\n- person\n- car\n"], ids=["mapping", "list"]
)
def test_load_set_of_yolo_reads_names_as_list_or_mapping(tmp_path: Path, names: str) -> None:
    """Both ways are in use."""
    folder = write_yolo(tmp_path / "set", {"train/a": "", "val/b": ""}, names=names)

    assert load_set(folder).classes == ("person", "car")


def test_load_set_of_yolo_finds_folders_that_an_exporter_counts_from_elsewhere(tmp_path: Path) -> None:
    """`../train/images` is looked for in the folder of data.yaml as well; `valid` is val."""
    folder = tmp_path / "set"
    for split in ("train", "valid"):
        write_picture(folder / split / "images" / "a.png", seed=1)
        write_text(folder / split / "labels" / "a.txt", "0 0.5 0.5 1 1\n")
    write_text(folder / "data.yaml", "names: [forklift]\ntrain: ../train/images\nval: ../valid/images\n")

    found = load_set(folder)

    assert [(picture.origin.split, len(picture.boxes)) for picture in found.pictures] == [("train", 1), ("val", 1)]


def test_load_set_of_yolo_with_classes_txt_takes_the_usual_folders(tmp_path: Path) -> None:
    """Without data.yaml, `classes.txt` names the classes and images/train, images/val are the splits."""
    folder = write_yolo(tmp_path / "set", {"train/a": "0 0.5 0.5 1 1\n", "val/b": ""})
    (folder / "data.yaml").unlink()
    write_text(folder / "classes.txt", "fox\nhare\n")

    found = load_set(folder)

    assert found.classes == ("fox", "hare")
    assert [picture.origin.split for picture in found.pictures] == ["train", "val"]


def test_load_set_of_a_data_yaml_with_names_alone_takes_the_usual_folders(tmp_path: Path) -> None:
    """As with `classes.txt`."""
    folder = write_yolo(tmp_path / "set", {"train/a": "0 0.5 0.5 1 1\n", "val/b": ""})
    write_text(folder / "data.yaml", "names: [fox, hare]\n")

    assert [picture.origin.split for picture in load_set(folder).pictures] == ["train", "val"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("7 0.5 0.5 1 1", "class 7 is unknown; expected 0 to 1", id="unknown class"),
        pytest.param("0 40 32 20 20", "shares of the picture between 0 and 1, not pixels", id="pixels"),
        pytest.param("0 0.5 0.5 1", "4 cells", id="too few"),
        pytest.param("person 0.5 0.5 1 1", "expected a class number and numbers", id="name"),
        pytest.param("0 0.5 0.5 -0.1 1", "not a box", id="negative width"),
        pytest.param("0 nan 0.5 0.1 1", "not a box", id="nan"),
    ],
)
def test_load_set_of_wrong_yolo_names_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    """The error says where and what."""
    folder = write_yolo(tmp_path / "set", {"train/a": f"0 0.5 0.5 1 1\n{line}\n", "val/b": ""})

    with pytest.raises(InputError, match=rf"labels/train/a\.txt, line 2: .*{message}"):
        load_set(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("names: [a]\ntrain: gone\nval: images/val\n", r"data\.yaml, train: 'gone'", id="no such folder"),
        pytest.param("train: images/train\n", "expected the key names, a list of the classes", id="no names"),
        pytest.param("names: {0: a, 2: b}\ntrain: images/train\n", "numbers from 0", id="a number left out"),
    ],
)
def test_load_set_of_a_wrong_data_yaml_says_what_it_expects(tmp_path: Path, text: str, message: str) -> None:
    """The list of classes and the folders are told by key."""
    folder = write_yolo(tmp_path / "set", {"train/a": "", "val/b": ""})
    write_text(folder / "data.yaml", text)

    with pytest.raises(InputError, match=message):
        load_set(folder)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.jpg", "train/labels/a.txt"),
        ("images/images/a.b.jpg", "images/labels/a.b.txt"),
        ("a.jpg", "a.txt"),
    ],
)
def test_label_file_replaces_the_last_images(name: str, expected: str) -> None:
    """The convention of all tools that read this layout."""
    assert label_file(name) == expected
