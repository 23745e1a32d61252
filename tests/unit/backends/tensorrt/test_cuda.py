"""CUDA through both bindings. What needs a driver runs over the stand-in (tests/stand_ins/libcuda.c): no GPU is involved."""

import contextlib
import ctypes
import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from stand_ins.driver import MEMORY_BYTES

from edged.backends.tensorrt.cuda import Cuda, open_cuda
from edged.backends.tensorrt.driver import STICKY, check, version_text
from edged.backends.tensorrt.letterbox import JOB, PLACE
from edged.errors import EXIT_DEVICE, DeviceError, DeviceMemoryError, DeviceMissingError, InferenceError


def _can_import(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


# In the order of preference. Both packages can be imported without a driver; pycuda.driver cannot.
BINDINGS = {"pycuda": "pycuda", "cuda-bindings": "cuda.bindings"}
INSTALLED = [name for name, package in BINDINGS.items() if _can_import(package)]
NOT_INSTALLED = pytest.mark.skip(reason=f"none of {', '.join(BINDINGS)} is installed")


@pytest.fixture(params=INSTALLED or [pytest.param(None, marks=NOT_INSTALLED)])
def binding(request, stand_in_driver):
    """Each binding that is installed here, over the stand-in."""
    return request.param


@pytest.fixture
def cuda(binding):
    with open_cuda(binding) as cuda:
        yield cuda


def numbers(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)


def test_all_bindings_are_tested_here():
    """The tests of this file run over each binding that is installed; this one tells which is not."""
    absent = [name for name in BINDINGS if name not in INSTALLED]
    if absent:
        pytest.skip(f"not installed, so not tested: {', '.join(absent)}")

    assert list(BINDINGS) == INSTALLED


# ---- errors


@pytest.mark.parametrize(
    ("code", "error"),
    [
        pytest.param(1, InferenceError, id="invalid value"),
        pytest.param(2, DeviceMemoryError, id="out of memory"),
        pytest.param(400, InferenceError, id="invalid handle"),
        pytest.param(700, DeviceError, id="illegal address"),
        pytest.param(701, InferenceError, id="too many resources for a launch, which passes"),
        pytest.param(719, DeviceError, id="launch failed"),
        pytest.param(720, InferenceError, id="cooperative launch too large, which passes"),
        pytest.param(12345, InferenceError, id="one of a newer driver"),
    ],
)
def test_check_names_the_call_and_the_code(code, error):
    """The error says whether less memory, or only a new process, can help."""
    with pytest.raises(error, match=f"cuMemAlloc: CUDA error {code}") as raised:
        check(code, "cuMemAlloc")

    assert type(raised.value) is error
    assert getattr(raised.value, "code", code) == code


def test_check_passes_success():
    """Code 0 is no error."""
    assert check(0, "cuInit") is None


def test_sticky_has_every_error_that_the_driver_calls_so():
    """What NVIDIA documents as ending the process does so here; 911 may also be an error of one call."""
    if "cuda-bindings" not in INSTALLED:
        pytest.skip("cuda-bindings is not installed")
    driver = importlib.import_module("cuda.bindings.driver")
    documented = {int(code) for code in driver.CUresult if "process must be terminated" in (code.__doc__ or "")}
    if not documented:
        pytest.skip("this version of cuda-bindings does not document its error codes")

    assert documented - {911} <= STICKY


@pytest.mark.parametrize(("number", "text"), [(12060, "12.6"), (13000, "13.0"), (11040, "11.4")])
def test_version_text_is_major_and_minor(number, text):
    """The driver counts 1000 a major and 10 a minor version."""
    assert version_text(number) == text


# ---- opening


def test_open_without_bindings_says_how_to_get_one(monkeypatch):
    """With neither package there is no device, and the message names both and the mend."""
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)

    with pytest.raises(DeviceMissingError, match=r"cannot import pycuda.*cannot import cuda-bindings.*pip install cuda-bindings"):
        open_cuda()


