"""ONNX Runtime on the CPU. The only module that imports onnxruntime, and only when a network is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edged.backends.base import Tensors, TensorSpec, check_feeds
from edged.backends.onnx_file import read_onnx
from edged.errors import InferenceError, ModelError

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


def open_onnx_backend(path: Path, *, threads: int = 1) -> OnnxBackend:
    """A network ready to compute on the CPU; close it after use.

    Args:
        path: the ONNX file; it must hold its weights and use standard operators only.
        threads: how many compute one batch, the caller's own included.

    Raises:
        ModelError: the file is no such network, or ONNX Runtime cannot run it.
    """
    content = read_onnx(path)
    try:
        import onnxruntime  # heavy, and not needed to check a configuration
    except ImportError as error:
        raise ModelError(f"cannot import onnxruntime ({error}): pip install onnxruntime [backend.missing]") from error
    try:
        session = onnxruntime.InferenceSession(content, _make_options(onnxruntime, threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises a dozen unrelated types for a network that it cannot run
        raise ModelError(f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it: {error} [model.invalid]") from error
    return OnnxBackend(
        session,
        inputs={value.name: _make_spec(value, path) for value in session.get_inputs()},
        outputs={value.name: _make_spec(value, path) for value in session.get_outputs()},
        label=f"onnxruntime {onnxruntime.__version__} cpu, {threads} thread{'s' if threads != 1 else ''}",
    )


@dataclass(frozen=True, slots=True)
class _Done:
    """A batch that was computed when it was submitted: a CPU has nothing to overlap with itself."""

    outputs: Tensors

    def result(self) -> Tensors:
        return self.outputs


class OnnxBackend:
    """A loaded network on the CPU, a context manager; made by `open_onnx_backend`."""

    def __init__(self, session: Any, *, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec], label: str) -> None:
        self._session = session
        self.inputs = inputs
        self.outputs = outputs
        self.label = label

    def submit(self, feeds: Tensors) -> _Done:
        if self._session is None:
            raise InferenceError("the network is closed")
        check_feeds(feeds, self.inputs)
        try:
            values = self._session.run(list(self.outputs), dict(feeds))
        except Exception as error:  # the library raises a dozen unrelated types
            shapes = {name: array.shape for name, array in feeds.items()}
            raise InferenceError(f"ONNX Runtime failed on inputs {shapes}: {error}") from error
        return _Done(dict(zip(self.outputs, values, strict=True)))

    def infer(self, feeds: Tensors) -> Tensors:
        return self.submit(feeds).result()

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OnnxBackend:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _make_options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors: the rest would go past our log
    # Threads that spin while they wait cost a paced daemon four times the CPU of the work itself.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without it sums of INT8 products overflow 16 bits on an x86 processor without VNNI: AP50 of persons fell from 0.62 to 0.34.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _make_spec(value: Any, path: Path) -> TensorSpec:
    if value.type not in _DTYPES:
        raise ModelError(f"{path}: {value.name} is of type {value.type}, known are {', '.join(_DTYPES)} [model.shape]")
    return TensorSpec(_DTYPES[value.type], tuple(length if isinstance(length, int) else None for length in value.shape))
