"""What computes fastest on a CPU is measured, kept, and forgotten when what it was measured with changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from models_onnx import make_manifest, save_engine

from edged import cpu_choice
from edged.cpu_choice import FILE_NAME, CpuChoice, CpuTiming, choose, chosen_precision, make_choice_key, measure_cpu, store_choice
from edged.models.manifest import Manifest, QuantisedFile, digest_file, dump_manifest
from edged.state import StateDirectory

TIMINGS = [CpuTiming("fp32", 1, 20.0), CpuTiming("fp32", 2, 11.0), CpuTiming("int8", 1, 10.0), CpuTiming("int8", 2, 6.0)]


@pytest.fixture
def manifest() -> Manifest:
    return make_manifest(int8={"file": "model.int8.onnx", "sha256": "1" * 64, "opset": 17, "calibration": "1 picture"})


def store(state_dir: Path, manifest: Manifest, timings: list[CpuTiming] = TIMINGS) -> CpuChoice:
    with StateDirectory(state_dir) as state:
        return store_choice(state, manifest, timings)


@pytest.mark.parametrize(
    ("times_ms", "choice"),
    [
        pytest.param((20.0, 11.0, 10.0, 6.0), ("int8", 2), id="all that is faster"),
        pytest.param((20.0, 19.0, 25.0, 24.0), ("fp32", 1), id="nothing is worth it"),
        pytest.param((20.0, 18.0, 25.0, 24.0), ("fp32", 2), id="a thread at the limit"),
        pytest.param((20.0, 18.1, 18.1, 18.1), ("fp32", 1), id="just above it"),
        pytest.param((20.0, 14.0, 14.0, 13.0), ("int8", 1), id="accuracy before a thread"),
        pytest.param((20.0, 9.0, 14.0, 8.5), ("fp32", 2), id="a thread instead of accuracy"),
    ],
)
def test_choice_takes_what_is_worth_it(times_ms: tuple[float, ...], choice: tuple[str, int]) -> None:
    """A further thread or a less exact network must take nine tenths of the time at most."""
    ways = [("fp32", 1), ("fp32", 2), ("int8", 1), ("int8", 2)]

    assert choose([CpuTiming(*way, time_ms) for way, time_ms in zip(ways, times_ms, strict=True)]) == choice


def test_choice_stored_is_the_one_that_is_chosen(tmp_path: Path, manifest: Manifest) -> None:
    """A daemon finds what the command measured."""
    stored = store(tmp_path, manifest)

    assert stored == chosen_precision(tmp_path, manifest) == ("int8", 2)


def test_choice_never_measured_is_none(tmp_path: Path, manifest: Manifest) -> None:
    """A state directory that is not there yet is no error."""
    assert chosen_precision(tmp_path / "state", manifest) is None


def test_choices_of_other_engines_stay(tmp_path: Path, manifest: Manifest) -> None:
    """Engines are measured one by one."""
    store(tmp_path, manifest)
    other = make_manifest(name="other")
    store(tmp_path, other, TIMINGS[:2])

    assert chosen_precision(tmp_path, manifest) == ("int8", 2)
    assert chosen_precision(tmp_path, other) == ("fp32", 2)


@pytest.mark.parametrize("changed", ["network", "onnxruntime", "cpu", "cores"])
def test_choice_is_forgotten_when_what_it_was_measured_with_changes(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Another network, library or processor may be fastest in another way."""
    store(tmp_path, manifest)
    match changed:
        case "network":
            manifest = manifest.model_copy(update={"int8": manifest.int8.model_copy(update={"sha256": "2" * 64})})
        case "onnxruntime":
            monkeypatch.setattr(cpu_choice.metadata, "version", lambda name: "0.1")
        case "cpu":
            monkeypatch.setattr(cpu_choice, "_read_cpu", lambda path: ("another", "flags"))
        case "cores":
            monkeypatch.setattr(cpu_choice.os, "sched_getaffinity", lambda process: set(range(77)))

    assert chosen_precision(tmp_path, manifest) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda entry: entry.update(precision="fp64"), id="no such precision"),
        pytest.param(lambda entry: entry.update(threads=0), id="no threads"),
        pytest.param(lambda entry: entry.update(threads=True), id="threads are no number"),
        pytest.param(lambda entry: entry.pop("precision"), id="no precision"),
    ],
)
def test_choice_that_cannot_be_is_none(tmp_path: Path, manifest: Manifest, change: object) -> None:
    """A file that somebody edited starts no daemon in a way that does not exist."""
    store(tmp_path, manifest)
    entries = json.loads((tmp_path / FILE_NAME).read_text())
    change(entries["tiny"])
    (tmp_path / FILE_NAME).write_text(json.dumps(entries))

    assert chosen_precision(tmp_path, manifest) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"tiny": 3}'])
def test_choice_in_a_file_that_cannot_be_read_is_none_until_measured_anew(
    tmp_path: Path, manifest: Manifest, content: str
) -> None:
    """It is a measurement, not state that anybody would miss."""
    (tmp_path / FILE_NAME).write_text(content)

    assert chosen_precision(tmp_path, manifest) is None
    store(tmp_path, manifest)
    assert chosen_precision(tmp_path, manifest) == ("int8", 2)


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        pytest.param(
            "model name\t: AMD EPYC\nflags\t\t: sse avx\n\nmodel name\t: AMD EPYC\nflags\t\t: sse avx\n", "AMD EPYC", id="x86"
        ),
        pytest.param(
            "CPU implementer\t: 0x41\nCPU part\t: 0xd42\nFeatures\t: asimddp\n",
            "CPU implementer 0x41, CPU part 0xd42",
            id="arm",
        ),
        pytest.param("", "unknown", id="says nothing"),
    ],
)
def test_processor_is_named_by_what_the_kernel_says(tmp_path: Path, manifest: Manifest, text: str, cpu: str) -> None:
    """Each kind of core once, and its flags."""
    (tmp_path / "cpuinfo").write_text(text)
    without_flags = text.replace("avx", "").replace("asimddp", "")
    (tmp_path / "lesser").write_text(without_flags)

    key = make_choice_key(manifest, cpu_info=tmp_path / "cpuinfo")
    lesser = make_choice_key(manifest, cpu_info=tmp_path / "lesser")

    assert key.cpu == cpu
    assert (key.cpu_flags == lesser.cpu_flags) is (text == without_flags)


def test_measuring_times_every_network_with_every_number_of_threads(tmp_path: Path) -> None:
    """Through ONNX Runtime as the daemon opens it; what the engine lacks is not measured."""
    manifest = save_engine(tmp_path, make_manifest(), boxes=[[0, 0, 9, 9]] * 2, scores=[[0.5, 0]] * 2)
    (tmp_path / "model.int8.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    int8 = QuantisedFile(file="model.int8.onnx", sha256=digest_file(tmp_path / "model.onnx"), opset=17, calibration="none")
    (tmp_path / "model.yaml").write_text(dump_manifest(manifest.model_copy(update={"int8": int8})))

    timings = measure_cpu(tmp_path, most_threads=2, rounds=3)

    assert [(each.precision, each.threads) for each in timings] == [("fp32", 1), ("fp32", 2), ("int8", 1), ("int8", 2)]
    assert all(each.network_ms >= 0 for each in timings)
