"""Splits: whole groups, every class in both, the same for the same seed; and the files that tell them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from coco_folder import write_coco_folder
from labelled_folders import voc_object, write_picture, write_table, write_text, write_voc, write_yolo

from edged.errors import InputError
from tools.datasets.mistakes import Mistakes
from tools.datasets.opening import find_layout, load_set, read_set
from tools.datasets.split_files import make_split_files, write_files
from tools.datasets.splitting import assign_splits, find_groups


def _table(folder: Path, *, scenes: int, frames: int) -> Path:
    """So many scenes of so many frames; every fourth scene is of the rare class."""
    rows = [
        f"s{scene}_{frame}.png,{'rare' if scene % 4 == 0 else 'common'},{scene}"
        for scene in range(scenes)
        for frame in range(frames)
    ]
    text = "file,label,scene\n" + "\n".join(rows) + "\n"
    return write_table(folder, text, pictures=[row.partition(",")[0] for row in rows])


def test_assign_splits_keeps_groups_together_and_shares_every_class(tmp_path: Path) -> None:
    """A scene is on one side; of twenty scenes four are val, one of them of the rare class."""
    found = load_set(_table(tmp_path, scenes=20, frames=3))
    groups = find_groups(found, pattern="^s([0-9]+)_")

    splits = assign_splits(found, groups, val_share=0.2, seed=3)

    sides = {group: {split for one, split in zip(groups, splits, strict=True) if one == group} for group in groups}
    assert all(len(side) == 1 for side in sides.values())
    labels = Counter(one.label for one, split in zip(found.pictures, splits, strict=True) if split == "val")
    assert labels == {"common": 9, "rare": 3}


def test_assign_splits_follows_the_seed(tmp_path: Path) -> None:
    """The same seed gives the same split, another one another."""
    found = load_set(_table(tmp_path, scenes=20, frames=1))
    groups = find_groups(found)

    first, again, other = (assign_splits(found, groups, val_share=0.2, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_assign_splits_of_one_group_is_all_train(tmp_path: Path) -> None:
    """One scene cannot be shared."""
    found = load_set(_table(tmp_path, scenes=1, frames=4))

    assert assign_splits(found, ["same"] * 4, val_share=0.5, seed=1) == ["train"] * 4


def test_assign_splits_leaves_test_pictures_alone(tmp_path: Path) -> None:
    """What is of split test stays so."""
    write_table(tmp_path, "file,label,split\na.png,x,test\nb.png,x,val\n", pictures=("a.png", "b.png"))
    found = load_set(tmp_path)

    assert assign_splits(found, find_groups(found), val_share=0.1, seed=1)[0] == "test"


def test_assign_splits_of_a_class_a_group_goes_by_pictures(tmp_path: Path) -> None:
    """Split by identity, no class can be shared: the share of the pictures is what counts."""
    rows = [f"p{person}_{number}.png,p{person}" for person in range(10) for number in range(2)]
    write_table(tmp_path, "file,identity\n" + "\n".join(rows) + "\n", pictures=[row.partition(",")[0] for row in rows])
    found = load_set(tmp_path)

    splits = assign_splits(found, [one.label for one in found.pictures], val_share=0.2, seed=1)

    assert splits.count("val") == 4


def test_find_groups_takes_a_column_and_refuses_names_without_a_match(tmp_path: Path) -> None:
    """The column's value is the group; a pattern must match every name."""
    _table(tmp_path, scenes=2, frames=2)
    found = read_set(tmp_path, split=None, mistakes=Mistakes(tmp_path), group_column="scene")

    assert find_groups(found) == ["0", "0", "1", "1"]
    with pytest.raises(InputError, match=r"(?s)2 mistakes.*s0_0\.png"):
        find_groups(found, pattern="^s1")
    with pytest.raises(InputError, match="not a regular expression"):
        find_groups(found, pattern="(")


def test_read_set_with_a_group_column_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    """Said once, not for every picture."""
    _table(tmp_path, scenes=2, frames=1)

    with pytest.raises(InputError, match="no 'scenes' to group by, only file, label, scene; did you mean 'scene'"):
        read_set(tmp_path, split=None, mistakes=Mistakes(tmp_path), group_column="scenes")


