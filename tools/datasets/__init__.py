"""Labelled pictures of every layout and for every task, one file a concept.

| file | is about |
| --- | --- |
| `pictures.py` | what a labelled picture and a set of them are |
| `classes.py` `choosing.py` | names of classes; the wanted ones of a set |
| `files.py` `encoding.py` | where pictures lie; whether they are whole |
| `mistakes.py` `reading.py` | everything wrong at once; what all readers share |
| `coco.py` `voc.py` `yolo.py` `table.py` `masks.py` `folders.py` | the layouts |
| `opening.py` | which layout a folder has: `load_set` |
| `checking.py` `leaks.py` `counting.py` `splitting.py` `split_files.py` `drawing.py` | the commands of `tools/dataset.py` |
"""

from tools.datasets.classes import CATEGORY_IDS, CLASSES
from tools.datasets.coco import load_coco
from tools.datasets.pictures import Mask, Part, Picture, PictureSet

__all__ = ["CATEGORY_IDS", "CLASSES", "Mask", "Part", "Picture", "PictureSet", "load_coco"]