def test_open_without_driver_is_device_missing():
    """cuda-bindings can be imported without a driver, and says so only when it is used."""
    if "cuda-bindings" not in INSTALLED:
        pytest.skip("cuda-bindings is not installed")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        pass
    else:
        pytest.skip("this machine has a CUDA driver")

    with pytest.raises(DeviceMissingError, match=r"no CUDA device 0: cuda-bindings .*: cuInit: .*driver.*\[device.missing\]"):
        open_cuda("cuda-bindings")


def test_open_reads_the_facts_of_the_device(cuda, binding):
    """Name, compute capability, driver and memory are the driver's."""
    facts = cuda.device

    assert (facts.name, facts.compute_capability, facts.driver_version) == ("stand-in 0", (8, 7), "13.0")
    assert facts.total_bytes == MEMORY_BYTES
    assert not facts.is_integrated
    assert cuda.label.startswith(f"{binding} 2" if binding == "pycuda" else f"{binding} 1")


def test_open_tells_an_integrated_device(binding, stand_in_driver):
    """A device that shares the memory of its board says so."""
    stand_in_driver.set_device(is_integrated=True)

    with open_cuda(binding) as cuda:
        assert cuda.device.is_integrated


def test_open_second_device(binding, stand_in_driver):
    """Devices are counted from 0, in the driver's order."""
    stand_in_driver.set_device(count=2)

    with open_cuda(binding, device=1) as cuda:
        assert cuda.device.name == "stand-in 1"


@pytest.mark.parametrize("device", [1, -1])
def test_open_device_out_of_range_is_missing(binding, device):
    """The message says how many devices there are."""
    with pytest.raises(DeviceMissingError, match=f"no CUDA device {device}: .*the driver has 1, counted from 0"):
        open_cuda(binding, device=device)


def test_open_without_any_device_is_missing(binding, stand_in_driver):
    """A driver without a device answers 100."""
    stand_in_driver.set_device(count=0)

    with pytest.raises(DeviceMissingError, match=r"cuInit: CUDA error 100, no device"):
        open_cuda(binding)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        pytest.param(2, DeviceMemoryError, id="no memory for a context"),
        pytest.param(46, DeviceMissingError, id="busy"),
        pytest.param(719, DeviceError, id="lost"),
    ],
)
def test_open_failing_context_leaves_nothing(binding, stand_in_driver, code, error):
    """Too little memory may pass, a busy device is no device, and a lost one needs a new process."""
    stand_in_driver.fail("cuDevicePrimaryCtxRetain", code)

    with pytest.raises(error, match=f"cuDevicePrimaryCtxRetain: CUDA error {code}"):
        open_cuda(binding)


def test_open_context_that_cannot_be_entered_is_released(binding, stand_in_driver):
    """The context is given back when the thread cannot enter it."""
    stand_in_driver.fail("cuCtxPushCurrent", 1)

    with pytest.raises(DeviceMissingError, match="cuCtxPushCurrent: CUDA error 1"):
        open_cuda(binding)


@pytest.mark.usefixtures("binding")
def test_open_auto_takes_the_first_that_can_be_imported():
    """PyCUDA comes first, cuda-bindings where it is not there."""
    with open_cuda() as cuda:
        assert cuda.label.startswith(INSTALLED[0])


@pytest.mark.parametrize("first", [pytest.param(0, id="older first"), pytest.param(1, id="newer first")])
def test_open_twice_shares_the_context(binding, stand_in_driver, first):
    """Two backends of one thread may open the device each, and close it in either order."""
    both = [open_cuda(binding), open_cuda(binding)]
    remaining = both[1 - first]

    both[first].close()
    stream = remaining.stream()
    buffer = remaining.allocate(4)
    remaining.copy_to_device(buffer.address, numbers(1), stream)
    remaining.synchronise(stream)

    assert stand_in_driver.live_contexts == 1
    remaining.close()


