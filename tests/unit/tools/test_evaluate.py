"""Judging engines whose classes are not quite ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from coco_folder import write_coco_folder
from models_onnx import make_manifest, save_engine

from edged.assembly import open_detector
from edged.errors import InputError
from edged.models.manifest import load_manifest
from tools.calibrate import calibrate
from tools.datasets import load_coco
from tools.evaluate import find, lacking, main

BOX = [[10.0, 10.0, 30.0, 30.0], [20.0, 5.0, 40.0, 25.0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures that label persons, cars and motorcycles."""
    return write_coco_folder(tmp_path / "small", pictures=4, split="val", labelled=(1, 3, 4))


def _engine(directory: Path, classes: list[str]) -> Path:
    """It says the last of its classes everywhere, and the first less surely."""
    scores = np.zeros((2, len(classes)), np.float32)
    scores[0, -1], scores[1, 0] = 0.9, 0.8
    save_engine(directory, make_manifest(classes=classes, anchors=[[[16.0, 24.0]]]), boxes=np.array(BOX), scores=scores)
    return directory


def test_find_of_classes_that_are_not_ours_counts_them_nowhere(tmp_path: Path, folder: Path) -> None:
    """A dog is neither a hit nor invented; what the engine calls car is our car, whatever its number."""
    with open_detector(_engine(tmp_path / "many", ["car", "dog", "zebra"])) as detector:
        found = find(detector, load_coco(folder, split="val"))

    assert {int(number) for each in found.detections for number in each.class_ids} == {-1, 2}


def test_lacking_names_what_the_set_labels_and_the_engine_does_not_know(folder: Path) -> None:
    """A class without a figure is said, not passed over: motorbike is not motorcycle."""
    assert lacking(load_coco(folder, split="val"), ["dog", "car", "motorbike"]) == ["person", "motorcycle"]


def test_lacking_of_an_engine_that_knows_all_is_empty(folder: Path) -> None:
    """Classes that it has beyond these do not matter."""
    assert lacking(load_coco(folder, split="val"), ["motorcycle", "dog", "car", "person"]) == []


def test_main_reports_the_classes_that_an_engine_lacks(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the table and in the JSON."""
    engine = _engine(tmp_path / "many", ["car", "dog"])

    assert main([str(engine), str(folder)]) == 0
    assert "motorcycle  labelled, but the engine has no class of this name" in capsys.readouterr().out
    assert main([str(engine), str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["sets"]["small"]
    assert (list(report["classes"]), report["lacking"]) == (["car"], ["person", "motorcycle"])


def test_find_of_an_engine_without_any_labelled_class_is_refused(tmp_path: Path, folder: Path) -> None:
    """There is nothing to measure."""
    with (
        open_detector(_engine(tmp_path / "faces", ["face"])) as detector,
        pytest.raises(InputError, match="finds none of these"),
    ):
        find(detector, load_coco(folder, split="val"))


def test_calibrate_of_a_network_with_other_classes_leaves_those_alone(tmp_path: Path, folder: Path) -> None:
    """Only classes that our data may label are judged."""
    engine = _engine(tmp_path / "many", ["car", "dog"])

    calibrate(engine, folder.parent, drawn=0)

    assert list(load_manifest(engine).measured["ap50"]) == ["car"]
