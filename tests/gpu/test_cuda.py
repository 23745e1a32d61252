"""CUDA on a real device: what the stand-in driver only pretends."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from edged.backends.tensorrt.cuda import open_cuda
from edged.errors import EXIT_DEVICE, DeviceMemoryError, InferenceError

pytestmark = pytest.mark.gpu

N_BYTES = 64 << 20
"""Long enough that a copy is not done before the call returns."""


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, N_BYTES, np.uint8)


def test_device_facts_are_plausible(cuda):
    """The device has a name, a compute capability that TensorRT knows, and memory."""
    facts = cuda.device

    assert facts.name
    assert facts.compute_capability >= (5, 0)
    assert tuple(map(int, facts.driver_version.split("."))) >= (11, 4)
    assert 0 < cuda.free_bytes() <= facts.total_bytes


def test_copies_there_and_back_are_the_same_bytes(cuda):
    """Through pinned memory, on a stream of our own, waited for by an event."""
    stream, event, buffer = cuda.stream(), cuda.event(), cuda.allocate(N_BYTES)
    there, back = cuda.pinned((N_BYTES,), np.uint8), cuda.pinned((N_BYTES,), np.uint8)
    there.array[...] = noise(1)
    back.array[...] = 0

    cuda.copy_to_device(buffer.address, there.array, stream)
    cuda.copy_to_host(back.array, buffer.address, stream)
    cuda.record(event, stream)
    cuda.wait(event)

    np.testing.assert_array_equal(back.array, there.array)


def test_graph_does_its_work_at_every_launch(cuda):
    """A captured copy there and back runs again with what is in the memory then."""
    stream, buffer = cuda.stream(), cuda.allocate(N_BYTES)
    there, back = cuda.pinned((N_BYTES,), np.uint8), cuda.pinned((N_BYTES,), np.uint8)
    back.array[...] = 0

    def work() -> None:
        cuda.copy_to_device(buffer.address, there.array, stream)
        cuda.copy_to_host(back.array, buffer.address, stream)

    graph = cuda.capture(stream, work)
    for seed in (1, 2):
        there.array[...] = noise(seed)
        graph.launch(stream)
        cuda.synchronise(stream)
        np.testing.assert_array_equal(back.array, there.array)


def test_capture_that_waits_is_refused_and_the_stream_goes_on(cuda):
    """A wait cannot be captured; the stream is usable afterwards."""
    stream, buffer = cuda.stream(), cuda.allocate(16)

    with pytest.raises(InferenceError, match="CUDA error 9"):
        cuda.capture(stream, lambda: cuda.synchronise(stream))

    cuda.copy_to_device(buffer.address, np.zeros(16, np.uint8), stream)
    cuda.synchronise(stream)


def test_mapped_memory_is_the_same_memory(cuda):
    """The device reads pinned memory of the host in place."""
    stream = cuda.stream()
    mapped = cuda.pinned((4096,), np.uint8, mapped=True)
    back = cuda.pinned((4096,), np.uint8)
    mapped.array[...] = noise(3)[:4096]

    cuda.copy_to_host(back.array, mapped.device_address, stream)
    cuda.synchronise(stream)

    np.testing.assert_array_equal(back.array, mapped.array)


@pytest.mark.usefixtures("_own_memory")
def test_too_much_memory_is_an_error_that_passes(cuda):
    """After an allocation that cannot be had, a smaller one can."""
    with pytest.raises(DeviceMemoryError, match="CUDA error 2"):
        cuda.allocate(2 * cuda.device.total_bytes)

    assert cuda.allocate(1 << 20).n_bytes == 1 << 20


@pytest.mark.usefixtures("_own_memory")
def test_opening_and_closing_leaves_no_memory_behind(binding):
    """The device has as much free after many rounds as after the first few; another process may take some meanwhile."""

    def one_round() -> None:
        with open_cuda(binding) as cuda:
            stream, buffer = cuda.stream(), cuda.allocate(N_BYTES)
            there = cuda.pinned((N_BYTES,), np.uint8)
            cuda.capture(stream, lambda: cuda.copy_to_device(buffer.address, there.array, stream)).launch(stream)

    with open_cuda(binding) as watcher:
        one_round()
        before = watcher.free_bytes()
        for _ in range(20):
            one_round()
        after = watcher.free_bytes()

    assert before - after < N_BYTES


# Stores to an address that no device has. Loaded by the driver itself, as no binding of ours starts kernels.
FAULT_PTX = """
.version 6.3
.target sm_70
.address_size 64
.visible .entry fault()
{
    .reg .b64 %rd<2>;
    .reg .b32 %r<2>;
    mov.u64 %rd1, 16;
    mov.u32 %r1, 1;
    st.global.u32 [%rd1], %r1;
    ret;
}
"""

FAULT_PROGRAM = textwrap.dedent(
    """
    import ctypes, sys
    from edged.backends.tensorrt.cuda import open_cuda
    from edged.errors import EXIT_DEVICE, DeviceError

    def start_fault(stream, ptx):
        driver = ctypes.CDLL("libcuda.so.1")
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        assert driver.cuModuleLoadData(ctypes.byref(module), ctypes.c_char_p(ptx.encode())) == 0
        assert driver.cuModuleGetFunction(ctypes.byref(function), module, b"fault") == 0
        assert driver.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, ctypes.c_void_p(stream), None, None) == 0

    binding, ptx = sys.argv[1:]
    try:
        with open_cuda(binding) as cuda:
            stream = cuda.stream()
            buffer = cuda.allocate(16)
            start_fault(stream, ptx)
            try:
                cuda.synchronise(stream)
            except DeviceError as first:
                print("wait:", first.code)
            cuda.allocate(16)
    except DeviceError as error:
        print("later:", error.code)
        sys.exit(EXIT_DEVICE)
    """
)


def test_fault_of_a_kernel_loses_the_device_for_its_process(binding):
    """The wait says so, every later call too, closing adds nothing, and the process ends with its own exit code."""
    ended = subprocess.run(
        [sys.executable, "-c", FAULT_PROGRAM, binding, FAULT_PTX],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.stdout.split() == ["wait:", "700", "later:", "700"], ended.stderr
    assert ended.returncode == EXIT_DEVICE
