"""The letterbox kernel against the host's way. It is compiled for this processor (tests/stand_ins/kernels.py): no GPU."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from models_onnx import make_manifest
from stand_ins.device import INVALID_VALUE, StandInDevice, open_stand_in_device
from stand_ins.driver import StandInDriver

from edged.backends.base import Pictures, Place, TensorSpec
from edged.backends.tensorrt.cuda import Cuda, open_cuda
from edged.backends.tensorrt.driver import OUT_OF_MEMORY, Driver
from edged.backends.tensorrt.letterbox import KERNELS, SOURCE, Letterbox, PictureFormat, Staging
from edged.errors import DeviceMemoryError, InferenceError, ModelError
from edged.models.detector import Detector
from edged.types import Pixels
from edged.vision.letterbox import GREY, make_transform

MOST_APART = 0 if platform.machine() == "x86_64" else 1
"""Levels between the kernel and OpenCV, which rounds its own way on some processors."""

WIDTH, HEIGHT = 64, 32


@pytest.fixture(params=[pytest.param(False, id="of its own memory"), pytest.param(True, id="integrated")])
def opened(request: pytest.FixtureRequest, kernels: bytes) -> Iterator[tuple[StandInDevice, Cuda]]:
    """A stand-in device that compiles to the kernels of this processor."""
    device, cuda = open_stand_in_device(is_integrated=request.param)
    device.module = kernels
    with cuda:
        yield device, cuda
    assert +device.live == {}


def draw(cuda: Cuda, wanted: PictureFormat, batches: Sequence[Pictures], *, dtype: str = "uint8") -> list[np.ndarray]:
    """What the kernel makes of batch after batch, each over what is left of the one before; NaN or 255 before the first."""
    letterbox, staging = Letterbox(cuda, wanted, TensorSpec(dtype, (None, 3, HEIGHT, WIDTH))), Staging(cuda)
    stream, drawn = cuda.stream(), []
    tensor = cuda.pinned((max(map(len, batches)), 3, HEIGHT, WIDTH), dtype, mapped=True)
    for pictures in batches:
        letterbox.queue(pictures, staging, address=tensor.device_address, stream=stream)
        cuda.synchronise(stream)
        drawn.append(tensor.array[: len(pictures)].copy())
    return drawn


def place(pixels_rgb: Pixels) -> Place:
    """Where the host's way puts a picture."""
    transform = make_transform(pixels_rgb.shape[1], pixels_rgb.shape[0], width=WIDTH, height=HEIGHT)
    rows, columns = transform.rows, transform.columns
    return Place(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)


def fit(pictures: Sequence[Pixels]) -> Pictures:
    return Pictures(pictures, [place(pixels_rgb) for pixels_rgb in pictures])


def make_pictures(*sizes: tuple[int, int], seed: int = 0) -> list[Pixels]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in sizes]


def random_sizes(count: int, seed: int) -> list[tuple[int, int]]:
    return [tuple(map(int, size)) for size in np.random.default_rng(seed).integers(1, 400, (count, 2))]


FORMATS = [
    pytest.param("uint8", {}, id="bytes"),
    pytest.param("float32", {}, id="floats as they are"),
    pytest.param("float32", {"scale": 1 / 255}, id="to 0..1"),
    pytest.param("float32", {"scale": 1 / 255, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}, id="normalised"),
]


class ShapedBackend:
    """What a detector looks at of its backend before it is asked for anything."""

    label = "shaped"

    def __init__(self, manifest) -> None:
        wanted = manifest.input
        self.inputs = {wanted.name: TensorSpec(wanted.dtype, (None, 3, wanted.height, wanted.width))}
        self.outputs = {
            "boxes": TensorSpec("float32", (None, manifest.candidates, 4)),
            "scores": TensorSpec("float32", (None, manifest.candidates, len(manifest.classes))),
        }


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize(("dtype", "scaling"), FORMATS)
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([(64, 32), (128, 64), (32, 16), (16, 8)], id="whole multiples"),
        pytest.param([(1, 1), (1, 400), (400, 1), (2, 2), (3, 999), (65, 33), (63, 31)], id="edges"),
        pytest.param([(640, 360), (1280, 720), (640, 480), (1920, 1080), (1080, 1920)], id="cameras"),
        pytest.param(random_sizes(24, seed=1), id="random"),
    ],
)
def test_kernel_draws_what_the_host_prepares(opened, colour: str, dtype: str, scaling: dict, sizes) -> None:
    """The same bits as `Detector.prepare` gives, which are cv2's: pictures, grey, order of colours and scaling."""
    _, cuda = opened
    wanted = {"name": "images", "width": WIDTH, "height": HEIGHT, "colour": colour, "dtype": dtype, **scaling}
    manifest = make_manifest(input={"layout": "nchw", **wanted})
    pictures = make_pictures(*sizes)

    expected = Detector(manifest, ShapedBackend(manifest)).prepare(pictures).tensor
    (found,) = draw(cuda, format_of(manifest), [fit(pictures)], dtype=dtype)

    apart = MOST_APART * max(1.0, *np.abs(format_of(manifest).factors))
    np.testing.assert_allclose(found, expected, rtol=0, atol=apart if MOST_APART else 0)


