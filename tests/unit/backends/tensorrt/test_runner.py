"""The runner over stand-ins for TensorRT and for the device."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from contracts.backend_contract import DeviceBackendContract, FailingBackendContract, make_feed
from models_onnx import make_manifest, make_segmenter_manifest, save_engine, save_pixel_colour_engine
from stand_ins.device import ILLEGAL_ADDRESS, INVALID_VALUE, open_stand_in_device
from stand_ins.driver import StandInDriver
from stand_ins.tensorrt import (
    DriverStreams,
    StandInNetwork,
    StandInTensor,
    StandInTensorrt,
    make_add_network,
    make_detector_network,
)

from edged.assembly import open_detector, open_segmenter
from edged.backends.base import Pictures, Place, Tensors
from edged.backends.tensorrt.cuda import Buffer, open_cuda
from edged.backends.tensorrt.driver import OUT_OF_MEMORY
from edged.backends.tensorrt.letterbox import PictureFormat
from edged.backends.tensorrt.runner import SLOTS, LayerTime, TensorrtBackend, open_tensorrt_backend
from edged.errors import (
    DeviceError,
    DeviceMemoryError,
    DeviceMissingError,
    EdgedError,
    EngineMissingError,
    InferenceError,
    ModelError,
)
from edged.models.detector import Detector
from edged.models.segmenter import Segmenter

NO_MEMORY = "Error Code 2: OutOfMemory (Requested size was 91136000 bytes.)"


class Bench:
    """A stand-in device with a stand-in TensorRT, and how to open the runner over them."""

    def __init__(self, network: StandInNetwork | None = None, **device: Any) -> None:
        self.network = network or make_add_network()
        self.device, self.cuda = open_stand_in_device(**device)
        self.trt = StandInTensorrt(self.network, self.device)
        self.contexts_at_close = -1
        self.device.on_close = self._count_contexts

    def open(
        self, *, plan: bytes = b"", is_rtx: bool = False, is_old: bool = False, max_batch: int = 8, **settings: Any
    ) -> TensorrtBackend:
        return open_tensorrt_backend(
            plan or self.network.plan,
            name="add fp32",
            library=self.trt.as_library(is_rtx=is_rtx, lends_memory=not is_old),
            cuda=self.cuda,
            max_batch=max_batch,
            **{"poison": True, **settings},
        )

    def assert_nothing_is_left(self) -> None:
        """Everything was given back, and what TensorRT made before the CUDA context that it lived in."""
        assert +self.device.live == {}
        assert self.contexts_at_close == 0

    def _count_contexts(self) -> None:
        self.contexts_at_close = len(self.trt.contexts) + len(self.trt.configs)


class _StandInContract(DeviceBackendContract, FailingBackendContract):
    """The contract, run over both stand-ins."""

    is_old = False
    device: ClassVar[dict[str, Any]] = {}
    settings: ClassVar[dict[str, Any]] = {}

    def open_add(self) -> TensorrtBackend:
        return Bench(**self.device).open(is_old=self.is_old, max_batch=16, **self.settings)

    def open_failing(self) -> TensorrtBackend:
        bench = Bench(make_add_network(not_captured=frozenset({3})), **self.device)
        backend = bench.open(is_old=self.is_old, **self.settings)
        bench.network.fails_on.add(3)
        return backend


class TestWithGraphs(_StandInContract):
    """The contract, most batches replayed from a graph."""


class TestWithoutGraphs(_StandInContract):
    """The contract, every batch queued call by call."""

    settings: ClassVar = {"use_graphs": False}


class TestOfTensorrt8(_StandInContract):
    """The contract, contexts given their memory in the way of TensorRT before 10.1."""

    is_old = True


class TestOnIntegratedDevice(_StandInContract):
    """The contract where device and host share their memory."""

    device: ClassVar = {"is_integrated": True}


class TestOverCudaBindings(DeviceBackendContract, FailingBackendContract):
    """The contract through NVIDIA's own binding, over the stand-in for the driver beneath it."""

    @pytest.fixture(autouse=True)
    def _fixture_driver(self, stand_in_driver: StandInDriver) -> None:
        pytest.importorskip("cuda.bindings", reason="the binding under test is cuda-bindings: pip install cuda-bindings")
        self._driver = stand_in_driver

    def open_add(self) -> TensorrtBackend:
        return self._open(make_add_network(), max_batch=16)

    def open_failing(self) -> TensorrtBackend:
        network = make_add_network()
        backend = self._open(network, max_batch=8, use_graphs=False)
        network.fails_on.add(3)
        return backend

    def _open(self, network: StandInNetwork, **settings: Any) -> TensorrtBackend:
        library = StandInTensorrt(network, DriverStreams(self._driver)).as_library()
        return open_tensorrt_backend(
            network.plan, name="add", library=library, cuda=open_cuda("cuda-bindings"), poison=True, **settings
        )


class TestOverCudaBindingsOnIntegratedDevice(TestOverCudaBindings):
    """The same with memory that host and device share."""

    def _open(self, network: StandInNetwork, **settings: Any) -> TensorrtBackend:
        self._driver.set_device(is_integrated=True)
        return super()._open(network, **settings)


# What it is


def test_open_tensorrt_backend_says_what_computes_where() -> None:
    """The label is for people."""
    with Bench().open() as backend:
        assert backend.label == "TensorRT 10.3.0 on Stand-in, up to 8 at once"
        assert backend.max_batch == 8


