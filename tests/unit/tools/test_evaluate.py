"""The command: what it prints, writes and refuses. Needs no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder
from labelled_folders import write_masks, write_table
from models_onnx import make_manifest, save_engine

from edged.assembly import open_detector
from edged.errors import InputError
from edged.models.manifest import QuantisedFile, digest_file, load_manifest
from tools import evaluate
from tools.datasets import load_coco
from tools.engines import write_manifest
from tools.report.judged import load_boxes
from tools.report.run import find

CLASSES = ["person", "car"]
YARD = {1: "person", 3: "forklift"}
LARGE = [[16, 4, 48, 30], [16, 6, 40, 28]]
"""Boxes in the network's input that fit no object."""
FITTING = [[22, 8, 36, 23], [17, 6, 30, 21]]
"""Boxes that are about where some of the objects are."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve pictures of the val split, a person or a car in each."""
    return write_coco_folder(tmp_path / "judge", pictures=12, split="val")


def write_engine(
    folder: Path,
    *,
    name: str = "tiny",
    classes: list[str] = CLASSES,
    scores: list[list[float]] | None = None,
    boxes: list[list[int]] = LARGE,
) -> Path:
    """An engine that sees a person and a car in the middle of every picture, whatever it shows."""
    manifest = make_manifest(name=name, classes=classes, thresholds={"score": 0.2, "nms_iou": 0.5})
    save_engine(folder, manifest, boxes=np.array(boxes, np.float32), scores=np.array(scores or [[0.9, 0], [0, 0.9]], np.float32))
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


def test_main_compares_the_two_precisions_of_one_engine(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of the head says in what its figures were computed."""
    engine = write_engine(tmp_path / "tiny")
    int8 = engine / "model.int8.onnx"
    int8.write_bytes((write_engine(tmp_path / "rough", scores=[[0, 0.9], [0.9, 0]]) / "model.onnx").read_bytes())
    described = QuantisedFile(file=int8.name, sha256=digest_file(int8), opset=17, calibration="1 picture")
    write_manifest(engine, load_manifest(engine).model_copy(update={"int8": described}))

    assert evaluate.main([str(engine), str(data), "--precision", "int8", "--against", str(engine)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(", int8")
    assert lines[1].endswith(", fp32")


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


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """Twelve pictures of the val split, a person or a forklift in each."""
    return write_coco_folder(tmp_path / "yard", pictures=12, split="val", names=YARD)


def _json(*options: object, capsys: pytest.CaptureFixture[str]) -> dict:
    assert evaluate.main([*map(str, options), "--json", "--resamples", "20"]) == 0
    return json.loads(capsys.readouterr().out)


def test_main_judges_classes_of_ones_own(tmp_path: Path, yard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The names come from the manifest, in its order; the class ids of the set do not matter."""
    engine = write_engine(tmp_path / "yard_engine", classes=["forklift", "person"])

    assert evaluate.main([str(engine), str(yard)]) == 0

    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()[2:4]]
    assert rows == [["yard", "forklift", "6"], ["yard", "person", "6"]]


