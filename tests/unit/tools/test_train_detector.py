"""A tiny training, its checkpoint, its export and its evaluation, each by the commands that people use."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coco_folder import write_coco_folder
from models_onnx import make_manifest, save_engine

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from edged.errors import InputError  # noqa: E402
from edged.models.manifest import DataSource, load_manifest  # noqa: E402
from edged.vision.alignment import POINT_NAMES  # noqa: E402
from tools import calibrate, evaluate, export, train_detector  # noqa: E402
from tools.engines import write_manifest  # noqa: E402
from tools.export import licence_of, make_onnx  # noqa: E402
from tools.metrics import Matches  # noqa: E402
from tools.nets.yolo import ExportedYolo, Yolo, YoloSettings  # noqa: E402
from tools.processes import Processes  # noqa: E402
from tools.training import load_checkpoint  # noqa: E402
from tools.training_journal import Journal  # noqa: E402
from tools.weights import initialise, load_engine, read_sources  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]

CONFIG = """
seed: 3
input_px: 64
sizes_px: [64]
batch: 4
sets: {small: 1.0}
width: 0.25
neck: 16
anchors: [[[12, 12]], [[24, 24]], [[48, 48]]]
schedule: {epochs: 2, warmup_steps: 2, learning_rate: 0.01, precision: float32}
data:
  - {name: small, licence_mark: P, licence: ours, source: drawn by a test, use: training}
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a configuration and two epochs trained at once (`straight`)."""
    folder = tmp_path_factory.mktemp("training")
    write_coco_folder(folder / "data" / "small", pictures=24)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    assert _train(folder, "straight") == 0
    return folder


def _train(work: Path, out: str, *options: str, config: str = "config.yaml") -> int:
    required = ["--config", str(work / config), "--data", str(work / "data"), "--out", str(work / out)]
    return train_detector.main([*required, "--threads", "1", "--workers", "0", "--evaluate-every", "0", *options])


@pytest.fixture(scope="module")
def engine(work: Path) -> Path:
    """The engine that `tools.export` makes of the trained checkpoint."""
    assert export.main([str(work / "straight" / "last.pt"), "--out", str(work / "engine")]) == 0
    return work / "engine"


def test_training_writes_its_figures(work: Path) -> None:
    """Each epoch leaves a line of figures."""
    lines = [json.loads(line) for line in (work / "straight" / "epochs.jsonl").read_text().splitlines()]

    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(line["box"] > 0 and 0 < line["score"] < line["loss"] for line in lines)


def _command(work: Path, out: str, *options: str) -> list[str]:
    required = ["--config", str(work / "config.yaml"), "--data", str(work / "data"), "--out", str(work / out)]
    return [*required, "--threads", "1", "--evaluate-every", "0", *options]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, from the root of the checkout."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def _assert_equal_weights(work: Path, first: str, second: str) -> None:
    straight, other = (load_checkpoint(work / name / "last.pt") for name in (first, second))
    for part in ("network", "averaged"):
        for name, weights in straight[part].items():
            assert torch.equal(weights, other[part][name]), name


KILL = """
import os, signal, sys
from tools import train_detector
from tools.training_journal import Journal

note_step = Journal.note_step

def note_and_die(journal, report):
    note_step(journal, report)
    if report.step == 9:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.note_step = note_and_die
train_detector.main(sys.argv[1:])
"""

KILL_WHILE_WRITING = """
import os, pathlib, signal, sys
from tools import train_detector

replace = pathlib.Path.replace

def replace_once(path, target):
    if pathlib.Path(target).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)

