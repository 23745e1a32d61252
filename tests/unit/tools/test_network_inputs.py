"""What a network is shown of labelled pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder
from labelled_folders import write_table
from models_onnx import make_encoder_manifest, make_liveness_manifest, make_manifest, save_colour_engine, save_mean_colour_engine

from edged.assembly import open_network
from edged.errors import InputError
from edged.vision.alignment import POINT_NAMES, TEMPLATES, align
from edged.vision.crops import cut_square
from tools.datasets import load_coco
from tools.datasets.opening import load_set
from tools.network_inputs import choose_evenly, load_faces, show

BOX = (20, 10, 40, 34)
POINTS = ((26.0, 20.0), (34.0, 20.0), (30.0, 24.0), (27.0, 29.0), (33.0, 29.0))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Two pictures with a label each: of one the box and the points of the face are known."""
    columns = [
        "file",
        "identity",
        "split",
        "box_x",
        "box_y",
        "box_w",
        "box_h",
        *(f"{name}_{axis}" for name in POINT_NAMES for axis in "xy"),
    ]
    known = [20, 10, 20, 24, *np.ravel(POINTS)]
    rows = [["known.png", "anna", "val", *known], ["unknown.png", "anna", "val", *[""] * len(known)]]
    text = "\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n"
    return write_table(tmp_path / "faces", text, pictures=["known.png", "unknown.png"])


def read(folder: Path, name: str) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)


def test_show_to_an_encoder_gives_aligned_faces(faces: Path, tmp_path: Path) -> None:
    """By their points where they are known, else from about the middle."""
    save_mean_colour_engine(tmp_path / "who", make_encoder_manifest(), weights=np.eye(3, 4))

    with open_network(tmp_path / "who") as encoder:
        known, unknown = show(encoder, load_set(faces, split="val"))

    assert np.array_equal(known, align(read(faces, "known.png"), np.array(POINTS), TEMPLATES["mean112"]))
    assert unknown.shape == (112, 112, 3)


def test_show_to_a_liveness_network_gives_the_square_around_the_face(faces: Path, tmp_path: Path) -> None:
    """With the margin of its manifest; without a box the picture is the face."""
    save_mean_colour_engine(tmp_path / "alive", make_liveness_manifest(), weights=np.eye(3, 2))

    with open_network(tmp_path / "alive") as liveness:
        known, unknown = show(liveness, load_set(faces, split="val"))

    assert np.array_equal(known, cut_square(read(faces, "known.png"), np.array(BOX), margin=2.0, side_px=32))
    whole = read(faces, "unknown.png")
    assert np.array_equal(unknown, cut_square(whole, np.array([0, 0, *whole.shape[1::-1]]), margin=2.0, side_px=32))


def test_show_to_a_detector_gives_whole_pictures(tmp_path: Path) -> None:
    """It letterboxes them itself."""
    save_colour_engine(tmp_path / "tiny", make_manifest())
    pictures = load_coco(write_coco_folder(tmp_path / "street", pictures=2), split=None)

    with open_network(tmp_path / "tiny") as detector:
        shown = list(show(detector, pictures))

    assert all(np.array_equal(pixels, picture.pixels_rgb()) for pixels, picture in zip(shown, pictures.pictures, strict=True))


def test_load_faces_takes_the_sets_with_a_label_for_each_picture(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A set of boxes shows many things, and is passed over with a warning."""
    write_coco_folder(tmp_path / "street", pictures=2, split="val")

    with caplog.at_level(logging.WARNING):
        (found,) = load_faces(tmp_path, split="val")

    assert found.name == "faces"
    assert "passed over: set street has no label for each picture" in caplog.text


def test_load_faces_of_no_such_set_raises(tmp_path: Path) -> None:
    """It says what is missing and where."""
    write_coco_folder(tmp_path / "street", pictures=2)

    with pytest.raises(InputError, match="no set there has a label for each picture: name one"):
        load_faces(tmp_path, split=None)


def test_choose_evenly_takes_pictures_over_the_length_of_every_set(tmp_path: Path) -> None:
    """A set that has fewer gives all; none twice."""
    few = load_coco(write_coco_folder(tmp_path / "few", pictures=6), split=None)
    many = load_coco(write_coco_folder(tmp_path / "many", pictures=60), split=None)

    chosen = choose_evenly([few, many], 20)

    assert chosen[0].pictures == few.pictures
    assert chosen[1].pictures == tuple(many.pictures[place] for place in np.linspace(0, 59, 10).astype(int))


def test_choose_evenly_of_none_raises(tmp_path: Path) -> None:
    """Ranges need something to be seen."""
    pictures = load_coco(write_coco_folder(tmp_path / "few", pictures=2), split=None)

    with pytest.raises(InputError, match="--pictures 0: expected at least 1"):
        choose_evenly([pictures], 0)
