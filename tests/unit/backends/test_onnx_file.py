"""What an ONNX file may hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from models_onnx import make_add_graph, save_model
from onnx import TensorProto, helper, numpy_helper

from edged.backends.onnx_file import read_onnx
from edged.errors import ModelError

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a2146" * 8 + b"\nsize 12345\n"


def test_read_onnx_of_a_plain_network_returns_its_bytes(tmp_path: Path) -> None:
    """A whole network with standard operators and its weights inside passes unchanged."""
    path = save_model(tmp_path / "model.onnx", make_add_graph())

    content = read_onnx(path)

    assert content == path.read_bytes()


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        pytest.param(b"", "model.not_onnx", "the file is empty", id="empty"),
        pytest.param(
            LFS_POINTER, "model.not_onnx", f"git-lfs pointer: run `git lfs pull` ({len(LFS_POINTER)} bytes)", id="git-lfs pointer"
        ),
        pytest.param(b"\n <!DOCTYPE html><html>404</html>", "model.not_onnx", "a web page", id="web page"),
        pytest.param(b"<html><body>", "model.not_onnx", "a web page", id="web page without doctype"),
        pytest.param(b'<?xml version="1.0"?><Error/>', "model.not_onnx", "an XML answer", id="answer of an object store"),
        pytest.param(b"PK\x03\x04" + bytes(40), "model.pickle_forbidden", "tools.export", id="torch checkpoint"),
        pytest.param(b"\x80\x02}q\x00.", "model.pickle_forbidden", "tools.export", id="pickle"),
        pytest.param(b"just a text", "model.not_onnx", "cut short", id="text"),
        pytest.param(bytes(1000), "model.not_onnx", "cut short", id="zeros"),
        pytest.param(b"\x08\x08", "model.not_onnx", "cut short", id="protobuf without a graph"),
    ],
)
def test_read_onnx_of_another_file_says_what_it_looks_like(tmp_path: Path, content: bytes, code: str, words: str) -> None:
    """What is no ONNX network is refused with its path, a code, and what it seems to be."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError) as caught:
        read_onnx(path)

    assert f"[{code}]" in str(caught.value)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_read_onnx_cut_anywhere_never_passes(tmp_path: Path) -> None:
    """A network cut at any byte before its last top-level field is refused, and never with a foreign error."""
    whole = save_model(tmp_path / "whole.onnx", make_add_graph()).read_bytes()
    path = tmp_path / "model.onnx"
    graph_end = whole.rindex(b"B\x04")  # the import of operators, two to four bytes at the end

    for length in range(graph_end):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            read_onnx(path)


def test_read_onnx_of_random_changes_never_raises_a_foreign_error(tmp_path: Path) -> None:
    """Flipped bytes pass or give a ModelError, nothing else."""
    whole = bytearray(save_model(tmp_path / "whole.onnx", make_add_graph()).read_bytes())
    path = tmp_path / "model.onnx"
    rng = np.random.default_rng(7)
    outcomes = set()

    for _ in range(500):
        changed = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            changed[position] = rng.integers(0, 256)
        path.write_bytes(changed)
        try:
            read_onnx(path)
            outcomes.add("passed")
        except ModelError:
            outcomes.add("refused")

    assert outcomes == {"passed", "refused"}


def test_read_onnx_of_a_missing_file_names_it(tmp_path: Path) -> None:
    """A network that is not there is a ModelError with its path."""
    with pytest.raises(ModelError, match=r"nowhere\.onnx.*\[model\.unreadable\]"):
        read_onnx(tmp_path / "nowhere.onnx")


def test_read_onnx_over_the_size_limit_is_refused_unread(tmp_path: Path) -> None:
    """A file far above any network for the edge is refused before it fills the memory."""
    path = tmp_path / "model.onnx"
    with path.open("wb") as stream:
        stream.truncate((256 << 20) + 1)  # sparse

    with pytest.raises(ModelError, match=r"\[model\.too_large\]"):
        read_onnx(path)


def _external_initializer() -> onnx.GraphProto:
    graph = make_add_graph()
    tensor = graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return graph


def _external_without_location_flag() -> onnx.GraphProto:
    graph = make_add_graph()
    graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    return graph


def _external_in_constant_of_subgraph() -> onnx.GraphProto:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "inner")
    tensor.data_location = TensorProto.EXTERNAL
    constant = helper.make_node("Constant", [], ["inner"], value=tensor)
    branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [2])])
    graph = make_add_graph()
    graph.node.append(helper.make_node("If", ["condition"], ["z"], then_branch=branch, else_branch=branch))
    return graph


def _external_in_sparse() -> onnx.GraphProto:
    graph = make_add_graph()
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    values.data_location = TensorProto.EXTERNAL
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(np.zeros(1, np.int64), "at"), [4]))
    return graph


@pytest.mark.parametrize(
    "make_graph", [_external_initializer, _external_without_location_flag, _external_in_constant_of_subgraph, _external_in_sparse]
)
def test_read_onnx_with_weights_in_another_file_is_refused(tmp_path: Path, make_graph: Callable[[], onnx.GraphProto]) -> None:
    """Wherever a tensor points to another file, the network is refused before a library follows it."""
    path = save_model(tmp_path / "model.onnx", make_graph())

    with pytest.raises(ModelError, match=r"\[model\.external_data\]"):
        read_onnx(path)


def test_read_onnx_with_a_custom_operator_is_refused(tmp_path: Path) -> None:
    """A node of another domain is refused and named."""
    path = save_model(tmp_path / "model.onnx", make_add_graph(op_type="Steal", domain="evil.ops"))

    with pytest.raises(ModelError, match=r"Steal.*'evil\.ops'.*\[model\.custom_op\]"):
        read_onnx(path)


def test_read_onnx_importing_a_custom_domain_is_refused(tmp_path: Path) -> None:
    """Operators of another domain are refused even if no node seems to use them."""
    path = save_model(tmp_path / "model.onnx", make_add_graph(), domains=("", "com.microsoft"))

    with pytest.raises(ModelError, match=r"'com\.microsoft'.*\[model\.custom_op\]"):
        read_onnx(path)


def test_read_onnx_with_functions_is_refused(tmp_path: Path) -> None:
    """A function inside the network could hide what it does: refused."""
    model = onnx.load(str(save_model(tmp_path / "model.onnx", make_add_graph())))
    model.functions.append(
        helper.make_function(
            "", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
        )
    )
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match=r"functions.*\[model\.custom_op\]"):
        read_onnx(tmp_path / "model.onnx")


def test_read_onnx_with_endlessly_nested_graphs_is_refused(tmp_path: Path) -> None:
    """Graphs inside graphs inside graphs end at a depth, not in a RecursionError."""
    graph = make_add_graph()
    for _ in range(20):
        node = helper.make_node("If", ["condition"], ["z"], then_branch=graph)
        graph = helper.make_graph([node], "outer", [], [])
    path = save_model(tmp_path / "model.onnx", graph)

    with pytest.raises(ModelError, match=r"\[model\.not_onnx\]"):
        read_onnx(path)