# ---- memory


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        pytest.param((1,), np.uint8, id="one byte"),
        pytest.param((2, 3, 5, 7), np.uint8, id="pictures"),
        pytest.param((4, 300, 6), np.float32, id="boxes"),
        pytest.param((3, 1), np.float16, id="half"),
        pytest.param((2,), np.int64, id="long"),
    ],
)
def test_pinned_has_the_shape_and_type_asked_for(cuda, shape, dtype):
    """Page-locked memory is an ordinary array, contiguous and writable."""
    array = cuda.pinned(shape, dtype).array
    array[...] = 1

    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_copies_are_there_once_waited_for(cuda, stand_in_driver):
    """There and back gives the same bytes, and only after the stream was waited for."""
    stream, buffer = cuda.stream(), cuda.allocate(64)
    there, back = cuda.pinned((16,), np.float32), cuda.pinned((16,), np.float32)
    there.array[...] = numbers(16)
    back.array[...] = -1

    cuda.copy_to_device(buffer.address, there.array, stream)
    cuda.copy_to_host(back.array, buffer.address, stream)
    assert (back.array == -1).all()
    assert stand_in_driver.pending == 2
    cuda.synchronise(stream)

    np.testing.assert_array_equal(back.array, numbers(16))


def test_copy_to_a_part_of_a_buffer(cuda):
    """An address may lie inside a buffer: a smaller batch, or a second one behind the first."""
    stream, buffer = cuda.stream(), cuda.allocate(32)
    back = cuda.pinned((8,), np.float32)

    cuda.copy_to_device(buffer.address, numbers(8), stream)
    cuda.copy_to_device(buffer.address + 16, numbers(4), stream)
    cuda.copy_to_host(back.array, buffer.address, stream)
    cuda.synchronise(stream)

    assert back.array.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.mark.parametrize("copy", [Cuda.copy_to_device, Cuda.copy_to_host])
def test_copy_of_strided_array_is_refused(cuda, stand_in_driver, copy):
    """Only contiguous arrays are copied; the message says what came."""
    stream, buffer = cuda.stream(), cuda.allocate(64)
    strided = np.zeros((4, 4), np.float32)[:, ::2]
    arguments = (buffer.address, strided) if copy is Cuda.copy_to_device else (strided, buffer.address)

    with pytest.raises(InferenceError, match=r"shape \(4, 2\) and strides \(16, 8\) is not contiguous"):
        copy(cuda, *arguments, stream)

    assert stand_in_driver.pending == 0


def test_allocate_more_than_there_is_says_how_much(cuda):
    """Too little memory is an error of its own, after which a smaller piece can be had."""
    with pytest.raises(DeviceMemoryError, match=f"of {MEMORY_BYTES + 1} bytes: CUDA error 2, out of device memory"):
        cuda.allocate(MEMORY_BYTES + 1)

    assert cuda.allocate(1024).n_bytes == 1024


