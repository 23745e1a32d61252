"""The sheet that shows people what the network sees, and what the command says about mistakes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from coco_folder import write_coco_folder

from edged.vision.alignment import TEMPLATES
from tools.augmentation.__main__ import load_part, main
from tools.augmentation.sample import Sample
from tools.augmentation.sheet import GAP_PX, TAUGHT, draw_labels, draw_sheet, load_samples
from tools.datasets.pictures import VOID

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "train").glob("*.yaml"))


def _config(tmp_path: Path, text: str = "augmentation: {rotation: {share: 0.5}}\ninput_px: 64\n") -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_load_part_reads_every_configuration_that_ships(path: Path) -> None:
    """Without torch, and with the size that the network sees."""
    settings, size = load_part(path, "augmentation")

    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert settings.mosaic == written["augmentation"]["mosaic"]
    sides = written["input_px"] if "input_px" in written else TEMPLATES[written["template"]].side_px
    assert size == (tuple(sides) if isinstance(sides, list) else (sides, sides))


def test_main_draws_one_picture_under_so_many_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six in a row, each of the network's size."""
    data, out = write_coco_folder(tmp_path / "set", pictures=4), tmp_path / "sheet.png"

    assert main([str(data), "--config", str(_config(tmp_path)), "--out", str(out), "--seeds", "7", "--only", "rotation"]) == 0

    assert cv2.imread(str(out)).shape == (2 * (64 + GAP_PX), 6 * (64 + GAP_PX), 3)
    assert "sheet.png" in capsys.readouterr().out


def test_main_of_the_same_picture_draws_the_same_sheet(tmp_path: Path) -> None:
    """Seeds count from 0, so two people see the same."""
    data, outs = write_coco_folder(tmp_path / "set", pictures=2), [tmp_path / name for name in ("one.png", "other.png")]

    for out in outs:
        assert main([str(data), "--config", str(_config(tmp_path)), "--out", str(out), "--seeds", "3"]) == 0

    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_load_samples_takes_pictures_without_labels_too(tmp_path: Path) -> None:
    """A folder of pictures and a single picture are enough; their boxes are none."""
    images = write_coco_folder(tmp_path / "set", pictures=3) / "images"

    of_folder, of_file = load_samples(images), load_samples(images / "2.png")

    assert [len(sample.boxes) for sample in of_folder] == [0, 0, 0]
    np.testing.assert_array_equal(of_file[0].pixels_rgb, of_folder[1].pixels_rgb)


def test_draw_labels_draws_boxes_points_and_mask() -> None:
    """What is known is drawn, the sample stays as it was."""
    points = np.array([[[30, 30], [np.nan, np.nan]]], np.float32)
    mask = np.full((40, 40), VOID, np.uint8)
    mask[:, 20:] = 1
    sample = Sample(
        np.full((40, 40, 3), 200, np.uint8),
        np.array([[5, 6, 15, 16]], np.float32),
        np.array([0]),
        np.array([False]),
        points,
        mask,
    )

    drawn = draw_labels(sample)

    assert (drawn[6, 5] == TAUGHT).all()
    assert (drawn[15, 14] == TAUGHT).all()
    assert (drawn[2, 2] == 120).all()
    assert not (drawn[2, 30] == drawn[2, 2]).all()
    assert not (drawn[30, 30] == drawn[2, 30]).all()
    assert (sample.pixels_rgb == 200).all()


def test_draw_sheet_of_one_seed_is_one_picture(tmp_path: Path) -> None:
    """No empty places to its right."""
    settings, _ = load_part(_config(tmp_path), "augmentation")
    samples = load_samples(write_coco_folder(tmp_path / "set", pictures=1))

    assert draw_sheet(samples, number=0, size=(48, 32), settings=settings, n_seeds=1).shape == (32 + GAP_PX, 48 + GAP_PX, 3)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        pytest.param("augmentation: {rotatoin: {share: 1}}", [], "rotatoin", id="unknown kind"),
        pytest.param("augmentation: {rotation: {degrees: 1}}", [], "degrees", id="unknown key of a kind"),
        pytest.param("augmentation: {rotation: {share: 2}}", [], "share: expected 0 to 1, got 2", id="out of bounds"),
        pytest.param("batch: 4", [], "augmentation", id="no such part"),
        pytest.param("augmentation: {}", ["--picture", "2"], "expected 0 to 1", id="no such picture"),
        pytest.param("augmentation: {}", ["--out", "sheet.xyz"], "sheet.xyz", id="no such format"),
        pytest.param("augmentation: {}", ["--out", "/no/such/folder/sheet.png"], "/no/such/folder", id="no such folder"),
    ],
)
def test_main_with_a_mistake_exits_78_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str, options: list[str], message: str
) -> None:
    """Mistakes in settings and options are people's to mend."""
    data = write_coco_folder(tmp_path / "set", pictures=2)
    required = [str(data), "--config", str(_config(tmp_path, config)), "--out", str(tmp_path / "sheet.png"), "--seeds", "1"]

    assert main([*required, *options]) == 78

    assert message in capsys.readouterr().err


def test_main_of_an_empty_folder_exits_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what would be a picture."""
    (tmp_path / "empty").mkdir()

    assert main([str(tmp_path / "empty"), "--config", str(_config(tmp_path)), "--out", str(tmp_path / "sheet.png")]) == 78

    assert "expected labels or pictures" in capsys.readouterr().err
