"""What darknet computes, written down a second time: windows and sums in float64, nothing of `tools/darknet` in it.

A cfg is run with random weights, which are drawn as the layers ask for them: so the file comes out in darknet's order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
}


@dataclass
class Drawn:
    """Random weights in the order in which they were asked for."""

    rng: np.random.Generator
    parts: list[np.ndarray] = field(default_factory=list)

    def take(self, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        self.parts.append(self.rng.uniform(low, high, shape).astype(np.float32))
        return self.parts[-1].astype(np.float64)

    def to_file(self, *, pictures_seen: int = 64) -> bytes:
        """A weights file of version 0.2."""
        header = struct.pack("<3iQ", 0, 2, 5, pictures_seen)
        return header + b"".join(part.tobytes() for part in self.parts)


def run_cfg(text: str, picture: np.ndarray, drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (R, 4) xyxy in input pixels and scores (R, classes) of a picture (3, H, W) uint8."""
    outputs: list[np.ndarray] = []
    x, boxes, scores = picture / 255.0, [], []
    for kind, options in _sections(text)[1:]:
        number = len(outputs)
        named = options.get("layers", options.get("from"))
        earlier = [outputs[at if at >= 0 else number + at] for at in map(int, named.split(","))] if named else []
        if kind == "convolutional":
            x = _convolution(x, options, drawn)
        elif kind == "maxpool":
            x = _max_pool(x, options)
        elif kind == "avgpool":
            x = x.mean(axis=(1, 2), keepdims=True)
        elif kind == "upsample":
            x = x.repeat(int(options["stride"]), axis=1).repeat(int(options["stride"]), axis=2)
        elif kind == "route":
            groups, part = int(options.get("groups", 1)), int(options.get("group_id", 0))
            x = np.concatenate([np.split(one, groups)[part] for one in earlier])
        elif kind == "shortcut":
            x = ACTIVATIONS[options.get("activation", "linear")](x + sum(earlier))
        elif kind == "scale_channels":
            x = x * earlier[0]
        elif kind == "yolo":
            for head_boxes, head_scores in _head(x, options, picture.shape):
                boxes.append(head_boxes)
                scores.append(head_scores)
        outputs.append(x)
    return np.array(boxes), np.array(scores)


def _sections(text: str) -> list[tuple[str, dict[str, str]]]:
    sections: list[tuple[str, dict[str, str]]] = []
    for line in filter(None, (raw.split("#")[0].replace(" ", "") for raw in text.splitlines())):
        if line.startswith("["):
            sections.append((line.strip("[]"), {}))
        else:
            key, value = line.split("=")
            sections[-1][1][key] = value
    return sections


def _convolution(x: np.ndarray, options: dict[str, str], drawn: Drawn) -> np.ndarray:
    n, size, stride = int(options["filters"]), int(options.get("size", 1)), int(options.get("stride", 1))
    groups = int(options.get("groups", 1))
    margin = size // 2 if options.get("pad") == "1" else int(options.get("padding", 0))
    bias = drawn.take(n)
    normalisation = None
    if options.get("batch_normalize") == "1":
        normalisation = [drawn.take(n, low=low)[:, None, None] for low in (-1.0, -1.0, 0.1)]
    bound = (len(x) // groups * size**2) ** -0.5  # so that no answer is so large that its exponential differs in float32
    weights = drawn.take(n, len(x) // groups, size, size, low=-bound, high=bound)
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    parts = zip(np.split(windows, groups), np.split(weights, groups), strict=True)
    y = np.concatenate([np.einsum("chwij,ocij->ohw", window, weight) for window, weight in parts])
    if normalisation:
        scale, mean, variance = normalisation
        y = scale * (y - mean) / np.sqrt(variance + 1e-5)
    return ACTIVATIONS[options.get("activation", "logistic")](y + bias[:, None, None])


def _max_pool(x: np.ndarray, options: dict[str, str]) -> np.ndarray:
    stride = int(options.get("stride", 1))
    size = int(options.get("size", stride))
    padding = int(options.get("padding", size - 1))
    n_rows, n_columns = ((length + padding - size) // stride + 1 for length in x.shape[1:])
    y = np.full((len(x), n_rows, n_columns), -np.inf)
    for row in range(n_rows):
        for column in range(n_columns):
            top, left = row * stride - padding // 2, column * stride - padding // 2
            y[:, row, column] = x[:, max(top, 0) : top + size, max(left, 0) : left + size].max(axis=(1, 2))
    return y


def _head(x: np.ndarray, options: dict[str, str], picture: tuple[int, ...]):
    """Box and scores of every anchor, row and column, as get_yolo_box has them: in shares of the picture, then pixels."""
    anchors = np.array(options["anchors"].split(","), float).reshape(-1, 2)
    mask = [int(number) for number in options.get("mask", ",".join(map(str, range(len(anchors))))).split(",")]
    scale, is_new = float(options.get("scale_x_y", 1)), options.get("new_coords") == "1"
    sigmoid = ACTIVATIONS["linear" if is_new else "logistic"]
    _, height, width = picture
    rows, columns = x.shape[1:]
    for anchor, answers in zip(mask, np.split(x, len(mask)), strict=True):
        for row in range(rows):
            for column in range(columns):
                t = answers[:, row, column]
                centre_x = (sigmoid(t[0]) * scale - 0.5 * (scale - 1) + column) / columns * width
                centre_y = (sigmoid(t[1]) * scale - 0.5 * (scale - 1) + row) / rows * height
                w, h = (4 * t[2:4] ** 2 if is_new else np.exp(t[2:4])) * anchors[anchor]
                yield (
                    [centre_x - w / 2, centre_y - h / 2, centre_x + w / 2, centre_y + h / 2],
                    sigmoid(t[4]) * sigmoid(t[5:]),
                )
