"""The check of a folder: mistakes in pictures and masks, leaks between splits, suspicious boxes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder
from labelled_folders import write_masks, write_picture, write_table

from tools.datasets.checking import Report, check_folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three pictures, two of train and one of val."""
    text = "file,label,split\na.png,x,train\nb.png,y,train\nc.png,x,val\n"
    return write_table(tmp_path / "set", text, pictures=("a.png", "b.png", "c.png"))


def _codes(report: Report) -> list[str]:
    return [one.code for one in report.suspicions]


def _boxes(folder: Path, boxes: list[list[float]]) -> Path:
    """A COCO folder whose first picture has these boxes."""
    write_coco_folder(folder, pictures=2)
    path = folder / "annotations.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["annotations"] = [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": box} for number, box in enumerate(boxes, start=1)
    ]
    path.write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_check_folder_of_a_good_set_finds_nothing(table: Path) -> None:
    """No mistake and no suspicion."""
    report = check_folder(table)

    assert report.mistakes.count == 0
    assert report.suspicions == ()


def test_check_folder_tells_damaged_pictures_with_their_rows(table: Path) -> None:
    """A cut picture that OpenCV may decode in part is a mistake, with what names it."""
    whole = (table / "b.png").read_bytes()
    (table / "b.png").write_bytes(whole[: len(whole) // 2])
    (table / "c.png").write_bytes(b"")

    report = check_folder(table)

    told = [str(one) for one in report.mistakes.shown]
    assert told[0].startswith("b.png, named by labels.csv, line 3: cut short")
    assert told[1].startswith("c.png, named by labels.csv, line 4: the file is empty")


def test_check_folder_tells_a_picture_in_both_splits(table: Path) -> None:
    """The same bytes under two names are a leak."""
    shutil.copy(table / "a.png", table / "c.png")

    (leak,) = check_folder(table).suspicions

    assert leak.code == "leak.same"
    assert leak.examples == ("a.png (train) and c.png (val)",)


def test_check_folder_tells_pictures_that_are_nearly_one_of_train(table: Path) -> None:
    """A scaled, brighter copy is nearly the same; the other pictures are not."""
    pixels = cv2.imread(str(table / "b.png"))
    cv2.imwrite(str(table / "c.png"), cv2.resize(cv2.convertScaleAbs(pixels, alpha=0.9, beta=20), (100, 80)))

    (leak,) = check_folder(table).suspicions

    assert leak.code == "leak.near"
    assert leak.examples == ("b.png (train) and c.png (val)",)


def test_check_folder_does_not_compare_pictures_without_contrast(table: Path) -> None:
    """Two fogs, a little darker to the left, look alike and need not be of one scene."""
    fog = np.repeat((np.arange(80, dtype=np.uint8) // 5)[None, :, None], 64, axis=0).repeat(3, axis=2)  # (64, 80, 3), 0 to 15
    for number, name in enumerate(("a.png", "c.png")):
        cv2.imwrite(str(table / name), fog + np.uint8(100 + 50 * number))

    assert _codes(check_folder(table)) == []


def test_check_folder_tells_a_picture_twice_in_one_split_and_a_missing_split(tmp_path: Path) -> None:
    """Neither is a mistake, both are told."""
    folder = write_table(tmp_path / "set", "file,label\na.png,x\nb.png,y\n", pictures=("a.png",))
    shutil.copy(folder / "a.png", folder / "b.png")

    assert _codes(check_folder(folder)) == ["split.empty", "picture.double"]


@pytest.mark.parametrize(
    ("boxes", "codes"),
    [
        pytest.param([[0, 0, 80, 64]], [], id="the whole picture"),
        pytest.param([[0, 0, 81, 64]], [], id="rounded out by one pixel"),
        pytest.param([[0, 0, 81.5, 64]], ["box.outside"], id="out to the right"),
        pytest.param([[-2, 0, 20, 20]], ["box.outside"], id="out to the left"),
        pytest.param([[5, 5, 3, 3]], [], id="three pixels"),
        pytest.param([[5, 5, 2.9, 30]], ["box.small"], id="under three pixels"),
        pytest.param([[5, 5, 20, 30], [5, 5, 20, 30]], ["box.twice"], id="twice"),
        pytest.param([[5, 5, 20, 30], [5, 5, 20, 20]], [], id="an overlap"),
    ],
)
def test_check_folder_tells_suspicious_boxes(tmp_path: Path, boxes: list[list[float]], codes: list[str]) -> None:
    """Out of the picture, too small, labelled twice."""
    found = _codes(check_folder(_boxes(tmp_path / "set", boxes)))

    assert [code for code in found if code.startswith("box.")] == codes


def test_check_folder_tells_classes_with_few_objects_and_those_not_wanted(tmp_path: Path) -> None:
    """A labelled class under twenty objects is told; what is left out is counted."""
    report = check_folder(_boxes(tmp_path / "set", [[5, 5, 20, 30]]), classes=("person",))

    few = next(one for one in report.suspicions if one.code == "class.few")
    assert few.message == "fewer than 20 objects in train: person 1"


def test_check_folder_with_a_class_never_seen_is_a_mistake(tmp_path: Path) -> None:
    """It is told beside the others."""
    report = check_folder(_boxes(tmp_path / "set", [[5, 5, 20, 30]]), classes=("person", "helmet"))

    assert "class 'helmet' is never seen" in report.mistakes.shown[0].message


def test_check_folder_compares_the_size_that_labels_tell(tmp_path: Path) -> None:
    """Boxes of a picture that was scaled afterwards are wrong."""
    folder = _boxes(tmp_path / "set", [[5, 5, 20, 30]])
    write_picture(folder / "images" / "2.png", seed=1)
    cv2.imwrite(str(folder / "images" / "1.png"), np.zeros((32, 40, 3), np.uint8))

    (mistake,) = check_folder(folder).mistakes.shown

    assert "labelled as 80x64, but the picture is 40x32" in mistake.message


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        pytest.param(np.full((64, 80), 3, np.uint8), "index 3: no such class; expected 0 to 2, or 255", id="unknown index"),
        pytest.param(np.zeros((64, 40), np.uint8), "is 40x64, the picture 80x64", id="another size"),
        pytest.param(np.zeros((64, 80, 3), np.uint8), "one 8-bit channel", id="colours"),
    ],
)
def test_check_folder_tells_wrong_masks(tmp_path: Path, mask: np.ndarray, message: str) -> None:
    """Each mask is decoded and held against its picture and the classes."""
    folder = write_masks(tmp_path / "set", {"a": mask, "b": np.full((64, 80), 255, np.uint8)})

    (mistake,) = check_folder(folder).mistakes.shown

    assert (mistake.file, message in mistake.message) == ("masks/a.png", True)


def test_check_folder_without_pictures_says_so(tmp_path: Path) -> None:
    """There is nothing to compare, and that is the mistake."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "labels.csv").write_text("file,label,split\n", encoding="utf-8")

    report = check_folder(tmp_path / "set")

    assert [str(one) for one in report.mistakes.shown if "no picture found" in str(one)]
