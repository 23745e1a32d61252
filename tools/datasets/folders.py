"""Plain folders, named by the label of their pictures: `CLASS/picture.jpg`, or `train/CLASS/picture.jpg` and `val/CLASS/…`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.datasets.files import PICTURE_SUFFIXES, StoredFile
from tools.datasets.pictures import Origin, Part, PictureSet, make_picture
from tools.datasets.reading import SPLITS, Reading


def is_folders(folder: Path) -> bool:
    """Whether a folder holds folders of pictures."""
    return any(True for _, path in _class_folders(folder) for _ in _pictures(path))


def read_folders(reading: Reading) -> PictureSet:
    """A picture a file, labelled by its folder; pictures that lie in none are mistakes."""
    found = list(_class_folders(reading.folder))
    reading.number_classes(sorted({path.name for _, path in found}))
    for path in (reading.folder, *(one for one in reading.folder.iterdir() if one.name.lower() in SPLITS and one.is_dir())):
        for picture in _pictures(path):
            name = picture.relative_to(reading.folder).as_posix()
            reading.mistakes.add(name, "", "lies in no class's folder; move it into one, or out of the set")
    for split, path in found:
        if reading.wants(split):
            for picture in _pictures(path):
                name = picture.relative_to(reading.folder).as_posix()
                origin = Origin(name, "", split)
                reading.pictures.append(
                    make_picture(f"{reading.name}/{name}", StoredFile(picture), [], label=path.name, origin=origin)
                )
    return reading.finish(part=Part.LABEL, how_to_split="folders train and val with a folder a class in each")


def _class_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    """Split and folder of each class."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    splits = [path for path in inner if path.name.lower() in SPLITS]
    if splits:
        for path in splits:
            for one in sorted(path.iterdir()):
                if one.is_dir():
                    yield SPLITS[path.name.lower()], one
    else:
        yield from (("train", path) for path in inner)


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
