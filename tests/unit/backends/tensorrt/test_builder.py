"""What TensorRT is told when an engine is built, on a stand-in of the versions that need a device.

Real builds: test_builder_rtx.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from stand_ins.tensorrt_builder import StandInTensorrt

from edged.backends.tensorrt.builder import BuildOptions, Built, build
from edged.backends.tensorrt.layers import Layer
from edged.errors import DeviceMissingError, InputError, ModelError

DEVICE = object()
"""Stands for an opened one: building only wants to know that there is one."""


def build_with(module: StandInTensorrt, options: BuildOptions, **arguments: object) -> Built:
    return build(b"onnx", options, name="tiny", library=module.library(), cuda=DEVICE, **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"batch": (4, 2, 8)}, "batch 4/2/8: expected 1 <= fewest <= usual <= most", id="fewest above usual"),
        pytest.param({"batch": (1, 8, 4)}, "batch 1/8/4: expected", id="usual above most"),
        pytest.param({"batch": (0, 1, 1)}, "batch 0/1/1: expected", id="none"),
        pytest.param({"workspace_bytes": 0}, "workspace of 0 bytes: expected at least 1", id="no workspace"),
        pytest.param({"optimisation_level": 6}, "optimisation level 6: expected 0 to 5", id="level"),
        pytest.param(
            {"dla_core": 0, "precision": "fp32", "batch": (1, 1, 1)}, "a DLA computes fp16 and int8 only", id="dla fp32"
        ),
        pytest.param({"dla_core": 0}, "batch 1/4/8: a DLA computes one size of batch: expected 8/8/8", id="dla of any batch"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], message: str) -> None:
    """Before TensorRT sees them: it would fail later, with a CUDA error, or go on."""
    with pytest.raises(InputError, match=message):
        BuildOptions(**{"precision": "fp16", **options})


def test_options_of_one_picture_are_allowed() -> None:
    """The least that there is."""
    assert BuildOptions("fp32", batch=(1, 1, 1), optimisation_level=0).batch == (1, 1, 1)


@pytest.mark.parametrize(
    ("version", "flags"),
    [pytest.param("8.6", 0b01, id="8.6"), pytest.param("10", 0b10, id="10"), pytest.param("11", 0b10, id="11")],
)
def test_build_makes_networks_strongly_typed_where_they_exist(version: str, flags: int) -> None:
    """Bit 0 asks for an explicit batch, bit 1 for types as in the ONNX file."""
    module = StandInTensorrt(version)

    build_with(module, BuildOptions("fp32"))

    assert module.network_flags == [flags]


@pytest.mark.parametrize("version", ["8.6", "10", "11"])
def test_build_lets_contexts_share_the_profile(version: str) -> None:
    """Two batches are in flight, each in a context of its own; TensorRT 11 knows nothing else, and asks for no word."""
    module = StandInTensorrt(version)

    build_with(module, BuildOptions("fp32"))

    told = {feature.name: is_on for feature, is_on in module.configs[0].previews.items()}
    assert told == ({} if version == "11" else {"PROFILE_SHARING_0806": True})


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_build_allows_precisions_by_flags_before_strong_types_only(precision: str) -> None:
    """TensorRT 8.6 chooses types itself among those that are allowed; float is never rounded to TF32."""
    old, new = StandInTensorrt("8.6"), StandInTensorrt("10", types=("FLOAT", "HALF", "INT8"))

    for module in (old, new):
        build_with(module, BuildOptions(precision))

    assert {flag.name for flag in old.configs[0].flags} == {"fp32": set(), "fp16": {"FP16"}, "int8": {"INT8"}}[precision]
    assert new.configs[0].flags == set()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_build_of_a_network_of_another_precision_is_refused(precision: str) -> None:
    """With strong types a float network would be built in float, whatever it is called."""
    with pytest.raises(ModelError, match=f"tiny: nothing in its ONNX computes in {precision}"):
        build_with(StandInTensorrt("11"), BuildOptions(precision))


def test_build_tells_batches_workspace_level_and_details() -> None:
    """For every input; all of the device's memory unless a limit is given."""
    module = StandInTensorrt("10", shapes=[(-1, 3, 8, 8), (-1, 2)])

    build_with(module, BuildOptions("fp32", batch=(1, 2, 4), workspace_bytes=1 << 20, optimisation_level=1))
    build_with(module, BuildOptions("fp32"))

    config = module.configs[0]
    assert config.profiles[0].shapes == {
        "x0": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)),
        "x1": ((1, 2), (2, 2), (4, 2)),
    }
    assert config.limits == {module.MemoryPoolType.WORKSPACE: 1 << 20}
    assert config.builder_optimization_level == 1
    assert config.profiling_verbosity == module.ProfilingVerbosity.DETAILED
    assert module.configs[1].limits == {}