def format_of(manifest) -> PictureFormat:
    wanted = manifest.input
    factors, offsets = wanted.scale / np.array(wanted.std), -np.array(wanted.mean) / np.array(wanted.std)
    return PictureFormat(wanted.name, wanted.colour == "bgr", GREY, tuple(factors), tuple(offsets))


def test_kernel_leaves_nothing_of_the_batch_before(opened) -> None:
    """Whatever lay in an entry, it holds the new picture and grey; and larger batches follow smaller ones."""
    _, cuda = opened
    batches = [fit(make_pictures(*random_sizes(count, seed=count), seed=count)) for count in (1, 5, 2, 8, 3)]

    drawn = draw(cuda, PictureFormat("images", is_bgr=False, fill=GREY), batches)

    for batch, found in zip(batches, drawn, strict=True):
        (alone,) = draw(cuda, PictureFormat("images", is_bgr=False, fill=GREY), [batch])
        np.testing.assert_array_equal(found, alone)


def test_kernel_reads_pictures_with_gaps_in_memory(opened) -> None:
    """A picture may be a part of a larger one, or mirrored."""
    _, cuda = opened
    (whole,) = make_pictures((200, 100))
    parts = [whole[10:60, 20:120], whole[:, ::-1], whole[::2, ::3]]

    gaps, copies = (draw(cuda, PictureFormat("x", False, GREY), [fit(each)])[0] for each in (parts, [p.copy() for p in parts]))

    np.testing.assert_array_equal(gaps, copies)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.zeros((4, 4), np.uint8), id="grey"),
        pytest.param(np.zeros((4, 4, 4), np.uint8), id="four channels"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), id="empty"),
        pytest.param(np.zeros((4, 4, 3), np.float32), id="floats"),
    ],
)
def test_pictures_of_another_form_are_refused(wrong: np.ndarray) -> None:
    """The kernel reads bytes by the picture's size: what is no (h, w, 3) uint8 would be read past its end."""
    with pytest.raises(ValueError, match=r"expected a picture \(h, w, 3\) uint8"):
        Pictures([wrong], [Place(0, 0, 4, 4)])


def test_pictures_need_a_place_each() -> None:
    """One too few is told, not guessed."""
    with pytest.raises(ValueError, match="a place for each of 2 pictures, got 1"):
        Pictures(make_pictures((4, 4), (4, 4)), [Place(0, 0, 4, 4)])


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(TensorSpec("float16", (None, 3, 32, 64)), id="type"),
        pytest.param(TensorSpec("uint8", (None, 1, 32, 64)), id="grey"),
        pytest.param(TensorSpec("float32", (None, 3)), id="no picture"),
    ],
)
def test_letterbox_of_an_input_that_holds_no_pictures_is_refused(opened, spec: TensorSpec) -> None:
    """The message names the input and what it is."""
    with pytest.raises(ModelError, match=r"input 'x' is .* which no picture fits into \[model\.shape\]"):
        Letterbox(opened[1], PictureFormat("x", is_bgr=False, fill=GREY), spec)


def test_staging_keeps_its_memory_while_pictures_fit() -> None:
    """It is taken when a larger batch comes, and the smaller one given back."""
    device, cuda = open_stand_in_device()
    staging = Staging(cuda)

    for n_bytes in (100, 50, 100, 400, 1):
        memory, _ = staging.take(n_bytes)
        assert memory.nbytes == n_bytes

    assert (device.calls["allocate"], device.live["memory"], device.live["host memory"]) == (2, 1, 1)
    cuda.close()


