"""A tiny face encoder trained, exported, calibrated and evaluated by the commands that people use, on drawn patterns."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from edged.assembly import open_encoder  # noqa: E402
from edged.models.manifest import EncoderManifest, load_manifest  # noqa: E402
from edged.vision.alignment import TEMPLATES, align  # noqa: E402
from tools import calibrate, evaluate, export, train_encoder  # noqa: E402
from tools.nets.embedding import ExportedEmbedding, encoder_weights  # noqa: E402
from tools.training import load_checkpoint  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]
POINTS = TEMPLATES["mean96"].as_array()
PEOPLE, PICTURES = 24, 6

CONFIG = """
seed: 3
template: mean96
rows: 3
width: 0.25
mirrored: true
sets: [people]
labels_per_batch: 4
crops_per_label: 2
held_out: 0.1
schedule: {epochs: 2, warmup_steps: 2, learning_rate: 0.001, precision: float32}
triplet: {start_epoch: 2}
data:
  - {name: people, licence_mark: P, licence: ours, source: drawn by a test, use: training}
"""


def write_people(folder: Path) -> Path:
    """Pictures of 96 px of each person's own pattern, in other light each time, with points; a third of the people are val."""
    (folder / "images").mkdir(parents=True)
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    lines = ["file,identity,split,box_x,box_y,box_w,box_h," + ",".join(f"{name}_{axis}" for name in names for axis in "xy")]
    cells = ",".join(f"{value:.2f}" for value in POINTS.ravel())
    rng = np.random.default_rng(0)
    for person in range(PEOPLE):
        pattern = cv2.resize(rng.integers(40, 216, (5, 5, 3)).astype(np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
        for number in range(PICTURES):
            file = f"images/p{person}_{number}.png"
            cv2.imwrite(str(folder / file), np.clip(pattern * rng.uniform(0.8, 1.2) + rng.normal(0, 8, pattern.shape), 0, 255))
            lines.append(f"{file},p{person},{'val' if person % 3 == 0 else 'train'},10,10,76,80,{cells}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f"images/p{a}_{k}.png,images/p{a}_{k + 1}.png,1" for a in range(0, PEOPLE, 3) for k in range(3)]
    rows += [f"images/p{a}_{k}.png,images/p{(a + 3) % PEOPLE}_{k}.png,0" for a in range(0, PEOPLE, 3) for k in range(3)]
    (folder / "dev_pairs.csv").write_text("\n".join(["file1,file2,same", *rows]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a configuration and two epochs trained at once (`straight`)."""
    folder = tmp_path_factory.mktemp("encoder")
    write_people(folder / "data" / "people")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    assert train_encoder.main(_command(folder, "straight", "--evaluate-every", "2")) == 0
    return folder


@pytest.fixture(scope="module")
def engine(work: Path) -> Path:
    """The trained engine, calibrated."""
    assert export.main([str(work / "straight" / "last.pt"), "--out", str(work / "encoder")]) == 0
    assert calibrate.main([str(work / "encoder"), "--data", str(work / "data")]) == 0
    return work / "encoder"


def _command(work: Path, out: str, *options: str) -> list[str]:
    required = ["--config", str(work / "config.yaml"), "--data", str(work / "data"), "--out", str(work / out)]
    return [*required, "--threads", "1", "--workers", "0", *options]


def test_training_writes_both_losses_and_what_it_measured(work: Path) -> None:
    """Triplets come in with their epoch; errors are of the identities that were kept back."""
    first, second = (json.loads(line) for line in (work / "straight" / "epochs.jsonl").read_text().splitlines())

    assert first["angular"] == first["loss"] > 0
    assert second["triplet"] >= 0
    assert second["loss"] == pytest.approx(second["angular"] + second["triplet"])
    assert 0 <= second["val"]["held_out"]["equal_error"] <= 1


KILL = """
import os, signal, sys
from tools import train_encoder
from tools.training_journal import Journal

note_step = Journal.note_step

def note_and_die(journal, report):
    note_step(journal, report)
    if report.epoch == 2 and report.batch == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.note_step = note_and_die
train_encoder.main(sys.argv[1:])
"""


def test_training_killed_in_mid_epoch_resumes_to_the_weights_of_one_that_never_stopped(work: Path) -> None:
    """kill -9 costs the steps since the last checkpoint: equal weights, bit by bit."""
    command = _command(work, "killed", "--evaluate-every", "0", "--save-steps", "2")
    killed = subprocess.run([sys.executable, "-c", KILL, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_checkpoint(work / "killed" / "last.pt")["epoch"] == 1

    assert train_encoder.main([*command, "--resume"]) == 0

    straight, resumed = (load_checkpoint(work / name / "last.pt") for name in ("straight", "killed"))
    for part in ("network", "averaged"):
        for name, weights in straight[part].items():
            assert torch.equal(weights, resumed[part][name]), name


def test_exported_engine_answers_what_the_checkpoint_does(work: Path, engine: Path) -> None:
    """The daemon's encoder on ONNX Runtime and torch agree on every picture."""
    state = load_checkpoint(work / "straight" / "last.pt")
    network = ExportedEmbedding(train_encoder.EncoderSettings.model_validate(state["settings"]).network()).eval()
    network.load_state_dict(encoder_weights(state["averaged"]))
    pictures = [np.random.default_rng(seed).integers(0, 256, (96, 96, 3), np.uint8) for seed in range(4)]
    with torch.inference_mode():
        expected = network(torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())).numpy()

    with open_encoder(engine) as encoder:
        found = encoder.encode(pictures)

    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_calibrated_engine_tells_its_threshold_and_how_it_was_trained(engine: Path) -> None:
    """Threshold, units of both forms, metric and figures are in the manifest; the licence follows from the data."""
    manifest = load_manifest(engine, kind=EncoderManifest)

    assert manifest.licence == "Apache-2.0"
    assert manifest.template == "mean96"
    assert manifest.thresholds.false_match_rate == 0.001
    assert {unit.form for unit in manifest.pair_classifiers} == {"absolute", "chi_square"}
    assert manifest.verification.false_match_rate == 0.001
    assert manifest.measured["listed_pairs"]["same"] == 24
    assert manifest.trained["angular"]["kind"] == "cosine"


def test_evaluate_tells_every_metric_and_a_baseline_on_the_same_pairs(
    work: Path, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cosine and euclidean order pairs alike; what was drawn apart is told apart."""
    assert evaluate.main([str(engine), str(work / "data" / "people"), "--json", "--resamples", "20"]) == 0

    people = json.loads(capsys.readouterr().out)["sets"]["people"]
    methods = people["listed_pairs"]["methods"]
    assert set(methods) == {
        *("cosine", "euclidean", "chi_square", "logistic, absolute", "logistic, chi_square", "LBP histograms"),
    }
    assert methods["cosine"]["accuracy"] == methods["euclidean"]["accuracy"] > 0.8
    assert people["without_a_found_face"] == 0
    assert methods["cosine"]["accepted"]["0.01"] == "not shown by 24 pairs of two people"
    assert people["all_pairs"]["equal_error"] < 0.2


def test_evaluate_writes_a_page_with_the_worst_pairs(work: Path, engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table, a curve and pictures of both kinds of mistakes."""
    page = work / "page.html"

    assert evaluate.main([str(engine), str(work / "data"), "--html", str(page), "--pictures", "2", "--resamples", "0"]) == 0

    text = page.read_text(encoding="utf-8")
    assert "One person, least alike" in text
    assert text.count("data:image/jpeg") == 4
    assert "people: 48 pictures of 8 people" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--coco"], "--coco: is for engines of the task detector", id="another task's option"),
        pytest.param(["--resamples", "-1"], "must be 0 or more", id="negative"),
    ],
)
def test_evaluate_with_options_that_mean_nothing_exits_78(
    work: Path, engine: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is silently passed over."""
    assert evaluate.main([str(engine), str(work / "data"), *options]) == 78

    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(("template: mean96", "template: mean9"), "no such template; known: mean112, mean96", id="template"),
        pytest.param(("rows: 3", "rows: 4"), "rows", id="rows"),
        pytest.param(("rows: 3", "row: 3"), "unknown key", id="key"),
        pytest.param(("labels_per_batch: 4", "labels_per_batch: 40"), "labels_per_batch: fewer than 40", id="batch"),
        pytest.param(("sets: [people]", "sets: [nobody]"), "has no folder nobody", id="folder"),
        pytest.param(("template: mean96", "augmentation: {mosaic: 0.5}"), "mosaic and plain must be 0", id="mosaic"),
    ],
)
def test_training_with_settings_that_cannot_be_exits_78(
    work: Path, change: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mistake is told before an hour is spent."""
    wrong = work / "wrong.yaml"
    wrong.write_text(CONFIG.replace(*change), encoding="utf-8")
    command = ["--config", str(wrong), "--data", str(work / "data"), "--out", str(work / "wrong")]

    assert train_encoder.main([*command, "--threads", "1", "--workers", "0"]) == 78

    assert message in capsys.readouterr().err


def test_export_at_another_size_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The template decides the size of a face."""
    assert export.main([str(work / "straight" / "last.pt"), "--out", str(work / "other"), "--input", "64"]) == 78

    assert "the template mean96 makes faces of 96 pixels" in capsys.readouterr().err


def test_faces_are_cut_out_by_their_points(work: Path) -> None:
    """A picture that lies on the template is its own crop."""
    settings = train_encoder.load_settings(work / "config.yaml")

    crops = train_encoder.load_faces(work / "data", settings, TEMPLATES["mean96"], split="train")

    pixels = cv2.imread(str(work / "data" / "people" / crops.names[0]))[:, :, ::-1]
    expected = align(np.ascontiguousarray(pixels), POINTS, TEMPLATES["mean96"])
    np.testing.assert_allclose(crops.pixels[0].astype(int), expected, atol=1)  # points have two decimals in the file
    assert len(crops) == 16 * PICTURES
