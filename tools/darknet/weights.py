"""Reading a darknet weights file: bare numbers, whose meaning the cfg alone knows.

A header of three int32 (version) and a counter of pictures, then float32 for each convolution in the order of the cfg:
bias [filters]; with batch normalisation also scale, mean and variance [filters]; weights [filters, inputs / groups, size, size].

Source: AlexeyAB/darknet @0d0144e, src/parser.c, load_weights_upto.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.errors import InputError
from tools.darknet.cfg import Layer, Network
from tools.darknet.options import Convolutional
from tools.darknet.shapes import Shapes

EPSILON = 1e-5
"""Added to a variance, as the darknet that trained these networks does; older ones add 1e-6 to its root."""


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """One convolution, its batch normalisation folded into it.

    Attributes:
        weights: (filters, inputs / groups, size, size) float32.
        bias: (filters,) float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What a weights file holds.

    Attributes:
        pictures_seen: in training, as the file counts them.
        convolutions: by the number of their layer.
    """

    pictures_seen: int
    convolutions: dict[int, Convolution]


def load_weights(path: Path, network: Network, shapes: Shapes) -> Weights:
    """Read the weights of a network.

    Raises:
        InputError: the file is none, ends too early or too late for this network, or holds what is no number.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    pictures_seen, start = _read_header(content, path)
    layers = [layer for layer in network.layers if isinstance(layer.options, Convolutional)]
    _check_length(len(content) - start, layers, network, shapes, path)
    numbers = np.frombuffer(content, "<f4", offset=start)
    convolutions, at = {}, 0
    for layer in layers:
        end = at + _count(layer, shapes)
        part = numbers[at:end]
        if not np.isfinite(part).all():
            raise InputError(f"{path}: {layer.place}: holds inf or nan: the file is damaged or of another cfg")
        convolutions[layer.number] = _fold(part, layer, shapes, path)
        at = end
    return Weights(pictures_seen, convolutions)


def _read_header(content: bytes, path: Path) -> tuple[int, int]:
    """Pictures seen, and where the numbers begin."""
    try:
        major, minor, _ = struct.unpack_from("<3i", content)
        form = "<Q" if major * 10 + minor >= 2 else "<I"
        (pictures_seen,) = struct.unpack_from(form, content, 12)
    except struct.error as error:
        raise InputError(f"{path}: {len(content)} bytes are too few even for the header of a darknet weights file") from error
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise InputError(f"{path}: its header says version {major}.{minor}: no darknet weights file, or one of 2014")
    return pictures_seen, 12 + struct.calcsize(form)


def _parts(layer: Layer, shapes: Shapes) -> tuple[int, tuple[int, int, int, int]]:
    """How many rows of one number a filter come before the weights, and the weights' shape."""
    conv = layer.options
    inputs = shapes.of(layer.inputs[0]).channels // conv.groups
    return 4 if conv.batch_normalize else 1, (conv.filters, inputs, conv.size, conv.size)


def _count(layer: Layer, shapes: Shapes) -> int:
    rows, shape = _parts(layer, shapes)
    return rows * shape[0] + int(np.prod(shape))


def _check_length(n_bytes: int, layers: list[Layer], network: Network, shapes: Shapes, path: Path) -> None:
    counts = [_count(layer, shapes) for layer in layers]
    wanted = sum(counts)
    if n_bytes == 4 * wanted:
        return
    found = f"{path}: holds {n_bytes / 4:.10g} numbers, {network.source} wants {wanted} in {len(layers)} convolutions"
    if n_bytes > 4 * wanted:
        raise InputError(f"{found}: {n_bytes / 4 - wanted:.10g} too many; the cfg is of another network")
    ends = np.cumsum(counts)
    last = layers[int(np.searchsorted(ends, n_bytes // 4, side="right"))]
    raise InputError(f"{found}; it ends in {last.place}: fetch the file again, or take the cfg that belongs to it")


def _fold(numbers: NDArray[np.float32], layer: Layer, shapes: Shapes, path: Path) -> Convolution:
    rows, shape = _parts(layer, shapes)
    head = numbers[: rows * shape[0]].astype(np.float64).reshape(rows, shape[0])
    weights = numbers[rows * shape[0] :].astype(np.float64).reshape(shape)
    if rows == 1:
        return Convolution(weights.astype(np.float32), head[0].astype(np.float32))
    bias, scale, mean, variance = head
    if variance.min() < 0:
        raise InputError(f"{path}: {layer.place}: a variance of {variance.min():.3g}: the weights are of another cfg")
    factor = scale / np.sqrt(variance + EPSILON)
    return Convolution((weights * factor[:, None, None, None]).astype(np.float32), (bias - mean * factor).astype(np.float32))
