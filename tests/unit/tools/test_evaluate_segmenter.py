"""Maps judged on drawn pictures whose masks are exact. Needs no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder
from labelled_folders import write_masks
from models_onnx import make_manifest, make_segmenter_manifest, save_engine, save_pixel_colour_engine

from tools import evaluate

ROAD, CAR, PERSON, VOID = range(4)
CLASSES = "0 road\n1 car\n2 person\n3 void\n"
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 255, 0]], np.uint8)
"""What the network takes for road, car and person; where nothing is known it sees a car."""
SEES_ALL = 8 * np.eye(3)
SEES_NO_CARS = SEES_ALL[[0, 0, 2]]
"""A car is road to it."""


def draw_mask(car: int, person: int, *, void: int = 0) -> np.ndarray:
    """(32, 64): road, with so many columns of a car on the left and of a person on the right, and of void in between."""
    mask = np.full((32, 64), ROAD, np.uint8)
    mask[:, :car] = CAR
    mask[:, 64 - person :] = PERSON
    mask[:, 32 : 32 + void] = VOID
    return mask


def write_drawn(
    folder: Path, masks: Sequence[np.ndarray], *, classes: str = CLASSES, meaning: Sequence[int] = (ROAD, CAR, PERSON, VOID)
) -> Path:
    """A set whose pictures show their masks in `COLOURS`; the first picture is of the train split.

    Args:
        meaning: which of the set's classes the masks call road, car, person and void.
    """
    stored = [np.array(meaning, np.uint8)[mask] for mask in masks]
    write_masks(folder, {f"{number:02}": mask for number, mask in enumerate(stored)}, classes=classes)
    for number, mask in enumerate(masks):
        cv2.imwrite(str(folder / "images" / f"{number:02}.png"), COLOURS[mask][..., ::-1])
    return folder


def write_engine(folder: Path, weights: np.ndarray = SEES_ALL, **changes: object) -> Path:
    save_pixel_colour_engine(folder, make_segmenter_manifest(**changes), weights=weights)
    return folder


def evaluate_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """What `--json` prints."""
    assert evaluate.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One picture to train on and two of val: cars of 16 and of 24 columns, a person of 8 in the second alone."""
    masks = [draw_mask(1, 1), draw_mask(16, 0, void=4), draw_mask(24, 8)]
    return write_drawn(tmp_path / "yard", masks)