def test_detector_over_tensorrt_finds_what_it_finds_over_onnx_runtime(tmp_path: Path) -> None:
    """The engine's detections are those of the network that it was built from, batch for batch."""
    boxes = np.array([[0, 0, 32, 32], [40, 8, 56, 24]], np.float32)
    scores = np.array([[0.8, 0.2], [0.04, 0.6]], np.float32)
    manifest = save_engine(tmp_path, make_manifest(), boxes=boxes, scores=scores)
    pictures = [np.full((32, 64, 3), shade, np.uint8) for shade in (255, 200, 120)]
    bench = Bench(make_detector_network(manifest, boxes=boxes, scores=scores))

    with open_detector(tmp_path) as on_cpu, Detector(manifest, bench.open()) as on_device:
        for n in (1, 2, 3, 3, 3, 2, 1):
            for expected, found in zip(on_cpu.detect(pictures[:n]), on_device.detect(pictures[:n]), strict=True):
                assert len(found) > 0
                np.testing.assert_array_equal(found.boxes, expected.boxes)
                np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
                np.testing.assert_array_equal(found.class_ids, expected.class_ids)


def test_segmenter_over_tensorrt_maps_what_it_maps_over_onnx_runtime(tmp_path: Path) -> None:
    """Bytes come back from the device as well as numbers, batch for batch, and a map outlives its slot."""
    manifest = save_pixel_colour_engine(tmp_path, make_segmenter_manifest(outputs={"labels": "labels"}), weights=8 * np.eye(3))
    pictures = [np.full((32, 64, 3), np.eye(3, dtype=np.uint8)[class_id] * 255, np.uint8) for class_id in (0, 1, 2)]
    bench = Bench(
        StandInNetwork(
            inputs={"images": StandInTensor("UINT8", (-1, 3, 32, 64))},
            outputs={"labels": StandInTensor("UINT8", (-1, 32, 64))},
            compute=lambda arrays: {"labels": arrays["images"].argmax(axis=1).astype(np.uint8)},
        )
    )

    with open_segmenter(tmp_path) as on_cpu, Segmenter(manifest, bench.open()) as on_device:
        expected, found = (
            [maps for n in (1, 3, 3, 2) for maps in each.segment_all(pictures[-n:])] for each in (on_cpu, on_device)
        )
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert [int(each.labels[0, 0]) for each in found] == [2, 0, 1, 2, 0, 1, 2, 1, 2]


@pytest.mark.parametrize(
    ("network", "n"),
    [
        pytest.param(make_add_network(batches=(4, 4)), 1, id="one of a profile for 4 only"),
        pytest.param(make_add_network(batches=(4, 4)), 4, id="all of a profile for 4 only"),
        pytest.param(
            make_add_network(
                inputs={"x": StandInTensor("FLOAT", (4, 2))}, outputs={"y": StandInTensor("FLOAT", (4, 2))}, batches=(4, 4)
            ),
            3,
            id="three of a fixed axis of 4",
        ),
    ],
)
def test_infer_below_the_smallest_batch_is_filled_up(network: StandInNetwork, n: int) -> None:
    """An engine for a DLA takes one size of batch: a smaller one is filled up for it, and its outputs cut off again."""
    bench = Bench(network)

    with bench.open(max_batch=4) as backend:
        for start in (0.0, 10.0, 20.0, 30.0, 40.0):
            feed = make_feed(n, start)
            np.testing.assert_array_equal(backend.infer(feed)["y"], feed["x"] + 1)

    assert {batch for call, batch in bench.trt.calls if call == "execute"} == {4}


def test_open_for_fewer_than_the_smallest_batch_takes_memory_for_it() -> None:
    """The engine reads and writes whole batches, whatever is asked for; where no picture ever was are zeros."""

    def compute(arrays: Any) -> dict[str, np.ndarray]:
        assert not arrays["x"][2:].any()
        return {"y": arrays["x"] + np.float32(1)}

    with Bench(make_add_network(batches=(4, 8), compute=compute)).open(max_batch=2) as backend:
        np.testing.assert_array_equal(backend.infer(make_feed(2))["y"], make_feed(2)["x"] + 1)


# Pictures that the device fits into the input itself

PICTURES = PictureFormat("images", is_bgr=False, fill=114)


def make_echo_network(**changes: Any) -> StandInNetwork:
    """The numbers of a picture of (3, 32, 64) uint8 as floats."""
    fields = {
        "inputs": {"images": StandInTensor("UINT8", (-1, 3, 32, 64))},
        "outputs": {"y": StandInTensor("FLOAT", (-1, 3, 32, 64))},
        "compute": lambda arrays: {"y": arrays["images"].astype(np.float32)},
    }
    return StandInNetwork(**{**fields, **changes})


def make_shades(*shades: int, width: int = 64, height: int = 32) -> Pictures:
    """A picture of one grey each, over the whole input."""
    pixels = [np.full((height, width, 3), shade, np.uint8) for shade in shades]
    return Pictures(pixels, [Place(0, 0, 64, 32)] * len(shades))


def shades_of(outputs: Tensors) -> list[float]:
    """The grey of each picture, which nothing else is in."""
    pictures = outputs["y"].reshape(len(outputs["y"]), -1)
    assert (pictures == pictures[:, :1]).all()
    return pictures[:, 0].tolist()