def test_pinned_more_than_there_is_says_how_much(cuda):
    """As for memory of the device."""
    with pytest.raises(DeviceMemoryError, match=f"of {MEMORY_BYTES + 4} bytes: CUDA error 2"):
        cuda.pinned((MEMORY_BYTES // 4 + 1,), np.float32)


def test_allocate_nothing_is_refused(cuda):
    """A length of 0 is the driver's invalid value."""
    with pytest.raises(InferenceError, match="of 0 bytes: CUDA error 1"):
        cuda.allocate(0)


def test_free_bytes_follow_what_is_taken(cuda):
    """What is taken is missing, and comes back."""
    before = cuda.free_bytes()

    buffer = cuda.allocate(4096)
    during = cuda.free_bytes()
    buffer.close()

    assert (before - during, cuda.free_bytes()) == (4096, before)


def test_pinned_unmapped_has_no_device_address(cuda):
    """Only who asks for mapped memory gets an address for the device."""
    assert cuda.pinned((1,), np.uint8).device_address is None


def test_pinned_mapped_is_reached_by_the_device(cuda):
    """The device reads and writes mapped memory in place."""
    stream = cuda.stream()
    mapped = cuda.pinned((4,), np.float32, mapped=True)
    back = cuda.pinned((4,), np.float32)

    cuda.copy_to_device(mapped.device_address, numbers(4), stream)
    cuda.copy_to_host(back.array, mapped.device_address, stream)
    cuda.synchronise(stream)

    assert mapped.array.tolist() == back.array.tolist() == [0, 1, 2, 3]


# ---- waiting


def test_wait_is_for_what_was_recorded_before(cuda):
    """An event stands for the work queued before it, not for what comes after."""
    stream, event = cuda.stream(), cuda.event()
    buffer = cuda.allocate(4)
    first, second = cuda.pinned((1,), np.float32), cuda.pinned((1,), np.float32)
    first.array[0] = second.array[0] = -1

    cuda.copy_to_device(buffer.address, numbers(1), stream)
    cuda.copy_to_host(first.array, buffer.address, stream)
    cuda.record(event, stream)
    cuda.copy_to_host(second.array, buffer.address, stream)
    cuda.wait(event)

    assert (first.array[0], second.array[0]) == (0, -1)


def test_wait_for_event_never_recorded_returns(cuda):
    """There is nothing to wait for."""
    cuda.wait(cuda.event())


def test_record_again_replaces_what_the_event_stands_for(cuda, stand_in_driver):
    """One event serves batch after batch."""
    stream, event, buffer = cuda.stream(), cuda.event(), cuda.allocate(4)

    for _ in range(3):
        cuda.copy_to_device(buffer.address, numbers(1), stream)
        cuda.record(event, stream)
        cuda.wait(event)
        assert stand_in_driver.pending == 0


def test_synchronise_is_for_one_stream(cuda, stand_in_driver):
    """Another stream's work goes on."""
    one, other, buffer = cuda.stream(), cuda.stream(), cuda.allocate(4)

    cuda.copy_to_device(buffer.address, numbers(1), one)
    cuda.copy_to_device(buffer.address, numbers(1), other)
    cuda.synchronise(one)

    assert stand_in_driver.pending == 1


def test_unknown_stream_is_refused(cuda):
    """A handle that the device did not give out is invalid."""
    with pytest.raises(InferenceError, match="CUDA error 400, invalid handle"):
        cuda.synchronise(12345)


# ---- graphs


class Echo:
    """Work for a stream: what is in `given` comes back in `taken`."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.stream = cuda.stream()
        self.buffer = cuda.allocate(16)
        self.given = cuda.pinned((4,), np.float32)
        self.taken = cuda.pinned((4,), np.float32)
        self.given.array[...] = self.taken.array[...] = 0

    def queue(self) -> None:
        self.cuda.copy_to_device(self.buffer.address, self.given.array, self.stream)
        self.cuda.copy_to_host(self.taken.array, self.buffer.address, self.stream)

    def run(self, value: float, work) -> float:
        self.given.array[...] = value
        work()
        self.cuda.synchronise(self.stream)
        return float(self.taken.array[0])


def test_capture_does_nothing_until_launched(cuda, stand_in_driver):
    """Capturing only records; each launch does the work anew, with what is in the memory then."""
    echo = Echo(cuda)
    echo.given.array[...] = 7

    graph = cuda.capture(echo.stream, echo.queue)
    assert stand_in_driver.pending == 0
    cuda.synchronise(echo.stream)
    assert echo.taken.array[0] == 0

    assert [echo.run(value, lambda: graph.launch(echo.stream)) for value in (1, 2)] == [1, 2]


def test_launch_is_queued_and_waited_for_by_event(cuda):
    """A launch returns at once; an event recorded behind it stands for all of it."""
    echo, event = Echo(cuda), cuda.event()
    graph = cuda.capture(echo.stream, echo.queue)
    echo.given.array[...] = 5

    graph.launch(echo.stream)
    cuda.record(event, echo.stream)
    assert echo.taken.array[0] == 0
    cuda.wait(event)

    assert echo.taken.array[0] == 5


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda cuda, stream: cuda.synchronise(stream), id="waiting"),
        pytest.param(lambda cuda, stream: cuda.allocate(16), id="allocating"),
    ],
)
def test_capture_of_what_cannot_be_captured_leaves_the_stream_usable(cuda, spoil):
    """The driver refuses it while it is captured; the same work runs without a graph afterwards."""
    echo = Echo(cuda)

    with pytest.raises(InferenceError, match="CUDA error 900, not permitted while a stream is captured"):
        cuda.capture(echo.stream, lambda: spoil(cuda, echo.stream))

    assert echo.run(3, echo.queue) == 3


def test_capture_goes_on_while_the_device_is_opened_and_closed_beside_it(binding, cuda):
    """Closing waits for its own streams only: to wait for the context would end every capture in it."""
    echo = Echo(cuda)

    def look_at_the_device_meanwhile() -> None:
        echo.queue()
        with open_cuda(binding) as other:
            assert other.device == cuda.device

    graph = cuda.capture(echo.stream, look_at_the_device_meanwhile)

    assert echo.run(3, lambda: graph.launch(echo.stream)) == 3


def test_capture_passes_on_what_the_work_raises(cuda, stand_in_driver):
    """An error of the caller's own ends the capture and reaches the caller; what was recorded is dropped."""
    echo = Echo(cuda)
    handles = stand_in_driver.live_handles

    def fail() -> None:
        echo.queue()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cuda.capture(echo.stream, fail)

    assert stand_in_driver.live_handles == handles
    assert echo.run(3, echo.queue) == 3


@pytest.mark.parametrize("call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"])
def test_capture_failing_says_where(cuda, stand_in_driver, call):
    """The message names the step, and no graph is left."""
    echo = Echo(cuda)
    handles = stand_in_driver.live_handles
    stand_in_driver.fail(call, 1)

    with pytest.raises(InferenceError, match=f"{call}: CUDA error 1"):
        cuda.capture(echo.stream, echo.queue)

    assert stand_in_driver.live_handles == handles


def test_launch_failing_says_so(cuda, stand_in_driver):
    """A launch may be refused as any other call."""
    echo = Echo(cuda)
    graph = cuda.capture(echo.stream, echo.queue)
    stand_in_driver.fail("cuGraphLaunch", 1)

    with pytest.raises(InferenceError, match="cuGraphLaunch: CUDA error 1"):
        graph.launch(echo.stream)


# ---- kernels


def make_job(tensor: int) -> np.ndarray:
    """Grey over one picture of 4x2 in memory of the device: there is no place for the picture in it."""
    job = np.zeros((), JOB)
    job["width"], job["height"], job["fill"], job["tensor"] = 4, 2, 114, tensor
    return job


class Grey:
    """A kernel that makes mapped memory grey."""

    def __init__(self, cuda: Cuda, kernels: bytes) -> None:
        self.cuda = cuda
        self.stream = cuda.stream()
        self.kernel = cuda.kernel(kernels, "letterbox_bytes")
        self.tensor = cuda.pinned((3, 2, 4), np.uint8, mapped=True)
        self.place = cuda.pinned((PLACE.itemsize,), np.uint8, mapped=True)
        self.tensor.array[...] = self.place.array[...] = 0

    def launch(self, *, block: tuple[int, int, int] = (4, 2, 1)) -> None:
        job = make_job(self.tensor.device_address)
        job["places"] = self.place.device_address
        self.cuda.launch(self.kernel, grid=(1, 1, 1), block=block, argument=job, stream=self.stream)
        job["fill"] = 0  # it was copied


def test_launch_is_queued_with_a_copy_of_its_argument(cuda, kernels, stand_in_driver):
    """The kernel runs when the stream comes to it; by then the caller may have changed what it gave."""
    grey = Grey(cuda, kernels)

    grey.launch()
    assert (stand_in_driver.pending, grey.tensor.array.any()) == (1, False)
    cuda.synchronise(grey.stream)

    assert (grey.tensor.array == 114).all()


def test_launch_in_a_graph_runs_at_every_launch_of_it(cuda, kernels):
    """A kernel can be captured as copies can."""
    grey = Grey(cuda, kernels)
    graph = cuda.capture(grey.stream, grey.launch)

    for _ in range(2):
        grey.tensor.array[...] = 0
        graph.launch(grey.stream)
        cuda.synchronise(grey.stream)
        assert (grey.tensor.array == 114).all()


def test_launch_of_more_threads_than_a_block_can_have_is_refused(cuda, kernels):
    """The driver's answer is an error that passes."""
    grey = Grey(cuda, kernels)

    with pytest.raises(InferenceError, match="cuLaunchKernel: CUDA error 1"):
        grey.launch(block=(64, 32, 1))


def test_kernel_of_no_module_is_refused(cuda):
    """What is no module of the device says so."""
    with pytest.raises(InferenceError, match=r"cuModuleLoadData.*: CUDA error 200, not a kernel image"):
        cuda.kernel(b"/nowhere.so", "letterbox_bytes")


def test_kernel_that_its_module_lacks_is_refused_and_the_module_unloaded(cuda, kernels, stand_in_driver):
    """Nothing is left of the module."""
    handles = stand_in_driver.live_handles

    with pytest.raises(InferenceError, match=r"cuModuleGetFunction.*: CUDA error 500, not found"):
        cuda.kernel(kernels, "letterbox_halves")

    assert stand_in_driver.live_handles == handles


# ---- lifetimes


def test_buffer_closed_is_freed_at_once(cuda, stand_in_driver):
    """What is closed early is freed then, and once."""
    kept = [cuda.allocate(4), cuda.pinned((4,), np.uint8), cuda.capture(cuda.stream(), lambda: None)]
    handles = stand_in_driver.live_handles

    for thing in kept * 2:
        thing.close()

    assert stand_in_driver.live_allocations == 0
    assert stand_in_driver.live_handles == handles - 1


def test_close_frees_all_and_waits_before(binding, stand_in_driver):
    """Work in flight is done before its memory goes; then nothing is left, and closing again does nothing."""
    cuda = open_cuda(binding)
    echo = Echo(cuda)
    graph = cuda.capture(echo.stream, echo.queue)
    cuda.record(cuda.event(), echo.stream)
    graph.launch(echo.stream)

    cuda.close()
    stand_in_driver.assert_clean()
    cuda.close()
    graph.close()
    echo.buffer.close()

    stand_in_driver.assert_clean()


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda cuda, echo, graph: cuda.free_bytes(), id="free_bytes"),
        pytest.param(lambda cuda, echo, graph: cuda.allocate(4), id="allocate"),
        pytest.param(lambda cuda, echo, graph: cuda.pinned((4,), np.uint8), id="pinned"),
        pytest.param(lambda cuda, echo, graph: cuda.stream(), id="stream"),
        pytest.param(lambda cuda, echo, graph: cuda.event(), id="event"),
        pytest.param(lambda cuda, echo, graph: cuda.copy_to_device(1, numbers(1), echo.stream), id="copy_to_device"),
        pytest.param(lambda cuda, echo, graph: cuda.copy_to_host(numbers(1), 1, echo.stream), id="copy_to_host"),
        pytest.param(lambda cuda, echo, graph: cuda.compile(""), id="compile"),
        pytest.param(lambda cuda, echo, graph: cuda.kernel(b"", "letterbox_bytes"), id="kernel"),
        pytest.param(
            lambda cuda, echo, graph: cuda.launch(1, grid=(1, 1, 1), block=(1, 1, 1), argument=make_job(0), stream=echo.stream),
            id="launch of a kernel",
        ),
        pytest.param(lambda cuda, echo, graph: cuda.record(1, echo.stream), id="record"),
        pytest.param(lambda cuda, echo, graph: cuda.wait(1), id="wait"),
        pytest.param(lambda cuda, echo, graph: cuda.synchronise(echo.stream), id="synchronise"),
        pytest.param(lambda cuda, echo, graph: cuda.capture(echo.stream, lambda: None), id="capture"),
        pytest.param(lambda cuda, echo, graph: graph.launch(echo.stream), id="launch"),
    ],
)
class TestRefused:
    """Calls that must not reach the driver."""

    def test_closed_device_refuses(self, binding, use):
        """Nothing can be asked of a closed device, nor of a graph from it."""
        with open_cuda(binding) as cuda:
            echo = Echo(cuda)
            graph = cuda.capture(echo.stream, echo.queue)

        with pytest.raises(InferenceError, match="the device is closed"):
            use(cuda, echo, graph)

    def test_foreign_thread_is_refused(self, cuda, use):
        """Only the thread that opened the device may use it; the message names both."""
        echo = Echo(cuda)
        graph = cuda.capture(echo.stream, echo.queue)

        error = error_in_thread("camera", lambda: use(cuda, echo, graph))

        assert isinstance(error, InferenceError)
        assert str(error) == f"the device is owned by thread {threading.current_thread().name!r}, called from 'camera'"


