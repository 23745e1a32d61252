"""Makes small folders of labelled pictures in every layout but COCO: noise pictures of 80x64, all different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

WIDTH_PX, HEIGHT_PX = 80, 64


def write_picture(path: Path, *, seed: int) -> Path:
    """A picture of large coloured patches, other ones for every seed, in the format of the name's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(patches, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_NEAREST))
    return path


def write_text(path: Path, text: str) -> Path:
    """A text file in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_voc(folder: Path, objects: Mapping[str, str], *, lists: Mapping[str, str] | None = None) -> Path:
    """One XML and one picture for each name, with the text of its objects; lists of ImageSets/Main by split."""
    for seed, (name, text) in enumerate(objects.items()):
        write_picture(folder / "JPEGImages" / f"{name}.png", seed=seed)
        size = f"<size><width>{WIDTH_PX}</width><height>{HEIGHT_PX}</height><depth>3</depth></size>"
        write_text(
            folder / "Annotations" / f"{name}.xml",
            f"<annotation><filename>{name}.png</filename>{size}{text}</annotation>",
        )
    for split, text in (lists or {}).items():
        write_text(folder / "ImageSets" / "Main" / f"{split}.txt", text)
    return folder


def voc_object(name: str, box: Sequence[object], *, difficult: int = 0) -> str:
    """The XML of one object: xmin, ymin, xmax, ymax."""
    sides = "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"


def write_yolo(folder: Path, labels: Mapping[str, str], *, names: str = "names: [person, car]\n") -> Path:
    """data.yaml, and a picture and a label file for each `split/name`."""
    for seed, (name, text) in enumerate(labels.items()):
        write_picture(folder / "images" / f"{name}.png", seed=seed)
        write_text(folder / "labels" / f"{name}.txt", text)
    write_text(folder / "data.yaml", f"{names}train: images/train\nval: images/val\n")
    return folder


def write_table(folder: Path, text: str, *, pictures: Sequence[str]) -> Path:
    """labels.csv and the pictures."""
    for seed, name in enumerate(pictures):
        write_picture(folder / name, seed=seed)
    write_text(folder / "labels.csv", text)
    return folder


def write_masks(folder: Path, masks: Mapping[str, np.ndarray], *, classes: str = "0 ground\n1 person\n2 void\n") -> Path:
    """split.csv, classes.txt, and a picture and a mask for each name; the first name is of train, the others of val."""
    rows = ["image,mask,split"]
    for seed, (name, mask) in enumerate(masks.items()):
        write_picture(folder / "images" / f"{name}.png", seed=seed)
        (folder / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
        rows.append(f"images/{name}.png,masks/{name}.png,{'val' if seed else 'train'}")
    write_text(folder / "split.csv", "\n".join(rows) + "\n")
    write_text(folder / "classes.txt", classes)
    return folder
