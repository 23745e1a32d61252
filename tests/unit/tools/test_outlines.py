"""Masks of COCO's outlines: what is drawn, what is void, what is in front, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tools import outlines
from tools.datasets.opening import load_set

WIDTH_PX, HEIGHT_PX = 40, 30
SQUARE = [[10.0, 5.0, 20.0, 5.0, 20.0, 15.0, 10.0, 15.0]]


def write_coco(folder: Path, annotations: list[dict[str, Any]]) -> Path:
    """One picture of `train` with these annotations, one of `val` without any."""
    (folder / "images").mkdir(parents=True)
    for name in ("a", "b"):
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8))
    document = {
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
        "images": [
            {"id": 1, "file_name": "images/a.jpg", "split": "train"},
            {"id": 2, "file_name": "images/b.jpg", "split": "val"},
        ],
        "annotations": [{"id": number, "image_id": 1, **one} for number, one in enumerate(annotations)],
    }
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def outline(category: int, polygons: Any, bbox: list[float], **more: Any) -> dict[str, Any]:
    """An annotation."""
    return {"category_id": category, "segmentation": polygons, "bbox": bbox, **more}


def draw(tmp_path: Path, annotations: list[dict[str, Any]], *classes: str) -> np.ndarray:
    """The mask of the picture, as a training reads it."""
    folder = write_coco(tmp_path / "coco", annotations)
    assert outlines.main([str(folder), "--classes", *classes, "--out", str(tmp_path / "out")]) == 0
    return load_set(tmp_path / "out", split="train").pictures[0].mask.indexes()


def test_an_outline_is_filled_and_all_else_is_background(tmp_path: Path) -> None:
    """Pixels whose centre is inside: 10 x 10 of them."""
    mask = draw(tmp_path, [outline(1, SQUARE, [10, 5, 10, 10])], "person")

    expected = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    expected[5:15, 10:20] = 1
    np.testing.assert_array_equal(mask, expected)


def test_the_set_has_both_splits_its_names_and_void(tmp_path: Path) -> None:
    """As every other set with masks."""
    draw(tmp_path, [outline(1, SQUARE, [10, 5, 10, 10])], "person")

    found = load_set(tmp_path / "out")

    assert found.classes == ("background", "person", "void")
    assert [(one.origin.file, one.origin.split) for one in found.pictures] == [("images/a.jpg", "train"), ("images/b.jpg", "val")]
    assert found.labelled.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "annotation",
    [
        outline(1, [], [10, 5, 10, 10]),
        outline(1, {"counts": "abc", "size": [30, 40]}, [10, 5, 10, 10]),
        outline(1, SQUARE, [10, 5, 10, 10], iscrowd=1),
    ],
)
def test_what_has_no_outline_is_void_within_its_box(tmp_path: Path, annotation: dict[str, Any]) -> None:
    """Nobody knows which pixels of the box it is; run lengths are those of crowds."""
    mask = draw(tmp_path, [annotation], "person")

    place = np.argwhere(mask == 2)
    assert (place.min(axis=0).tolist(), place.max(axis=0).tolist(), len(place)) == ([5, 10], [14, 19], 100)


def test_the_smaller_object_is_in_front_and_classes_count_in_their_order(tmp_path: Path) -> None:
    """A person before a car; what is not asked for is background."""
    car = outline(3, [[0, 0, 40, 0, 40, 30, 0, 30]], [0, 0, 40, 30])
    annotations = [outline(1, SQUARE, [10, 5, 10, 10]), car]

    mask = draw(tmp_path, annotations, "car", "person")

    assert (mask[10, 15], mask[25, 35]) == (2, 1)


@pytest.mark.parametrize(
    ("annotations", "classes", "expected"),
    [
        ([], ["persn"], "has no class 'persn'; did you mean 'person'?"),
        ([outline(1, [[1.0, 2.0, 3.0, 4.0]], [1, 1, 5, 5])], ["person"], "expected three corners or more"),
        ([outline(1, [["x"] * 6], [1, 1, 5, 5])], ["person"], "expected three corners or more"),
        ([outline(1, SQUARE, [1, 1, 5])], ["person"], "expected four numbers x, y, w, h"),
    ],
)
def test_mistakes_are_told_and_nothing_is_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], annotations: list[dict[str, Any]], classes: list[str], expected: str
) -> None:
    """With 78, and no set that could be taken for a whole one."""
    folder = write_coco(tmp_path / "coco", annotations)

    assert outlines.main([str(folder), "--classes", *classes, "--out", str(tmp_path / "out")]) == 78

    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out" / "split.csv").exists()


@pytest.mark.parametrize("file", ["other/a.jpg", "images/a.png"])
def test_two_pictures_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str) -> None:
    """One would silently get the mask of the other."""
    folder = write_coco(tmp_path / "coco", [])
    (folder / "other").mkdir()
    cv2.imwrite(str(folder / file), np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8))
    labels = folder / "annotations.json"
    labels.write_text(labels.read_text(encoding="utf-8").replace("images/b.jpg", file), encoding="utf-8")

    assert outlines.main([str(folder), "--classes", "person", "--out", str(tmp_path / "out")]) == 78

    assert f"{file}: images/a.jpg has the same name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it holds."""
    folder = write_coco(tmp_path / "coco", [])
    (tmp_path / "out" / "images").mkdir(parents=True)

    assert outlines.main([str(folder), "--classes", "person", "--out", str(tmp_path / "out")]) == 78
    assert "name a folder that is not there yet" in capsys.readouterr().err
