"""The command: what it prints, writes and refuses. Needs no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from coco_folder import write_coco_folder
from models_onnx import make_manifest, save_engine

from edged.assembly import open_detector
from edged.errors import InputError
from edged.models.manifest import load_manifest
from tools import evaluate
from tools.calibrate import calibrate
from tools.datasets import load_coco
from tools.report.run import find

CLASSES = ["person", "car"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve pictures of the val split, a person or a car in each."""
    return write_coco_folder(tmp_path / "judge", pictures=12, split="val")


def write_engine(
    folder: Path, *, name: str = "tiny", classes: list[str] = CLASSES, scores: list[list[float]] | None = None
) -> Path:
    """An engine that sees a person and a car in the middle of every picture, whatever it shows."""
    manifest = make_manifest(name=name, classes=classes, thresholds={"score": 0.2, "nms_iou": 0.5})
    boxes = np.array([[16, 4, 48, 30], [16, 6, 40, 28]], np.float32)
    save_engine(folder, manifest, boxes=boxes, scores=np.array(scores or [[0.9, 0], [0, 0.9]], np.float32))
    return folder


def test_main_prints_a_row_for_every_class(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Set, class, number and figures, and how long a picture takes."""
    assert evaluate.main([str(write_engine(tmp_path / "tiny")), str(data)]) == 0

    out = capsys.readouterr().out
    assert re.search(r"judge +person +6 ", out)
    assert re.search(r"judge +car +6 ", out)
    assert re.search(r"judge +12 pictures, [0-9.]+ ms a picture", out)


def test_main_json_holds_the_figures_with_their_intervals(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six pictures with a class are too few for an interval, and that is said by null."""
    assert evaluate.main([str(write_engine(tmp_path / "tiny")), str(data), "--json", "--resamples", "50"]) == 0

    report = json.loads(capsys.readouterr().out)["sets"]["judge"]
    person = report["classes"]["person"]
    assert (report["pictures"], person["n"], person["threshold"], person["interval"]) == (12, 6, 0.2, None)
    assert person["found"] + person["invented"] == 12
    assert set(person["by_size"]) == {"small", "medium", "large"}
    assert report["ms_per_picture"] > 0


def test_main_against_prints_the_difference_and_the_missing_class(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes are matched by name; the second engine knows no cars, and calls its other class a dog."""
    other = write_engine(tmp_path / "other", name="other", classes=["dog", "person"], scores=[[0, 0.05], [0.9, 0]])

    assert evaluate.main([str(write_engine(tmp_path / "tiny")), str(data), "--against", str(other)]) == 0

    out = capsys.readouterr().out
    assert "other test-1 on onnxruntime" in out.splitlines()[1]
    assert re.search(r"judge +car .* the other has no class of this name$", out, re.MULTILINE)
    assert "difference" in out


def test_main_html_writes_one_file_that_needs_no_other(tmp_path: Path, data: Path) -> None:
    """No script, no address, no reference to a file; pictures are inside."""
    pytest.importorskip("pycocotools", reason="the page shows COCO's figures")
    page = tmp_path / "report.html"

    assert evaluate.main([str(write_engine(tmp_path / "tiny")), str(data), "--html", str(page), "--resamples", "20"]) == 0

    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert re.findall(r"https?://", text) == []
    assert {match[:22] for match in re.findall(r'(?:src|href)="([^"]*)"', text)} == {"data:image/jpeg;base64"}
    assert "images/1.png" in text
    assert all(word in text for word in ("precision over recall", "calibration", "Who is taken for whom", "Speed"))


def test_main_html_escapes_the_names_of_files(tmp_path: Path, data: Path) -> None:
    """A picture may be called anything."""
    pytest.importorskip("pycocotools", reason="the page shows COCO's figures")
    labels = json.loads((data / "annotations.json").read_text(encoding="utf-8"))
    for image in labels["images"]:
        name = f"images/<img src=x onerror=y>{image['id']}&.png"
        (data / image["file_name"]).rename(data / name)
        image["file_name"] = name
    (data / "annotations.json").write_text(json.dumps(labels), encoding="utf-8")
    page = tmp_path / "report.html"

    assert evaluate.main([str(write_engine(tmp_path / "tiny")), str(data), "--html", str(page), "--resamples", "0"]) == 0

    text = page.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "&lt;img src=x onerror=y&gt;1&amp;.png" in text


def test_main_html_of_two_engines_compares_them(tmp_path: Path, data: Path) -> None:
    """The second engine stands beside the first, also where it finds nothing."""
    pytest.importorskip("pycocotools", reason="the page shows COCO's figures")
    page, engine = tmp_path / "report.html", write_engine(tmp_path / "tiny")
    blind = write_engine(tmp_path / "blind", name="blind", classes=["person", "dog"], scores=[[0, 0], [0, 0]])

    code = evaluate.main([str(engine), str(data), "--against", str(blind), "--html", str(page), "--pictures", "0"])

    text = page.read_text(encoding="utf-8")
    assert code == 0
    assert "Against blind" in text
    assert "blind does not find: car." in text
    assert "<image" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "nothing to evaluate on", id="no data"),
        pytest.param(["."], "annotations.json", id="folder without a set"),
        pytest.param(["judge", "--resamples", "-1"], "0 or more", id="negative resamples"),
        pytest.param(["judge", "--against", "nowhere"], "nowhere", id="no such engine"),
        pytest.param(["judge", "--against", "dogs"], "none of the sets", id="engine without a common class"),
        pytest.param(["judge", "--html", "nowhere/report.html"], "cannot be written", id="page without a folder"),
    ],
)
@pytest.mark.usefixtures("data")
def test_main_of_wrong_input_exits_78(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    """What is wrong is said in one line."""
    if "--html" in options:
        pytest.importorskip("pycocotools", reason="the page shows COCO's figures")
    monkeypatch.chdir(tmp_path)
    write_engine(tmp_path / "tiny")
    write_engine(tmp_path / "dogs", name="dogs", classes=["dog", "cat"])
    (tmp_path / "empty").mkdir()
    if options == ["."]:
        monkeypatch.chdir(tmp_path / "empty")

    assert evaluate.main([str(tmp_path / "tiny"), *options]) == 78

    assert message in capsys.readouterr().err


def test_main_says_which_labelled_classes_an_engine_lacks(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A class without a figure is said, not passed over, in the table and in the JSON."""
    engine = write_engine(tmp_path / "many", classes=["car", "dog"])

    assert evaluate.main([str(engine), str(data)]) == 0
    assert "person      labelled, but the engine has no class of this name" in capsys.readouterr().out
    assert evaluate.main([str(engine), str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["sets"]["judge"]
    assert (list(report["classes"]), report["lacking"]) == (["car"], ["person"])


def test_find_of_classes_that_are_not_ours_counts_them_nowhere(tmp_path: Path, data: Path) -> None:
    """A dog is neither a hit nor invented; what the engine calls car is our car, whatever its number."""
    with open_detector(write_engine(tmp_path / "many", classes=["car", "dog"])) as detector:
        found = find(detector, load_coco(data, split="val"))

    assert {int(number) for each in found.detections for number in each.class_ids} == {-1, 2}


def test_find_of_an_engine_without_any_labelled_class_is_refused(tmp_path: Path, data: Path) -> None:
    """There is nothing to measure."""
    with (
        open_detector(write_engine(tmp_path / "faces", classes=["face", "mask"])) as detector,
        pytest.raises(InputError, match="finds none of these"),
    ):
        find(detector, load_coco(data, split="val"))


def test_calibrate_of_a_network_with_other_classes_leaves_those_alone(tmp_path: Path, data: Path) -> None:
    """Only classes that our data may label are judged."""
    engine = write_engine(tmp_path / "many", classes=["car", "dog"])

    calibrate(engine, data.parent, drawn=0)

    assert list(load_manifest(engine).measured["ap50"]) == ["car"]
