"""The commands of tools.dataset: what they print, write and return."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from coco_folder import write_coco_folder
from labelled_folders import write_masks, write_table

from tools import dataset
from tools.datasets import load_coco
from tools.datasets.counting import count_set
from tools.datasets.opening import load_set

SHARED = Path(__file__).parents[4] / "shared" / "data"
SHARED_SETS = (
    "detection/coco128",
    "detection/street",
    "detection/vehicles",
    "detection/cctv",
    "detection/person",
    "tracking/adl6",
    "faces/lfw_dev",
    "faces/glint24",
    "faces/landmarks",
    "faces/detect",
    "liveness",
    "segmentation/camvid11",
    "segmentation/human290",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures of one person or car each."""
    return write_coco_folder(tmp_path / "small", pictures=4)


def test_check_of_a_good_folder_says_ok(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0 and a summary; what is suspicious does not fail."""
    assert dataset.main(["check", str(folder)]) == 0

    out = capsys.readouterr().out
    assert out.startswith("small: coco, 4 pictures (train 4), 4 objects, classes: 6")
    assert out.endswith("ok\n")


def test_check_of_a_wrong_folder_tells_every_mistake_and_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """78, in text and in JSON."""
    (folder / "images" / "1.png").write_bytes(b"no picture")
    (folder / "images" / "2.png").unlink()

    assert dataset.main(["check", str(folder)]) == 78
    assert "2 mistakes" in capsys.readouterr().err
    assert dataset.main(["check", str(folder), "--json"]) == 78
    report = json.loads(capsys.readouterr().out)
    assert [(one["file"], one["place"]) for one in report["mistakes"]] == [
        ("annotations.json", "image 2"),
        ("images/1.png", "named by annotations.json, image 1"),
    ]


def test_check_of_no_folder_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read at all is told in one line."""
    assert dataset.main(["check", str(tmp_path / "gone")]) == 78
    assert "there is no such folder" in capsys.readouterr().err


def test_stats_counts_objects_sizes_and_pictures_without(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """24x28 pixels are small in 80x64, and four times as wide and high, large, at 320."""
    assert dataset.main(["stats", str(folder), "--json", "--classes", "car,bus"]) == 0

    (train,) = json.loads(capsys.readouterr().out).values()
    assert train["pictures"] == 4
    assert train["without_objects"] == 2
    assert train["classes"] == {"car": 2}
    assert train["sizes_own"] == {"small": 2, "medium": 0, "large": 0}
    assert train["sizes_input"] == {"small": 0, "medium": 0, "large": 2}
    assert train["aspect_percentiles_5_25_50_75_95"] == [0.86] * 5


def test_stats_prints_a_table_and_writes_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sheet with the histogram below."""
    picture = folder.parent / "out" / "stats.png"

    assert dataset.main(["stats", str(folder), "--picture", str(picture)]) == 0

    assert "  car" in capsys.readouterr().out
    assert cv2.imread(str(picture)).shape[1] == 1280


def test_count_set_of_masks_gives_shares_of_pixels(tmp_path: Path) -> None:
    """Thousandths of all pixels by class."""
    mask = np.zeros((64, 80), np.uint8)
    mask[:16] = 1
    found = load_set(write_masks(tmp_path / "set", {"a": mask}))

    assert count_set(found)["train"].classes == {"ground": 750, "person": 250, "void": 0}


def test_split_writes_nothing_unless_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before and after are printed; with --write the file has the split and its former state lies beside it."""
    before = (folder / "annotations.json").read_bytes()

    assert dataset.main(["split", str(folder), "--val", "0.5"]) == 0
    assert (folder / "annotations.json").read_bytes() == before
    assert "nothing written" in capsys.readouterr().out
    assert dataset.main(["split", str(folder), "--val", "0.5", "--write"]) == 0

    assert len(load_coco(folder, split="val").pictures) == 2
    assert (folder / "annotations.json.before").read_bytes() == before


def test_split_by_a_column_keeps_its_groups(tmp_path: Path) -> None:
    """The command hands the column on."""
    rows = [f"{n}.png,x,{n // 2}" for n in range(10)]
    folder = write_table(tmp_path / "t", "file,label,day\n" + "\n".join(rows) + "\n", pictures=[f"{n}.png" for n in range(10)])

    assert dataset.main(["split", str(folder), "--val", "0.2", "--group", "day", "--write"]) == 0

    val = sorted(int(Path(one.origin.file).stem) for one in load_set(folder, split="val").pictures)
    assert len(val) == 2
    assert val[0] // 2 == val[1] // 2


@pytest.mark.parametrize("share", ["0", "1", "x"])
def test_split_with_a_share_that_is_none_is_refused(folder: Path, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All pictures or none on one side is no split."""
    with pytest.raises(SystemExit):
        dataset.main(["split", str(folder), "--val", share])
    assert "between 0 and 1" in capsys.readouterr().err


def test_draw_writes_a_sheet_or_single_pictures(folder: Path, tmp_path: Path) -> None:
    """A sheet is named for the set, single pictures for their files."""
    out = tmp_path / "out"

    assert dataset.main(["draw", str(folder), "--out", str(out)]) == 0
    assert dataset.main(["draw", str(folder), "--out", str(out), "--single", "--name", "2.png"]) == 0

    assert sorted(path.name for path in out.iterdir()) == ["images_2.png", "small.png"]
    single = cv2.imread(str(out / "images_2.png"))
    assert single.shape[:2] == (1024, 1280)


def test_draw_shows_each_box_in_the_colour_of_its_class(folder: Path, tmp_path: Path) -> None:
    """The left edge of the box is drawn where the label says, at the scale of the drawing."""
    assert dataset.main(["draw", str(folder), "--out", str(tmp_path), "--single", "--name", "2.png"]) == 0

    x1, y1, _, y2 = load_coco(folder, split=None).pictures[1].boxes[0] * 16
    pixels_bgr = cv2.imread(str(tmp_path / "images_2.png"))
    assert pixels_bgr[int((y1 + y2) / 2), int(x1)].tolist() == [0, 159, 230]


def test_draw_of_no_such_name_fails(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to draw is a mistake."""
    assert dataset.main(["draw", str(folder), "--out", str(tmp_path), "--name", "zebra"]) == 78
    assert "no picture has 'zebra'" in capsys.readouterr().err


def test_importing_the_commands_loads_no_torch() -> None:
    """Labels are prepared on machines that never train."""
    program = "import sys, tools.dataset; print('torch' in sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "False"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the development data in ../shared")
@pytest.mark.parametrize("name", SHARED_SETS)
def test_check_of_the_development_data_finds_no_mistake(name: str) -> None:
    """Every set reads and decodes in full."""
    assert dataset.main(["check", str(SHARED / name)]) == 0
