"""A tiny training of a network with points: from labels of three kinds to an engine that the daemon's detector runs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from labelled_folders import write_table
from models_onnx import make_manifest, save_engine

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from edged.assembly import open_detector  # noqa: E402
from edged.models.manifest import load_manifest  # noqa: E402
from tools import evaluate, export, train_detector  # noqa: E402
from tools.training import load_checkpoint  # noqa: E402
from tools.weights import initialise, load_engine  # noqa: E402

pytestmark = pytest.mark.torch

CONFIG = """
seed: 3
input_px: 64
sizes_px: [64]
batch: 4
classes: [face]
points: [left_eye, right_eye]
sets: {faces: 1.0, people: 1.0}
width: 0.25
neck: 16
anchors: [[[12, 12]], [[24, 24]], [[48, 48]]]
schedule: {epochs: 6, warmup_steps: 2, learning_rate: 0.01, precision: float32}
augmentation: {mosaic: 0.25, mirror_pairs: [[0, 1]], scale: [0.8, 1.2]}
loss: {points: l1, points_weight: 2.0}
gaps: {engine: ENGINE, sure: {face: 0.3}, doubtful: 0.1}
data:
  - {name: sees-faces, licence_mark: P, licence: ours, source: drawn by a test, use: labels}
"""


def _write_faces(folder: Path, *, splits: str) -> None:
    """Pictures of 64x64 with a bright square, its left eye red, its right eye blue; one a letter: t train, v val."""
    rng = np.random.default_rng(len(splits))
    rows = ["file,split,x,y,w,h,left_eye_x,left_eye_y,right_eye_x,right_eye_y"]
    pixels = {}
    for number, letter in enumerate(splits):
        x, y = (int(place) for place in rng.integers(2, 38, 2))
        picture = np.full((64, 64, 3), 60, np.uint8)
        picture[y : y + 24, x : x + 24] = 220
        picture[y + 6 : y + 10, x + 4 : x + 8] = (0, 0, 200)
        picture[y + 6 : y + 10, x + 16 : x + 20] = (200, 0, 0)
        pixels[f"{number}.png"] = picture
        split = "train" if letter == "t" else "val"
        rows.append(f"{number}.png,{split},{x},{y},24,24,{x + 6},{y + 8},{x + 18},{y + 8}")
    write_table(folder, "\n".join(rows) + "\n", pictures=[])
    for name, picture in pixels.items():
        cv2.imwrite(str(folder / name), picture)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on faces with points and on pictures of people in which a network without points finds the faces."""
    folder = tmp_path_factory.mktemp("points")
    _write_faces(folder / "data" / "faces", splits="t" * 16 + "v" * 12)
    people = "".join(f"{name}.png,{name}\n" for name in "abcd")
    write_table(folder / "data" / "people", f"file,identity\n{people}", pictures=[f"{name}.png" for name in "abcd"])
    manifest = make_manifest(name="sees-faces", classes=["face", "dog"])
    save_engine(folder / "sees-faces", manifest, boxes=[[10, 4, 40, 28], [0, 0, 1, 1]], scores=[[0.9, 0], [0, 0]])
    (folder / "config.yaml").write_text(CONFIG.replace("ENGINE", str(folder / "sees-faces")), encoding="utf-8")
    options = ["--data", str(folder / "data"), "--out", str(folder / "run"), "--evaluate-every", "6"]
    required = ["--config", str(folder / "config.yaml"), "--threads", "1", "--workers", "0"]
    assert train_detector.main([*required, *options]) == 0
    assert export.main([str(folder / "run" / "last.pt"), "--out", str(folder / "engine")]) == 0
    return folder


def test_training_with_points_learns_them_and_measures_them(work: Path) -> None:
    """Their loss falls; the val split of the set that has them is measured, the set of people has nothing to measure."""
    epochs = [json.loads(line) for line in (work / "run" / "epochs.jsonl").read_text(encoding="utf-8").splitlines()]

    assert epochs[-1]["points"] < 0.85 * epochs[0]["points"]
    assert epochs[-1]["val"].keys() == {"faces"}
    assert "face" in epochs[-1]["val"]["faces"]


def test_export_of_a_network_with_points_names_them_and_answers_as_torch_does(work: Path) -> None:
    """The daemon's detector reads the manifest and gives each face its points, in pixels of the picture."""
    manifest = load_manifest(work / "engine")
    assert (manifest.points, manifest.outputs.points) == (("left_eye", "right_eye"), "points")
    state = load_checkpoint(work / "run" / "last.pt")
    network = train_detector.Yolo(train_detector.TrainSettings.model_validate(state["settings"]).network())
    network.load_state_dict(state["averaged"])
    pixels = cv2.imread(str(work / "data" / "faces" / "20.png"))[..., ::-1].copy()

    with open_detector(work / "engine", threads=1) as detector:
        prepared = detector.prepare([pixels])
        outputs = detector.infer(prepared)

    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])
    np.testing.assert_allclose(outputs["points"], expected.points.numpy(), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(outputs["boxes"], expected.boxes.numpy(), rtol=1e-4, atol=1e-2)


def test_engine_with_points_gives_its_weights_to_another_training(work: Path) -> None:
    """All of it; a network of other points starts those at random and says so."""
    assert load_engine(work / "engine").settings.points == ("left_eye", "right_eye")
    settings = train_detector.load_settings(work / "config.yaml").model_copy(update={"points": ("nose",)})

    missing = initialise(train_detector.Yolo(settings.network()), work / "engine" / "model.onnx")

    assert missing == ["points.0.1", "points.1.1", "points.2.1"]


def test_evaluate_of_a_network_with_points_reads_the_set_as_it_was_trained(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The set names no class and has points; both are found by the engine's own names."""
    assert evaluate.main([str(work / "engine"), str(work / "data" / "faces"), "--json", "--resamples", "20"]) == 0

    face = json.loads(capsys.readouterr().out)["sets"]["faces"]["classes"]["face"]
    assert face["n"] == 12
    assert face["points"]["all"]["n"] == 12


def test_training_of_points_in_mirrors_without_their_pairs_exits_78(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A left eye would be taught as the right one."""
    text = (work / "config.yaml").read_text(encoding="utf-8").replace("mirror_pairs: [[0, 1]], ", "")
    (work / "unpaired.yaml").write_text(text, encoding="utf-8")
    options = ["--config", str(work / "unpaired.yaml"), "--data", str(work / "data"), "--out", str(work / "unpaired")]

    assert train_detector.main([*options, "--threads", "1", "--workers", "0", "--evaluate-every", "0"]) == 78

    assert "mirror_pairs: expected which of the 2 points change places" in capsys.readouterr().err
