"""The CUDA driver through cuda-bindings, NVIDIA's own package. The only module that imports it, and only when it is opened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.backends.tensorrt.driver import DeviceFacts, Driver, Extent, check, compiler_missing, version_text
from edged.errors import DeviceError, InferenceError, KernelError


def load_cuda_bindings() -> Driver:
    """The driver's calls; none is made yet.

    Raises:
        ImportError: there is no such package.
    """
    import cuda.bindings
    from cuda.bindings import driver

    return CudaBindingsDriver(driver, f"cuda-bindings {cuda.bindings.__version__}")


class CudaBindingsDriver:
    """`Driver` by cuda-bindings, whose functions return a CUresult and what they give."""

    def __init__(self, driver: Any, label: str) -> None:
        self._driver = driver
        self.label = label
        self._device: Any = None
        self._modules: dict[int, Any] = {}  # by kernel

    def open(self, ordinal: int) -> DeviceFacts:
        driver = self._driver
        try:
            _take(driver.cuInit(0), "cuInit")
        except RuntimeError as error:  # the library of the driver is not there, or too old for this package
            raise InferenceError(f"cuInit: {error}") from error
        count = _take(driver.cuDeviceGetCount(), "cuDeviceGetCount")
        if not 0 <= ordinal < count:
            raise InferenceError(f"the driver has {count}, counted from 0")
        self._device = _take(driver.cuDeviceGet(ordinal), "cuDeviceGet")
        facts = self._read_facts()
        context = _take(driver.cuDevicePrimaryCtxRetain(self._device), "cuDevicePrimaryCtxRetain")
        try:
            _take(driver.cuCtxPushCurrent(context), "cuCtxPushCurrent")
        except (InferenceError, DeviceError):
            driver.cuDevicePrimaryCtxRelease(self._device)
            raise
        return facts

    def _read_facts(self) -> DeviceFacts:
        driver, device = self._driver, self._device
        attribute = driver.CUdevice_attribute

        def read(which: Any) -> int:
            return int(_take(driver.cuDeviceGetAttribute(which, device), "cuDeviceGetAttribute"))

        return DeviceFacts(
            name=_take(driver.cuDeviceGetName(256, device), "cuDeviceGetName").split(b"\0")[0].decode(errors="replace"),
            compute_capability=(
                read(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                read(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
            ),
            driver_version=version_text(_take(driver.cuDriverGetVersion(), "cuDriverGetVersion")),
            total_bytes=_take(driver.cuDeviceTotalMem(device), "cuDeviceTotalMem"),
            is_integrated=bool(read(attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED)),
        )

    def close(self) -> None:
        try:
            _take(self._driver.cuCtxPopCurrent(), "cuCtxPopCurrent")
        finally:
            _take(self._driver.cuDevicePrimaryCtxRelease(self._device), "cuDevicePrimaryCtxRelease")

    def free_bytes(self) -> int:
        free, _total = _take(self._driver.cuMemGetInfo(), "cuMemGetInfo")
        return free

    def allocate(self, n_bytes: int) -> int:
        return int(_take(self._driver.cuMemAlloc(n_bytes), f"cuMemAlloc of {n_bytes} bytes"))

    def free(self, address: int) -> None:
        _take(self._driver.cuMemFree(address), "cuMemFree")

    def allocate_host(self, n_bytes: int, *, mapped: bool) -> int:
        flags = self._driver.CU_MEMHOSTALLOC_DEVICEMAP if mapped else 0
        return int(_take(self._driver.cuMemHostAlloc(n_bytes, flags), f"cuMemHostAlloc of {n_bytes} bytes"))

    def free_host(self, address: int) -> None:
        _take(self._driver.cuMemFreeHost(address), "cuMemFreeHost")

    def device_address(self, host_address: int) -> int:
        return int(_take(self._driver.cuMemHostGetDevicePointer(host_address, 0), "cuMemHostGetDevicePointer"))

    def create_stream(self) -> int:
        flags = self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        return int(_take(self._driver.cuStreamCreate(flags), "cuStreamCreate"))

    def destroy_stream(self, stream: int) -> None:
        _take(self._driver.cuStreamDestroy(stream), "cuStreamDestroy")

    def create_event(self) -> int:
        flags = self._driver.CUevent_flags
        return int(
            _take(self._driver.cuEventCreate(flags.CU_EVENT_BLOCKING_SYNC | flags.CU_EVENT_DISABLE_TIMING), "cuEventCreate")
        )

    def destroy_event(self, event: int) -> None:
        _take(self._driver.cuEventDestroy(event), "cuEventDestroy")

    def copy_to_device(self, address: int, array: NDArray[np.generic], stream: int) -> None:
        _take(self._driver.cuMemcpyHtoDAsync(address, array.ctypes.data, array.nbytes, stream), "cuMemcpyHtoDAsync")

    def copy_to_host(self, array: NDArray[np.generic], address: int, stream: int) -> None:
        _take(self._driver.cuMemcpyDtoHAsync(array.ctypes.data, address, array.nbytes, stream), "cuMemcpyDtoHAsync")

    def compile(self, source: str, architecture: str) -> bytes:
        return _compile(source, architecture)

    def load_kernel(self, module: bytes, name: str) -> int:
        handle = _take(self._driver.cuModuleLoadData(module), "cuModuleLoadData")
        try:
            kernel = int(_take(self._driver.cuModuleGetFunction(handle, name.encode()), "cuModuleGetFunction"))
        except (InferenceError, DeviceError):
            self._driver.cuModuleUnload(handle)
            raise
        self._modules[kernel] = handle
        return kernel

    def unload_kernel(self, kernel: int) -> None:
        _take(self._driver.cuModuleUnload(self._modules.pop(kernel)), "cuModuleUnload")

    def launch_kernel(self, kernel: int, grid: Extent, block: Extent, argument: NDArray[np.void], stream: int) -> None:
        arguments = np.array([argument.ctypes.data], np.uintp)  # the address of each
        _take(self._driver.cuLaunchKernel(kernel, *grid, *block, 0, stream, arguments.ctypes.data, 0), "cuLaunchKernel")

    def record(self, event: int, stream: int) -> None:
        _take(self._driver.cuEventRecord(event, stream), "cuEventRecord")

    def wait(self, event: int) -> None:
        _take(self._driver.cuEventSynchronize(event), "cuEventSynchronize")

    def synchronise(self, stream: int) -> None:
        _take(self._driver.cuStreamSynchronize(stream), "cuStreamSynchronize")


def _compile(source: str, architecture: str) -> bytes:
    """A cubin by NVRTC, which needs no device.

    Source: NVRTC documentation 13.0, basic usage.
    """
    from cuda.bindings import nvrtc

    options = [f"--gpu-architecture={architecture}".encode(), b"--fmad=false"]
    try:
        program = _compiled(nvrtc.nvrtcCreateProgram(source.encode(), b"", 0, [], []))
    except RuntimeError as error:  # its library is not there
        raise compiler_missing("NVRTC", error, "install the CUDA toolkit, or pip install nvidia-cuda-nvrtc") from error
    try:
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        log = bytes(_compiled(nvrtc.nvrtcGetProgramLogSize(program)))  # zeros: NVRTC writes into it, and of 1 byte a zero
        _compiled(nvrtc.nvrtcGetProgramLog(program, log))
        if int(code) != 0:
            said = log.decode(errors="replace").strip("\0 \n")
            raise KernelError(f"NVRTC refuses the kernel for {architecture}: {said} [preprocess.compiler]")
        module = bytes(_compiled(nvrtc.nvrtcGetCUBINSize(program)))
        _compiled(nvrtc.nvrtcGetCUBIN(program, module))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return module


def _compiled(answer: tuple[Any, ...]) -> Any:
    """What a call of NVRTC gave."""
    code, *values = answer
    if int(code) != 0:
        raise KernelError(f"NVRTC failed: {code.name} [preprocess.compiler]")
    return values[0] if values else None


def _take(answer: tuple[Any, ...], call: str) -> Any:
    """What a call gave: nothing, one value or a tuple of them."""
    code, *values = answer
    check(int(code), call)
    return values[0] if len(values) == 1 else values or None
