"""ONNX Runtime behind the backend contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from contracts.backend_contract import BackendContract, FailingBackendContract
from models_onnx import make_add_graph, save_model
from onnx import TensorProto, helper, numpy_helper

from edged.backends.onnx import OnnxBackend, open_onnx_backend
from edged.errors import InferenceError, ModelError


class TestOnnxBackend(BackendContract, FailingBackendContract):
    """ONNX Runtime keeps the contract."""

    @pytest.fixture(autouse=True)
    def _fixture_directory(self, tmp_path: Path) -> None:
        self._directory = tmp_path

    def open_add(self) -> OnnxBackend:
        return open_onnx_backend(save_model(self._directory / "add.onnx", make_add_graph()))

    def open_failing(self) -> OnnxBackend:
        graph = make_add_graph()
        graph.initializer.append(numpy_helper.from_array(np.array([4], np.int64), "four"))
        graph.node.append(helper.make_node("Reshape", ["y", "four"], ["two pairs"]))
        graph.output.append(helper.make_tensor_value_info("two pairs", TensorProto.FLOAT, [4]))
        return open_onnx_backend(save_model(self._directory / "failing.onnx", graph))


def test_open_onnx_backend_says_how_many_threads_compute(tmp_path: Path) -> None:
    """The label is for people: what computes, and with how much."""
    path = save_model(tmp_path / "add.onnx", make_add_graph())

    with open_onnx_backend(path) as one, open_onnx_backend(path, threads=2) as two:
        assert one.label.endswith("cpu, 1 thread")
        assert two.label.endswith("cpu, 2 threads")


def test_backend_infer_of_an_empty_batch_gives_empty_outputs(tmp_path: Path) -> None:
    """On a CPU the batch axis is free down to none."""
    with open_onnx_backend(save_model(tmp_path / "add.onnx", make_add_graph())) as backend:
        outputs = backend.infer({"x": np.zeros((0, 2), np.float32)})

        assert outputs["y"].shape == (0, 2)


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
