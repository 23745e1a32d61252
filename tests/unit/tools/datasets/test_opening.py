"""Which layout a folder has, plain folders, and the wanted classes of any set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coco_folder import write_coco_folder
from labelled_folders import voc_object, write_picture, write_table, write_text, write_voc, write_yolo

from edged.errors import InputError
from tools.datasets import load_coco
from tools.datasets.choosing import count_classes, refuse_unseen
from tools.datasets.opening import Layout, find_layout, load_set, load_sets
from tools.datasets.pictures import Part

SHARED = Path(__file__).parents[5] / "shared" / "data"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A motorbike, a car and two dogs."""
    objects = [voc_object(name, (1, 1, 20, 20)) for name in ("motorbike", "CAR", "dog", "dog")]
    return write_voc(tmp_path / "voc", {"a": "".join(objects)})


def test_find_layout_of_two_kinds_of_labels_asks_which(voc: Path) -> None:
    """Guessing could train on the older ones."""
    write_text(voc / "labels.csv", "file,label\n")

    with pytest.raises(InputError, match="labels of voc and of table"):
        find_layout(voc)
    assert len(load_set(voc, layout=Layout.VOC).pictures) == 1


@pytest.mark.parametrize("name", ["", "gone"], ids=["empty", "no folder"])
def test_find_layout_of_nothing_says_what_it_expects(tmp_path: Path, name: str) -> None:
    """An empty folder and none at all are refused."""
    with pytest.raises(InputError, match=r"annotations\.json|no such folder"):
        find_layout(tmp_path / name)


def test_load_set_of_plain_folders_takes_their_names_as_labels(tmp_path: Path) -> None:
    """train and val above the classes are the splits."""
    for seed, name in enumerate(("train/cat/a.png", "train/dog/b.png", "valid/cat/c.png")):
        write_picture(tmp_path / name, seed=seed)

    found = load_set(tmp_path)

    assert (found.part, found.classes) == (Part.LABEL, ("cat", "dog"))
    assert [(one.label, one.origin.split) for one in found.pictures] == [("cat", "train"), ("dog", "train"), ("cat", "val")]


def test_load_set_of_plain_folders_refuses_a_picture_in_none(tmp_path: Path) -> None:
    """A picture beside the folders has no label."""
    write_picture(tmp_path / "cat" / "a.png", seed=1)
    write_picture(tmp_path / "stray.png", seed=2)

    with pytest.raises(InputError, match=r"stray\.png: lies in no class's folder"):
        load_set(tmp_path)


def test_load_set_with_own_classes_matches_names_and_counts_what_it_leaves_out(voc: Path) -> None:
    """Case makes no difference, VOC's motorbike is COCO's motorcycle, dogs are not wanted."""
    found = load_set(voc, classes=("car", "motorcycle"))

    assert found.classes == ("car", "motorcycle")
    assert found.pictures[0].class_ids.tolist() == [1, 0]
    assert found.left_out == {"dog": 2}
    assert count_classes(found) == {"car": 1, "motorcycle": 1}


def test_load_set_with_a_class_never_seen_is_refused_unless_allowed(voc: Path) -> None:
    """The nearest name that is there is told."""
    with pytest.raises(InputError, match="class 'dogs' is never seen; did you mean 'dog'"):
        load_set(voc, classes=("car", "dogs"))

    found = load_set(voc, classes=("car", "dogs"), allows_unseen=True)
    assert found.labelled.tolist() == [True, False]


def test_refuse_unseen_accepts_a_class_that_another_set_has(voc: Path, tmp_path: Path) -> None:
    """Sets are trained on together: one object in one of them is enough."""
    other = write_yolo(tmp_path / "yolo", {"train/a": "0 0.5 0.5 1 1\n", "val/b": ""})
    sets = [load_set(folder, classes=("car", "person"), allows_unseen=True) for folder in (voc, other)]

    refuse_unseen(sets)
    with pytest.raises(InputError, match="class 'person' is never seen"):
        refuse_unseen(sets[:1])


def test_load_set_of_an_empty_split_is_refused_unless_allowed(voc: Path) -> None:
    """What there is to read is read all the same: the classes, and mistakes elsewhere."""
    with pytest.raises(InputError, match="no picture in split 'val'"):
        load_set(voc, split="val")

    found = load_set(voc, split="val", allows_empty=True)
    assert (len(found.pictures), found.classes) == (0, ("CAR", "dog", "motorbike"))


def test_load_set_without_any_picture_is_refused_though_a_split_may_be_empty(tmp_path: Path) -> None:
    """Nothing at all is never meant."""
    write_text(tmp_path / "labels.csv", "file,label\n")

    with pytest.raises(InputError, match="no picture found"):
        load_set(tmp_path, allows_empty=True)


def test_load_sets_passes_over_those_without_the_split_and_names_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Frames that only train do not keep the others from being measured."""
    for name, split in (("clips", "train"), ("frames", "train"), ("yard", "val")):
        write_coco_folder(tmp_path / name, pictures=2, split=split)

    found = load_sets(tmp_path, split="val")

    assert [(one.name, len(one.pictures)) for one in found] == [("yard", 2)]
    assert "passed over, no picture in split 'val': clips, frames; `python -m tools.dataset split` makes one" in caplog.text


def test_load_sets_of_which_none_has_the_split_is_refused(tmp_path: Path) -> None:
    """Each is named."""
    for name in ("clips", "frames"):
        write_coco_folder(tmp_path / name, pictures=2)

    with pytest.raises(InputError, match=r"no picture in split 'val' of clips, frames; .* makes one"):
        load_sets(tmp_path, split="val")


def test_load_sets_with_every_split_passes_over_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no split is asked for, none is missing."""
    for name, split in (("clips", "train"), ("yard", "val")):
        write_coco_folder(tmp_path / name, pictures=2, split=split)

    assert [one.name for one in load_sets(tmp_path, split=None)] == ["clips", "yard"]
    assert not caplog.text