pathlib.Path.replace = replace_once
train_detector.main(sys.argv[1:])
"""


def test_training_killed_in_mid_epoch_resumes_to_the_weights_of_one_that_never_stopped(work: Path) -> None:
    """kill -9 costs the steps since the last checkpoint; order, changes, optimiser, average go on: equal weights, bit by bit."""
    killed = _run("-c", KILL, *_command(work, "killed", "--workers", "1", "--save-steps", "2"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    state = load_checkpoint(work / "killed" / "last.pt")
    assert (state["epoch"], state["batch"]) == (1, 2)

    assert _train(work, "killed", "--resume") == 0

    _assert_equal_weights(work, "straight", "killed")
    assert _figures(work, "killed") == _figures(work, "straight")


def test_training_killed_while_it_writes_leaves_the_checkpoint_before(work: Path) -> None:
    """A half-written file never bears the checkpoint's name."""
    killed = _run("-c", KILL_WHILE_WRITING, *_command(work, "torn", "--workers", "0", "--save-steps", "2"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (work / "torn" / "last.pt.partial").exists()
    assert load_checkpoint(work / "torn" / "last.pt")["batch"] == 2

    assert _train(work, "torn", "--resume") == 0

    _assert_equal_weights(work, "straight", "torn")


def test_training_ended_while_it_measured_reports_the_epoch_after_all(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The epoch was saved, its line was not: resuming writes it, once."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_report", stop)
        with pytest.raises(KeyboardInterrupt):
            _train(work, "measured")

    assert _train(work, "measured", "--resume") == 0

    assert _figures(work, "measured") == _figures(work, "straight")
    _assert_equal_weights(work, "straight", "measured")


def _figures(work: Path, out: str) -> list[dict[str, float]]:
    """The lines of epochs.jsonl without the time."""
    lines = [json.loads(line) for line in (work / out / "epochs.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_training_in_two_processes_does_what_one_does(work: Path) -> None:
    """Each takes half of every batch; sums, quality and gradients are added up: equal within rounding, written once."""
    out = "two"
    command = _command(work, out, "--workers", "0", "--device", "cpu")

    ran = _run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tools.train_detector", *command)

    assert ran.returncode == 0, ran.stderr
    for one, both in zip(_figures(work, "straight"), _figures(work, out), strict=True):
        assert both == pytest.approx(one, rel=1e-3)
    straight, other = (load_checkpoint(work / name / "last.pt")["averaged"] for name in ("straight", out))
    for name, weights in straight.items():
        torch.testing.assert_close(other[name], weights, rtol=1e-3, atol=1e-3, msg=name)
    assert ran.stdout.count("epoch done") == 2


def test_training_of_fewer_pictures_than_a_batch_exits_78(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not one step would be made, and the checkpoint would be a network that learnt nothing."""
    (work / "large-batch.yaml").write_text(CONFIG.replace("batch: 4", "batch: 32"), encoding="utf-8")

    assert _train(work, "large-batch", config="large-batch.yaml") == 78

    assert "batch: an epoch shows fewer than 32 pictures" in capsys.readouterr().err


def test_training_with_a_batch_that_cannot_be_shared_is_refused(work: Path) -> None:
    """Unequal shares would need unequal weights."""
    settings = train_detector.load_settings(work / "config.yaml")

    with pytest.raises(InputError, match="4 pictures cannot be shared equally by 3"):
        train_detector.train(argparse.Namespace(), settings, Processes(count=3))


def test_training_with_tensorboard_missing_says_how_to_get_it(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks for curves without the package is told before an hour is spent."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    assert _train(work, "curves", "--tensorboard", str(work / "curves")) == 78

    assert "pip install tensorboard" in capsys.readouterr().err


def test_training_with_frozen_rows_leaves_them_as_they_were(work: Path) -> None:
    """Frozen rows keep their start to the last bit; the next row learns."""
    (work / "frozen.yaml").write_text(CONFIG + "frozen_rows: 2\n", encoding="utf-8")
    torch.manual_seed(3)
    start = Yolo(YoloSettings(train_detector.CLASSES, (((12, 12),), ((24, 24),), ((48, 48),)), width=0.25, neck=16)).state_dict()

    assert _train(work, "frozen", config="frozen.yaml") == 0

    end = load_checkpoint(work / "frozen" / "last.pt")["network"]
    assert torch.equal(end["backbone.rows.1.0.expand.weight"], start["backbone.rows.1.0.expand.weight"])
    assert not torch.equal(end["backbone.rows.2.0.expand.weight"], start["backbone.rows.2.0.expand.weight"])


OWN = """
classes: [car, person]
loss: {assignment: textbook, objectness: true, box: ciou, score: log}
teacher: {engine: ENGINE, weight: 0.5}
"""


@pytest.fixture(scope="module")
def own(work: Path, engine: Path) -> Path:
    """An engine of own classes in another order, with an objectness, taught by a teacher; from one epoch."""
    taught = CONFIG.replace("epochs: 2", "epochs: 1") + "  - {name: engine, licence_mark: R, licence: a, source: b, use: c}\n"
    (work / "own.yaml").write_text(taught + OWN.replace("ENGINE", str(engine)), encoding="utf-8")
    assert _train(work, "own", config="own.yaml") == 0
    assert export.main([str(work / "own" / "last.pt"), "--out", str(work / "own-engine")]) == 0
    return work / "own-engine"


def test_training_of_own_classes_makes_an_engine_that_names_them(work: Path, own: Path) -> None:
    """Network, manifest and pictures follow the configuration; the licence follows the teacher's; its place is not told."""
    manifest = load_manifest(own)

    assert manifest.classes == ("car", "person")
    assert manifest.licence == "research-only"
    assert manifest.trained["teacher"] == {"engine": "engine", "weight": 0.5, "box_weight": 2.0}
    assert str(work) not in (own / "model.yaml").read_text()
    assert str(work) not in json.dumps(load_checkpoint(work / "own" / "last.pt")["settings"])
    assert {"box", "objectness", "class", "teacher_score", "teacher_box"} <= _figures(work, "own")[0].keys()


def test_export_of_a_network_with_objectness_multiplies_it_into_the_scores(work: Path, own: Path) -> None:
    """The engine's form stays: boxes and scores, one a class."""
    checkpoint = load_checkpoint(work / "own" / "last.pt")
    network = Yolo(train_detector.TrainSettings.model_validate(checkpoint["settings"]).network())
    network.load_state_dict(checkpoint["averaged"])
    images = np.random.default_rng(5).integers(0, 256, (2, 3, 64, 64), np.uint8)
    session = onnxruntime.InferenceSession(str(own / "model.onnx"), providers=["CPUExecutionProvider"])

    boxes, scores = session.run(["boxes", "scores"], {"images": images})

    with torch.inference_mode():
        expected = network(torch.from_numpy(images))
    product = torch.sigmoid(expected.objectness)[..., None] * torch.sigmoid(expected.logits)
    assert scores.shape == (2, 8 * 8 + 4 * 4 + 2 * 2, 2)
    np.testing.assert_allclose(scores, product.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(boxes, expected.boxes.numpy(), rtol=1e-4, atol=1e-3)


def test_training_with_a_teacher_that_is_not_under_data_exits_78(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the teacher learnt from goes into the network too."""
    (work / "secret.yaml").write_text(CONFIG + "teacher: {engine: engines/large}\n", encoding="utf-8")

    assert _train(work, "secret", config="secret.yaml") == 78

    assert "large must also stand under data" in capsys.readouterr().err


GAPS = """
gaps: {engine: ENGINE, sure: {bicycle: 0.3}, doubtful: 0.1}
"""


@pytest.fixture(scope="module")
def filled(work: Path) -> list[str]:
    """Two epochs in which a network saw a bicycle beside every rectangle (run `filled`); the options that such a run takes."""
    scores = [[0.0, 0.0, 0.9], [0.0, 0.0, 0.0]]
    manifest = make_manifest(name="sees-bicycles", classes=["dog", "car", "bicycle"])
    save_engine(work / "sees-bicycles", manifest, boxes=[[44, 4, 50, 28], [0, 0, 1, 1]], scores=scores)
    labels = write_coco_folder(work / "both" / "small", pictures=28) / "annotations.json"
    labels.write_text(labels.read_text().replace('"train"', '"val"', 4), encoding="utf-8")
    source = "  - {name: sees-bicycles, licence_mark: R, licence: a, source: b, use: c}\n"
    text = CONFIG + source + "classes: [car, bicycle, person]\n" + GAPS.replace("ENGINE", str(work / "sees-bicycles"))
    (work / "filled.yaml").write_text(text, encoding="utf-8")
    options = ["--config", str(work / "filled.yaml"), "--data", str(work / "both")]
    assert _train(work, "filled", *options, "--evaluate-every", "1") == 0
    return options


def test_training_fills_gaps_of_the_train_split_only(work: Path, filled: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """A class that no file labels may come from the network alone; nothing is judged by what it says."""
    (work / "one.yaml").write_text((work / "filled.yaml").read_text().replace("epochs: 2", "epochs: 1"), encoding="utf-8")

    with caplog.at_level("INFO"):
        assert _train(work, "one", *filled, "--config", str(work / "one.yaml")) == 0

    assert "gaps filled: set=small class=bicycle labels=24 ignored=0 teacher=sees-bicycles" in caplog.text
    assert [set(line["val"]["small"]) for line in _figures(work, "filled")] == [{"car", "person"}] * 2


def test_a_set_without_val_is_trained_on_and_not_measured(work: Path, filled: list[str]) -> None:
    """As the frames of one's own clips, which only a network has labelled."""
    write_coco_folder(work / "both" / "frames", pictures=2)
    settings = train_detector.TrainSettings.model_validate(
        {"sets": {"small": 1.0, "frames": 1.0}, "anchors": [[[12, 12]]], "classes": ["person", "car"]}
    )

    training, validation = (train_detector._load_sets(work / "both", settings, split=split) for split in ("train", "val"))

    assert [len(one.pictures) for one in training] == [24, 2]
    assert [(one.name, len(one.pictures)) for one in validation] == [("small", 4)]


def test_training_with_gaps_resumes_to_the_weights_of_one_that_never_stopped(work: Path, filled: list[str]) -> None:
    """The same network finds the same again."""
    killed = _run("-c", KILL, *_command(work, "killed-filled", "--workers", "1", "--save-steps", "2", *filled))
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    assert _train(work, "killed-filled", "--resume", *filled) == 0

    _assert_equal_weights(work, "filled", "killed-filled")


def test_export_of_a_training_with_gaps_tells_who_filled_them(work: Path, filled: list[str]) -> None:
    """Its name and scores, not where it lies; the licence follows it."""
    assert export.main([str(work / "filled" / "last.pt"), "--out", str(work / "filled-engine")]) == 0

    manifest = load_manifest(work / "filled-engine")
    assert manifest.licence == "research-only"
    assert manifest.trained["gaps"]["engine"] == "sees-bicycles"
    assert manifest.trained["gaps"]["sure"] == {"bicycle": 0.3}
    assert str(work) not in (work / "filled-engine" / "model.yaml").read_text()


@pytest.mark.parametrize(
    ("gaps", "messages"),
    [
        pytest.param(
            "{engine: engines/large, sure: 0.5, doubtful: 0.1}", ["gaps: large must also stand under data"], id="no licence"
        ),
        pytest.param(
            "{engine: none/small, sure: 0.5, doubtful: 0.1}",
            ["gaps: engine: none/small cannot be used: name a directory", "tools.import_darknet"],
            id="no directory",
        ),
        pytest.param(
            "{engine: small, sure: {dog: 0.5}, doubtful: {dog: 0.1}}",
            ["wrong-gaps.yaml", "gaps: sure: dog: expected classes of this training: person, bicycle"],
            id="no class of the training",
        ),
        pytest.param(
            "{engine: ENGINE/small, sure: {bus: 0.5, car: 0.5}, doubtful: 0.1}",
            ["gaps: sure: bus: expected classes that are ours and the teacher's, tiny: person, car"],
            id="no class of the engine",
        ),
        pytest.param(
            "{engine: small, sure: 0.5, doubtful: 0.1, also_ignore_unlabelled: [smal]}",
            ["wrong-gaps.yaml", "gaps: also_ignore_unlabelled: smal: expected names under sets: small"],
            id="no set",
        ),
        pytest.param(
            "{engine: small, sure: 0.1, doubtful: 0.5}",
            ["wrong-gaps.yaml", "gaps: person: expected 0 < doubtful <= sure <= 1", "got doubtful 0.5, sure 0.1"],
            id="scores the wrong way round",
        ),
        pytest.param("{engine: small, sure: 0.5}", ["wrong-gaps.yaml", "gaps.doubtful"], id="a key too few"),
    ],
)
def test_training_with_wrong_gaps_exits_78_naming_the_key(
    work: Path, capsys: pytest.CaptureFixture[str], gaps: str, messages: list[str]
) -> None:
    """Each message says where the mistake is and what was expected."""
    save_engine(work / "people" / "small", make_manifest(), boxes=np.zeros((2, 4)), scores=np.zeros((2, 2)))
    text = CONFIG + f"gaps: {gaps}\n".replace("ENGINE", str(work / "people"))
    (work / "wrong-gaps.yaml").write_text(text, encoding="utf-8")

    assert _train(work, "wrong", config="wrong-gaps.yaml") == 78

    error = capsys.readouterr().err
    assert all(message in error for message in messages), error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(("batch: 4", "btach: 4"), "line 5: btach: unknown key; did you mean 'batch'?", id="key"),
        pytest.param(("warmup_steps", "warm_up"), "schedule.warm_up: unknown key; did you mean 'warmup_steps'?", id="inner key"),
        pytest.param(("batch: 4", "batch: 0"), "line 5: batch: Input should be greater than or equal to 1, got '0'", id="value"),
        pytest.param(("batch: 4", "seed: 4"), "line 5: seed: ", id="key twice"),
        pytest.param(("sets: {small: 1.0}", ""), "sets: is missing: add it", id="missing"),
    ],
)
def test_training_with_a_wrong_configuration_exits_78_naming_line_and_key(
    work: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], message: str
) -> None:
    """A mistyped key must not pass as one left out."""
    (work / "wrong.yaml").write_text(CONFIG.replace(*change), encoding="utf-8")

    assert _train(work, "wrong", config="wrong.yaml") == 78

    assert message in capsys.readouterr().err


def test_training_on_the_set_itself_says_that_data_is_the_folder_around(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other commands take a set as well."""
    assert _train(work, "inside", "--data", str(work / "data" / "small")) == 78

    error = capsys.readouterr().err
    assert "has no folder small, which the configuration names under sets" in error
    assert "this one has images" in error


def test_training_into_the_folder_of_an_earlier_run_exits_78(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--resume` its checkpoint would be lost."""
    before = (work / "straight" / "last.pt").read_bytes()

    assert _train(work, "straight") == 78

    assert "holds an earlier run: go on with --resume, or name another folder" in capsys.readouterr().err
    assert (work / "straight" / "last.pt").read_bytes() == before


def test_training_from_a_directory_says_which_files_it_takes(
    work: Path, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine's own directory is what other commands take."""
    assert _train(work, "directory", "--init", str(engine)) == 78

    assert f"{engine}: a directory; expected a file in it, such as last.pt or an engine's model.onnx" in capsys.readouterr().err


@pytest.mark.parametrize(("older", "precision"), [("true", "bfloat16"), ("false", "float32"), ("null", "auto")])
def test_settings_of_before_precision_are_still_read(work: Path, older: str, precision: str) -> None:
    """Checkpoints hold their settings, so older ones must stay readable."""
    (work / "older.yaml").write_text(CONFIG.replace("precision: float32", f"bfloat16: {older}"), encoding="utf-8")

    assert train_detector.load_settings(work / "older.yaml").schedule.precision == precision


def test_training_of_a_class_that_no_picture_shows_exits_78_naming_the_nearest(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A class that was asked for by name and is nowhere is a slip of the pen, not a class to learn."""
    (work / "slip.yaml").write_text(CONFIG + "classes: [person, carr]\n", encoding="utf-8")

    assert _train(work, "slip", config="slip.yaml") == 78

    message = capsys.readouterr().err
    assert "'carr' is never seen" in message
    assert "did you mean 'car'" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param("epoch: 3\n", "epoch", id="unknown key"),
        pytest.param("drawn: -1\n", "drawn", id="out of bounds"),
        pytest.param("loss: {box: gioo}\n", "loss.box", id="unknown choice"),
        pytest.param("loss: {boxes: giou}\n", "boxes", id="unknown key of a part"),
    ],
)
def test_training_with_a_wrong_configuration_exits_78_naming_the_key(
    work: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    """Nothing starts on a configuration with a mistake."""
    (work / "wrong.yaml").write_text(CONFIG + change, encoding="utf-8")

    assert _train(work, "wrong", config="wrong.yaml") == 78

    assert message in capsys.readouterr().err


def test_export_equals_torch_on_one_and_on_three_pictures(work: Path, engine: Path) -> None:
    """Parity: the ONNX file gives torch's boxes and scores, at any number of pictures."""
    checkpoint = load_checkpoint(work / "straight" / "last.pt")
    settings = train_detector.TrainSettings.model_validate(checkpoint["settings"])
    network = Yolo(settings.network())
    network.load_state_dict(checkpoint["averaged"])
    session = onnxruntime.InferenceSession(str(engine / "model.onnx"), providers=["CPUExecutionProvider"])
    pictures = np.random.default_rng(5).integers(0, 256, (3, 3, 64, 64), np.uint8)

    for images in (pictures, pictures[:1]):
        boxes, scores = session.run(["boxes", "scores"], {"images": images})
        with torch.inference_mode():
            expected = network(torch.from_numpy(images))

        np.testing.assert_allclose(boxes, expected.boxes.numpy(), rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(scores, torch.sigmoid(expected.logits).numpy(), rtol=1e-4, atol=1e-5)


def test_export_writes_padding_into_the_convolutions(engine: Path) -> None:
    """TF 'SAME' at stride 2 is the Conv's own asymmetric `pads`; no Pad node is left."""
    nodes = onnx.load(str(engine / "model.onnx")).graph.node

    attributes = [{a.name: list(a.ints) for a in node.attribute} for node in nodes if node.op_type == "Conv"]
    strided = [(a["kernel_shape"][0], a["pads"]) for a in attributes if a["strides"] == [2, 2]]
    assert strided.count((3, [0, 0, 1, 1])) == 5  # MobileNetV2's five halvings
    assert strided.count((5, [1, 1, 2, 2])) == 2  # the neck's two
    assert len(strided) == 7
    assert not [node for node in nodes if node.op_type == "Pad"]


def test_export_twice_gives_equal_bytes(work: Path, engine: Path) -> None:
    """The same checkpoint makes the same engine, so its digest says where it came from."""
    export.main([str(work / "straight" / "last.pt"), "--out", str(work / "again" / "engine")])

    for name in ("model.onnx", "model.yaml"):
        assert (work / "again" / "engine" / name).read_bytes() == (engine / name).read_bytes()


def test_export_manifest_is_what_the_daemon_reads(engine: Path) -> None:
    """The manifest loads, its digest fits, and it says what went in."""
    manifest = load_manifest(engine)

    assert manifest.classes == train_detector.CLASSES
    assert manifest.anchors == (((12, 12),), ((24, 24),), ((48, 48),))
    assert manifest.onnx.opset <= 17
    assert manifest.licence == "Apache-2.0"
    assert manifest.trained["epochs"] == 2


@pytest.mark.parametrize(
    ("marks", "licence"),
    [("PP", "Apache-2.0"), ("PD", "evaluation-only"), ("DRP", "research-only"), ("", "unknown")],
)
def test_licence_of_data_follows_the_worst_mark(marks: str, licence: str) -> None:
    """One research set makes the whole network research-only."""
    data = tuple(DataSource(name="a", licence_mark=mark, licence="b", source="c", use="d") for mark in marks)

    assert licence_of(data).startswith(licence)


def test_initialise_from_an_engine_gives_the_exported_network(work: Path, engine: Path) -> None:
    """`--init model.onnx` finds every weight by its name: the started network answers as the engine does."""
    settings = train_detector.load_settings(work / "config.yaml").network()
    network = Yolo(settings)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    initialise(network, engine / "model.onnx")

    session = onnxruntime.InferenceSession(str(engine / "model.onnx"), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        np.testing.assert_allclose(network(images).boxes, session.run(["boxes"], {"images": images.numpy()})[0], atol=1e-2)


@pytest.fixture
def doubtful(engine: Path, tmp_path: Path) -> Path:
    """The engine, trained on doubtful pictures as well."""
    shutil.copytree(engine, tmp_path / "doubtful")
    manifest = load_manifest(tmp_path / "doubtful")
    source = DataSource(name="street", licence_mark="D", licence="declared", source="the net", use="training")
    write_manifest(tmp_path / "doubtful", manifest.model_copy(update={"data": (*manifest.data, source)}))
    return tmp_path / "doubtful"


def test_training_from_an_engine_takes_over_what_it_learnt_from_and_its_licence(
    work: Path, doubtful: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody must list it; it is still there when the run goes on without `--init`, and in a network that starts from that."""
    short = work / "doubtful-short.yaml"
    short.write_text(CONFIG.replace("epochs: 2", "epochs: 1"), encoding="utf-8")
    with caplog.at_level("INFO"):
        assert _train(work, "doubtful", "--init", str(doubtful / "model.onnx"), config=short.name) == 0
    assert _train(work, "doubtful", "--resume") == 0
    assert _train(work, "further", "--init", str(work / "doubtful" / "last.pt"), config=short.name) == 0

    for run in ("doubtful", "further"):
        assert export.main([str(work / run / "last.pt"), "--out", str(work / f"{run}-engine")]) == 0
        manifest = load_manifest(work / f"{run}-engine")
        assert [source.name for source in manifest.data] == ["small", "street"]
        assert manifest.licence == "evaluation-only"
    assert "data of the first weights goes on: street" in caplog.text


@pytest.mark.parametrize("name", ["model.onnx", "imagenet.npz", "NET.cfg"])
def test_read_sources_of_a_file_that_tells_none_are_none(engine: Path, tmp_path: Path, name: str) -> None:
    """A network without its manifest, and foreign weights: the configuration must name their data."""
    shutil.copy(engine / "model.onnx", tmp_path / name)

    assert read_sources(tmp_path / name) == ()


@pytest.mark.parametrize("name", ["model.onnx", "last.pt"])
def test_training_from_first_weights_whose_sources_cannot_be_read_exits_78(
    work: Path, doubtful: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """An engine that its manifest does not describe, and a file that is no checkpoint, are named."""
    (doubtful / name).write_bytes(b"something else")

    assert _train(work, "strange", "--init", str(doubtful / name)) == 78

    assert f"{doubtful / name}: " in capsys.readouterr().err


@pytest.mark.parametrize("source", ["engine/model.onnx", "straight/last.pt"])
def test_initialise_of_a_narrower_network_takes_the_strongest_channels(
    work: Path, engine: Path, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    """Nothing starts at random, and it is said what was dropped."""
    settings = train_detector.load_settings(work / "config.yaml").network()
    network = Yolo(replace(settings, neck=8))

    with caplog.at_level("INFO"):
        missing = initialise(network, work / source)

    assert missing == []
    assert "neck 16 to 8" in caplog.text


def test_load_engine_answers_as_the_engine_does(engine: Path) -> None:
    """A teacher is the engine, in torch."""
    network = load_engine(engine)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    session = onnxruntime.InferenceSession(str(engine / "model.onnx"), providers=["CPUExecutionProvider"])
    scores = session.run(["scores"], {"images": images.numpy()})[0]
    with torch.inference_mode():
        np.testing.assert_allclose(network(images).scores(), scores, atol=1e-4)


def test_initialise_with_other_classes_keeps_everything_but_their_rows(engine: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever trains other classes starts from all that fits, and is told what does not."""
    network = Yolo(YoloSettings(classes=("cat",), anchors=(((12, 12),), ((24, 24),), ((48, 48),)), width=0.25, neck=16))

    initialise(network, engine / "model.onnx")

    stem = next(t for t in onnx.load(str(engine / "model.onnx")).graph.initializer if t.name == "backbone.stem.weight")
    folded = (network.backbone.stem.weight * network.backbone.stem.scale).detach().numpy()
    np.testing.assert_allclose(folded, numpy_helper.to_array(stem), rtol=1e-4, atol=1e-7)
    assert "knows no cat: their rows in the heads start at random" in caplog.text


def test_initialise_from_a_strange_onnx_is_refused(tmp_path: Path) -> None:
    """A file of another network would start everything at random: that is no start."""
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "other.onnx"))
    network = Yolo(YoloSettings(classes=("cat",), anchors=(((12, 12),), ((24, 24),), ((48, 48),)), width=0.25, neck=16))

    with pytest.raises(InputError, match="none of its tensors fits"):
        initialise(network, tmp_path / "other.onnx")


def test_evaluate_prints_every_labelled_class_as_json(work: Path, engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report names set, class, number, figures and time; it needs engine and data only."""
    data = write_coco_folder(work / "judge", pictures=4, split="val", labelled=(3,))

    assert evaluate.main([str(engine), str(data), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)["sets"]["judge"]
    assert report["pictures"] == 4
    assert report["ms_per_picture"] > 0
    assert list(report["classes"]) == ["car"]
    assert report["classes"]["car"]["n"] == 2


def test_evaluate_without_a_set_exits_78(engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder is named, with what was expected in it."""
    assert evaluate.main([str(engine), str(tmp_path)]) == 78

    assert "annotations.json" in capsys.readouterr().err


def test_calibrate_writes_thresholds_and_figures_into_the_manifest(work: Path, engine: Path) -> None:
    """After it the manifest holds figures with n, and says `not measured` where there are too few objects."""
    write_coco_folder(work / "val" / "many", pictures=44, split="val")

    assert calibrate.main([str(engine), "--data", str(work / "val"), "--drawn", "0"]) == 0

    manifest = load_manifest(engine)
    assert manifest.measured["ap50"]["car"]["n"] == 22
    assert manifest.measured["ap50"]["bicycle"] == "not measured"
    assert set(manifest.thresholds.per_class) == {"person", "car"}


@pytest.mark.parametrize(
    ("scores", "hits", "n", "expected"),
    [
        pytest.param([0.9, 0.8, 0.3], [1, 1, 0], 2, 0.8, id="before the invented one"),
        pytest.param([0.9, 0.8, 0.3, 0.2], [1, 0, 1, 1], 3, 0.2, id="worth one invented"),
        pytest.param([0.04, 0.03], [1, 1], 2, 0.05, id="never below the floor"),
    ],
)
def test_best_threshold_balances_recall_and_precision(scores: list[float], hits: list[int], n: int, expected: float) -> None:
    """The score of the highest F1."""
    assert calibrate.best_threshold(Matches(np.array(scores, np.float32), np.array(hits, bool), n)) == pytest.approx(expected)


def test_export_for_another_size_answers_at_its_places(work: Path) -> None:
    """The weights are the same; the manifest says both sizes."""
    assert export.main([str(work / "straight" / "last.pt"), "--out", str(work / "larger"), "--input", "128x96"]) == 0

    manifest = load_manifest(work / "larger")
    assert (manifest.input.width, manifest.input.height, manifest.trained["input_px"]) == (128, 96, 64)
    session = onnxruntime.InferenceSession(str(work / "larger" / "model.onnx"), providers=["CPUExecutionProvider"])
    boxes, _ = session.run(None, {"images": np.zeros((1, 3, 96, 128), np.uint8)})
    assert boxes.shape == (1, 12 * 16 + 6 * 8 + 3 * 4, 4)


def test_export_for_a_size_that_no_input_can_have_exits_78(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the option and what fits."""
    assert export.main([str(work / "straight" / "last.pt"), "--out", str(work / "odd"), "--input", "100"]) == 78

    assert "--input 100: expected multiples of 32, e.g. 320 or 416x256" in capsys.readouterr().err


@pytest.mark.parametrize("design", ["pan", "spp"])
def test_make_onnx_computes_what_torch_does_with_weights_of_the_same_names(design: str) -> None:
    """Names are the contract of `--init`."""
    torch.manual_seed(3)
    anchors = (((12, 12),), ((24, 24),), ((48, 48),))
    settings = YoloSettings(("cat", "dog"), anchors, design=design, width=0.25, neck=24, points=("eye", "nose", "tail"))
    network = ExportedYolo(settings, width=96, height=64)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        for _, head in network.points:
            head.weight.normal_()
        boxes, scores, points = network(images)

    content = make_onnx(network)

    names = {tensor.name for tensor in onnx.load_from_string(content).graph.initializer}
    assert {name for name, _ in network.named_parameters()} <= names
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(["boxes", "scores", "points"], {"images": images.numpy()})
    np.testing.assert_allclose(found[0], boxes.numpy(), atol=0.01)
    np.testing.assert_allclose(found[1], scores.numpy(), atol=1e-5)
    np.testing.assert_allclose(found[2], points.numpy(), atol=0.01)
    assert [output.shape for output in session.get_outputs()] == [["n", 126, 4], ["n", 126, 2], ["n", 126, 3, 2]]


@pytest.mark.parametrize(
    ("name", "classes", "points"),
    [
        ("detector", train_detector.CLASSES, ()),
        ("transfer", train_detector.CLASSES, ()),
        ("face_detector", ("face",), POINT_NAMES),
    ],
)
def test_shipped_configuration_builds_a_network(name: str, classes: tuple[str, ...], points: tuple[str, ...]) -> None:
    """Every detector's training configuration that ships can be read, and describes a network."""
    settings = train_detector.load_settings(ROOT / "configs" / "train" / f"{name}.yaml")

    network = Yolo(settings.network()).settings
    assert (network.classes, network.points) == (classes, points)
