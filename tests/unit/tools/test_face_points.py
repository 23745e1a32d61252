"""Faces found in labelled pictures, and the sets that are written with their points."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from models_onnx import make_manifest, save_engine

from edged.vision.alignment import POINT_NAMES, TEMPLATES, align
from tools import face_points
from tools.datasets.opening import load_set
from tools.face_crops import central_points, crop_faces
from tools.face_finding import open_finder

POINTS = np.array([[20, 10], [30, 10], [25, 16], [21, 22], [29, 22]], np.float32)
"""Of the larger face, in the detector's input of 64x32."""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A detector that finds two faces in every bright picture, the smaller one with the higher score."""
    outputs = {"boxes": "boxes", "scores": "scores", "points": "points"}
    manifest = make_manifest(classes=["face"], outputs=outputs, points=list(POINT_NAMES))
    boxes = np.array([[40, 4, 48, 12], [15, 2, 35, 28]])
    points = np.stack([np.full((5, 2), 44.0), POINTS])
    save_engine(tmp_path / "face", manifest, boxes=boxes, scores=np.array([[0.9], [0.8]]), points=points)
    return tmp_path / "face"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A bright picture of one person and a dark one of another, 128x64: twice the detector's input."""
    folder = tmp_path / "people"
    (folder / "images").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(-10, 10, (64, 128, 3))
    for name, brightness in (("a", 240), ("b", 10)):
        cv2.imwrite(str(folder / "images" / f"{name}.png"), (brightness + noise).astype(np.uint8))
    (folder / "labels.csv").write_text("file,identity,split\nimages/a.png,Ann,train\nimages/b.png,Bob,val\n", encoding="utf-8")
    (folder / "dev_pairs.csv").write_text("file1,file2,same\n", encoding="utf-8")
    return folder


def test_points_of_a_set_are_written_beside_its_labels(
    engine: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The face of the largest score times size; a picture without one stays, its cells empty; pictures and pairs come along."""
    assert face_points.main([str(engine), str(people), "--out", str(tmp_path / "out")]) == 0

    assert "people: faces found in 1 of 2 pictures" in capsys.readouterr().out
    found = load_set(tmp_path / "out" / "people")
    columns = [found.point_names.index(name) for name in POINT_NAMES]
    first, second = found.pictures
    assert (first.label, first.origin.split, second.label, second.origin.split) == ("Ann", "train", "Bob", "val")
    np.testing.assert_allclose(first.points[0, columns], 2 * POINTS, atol=0.01)
    assert len(second.boxes) == 0
    assert (tmp_path / "out" / "people" / "dev_pairs.csv").read_text(encoding="utf-8") == "file1,file2,same\n"


def test_crops_of_a_written_set_are_those_that_the_detector_finds(engine: Path, people: Path, tmp_path: Path) -> None:
    """Whether points stand in the table or are found on the way makes no difference."""
    face_points.main([str(engine), str(people), "--out", str(tmp_path / "out")])
    template = TEMPLATES["mean96"]

    written = crop_faces(load_set(tmp_path / "out" / "people"), template)
    with open_finder(engine, threads=1) as find:
        found = crop_faces(load_set(people), template, find=find)

    assert written.central.tolist() == found.central.tolist() == [False, True]
    assert written.crops.classes == ("Ann", "Bob")
    for one, other in zip(written.crops.pixels, found.crops.pixels, strict=True):
        np.testing.assert_allclose(one.astype(int), other, atol=1)


def test_crop_of_a_picture_without_points_is_its_middle(people: Path) -> None:
    """Nobody looks for a face: all pictures are cut about their middle, and counted."""
    pictures = load_set(people)
    pixels = pictures.pictures[0].pixels_rgb()

    faces = crop_faces(pictures, TEMPLATES["mean112"])

    assert faces.central.all()
    np.testing.assert_array_equal(faces.crops.pixels[0], align(pixels, central_points(pixels), TEMPLATES["mean112"]))


def test_central_points_are_an_upright_face_in_the_middle() -> None:
    """Eyes level, nose between them, all inside."""
    points = central_points(np.zeros((112, 112, 3), np.uint8))

    assert points[0, 1] == points[1, 1]
    assert points[2, 0] == pytest.approx(56)
    assert (points > 0).all()
    assert (points < 112).all()


def test_points_that_were_written_are_not_overwritten(
    engine: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is named."""
    (tmp_path / "out" / "people").mkdir(parents=True)

    assert face_points.main([str(engine), str(people), "--out", str(tmp_path / "out")]) == 78

    assert "is there already" in capsys.readouterr().err


def test_points_by_a_detector_that_tells_none_exit_78(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it lacks is told."""
    save_engine(tmp_path / "things", make_manifest(), boxes=np.zeros((2, 4)), scores=np.zeros((2, 2)))

    assert face_points.main([str(tmp_path / "things"), str(people), "--out", str(tmp_path / "out")]) == 78

    assert "expected a detector that tells left_eye" in capsys.readouterr().err


def test_pictures_without_labels_exit_78(engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set of boxes is no set of people."""
    folder = tmp_path / "boxes"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (folder / "labels.csv").write_text("file,x,y,w,h\na.png,1,1,4,4\n", encoding="utf-8")

    assert face_points.main([str(engine), str(folder), "--out", str(tmp_path / "out")]) == 78

    assert "has no label" in capsys.readouterr().err