@pytest.mark.parametrize("classes", [("car", "Car"), ()], ids=["one twice", "none"])
def test_load_set_with_classes_that_are_none_or_the_same_is_refused(voc: Path, classes: tuple[str, ...]) -> None:
    """Two columns for one class cannot both be right."""
    with pytest.raises(InputError, match="expected names of different classes"):
        load_set(voc, classes=classes)


def test_load_set_of_labels_with_wanted_classes_leaves_pictures_out(tmp_path: Path) -> None:
    """Where the picture's label is classed, pictures are chosen, not boxes."""
    write_table(tmp_path, "file,label\na.png,Live\nb.png,other\n", pictures=("a.png", "b.png"))

    found = load_set(tmp_path, classes=("live",))

    assert [one.label for one in found.pictures] == ["live"]
    assert found.left_out == {"other": 1}


def _with_categories(folder: Path, categories: list[dict]) -> Path:
    path = folder / "annotations.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data.pop("labelled_categories")
    path.write_text(json.dumps({**data, "categories": categories}), encoding="utf-8")
    return folder


def test_load_coco_goes_by_the_names_of_its_own_categories(tmp_path: Path) -> None:
    """Exporters number categories as they like; a class that the file does not list is not labelled in it."""
    folder = _with_categories(
        write_coco_folder(tmp_path / "set", pictures=2), [{"id": 3, "name": "Person"}, {"id": 1, "name": "cat"}]
    )

    found = load_coco(folder, split=None)

    assert [[found.classes[number] for number in one.class_ids] for one in found.pictures] == [["person"], []]
    assert dict(zip(found.classes, found.labelled.tolist(), strict=True))["car"] is False
    assert found.left_out == {"cat": 1}


def test_load_coco_of_an_unknown_category_names_the_annotation(tmp_path: Path) -> None:
    """Where the file lists its categories, another id is a mistake."""
    folder = _with_categories(write_coco_folder(tmp_path / "set", pictures=2), [{"id": 1, "name": "person"}])

    with pytest.raises(InputError, match=r"annotations\.json, annotation 1 of images/1\.png: category_id 3 is unknown"):
        load_coco(folder, split=None)


def test_load_coco_reads_keypoints_and_passes_over_polygons_and_run_lengths(tmp_path: Path) -> None:
    """Points of visibility 0 are unknown; segmentation is not needed."""
    folder = _with_categories(
        write_coco_folder(tmp_path / "set", pictures=2),
        [{"id": 1, "name": "person", "keypoints": ["nose", "tail"]}, {"id": 3, "name": "car"}],
    )
    data = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    data["annotations"][1] |= {"keypoints": [4, 5, 2, 0, 0, 0], "segmentation": [[1, 1, 2, 2, 3, 1]]}
    data["annotations"][0]["segmentation"] = {"size": [64, 80], "counts": "abc"}
    (folder / "annotations.json").write_text(json.dumps(data), encoding="utf-8")

    found = load_set(folder)

    assert found.point_names == ("nose", "tail")
    assert found.pictures[1].points[0, 0].tolist() == [4, 5]
    assert str(found.pictures[1].points[0, 1, 0]) == "nan"


def test_picture_reads_its_file_anew_and_names_it_when_it_is_gone(tmp_path: Path) -> None:
    """Pictures are not held: big sets fit."""
    folder = write_coco_folder(tmp_path / "set", pictures=1)
    (picture,) = load_coco(folder, split=None).pictures
    assert picture.encoded == (folder / "images" / "1.png").read_bytes()

    (folder / "images" / "1.png").unlink()

    with pytest.raises(InputError, match=r"1\.png: cannot be read"):
        picture.pixels_rgb()


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the development data in ../shared")
@pytest.mark.parametrize(
    ("name", "layout", "pictures", "objects"),
    [
        ("detection/coco128", Layout.COCO, 128, 330),
        ("detection/street", Layout.COCO, 2181, 4693),
        ("detection/vehicles", Layout.COCO, 564, 1065),
        ("detection/cctv", Layout.COCO, 207, 3840),
        ("detection/person", Layout.COCO, 1267, 2460),
        ("tracking/adl6", Layout.MOT, 263, 2506),
        ("faces/lfw_dev", Layout.TABLE, 4361, 0),
        ("faces/glint24", Layout.TABLE, 1671, 0),
        ("faces/landmarks", Layout.TABLE, 2429, 2429),
        ("faces/detect", Layout.TABLE, 201, 225),
        ("liveness", Layout.TABLE, 1061, 0),
        ("segmentation/camvid11", Layout.MASKS, 468, 0),
        ("segmentation/human290", Layout.MASKS, 290, 0),
    ],
)
def test_load_set_of_the_development_data_has_what_its_readme_says(
    name: str, layout: Layout, pictures: int, objects: int
) -> None:
    """Every set is recognised and read in full."""
    found = load_set(SHARED / name)

    assert find_layout(SHARED / name) is layout
    assert (len(found.pictures), sum(len(one.boxes) for one in found.pictures)) == (pictures, objects)
