"""The command that chooses thresholds: which classes and sets it judges. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder
from labelled_folders import write_masks, write_table
from models_onnx import make_manifest, make_segmenter_manifest, save_engine, save_pixel_colour_engine

from edged.models.manifest import DetectorManifest, load_manifest
from tools import calibrate

BOXES = np.array([[22, 8, 36, 23], [17, 6, 30, 21]], np.float32)
"""In the network's input; about where some of the objects are."""


def write_engine(folder: Path, *, classes: list[str], trained: dict[str, object] | None = None) -> Path:
    """An engine that sees its first two classes in the middle of every picture, whatever it shows."""
    manifest = make_manifest(name=folder.name, classes=classes, thresholds={"score": 0.2, "nms_iou": 0.5}, trained=trained or {})
    save_engine(folder, manifest, boxes=BOXES, scores=0.9 * np.eye(2, len(classes)))
    return folder


def write_set(folder: Path, *names: str, pictures: int = 44) -> Path:
    """Pictures of the val split with one object each, of two classes in turn."""
    return write_coco_folder(folder, pictures=pictures, split="val", names=dict(zip((1, 3), names, strict=True)))


def run(engine: Path, data: Path, *, drawn: int = 0) -> DetectorManifest:
    """The manifest after the command."""
    assert calibrate.main([str(engine), "--data", str(data), "--drawn", str(drawn)]) == 0
    return load_manifest(engine)


def test_calibrate_of_own_classes_chooses_and_measures_each(tmp_path: Path) -> None:
    """They get thresholds and figures as ours do, under the manifest's names."""
    engine = write_engine(tmp_path / "own", classes=["Reach-Truck", "person"])

    manifest = run(engine, write_set(tmp_path / "data" / "yard", "person", "reach_truck"))

    assert list(manifest.thresholds.per_class) == ["Reach-Truck", "person"]
    assert {name: one["n"] for name, one in manifest.measured["ap50"].items()} == {"Reach-Truck": 22, "person": 22}


def test_calibrate_prints_what_it_wrote_and_no_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thresholds and figures must not drown in the settings of the training."""
    engine = write_engine(tmp_path / "own", classes=["person", "forklift"], trained={"epochs": 7})

    manifest = run(engine, write_set(tmp_path / "data", "person", "forklift"))

    out = capsys.readouterr().out
    assert out.startswith("thresholds:")
    assert "forklift: {n: 22" in out
    assert "epochs" not in out
    assert manifest.trained == {"epochs": 7}


def test_calibrate_of_own_classes_agrees_with_ours_on_the_same_boxes(tmp_path: Path) -> None:
    """Only the name differs."""
    ours = run(write_engine(tmp_path / "ours", classes=["person", "car"]), write_set(tmp_path / "a", "person", "car"))
    own = run(write_engine(tmp_path / "own", classes=["helmet", "vest"]), write_set(tmp_path / "b", "helmet", "vest"))

    assert list(own.measured["ap50"].values()) == list(ours.measured["ap50"].values())
    assert list(own.thresholds.per_class.values()) == list(ours.thresholds.per_class.values())
    assert own.thresholds.score == ours.thresholds.score
    assert ours.measured["ap50"]["person"]["ap50"] > 0


def test_calibrate_of_a_class_that_no_set_labels_says_not_measured(tmp_path: Path) -> None:
    """It has the common threshold; what the sets label beyond the manifest is passed over."""
    engine = write_engine(tmp_path / "many", classes=["car", "dog"])

    manifest = run(engine, write_set(tmp_path / "data", "person", "car"))

    assert list(manifest.measured["ap50"]) == ["car", "dog"]
    assert (manifest.measured["ap50"]["car"]["n"], manifest.measured["ap50"]["dog"]) == (22, "not measured")
    assert list(manifest.thresholds.per_class) == ["car"]
    assert manifest.thresholds.score == manifest.thresholds.per_class["car"].score


def test_calibrate_measures_the_drawn_street_for_the_classes_that_it_has(tmp_path: Path) -> None:
    """A forklift never drives there."""
    engine = write_engine(tmp_path / "own", classes=["person", "forklift"])

    manifest = run(engine, write_set(tmp_path / "data", "person", "forklift"), drawn=2)

    assert list(manifest.measured["drawn_street"]) == ["person"]
    assert manifest.measured["ap50"]["forklift"]["n"] == 22


@pytest.mark.parametrize(("trained", "measured"), [({"drawn": 800}, True), ({"drawn": 0}, False), ({}, False)])
def test_calibrate_takes_the_drawn_street_only_for_a_network_that_was_trained_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: dict[str, object], measured: bool
) -> None:
    """For any other its thresholds would come from pictures that it cannot know."""
    monkeypatch.setattr(calibrate, "DRAWN_PICTURES", 2)
    engine = write_engine(tmp_path / "own", classes=["person", "car"], trained=trained)
    data = write_set(tmp_path / "data", "person", "car", pictures=2)

    assert calibrate.main([str(engine), "--data", str(data)]) == 0

    assert ("drawn_street" in load_manifest(engine).measured) is measured


def test_calibrate_of_an_engine_that_the_street_has_nothing_for_leaves_it_out(tmp_path: Path) -> None:
    """The command needs no other options for it."""
    engine = write_engine(tmp_path / "own", classes=["helmet", "forklift"])

    manifest = run(engine, write_set(tmp_path / "data", "helmet", "forklift"), drawn=2)

    assert set(manifest.measured) == {"on", "ap50"}


def test_calibrate_passes_over_a_set_without_a_class_of_the_engine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is named with what it labels; the other sets count."""
    write_set(tmp_path / "data" / "yard", "person", "forklift")
    write_set(tmp_path / "data" / "zoo", "lion", "zebra", pictures=2)

    manifest = run(write_engine(tmp_path / "own", classes=["person", "forklift"]), tmp_path / "data")

    assert "passed over: set zoo labels no class of the engine, but lion, zebra" in caplog.text
    assert manifest.measured["ap50"]["person"]["n"] == 22