@pytest.mark.parametrize("call", ["allocate_host", "allocate"])
def test_staging_without_memory_says_so_and_can_be_had_later(call: str) -> None:
    """Pictures too large for the device are an error of that batch; smaller ones go on."""
    device, cuda = open_stand_in_device()
    staging = Staging(cuda)
    staging.take(10)
    device.fail(call, OUT_OF_MEMORY)

    with pytest.raises(DeviceMemoryError):
        staging.take(1000)

    memory, address = staging.take(10)
    assert memory.nbytes == 10
    assert address
    cuda.close()
    assert +device.live == {}


@pytest.mark.parametrize("call", ["compile", "load_kernel"])
def test_letterbox_that_the_device_refuses_leaves_nothing(call: str) -> None:
    """The error is the driver's, and what was taken goes with the device."""
    device, cuda = open_stand_in_device()
    device.fail(call, INVALID_VALUE)

    with cuda, pytest.raises(InferenceError, match=f"{call}: CUDA error 1"):
        Letterbox(cuda, PictureFormat("x", is_bgr=False, fill=GREY), TensorSpec("uint8", (None, 3, 32, 64)))

    assert +device.live == {}


# Through NVIDIA's bindings, over the stand-in driver


@pytest.mark.parametrize("is_integrated", [False, True])
@pytest.mark.parametrize("binding", ["pycuda", "cuda-bindings"])
def test_kernel_launched_by_a_binding_draws_the_same(
    stand_in_driver: StandInDriver, kernels: bytes, monkeypatch: pytest.MonkeyPatch, binding: str, is_integrated: bool
) -> None:
    """The kernel's parameter arrives byte for byte, whichever package hands it over, once the stream is waited for."""
    pytest.importorskip(binding.replace("-", "."), reason=f"{binding} is not installed")
    stand_in_driver.set_device(is_integrated=is_integrated)
    batch = fit(make_pictures(*random_sizes(3, seed=2)))
    wanted = PictureFormat("x", is_bgr=True, fill=GREY, factors=(0.1, 0.2, 0.3), offsets=(1.0, 2.0, 3.0))

    device, cuda = open_stand_in_device()
    device.module = kernels
    with cuda:
        (expected,) = draw(cuda, wanted, [batch], dtype="float32")
    with open_cuda(binding) as cuda:
        monkeypatch.setattr(type(cuda._driver), "compile", lambda self, source, architecture: kernels)
        (found,) = draw(cuda, wanted, [batch], dtype="float32")

    np.testing.assert_array_equal(found, expected)


# NVIDIA's compiler, which needs no device


@pytest.fixture
def nvrtc() -> tuple[Driver, tuple[int, ...] | None]:
    """The binding that brings NVRTC, and the architectures that the library knows; None where there is none."""
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    from cuda.bindings import nvrtc

    from edged.backends.tensorrt.cuda_bindings_driver import load_cuda_bindings

    try:
        _, known = nvrtc.nvrtcGetSupportedArchs()
    except RuntimeError:
        known = None
    return load_cuda_bindings(), known


@pytest.mark.parametrize("architecture", [72, 87, 90, 110])
def test_nvrtc_compiles_the_kernel(nvrtc, architecture: int) -> None:
    """NVIDIA's own compiler takes the source for Xavier, Orin, Hopper and Thor, as far as its version knows them."""
    driver, known = nvrtc
    if known is None:
        pytest.skip("no NVRTC here: pip install nvidia-cuda-nvrtc")
    if architecture not in known:
        pytest.skip(f"this NVRTC knows no {architecture}, only {known}")

    module = driver.compile(SOURCE.read_text(encoding="utf-8"), f"sm_{architecture}")

    assert module.startswith(b"\x7fELF")
    assert all(name.encode() in module for name in KERNELS.values())


def test_nvrtc_that_cannot_compile_says_what_to_do(nvrtc) -> None:
    """Without the library the message says how to get it; with it, the architecture that it does not know."""
    driver, known = nvrtc
    words = "refuses the kernel for sm_1" if known else r"cannot be used .*pip install nvidia-cuda-nvrtc, or set"

    with pytest.raises(ModelError, match=rf"NVRTC {words}.*\[preprocess\.compiler\]"):
        driver.compile(SOURCE.read_text(encoding="utf-8"), "sm_1")
