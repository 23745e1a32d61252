"""The layers of an engine: which there are, in what types they compute, and where."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_DTYPES = {
    "float": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "fp8": "float8",
    "uint8": "uint8",
    "int8": "int8",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}
"""TensorRT's words, of its list and its inspector, in NumPy's."""


_LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"(?:Constants: \[.*?\], )?Outputs: \[(?P<outputs>.*?)\], TacticName: "
)
_TENSOR = re.compile(r"{ Name: (?P<name>.*?), Dimensions: .*?Datatype: (?P<dtype>\w+)")
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class LayerTensor:
    """What a layer reads or writes.

    Attributes:
        name: an ONNX tensor's, or one of TensorRT's own.
        dtype: in NumPy's words, e.g. `float16`; `?` where TensorRT does not say.
    """

    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of an engine, of one ONNX node or of several that were fused.

    Attributes:
        kind: TensorRT's word for it, e.g. `kgen`, `CaskConvolution`.
        nodes: the ONNX nodes that it computes; none where TensorRT added it.
    """

    name: str
    kind: str
    inputs: tuple[LayerTensor, ...] = ()
    outputs: tuple[LayerTensor, ...] = ()
    nodes: tuple[str, ...] = ()


def layers_in_log(text: str) -> tuple[Layer, ...]:
    """The layers as TensorRT-RTX lists them in its log when an engine is built in detail; none if the text holds no such list.

    Args:
        text: the message that begins with `Layers:`, one layer a line.
    """
    lines = text.split("\n\n", maxsplit=1)[0].splitlines()[1:]
    found = [(_LINE.match(line), line) for line in lines]
    return tuple(
        Layer(
            name=match["name"],
            kind=match["kind"],
            inputs=_tensors_in_line(match["inputs"]),
            outputs=_tensors_in_line(match["outputs"]),
            nodes=tuple(_NODE.findall(line[match.end() :])),
        )
        for match, line in found
        if match
    )


def layers_in_json(text: str) -> tuple[Layer, ...]:
    """The layers as the engine inspector tells them, of TensorRT 8.6 to 11; none if the text holds no such list.

    Args:
        text: `get_engine_information(LayerInformationFormat.JSON)`; only names of an engine that was not built in detail.
    """
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(
        Layer(
            name=layer["Name"],
            kind=layer.get("LayerType", "?"),
            inputs=_tensors_in_json(layer.get("Inputs", ())),
            outputs=_tensors_in_json(layer.get("Outputs", ())),
            nodes=tuple(_NODE.findall(layer.get("Metadata", ""))),
        )
        if isinstance(layer, dict)
        else Layer(name=layer, kind="?")
        for layer in layers
    )


def count_types(layers: Iterable[Layer]) -> dict[str, int]:
    """How many layers write each type, the commonest first, e.g. `{"float16": 71, "float32": 4}`."""
    return dict(Counter(dtype for layer in layers for dtype in {tensor.dtype for tensor in layer.outputs}).most_common())


def _tensors_in_line(text: str) -> tuple[LayerTensor, ...]:
    return tuple(LayerTensor(match["name"], _find_dtype(match["dtype"])) for match in _TENSOR.finditer(text))


def _tensors_in_json(tensors: Iterable[Mapping[str, Any]]) -> tuple[LayerTensor, ...]:
    """TensorRT 8.6 and 10 put the type into the name of the format, 11 beside it."""
    return tuple(
        LayerTensor(
            tensor["Name"], _find_dtype(tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype", ""))
        )
        for tensor in tensors
    )


def _find_dtype(words: str) -> str:
    """The type in e.g. `Half` or `Row major linear FP16 format`."""
    known = (_DTYPES.get(word) for word in re.findall(r"\w+", words.lower()))
    return next((dtype for dtype in known if dtype), "?")