@pytest.mark.parametrize("what", ["device", "buffer", "pinned", "graph"])
def test_close_in_foreign_thread_is_refused(cuda, stand_in_driver, what):
    """Closing is for the owner too; nothing is freed, and the owner can still do it."""
    stream = cuda.stream()
    things = {
        "device": cuda,
        "buffer": cuda.allocate(4),
        "pinned": cuda.pinned((4,), np.uint8),
        "graph": cuda.capture(stream, lambda: None),
    }
    before = (stand_in_driver.live_allocations, stand_in_driver.live_handles)

    error = error_in_thread("camera", things[what].close)

    assert isinstance(error, InferenceError)
    assert "called from 'camera'" in str(error)
    assert (stand_in_driver.live_allocations, stand_in_driver.live_handles) == before


def error_in_thread(name: str, work) -> BaseException | None:
    errors: list[BaseException | None] = []

    def target() -> None:
        try:
            work()
        except InferenceError as error:
            errors.append(error)
        else:
            errors.append(None)

    thread = threading.Thread(target=target, name=name)
    thread.start()
    thread.join()
    return errors[0]


def test_device_forgotten_warns_and_frees_nothing(binding, stand_in_driver):
    """The garbage collector only says that somebody forgot to close the device."""
    if binding == "pycuda":
        pytest.skip("PyCUDA's own objects free themselves")
    forgotten = [open_cuda(binding)]
    forgotten[0].allocate(4)
    forgotten[0].stream()

    with pytest.warns(ResourceWarning, match=r"cuda-bindings .* on stand-in 0 was never closed"):
        forgotten.clear()

    assert (stand_in_driver.live_allocations, stand_in_driver.live_handles, stand_in_driver.live_contexts) == (1, 1, 1)
    stand_in_driver.reset()