def _folders(folder: Path) -> Path:
    for seed, name in enumerate(("cat/a.png", "cat/b.png", "dog/c.png", "dog/d.png")):
        write_picture(folder / name, seed=seed)
    return folder


def _yolo(folder: Path) -> Path:
    write_yolo(folder, {f"train/{name}": "0 0.5 0.5 1 1\n" for name in "abc"} | {"val/d": ""})
    return write_text(
        folder / "data.yaml", "# ours\npath: /elsewhere\nnames: [person, car]\ntrain:\n  - images/train\nval: images/val\n"
    ).parent


MAKERS = {
    "coco": lambda folder: write_coco_folder(folder, pictures=4),
    "voc": lambda folder: write_voc(folder, {name: voc_object("car", (1, 1, 9, 9)) for name in "abcd"}),
    "yolo": _yolo,
    "table": lambda folder: write_table(
        folder, "file,label\n" + "".join(f"{n}.png,x\n" for n in "abcd"), pictures=[f"{n}.png" for n in "abcd"]
    ),
    "folders": _folders,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_write_files_of_every_layout_gives_the_split_when_read_again(tmp_path: Path, kind: str) -> None:
    """What was written is what is read; the labels stay, and what was there is kept."""
    folder = MAKERS[kind](tmp_path / "set")
    found = load_set(folder)
    splits = ["val", "train", "train", "val"]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    texts = make_split_files(folder, find_layout(folder), found, splits)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    backups = write_files(texts)

    again = load_set(folder)
    by_file = dict(zip([one.origin.file for one in found.pictures], splits, strict=True))
    assert {one.origin.file: one.origin.split for one in again.pictures} == by_file
    assert sorted((one.label, len(one.boxes)) for one in again.pictures) == sorted(
        (one.label, len(one.boxes)) for one in found.pictures
    )
    assert {backup.read_bytes() for backup in backups} == {before[path] for path in texts if path in before}
    assert not list(folder.rglob("*.partial"))


def test_write_files_never_overwrites_an_earlier_backup(tmp_path: Path) -> None:
    """The first state can always be had back."""
    path = write_text(tmp_path / "labels.csv", "first")

    names = [backup.name for text in ("second", "third") for backup in write_files({path: text})]

    assert names == ["labels.csv.before", "labels.csv.before-2"]
    assert (tmp_path / "labels.csv.before").read_text() == "first"
    assert path.read_text() == "third"


def test_make_split_files_of_a_table_keeps_every_other_cell(tmp_path: Path) -> None:
    """Also quoted cells with commas; a column split is added where there is none."""
    write_table(tmp_path, 'file,label,note\na.png,x,"far, left"\n', pictures=("a.png",))
    found = load_set(tmp_path)

    (text,) = make_split_files(tmp_path, find_layout(tmp_path), found, ["val"]).values()

    assert list(csv.reader(text.splitlines())) == [["file", "label", "note", "split"], ["a.png", "x", "far, left", "val"]]


def test_make_split_files_of_yolo_keeps_other_lines_of_data_yaml(tmp_path: Path) -> None:
    """Comments and names stay; a path of another machine goes."""
    folder = _yolo(tmp_path / "set")
    texts = make_split_files(folder, find_layout(folder), load_set(folder), ["train", "train", "val", "val"])

    assert texts[folder / "data.yaml"] == "# ours\nnames: [person, car]\ntrain: train.txt\nval: val.txt\n"
    assert texts[folder / "val.txt"] == "./images/train/c.png\n./images/val/d.png\n"


def test_make_split_files_of_coco_changes_nothing_but_split(tmp_path: Path) -> None:
    """Keys that are not ours stay."""
    folder = write_coco_folder(tmp_path / "set", pictures=2)
    before = json.loads((folder / "annotations.json").read_text())

    (text,) = make_split_files(folder, find_layout(folder), load_set(folder), ["val", "train"]).values()

    after = json.loads(text)
    assert [image.pop("split") for image in after["images"]] == ["val", "train"]
    assert after == before | {"images": [{k: v for k, v in image.items() if k != "split"} for image in before["images"]]}
