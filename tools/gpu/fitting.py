"""Pictures fitted into a network's input by the GPU beside the processor: whether both draw the same, and what each costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.assembly import make_network
from edged.backends.base import TensorSpec
from edged.backends.tensorrt.cache import EngineRecord
from edged.backends.tensorrt.cuda import Cuda
from edged.backends.tensorrt.letterbox import Letterbox, Staging
from edged.engine_verification import make_picture_format
from edged.errors import InferenceError
from edged.models.manifest import InputSpec
from edged.models.network import InputBatch, Network, place_pictures
from edged.types import Pixels
from tools.gpu.findings import Fitting
from tools.gpu.rates import in_turns, keep_in_flight
from tools.gpu.steps import Bench, choose

SIZES = ((640, 360), (1280, 720), (1920, 1080))
BATCHES = (1, 8)
_CPU_BATCHES = 20
"""Batches over which the processor's time is measured."""


def compare_fitting(bench: Bench, *, sizes: Sequence[tuple[int, int]] = SIZES) -> None:
    """Pictures fitted by the processor and by the GPU: the same numbers, and what each way costs."""
    records = choose(bench.records())
    jobs = ((record.key.label, _compare_one(bench, record, sizes)) for record in records)
    bench.work_through("fitting", jobs, sought="an engine that parity did not refuse")


def _compare_one(bench: Bench, record: EngineRecord, sizes: Sequence[tuple[int, int]]) -> Iterator[str]:
    manifest, plan = bench.read(record)
    wanted = manifest.input
    with bench.open_backend(record, plan, pictures=make_picture_format(wanted)) as backend:
        network = make_network(manifest, backend)
        for width, height in sizes:
            for batch in (n for n in BATCHES if n <= backend.max_batch):
                yield f"{width}x{height}, batch {batch}"
                pictures = _make_noise(width, height, count=batch)
                with bench.open_device() as cuda:
                    apart = np.abs(draw_on_device(cuda, wanted, pictures) - draw_on_host(wanted, pictures))
                bench.note(_measure(bench, record, network, pictures, apart))
                if apart.max() > max(map(abs, wanted.factors)):
                    raise InferenceError(f"{width}x{height}: the GPU's numbers are up to {apart.max():g} from the processor's")


def _measure(
    bench: Bench, record: EngineRecord, network: Network[Any], pictures: Sequence[Pixels], apart: NDArray[np.float32]
) -> Fitting:
    def run(count: int) -> None:
        keep_in_flight(lambda: network.submit(network.prepare(pictures)), count, most=network.most_in_flight)

    def on_host(count: int) -> None:
        network.fit_on_host()
        run(count)

    def on_device(count: int) -> None:
        network.fit_on_device()
        run(count)

    rates = in_turns([on_host, on_device], turns=bench.timing.turns, seconds=bench.timing.turn_s)
    cpu_ms = []
    for way in (on_host, on_device):
        began_s = time.thread_time()
        way(_CPU_BATCHES)
        cpu_ms.append(1000 * (time.thread_time() - began_s) / (_CPU_BATCHES * len(pictures)))
    height, width = pictures[0].shape[:2]
    return Fitting(
        engine=record.key.name,
        precision=record.key.options.precision,
        width=width,
        height=height,
        batch=len(pictures),
        host_per_s=len(pictures) * rates[0],
        device_per_s=len(pictures) * rates[1],
        host_cpu_ms=cpu_ms[0],
        device_cpu_ms=cpu_ms[1],
        most_apart=float(apart.max()),
        share_apart=float((apart > 0).mean()),
    )


def _make_noise(width: int, height: int, *, count: int) -> list[Pixels]:
    """Pictures in which no two pixels are alike for long: what is rounded otherwise shows."""
    rng = np.random.default_rng(width)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def draw_on_host(wanted: InputSpec, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
    """What the processor makes of pictures for an input, (N, 3, height, width)."""
    return InputBatch(wanted).fit(pictures).tensor.astype(np.float32)


def draw_on_device(cuda: Cuda, wanted: InputSpec, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
    """What the kernel makes of them; memory is taken of the device until it is closed."""
    letterbox = Letterbox(cuda, make_picture_format(wanted), TensorSpec(wanted.dtype, (None, 3, wanted.height, wanted.width)))
    drawn = cuda.pinned((len(pictures), 3, wanted.height, wanted.width), wanted.dtype)
    tensor, stream = cuda.allocate(drawn.array.nbytes), cuda.stream()
    letterbox.queue(place_pictures(pictures, wanted).tensor, Staging(cuda), address=tensor.address, stream=stream)
    cuda.copy_to_host(drawn.array, tensor.address, stream)
    cuda.synchronise(stream)
    return drawn.array.astype(np.float32)