def test_close_goes_on_after_an_error(binding, stand_in_driver):
    """One thing that cannot be freed keeps no other from it, and is told at the end."""
    if binding == "pycuda":
        pytest.skip("PyCUDA only prints what fails while it frees")
    cuda = open_cuda(binding)
    for _ in range(3):
        cuda.allocate(4)
    stand_in_driver.fail("cuMemFree", 1)

    with pytest.raises(InferenceError, match="cuMemFree: CUDA error 1"):
        cuda.close()

    assert (stand_in_driver.live_allocations, stand_in_driver.live_contexts) == (1, 0)
    stand_in_driver.reset()


# ---- the device is lost


@pytest.mark.parametrize("code", [700, 715, 719])
def test_fault_in_queued_work_is_found_by_the_wait(binding, stand_in_driver, code):
    """A fault comes out where somebody waits, every later call gives it too, and closing then adds nothing."""
    with open_cuda(binding) as cuda:
        echo, event = Echo(cuda), cuda.event()
        stand_in_driver.fail("work", code)
        echo.queue()
        cuda.record(event, echo.stream)

        for use in (lambda: cuda.wait(event), lambda: cuda.allocate(4), lambda: cuda.synchronise(echo.stream)):
            with pytest.raises(DeviceError, match=f"CUDA error {code}.*only a new one can use it") as raised:
                use()
            assert raised.value.code == code

    stand_in_driver.reset()