class PictureBench(Bench):
    """A bench whose device has the kernel, compiled for this processor."""

    def __init__(self, kernels: bytes, network: StandInNetwork | None = None, **device: Any) -> None:
        super().__init__(network or make_echo_network(), **device)
        self.device.module = kernels


@pytest.mark.parametrize("is_integrated", [False, True])
@pytest.mark.parametrize("use_graphs", [False, True])
@pytest.mark.parametrize("batches", [(1, 8), (8, 8)])
def test_infer_of_pictures_and_arrays_in_turn_computes_each(
    kernels: bytes, batches: tuple[int, int], use_graphs: bool, is_integrated: bool
) -> None:
    """Whichever came before in whatever number and size, by a graph or not: a batch's outputs are its own."""
    bench = PictureBench(kernels, make_echo_network(batches=batches), is_integrated=is_integrated)

    with bench.open(pictures=PICTURES, use_graphs=use_graphs) as backend:
        for turn, (n, width) in enumerate([(8, 10), (1, 99), (3, 64), (3, 64), (3, 64), (3, 64), (8, 1), (1, 99), (1, 99)]):
            shades = [(7 * turn + index) % 256 for index in range(n)]
            array = np.full((n, 3, 32, 64), 200 - turn, np.uint8)
            assert shades_of(backend.infer({"images": make_shades(*shades, width=width)})) == shades
            assert shades_of(backend.infer({"images": array})) == [200 - turn] * n

    bench.assert_nothing_is_left()


def test_pictures_in_flight_are_kept_apart(kernels: bytes) -> None:
    """Each of the two batches has memory of its own, and the pictures may change once they were submitted."""
    with PictureBench(kernels).open(pictures=PICTURES) as backend:
        first, second = make_shades(1, 2), make_shades(3)
        tickets = [backend.submit({"images": batch}) for batch in (first, second)]
        for pixels in (*first.pixels_rgb, *second.pixels_rgb):
            pixels[...] = 99

        assert [shades_of(ticket.result()) for ticket in reversed(tickets)] == [[3], [1, 2]]


def test_pictures_where_only_arrays_are_taken_are_refused(kernels: bytes) -> None:
    """A backend that was opened without the kernel says what it expects, and goes on."""
    with PictureBench(kernels).open() as backend:
        with pytest.raises(InferenceError, match="expected arrays for images, got pictures"):
            backend.infer({"images": make_shades(1)})

        assert shades_of(backend.infer({"images": np.full((1, 3, 32, 64), 5, np.uint8)})) == [5]


@pytest.mark.parametrize("n", [0, 9])
def test_pictures_outside_the_range_of_batches_are_refused(kernels: bytes, n: int) -> None:
    """As arrays are."""
    with PictureBench(kernels).open(pictures=PICTURES) as backend, pytest.raises(InferenceError, match=f"1 to 8, got {n}"):
        backend.infer({"images": make_shades(*range(n))})


def test_open_for_pictures_of_an_input_that_is_not_there_names_those_that_are(kernels: bytes) -> None:
    """Nothing is left of what was taken before."""
    bench = PictureBench(kernels)

    with pytest.raises(ModelError, match=r"no input 'frames' for pictures, it has images \[model\.shape\]"):
        bench.open(pictures=PictureFormat("frames", is_bgr=False, fill=0))

    bench.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("call", "code", "error"),
    [
        pytest.param("launch_kernel", INVALID_VALUE, InferenceError, id="launch"),
        pytest.param("copy_to_device", INVALID_VALUE, InferenceError, id="copy"),
        pytest.param("allocate_host", OUT_OF_MEMORY, DeviceMemoryError, id="larger pictures, no memory"),
        pytest.param("launch_kernel", ILLEGAL_ADDRESS, DeviceError, id="device lost"),
    ],
)
def test_pictures_that_fail_give_no_outputs(kernels: bytes, call: str, code: int, error: type[EdgedError]) -> None:
    """What the driver refuses is raised; the slot is free again, unless the device is lost."""
    bench = PictureBench(kernels)

    with bench.open(pictures=PICTURES, poison=False) as backend:
        bench.device.fail(call, code)
        with pytest.raises(error):
            backend.infer({"images": make_shades(9, width=300, height=300)})

        if error is not DeviceError:
            assert [shades_of(backend.infer({"images": make_shades(n)})) for n in range(4)] == [[0], [1], [2], [3]]


# Where its time goes


def test_profile_gives_the_mean_of_each_layer() -> None:
    """In the order in which they run, for the batch that was asked for, without the first run; nothing of it is kept."""
    bench = Bench(make_add_network(layers_ms={"second": 0.5, "first": 0.25}))

    with bench.open() as backend:
        executed, contexts = len(bench.trt.calls), len(bench.trt.contexts)
        found = backend.profile(make_feed(4), runs=3)
        runs = bench.trt.calls[executed:].count(("execute", 4))
        np.testing.assert_array_equal(backend.infer(make_feed(2))["y"], make_feed(2)["x"] + 1)
        assert len(bench.trt.contexts) == contexts

    assert found == [LayerTime("second", 2.0), LayerTime("first", 1.0)]
    assert runs == 4
    bench.assert_nothing_is_left()


def test_profile_with_a_batch_in_flight_is_refused() -> None:
    """It would measure both, in the memory of one."""
    with Bench().open() as backend:
        ticket = backend.submit(make_feed(1))
        with pytest.raises(InferenceError, match="a batch is in flight"):
            backend.profile(make_feed(1), runs=1)

        np.testing.assert_array_equal(ticket.result()["y"], make_feed(1)["x"] + 1)