def test_main_judges_own_classes_as_it_does_ours(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same pictures and boxes under another name give the same figures."""
    renamed = write_coco_folder(tmp_path / "renamed" / "judge", pictures=12, split="val", names={1: "person", 3: "reach truck"})
    ours, own = (write_engine(tmp_path / name, classes=["person", name], boxes=FITTING) for name in ("car", "reach truck"))

    expected = _json(ours, data, "--coco", capsys=capsys)["sets"]["judge"]["classes"]
    found = _json(own, renamed, "--coco", capsys=capsys)["sets"]["judge"]["classes"]

    assert found == {"person": expected["person"], "reach truck": expected["car"]}
    assert expected["car"]["found"] > 0


def test_main_matches_names_as_the_labels_are_read(tmp_path: Path, yard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Case, _ and - make no difference; the figures stand under the engine's name."""
    engine = write_engine(tmp_path / "loud", classes=["PERSON", "Forklift"])

    report = _json(engine, yard, capsys=capsys)["sets"]["yard"]

    assert {name: one["n"] for name, one in report["classes"].items()} == {"PERSON": 6, "Forklift": 6}
    assert report["lacking"] == []


def test_main_says_what_is_not_measured(tmp_path: Path, yard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A class that the engine finds and no set labels has no figure, and that is said; without such a class nothing is."""
    engine = write_engine(
        tmp_path / "more", name="more", classes=["person", "forklift", "pallet"], scores=[[0.9, 0, 0], [0, 0, 0.9]]
    )

    assert evaluate.main([str(engine), str(yard)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "more: labelled in no set, so not measured: pallet"
    assert _json(engine, yard, capsys=capsys)["not_measured"] == ["pallet"]
    assert "not_measured" not in _json(write_engine(tmp_path / "two", classes=["person", "forklift"]), yard, capsys=capsys)


def test_main_of_many_lacking_classes_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set of eighty classes is no eighty lines."""
    names = {1: "person", 3: "forklift", **{number: f"kind {number}" for number in range(4, 12)}}
    yard = write_coco_folder(tmp_path / "yard", pictures=4, split="val", labelled=tuple(names), names=names)

    assert evaluate.main([str(write_engine(tmp_path / "tiny", classes=["person", "dog"])), str(yard)]) == 0

    (line,) = [line for line in capsys.readouterr().out.splitlines() if "labelled, but" in line]
    assert line == (
        "yard        forklift, kind 4, kind 5, kind 6, kind 7, kind 8 and 3 more "
        "labelled, but the engine has no class of these names"
    )


def test_main_keeps_its_columns_for_long_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of sets and classes are followed by a blank, however long."""
    long = {1: "person with helmet", 3: "forklift"}
    yard = write_coco_folder(tmp_path / "yard_in_the_north", pictures=4, split="val", names=long)

    assert evaluate.main([str(write_engine(tmp_path / "tiny", classes=list(long.values()))), str(yard)]) == 0

    out = capsys.readouterr().out
    assert "yard_in_the_north person with helmet      2" in out
    assert "yard_in_the_north forklift                2" in out


def test_main_against_compares_what_both_have_and_names_the_rest(
    tmp_path: Path, yard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lists of different classes: persons are compared; forklifts and cars are said to be of one alone."""
    engine = write_engine(tmp_path / "own", name="own", classes=["person", "forklift"])
    other = write_engine(tmp_path / "street", name="street", classes=["car", "person"], scores=[[0, 0.9], [0.9, 0]])

    report = _json(engine, yard, "--against", other, capsys=capsys)
    backwards = _json(other, yard, "--against", engine, capsys=capsys)
    assert evaluate.main([str(other), str(yard), "--against", str(engine)]) == 0
    out = capsys.readouterr().out

    classes = report["sets"]["yard"]["classes"]
    assert classes["person"]["difference"] == {"ap50": 0.0, "interval": None}
    assert (classes["forklift"]["against"], classes["forklift"]["difference"]) == (None, None)
    assert (report["sets"]["yard"]["lacking_against"], report["not_measured_against"]) == (["forklift"], ["car"])
    assert list(backwards["sets"]["yard"]["classes"]) == ["person"]
    assert backwards["sets"]["yard"]["classes"]["person"]["difference"]["ap50"] == 0
    assert "forklift    labelled, but only the other engine has a class of this name" in out
    assert "street: labelled in no set, so not measured: car" in out


def test_main_against_an_engine_without_a_common_class_exits_78(
    tmp_path: Path, yard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both can be judged, but there is nothing to compare."""
    engines = [write_engine(tmp_path / name, name=name, classes=[name, f"{name} 2"]) for name in ("person", "forklift")]

    assert evaluate.main([str(engines[0]), str(yard), "--against", str(engines[1])]) == 78

    assert "person finds person, person 2 and forklift finds forklift, forklift 2: no class in common" in capsys.readouterr().err


def test_main_against_says_what_neither_has(tmp_path: Path, yard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What both lack is left out, and named."""
    engines = [write_engine(tmp_path / name, name=name, classes=["person", name]) for name in ("dog", "cat")]

    assert evaluate.main([str(engines[0]), str(yard), "--against", str(engines[1])]) == 0

    assert "forklift    labelled, but neither engine has a class of this name" in capsys.readouterr().out


def test_main_html_of_own_classes_shows_them_everywhere(tmp_path: Path, yard: Path) -> None:
    """Columns, curves, causes, confusion and cut-outs go by the manifest's names, and by no others."""
    pytest.importorskip("pycocotools", reason="the page shows COCO's figures")
    page = tmp_path / "report.html"
    engine = write_engine(
        tmp_path / "more", name="more", classes=["person", "forklift", "pallet"], scores=[[0.9, 0, 0], [0, 0.9, 0]]
    )

    assert evaluate.main([str(engine), str(yard), "--html", str(page), "--resamples", "20"]) == 0

    text = page.read_text(encoding="utf-8")
    assert '<th scope="col">person</th><th scope="col">forklift</th></tr>' in text
    shown = ("forklift: precision over recall", "is forklift", "said forklift", "forklift: surest false alarms", "forklift 0.2")
    assert [words for words in shown if words not in text] == []
    assert "more: labelled in no set, so not measured: pallet." in text
    assert not re.search(r"\b(car|truck|bicycle|bus|motorcycle)\b", text.split("</style>")[1])


def test_main_html_counts_objects_taken_for_a_class_that_no_set_labels(tmp_path: Path, yard: Path) -> None:
    """An object taken for a pallet is in its row of the confusion, though pallets have no row of their own."""
    pytest.importorskip("pycocotools", reason="the page shows COCO's figures")
    page, scores = tmp_path / "report.html", [[0, 0.9, 0], [0, 0.9, 0]]
    engine = write_engine(tmp_path / "more", classes=["person", "pallet", "forklift"], scores=scores, boxes=FITTING)

    assert evaluate.main([str(engine), str(yard), "--html", str(page), "--resamples", "0"]) == 0

    text = page.read_text(encoding="utf-8")
    assert "said another class" in text
    assert "said: pallet" in text


def test_main_passes_over_a_set_without_the_split(tmp_path: Path, yard: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A set that only trains is named and left out; alone it is refused, with how to mend it."""
    frames = write_coco_folder(yard.parent / "frames", pictures=2)
    engine = write_engine(tmp_path / "own" / "engine", classes=["person", "forklift"])

    assert evaluate.main([str(engine), str(yard.parent)]) == 0
    assert "passed over, no picture in split 'val': frames" in caplog.text
    with pytest.raises(InputError, match=r"no picture in split 'val' of frames; `python -m tools\.dataset split` makes one"):
        load_boxes(frames, split="val")


def test_main_passes_over_sets_without_boxes(tmp_path: Path, yard: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A set of masks beside the boxes is named and left out; alone it is refused."""
    write_masks(tmp_path / "masks", {"a": np.zeros((64, 80), np.uint8), "b": np.ones((64, 80), np.uint8)})
    engine = write_engine(tmp_path / "own" / "engine", classes=["person", "forklift"])

    assert evaluate.main([str(engine), str(yard.parent)]) == 0
    assert "passed over: set masks" in caplog.text
    with pytest.raises(InputError, match="no set there has boxes"):
        load_boxes(tmp_path / "masks", split="val")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Twelve pictures of the input's own size with a face each, its eyes 10 pixels apart; no class is named."""
    rows = [f"{number}.png,val,16,4,32,26,26,12,36,12,," for number in range(12)]
    text = "\n".join(["file,split,x,y,w,h,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y", *rows])
    folder = write_table(tmp_path / "faces", text + "\n", pictures=[])
    for number in range(12):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((32, 64, 3), 250, np.uint8))
    return folder


def write_face_engine(folder: Path, *, name: str, shift: float) -> Path:
    """It sees the face, and its points so many pixels to the right."""
    points = np.array([[[26, 12], [36, 12], [31, 18]]] * 2, np.float32) + np.float32([shift, 0])
    names = ["left_eye", "right_eye", "nose"]
    outputs = {"boxes": "boxes", "scores": "scores", "points": "points"}
    manifest = make_manifest(name=name, classes=["face"], points=names, outputs=outputs)
    save_engine(folder, manifest, boxes=np.array(LARGE, np.float32), scores=np.array([[0.9], [0.0]], np.float32), points=points)
    return folder


def test_main_of_an_engine_with_points_prints_how_far_they_are_off(
    tmp_path: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two pixels are a fifth of the eyes' distance; the nose is not labelled. The other engine's points stand below."""
    engine = write_face_engine(tmp_path / "faces-a", name="faces-a", shift=2)
    other = write_face_engine(tmp_path / "faces-b", name="faces-b", shift=0.5)

    page = tmp_path / "report.html"
    options = ["--against", str(other), "--resamples", "50", "--html", str(page), "--pictures", "0"]
    assert evaluate.main([str(engine), str(faces), *options]) == 0

    out = capsys.readouterr().out
    assert "How far points are off" in page.read_text(encoding="utf-8")
    assert re.search(r"face +points, all: 12 of 12 found; off by 0\.2000 \(0\.200…0\.200\), median 0\.2000, 0\.000 ", out)
    assert re.search(r"face +other points, all: 12 of 12 found; off by 0\.0500 ", out)


def test_main_json_of_an_engine_with_points_has_them_by_size(
    tmp_path: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mean, median and share of good ones with intervals, over both lengths; an engine without points has no such key."""
    engine = write_face_engine(tmp_path / "faces-a", name="faces-a", shift=0.5)
    plain = write_engine(tmp_path / "plain", name="plain", classes=["face"], scores=[[0.9], [0.0]])

    assert evaluate.main([str(engine), str(faces), "--against", str(plain), "--json", "--resamples", "50"]) == 0

    face = json.loads(capsys.readouterr().out)["sets"]["faces"]["classes"]["face"]
    assert face["points"].keys() == {"all", "small"}
    whole = face["points"]["all"]
    assert (whole["n"], whole["found"]) == (12, 12)
    assert whole["by_eyes"] == {"mean": 0.05, "interval": [0.05, 0.05], "median": 0.05, "good": 1.0, "good_interval": [1.0, 1.0]}
    assert whole["by_box"]["mean"] == pytest.approx(0.5 / np.sqrt(32 * 26), abs=1e-4)
    assert "points" not in face["against"]
