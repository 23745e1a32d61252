"""COCO's average precisions, computed by pycocotools.

What differs from our own AP50 (`tools.metrics`): precision is read at the 101 recalls 0, 0.01 … 1 instead of at every hit
(both means lie between the sums of the left and of the right edges of these steps, so they are at most 0.01 apart); of a class
the best 100 detections of a picture count; and a detection is excused by an ignored box where as much of it lies inside as
the overlap asked for, not always one half.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edged.errors import InputError
from edged.types import Detections
from edged.vision.boxes import Boxes
from tools.metrics import Truth

_AT_50, _AT_75 = 0, 5
"""Rows of pycocotools' ten overlaps 0.50, 0.55 … 0.95."""
_MOST_DETECTIONS = -1
"""Its last limit of detections a picture: 100."""


@dataclass(frozen=True, slots=True)
class CocoScore:
    """Average precisions of one class; None without objects that count.

    Attributes:
        ap: mean over the overlaps 0.50, 0.55 … 0.95.
        ap50, ap75: at one overlap.
        small, medium, large: as `ap`, for objects by the area of their box: below 32 x 32 pixels, below 96 x 96, above.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None


def score_coco(truths: Sequence[Truth], detections: Sequence[Detections], class_id: int) -> CocoScore:
    """COCO's figures of one class over the pictures that label it. Ignored boxes go in as `iscrowd`.

    Raises:
        InputError: pycocotools is not installed.
    """
    try:
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise InputError(f"pycocotools is missing: pip install -r requirements/test.txt ({error})") from error
    pairs = [pair for pair in zip(truths, detections, strict=True) if pair[0].labelled[class_id]]
    objects, found = [], []
    for image_id, (truth, seen) in enumerate(pairs, start=1):
        mine, ours = truth.class_ids == class_id, seen.class_ids == class_id
        objects += [_annotation(image_id, box, iscrowd=int(ignored)) for box, ignored in _rows(truth.boxes, truth.ignored, mine)]
        found += [_annotation(image_id, box, iscrowd=0, score=float(s)) for box, s in _rows(seen.boxes, seen.scores, ours)]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress
        evaluation = COCOeval(_index(objects, len(pairs)), _index(found, len(pairs)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, :, _MOST_DETECTIONS]  # (overlaps, recalls, sizes)
    whole = precision[:, :, 0]
    cuts = (whole, whole[_AT_50], whole[_AT_75], precision[:, :, 1], precision[:, :, 2], precision[:, :, 3])
    return CocoScore(*(_mean(cut) for cut in cuts))


def _rows(boxes: Boxes, values: np.ndarray, mask: np.ndarray) -> zip:
    return zip(boxes[mask].astype(float), values[mask], strict=True)


def _annotation(image_id: int, box: np.ndarray, **more: float) -> dict[str, Any]:
    x1, y1, x2, y2 = box.tolist()
    return {"image_id": image_id, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), **more}


def _index(annotations: list[dict[str, Any]], n_images: int) -> Any:
    """A COCO data set in memory; ids from 1, for pycocotools reads id 0 as "not matched"."""
    from pycocotools.coco import COCO

    index = COCO()
    index.dataset = {
        "images": [{"id": number} for number in range(1, n_images + 1)],
        "categories": [{"id": 1}],
        "annotations": [{"id": number, **each} for number, each in enumerate(annotations, start=1)],
    }
    index.createIndex()
    return index


def _mean(precision: np.ndarray) -> float | None:
    """-1 is pycocotools' "no such object"."""
    known = precision[precision > -1]
    return float(known.mean()) if len(known) else None