def test_profile_of_a_library_that_tells_nothing_says_so() -> None:
    """No list is not a list without layers."""
    with Bench().open() as backend, pytest.raises(InferenceError, match=r"TensorRT 10\.3\.0 tells no times of layers"):
        backend.profile(make_feed(1), runs=1)


@pytest.mark.parametrize("call", ["create_execution_context", "set_tensor_address", "execute_async_v3"])
def test_profile_that_fails_tells_why_and_leaves_the_backend_usable(call: str) -> None:
    """As a batch that fails does."""
    bench = Bench()

    with bench.open() as backend:
        bench.trt.fail(call, "Error Code 1: Cuda Runtime")
        with pytest.raises(InferenceError, match="Error Code 1"):
            backend.profile(make_feed(2), runs=1)

        np.testing.assert_array_equal(backend.infer(make_feed(2))["y"], make_feed(2)["x"] + 1)
    bench.assert_nothing_is_left()


# What it refuses to open


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"inputs": {"x": StandInTensor("BF16", (-1, 2))}}, r"input 'x' is of type BF16.*\[model\.shape\]", id="type"
        ),
        pytest.param(
            {"outputs": {"y": StandInTensor("INT32", (-1, 2), location="HOST")}},
            r"output 'y' is a shape that lies with the host.*\[model\.shape\]",
            id="shape tensor",
        ),
        pytest.param({"inputs": {"x": StandInTensor("FLOAT", (-1, -1))}}, r"'x' is \(-1, -1\): only its first", id="free side"),
        pytest.param({"outputs": {"y": StandInTensor("FLOAT", ())}}, r"'y' is \(\).*\[model\.shape\]", id="one number"),
        pytest.param({"inputs": {}}, r"no input.*\[model\.shape\]", id="no input"),
        pytest.param(
            {"outputs": {"y": StandInTensor("FLOAT", (-1, 2), given_shape=lambda n: (-1, 2))}},
            r"'y' is \(-1, 2\) for a batch of 8, expected \(8, 2\).*without suppression \[model\.shape\]",
            id="size depends on data",
        ),
        pytest.param({"batches": (1, 4)}, r"built for batches of up to 4, expected 8: .*\[engine\.batch\]", id="batch"),
        pytest.param(
            {"inputs": {"x": StandInTensor("FLOAT", (1, 2))}}, r"built for batches of up to 1, expected 8", id="fixed batch"
        ),
    ],
)
def test_open_with_tensors_that_cannot_be_fed_or_fetched_raises_model_error(changes: dict[str, Any], words: str) -> None:
    """What the runner could not compute rightly is refused when it is opened, with the tensor and what was expected."""
    bench = Bench(make_add_network(**changes))

    with pytest.raises(ModelError, match=words):
        bench.open()

    bench.assert_nothing_is_left()


def test_open_with_a_changed_plan_says_why_it_cannot_be_loaded() -> None:
    """TensorRT answers None; its own words are in the error, and the network's name."""
    bench = Bench()

    with pytest.raises(ModelError, match=r"add fp32: TensorRT 10\.3\.0 cannot load.*magic tag.*\[engine\.invalid\]"):
        bench.open(plan=b"another plan")

    bench.assert_nothing_is_left()


def test_open_tells_no_words_of_an_earlier_engine() -> None:
    """All engines of a process share TensorRT's log: another's lack of memory is not this one's."""
    bench = Bench()
    library = bench.trt.as_library()
    library.log.add("ERROR", NO_MEMORY)

    with pytest.raises(ModelError) as caught:
        open_tensorrt_backend(b"another plan", name="add fp32", library=library, cuda=bench.cuda, max_batch=8)

    assert NO_MEMORY not in str(caught.value)


@pytest.mark.parametrize("call", ["create_execution_context", "set_tensor_address"])
def test_open_with_rtx_that_fails_leaves_nothing(call: str) -> None:
    """Nor what a context was configured with, which would outlive the engine that it came from."""
    bench = Bench()
    bench.trt.fail(call, "Error Code 1: Cuda Runtime")

    with pytest.raises(ModelError) as caught:
        bench.open(is_rtx=True)

    assert caught.value.__traceback__ is not None
    bench.assert_nothing_is_left()


def test_open_that_is_interrupted_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C may come while a context is made: what the frames of it hold was freed before the device."""
    bench = Bench()
    allocate, n_tensors = bench.cuda.allocate, len(bench.network.inputs) + len(bench.network.outputs)

    def allocate_until_ctrl_c(n_bytes: int) -> Buffer:
        if bench.device.calls["allocate"] == n_tensors:
            raise KeyboardInterrupt
        return allocate(n_bytes)

    monkeypatch.setattr(bench.cuda, "allocate", allocate_until_ctrl_c)
    with pytest.raises(KeyboardInterrupt) as caught:
        bench.open()

    assert caught.value.__traceback__ is not None
    assert [call for call, _ in bench.trt.calls] == []
    bench.assert_nothing_is_left()


def test_open_without_a_device_for_tensorrt_raises_device_missing_error() -> None:
    """A runtime that does not start is a nullptr in pybind's words: ours say what is missing."""
    bench = Bench()
    bench.trt.fail("Runtime", "CUDA initialization failure with error: 35")

    with pytest.raises(DeviceMissingError, match=r"TensorRT 10\.3\.0 finds no device: .*error: 35 \[device\.missing\]"):
        bench.open()

    bench.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("reason", "mend"),
    [
        pytest.param("VERSION_MISMATCH", "run edged engines build", id="of another version"),
        pytest.param("UNSUPPORTED_CC", "install TensorRT, which computes on more of them", id="for other devices"),
    ],
)
def test_open_of_an_engine_that_does_not_fit_raises_engine_missing_error(reason: str, mend: str) -> None:
    """A library that knows why an engine is not loaded is asked, and its reasons and what helps are told."""
    bench = Bench()
    bench.trt.validity = (reason, "OLD_CUDA_DRIVER")

    with pytest.raises(EngineMissingError, match=rf"not for Stand-in \(8, 7\).*13\.0: {reason}, OLD_CUDA_DRIVER: {mend}"):
        bench.open(is_rtx=True)

    bench.assert_nothing_is_left()


