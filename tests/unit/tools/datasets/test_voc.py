"""Pascal VOC: boxes, splits, and what is wrong in the files."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_folders import voc_object, write_voc

from edged.errors import InputError
from tools.datasets.opening import Layout, find_layout, load_set


def test_load_set_of_voc_counts_pixels_from_zero_and_ignores_difficult_objects(tmp_path: Path) -> None:
    """xmin 1 is the left edge, xmax the right edge's pixel; difficult objects count neither way."""
    objects = voc_object("car", (1, 1, 80, 64)) + voc_object("Person", (11, 21, 30, 40), difficult=1)
    folder = write_voc(tmp_path / "set", {"a": objects})

    found = load_set(folder)

    assert find_layout(folder) is Layout.VOC
    assert found.classes == ("car", "Person")
    assert found.pictures[0].boxes.tolist() == [[0, 0, 80, 64], [10, 20, 30, 40]]
    assert found.pictures[0].ignored.tolist() == [False, True]
    assert found.pictures[0].origin.size_px == (80, 64)


def test_load_set_of_voc_without_lists_is_all_train_and_with_lists_follows_them(tmp_path: Path) -> None:
    """ImageSets/Main says the splits; a picture in no list is in no split."""
    one = voc_object("car", (1, 1, 9, 9))
    plain = write_voc(tmp_path / "plain", {"a": one, "b": one})
    listed = write_voc(
        tmp_path / "listed", {"a": one, "b": one, "c": one}, lists={"train": "a\n", "val": "b\n", "trainval": "a\nb\n"}
    )

    assert len(load_set(plain, split="train").pictures) == 2
    assert [picture.origin.split for picture in load_set(listed).pictures] == ["train", "val", "unlisted"]
    assert [picture.origin.file for picture in load_set(listed, split="val").pictures] == ["JPEGImages/b.png"]


def test_load_set_of_voc_numbers_classes_alike_in_every_split(tmp_path: Path) -> None:
    """A class that only val has does not move the numbers of train."""
    objects = {"a": voc_object("truck", (1, 1, 9, 9)), "b": voc_object("bus", (1, 1, 9, 9))}
    folder = write_voc(tmp_path / "set", objects, lists={"train": "a\n", "val": "b\n"})

    assert load_set(folder, split="train").classes == load_set(folder, split="val").classes == ("bus", "truck")


def test_load_set_of_voc_finds_pictures_beside_the_xml(tmp_path: Path) -> None:
    """One folder with both is as good as two."""
    folder = write_voc(tmp_path / "set", {"a": voc_object("car", (1, 1, 9, 9))})
    for path in [*(folder / "Annotations").iterdir(), *(folder / "JPEGImages").iterdir()]:
        path.rename(folder / path.name)
    (folder / "Annotations").rmdir()

    assert load_set(folder).pictures[0].origin.file == "a.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(voc_object("car", (9, 1, 2, 9)), r"Annotations/a\.xml, object 1 \(car\): xmin.*not a box", id="inside out"),
        pytest.param(voc_object("car", ("x", 1, 2, 9)), r"object 1 \(car\): bndbox: .*xmin x", id="no number"),
        pytest.param(voc_object("car", ("nan", 1, 2, 9)), "not a box", id="nan"),
        pytest.param(voc_object("", (1, 1, 2, 9)), "object 1: has no <name>", id="no name"),
        pytest.param("<object>", r"a\.xml, line 1: cannot be read as XML", id="broken"),
    ],
)
def test_load_set_of_wrong_voc_names_file_and_object(tmp_path: Path, text: str, message: str) -> None:
    """The error says where and what."""
    folder = write_voc(tmp_path / "set", {"a": text})

    with pytest.raises(InputError, match=message):
        load_set(folder)


def test_load_set_of_voc_without_a_picture_or_an_xml_names_it(tmp_path: Path) -> None:
    """A list that names no XML and an XML that names no picture are told, both at once."""
    folder = write_voc(tmp_path / "set", {"a": voc_object("car", (1, 1, 9, 9))}, lists={"train": "a\ngone\n"})
    (folder / "JPEGImages" / "a.png").unlink()

    with pytest.raises(InputError, match=r"(?s)2 mistakes.*train\.txt, line 2: names gone.*a\.xml, filename: no picture a\.png"):
        load_set(folder)
