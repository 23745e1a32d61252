"""ONNX Runtime behind the backend contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_add_graph, save_model
from onnx import TensorProto, helper, numpy_helper

from edged.backends.base import TensorSpec
from edged.backends.onnx import open_onnx_backend
from edged.errors import InferenceError, ModelError


@pytest.fixture
def add_path(tmp_path: Path) -> Path:
    """`y = x + 1` over (N, 2)."""
    return save_model(tmp_path / "add.onnx", make_add_graph())


def test_open_onnx_backend_declares_inputs_and_outputs(add_path: Path) -> None:
    """A free axis is None, names and types are the network's own."""
    with open_onnx_backend(add_path) as backend:
        assert backend.inputs == {"x": TensorSpec("float32", (None, 2))}
        assert backend.outputs == {"y": TensorSpec("float32", (None, 2))}
        assert "1 thread" in backend.label


@pytest.mark.parametrize("n", [0, 1, 3])
def test_backend_infer_computes_any_batch(add_path: Path, n: int) -> None:
    """The batch axis is free, none and one included."""
    feed = np.arange(2 * n, dtype=np.float32).reshape(n, 2)

    with open_onnx_backend(add_path) as backend:
        outputs = backend.infer({"x": feed})

    np.testing.assert_array_equal(outputs["y"], feed + 1)


def test_backend_with_two_tickets_in_flight_keeps_their_outputs_apart(add_path: Path) -> None:
    """Results may be fetched in either order, and are copies of nothing that the feeds' buffer changes."""
    feed = np.zeros((1, 2), np.float32)

    with open_onnx_backend(add_path) as backend:
        first = backend.submit({"x": feed})
        feed += 10
        second = backend.submit({"x": feed})

        assert second.result()["y"].tolist() == [[11, 11]]
        assert first.result()["y"].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        pytest.param({}, "expected inputs", id="no feed"),
        pytest.param({"z": np.zeros((1, 2), np.float32)}, "expected inputs", id="other name"),
        pytest.param({"x": np.zeros((1, 3), np.float32)}, "input x", id="other shape"),
        pytest.param({"x": np.zeros((1, 2), np.float64)}, "float64", id="other type"),
    ],
)
def test_backend_infer_with_wrong_feeds_names_the_input(add_path: Path, feeds: dict[str, np.ndarray], words: str) -> None:
    """Feeds that do not fit are refused before the library sees them."""
    with open_onnx_backend(add_path) as backend, pytest.raises(InferenceError, match=words):
        backend.infer(feeds)


def test_backend_after_close_refuses_to_compute(add_path: Path) -> None:
    """A closed network says so; closing twice is fine."""
    backend = open_onnx_backend(add_path)
    backend.close()
    backend.close()

    with pytest.raises(InferenceError, match="closed"):
        backend.infer({"x": np.zeros((1, 2), np.float32)})


def test_backend_with_a_failing_network_raises_inference_error(tmp_path: Path) -> None:
    """What the library raises while it computes comes out as ours, with the shapes."""
    reshape = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "reshape",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [helper.make_tensor("shape", TensorProto.INT64, [1], [4])],
    )

    with (
        open_onnx_backend(save_model(tmp_path / "reshape.onnx", reshape)) as backend,
        pytest.raises(InferenceError, match=r"\(3, 2\)"),
    ):
        backend.infer({"x": np.zeros((3, 2), np.float32)})


def test_open_onnx_backend_of_an_invalid_graph_raises_model_error(tmp_path: Path) -> None:
    """A network that the library cannot load is a ModelError with the library's words."""
    path = save_model(tmp_path / "model.onnx", make_add_graph(op_type="NoSuchOperator"))

    with pytest.raises(ModelError, match=r"NoSuchOperator.*\[model\.invalid\]"):
        open_onnx_backend(path)


def test_open_onnx_backend_with_text_input_raises_model_error(tmp_path: Path) -> None:
    """An input that no array of ours can feed is refused when the network is opened."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "text",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [1])],
    )

    with pytest.raises(ModelError, match=r"x is of type tensor\(string\).*\[model\.shape\]"):
        open_onnx_backend(save_model(tmp_path / "text.onnx", graph))


def test_backend_computes_int8_without_overflow(tmp_path: Path) -> None:
    """Sums of full-scale products are exact, also where a processor adds them in pairs of 16 bits: 2 * 255 * 127 > 32767."""
    constants = {
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
        "weight": np.full((32, 32, 1, 1), 127, np.int8),
        "ones": np.ones(32, np.float32),
        "zeros": np.zeros(32, np.int8),
        "full": np.array(32 * 127, np.float32),
    }
    convolution = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["quantised"]),
            helper.make_node("DequantizeLinear", ["quantised", "one", "zero"], ["input"]),
            helper.make_node("DequantizeLinear", ["weight", "ones", "zeros"], ["weights"], axis=0),
            helper.make_node("Conv", ["input", "weights"], ["sums"]),
            helper.make_node("QuantizeLinear", ["sums", "full", "zero"], ["answer"]),
            helper.make_node("DequantizeLinear", ["answer", "full", "zero"], ["y"]),
        ],
        "int8",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32, 8, 8])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )

    with open_onnx_backend(save_model(tmp_path / "int8.onnx", convolution)) as backend:
        outputs = backend.infer({"x": np.full((1, 32, 8, 8), 255, np.float32)})

    np.testing.assert_array_equal(outputs["y"], np.float32(32 * 127 * 255))


def test_backend_module_imports_without_onnxruntime() -> None:
    """Importing the backend, a detector or a manifest does not load the library: it is loaded when a network is opened."""
    code = "import sys, edged.backends.onnx, edged.models.detector; sys.exit('onnxruntime' in sys.modules)"

    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )

    assert result.returncode == 0, result.stderr