def test_evaluate_of_a_perfect_segmenter_is_one_everywhere(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it says where nothing is known counts neither way."""
    report = evaluate_json(capsys, write_engine(tmp_path / "scene"), data)

    yard = report["sets"]["yard"]
    assert yard["pictures"] == 2
    assert [yard[key]["value"] for key in ("miou", "pixel_accuracy", "boundary_f1")] == [1, 1, 1]
    assert {name: (one["pixels"], one["iou"]["value"]) for name, one in yard["classes"].items()} == {
        "road": (32 * (44 + 32), 1),
        "car": (32 * 40, 1),
        "person": (32 * 8, 1),
    }
    assert yard["confusion"]["pixels"] == [[32 * 76, 0, 0], [0, 32 * 40, 0], [0, 0, 32 * 8]]
    assert (yard["void_pixels"], yard["lacking"], yard["not_measured"]) == (32 * 4, {}, [])


def test_evaluate_of_a_segmenter_that_sees_no_cars_gives_the_figures_worked_out_by_hand(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All pixels of the set are counted together; two pictures are too few for an interval."""
    report = evaluate_json(capsys, write_engine(tmp_path / "scene", SEES_NO_CARS), data, "--tolerance", "1px")

    yard = report["sets"]["yard"]
    road = 76 / (76 + 40)
    assert yard["classes"]["road"]["iou"] == {"value": round(road, 4), "interval": None}
    assert yard["classes"]["car"]["iou"]["value"] == 0
    assert yard["classes"]["person"]["iou"]["value"] == 1
    assert yard["miou"]["value"] == pytest.approx((road + 0 + 1) / 3, abs=1e-4)
    assert yard["pixel_accuracy"]["value"] == pytest.approx((76 + 8) / (76 + 40 + 8), abs=1e-4)
    assert yard["confusion"]["pixels"][CAR] == [32 * 40, 0, 0]
    # Of the road's borders the one with the car is missed in both pictures, the one with the person is found in the second.
    assert yard["classes"]["road"]["boundary_f1"]["value"] == pytest.approx((0 + 2 * 1 * 0.5 / 1.5) / 2, abs=1e-4)
    assert yard["classes"]["car"]["boundary_f1"]["value"] == 0
    assert yard["classes"]["person"]["boundary_f1"]["value"] == 1
    assert report["boundary_tolerance"] == "1 px"


def test_evaluate_judges_at_the_pictures_own_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures four times as large as the network's input, and the grey around others, change nothing of what is known."""
    large = [np.kron(mask, np.ones((4, 4), np.uint8)) for mask in (draw_mask(1, 1), draw_mask(16, 8))]
    tall = np.vstack([draw_mask(0, 32), draw_mask(0, 32)])
    data = write_drawn(tmp_path / "yard", [*large, tall])

    report = evaluate_json(capsys, write_engine(tmp_path / "scene"), data)

    yard = report["sets"]["yard"]
    assert sum(one["pixels"] for one in yard["classes"].values()) == 128 * 256 + 64 * 64
    assert yard["miou"]["value"] > 0.98


def test_evaluate_tells_classes_by_name_and_what_each_side_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The set knows no person and calls its classes otherwise; grass is left out, and a person said on the road is wrong."""
    masks = [draw_mask(1, 0), draw_mask(16, 8)]
    data = write_drawn(tmp_path / "yard", masks, classes="0 Car\n1 grass\n2 ROAD\n3 void\n", meaning=(2, 0, 2, 3))
    mask = cv2.imread(str(data / "masks" / "01.png"), cv2.IMREAD_UNCHANGED)
    mask[:, 30:34] = 1
    cv2.imwrite(str(data / "masks" / "01.png"), mask)

    report = evaluate_json(capsys, write_engine(tmp_path / "scene"), data)

    yard = report["sets"]["yard"]
    assert list(yard["classes"]) == ["road", "car"]
    assert yard["lacking"] == {"grass": 32 * 4}
    assert yard["not_measured"] == ["person"]
    assert yard["classes"]["road"]["iou"]["value"] == pytest.approx((48 - 8 - 4) / (48 - 4), abs=1e-4)
    assert yard["miou"]["value"] == pytest.approx((36 / 44 + 1) / 2, abs=1e-4)


def test_evaluate_of_many_pictures_gives_intervals_that_hold_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By pictures drawn anew; the same seed gives the same ones."""
    data = write_drawn(tmp_path / "yard", [draw_mask(4 + number, 4 if number % 2 else 0) for number in range(15)])
    engine = write_engine(tmp_path / "scene", SEES_NO_CARS)

    first, again = (evaluate_json(capsys, engine, data, "--resamples", "200") for _ in range(2))

    yard = first["sets"]["yard"]
    for figure in (yard["miou"], yard["pixel_accuracy"], yard["classes"]["road"]["iou"]):
        low, high = figure["interval"]
        assert low < figure["value"] < high
    assert yard["classes"]["person"]["iou"] == {"value": 1.0, "interval": None}  # in seven pictures
    for report in (first, again):
        del report["sets"]["yard"]["ms_per_picture"]
    assert first == again


def test_evaluate_against_another_gives_the_difference_by_the_same_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What both see alike differs by nothing, whichever pictures are drawn."""
    data = write_drawn(tmp_path / "yard", [draw_mask(4 + number, 4) for number in range(13)])
    engines = write_engine(tmp_path / "scene"), data, "--against", write_engine(tmp_path / "blind", SEES_NO_CARS, name="blind")

    report = evaluate_json(capsys, *engines, "--resamples", "100")

    yard = report["sets"]["yard"]
    ours, other = yard["miou"]["value"], yard["against"]["miou"]["value"]
    assert report["against"].startswith("blind ")
    assert yard["difference"]["miou"]["value"] == pytest.approx(ours - other, abs=1e-4)
    assert yard["difference"]["miou"]["interval"][0] > 0
    assert yard["difference"]["iou"]["person"] == {"value": 0.0, "interval": [0.0, 0.0]}
    assert evaluate.main([str(each) for each in engines]) == 0
    out = capsys.readouterr().out
    assert re.search(r"yard +person .* 1\.0000 +\+0\.0000 +\+0\.000…\+0\.000\n", out)
    assert re.search(r"yard +car .* 0\.0000 +\+1\.0000 +\+1\.000…\+1\.000\n", out)


def test_evaluate_against_one_of_other_classes_compares_what_both_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Means over other classes are no match for each other."""
    data = write_drawn(tmp_path / "yard", [draw_mask(4 + number, 4) for number in range(13)])
    other = write_engine(tmp_path / "other", classes=["road", "van", "person"])
    engines = write_engine(tmp_path / "scene"), data, "--against", other

    yard = evaluate_json(capsys, *engines, "--resamples", "10")["sets"]["yard"]

    assert yard["against"]["lacking"] == {"car": 32 * sum(range(5, 17))}
    assert set(yard["difference"]["iou"]) == {"road", "person"}
    assert yard["difference"]["miou"] is None
    assert evaluate.main([str(each) for each in engines]) == 0
    assert re.search(r"yard +mean of classes +1\.0000 +1\.000…1\.000 +1\.0000 +1\.000…1\.000\n", capsys.readouterr().out)


def test_main_prints_a_row_for_every_class(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Share of the pixels, IoU and boundary F1, then the means, the accuracy and what a picture took."""
    assert evaluate.main([str(write_engine(tmp_path / "scene", SEES_NO_CARS)), str(data)]) == 0

    out = capsys.readouterr().out
    assert re.search(r"yard +road +61\.3% +0\.6552 +- ", out)
    assert re.search(r"yard +car +32\.3% +0\.0000 +- +0\.0000 ", out)
    assert re.search(r"yard +mean of classes +0\.5517 ", out)
    assert re.search(
        r"pixel accuracy 0\.6774 \(-\); 2 pictures, [0-9.]+ ms a picture; borders within 0\.75 % of the diagonal", out
    )
    assert re.search(r"yard +void: 3\.1% of the pixels", out)


def test_html_shows_best_and_worst_pictures_and_refers_to_nothing_outside(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file: figures, confusion, three drawings for each picture shown, and a key of colours."""
    page = tmp_path / "report.html"

    assert evaluate.main([str(write_engine(tmp_path / "scene", SEES_NO_CARS)), str(data), "--html", str(page)]) == 0

    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,") == 2
    assert "<h2>yard: 2 pictures</h2>" in html
    assert "is car" in html
    assert "said person" in html
    assert "within 0.75 % of the diagonal" in html
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
    worst = html[html.index("Worst") :]
    assert "yard/images/01.png: mean IoU 0.367" in worst  # road 44 of 60 columns, no car


def test_html_of_no_pictures_shows_figures_alone(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--pictures 0` makes a page that shows nobody."""
    page = tmp_path / "report.html"
    engine = write_engine(tmp_path / "scene")

    assert evaluate.main([str(engine), str(data), "--html", str(page), "--pictures", "0"]) == 0

    assert "data:image" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--tolerance", "3"], "--tolerance 3: expected a share of the diagonal", id="a bare number"),
        pytest.param(["--coco"], "--coco: is for engines of the task detector", id="another task's option"),
        pytest.param(["--split", "train", "--drawn", "3"], "--drawn: is for engines of the task detector", id="drawn"),
    ],
)
def test_main_refuses_options_that_mean_nothing(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    """Told in one line, with the exit status of wrong input."""
    assert evaluate.main([str(write_engine(tmp_path / "scene")), str(data), *options]) == 78

    assert words in capsys.readouterr().err


def test_main_refuses_tolerance_for_a_detector(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Boxes have no borders of that kind."""
    save_engine(tmp_path / "tiny", make_manifest(), boxes=np.zeros((2, 4)), scores=np.zeros((2, 2)))

    assert evaluate.main([str(tmp_path / "tiny"), str(data), "--tolerance", "3px"]) == 78

    assert "--tolerance: is for engines of the task segmenter" in capsys.readouterr().err


def test_main_on_data_that_cannot_be_judged_says_why(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No data, no masks, no class in common, a mask of another size."""
    engine = write_engine(tmp_path / "scene")
    boxes = write_coco_folder(tmp_path / "boxes", pictures=2, split="val")
    other = write_drawn(tmp_path / "other", [draw_mask(1, 1)] * 2, classes="0 grass\n1 snow\n2 ice\n3 void\n")
    cut = write_drawn(tmp_path / "cut", [draw_mask(1, 1)] * 2)
    cv2.imwrite(str(cut / "masks" / "01.png"), draw_mask(1, 1)[:16])

    said = []
    for arguments in ([], [boxes], [other], [cut]):
        assert evaluate.main([str(engine), *map(str, arguments)]) == 78
        said.append(capsys.readouterr().err)

    assert "DATA is missing: name a folder of pictures and masks" in said[0]
    assert "no set there has masks in split 'val'" in said[1]
    assert "scene: finds car, person, road; none of the sets other labels one of these, they label grass, ice, snow" in said[2]
    assert "cut/masks/01.png: is 64x16, and its picture 64x32" in said[3]