def test_open_of_an_engine_that_loads_on_a_device_that_is_not_listed_computes() -> None:
    """TensorRT-RTX 1.6 loads what it calls invalid: what the engine computes there is for its comparison to tell."""
    bench = Bench()
    bench.trt.validity, bench.trt.heeds_validity = ("UNSUPPORTED_CC",), False

    with bench.open(is_rtx=True) as backend:
        np.testing.assert_array_equal(backend.infer(make_feed(1))["y"], make_feed(1)["x"] + 1)


@pytest.mark.parametrize("validity", [(), ("CUDA_ERROR",), ("INSUFFICIENT_GPU_MEMORY",)])
def test_open_of_an_engine_that_is_not_loaded_for_want_of_memory_tells_that(validity: tuple[str, ...]) -> None:
    """Nothing is wrong with where it is to run: a smaller batch may help, building it anew does not."""
    bench = Bench()
    bench.trt.validity = validity
    bench.trt.fail("deserialize_cuda_engine", NO_MEMORY)

    with pytest.raises(DeviceMemoryError):
        bench.open(is_rtx=True)

    bench.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("call", "after", "message", "kind"),
    [
        pytest.param("deserialize_cuda_engine", 0, NO_MEMORY, DeviceMemoryError, id="weights do not fit"),
        pytest.param("create_execution_context", 0, NO_MEMORY, DeviceMemoryError, id="first context does not fit"),
        pytest.param("create_execution_context", 1, NO_MEMORY, DeviceMemoryError, id="second context does not fit"),
        pytest.param("create_execution_context", 9, NO_MEMORY, DeviceMemoryError, id="context of another size does not fit"),
        pytest.param("create_execution_context", 0, "Error Code 4: Internal Error", ModelError, id="no context"),
        pytest.param("set_input_shape", 0, "Error Code 3: API Usage Error", InferenceError, id="shape refused"),
        pytest.param("set_tensor_address", 1, "Error Code 3: API Usage Error", ModelError, id="memory refused"),
        pytest.param("execute_async_v3", 0, NO_MEMORY, DeviceMemoryError, id="first batch does not fit"),
        pytest.param("execute_async_v3", 17, "Error Code 1: Cuda Runtime", InferenceError, id="a batch of the warm-up fails"),
    ],
)
def test_open_where_tensorrt_fails_tells_its_words_and_leaves_nothing(
    call: str, after: int, message: str, kind: type[EdgedError]
) -> None:
    """None and False become errors with what TensorRT logged; a lack of memory has an error of its own."""
    bench = Bench()
    bench.trt.fail(call, message, after=after)

    with pytest.raises(kind) as caught:
        bench.open()

    assert type(caught.value) is kind
    assert message in str(caught.value)
    bench.assert_nothing_is_left()


@pytest.mark.parametrize("is_integrated", [False, True])
@pytest.mark.parametrize("code", [INVALID_VALUE, OUT_OF_MEMORY])
def test_open_where_any_call_of_the_driver_fails_raises_ours_and_leaves_nothing(code: int, is_integrated: bool) -> None:
    """Whichever call fails at opening, nothing of what was taken before it stays."""
    model = Bench(is_integrated=is_integrated)
    backend = model.open(use_graphs=False)
    calls = {call: n for call, n in model.device.calls.items() if call != "open"}
    backend.close()

    for call, n in calls.items():
        for nth in range(n):
            bench = Bench(is_integrated=is_integrated)
            bench.device.fail(call, code, after=nth)
            with pytest.raises(DeviceMemoryError if code == OUT_OF_MEMORY else InferenceError, match=f"CUDA error {code}"):
                bench.open(use_graphs=False)
            bench.assert_nothing_is_left()


def test_open_on_a_device_without_memory_raises_device_memory_error() -> None:
    """The driver's own answer, for our buffers."""
    bench = Bench(memory_bytes=100)

    with pytest.raises(DeviceMemoryError, match=r"\[device\.memory\]"):
        bench.open()

    bench.assert_nothing_is_left()


# What fails while it computes


def test_infer_that_tensorrt_refuses_yields_no_old_outputs() -> None:
    """A refused batch has no ticket, and the one whose slot it took has no outputs either."""
    bench = Bench()
    with bench.open(use_graphs=False) as backend:
        old = backend.submit(make_feed(2))
        old.result()
        backend.infer(make_feed(2))
        bench.trt.fail("execute_async_v3", "Error Code 1: Cask (the kernel does not run)")

        with pytest.raises(
            InferenceError, match=r"add fp32: TensorRT 10\.3\.0 failed on a batch of 5: .*the kernel does not run"
        ):
            backend.submit(make_feed(5))
        with pytest.raises(InferenceError, match="are gone"):
            old.result()

        np.testing.assert_array_equal(backend.infer(make_feed(5))["y"], make_feed(5)["x"] + 1)


