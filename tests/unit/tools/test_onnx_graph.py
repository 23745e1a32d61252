"""ONNX files become graphs with shapes, or are refused with what to do about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_text import save_network

from edged.errors import InputError, ModelError
from tools.onnx_graph import find_network, load_graph
from tools.onnx_shapes import format_shape

PICTURE = "(float[N,3,H,W] x) => (float[] y)"


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    """A network that leaves the number and the size of its pictures open."""
    return save_network(tmp_path / "open.onnx", PICTURE, "y = Conv <strides=[2,2]> (x, w)", w=(4, 3, 3, 3))


def test_load_graph_closes_open_axes_as_asked(convolution: Path) -> None:
    """Batch, height and width come from the caller; shapes behind follow."""
    graph = load_graph(convolution, batch=2, width=33, height=17)

    assert graph.inputs == {"x": (2, 3, 17, 33)}
    assert graph.shapes["y"] == (2, 4, 8, 16)


def test_load_graph_without_a_batch_takes_one_picture(convolution: Path) -> None:
    """One is what a cost is asked for."""
    assert load_graph(convolution, width=8, height=8).inputs["x"][0] == 1


def test_load_graph_of_channels_last_finds_height_and_width(tmp_path: Path) -> None:
    """Networks from TensorFlow have the channels behind."""
    path = save_network(tmp_path / "a.onnx", "(float[N,H,W,3] x) => (float[] y)", "y = Relu (x)")

    assert load_graph(path, width=9, height=5).inputs["x"] == (1, 5, 9, 3)


@pytest.mark.parametrize("length", [0, -1])
def test_load_graph_takes_a_length_of_zero_or_less_for_open(convolution: Path, length: int) -> None:
    """Some exporters write -1 or 0 where they mean any length."""
    model = onnx.load(convolution)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = length
    onnx.save(model, convolution)

    assert load_graph(convolution, batch=3, width=8, height=8).inputs["x"] == (3, 3, 8, 8)


@pytest.mark.parametrize(
    ("signature", "asked", "message"),
    [
        pytest.param(PICTURE, {}, r"input x leaves axis 2 \(H\) open: pass --size WxH", id="size needed"),
        pytest.param("(float[N,C,L] x) => (float[] y)", {}, r"axis 1 \(C\) open: fix it by .* --dim_param C", id="channels"),
        pytest.param("(float[1,3,8,8] x) => (float[] y)", {"batch": 2}, r"no input takes the --batch given", id="fixed batch"),
        pytest.param(
            "(float[1,3,8,8] x) => (float[] y)",
            {"width": 8, "height": 9},
            r"fixed as x 1x3x8x8; leave --size out",
            id="fixed size",
        ),
    ],
)
def test_load_graph_of_axes_that_do_not_fit_says_what_to_pass(tmp_path: Path, signature: str, asked: dict, message: str) -> None:
    """Every axis needs a length, and nothing that was asked for is passed over in silence."""
    path = save_network(tmp_path / "a.onnx", signature, "y = Relu (x)")

    with pytest.raises(InputError, match=message):
        load_graph(path, **asked)


def test_load_graph_of_fixed_axes_accepts_their_own_lengths(tmp_path: Path) -> None:
    """Asking for what the file has anyway is no mistake."""
    path = save_network(tmp_path / "a.onnx", "(float[2,3,8,9] x) => (float[] y)", "y = Relu (x)")

    assert load_graph(path, batch=2, width=9, height=8).inputs == {"x": (2, 3, 8, 9)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: No such file", id="missing"),
        pytest.param(b"", "holds no network", id="empty"),
        pytest.param(b"hello world", "cannot be read as ONNX", id="other kind"),
    ],
)
def test_load_graph_of_no_network_says_so(tmp_path: Path, content: bytes | None, message: str) -> None:
    """The message names the file and what is wrong with it."""
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InputError, match=f"a.onnx: {message}"):
        load_graph(path)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("a = Add (x, w)  y = Relu (a)", "cannot be inferred: .*op_type:Add", id="contradiction"),
        pytest.param("y = com.example.Foo (x, nobody)", "reads 'nobody', which nothing before it makes", id="hole"),
    ],
)
def test_load_graph_of_a_broken_graph_names_the_node(tmp_path: Path, body: str, message: str) -> None:
    """What onnx finds, and what it lets pass."""
    path = save_network(tmp_path / "a.onnx", "(float[1,3,8,8] x) => (float[] y)", body, w=(5,))

    with pytest.raises(InputError, match=message):
        load_graph(path)


def test_load_graph_follows_arithmetic_with_shapes(tmp_path: Path) -> None:
    """A shape computed with Mod and Slice, as exporters write unflatten, of which onnx itself makes nothing."""
    body = """
        s = Shape (x)  r = Shape (s)  k = Mod (two, r)  head = Slice (s, zero, k)
        n = Concat <axis=0> (head, rest)  a = Reshape (x, n)  t = Shape (a)
        c = Slice (t, two, four)  m = Concat <axis=0> (rest, c)  y = Reshape (a, m)
    """
    numbers = {"two": [2], "zero": [0], "rest": [-1], "four": [4]}
    constants = {name: np.array(value) for name, value in numbers.items()}
    path = save_network(tmp_path / "a.onnx", "(float[N,6,4,5] x) => (float[] y)", body, **constants)

    graph = load_graph(path)

    assert graph.shapes["a"] == (1, 6, 20)
    assert graph.shapes["y"] == (6, 20)
    assert [node.operator for node in graph.layers()] == ["Reshape", "Reshape"]


def test_load_graph_takes_weights_among_the_inputs_for_weights(tmp_path: Path) -> None:
    """Files before IR version 4 list every initialiser as an input."""
    path = save_network(
        tmp_path / "a.onnx", "(float[1,3,8,8] x, float[4,3,3,3] w) => (float[] y)", "y = Conv (x, w)", w=(4, 3, 3, 3)
    )

    assert load_graph(path).inputs == {"x": (1, 3, 8, 8)}


def test_load_graph_needs_no_weights_that_lie_elsewhere(convolution: Path) -> None:
    """Costs follow from shapes."""
    model = onnx.load(convolution)
    onnx.save(model, convolution, save_as_external_data=True, location="weights", size_threshold=0)
    (convolution.parent / "weights").unlink()

    assert load_graph(convolution, width=8, height=8).shapes["y"] == (1, 4, 3, 3)


def test_load_graph_lays_functions_open(tmp_path: Path) -> None:
    """A node that the file itself defines is replaced by its definition."""
    text = """
        <ir_version: 8, opset_import: ["": 17, "mine": 1]>
        network (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = mine.twice (x) }
        <opset_import: ["": 17], domain: "mine"> twice (a) => (b) { c = Relu (a)  b = Sigmoid (c) }
    """
    onnx.save(onnx.parser.parse_model(text), tmp_path / "a.onnx")

    assert [node.operator for node in load_graph(tmp_path / "a.onnx").layers()] == ["Relu", "Sigmoid"]


def test_load_graph_counts_what_a_branch_reads_as_read(tmp_path: Path) -> None:
    """An If takes its data from outside without naming it among its inputs."""
    branches = "then_branch = one () => (float[1,2] a) { a = Relu (x) }, else_branch = two () => (float[1,2] b) { b = Neg (x) }"
    body = f"y = If (flag) <{branches}>"
    path = save_network(tmp_path / "a.onnx", "(float[1,2] x) => (float[] y)", body, flag=np.array(True))

    (node,) = load_graph(path).layers()

    assert (node.operator, node.reads) == ("If", ("flag", "x"))


def test_known_shape_that_is_open_names_the_node_where_that_begins(tmp_path: Path) -> None:
    """The culprit is the foreign node, not the convolution that suffers."""
    path = save_network(
        tmp_path / "a.onnx", "(float[1,3,8,8] x) => (float[] y)", "a = com.example.Foo (x)  b = Relu (a)  y = Neg (b)"
    )

    with pytest.raises(InputError, match=r"com.example.Foo 'a' gives cannot be inferred \(found \?\).*symbolic_shape_infer"):
        load_graph(path).known_shape("y")


def test_find_network_of_an_engine_reads_its_manifest(tmp_path: Path) -> None:
    """A directory means what its manifest names; a file means itself; a directory without one is refused."""
    engine = Path(__file__).parents[3] / "engines" / "detector"

    assert find_network(engine) == engine / "model.onnx"
    assert find_network(tmp_path / "a.onnx") == tmp_path / "a.onnx"
    with pytest.raises(ModelError, match="cannot read the manifest"):
        find_network(tmp_path)


@pytest.mark.parametrize(
    ("shape", "text"),
    [((1, 3, 8, 9), "1x3x8x9"), ((None, 4), "?x4"), ((), "1"), (None, "?"), ((5,), "5")],
    ids=["whole", "open", "one number", "unknown", "one axis"],
)
def test_format_shape_marks_what_is_not_known(shape, text: str) -> None:
    """A question mark never passes for a length."""
    assert format_shape(shape) == text
