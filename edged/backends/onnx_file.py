"""What an ONNX file may hold, checked before any library runs it: this module reads protobuf's wire form and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edged.errors import ModelError

MAX_BYTES = 256 << 20
"""Far above any network for the edge."""

_STANDARD_DOMAINS = ("", "ai.onnx")
_LOOKS_LIKE = (
    (b"version https://git-lfs", "a git-lfs pointer: run `git lfs pull`"),
    (b"<!doctype", "a web page: the download went wrong"),
    (b"<html", "a web page: the download went wrong"),
    (b"<?xml", "an XML answer: the download went wrong"),
)
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

# Field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
_MODEL_GRAPH, _MODEL_OPSET_IMPORT, _MODEL_FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN = 1
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE_INITIALIZER = 1, 5, 15
_NODE_OP_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE_TENSORS = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_MAX_DEPTH = 8


def read_onnx(path: Path) -> bytes:
    """The bytes of a network that is plain, whole and self-contained.

    Raises:
        ModelError: it is something else: not ONNX, cut short, with operators of others, or with weights in other files.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_BYTES} [model.too_large]")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read the network: {error} [model.unreadable]") from error
    _refuse_other_files(path, content)
    try:
        _check_model(memoryview(content))
    except _NotAllowedError as error:
        raise ModelError(f"{path}: {error}") from error
    except (IndexError, ValueError) as error:
        raise ModelError(f"{path}: not an ONNX network, or cut short ({len(content)} bytes) [model.not_onnx]") from error
    return content


class _NotAllowedError(Exception):
    """The network holds something that we do not run."""


def _refuse_other_files(path: Path, content: bytes) -> None:
    start = content[:64].lstrip().lower()
    if not content:
        raise ModelError(f"{path}: not an ONNX network: the file is empty [model.not_onnx]")
    for prefix, meaning in _LOOKS_LIKE:
        if start.startswith(prefix):
            raise ModelError(f"{path}: not an ONNX network: looks like {meaning} ({len(content)} bytes) [model.not_onnx]")
    if content.startswith(_PICKLES):
        raise ModelError(
            f"{path}: a zip or pickle file, as torch saves it, can run code when it is opened and is never read here: "
            f"export it to ONNX with tools.export [model.pickle_forbidden]"
        )


def _check_model(model: memoryview) -> None:
    has_graph = False
    for number, value in _fields(model):
        if number == _MODEL_GRAPH:
            has_graph = True
            _check_graph(_message(value), depth=0)
        elif number == _MODEL_OPSET_IMPORT:
            for inner, domain in _fields(_message(value)):
                if inner == _OPSET_DOMAIN:
                    _check_domain(_text(domain), "imports operators")
        elif number == _MODEL_FUNCTIONS:
            raise _NotAllowedError("defines functions of its own: export it with standard operators only [model.custom_op]")
    if not has_graph:
        raise ValueError("no graph")


def _check_graph(graph: memoryview, *, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("graphs nest too deep")
    for number, value in _fields(graph):
        if number == _GRAPH_NODE:
            _check_node(_message(value), depth=depth)
        elif number == _GRAPH_INITIALIZER:
            _check_tensor(_message(value))
        elif number == _GRAPH_SPARSE_INITIALIZER:
            _check_sparse(_message(value))


def _check_node(node: memoryview, *, depth: int) -> None:
    fields = list(_fields(node))
    operator = next((_text(value) for number, value in fields if number == _NODE_OP_TYPE), "?")
    for number, value in fields:
        if number == _NODE_DOMAIN:
            _check_domain(_text(value), f"has a node {operator}")
        elif number == _NODE_ATTRIBUTE:
            for inner, part in _fields(_message(value)):
                if inner in _ATTRIBUTE_TENSORS:
                    _check_tensor(_message(part))
                elif inner in _ATTRIBUTE_GRAPHS:
                    _check_graph(_message(part), depth=depth + 1)
                elif inner in _ATTRIBUTE_SPARSE_TENSORS:
                    _check_sparse(_message(part))


def _check_sparse(sparse: memoryview) -> None:
    for number, value in _fields(sparse):
        if number in _SPARSE_TENSORS:
            _check_tensor(_message(value))


def _check_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
            raise _NotAllowedError("keeps weights in another file: export it with its weights inside [model.external_data]")


def _check_domain(domain: str, what: str) -> None:
    if domain not in _STANDARD_DOMAINS:
        raise _NotAllowedError(f"{what} of the domain {domain[:80]!r}: export it with standard operators only [model.custom_op]")


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("expected a message")
    return value


def _text(value: memoryview | int) -> str:
    return str(_message(value), "utf-8")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field: an int for numbers, the bytes for everything else.

    Raises:
        IndexError, ValueError: the message is cut short or no protobuf.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == 2:
            length, position = _varint(message, position)
        else:
            length = {1: 8, 5: 4}.get(wire_type, -1)
        if number == 0 or length < 0 or position + length > len(message):
            raise ValueError("field outside its message")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number in base 128 and the position after it."""
    value = 0
    for shift in range(0, 64, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("number too long")