def test_infer_out_of_memory_raises_device_memory_error_and_smaller_ones_go_on() -> None:
    """The caller can halve its batch: the error is one of its own."""
    bench = Bench()
    with bench.open(use_graphs=False) as backend:
        bench.trt.fail("execute_async_v3", NO_MEMORY)

        with pytest.raises(DeviceMemoryError, match=r"OutOfMemory.*\[device\.memory\]"):
            backend.infer(make_feed(6))

        np.testing.assert_array_equal(backend.infer(make_feed(3))["y"], make_feed(3)["x"] + 1)


def test_infer_tells_the_words_of_its_own_failure_only() -> None:
    """What TensorRT said of an earlier batch is not told again."""
    bench = Bench()
    with bench.open(use_graphs=False) as backend:
        for message in ("the first reason", "the second reason"):
            bench.trt.fail("execute_async_v3", message)
            with pytest.raises(InferenceError) as caught:
                backend.infer(make_feed(6))

        assert "the second reason" in str(caught.value)
        assert "the first reason" not in str(caught.value)


def test_infer_whose_shape_is_refused_sets_it_again_the_next_time() -> None:
    """A context that took the new size for one input only is not believed to have the old one still."""
    bench = Bench(
        make_add_network(
            inputs={name: StandInTensor("FLOAT", (-1, 2)) for name in ("x", "z")},
            compute=lambda arrays: {"y": arrays["x"] + arrays["z"]},
        )
    )
    with bench.open(use_graphs=False) as backend:
        five, one = ({"x": make_feed(n)["x"], "z": make_feed(n)["x"]} for n in (5, 1))
        bench.trt.fail("set_input_shape", "Error Code 3: API Usage Error", after=1)
        with pytest.raises(InferenceError, match=r"refuses \(5, 2\) for input 'z'"):
            backend.infer(five)

        for _ in range(SLOTS):
            np.testing.assert_array_equal(backend.infer(one)["y"], 2 * one["x"])


def test_infer_of_inputs_of_different_lengths_is_refused() -> None:
    """All inputs are of one batch."""
    bench = Bench(make_add_network(inputs={name: StandInTensor("FLOAT", (-1, 2)) for name in ("x", "z")}))

    with bench.open() as backend, pytest.raises(InferenceError, match="expected a batch of 1 to 8, got 1, 2"):
        backend.infer({"x": make_feed(1)["x"], "z": make_feed(2)["x"]})


@pytest.mark.parametrize("call", ["copy_to_device", "copy_to_host", "record", "launch"])
def test_infer_where_a_call_of_the_driver_fails_goes_on_afterwards(call: str) -> None:
    """The slot of a batch that failed half queued is waited for, and used again."""
    bench = Bench()
    with bench.open(use_graphs=call == "launch") as backend:
        bench.device.fail(call, INVALID_VALUE)

        with pytest.raises(InferenceError, match="CUDA error 1"):
            backend.infer(make_feed(3))

        for start in (0.0, 10.0, 20.0):
            feed = make_feed(3, start)
            np.testing.assert_array_equal(backend.infer(feed)["y"], feed["x"] + 1)


def test_result_that_cannot_be_waited_for_is_refused_from_then_on() -> None:
    """Outputs that may not be whole are never given out, at a second try either."""
    bench = Bench()
    with bench.open() as backend:
        ticket = backend.submit(make_feed(1))
        bench.device.fail("wait", INVALID_VALUE)

        with pytest.raises(InferenceError, match="CUDA error 1"):
            ticket.result()
        with pytest.raises(InferenceError, match="are gone"):
            ticket.result()

        np.testing.assert_array_equal(backend.infer(make_feed(1))["y"], make_feed(1)["x"] + 1)


def test_device_lost_while_a_batch_is_computed_shows_at_its_result_and_ever_after() -> None:
    """A fault of a kernel comes out as DeviceError where it is waited for; nothing computes after it, and closing is quiet."""
    bench = Bench()
    backend = bench.open()
    ticket = backend.submit(make_feed(1))
    bench.device.fault_next(ILLEGAL_ADDRESS)

    with pytest.raises(DeviceError, match=r"700.*\[device\.lost\]") as caught:
        ticket.result()
    assert caught.value.code == ILLEGAL_ADDRESS
    with pytest.raises(DeviceError):
        backend.infer(make_feed(1))
    with pytest.raises(InferenceError, match="are gone"):
        ticket.result()

    backend.close()
    assert len(bench.trt.contexts) == 0


def test_device_lost_under_a_refusal_of_tensorrt_raises_device_error() -> None:
    """TensorRT only says that it failed; the driver knows that the device is lost, and is asked."""
    bench = Bench()
    backend = bench.open(use_graphs=False)
    bench.trt.fail("execute_async_v3", "Error Code 1: Cuda Runtime (an illegal memory access was encountered)")
    bench.device.fault_next(ILLEGAL_ADDRESS)

    with pytest.raises(DeviceError):
        backend.infer(make_feed(5))

    backend.close()


