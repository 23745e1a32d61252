"""The runner on a real CUDA device, with engines that the TensorRT that is here builds, compared with ONNX Runtime.

Run on no device yet: the limits of what FP16 and INT8 may differ by are guesses.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from contracts.backend_contract import DeviceBackendContract

from edged.backends.base import Tensors
from edged.backends.onnx import open_onnx_backend
from edged.backends.onnx_file import read_onnx
from edged.backends.tensorrt.builder import BuildOptions, build
from edged.backends.tensorrt.cuda import Buffer, Cuda, open_cuda
from edged.backends.tensorrt.letterbox import PictureFormat
from edged.backends.tensorrt.library import Library, import_library
from edged.backends.tensorrt.runner import TensorrtBackend, open_tensorrt_backend
from edged.engine_verification import make_picture_format
from edged.errors import DeviceMemoryError, DeviceMissingError, KernelError, ModelError
from edged.models.detector import Detector
from edged.models.manifest import PRECISIONS, DetectorManifest, load_manifest
from edged.street.scene import Street
from tools.gpu.building import cannot_build

pytestmark = pytest.mark.gpu

ENGINES = sorted(path.parent for path in Path(__file__).parents[2].glob("engines/detector*/model.yaml"))
MAX_BATCH = 16
LARGEST_BOX_ERROR_PX = {"fp32": 0.1, "fp16": 1.0, "int8": 8.0}
LARGEST_SCORE_ERROR = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.2}
MEAN_SCORE_ERROR = {"fp32": 1e-5, "fp16": 1e-3, "int8": 1e-2}
ACCOUNTED_BYTES = 32 << 20
"""By so much the memory of a device that others use, too, or of a process may change without a reason of ours."""


@pytest.fixture(autouse=True)
def _fixture_library():
    """A TensorRT, or no test."""
    try:
        find_library()
    except DeviceMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(params=ENGINES, ids=[path.name for path in ENGINES])
def engine_path(request) -> Path:
    return request.param


@cache
def find_library() -> Library:
    return import_library()


@cache
def build_plan(onnx_path: Path, precision: str, binding: str) -> bytes:
    """An engine for batches of 1 to 16; each is built once a session. Skips what the library has no layers for."""
    options = BuildOptions(precision, batch=(1, 4, MAX_BATCH))
    with open_cuda(binding) as cuda:
        try:
            return build(read_onnx(onnx_path), options, name=onnx_path.stem, library=find_library(), cuda=cuda).plan
        except ModelError as error:
            if not cannot_build(precision, str(error)):
                raise
            pytest.skip(str(error))


def open_engine(
    onnx_path: Path,
    binding: str,
    *,
    precision: str = "fp32",
    max_batch: int = MAX_BATCH,
    pictures: PictureFormat | None = None,
    use_graphs: bool = True,
) -> TensorrtBackend:
    return open_tensorrt_backend(
        build_plan(onnx_path, precision, binding),
        name=f"{onnx_path.parent.name} {precision}",
        library=find_library(),
        cuda=open_cuda(binding),
        max_batch=max_batch,
        pictures=pictures,
        use_graphs=use_graphs,
        eager_kernels=True,
        poison=True,
    )


@cache
def draw_pictures(count: int) -> list[np.ndarray]:
    street = Street(7, width=1280, height=720, fps=5.0)
    return [street.frame(40 * index) for index in range(count)]


def prepare(manifest: DetectorManifest, backend: TensorrtBackend, count: int) -> Tensors:
    """Drawn pictures as a network wants them, in memory of their own."""
    batch = Detector(manifest, backend).prepare(draw_pictures(count))
    return {manifest.input.name: batch.tensor.copy()}


def copy(outputs: Tensors) -> Tensors:
    return {name: array.copy() for name, array in outputs.items()}


def assert_close(manifest: DetectorManifest, found: Tensors, expected: Tensors, *, precision: str) -> None:
    """Scores everywhere, boxes where something might be seen."""
    boxes, scores = manifest.outputs.boxes, manifest.outputs.scores
    errors = np.abs(found[scores] - expected[scores])
    is_seen = expected[scores].max(axis=2) >= manifest.thresholds.score

    assert is_seen.any(), "the pictures show nothing"
    assert errors.mean() <= MEAN_SCORE_ERROR[precision]
    assert errors.max() <= LARGEST_SCORE_ERROR[precision]
    assert np.abs(found[boxes] - expected[boxes])[is_seen].max() <= LARGEST_BOX_ERROR_PX[precision]


class _RealContract(DeviceBackendContract):
    """The contract over the TensorRT that is here and each binding."""

    use_graphs = True

    @pytest.fixture(autouse=True)
    def _fixture_add(self, binding: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        pytest.importorskip("onnx", reason="the network under test is written with onnx: pip install onnx")
        self._binding = binding
        self._path = save_add_network(tmp_path_factory.getbasetemp() / "add.onnx")

    def open_add(self) -> TensorrtBackend:
        return open_engine(self._path, self._binding, use_graphs=self.use_graphs)


class TestWithGraphs(_RealContract):
    """Most batches replayed from a graph."""


class TestWithoutGraphs(_RealContract):
    """Every batch queued call by call."""

    use_graphs = False


def save_add_network(path: Path) -> Path:
    from models_onnx import make_add_graph, save_model  # needs onnx, which a machine with a GPU may lack

    return path if path.exists() else save_model(path, make_add_graph())


@pytest.mark.parametrize("use_graphs", [False, True], ids=["calls", "graphs"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_outputs_are_those_of_onnx_runtime(engine_path: Path, precision: str, use_graphs: bool, binding: str) -> None:
    """Every shipped network in every precision that it has, both from the same file; the first runs, the second and replays."""
    manifest = load_manifest(engine_path)
    try:
        onnx_path = engine_path / manifest.network(precision, symmetric=True).file
    except ModelError as error:
        pytest.skip(str(error))

    with (
        open_engine(onnx_path, binding, precision=precision, use_graphs=use_graphs) as backend,
        open_onnx_backend(onnx_path) as cpu,
    ):
        feeds = prepare(manifest, backend, 4)
        expected = cpu.infer(feeds)

        for _ in range(6):
            assert_close(manifest, backend.infer(feeds), expected, precision=precision)


@pytest.mark.parametrize("use_graphs", [False, True], ids=["calls", "graphs"])
def test_outputs_of_a_picture_do_not_depend_on_its_batch(engine_path: Path, use_graphs: bool, binding: str) -> None:
    """Batches of 1 to 16, back and forth: each picture has the outputs that it has alone."""
    manifest = load_manifest(engine_path)
    name = manifest.input.name

    with open_engine(engine_path / manifest.onnx.file, binding, use_graphs=use_graphs) as backend:
        feeds = prepare(manifest, backend, MAX_BATCH)
        alone = [copy(backend.infer({name: feeds[name][index : index + 1]})) for index in range(MAX_BATCH)]
        expected = {output: np.concatenate([each[output] for each in alone]) for output in backend.outputs}

        for n in [*range(1, MAX_BATCH + 1), *range(MAX_BATCH, 0, -1), *range(1, MAX_BATCH + 1)]:
            found = backend.infer({name: feeds[name][:n]})
            assert_close(manifest, found, {output: array[:n] for output, array in expected.items()}, precision="fp32")


def test_two_engines_in_one_process_do_not_meet(binding: str) -> None:
    """Each computes as it does alone, with batches of both in flight, and goes on when the other is closed."""
    if len(ENGINES) < 2:
        pytest.skip("one engine is shipped")
    manifests = [load_manifest(path) for path in ENGINES[:2]]
    paths = [path / manifest.onnx.file for path, manifest in zip(ENGINES, manifests, strict=False)]
    feeds, expected = [], []
    for path, manifest in zip(paths, manifests, strict=True):
        with open_engine(path, binding) as alone:
            feeds.append(prepare(manifest, alone, 4))
            expected.append(copy(alone.infer(feeds[-1])))

    first, second = (open_engine(path, binding) for path in paths)
    for _ in range(6):
        tickets = [first.submit(feeds[0]), second.submit(feeds[1]), first.submit(feeds[0]), second.submit(feeds[1])]
        for index, ticket in enumerate(tickets):
            assert_close(manifests[index % 2], ticket.result(), expected[index % 2], precision="fp32")
    first.close()
    assert_close(manifests[1], second.infer(feeds[1]), expected[1], precision="fp32")
    second.close()


def test_ten_thousand_runs_take_no_more_memory(binding: str) -> None:
    """Neither of the device nor of the process; both are read once they stand still."""
    manifest = load_manifest(ENGINES[0])
    name = manifest.input.name

    with open_cuda(binding) as watcher, open_engine(ENGINES[0] / manifest.onnx.file, binding, max_batch=4) as backend:
        feeds = prepare(manifest, backend, 4)
        sizes = [{name: feeds[name][:n]} for n in (1, 2, 3, 4)]

        def run(count: int) -> None:
            for turn in range(count):
                backend.infer(sizes[turn % 4])

        def read() -> tuple[int, int]:
            return watcher.free_bytes(), resident_bytes()

        before = settle(lambda: run(200), read)
        run(10_000)
        after = read()

    if not watcher.device.is_integrated:  # there what is free is the whole board's
        assert before[0] - after[0] < ACCOUNTED_BYTES
    assert after[1] - before[1] < ACCOUNTED_BYTES


def settle(run: Callable[[], None], read: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """Run until two readings in a row agree: what libraries take at the beginning they take in their own time."""
    before, after = read(), (0, 0)
    for _ in range(20):
        run()
        after = read()
        if all(abs(new - old) < 1 << 20 for new, old in zip(after, before, strict=True)):
            break
        before = after
    return after


def resident_bytes() -> int:
    """What this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


