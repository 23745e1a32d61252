"""Makes a small COCO folder: bright rectangles on grey, one class a colour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

COLOURS = {1: (200, 40, 40), 3: (40, 200, 40)}


def write_coco_folder(
    folder: Path,
    *,
    pictures: int,
    split: str = "train",
    labelled: tuple[int, ...] = (1, 3),
    names: Mapping[int, str] | None = None,
) -> Path:
    """Write `annotations.json` and PNG files of 80x64 with one rectangle each: persons (red) and cars (green) in turn.

    Args:
        names: other names for the ids 1 and 3; None: those of COCO, not listed in the file.
    """
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(pictures)
    images, annotations = [], []
    for number in range(1, pictures + 1):
        category = (1, 3)[number % 2]
        x, y, w, h = int(rng.integers(5, 40)), int(rng.integers(5, 30)), 24, 28
        pixels_bgr = np.full((64, 80, 3), 110, np.uint8)
        cv2.rectangle(pixels_bgr, (x, y), (x + w - 1, y + h - 1), COLOURS[category][::-1], -1)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), pixels_bgr)
        images.append({"id": number, "file_name": f"images/{number}.png", "width": 80, "height": 64, "split": split})
        annotations.append({"id": number, "image_id": number, "category_id": category, "bbox": [x, y, w, h], "iscrowd": 0})
    content = {"labelled_categories": labelled, "images": images, "annotations": annotations}
    if names:
        content["categories"] = [{"id": number, "name": name} for number, name in names.items()]
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
