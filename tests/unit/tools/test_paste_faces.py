"""Faces pasted into other pictures: the labels lie on what was pasted, and all follows from the seed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder
from labelled_folders import write_text

from edged.vision.alignment import POINT_NAMES
from tools import paste_faces
from tools.datasets.opening import load_set
from tools.paste_faces import Cutout, PasteSettings, compose

BOX = np.array([20, 10, 60, 60], np.float32)
POINTS = np.array([[30, 25], [50, 25], [40, 38], [32, 48], [48, 48]], np.float32)
DOTS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
"""A colour for each point."""


def _face() -> np.ndarray:
    """80x72: a white face in a black picture, with a coloured dot at every point."""
    pixels = np.zeros((72, 80, 3), np.uint8)
    cv2.rectangle(pixels, (20, 10), (59, 59), (255, 255, 255), -1)
    for (x, y), colour in zip(POINTS.tolist(), DOTS, strict=True):
        cv2.rectangle(pixels, (int(x) - 2, int(y) - 2), (int(x) + 1, int(y) + 1), colour, -1)
    return pixels


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A set of two faces of train and one of val; no class is named."""
    folder = tmp_path / "faces"
    points = ",".join(f"{name}_x,{name}_y" for name in POINT_NAMES)
    numbers = ",".join(f"{value:g}" for value in POINTS.ravel())
    rows = [f"{name}.png,{split},20,10,40,50,{numbers}" for name, split in (("a", "train"), ("b", "train"), ("c", "val"))]
    write_text(folder / "labels.csv", "\n".join([f"file,split,x,y,w,h,{points}", *rows]))
    for name in "abc":
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(_face(), cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """Backgrounds of 80x64 with a person or a car."""
    return write_coco_folder(tmp_path / "street", pictures=6)


def _run(faces: Path, streets: Path, out: Path, *options: str) -> int:
    return paste_faces.main([str(faces), "--into", str(streets), "--out", str(out), *options])


@pytest.mark.parametrize("seed", range(6))
def test_compose_puts_boxes_and_points_on_the_faces(seed: int) -> None:
    """White faces with dots on grey: the middle of each box is white, each dot has its colour, and boxes keep apart."""
    cutout = Cutout(_face(), BOX, POINTS)
    settings = PasteSettings(smallest_px=60, largest_px=60, gain=1.0, faces=3)

    made = compose(
        np.full((240, 320, 3), 90, np.uint8),
        [cutout] * 3,
        ignored=np.zeros((0, 4), np.float32),
        settings=settings,
        rng=np.random.default_rng(seed),
    )

    assert 1 <= len(made.boxes) == len(made.points)
    assert made.pixels_rgb.shape == (264, 352, 3)
    for (x1, y1, x2, y2), points in zip(made.boxes, made.points, strict=True):
        assert y2 - y1 == pytest.approx(60, abs=0.7)
        assert 0 <= x1 < x2 <= 352
        assert 0 <= y1 < y2 <= 264
        assert made.pixels_rgb[int(y1 + 0.35 * (y2 - y1)), int((x1 + x2) / 2)].min() > 200
        for (x, y), colour in zip(points, DOTS, strict=True):
            assert np.abs(made.pixels_rgb[int(y), int(x)].astype(int) - colour).max() < 90


def test_compose_keeps_the_background_and_has_no_hard_edge() -> None:
    """Far from the face nothing changed; along a line through it no step is as high as face against background."""
    cutout = Cutout(np.full((72, 80, 3), 250, np.uint8), BOX, POINTS)

    made = compose(
        np.full((352, 352, 3), 50, np.uint8),
        [cutout],
        ignored=np.zeros((0, 4), np.float32),
        settings=PasteSettings(smallest_px=100, largest_px=100, gain=1.0, enlarged=3.0),
        rng=np.random.default_rng(3),
    )

    row = made.pixels_rgb[int(made.boxes[0, 1:4:2].mean()), :, 0].astype(int)
    assert row.max() == 250
    assert np.abs(np.diff(row)).max() < 40
    assert (made.pixels_rgb == 50).all(axis=2).mean() > 0.5


def test_compose_leaves_out_a_face_without_room() -> None:
    """A face as large as the picture, and a second one on a small picture."""
    cutout = Cutout(_face(), BOX, POINTS)
    settings = PasteSettings(side_px=100, smallest_px=70, largest_px=70, enlarged=2.0)

    made = compose(
        np.zeros((100, 100, 3), np.uint8),
        [cutout] * 4,
        ignored=np.zeros((0, 4), np.float32),
        settings=settings,
        rng=np.random.default_rng(1),
    )

    assert len(made.boxes) == 1


def test_compose_shows_no_face_larger_than_it_may_be() -> None:
    """What is stored small is not blown up."""
    made = compose(
        np.zeros((352, 352, 3), np.uint8),
        [Cutout(_face(), BOX, POINTS)],
        ignored=np.zeros((0, 4), np.float32),
        settings=PasteSettings(smallest_px=160, largest_px=160, enlarged=1.2),
        rng=np.random.default_rng(1),
    )

    assert made.boxes[0, 3] - made.boxes[0, 1] == pytest.approx(60, abs=0.7)


def test_main_writes_a_set_that_can_be_read(faces: Path, streets: Path, tmp_path: Path) -> None:
    """Faces with five points are labelled everywhere; persons of the background are ignored, cars are background."""
    assert _run(faces, streets, tmp_path / "out", "--count", "8") == 0

    found = load_set(tmp_path / "out", split="train")
    assert (found.classes, found.point_names, len(found.pictures)) == (("face",), POINT_NAMES, 8)
    assert found.labelled.all()
    for picture in found.pictures:
        assert np.isfinite(picture.points[~picture.ignored]).all()
        assert picture.ignored.sum() <= 1
    assert 0 < sum(int(picture.ignored.sum()) for picture in found.pictures) < 8


def test_main_of_the_same_seed_writes_the_same_bytes(faces: Path, streets: Path, tmp_path: Path) -> None:
    """Of another seed others; a longer set begins as a shorter one."""
    for name, *options in (("one", "5", "1"), ("two", "3", "1"), ("other", "3", "2")):
        assert _run(faces, streets, tmp_path / name, "--count", options[0], "--seed", options[1]) == 0

    one, two, other = (
        [path.read_bytes() for path in sorted((tmp_path / name / "images").iterdir())] for name in ("one", "two", "other")
    )
    assert one[:3] == two
    assert not set(other) & set(one)


def test_main_of_val_takes_faces_and_backgrounds_of_val_only(faces: Path, tmp_path: Path) -> None:
    """What is measured on shows nobody that training saw."""
    streets = write_coco_folder(tmp_path / "streets", pictures=4, split="val")

    assert _run(faces, streets, tmp_path / "out", "--count", "3", "--split", "val") == 0

    content = json.loads((tmp_path / "out" / "annotations.json").read_text(encoding="utf-8"))
    assert {image["split"] for image in content["images"]} == {"val"}


def test_main_with_nothing_to_paste_or_a_folder_in_use_exits_78(
    faces: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each message names the folder and what would do."""
    assert _run(streets, faces, tmp_path / "out") == 78
    assert "street: no box of a face in split train; name a set that has some" in capsys.readouterr().err

    assert _run(faces, streets, streets) == 78
    assert "street: is not empty: name a new folder" in capsys.readouterr().err

    assert _run(faces, streets, tmp_path / "none", "--count", "0") == 78
    assert "--count 0: expected 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"smallest_px": 0}, {"smallest_px": 200.0}, {"largest_px": 352.0}, {"faces": 0}, {"gain": 0.9}, {"enlarged": 0.5}]
)
def test_settings_out_of_bounds_are_refused(change: dict) -> None:
    """Sizes in order and inside the picture, factors from 1 on."""
    with pytest.raises(ValueError, match="expected 0 < smallest <= largest < side"):
        PasteSettings(**change)
