"""Cut-outs of pictures with the boxes that a mistake is about."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.types import Pixels
from tools.datasets.encoding import encode_jpeg
from tools.report.markup import Element, element

LONG_SIDE_PX = 240
"""Of a cut-out on the page."""
MARGIN_RATIO = 0.6
"""Surroundings on each side, in longer sides of the box."""
FEWEST_PX = 48
"""A cut-out of a tiny box still shows this much of its picture, so that one sees where it is."""
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True, eq=False)
class MarkedBox:
    """A box to draw: (4,) xyxy in pixels of the picture; the truth is drawn solid, a detection dashed."""

    box: NDArray[np.float32]
    is_truth: bool


def cut_window(box: NDArray[np.float32], *, width: int, height: int) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 in whole pixels: a square around a box, with its surroundings, as far as the picture reaches."""
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    side = max(float(max(box[2] - box[0], box[3] - box[1])) * (1 + 2 * MARGIN_RATIO), FEWEST_PX)
    x1, y1 = int(max(0, np.floor(centre_x - side / 2))), int(max(0, np.floor(centre_y - side / 2)))
    x2, y2 = int(min(width, np.ceil(centre_x + side / 2))), int(min(height, np.ceil(centre_y + side / 2)))
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def draw_crop(pixels_rgb: Pixels, around: NDArray[np.float32], boxes: Sequence[MarkedBox], *, title: str) -> Element:
    """The surroundings of a box as a picture inside the page, with boxes over it that stay sharp when it is enlarged."""
    height, width = pixels_rgb.shape[:2]
    x1, y1, x2, y2 = cut_window(around, width=width, height=height)
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    scale = LONG_SIDE_PX / max(x2 - x1, y2 - y1)
    shown_w, shown_h = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = cv2.resize(pixels_rgb[y1:y2, x1:x2], (shown_w, shown_h), interpolation=interpolation)
    drawn = [_embed(shown)]
    for marked in boxes:
        left, top, right, bottom = ((marked.box - (x1, y1, x1, y1)) * scale).round(1).tolist()
        place = {"x": left, "y": top, "width": max(right - left, 1), "height": max(bottom - top, 1)}
        kind = "truth" if marked.is_truth else "said"
        drawn += [element("rect", class_="casing", **place), element("rect", class_=kind, **place)]
    return element("svg", element("title", title), *drawn, viewBox=f"0 0 {shown_w} {shown_h}", class_="crop", role="img")


def draw_picture(pixels_rgb: Pixels, *, title: str) -> Element:
    """A picture, (h, w, 3) uint8, inside the page as it is."""
    height, width = pixels_rgb.shape[:2]
    parts = [element("title", title), _embed(pixels_rgb)]
    return element("svg", *parts, viewBox=f"0 0 {width} {height}", role="img", style="width: 100%; display: block")


def _embed(pixels_rgb: Pixels) -> Element:
    height, width = pixels_rgb.shape[:2]
    uri = "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(pixels_rgb, quality=_JPEG_QUALITY)).decode("ascii")
    return element("image", href=uri, width=width, height=height)