@pytest.mark.usefixtures("_own_memory")
def test_opening_and_closing_leaves_no_memory_behind(binding: str) -> None:
    """An engine that is closed gives back what TensorRT and we took."""
    path = ENGINES[0] / load_manifest(ENGINES[0]).onnx.file

    with open_cuda(binding) as watcher:
        open_engine(path, binding).close()
        before = watcher.free_bytes()
        for _ in range(5):
            open_engine(path, binding).close()

        assert before - watcher.free_bytes() < ACCOUNTED_BYTES


def test_a_plan_that_is_cut_short_is_refused(binding: str) -> None:
    """TensorRT's None becomes an error of ours, and the device can be used afterwards."""
    path = ENGINES[0] / load_manifest(ENGINES[0]).onnx.file
    plan = build_plan(path, "fp32", binding)

    with pytest.raises(ModelError):
        open_tensorrt_backend(
            plan[: len(plan) // 2], name="cut", library=find_library(), cuda=open_cuda(binding), max_batch=MAX_BATCH
        )

    open_engine(path, binding).close()


def test_a_batch_that_it_was_not_built_for_is_refused(binding: str) -> None:
    """Memory is not taken for batches that the engine cannot compute."""
    path = ENGINES[0] / load_manifest(ENGINES[0]).onnx.file

    with pytest.raises(ModelError, match=r"up to 16, expected 17.*\[engine\.batch\]"):
        open_engine(path, binding, max_batch=MAX_BATCH + 1)


@pytest.mark.usefixtures("_own_memory")
def test_a_full_device_raises_device_memory_error_and_has_room_again_afterwards(binding: str) -> None:
    """Whether TensorRT or the driver runs out of memory: the caller may try a smaller batch."""
    path = ENGINES[0] / load_manifest(ENGINES[0]).onnx.file
    build_plan(path, "fp32", binding)

    with open_cuda(binding) as cuda:
        hogs = take_nearly_all(cuda)
        with pytest.raises(DeviceMemoryError, match=r"\[device\.memory\]"):
            open_engine(path, binding)
        for hog in hogs:
            hog.close()

        open_engine(path, binding).close()


def take_nearly_all(cuda: Cuda) -> list[Buffer]:
    """Memory until even 8 MiB are not to be had: what is said to be free is not free in one piece."""
    hogs, n_bytes = [], cuda.free_bytes()
    while n_bytes >= 8 << 20:
        try:
            hogs.append(cuda.allocate(n_bytes))
        except DeviceMemoryError:
            n_bytes //= 2
    return hogs


@pytest.mark.parametrize("use_graphs", [False, True], ids=["calls", "graphs"])
def test_outputs_of_pictures_are_those_of_the_arrays_that_the_host_makes(
    engine_path: Path, use_graphs: bool, binding: str
) -> None:
    """Batch after batch, the kernel's pictures and the host's in turn."""
    manifest = load_manifest(engine_path)
    wanted = make_picture_format(manifest.input)
    try:
        backend = open_engine(engine_path / manifest.onnx.file, binding, pictures=wanted, use_graphs=use_graphs)
    except KernelError as error:
        pytest.skip(str(error))

    with backend:
        detector = Detector(manifest, backend)
        for n in (1, 4, 4, 4, 1, 4):
            detector.fit_on_host()
            expected = copy(detector.infer(detector.prepare(draw_pictures(n))))
            detector.fit_on_device()
            assert_close(manifest, detector.infer(detector.prepare(draw_pictures(n))), expected, precision="fp16")


def test_profile_tells_what_layers_take(engine_path: Path, binding: str) -> None:
    """Some layers take time, and the engine computes as before."""
    manifest = load_manifest(engine_path)

    with open_engine(engine_path / manifest.onnx.file, binding) as backend:
        feeds = prepare(manifest, backend, 4)
        expected = copy(backend.infer(feeds))
        layers = backend.profile(feeds, runs=3)

        assert sum(layer.ms for layer in layers) > 0
        assert_close(manifest, backend.infer(feeds), expected, precision="fp32")
