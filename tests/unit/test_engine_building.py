"""What an engine is built for and found by."""

from __future__ import annotations

import pickle

import pytest
from models_onnx import make_manifest

from edged.backends.tensorrt.builder import BuildOptions
from edged.backends.tensorrt.cache import PORTABLE, Target
from edged.backends.tensorrt.driver import DeviceFacts
from edged.backends.tensorrt.library import Differences, Library, MessageLog
from edged.config.computing import TensorrtConfig
from edged.engine_building import _Failure, make_key, make_options, make_target
from edged.errors import DeviceError, EdgedError, InputError, ModelError

RTX = Library(None, "tensorrt_rtx", "1.7.1", Differences(True, False, False, True, True, True, False, True), None, MessageLog())
FULL = Library(None, "tensorrt", "10.3.0", Differences(True, True, True, True, False, False, True, True), None, MessageLog())
ORIN = DeviceFacts("Orin", (8, 7), "12.6", 8 << 30, True)


@pytest.mark.parametrize(
    ("settings", "batch"),
    [
        pytest.param({}, (1, 4, 8), id="as shipped"),
        pytest.param({"max_batch": 1}, (1, 1, 1), id="one"),
        pytest.param({"max_batch": 5}, (1, 3, 5), id="odd"),
        pytest.param({"max_batch": 4, "dla_core": 1}, (4, 4, 4), id="a DLA computes one size"),
    ],
)
def test_batches_follow_from_the_largest(settings: dict, batch: tuple[int, int, int]) -> None:
    """A site says how many cameras there may be at once; what is built fits that."""
    options = make_options(TensorrtConfig(**settings), "fp16")

    assert options == BuildOptions("fp16", batch, workspace_bytes=1 << 30, dla_core=settings.get("dla_core"))


def test_options_that_contradict_are_refused() -> None:
    """A DLA has no FP32."""
    with pytest.raises(InputError, match=r"engine\.dla"):
        make_options(TensorrtConfig(dla_core=0), "fp32")


def test_target_is_the_device_unless_the_library_builds_for_any() -> None:
    """TensorRT-RTX asks for no device, TensorRT for nothing else."""
    assert make_target(RTX, None) == make_target(RTX, ORIN) == PORTABLE
    assert make_target(FULL, ORIN) == Target("Orin", "8.7", "12.6")
    with pytest.raises(ValueError, match="open it first"):
        make_target(FULL, None)


def test_key_holds_the_network_of_its_precision() -> None:
    """Another precision is another network."""
    fp16 = {"file": "model.fp16.onnx", "sha256": "5" * 64, "opset": 17}

    key = make_key(make_manifest(fp16=fp16), BuildOptions("fp16"), library=RTX, target=PORTABLE)

    assert (key.label, key.onnx_sha256, key.library, key.library_version) == ("tiny fp16", "5" * 64, "tensorrt_rtx", "1.7.1")


def test_key_of_an_unsigned_int8_network_is_refused() -> None:
    """TensorRT would refuse it after seconds, in words that nobody understands."""
    int8 = {"file": "model.int8.onnx", "sha256": "5" * 64, "opset": 17, "calibration": "1 picture"}

    with pytest.raises(ModelError, match=r"not marked as symmetric.*model\.precision"):
        make_key(make_manifest(int8=int8), BuildOptions("int8"), library=RTX, target=PORTABLE)


@pytest.mark.parametrize("error", [ModelError("no"), DeviceError(700, "lost")], ids=["plain", "with a code"])
def test_error_of_the_building_process_is_the_same_here(error: EdgedError) -> None:
    """Kind, message and code arrive."""
    sent = pickle.dumps(_Failure(type(error), str(error), getattr(error, "code", None)))

    received = pickle.loads(sent).as_error()

    assert (type(received), str(received), vars(received)) == (type(error), str(error), vars(error))
