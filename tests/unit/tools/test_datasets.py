"""Reading labelled pictures: COCO folders, tar files, MOT sequences, the drawn street, and what is wrong with them."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder

from edged.errors import InputError
from tools.datasets import CLASSES, load_coco
from tools.drawn import FIRST_SEED, draw_set
from tools.mot import load_mot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of one rectangle each, of which persons only are labelled everywhere."""
    return write_coco_folder(tmp_path / "small", pictures=3, labelled=(1,))


def _edit(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "annotations.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def test_load_coco_gives_boxes_as_corners_and_the_labelled_classes(folder: Path) -> None:
    """x, y, w, h become corners; category ids become positions in CLASSES; labelled is what is labelled everywhere."""
    found = load_coco(folder, split="train")

    x, y, w, h = json.loads((folder / "annotations.json").read_text())["annotations"][0]["bbox"]
    assert found.pictures[0].boxes.tolist() == [[x, y, x + w, y + h]]
    assert [CLASSES[one.class_ids[0]] for one in found.pictures] == ["car", "person", "car"]
    assert dict(zip(CLASSES, found.labelled.tolist(), strict=True)) == {name: name == "person" for name in CLASSES}
    assert found.pictures[0].pixels_rgb().shape == (64, 80, 3)


def test_load_coco_pixels_are_rgb(folder: Path) -> None:
    """The middle of a person's rectangle is red."""
    person = load_coco(folder, split=None).pictures[1]

    x1, y1, x2, y2 = person.boxes[0].astype(int)
    assert person.pixels_rgb()[(y1 + y2) // 2, (x1 + x2) // 2].tolist() == [200, 40, 40]


def test_load_coco_reads_pictures_from_a_tar(folder: Path) -> None:
    """`images.tar` stands for the folder `images`; nothing is unpacked."""
    with tarfile.open(folder / "images.tar", "w") as archive:
        archive.add(folder / "images", "images")
    for path in (folder / "images").iterdir():
        path.unlink()

    assert load_coco(folder, split="train").pictures[2].pixels_rgb().shape == (64, 80, 3)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_load_coco_finds_pictures_whose_names_leave_the_folder_out(folder: Path, *, packed: bool) -> None:
    """COCO's own files name no folder."""

    def change(data: dict) -> None:
        for image in data["images"]:
            image["file_name"] = image["file_name"].removeprefix("images/")

    _edit(folder, change)
    if packed:
        with tarfile.open(folder / "images.tar", "w") as archive:
            archive.add(folder / "images", "images")
        shutil.rmtree(folder / "images")

    found = load_coco(folder, split="train")

    assert [one.origin.file for one in found.pictures] == ["1.png", "2.png", "3.png"]
    assert found.pictures[2].pixels_rgb().shape == (64, 80, 3)


def test_load_coco_takes_the_picture_beside_its_file_before_one_in_the_folder(folder: Path) -> None:
    """The name as it stands comes first."""
    cv2.imwrite(str(folder / "1.png"), np.zeros((32, 40, 3), np.uint8))
    _edit(folder, lambda data: data["images"][0].update(file_name="1.png", width=40, height=32))

    assert load_coco(folder, split="train").pictures[0].pixels_rgb().shape == (32, 40, 3)


def test_load_coco_crowds_are_ignored_and_other_categories_left_out(folder: Path) -> None:
    """iscrowd 1 marks a box that counts neither way; a dog is none of ours."""

    def change(data: dict) -> None:
        data["annotations"][0]["iscrowd"] = 1
        data["annotations"][1]["category_id"] = 18

    _edit(folder, change)

    found = load_coco(folder, split="train")

    assert found.pictures[0].ignored.tolist() == [True]
    assert len(found.pictures[1].boxes) == 0


def _without_file_name(data: dict) -> None:
    del data["images"][0]["file_name"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda d: d.update(images={}), "images: expected a list", id="images no list"),
        pytest.param(lambda d: d.pop("annotations"), "annotations: expected a list", id="no annotations"),
        pytest.param(_without_file_name, "without file_name", id="no name"),
        pytest.param(
            lambda d: d["images"][0].update(file_name="gone.png"),
            "names gone.png, which is not beside it, in images/ nor",
            id="no file",
        ),
        pytest.param(lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), "four numbers", id="three numbers"),
        pytest.param(lambda d: d["annotations"][0].update(bbox=[1, 2, -3, 4]), "not a box", id="negative width"),
        pytest.param(lambda d: d["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), "not a box", id="not a number"),
    ],
)
def test_load_coco_of_a_wrong_file_names_the_mistake(folder: Path, change: Callable[[dict], None], message: str) -> None:
    """The error says where and what."""
    _edit(folder, change)

    with pytest.raises(InputError, match=message):
        load_coco(folder, split="train")


def test_load_coco_of_an_empty_split_says_so(folder: Path) -> None:
    """A split without pictures is a mistake, not an empty set."""
    with pytest.raises(InputError, match="no picture in split 'val'"):
        load_coco(folder, split="val")


@pytest.mark.parametrize("content", ["{", "[]"], ids=["broken", "a list"])
def test_load_coco_of_no_json_object_says_so(tmp_path: Path, content: str) -> None:
    """What is no COCO file is refused by name."""
    (tmp_path / "annotations.json").write_text(content, encoding="utf-8")

    with pytest.raises(InputError, match=r"annotations\.json"):
        load_coco(tmp_path, split="train")


def test_picture_that_is_none_is_named(folder: Path) -> None:
    """A file that OpenCV cannot decode is named when it is used."""
    (folder / "images" / "1.png").write_bytes(b"no picture")

    with pytest.raises(InputError, match=r"small/images/1\.png"):
        load_coco(folder, split="train").pictures[0].pixels_rgb()


def _write_mot(folder: Path, rows: str, *, frames: int = 2) -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "img1").mkdir()
    (folder / "gt" / "gt.txt").write_text(rows, encoding="utf-8")
    for number in range(1, frames + 1):
        cv2.imwrite(str(folder / "img1" / f"{number:06d}.jpg"), np.zeros((20, 30, 3), np.uint8))
    return folder


