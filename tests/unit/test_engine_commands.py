"""`edged engines`: what is said, what is written, and how it exits. Library, building process and device are stand-ins."""

from __future__ import annotations

import io
import os
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_manifest, save_engine

from edged import cli, engine_building, engine_commands, engine_opening, engine_verification
from edged.assembly import open_detector
from edged.backends.tensorrt.builder import Built
from edged.backends.tensorrt.cache import name_in
from edged.backends.tensorrt.driver import DeviceFacts
from edged.backends.tensorrt.layers import Layer, LayerTensor
from edged.backends.tensorrt.library import Differences, Library, MessageLog
from edged.backends.tensorrt.runner import LayerTime
from edged.config import find_state_directory
from edged.config.models import DetectorConfig
from edged.engine_building import make_cache
from edged.engine_commands import ProgressLine
from edged.engine_opening import find_usable_engine
from edged.errors import (
    BuildCancelledError,
    DeviceError,
    DeviceMemoryError,
    DeviceMissingError,
    EngineMissingError,
    InferenceError,
    InputError,
    ModelError,
)
from edged.models.detector import Detector
from edged.models.manifest import dump_manifest, load_manifest
from edged.probe import write_picture
from edged.state import StateDirectory
from edged.vision.redact import NOTHING, redact

PORTABLE_LIBRARY = Library(
    None, "tensorrt_rtx", "1.7.1", Differences(True, False, False, True, True, True, False, True), None, MessageLog()
)
LIBRARY = Library(None, "tensorrt", "10.3.0", Differences(True, True, True, True, False, False, True, True), None, MessageLog())
ORIN = DeviceFacts("Orin", (8, 7), "12.6", 8 << 30, True)
LAYERS = (Layer("conv", "kgen", (LayerTensor("images", "uint8"),), (LayerTensor("y", "float16"),), ("/stem/Conv",)),)
BOXES, SCORES = [[2, 2, 30, 30], [34, 2, 60, 30]], [[0.9, 0], [0, 0.8]]


class StandIns:
    """What a test says of the library, the building process and the device.

    Attributes:
        built: options of each engine that was built.
        failure: what building raises, by precision or by name and precision.
        refusal: what an engine does on the device, by name.
        device: None: there is none.
    """

    def __init__(self) -> None:
        self.library = PORTABLE_LIBRARY
        self.built: list = []
        self.failure: dict[str, Exception] = {}
        self.refusal: dict[str, Exception] = {}
        self.device: DeviceFacts | None = None
        self.candidate: Path | None = None  # the engine that answers on the device; None: the one that was built

    def import_library(self, name: str) -> Library:
        if self.library is None:
            raise DeviceMissingError(f"no TensorRT: cannot import {name} [backend.missing]")
        return self.library

    def build_apart(self, job, onnx, timing_cache, *, report, cancelled) -> Built:
        report("Building engine", 0.5, 0.0)
        for what in (job.options.precision, job.name):
            if what in self.failure:
                raise self.failure[what]
        self.built.append(job.options)
        return Built(
            plan=f"plan {len(self.built)}".encode(),
            layers=LAYERS,
            fell_back=() if job.options.dla_core is None else ("conv",),
            timing_cache=None if self.library.differences.portable else b"timings",
            seconds=1.5,
        )

    def find_device(self, settings) -> DeviceFacts:
        if self.device is None:
            raise DeviceMissingError("no CUDA device 0: no driver [device.missing]")
        return self.device

    def open_candidate(self, record, plan, manifest, *, library, settings, max_batch) -> Detector:
        """ONNX Runtime in the place of the device."""
        if manifest.name in self.refusal:
            raise self.refusal[manifest.name]
        return open_detector(self.candidate or Path(record.directory))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> StandIns:
    stand_ins = StandIns()
    monkeypatch.setattr(engine_commands, "import_library", stand_ins.import_library)
    monkeypatch.setattr(engine_commands, "find_device", stand_ins.find_device)
    monkeypatch.setattr(engine_building, "_build_apart", stand_ins.build_apart)
    monkeypatch.setattr(engine_verification, "open_candidate", stand_ins.open_candidate)
    return stand_ins


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A state directory with an engine of its own, `tiny`, that sees a person and a car on whatever is bright."""
    save_engine(tmp_path / "engines" / "tiny", make_manifest(), boxes=BOXES, scores=SCORES)
    return tmp_path


def run(site: Path, *arguments: str) -> int:
    """The exit status of `edged engines ACTION … --state-dir SITE`."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        return cli.main(["engines", *arguments, "--state-dir", str(site)])
    finally:
        signal.signal(signal.SIGTERM, before)


