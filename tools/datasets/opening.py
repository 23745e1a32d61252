"""The front door: finds out how a folder is laid out, and reads it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from edged.errors import InputError
from tools.datasets.choosing import choose_classes, refuse_unseen
from tools.datasets.coco import is_coco, read_coco
from tools.datasets.folders import is_folders, read_folders
from tools.datasets.masks import is_masks, read_masks
from tools.datasets.mistakes import Mistakes
from tools.datasets.pictures import PictureSet
from tools.datasets.reading import Reading
from tools.datasets.table import is_table, read_table
from tools.datasets.voc import is_voc, read_voc
from tools.datasets.yolo import is_yolo, read_yolo
from tools.mot import is_mot, load_mot

log = logging.getLogger(__name__)


class Layout(str, Enum):
    """How labels are written."""

    COCO = "coco"
    MOT = "mot"
    VOC = "voc"
    YOLO = "yolo"
    MASKS = "masks"
    TABLE = "table"
    FOLDERS = "folders"


EXPECTED = """expected one of
  coco     annotations.json, pictures beside it or in images.tar
  voc      Annotations/*.xml, JPEGImages/
  yolo     data.yaml or classes.txt, images/, labels/
  table    labels.csv with a column file
  masks    split.csv with columns image and mask, classes.txt
  mot      gt/gt.txt, img1/
  folders  a folder a class, with pictures in it"""


def find_layout(folder: Path) -> Layout:
    """How a folder is laid out.

    Raises:
        InputError: it is no folder, it has labels of no known kind, or of two.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    found = find_signs(folder)
    if len(found) > 1:
        raise InputError(f"{folder}: has labels of {' and of '.join(found)}; say which counts, with --layout, or remove one")
    if found:
        return found[0]
    if is_folders(folder):
        return Layout.FOLDERS
    raise InputError(f"{folder}: no labelled pictures found; {EXPECTED}")


def find_signs(folder: Path) -> list[Layout]:
    """The layouts whose files are in a folder; classes by folder have no file of their own."""
    signs = {
        Layout.COCO: is_coco,
        Layout.MOT: is_mot,
        Layout.VOC: is_voc,
        Layout.YOLO: is_yolo,
        Layout.MASKS: is_masks,
        Layout.TABLE: is_table,
    }
    return [layout for layout, is_there in signs.items() if is_there(folder)]


def load_sets(data: Path, *, split: str | None, classes: Sequence[str] | None = None) -> list[PictureSet]:
    """The sets in a folder, by name: itself, or the folders in it; any layout but classes by folder.

    A set without a picture in the split is passed over with a warning.

    Args:
        split, classes: as in `load_set`; a class may be without a single object.

    Raises:
        InputError: there is none, none has a picture in the split, or with every mistake of the first that is wrong.
    """
    inner = sorted(folder for folder in data.glob("*") if folder.is_dir())
    folders = [folder for folder in ([data] if find_signs(data) else inner) if find_signs(folder)]
    if not folders:
        raise InputError(f"{data}: no labelled pictures found, there or in the folders in it; {EXPECTED}")
    sets = [load_set(folder, split=split, classes=classes, allows_unseen=True, allows_empty=True) for folder in folders]
    found = [one for one in sets if one.pictures]
    empty = ", ".join(one.name for one in sets if not one.pictures)
    if not found:
        raise InputError(f"{data}: no picture in split {split!r} of {empty}; `python -m tools.dataset split` makes one")
    if empty:
        log.warning("passed over, no picture in split %r: %s; `python -m tools.dataset split` makes one", split, empty)
    return found


def load_set(
    folder: Path,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    layout: Layout | None = None,
    allows_unseen: bool = False,
    allows_empty: bool = False,
) -> PictureSet:
    """Read a folder of any layout. Pictures are found, not read: they are when they are used.

    Args:
        folder: nothing is written there.
        split: `train`, `val`, `test`, or None for every picture. A sequence of MOT has no splits and is read whole.
        classes: the wanted ones, by name, case and the like aside; others are left out and counted. None: those of the files.
        layout: None: found out.
        allows_unseen: a wanted class may be without a single object.
        allows_empty: there may be no picture in the split.

    Raises:
        InputError: with every mistake found, each by file and place.
    """
    mistakes = Mistakes(folder)
    found = read_set(folder, split=split, layout=layout, mistakes=mistakes, allows_empty=allows_empty)
    mistakes.refuse()
    if classes is None:
        return found
    chosen = choose_classes(found, classes)
    if not allows_unseen:
        refuse_unseen([chosen])
    return chosen


def read_set(
    folder: Path,
    *,
    split: str | None,
    mistakes: Mistakes,
    layout: Layout | None = None,
    group_column: str = "",
    allows_empty: bool = False,
) -> PictureSet:
    """What could be read of a folder, with all classes of its files; what is wrong is in `mistakes`.

    Args:
        group_column: the column, or key, whose value is the group of a picture; empty: none.
        allows_empty: as in `load_set`.

    Raises:
        InputError: nothing could be read at all.
    """
    layout = layout or find_layout(folder)
    if group_column and layout not in (Layout.COCO, Layout.TABLE, Layout.MASKS):
        raise InputError(f"{folder}: {layout.value} has no columns to group by; group by the file's name")
    if layout is Layout.MOT:
        return load_mot(folder)
    readers = {
        Layout.COCO: read_coco,
        Layout.VOC: read_voc,
        Layout.YOLO: read_yolo,
        Layout.MASKS: read_masks,
        Layout.TABLE: read_table,
        Layout.FOLDERS: read_folders,
    }
    reading = Reading(folder, split=split, mistakes=mistakes, group_column=group_column, allows_empty=allows_empty)
    return readers[layout](reading)