def test_load_mot_gives_each_frame_its_persons(tmp_path: Path) -> None:
    """Boxes by frame, rows of confidence 0 ignored, persons the only labelled class."""
    found = load_mot(_write_mot(tmp_path / "walk", "1,1,2,3,4,5,1,-1,-1,-1\n1,2,0,0,9,9,0,-1,-1,-1\n"))

    assert [len(one.boxes) for one in found.pictures] == [2, 0]
    assert found.pictures[0].boxes[0].tolist() == [2, 3, 6, 8]
    assert found.pictures[0].ignored.tolist() == [False, True]
    assert found.labelled.tolist() == [name == "person" for name in CLASSES]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param("1,1,2,3,4,5,1\n2,x,1,1,1,1,1\n", "line 2", id="no number"),
        pytest.param("1,1,2,3\n", "line 1: expected at least 7", id="too short"),
        pytest.param("9,1,2,3,4,5,1\n", "frames that img1 has not", id="frame without picture"),
    ],
)
def test_load_mot_of_a_wrong_file_names_the_line(tmp_path: Path, rows: str, message: str) -> None:
    """The error says where and what."""
    with pytest.raises(InputError, match=message):
        load_mot(_write_mot(tmp_path / "walk", rows))


def test_draw_set_shows_every_split_other_streets() -> None:
    """Training, validation and tests draw seeds far apart, and the same call gives the same pictures."""
    train, again, val = draw_set(2, split="train"), draw_set(2, split="train"), draw_set(2, split="val")

    assert FIRST_SEED["train"] >= 1000
    assert FIRST_SEED["val"] - FIRST_SEED["train"] > 100_000
    assert train.pictures[1].encoded == again.pictures[1].encoded
    assert train.pictures[0].encoded != val.pictures[0].encoded
    assert train.labelled.all()