@pytest.mark.parametrize("is_integrated", [False, True])
@pytest.mark.parametrize("use_graphs", [False, True])
def test_engine_that_leaves_outputs_out_shows_as_nan(is_integrated: bool, use_graphs: bool) -> None:
    """With poisoned outputs, what an engine does not write is not a number, and not that of an earlier batch."""
    written = iter([True] * 1000)

    def compute(arrays: Any) -> dict[str, np.ndarray]:
        return {"y": arrays["x"] + np.float32(1)} if next(written) else {}

    bench = Bench(make_add_network(compute=compute), is_integrated=is_integrated)
    with bench.open(use_graphs=use_graphs) as backend:
        for _ in range(4):
            assert np.isfinite(backend.infer(make_feed(3))["y"]).all()
        written = iter([False])

        assert np.isnan(backend.infer(make_feed(3))["y"]).all()


# Graphs


def test_open_captures_every_size_in_every_slot() -> None:
    """Each is computed, captured and replayed before the first picture comes: afterwards nothing is asked of TensorRT."""
    bench = Bench()
    with bench.open() as backend:
        opening = list(bench.trt.calls)
        assert bench.device.calls["launch"] == 8 * SLOTS
        for n in (*range(1, 9), *range(8, 0, -1)):
            feed = make_feed(n)
            np.testing.assert_array_equal(backend.infer(feed)["y"], feed["x"] + 1)
        assert bench.trt.calls == opening

    expected = [("set_input_shape", (8, 2))] * SLOTS  # to ask for the shapes of the outputs
    for n in range(8, 0, -1):
        first = [] if n == 8 else [("set_input_shape", (n, 2))]
        expected += [*first, ("execute", n)] * SLOTS + [("execute", n), ("capture", n)] * SLOTS
    assert opening == expected
    assert bench.device.live["graph"] == 0


def test_every_captured_size_has_a_context_that_keeps_it() -> None:
    """A graph holds what its context was; contexts of a slot share the memory that they need for themselves, slots do not."""
    bench = Bench()
    with bench.open(max_batch=4):
        assert len(bench.trt.contexts) == 4 * SLOTS
        assert len(bench.trt.lent) == SLOTS


@pytest.mark.parametrize("batches", [(1, 8), (8, 8)])
def test_open_without_graphs_warms_up_the_largest_and_the_smallest_batch(batches: tuple[int, int]) -> None:
    """One context a slot takes every size."""
    bench = Bench(make_add_network(batches=batches))
    with bench.open(use_graphs=False):
        assert len(bench.trt.contexts) == SLOTS

    computed = [n for call, n in bench.trt.calls if call == "execute"]
    assert computed == [n for n in dict.fromkeys((8, batches[0])) for _ in range(2 * SLOTS)]


def test_infer_without_graphs_never_captures() -> None:
    """The setting is obeyed."""
    bench = Bench()
    with bench.open(use_graphs=False) as backend:
        for _ in range(10):
            backend.infer(make_feed(1))

    assert bench.device.calls["capture"] == 0


@pytest.mark.parametrize("use_graphs", [False, True])
def test_infer_with_rtx_leaves_graphs_to_the_library(use_graphs: bool) -> None:
    """It is told to capture, or not, when a context is made; nothing is captured by us, and one context takes every size."""
    bench = Bench()
    with bench.open(is_rtx=True, use_graphs=use_graphs) as backend:
        assert len(bench.trt.contexts) == SLOTS
        for turn in range(10):
            feed = make_feed(3, start=10.0 * turn)
            np.testing.assert_array_equal(backend.infer(feed)["y"], feed["x"] + 1)

    strategies = StandInTensorrt.CudaGraphStrategy
    told = [strategy for call, strategy in bench.trt.calls if call == "graphs"]
    assert told == [strategies.WHOLE_GRAPH_CAPTURE if use_graphs else strategies.DISABLED] * SLOTS
    assert bench.device.calls["capture"] == 0


@pytest.mark.parametrize(("eager_kernels", "strategy"), [(False, "LAZY"), (True, "EAGER")])
def test_open_with_rtx_says_when_kernels_are_compiled(eager_kernels: bool, strategy: str) -> None:
    """Beside computing, as the library does by itself, or before it, where times are measured."""
    bench = Bench()
    with bench.open(is_rtx=True, eager_kernels=eager_kernels):
        told = [each.name for call, each in bench.trt.calls if call == "kernels"]

    assert told == [strategy] * SLOTS


@pytest.mark.tensorrt
def test_rtx_has_the_graphs_that_it_is_told_to_make() -> None:
    """The real library, which cannot run here, has the members that the stand-in has."""
    module = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: pip install tensorrt-rtx")

    assert hasattr(module.ICudaEngine, "create_runtime_config")
    assert hasattr(module.IRuntimeConfig, "cuda_graph_strategy")
    assert hasattr(module.CudaGraphStrategy, "WHOLE_GRAPH_CAPTURE")
    assert hasattr(module.IRuntimeConfig, "dynamic_shapes_kernel_specialization_strategy")
    assert hasattr(module.DynamicShapesKernelSpecializationStrategy, "EAGER")
    told = {"VERSION_MISMATCH", "UNSUPPORTED_CC", "INSUFFICIENT_GPU_MEMORY", "CUDA_ERROR"}
    assert module.EngineInvalidityDiagnostics.__members__.keys() >= told


CAPTURE_FAILURES = {
    "TensorRT": lambda bench: bench.trt.fail(
        "capture", "Error Code 1: Cuda Runtime (operation not permitted when stream is capturing)"
    ),
    "the driver": lambda bench: bench.device.fail("end_capture", INVALID_VALUE),
    "its memory": lambda bench: bench.device.fail("end_capture", OUT_OF_MEMORY),
}