def test_fault_found_first_by_close_is_raised(binding, stand_in_driver):
    """Who never waited learns of the loss when closing: the process must still end with its exit code."""
    cuda = open_cuda(binding)
    echo = Echo(cuda)
    stand_in_driver.fail("work", 700)
    echo.queue()

    with pytest.raises(DeviceError, match="CUDA error 700"):
        cuda.close()

    cuda.close()
    stand_in_driver.reset()


def test_fault_in_a_captured_call_loses_the_device(binding, stand_in_driver):
    """A loss inside a capture is a loss, not a capture that failed."""
    with open_cuda(binding) as cuda:
        echo = Echo(cuda)
        stand_in_driver.fail("cuMemcpyHtoDAsync", 719)

        with pytest.raises(DeviceError, match="CUDA error 719"):
            cuda.capture(echo.stream, echo.queue)

    stand_in_driver.reset()


LOSING_PROGRAM = """
import sys
from edged.backends.tensorrt.cuda import open_cuda
from edged.errors import EXIT_DEVICE, DeviceError
from stand_ins.driver import StandInDriver

driver = StandInDriver()
driver.reset()
try:
    with open_cuda(sys.argv[1]) as cuda:
        stream, buffer, pinned = cuda.stream(), cuda.allocate(4), cuda.pinned((4,), "uint8")
        driver.fail("work", 700)
        cuda.copy_to_device(buffer.address, pinned.array, stream)
        cuda.synchronise(stream)
except DeviceError:
    sys.exit(EXIT_DEVICE)
"""