def change_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def plan_path(site: Path) -> Path:
    (path,) = (site / "tensorrt").glob("tiny-*.plan")
    return path


def record_path(site: Path) -> Path:
    (path,) = (site / "tensorrt").glob("tiny-*.json")
    return path


def record_path_of(site: Path, name: str) -> Path:
    (path,) = (path for path in (site / "tensorrt").glob("*.json") if name_in(path.stem) == name)
    return path


def save_pictures(site: Path) -> Path:
    """A folder of three pictures on which `tiny` sees all that it can."""
    folder = site / "pictures"
    folder.mkdir()
    for name in ("a", "b", "c"):
        write_picture(folder / f"{name}.png", redact(np.full((32, 64, 3), 255, np.uint8), NOTHING))
    return folder


def add_fp16(site: Path) -> None:
    """Give the engine an FP16 network: its own, as far as these tests look."""
    engine = site / "engines" / "tiny"
    manifest = load_manifest(engine)
    fp16 = manifest.onnx.model_copy(update={"file": "model.fp16.onnx"})
    (engine / "model.fp16.onnx").write_bytes((engine / "model.onnx").read_bytes())
    (engine / "model.yaml").write_text(dump_manifest(manifest.model_copy(update={"fp16": fp16})))


def test_build_writes_the_engine_and_says_so(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """What was built, with what, for what, where, and what is to be done next."""
    status = run(site, "build", "tiny")

    said = capsys.readouterr()
    assert status == 0
    assert said.out == (
        f"TensorRT-RTX 1.7.1 for any GPU, into {site}/tensorrt\n"
        "tiny fp32: built in 1.5 s, 0.0 MB; layers by what they write: 1 float16\n"
        f"not used yet: edged engines verify --state-dir {site} compares them with ONNX Runtime, "
        "on the device that will run them\n"
    )
    assert plan_path(site).read_bytes() == b"plan 1"
    assert here.built[0].batch == (1, 4, 8)


def test_build_again_finds_it_whole(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is built twice unless it is asked for."""
    run(site, "build", "tiny")
    run(site, "build", "tiny")
    assert "tiny fp32: is built and whole" in capsys.readouterr().out

    status = run(site, "build", "tiny", "--force")

    assert status == 0
    assert len(here.built) == 2
    assert plan_path(site).read_bytes() == b"plan 2"


def test_build_of_a_damaged_engine_takes_its_place(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that the message names mends it, and tells what it found."""
    run(site, "build", "tiny")
    change_byte(plan_path(site))

    status = run(site, "build", "tiny")

    assert status == 0
    assert "tiny fp32: took the place of a damaged one: " in capsys.readouterr().out
    assert run(site, "verify") == 0


def test_build_of_a_changed_network_is_refused_with_both_digests(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """No engine is built of what its manifest does not describe."""
    change_byte(site / "engines" / "tiny" / "model.onnx")

    status = run(site, "build", "tiny")

    assert status == 78
    assert "expected sha256" in (said := capsys.readouterr().err)
    assert "[model.hash]" in said
    assert here.built == []


def test_build_options_reach_the_builder(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """Batch, scratch memory and DLA are what was asked for, and layers that fell back are told."""
    add_fp16(site)

    status = run(
        site, "build", "tiny", "--precision", "fp16", "--batch", "4/4/4", "--workspace-mib", "64", "--dla-core", "0", "--report"
    )

    said = capsys.readouterr().out
    assert status == 0
    (options,) = here.built
    assert (options.precision, options.batch, options.workspace_bytes, options.dla_core) == ("fp16", (4, 4, 4), 64 << 20, 0)
    assert "layers on the GPU instead of the DLA: conv" in said
    assert "kgen                    uint8 -> float16          /stem/Conv\n" in said


def test_build_takes_what_the_configuration_says(site: Path, here: StandIns) -> None:
    """State directory, engine, precision and sizes, so that the daemon finds what was built."""
    add_fp16(site)
    (site / "edged.yaml").write_text(
        f"state_dir: {site}\n"
        "detector: {engine: tiny, backend: tensorrt, precision: fp16, tensorrt: {max_batch: 5, workspace_mib: 32}}\n"
        "cameras: {door: {source: 'street:1'}}\n"
    )

    status = cli.main(["engines", "build", "--config", str(site / "edged.yaml")])

    assert status == 0
    (options,) = here.built
    assert (options.precision, options.batch, options.workspace_bytes) == ("fp16", (1, 3, 5), 32 << 20)
    assert plan_path(site).exists()


@pytest.mark.parametrize(
    "section",
    [
        pytest.param("faces: {enabled: true, detector: find, encoder: find, ", id="faces"),
        pytest.param("segmentation: {enabled: true, engine: find, ", id="segmentation"),
    ],
)
def test_build_of_other_networks_takes_what_their_section_says(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    """Named or not; whatever no other section names is built as the detector is, and each is listed and verified as such."""
    save_engine(site / "engines" / "find", make_manifest(name="find"), boxes=BOXES, scores=SCORES)
    (site / "edged.yaml").write_text(
        f"state_dir: {site}\n"
        "detector: {engine: tiny, tensorrt: {max_batch: 5}}\n"
        f"{section}backend: tensorrt, tensorrt: {{max_batch: 3, device: 1}}}}\n"
        "cameras: {door: {source: 'street:1'}}\n"
    )
    asked = []
    here.library, here.device = LIBRARY, ORIN
    monkeypatch.setattr(engine_commands, "find_device", lambda settings: asked.append(settings.device) or ORIN)

    status = cli.main(["engines", "build", "--config", str(site / "edged.yaml")])

    assert status == 0
    assert [options.batch for options in here.built] == [(1, 3, 5), (1, 2, 3)]
    assert asked == [0, 1]
    capsys.readouterr()
    assert cli.main(["engines", "verify", "find", "--config", str(site / "edged.yaml")]) == 0
    assert "find fp32: engine, record and network are what was built" in capsys.readouterr().out


def test_build_all_precisions_goes_on_after_one_that_fails(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are built all the same, and the exit status tells."""
    add_fp16(site)
    here.failure["fp32"] = ModelError("tiny fp32: TensorRT-RTX 1.7.1 cannot build it: no reason [engine.build]")

    status = run(site, "build", "tiny", "--precision", "all")

    said = capsys.readouterr()
    assert status == 78
    assert "edged: tiny fp32: TensorRT-RTX 1.7.1 cannot build it" in said.err
    assert [options.precision for options in here.built] == ["fp16"]
    assert "tiny fp16: built" in said.out


def test_build_of_all_goes_on_after_engines_that_cannot_be_built(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest that is broken, and a network that does not take these batches: the others are built all the same."""
    (site / "engines" / "broken").mkdir()
    (site / "engines" / "broken" / "model.yaml").write_text("task: detector\n")
    save_engine(site / "engines" / "fixed", make_manifest(name="fixed"), boxes=BOXES, scores=SCORES)
    here.failure["fixed fp32"] = InputError("fixed fp32: input images takes 1 at a time [engine.batch]")

    status = run(site, "build", "--all")

    said = capsys.readouterr()
    assert status == 78
    assert f"edged: {site}/engines/broken/model.yaml: " in said.err
    assert "edged: fixed fp32: input images takes 1 at a time" in said.err
    assert "tiny fp32: built in 1.5 s" in said.out
    assert "detector fp32: built in 1.5 s" in said.out


def test_build_of_all_with_a_configuration_takes_what_lies_beside_it(site: Path, here: StandIns) -> None:
    """By its bare name, or by the path that the configuration gives."""
    etc = site / "etc"
    for place, name in (("beside", "beside"), ("engines/deeper", "deeper")):
        save_engine(etc / place, make_manifest(name=name), boxes=BOXES, scores=SCORES)
    (etc / "edged.yaml").write_text(
        f"state_dir: {site}\ndetector: {{engine: engines/deeper}}\ncameras: {{door: {{source: 'street:1'}}}}\n"
    )

    assert cli.main(["engines", "build", "--all", "--config", str(etc / "edged.yaml")]) == 0

    names = [name_in(stem) for stem in make_cache(site).stems()]
    assert {"beside", "deeper", "tiny", "detector"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("is_found", [True, False], ids=["by its name", "by its directory only"])
def test_commands_in_messages_work_wherever_they_are_pasted(
    tmp_path: Path, here: StandIns, monkeypatch: pytest.MonkeyPatch, is_found: bool
) -> None:
    """From a start that is refused, command by command, to one that is not: in another directory, with another usual state."""
    state = tmp_path / "my state"
    directory = (state / "engines" if is_found else tmp_path) / "mine"
    save_engine(directory, make_manifest(name="colours"), boxes=BOXES, scores=SCORES)
    here.device = ORIN
    monkeypatch.setattr(engine_opening, "import_library", here.import_library)
    monkeypatch.setattr(engine_opening, "find_device", here.find_device)
    monkeypatch.setattr(engine_commands, "draw_pictures", lambda: [np.full((32, 64, 3), 255, np.uint8)])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "elsewhere"))
    settings = DetectorConfig(backend="tensorrt", tensorrt={"max_batch": 5, "workspace_mib": 32, "library": "tensorrt_rtx"})

    typed = []
    for _ in range(2):
        with pytest.raises(EngineMissingError) as caught:
            find_usable_engine(directory, settings, state_dir=state)
        command = str(caught.value).partition(": run ")[2].rpartition(" [")[0]
        typed.append(shlex.split(command))
        assert cli.main(typed[-1][1:]) == 0

    find_usable_engine(directory, settings, state_dir=state)
    engine = "mine" if is_found else str(directory)
    assert [words[:4] for words in typed] == [["edged", "engines", "build", engine], ["edged", "engines", "verify", engine]]


def test_command_of_an_engine_that_failed_builds_it_anew(site: Path, here: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is whole, so it is not built again unless that is forced."""
    run(site, "build", "tiny")
    here.device, here.refusal["tiny"] = ORIN, InferenceError("NaN")
    run(site, "verify", "tiny", "--pictures", str(save_pictures(site)))
    monkeypatch.setattr(engine_opening, "import_library", here.import_library)
    monkeypatch.setattr(engine_opening, "find_device", here.find_device)

    with pytest.raises(EngineMissingError, match=r"are not those of the network: it failed: .*engine\.parity") as caught:
        find_usable_engine(site / "engines" / "tiny", DetectorConfig(backend="tensorrt"), state_dir=site)

    build = str(caught.value).partition(": run ")[2].partition(", then edged engines verify")[0]
    assert cli.main(shlex.split(build)[1:]) == 0
    assert plan_path(site).read_bytes() == b"plan 2"


def test_build_in_a_precision_that_the_engine_lacks_is_refused(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that makes it."""
    assert run(site, "build", "tiny", "--precision", "int8") == 78
    assert "tools.quantise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["build"], "which engine?", id="no engine"),
        pytest.param(["build", "nope"], "no engine 'nope'", id="no such engine"),
        pytest.param(["build", "tiny", "--batch", "4/2/8"], "expected 1 <= fewest <= usual <= most", id="batch"),
        pytest.param(["build", "tiny", "--dla-core", "0"], "fp16 and int8 only", id="DLA in float"),
        pytest.param(["bench"], "which engine?", id="bench of nothing"),
        pytest.param(["verify", "nope"], "no engine 'nope'", id="verify of no such engine"),
        pytest.param(["verify"], "run edged engines build --all --state-dir {site} [engine.missing]", id="verify of nothing"),
        pytest.param(
            ["verify", "tiny"],
            "run edged engines build tiny --state-dir {site} [engine.missing]",
            id="verify of what is not built",
        ),
        pytest.param(["verify", "--pictures", "/nowhere"], "--pictures /nowhere: ", id="no pictures"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_mend(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Before anything is built."""
    assert run(site, *arguments) == 78
    assert said.format(site=site) in capsys.readouterr().err
    assert here.built == []


@pytest.mark.parametrize(
    "arguments",
    [["--batch", "1/4"], ["--batch", "a/b/c"], ["--batch", "1/4/4096"], ["--workspace-mib", "0"], ["--device", "-1"]],
)
def test_build_arguments_that_are_no_numbers_are_refused(site: Path, here: StandIns, arguments: list[str]) -> None:
    """By the parser, as everywhere."""
    with pytest.raises(SystemExit, match="2"):
        run(site, "build", "tiny", *arguments)


def test_build_without_tensorrt_says_what_to_install(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """And exits as for a wrong configuration: a restart mends nothing."""
    here.library = None

    assert run(site, "build", "tiny") == 78
    assert "no TensorRT" in capsys.readouterr().err


def test_build_with_a_library_that_needs_a_device_is_for_that_device(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name, capability and driver are in the key, and what was measured for building is kept."""
    here.library, here.device = LIBRARY, ORIN

    status = run(site, "build", "tiny")

    assert status == 0
    assert "TensorRT 10.3.0 for Orin (8.7), driver 12.6, into" in capsys.readouterr().out
    assert len(list((site / "tensorrt").glob("timing-tensorrt-10.3.0-*.cache"))) == 1


def test_build_with_a_library_that_needs_a_device_and_none_here_is_refused(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked before the library is, which could crash."""
    here.library = LIBRARY

    assert run(site, "build", "tiny") == 78
    assert "no CUDA device 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(BuildCancelledError("tiny fp32: cancelled after 3 s; nothing was written"), 130, id="cancelled"),
        pytest.param(DeviceError(700, "the device is lost"), 70, id="device lost"),
    ],
)
def test_build_that_ends_early_has_its_own_status(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    """Nothing is left of it, and the handlers of the signals are those from before."""
    before = signal.getsignal(signal.SIGINT)
    here.failure["fp32"] = error

    assert run(site, "build", "tiny") == status
    assert f"edged: {error}\n" in capsys.readouterr().err
    assert os.listdir(site / "tensorrt") == ["lock"]
    assert signal.getsignal(signal.SIGINT) is before


def test_build_that_waits_for_another_can_be_cancelled(
    site: Path, here: StandIns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the waiting; the other builder goes on."""

    def interrupt(line: ProgressLine, phase: str, done_ratio: float, elapsed_s: float) -> None:
        assert phase == "waiting for another build"
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ProgressLine, "show", interrupt)

    with make_cache(site).lock(lambda: None):
        status = run(site, "build", "tiny")

    assert status == 130
    assert "tiny fp32: cancelled while another build went on; nothing was written" in capsys.readouterr().err


def test_list_shows_what_is_built_and_its_state(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """One line an engine; a damaged one by its file's name."""
    add_fp16(site)
    run(site, "build", "tiny", "--precision", "all")
    change_byte(next((site / "tensorrt").glob("tiny-fp16*.json")))
    capsys.readouterr()

    status = run(site, "list")

    head, *rows = capsys.readouterr().out.splitlines()
    assert status == 0
    assert head.split() == ["ENGINE", "PRECISION", "BATCH", "BUILT", "WITH", "FOR", "MB", "STATE"]
    assert sorted(" ".join(row.split()) for row in rows)[0].startswith(
        "tiny fp32 1/4/8 tensorrt_rtx 1.7.1 any GPU 0.0 not compared"
    )
    assert sum(row.endswith("damaged") for row in rows) == 1


@pytest.mark.parametrize("damage", ["gone", "cut", "of all", "a directory"])
def test_list_looks_at_what_was_built(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    """Whether it is there, ours alone, and as long as it was."""
    run(site, "build", "tiny")
    path = plan_path(site)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "of all":
        path.chmod(0o666)
    else:
        path.unlink()
    if damage == "a directory":
        path.mkdir()
    capsys.readouterr()

    assert run(site, "list") == 0

    _, row = capsys.readouterr().out.splitlines()
    assert row.split()[:3] == ["tiny", "fp32", "1/4/8"]
    assert row.endswith("damaged")


def test_directory_in_the_place_of_a_record_is_told_with_its_mend(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """By every command, and each goes on with the others."""
    run(site, "build", "tiny")
    foreign = site / "tensorrt" / "foreign.json"
    foreign.mkdir()
    capsys.readouterr()

    statuses = [run(site, action) for action in ("list", "verify", "prune")]

    said = capsys.readouterr()
    assert statuses == [0, 78, 1]
    assert "foreign" in said.out
    assert f"edged: {foreign}: is no file: move it away, then run edged engines prune --state-dir {site}" in said.err
    assert f"edged: {foreign}: cannot be removed: Is a directory: it is nothing that edged made: move it away" in said.err
    assert "tiny fp32: engine, record and network are what was built" in said.out
    assert plan_path(site).exists()


def test_list_of_nothing_says_what_to_do(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """And makes nothing."""
    assert run(site, "list") == 0
    assert capsys.readouterr().out == f"no engines in {site}/tensorrt: edged engines build --all --state-dir {site} builds them\n"
    assert not (site / "tensorrt").exists()


def test_verify_without_a_device_checks_all_else(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """It passes, says that parity was not run and why, and the engine stays one that is not used."""
    run(site, "build", "tiny")
    capsys.readouterr()

    status = run(site, "verify")

    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    assert said.out == (
        "tiny fp32: engine, record and network are what was built with TensorRT-RTX 1.7.1 for any GPU\n"
        "parity: not run, no CUDA device 0: no driver [device.missing]\n"
    )
    (record,) = [make_cache(site).load(stem) for stem in make_cache(site).stems()]
    assert record.parity is None


@pytest.mark.parametrize("which", ["plan", "record", "network"])
def test_verify_of_one_changed_byte_gives_78_and_both_digests(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    """Wherever the byte is."""
    run(site, "build", "tiny")
    network = site / "engines" / "tiny" / "model.onnx"
    change_byte({"plan": plan_path(site), "record": record_path(site), "network": network}[which])
    capsys.readouterr()

    status = run(site, "verify")

    said = capsys.readouterr()
    assert (status, said.out) == (78, "")
    assert "expected sha256 " in said.err
    assert ", found " in said.err


def test_verify_of_a_directory_that_others_can_write_gives_78(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both modes are named."""
    run(site, "build", "tiny")
    (site / "tensorrt").chmod(0o777)

    assert run(site, "verify") == 78
    assert "mode 0777, expected 0700" in capsys.readouterr().err


def test_verify_after_an_upgrade_names_both_versions(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """Until it is built anew; then the old one is only a thing to remove."""
    run(site, "build", "tiny")
    here.library = replace(PORTABLE_LIBRARY, version="1.8.0")

    assert run(site, "verify") == 78
    said = capsys.readouterr().err
    assert "tiny fp32: stale: run edged engines build tiny --precision fp32 --batch 1/4/8" in said
    assert "(built with tensorrt_rtx 1.7.1 for any GPU, here is tensorrt_rtx 1.8.0 for any GPU) [engine.stale]" in said
    run(site, "build", "tiny")
    assert run(site, "verify") == 0
    assert f"an older one is stale; edged engines prune --state-dir {site} removes it" in capsys.readouterr().out


def test_verify_of_one_engine_passes_over_the_damage_of_another(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files are told apart by their names, before they are read."""
    save_engine(site / "engines" / "tiny-find", make_manifest(name="tiny-find"), boxes=BOXES, scores=SCORES)
    run(site, "build", "tiny", "tiny-find")
    change_byte(record_path_of(site, "tiny-find"))
    capsys.readouterr()

    assert run(site, "verify", "tiny") == 0
    assert capsys.readouterr().err == ""
    assert run(site, "verify", "tiny-find") == 78
    mend = f"run edged engines prune --state-dir {site}, which removes it, then build the engine anew [engine.digest]"
    assert mend in capsys.readouterr().err


def test_verify_takes_the_name_that_list_shows(
    tmp_path: Path, site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of an engine whose directory has another, somewhere else."""
    save_engine(tmp_path / "somewhere" / "mine", make_manifest(name="colours"), boxes=BOXES, scores=SCORES)
    run(site, "build", str(tmp_path / "somewhere" / "mine"))

    assert run(site, "verify", "colours") == 0
    assert "colours fp32: engine, record and network are what was built" in capsys.readouterr().out


def test_verify_of_an_engine_whose_manifest_has_another_name_says_so(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing else has changed."""
    run(site, "build", "tiny")
    engine = site / "engines" / "tiny"
    (engine / "model.yaml").write_text(dump_manifest(load_manifest(engine).model_copy(update={"name": "mine"})))

    assert run(site, "verify") == 78
    assert "(built under the name tiny, which now is mine) [engine.stale]" in capsys.readouterr().err


def test_verify_on_a_device_notes_that_the_engine_passed(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """From then on it may be used there."""
    run(site, "build", "tiny")
    here.device = ORIN

    status = run(site, "verify", "tiny", "--pictures", str(save_pictures(site)))

    assert status == 0
    assert (
        "parity on Orin (8.7), driver 12.6: ap50 1.0000 (at least 0.999), mean_iou 1.0000 (at least 0.99), "
        "6 of 6 objects on 3 pictures"
    ) in capsys.readouterr().out
    run(site, "list")
    assert capsys.readouterr().out.rstrip().endswith("verified")


def test_verify_on_a_device_refuses_an_engine_that_sees_other_things(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays refused, in words."""
    save_engine(site / "other", make_manifest(), boxes=[[2, 2, 30, 30], [2, 2, 9, 9]], scores=SCORES)
    run(site, "build", "tiny")
    here.device, here.candidate = ORIN, site / "other"

    status = run(site, "verify", "--pictures", str(save_pictures(site)))

    said = capsys.readouterr().err
    assert status == 78
    assert "ap50 0.5000 (at least 0.999)" in said
    assert "3 of 6 objects on 3 pictures: it will not be used" in said
    run(site, "list")
    assert capsys.readouterr().out.rstrip().endswith("failed")


def test_verify_goes_on_after_an_engine_that_fails_on_the_device(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named and noted, as one that answers otherwise is."""
    save_engine(site / "engines" / "find", make_manifest(name="find"), boxes=BOXES, scores=SCORES)
    run(site, "build", "tiny", "find")
    here.device, here.refusal["find"] = ORIN, InferenceError("an embedding is of length [nan], it has no direction")

    status = run(site, "verify", "--pictures", str(save_pictures(site)))

    said = capsys.readouterr()
    assert status == 78
    assert (
        "edged: find fp32: parity on Orin (8.7), driver 12.6: an embedding is of length [nan], it has no direction: "
        "it will not be used" in said.err
    )
    assert "parity on Orin (8.7), driver 12.6: ap50 1.0000" in said.out
    run(site, "list")
    states = {row.split()[0]: row.split()[-1] for row in capsys.readouterr().out.splitlines()}
    assert (states["find"], states["tiny"]) == ("failed", "verified")


def test_verify_goes_on_after_an_engine_that_the_device_cannot_hold(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """Full memory says nothing of the engine, so nothing is noted of it."""
    save_engine(site / "engines" / "find", make_manifest(name="find"), boxes=BOXES, scores=SCORES)
    run(site, "build", "tiny", "find")
    here.device, here.refusal["find"] = ORIN, DeviceMemoryError("out of memory")

    status = run(site, "verify", "--pictures", str(save_pictures(site)))

    said = capsys.readouterr()
    assert status == 1
    assert "edged: find fp32: not compared: out of memory: end what else uses the device" in said.err
    assert "parity on Orin (8.7), driver 12.6: ap50 1.0000" in said.out
    assert {record.key.name: record.parity is None for record in map(make_cache(site).load, make_cache(site).stems())} == {
        "find": True,
        "tiny": False,
    }


def test_prune_removes_what_fits_no_longer(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """After an upgrade the old engine goes, with the reason; a second time there is nothing."""
    run(site, "build", "tiny")
    here.library = replace(PORTABLE_LIBRARY, version="1.8.0")
    run(site, "build", "tiny")
    capsys.readouterr()

    status = run(site, "prune")

    said = capsys.readouterr().out.splitlines()
    assert status == 0
    assert len(said) == 2
    assert all(
        line.endswith("built with tensorrt_rtx 1.7.1 for any GPU, here is tensorrt_rtx 1.8.0 for any GPU") for line in said
    )
    assert plan_path(site).read_bytes() == b"plan 2"
    run(site, "prune")
    assert capsys.readouterr().out == f"nothing to remove in {site}/tensorrt\n"


def test_prune_where_there_is_no_tensorrt_keeps_what_it_cannot_judge(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken environment is no reason to throw engines away; a network that is gone is one."""
    run(site, "build", "tiny")
    here.library = None
    run(site, "prune")
    assert plan_path(site).exists()
    (site / "engines" / "tiny" / "model.yaml").unlink()

    run(site, "prune")

    assert list((site / "tensorrt").glob("tiny-*")) == []


def test_prune_all_removes_every_engine(site: Path, here: StandIns) -> None:
    """For whoever wants the room."""
    run(site, "build", "tiny")

    assert run(site, "prune", "--all") == 0
    assert os.listdir(site / "tensorrt") == ["lock"]


def test_prune_all_goes_on_after_what_it_cannot_remove(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with what to do."""
    run(site, "build", "tiny")
    (site / "tensorrt" / "bar.plan").mkdir()

    assert run(site, "prune", "--all") == 1
    assert sorted(os.listdir(site / "tensorrt")) == ["bar.plan", "lock"]
    assert f"edged: {site}/tensorrt/bar.plan: cannot be removed: Is a directory" in capsys.readouterr().err


def test_prune_of_nothing_makes_nothing(site: Path, here: StandIns) -> None:
    """A look at a fresh device leaves no trace."""
    assert run(site, "prune") == 0
    assert not (site / "tensorrt").exists()


def test_bench_stores_what_was_fastest(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """Measured for real, on a network that is fast; needs no TensorRT."""
    here.library = None

    status = run(site, "bench", "tiny", "--threads", "1")

    said = capsys.readouterr().out
    assert status == 0
    assert said.startswith("tiny: the network alone, one picture, median\n  fp32  1 thread")
    assert said.endswith("ms  <- kept\n")
    assert (site / "cpu-choice.json").exists()


def test_bench_beside_a_daemon_is_refused(site: Path, here: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """It would measure the daemon, too."""
    with StateDirectory(site):
        status = run(site, "bench", "tiny")

    assert status == 1
    assert "in use by another edged" in capsys.readouterr().err


def test_state_directory_is_guessed_or_asked_for() -> None:
    """As a configuration without one would have it."""
    assert find_state_directory(environ={"STATE_DIRECTORY": "/var/lib/edged:/more"}) == Path("/var/lib/edged")
    assert find_state_directory(environ={"HOME": "/home/me"}) == Path("/home/me/.local/state/edged")
    with pytest.raises(InputError, match=r"no state directory: .*--state-dir"):
        find_state_directory(environ={})


class Terminal(io.StringIO):
    """A terminal that keeps what was written to it."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_one_line_that_is_rewritten() -> None:
    """No faster than anybody reads, and gone at the end."""
    terminal = Terminal()

    with ProgressLine("tiny fp16", terminal) as line:
        line.show("Timing graph nodes", 0.5, 61.0)
        line.show("Timing graph nodes", 0.6, 61.1)
        line.show("Done", 0.75, 62.0)

    first, second = "tiny fp16   50%  1:01  Timing graph nodes", "tiny fp16   75%  1:02  Done"
    assert terminal.getvalue() == f"\r{first}\r{second:{len(first)}}\r{'':{len(second)}}\r"


def test_progress_elsewhere_is_a_line_now_and_then() -> None:
    """A log of a long build stays short, that of a short one silent."""
    log = io.StringIO()

    with ProgressLine("tiny fp16", log) as line:
        for elapsed_s in range(25):
            line.show("Timing graph nodes", elapsed_s / 100, float(elapsed_s))

    assert log.getvalue() == "tiny fp16   10%  0:10  Timing graph nodes\ntiny fp16   20%  0:20  Timing graph nodes\n"


def test_bench_of_layers_lists_them_by_their_time(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every engine that was built of the network, for its usual batch; nothing is chosen for the processor."""
    here.device = ORIN
    asked = []

    def profile(record, plan, *, library, settings, batch) -> list[LayerTime]:
        asked.append((record.key.label, plan, batch))
        return [LayerTime("conv + relu", 3.0), LayerTime("head", 1.0)]

    monkeypatch.setattr(engine_commands, "profile_layers", profile)
    run(site, "build", "tiny")
    capsys.readouterr()

    status = run(site, "bench", "tiny", "--layers")

    assert status == 0
    assert asked == [("tiny fp32", b"plan 1", 4)]
    assert capsys.readouterr().out == (
        "tiny fp32: 4.000 ms a batch of 4, layer by layer\n     3.000 ms  75.0%  conv + relu\n     1.000 ms  25.0%  head\n"
    )
    assert not (site / "cpu-choice.json").exists()


@pytest.mark.parametrize(
    ("has_device", "words"),
    [pytest.param(False, "no CUDA device 0", id="no device"), pytest.param(True, "run edged engines build tiny", id="no engine")],
)
def test_bench_of_layers_without_what_it_needs_says_what_is_missing(
    site: Path, here: StandIns, capsys: pytest.CaptureFixture[str], has_device: bool, words: str
) -> None:
    """A device to measure on, and an engine to measure."""
    here.device = ORIN if has_device else None

    assert run(site, "bench", "tiny", "--layers") == 78
    assert words in capsys.readouterr().err
