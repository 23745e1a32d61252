"""Small networks in ONNX's text form, for tests that read files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import numpy_helper, parser

HEAD = '<ir_version: 8, opset_import: ["": 17, "com.example": 1]>'


def save_network(path: Path, signature: str, body: str, **constants: ArrayLike) -> Path:
    """Write `signature { body }` with initialisers.

    Args:
        signature: inputs and outputs, e.g. `(float[N,3,8,8] x) => (float y)`; shapes of outputs are left open.
        body: one node a line.
        constants: a tuple is the shape of weights, which are zero; an array is the very initialiser.
    """
    model = parser.parse_model(f"{HEAD} network {signature} {{ {body} }}")
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    arrays = {name: np.zeros(value, np.float32) if isinstance(value, tuple) else value for name, value in constants.items()}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(model, path)
    return path