def test_build_of_a_fixed_batch_wants_that_batch() -> None:
    """As some networks of others have it."""
    module = StandInTensorrt("10", shapes=[(2, 3, 8, 8)])

    with pytest.raises(InputError, match="tiny: input x0 takes 2 at a time: expected the batch 2/2/2"):
        build_with(module, BuildOptions("fp32"))
    build_with(module, BuildOptions("fp32", batch=(2, 2, 2)))

    assert module.configs[-1].profiles[0].shapes == {"x0": 3 * ((2, 3, 8, 8),)}


@pytest.mark.parametrize("shape", [(-1, 3, -1, -1), ()])
def test_build_of_other_free_axes_is_refused(shape: tuple[int, ...]) -> None:
    """Nobody has said between what they vary."""
    with pytest.raises(ModelError, match=r"tiny: input x0 has the shape .*: only its first axis may be free"):
        build_with(StandInTensorrt("10", shapes=[shape]), BuildOptions("fp32"))


def test_build_returns_the_timing_cache_filled() -> None:
    """The next build by the same library for the same device need not measure again."""
    module = StandInTensorrt("10")

    caches = (None, b"known", b"other device", b"damaged")
    built = [build_with(module, BuildOptions("fp32"), timing_cache=cache) for cache in caches]

    assert [config.caches for config in module.configs] == [[b""], [b"known"], [b""], [b""]]
    assert [each.timing_cache for each in built] == [b", filled", b"known, filled", b", filled", b", filled"]


def test_build_reads_layers_from_the_inspector(caplog: pytest.LogCaptureFixture) -> None:
    """Without them the engine is as good, and the log says so."""
    known = build_with(StandInTensorrt("10", inspected='{"Layers": ["conv", "relu"]}'), BuildOptions("fp32"))
    unknown = build_with(StandInTensorrt("10", inspected="?"), BuildOptions("fp32"))

    assert (known.plan, known.layers) == (b"plan", (Layer("conv", "?"), Layer("relu", "?")))
    assert (unknown.plan, unknown.layers) == (b"plan", ())
    assert caplog.messages == ["engine built, its layers are not known: name=tiny library=TensorRT 10.0"]


def test_build_for_a_dla_names_the_layers_that_fell_back() -> None:
    """TensorRT only logs them; without a DLA nothing can fall back."""
    placed = ("---------- Layers Running on DLA ----------", "[DlaLayer] {ForeignNode[a...b]}", "[GpuLayer] SHUFFLE: c + d: e")
    module = StandInTensorrt("10", types=("HALF",), dla_cores=2, messages=[("INFO", line) for line in placed])

    built = build_with(module, BuildOptions("fp16", batch=(4, 4, 4), dla_core=1))
    without = build_with(module, BuildOptions("fp16", batch=(4, 4, 4)))

    config = module.configs[0]
    assert (config.default_device_type, config.DLA_core) == (module.DeviceType.DLA, 1)
    assert config.flags == {module.BuilderFlag.GPU_FALLBACK}
    assert (built.fell_back, without.fell_back) == (("c + d: e",), ())


def test_build_for_a_dla_that_is_not_there_is_refused() -> None:
    """Most devices have none."""
    with pytest.raises(InputError, match=r"DLA core 2: TensorRT 10.0 finds 2 here \[engine.dla\]"):
        build_with(StandInTensorrt("10", types=("HALF",), dla_cores=2), BuildOptions("fp16", batch=(4, 4, 4), dla_core=2))


def test_build_that_fails_carries_the_newest_reasons() -> None:
    """Those of this build, not of a former one."""
    module = StandInTensorrt("10", messages=[("ERROR", f"reason {number}") for number in range(7)])
    library = module.library()
    library.log.add("ERROR", "a former one")

    with pytest.raises(ModelError) as caught:
        build(b"onnx", BuildOptions("fp32"), name="tiny", library=library, cuda=DEVICE)

    assert str(caught.value) == (
        "tiny: TensorRT 10.0 cannot build it: reason 2; reason 3; reason 4; reason 5; reason 6 [engine.build]"
    )


def test_build_without_a_device_never_touches_the_library() -> None:
    """TensorRT may end the process that makes a builder without one."""
    module = StandInTensorrt("10")

    with pytest.raises(DeviceMissingError, match=r"tiny: TensorRT 10.0 builds on a CUDA device only, and none was opened"):
        build(b"onnx", BuildOptions("fp32"), name="tiny", library=module.library())

    assert module.network_flags == []


def test_build_by_a_library_that_finds_no_device_says_what_it_said() -> None:
    """The bindings raise a TypeError about a factory."""
    with pytest.raises(
        DeviceMissingError, match=r"TensorRT 10.0 finds no device: .*nullptr; CUDA initialization failure with error: 35"
    ):
        build_with(StandInTensorrt("10", dla_cores=None), BuildOptions("fp32"))


def test_build_in_another_thread_leaves_signals_alone() -> None:
    """Only the main thread may say what Ctrl-C does."""
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(build_with, StandInTensorrt("10"), BuildOptions("fp32")).result()

    assert built.plan == b"plan"