def test_calibrate_passes_over_a_set_without_val(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A set that only trains is named; the other sets count."""
    write_set(tmp_path / "data" / "yard", "person", "forklift")
    write_coco_folder(tmp_path / "data" / "frames", pictures=2)

    manifest = run(write_engine(tmp_path / "own", classes=["person", "forklift"]), tmp_path / "data")

    assert "passed over, no picture in split 'val': frames" in caplog.text
    assert manifest.measured["ap50"]["person"]["n"] == 22


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        pytest.param(
            ["helmet", "vest"],
            "finds helmet, vest; none of the sets yard labels one of these, they label car, person",
            id="strange",
        ),
        pytest.param(["motorbike", "motorcycle"], "'motorbike' and 'motorcycle' are one name", id="two names of one class"),
    ],
)
def test_calibrate_of_classes_that_cannot_be_judged_exits_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], classes: list[str], message: str
) -> None:
    """What the engine finds and what the sets label is said; the manifest stays as it was."""
    engine, data = write_engine(tmp_path / "own", classes=classes), write_set(tmp_path / "yard", "person", "car", pictures=2)
    before = load_manifest(engine)

    assert calibrate.main([str(engine), "--data", str(data), "--drawn", "0"]) == 78

    assert message in capsys.readouterr().err
    assert load_manifest(engine) == before


def test_calibrate_of_an_engine_with_points_measures_how_far_they_are_off(tmp_path: Path) -> None:
    """Over the eyes' distance of 10 pixels and the box's side; the set's nose is unknown."""
    outputs = {"boxes": "boxes", "scores": "scores", "points": "points"}
    names = ["left_eye", "right_eye", "nose"]
    manifest = make_manifest(name="faces", classes=["face"], points=names, outputs=outputs)
    points = np.array([[[24, 12], [34, 12], [29, 20]]] * 2, np.float32)
    save_engine(tmp_path / "faces", manifest, boxes=BOXES, scores=np.array([[0.9], [0.0]]), points=points)
    rows = [f"{number}.png,val,22,8,14,15,24,13,34,13,," for number in range(24)]
    head = "file,split,x,y,w,h,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y"
    data = write_table(tmp_path / "data", "\n".join([head, *rows]) + "\n", pictures=[])
    for number in range(24):
        cv2.imwrite(str(data / f"{number}.png"), np.full((32, 64, 3), 200 + number, np.uint8))

    measured = run(tmp_path / "faces", data).measured

    assert measured["points"] == {"face": {"n": 24, "found": 24, "by_eyes": 0.1, "by_box": round(1 / np.sqrt(14 * 15), 4)}}


def test_calibrate_of_a_segmenter_measures_it_and_has_no_thresholds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures by set, of the val split, with intervals where there are pictures enough; everything here is road to it."""
    save_pixel_colour_engine(tmp_path / "scene", make_segmenter_manifest(trained={"epochs": 7}), weights=np.eye(3)[:, [0, 0, 0]])
    half = np.zeros((64, 80), np.uint8)
    half[:, 32:] = 1
    write_masks(tmp_path / "data" / "yard", {str(number): half for number in range(13)}, classes="0 road\n1 car\n")

    assert calibrate.main([str(tmp_path / "scene"), "--data", str(tmp_path / "data")]) == 0

    measured = load_manifest(tmp_path / "scene").measured
    share = 32 / 80
    assert measured["on"] == "val split, at the pictures' own size; borders within 0.75 % of the diagonal"
    assert measured["yard"]["pictures"] == 12
    assert measured["yard"]["iou"] == {"road": share, "car": 0.0}
    assert measured["yard"]["miou"] == {"value": share / 2, "interval": [share / 2, share / 2]}
    out = capsys.readouterr().out
    assert out.startswith("measured:")
    assert "epochs" not in out