@pytest.mark.parametrize("fails", CAPTURE_FAILURES)
def test_infer_whose_capture_fails_once_is_captured_the_next_time(fails: str, caplog: pytest.LogCaptureFixture) -> None:
    """Another thread may have ended it. The batch itself was queued before: it is right."""
    bench = Bench()
    CAPTURE_FAILURES[fails](bench)

    with caplog.at_level(logging.WARNING), bench.open(max_batch=2) as backend:
        assert (bench.device.calls["capture"], bench.device.live["graph"]) == (2 * SLOTS + 1, 2 * SLOTS)
        for turn in range(2 * SLOTS):
            feed = make_feed(2, start=10.0 * turn)
            np.testing.assert_array_equal(backend.infer(feed)["y"], feed["x"] + 1)

    assert caplog.records == []


def test_infer_of_a_size_that_can_never_be_captured_goes_on_without_a_graph(caplog: pytest.LogCaptureFixture) -> None:
    """One warning tells it, and capturing it is not tried again; the other sizes have theirs."""
    bench = Bench(make_add_network(not_captured=frozenset({3})))

    with caplog.at_level(logging.WARNING), bench.open() as backend:
        for turn in range(10):
            feed = make_feed(3, start=10.0 * turn)
            np.testing.assert_array_equal(backend.infer(feed)["y"], feed["x"] + 1)

        assert bench.device.live["graph"] == 7 * SLOTS

    assert [record.message.split(":")[0] for record in caplog.records] == ["cannot capture a CUDA graph, go on without"]
    assert bench.device.calls["capture"] == 7 * SLOTS + 3


def test_device_lost_while_capturing_raises_device_error() -> None:
    """A lost device is no reason to go on without graphs."""
    bench = Bench()
    bench.device.fail("end_capture", ILLEGAL_ADDRESS)

    with pytest.raises(DeviceError):
        bench.open()


# Memory, streams and lifetimes


def test_infer_on_an_integrated_device_copies_nothing() -> None:
    """Where host and device share their memory the engine reads and writes it in place."""
    bench = Bench(is_integrated=True)
    with bench.open(poison=False) as backend:
        backend.infer(make_feed(8))

    assert bench.device.calls["copy_to_device"] + bench.device.calls["copy_to_host"] == 0
    assert bench.device.calls["allocate"] == SLOTS  # for the contexts alone


def test_every_slot_has_a_stream_of_its_own() -> None:
    """Two batches in flight need not wait for each other. None is the default stream: the stand-in for TensorRT checks it."""
    bench = Bench()
    with bench.open():
        assert bench.device.live["stream"] == bench.device.live["event"] == SLOTS


def test_a_thousand_runs_take_nothing_more() -> None:
    """Memory, events and graphs are taken once."""
    bench = Bench()
    with bench.open() as backend:
        for n in range(1, 9):
            for _ in range(2 * SLOTS):
                backend.infer(make_feed(n))
        before = dict(bench.device.live)

        for turn in range(1000):
            backend.infer(make_feed(turn % 8 + 1))

        assert dict(bench.device.live) == before


def test_two_engines_in_one_process_do_not_meet() -> None:
    """Each has its own device, streams and memory, and closing one leaves the other."""
    benches = [Bench(), Bench(make_add_network(compute=lambda arrays: {"y": arrays["x"] * 2}))]
    first, second = (bench.open() for bench in benches)

    tickets = [backend.submit(make_feed(3)) for backend in (first, second, first, second)]
    np.testing.assert_array_equal(tickets[0].result()["y"], make_feed(3)["x"] + 1)
    np.testing.assert_array_equal(tickets[3].result()["y"], make_feed(3)["x"] * 2)
    first.close()
    np.testing.assert_array_equal(second.infer(make_feed(2))["y"], make_feed(2)["x"] * 2)
    second.close()

    for bench in benches:
        bench.assert_nothing_is_left()


def test_close_with_batches_in_flight_waits_for_them_and_leaves_nothing() -> None:
    """Nothing is freed under work that is queued."""
    done: list[int] = []
    bench = Bench(make_add_network(compute=lambda arrays: done.append(len(arrays["x"])) or {"y": arrays["x"]}))
    backend = bench.open()
    del done[:]
    for n in (2, 3):
        backend.submit(make_feed(n))

    backend.close()

    assert done == [2, 3]
    bench.assert_nothing_is_left()


def test_close_frees_graphs_before_what_they_were_captured_from() -> None:
    """A graph holds kernels of the engine."""
    bench = Bench()
    backend = bench.open()
    graphs_left: list[int] = []
    for context in bench.trt.contexts:
        weakref.finalize(context, lambda: graphs_left.append(bench.device.live["graph"]))
    assert bench.device.live["graph"] == 8 * SLOTS
    del context

    backend.close()

    assert graphs_left == [0] * 8 * SLOTS


def test_close_while_an_error_is_held_leaves_nothing() -> None:
    """The frames of an error that the caller keeps do not keep what TensorRT made."""
    bench = Bench()
    with bench.open(use_graphs=False) as backend:
        bench.trt.fail("execute_async_v3", "Error Code 1")
        with pytest.raises(InferenceError) as caught:
            backend.infer(make_feed(5))

    assert caught.value.__traceback__ is not None
    bench.assert_nothing_is_left()