def test_process_that_lost_the_device_ends_as_it_wants(binding):
    """No binding turns its end into a crash while it cleans up behind it."""
    root = Path(__file__).parents[4]
    path = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-c", LOSING_PROGRAM, binding],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == EXIT_DEVICE, ended.stderr


# ---- the stand-in itself


def test_stand_in_finds_use_after_free(binding, stand_in_driver):
    """A copy to memory that was freed loses the device, as it may on a real one."""
    with open_cuda(binding) as cuda:
        stream, buffer = cuda.stream(), cuda.allocate(4)
        buffer.close()
        cuda.copy_to_device(buffer.address, numbers(1), stream)

        with pytest.raises(DeviceError, match="CUDA error 700"):
            cuda.synchronise(stream)

    stand_in_driver.reset()


@pytest.mark.parametrize("what", ["buffer", "given", "taken"])
def test_stand_in_finds_memory_freed_before_it_was_waited_for(binding, stand_in_driver, what):
    """Freeing what queued work still needs loses the device: the wait before it was forgotten."""
    with open_cuda(binding) as cuda:
        echo = Echo(cuda)
        echo.queue()
        with contextlib.suppress(DeviceError):  # PyCUDA only prints what fails while it frees
            getattr(echo, what).close()

        with pytest.raises(DeviceError, match="CUDA error 700"):
            cuda.synchronise(echo.stream)

    stand_in_driver.reset()


def test_stand_in_finds_a_copy_past_the_end(binding, stand_in_driver):
    """One element too many is one too many."""
    with open_cuda(binding) as cuda:
        stream, buffer = cuda.stream(), cuda.allocate(4)
        cuda.copy_to_device(buffer.address, numbers(2), stream)

        with pytest.raises(DeviceError, match="CUDA error 700"):
            cuda.synchronise(stream)

    stand_in_driver.reset()


def test_stand_in_finds_bytes_written_beside_memory(cuda, stand_in_driver):
    """What is written past the end of pinned memory is found when it is freed."""
    pinned = cuda.pinned((4,), np.uint8)
    ctypes.memset(pinned.array.ctypes.data + 4, 0, 2)

    pinned.close()

    assert stand_in_driver.overruns == 2
    cuda.close()
    stand_in_driver.reset()


def test_stand_in_runs_functions_in_their_place(cuda, stand_in_driver):
    """A queued function sees what was copied before it, and what it writes is copied after it: it stands for a kernel."""
    echo = Echo(cuda)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def double(_argument) -> None:
        values = (ctypes.c_float * 4).from_address(echo.buffer.address)
        for i in range(4):
            values[i] *= 2

    def queue() -> None:
        cuda.copy_to_device(echo.buffer.address, echo.given.array, echo.stream)
        stand_in_driver.queue_function(echo.stream, ctypes.cast(double, ctypes.c_void_p).value)
        cuda.copy_to_host(echo.taken.array, echo.buffer.address, echo.stream)

    graph = cuda.capture(echo.stream, queue)

    assert echo.run(21, lambda: graph.launch(echo.stream)) == 42
