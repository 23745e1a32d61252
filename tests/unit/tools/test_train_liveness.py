"""A tiny training of a liveness network, its export, its threshold and its figures, each by the commands that people use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from presentations import write_presentations

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from edged.assembly import open_liveness  # noqa: E402
from edged.errors import InputError  # noqa: E402
from edged.models.manifest import LivenessManifest, load_manifest  # noqa: E402
from edged.vision.crops import cut_square  # noqa: E402
from tools import calibrate, evaluate, export, train_liveness  # noqa: E402
from tools.liveness_data import load_presentations  # noqa: E402
from tools.nets.classifier import Classifier  # noqa: E402
from tools.train_liveness import LivenessSettings, cut_faces, load_settings, load_training, make_plan  # noqa: E402
from tools.training import ScheduleSettings, load_checkpoint  # noqa: E402
from tools.training_run import run_epochs  # noqa: E402

pytestmark = pytest.mark.torch

CONFIG = """
seed: 3
input_px: 32
margin: 0.5
batch: 8
sets: [faces]
recordings: person
kinds: {spoof: replay}
kept_back: 0.25
design: pan
width: 0.25
rows: 2
dropout: 0
schedule: {epochs: 10, warmup_steps: 2, learning_rate: 0.02, average_decay: 0.8, precision: float32}
augmentation: {mosaic: 0, plain: 1}
data:
  - {name: faces, licence_mark: R, licence: ours, source: drawn by a test, use: training}
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with faces, a configuration and a finished training (`straight`)."""
    folder = tmp_path_factory.mktemp("liveness")
    write_presentations(folder / "data" / "faces", pictures=12)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    assert run(folder, "straight", "--evaluate-every", "10") == 0
    return folder


@pytest.fixture(scope="module")
def engine(work: Path) -> Path:
    """The engine of the trained checkpoint, its threshold chosen."""
    assert export.main([str(work / "straight" / "last.pt"), "--out", str(work / "alive")]) == 0
    assert calibrate.main([str(work / "alive"), "--data", str(work / "data")]) == 0
    return work / "alive"


def run(work: Path, out: str, *options: str, config: str = "config.yaml") -> int:
    """The command."""
    required = ["--config", str(work / config), "--data", str(work / "data"), "--out", str(work / out)]
    return train_liveness.main([*required, "--threads", "1", "--workers", "0", *options])


def settings(**changes: object) -> LivenessSettings:
    """The least that a configuration must say, and changes."""
    return LivenessSettings.model_validate({"sets": ["faces"], "recordings": "person", "batch": 8, **changes})


def test_training_learns_what_is_easy_and_measures_it_on_a_person_never_seen(work: Path) -> None:
    """A grid over every attack: nothing else differs. Three sets of figures, each by kind."""
    lines = [json.loads(line) for line in (work / "straight" / "epochs.jsonl").read_text().splitlines()]

    assert [line["epoch"] for line in lines] == list(range(1, 11))
    assert lines[-1]["val"]["val"]["auc"] > 0.9
    assert set(lines[-1]["val"]) == {"kept_back", "val"}
    assert set(lines[-1]["val"]["val"]) == {"apcer_replay", "bpcer", "eer", "auc"}


def test_training_resumed_ends_with_the_weights_of_one_that_never_stopped(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after half of its epochs it goes on with the same order, changes and averages."""

    def run_half(*arguments: object, schedule: ScheduleSettings) -> None:
        run_epochs(*arguments, schedule=replace(schedule, epochs=5))

    with monkeypatch.context() as stopped:
        stopped.setattr(train_liveness, "run_epochs", run_half)
        assert run(work, "resumed", "--evaluate-every", "0") == 0
    assert load_checkpoint(work / "resumed" / "last.pt")["epoch"] == 5

    assert run(work, "resumed", "--evaluate-every", "0", "--resume") == 0

    straight, resumed = (load_checkpoint(work / name / "last.pt")["averaged"] for name in ("straight", "resumed"))
    assert all(torch.equal(weights, resumed[name]) for name, weights in straight.items())


def test_export_computes_what_was_trained(work: Path, engine: Path) -> None:
    """The daemon's network, with the daemon's crop, answers as torch does."""
    state = load_checkpoint(work / "straight" / "last.pt")
    network = Classifier(LivenessSettings.model_validate(state["settings"]).network()).eval()
    network.load_state_dict(state["averaged"])
    faces = [one.face() for one in load_presentations(work / "data" / "faces", split="val")[::5]]
    crops = np.stack([cut_square(pixels, box, margin=0.5, side_px=32) for pixels, box in faces])
    with torch.no_grad():
        expected = torch.softmax(network(torch.from_numpy(crops.transpose(0, 3, 1, 2).copy())), dim=1)[:, 0].numpy()

    with open_liveness(engine) as opened:
        scores = [float(opened.score(pixels, box[None])[0]) for pixels, box in faces]

    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_calibrate_writes_threshold_and_figures_into_the_manifest(engine: Path) -> None:
    """The threshold is from what was kept back; every kind that was not tried is named."""
    manifest = load_manifest(engine, kind=LivenessManifest)

    assert 0 < manifest.thresholds.live < 1
    assert (manifest.margin, manifest.classes, manifest.licence) == (0.5, ("live", "spoof"), "research-only")
    val = manifest.measured["val"]
    assert (val["apcer"]["replay"]["n"], val["bpcer"]["n"]) == (12, 12)
    assert val["apcer"]["print"] == "not measured"
    assert manifest.measured["kept_back"]["bpcer"]["n"] == 6  # a quarter of 12, of each of two people


def test_evaluate_prints_the_same_figures(engine: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The set that was trained on is known: its attacks are replays."""
    assert evaluate.main([str(engine), str(work / "data" / "faces"), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)["sets"]["faces"]
    measured = load_manifest(engine, kind=LivenessManifest).measured["val"]
    assert found["apcer"] == measured["apcer"]
    assert found["bpcer"] == measured["bpcer"]


def test_evaluate_of_another_set_knows_no_kind(engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A `spoof` of somebody else may be anything."""
    assert evaluate.main([str(engine), str(write_presentations(tmp_path / "other", pictures=2))]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("other: APCER spoof") for line in lines)
    assert "other: not measured: print, replay, cut_out, mask, mask_3d, make_up" in lines


def test_evaluate_against_another_engine_shows_both(engine: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same engine beside itself differs nowhere."""
    data = str(work / "data" / "faces")
    assert evaluate.main([str(engine), data, "--against", str(engine), "--json", "--live"]) == 0

    found = json.loads(capsys.readouterr().out)["sets"]["faces"]
    assert found["against"]["bpcer"] == found["bpcer"]
    assert found["bpcer"]["n"] == 24  # all of them are taken for live
    assert set(found["apcer"].values()) == {"not measured"}


def test_make_plan_shows_each_class_and_each_recording_within_it_equally_often(tmp_path: Path) -> None:
    """However many pictures of whom there are."""
    folder = write_presentations(tmp_path / "faces", pictures=12)
    table = (folder / "labels.csv").read_text().splitlines()
    kept = [line for line in table if not (",live,p2," in line and int(line.split("_")[2][:2]) > 3)]
    (folder / "labels.csv").write_text("\n".join(kept) + "\n")
    chosen = settings(kept_back=0)
    learnt, _ = load_training(tmp_path, chosen)
    crops = cut_faces(learnt, classes=chosen.classes, margin=chosen.margin)

    plan = make_plan(crops, learnt, chosen, share=(0, 1))

    assert plan.counts == [12, 12, 4, 12]
    assert [count * weight for count, weight in zip(plan.counts, plan.weights, strict=True)] == pytest.approx([10] * 4)


def test_load_training_leaves_out_whom_it_is_told_to(tmp_path: Path) -> None:
    """Nobody who is left out is learnt from or chosen by."""
    write_presentations(tmp_path / "faces", pictures=4)

    learnt, others = load_training(tmp_path, settings(left_out=["p2"]))

    assert {one.recording for one in learnt + others["kept_back"]} == {"p1"}
    assert [one.recording for one in others["left_out"]] == ["p2"] * 8


def test_load_training_without_whom_it_shall_leave_out_is_refused(tmp_path: Path) -> None:
    """A name misspelt would be learnt from."""
    write_presentations(tmp_path / "faces", pictures=2)

    with pytest.raises(InputError, match="left_out: no recording p9; there are p1, p2"):
        load_training(tmp_path, settings(left_out=["p9"]))


def test_cut_faces_takes_the_inner_square_at_the_pictures_own_resolution(tmp_path: Path) -> None:
    """Nothing is resampled before the picture is changed; an attack of no class of its own is a spoof."""
    found = load_presentations(write_presentations(tmp_path / "faces", pictures=1, attack="print"), split="val")

    crops = cut_faces(found, classes=("live", "spoof"), margin=0.5)

    assert [pixels.shape for pixels in crops.pixels] == [(32, 32, 3)] * 2
    assert crops.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(crops.pixels[0], found[0].face()[0][16:48, 16:48])


def test_cut_faces_of_an_attack_without_a_class_is_refused(tmp_path: Path) -> None:
    """A network for prints alone is not taught with masks."""
    found = load_presentations(write_presentations(tmp_path / "faces", pictures=1, attack="mask"), split="val")

    with pytest.raises(InputError, match="is mask, and the classes are live, print: add it, or spoof"):
        cut_faces(found, classes=("live", "print"), margin=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param("classes: [spoof, print]", "expected live and one or more of", id="nobody live"),
        pytest.param("kinds: {spoof: hologram}", "expected labels of attacks, each with one of", id="no kind"),
        pytest.param("input_px: 100", "multiple of 32", id="size"),
        pytest.param("rows: 9", "rows: expected 1 to 6", id="rows"),
        pytest.param("pictures: 9", "unknown key", id="key"),
    ],
)
def test_load_settings_names_what_is_wrong(tmp_path: Path, changes: str, message: str) -> None:
    """With its place in the file."""
    (tmp_path / "wrong.yaml").write_text(f"sets: [faces]\n{changes}\n", encoding="utf-8")

    with pytest.raises(InputError, match=message):
        load_settings(tmp_path / "wrong.yaml")


def test_training_with_fewer_faces_than_a_batch_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An epoch without a step would teach nothing."""
    (work / "large.yaml").write_text(CONFIG.replace("batch: 8", "batch: 64"), encoding="utf-8")

    assert run(work, "large", config="large.yaml") == 78
    assert "batch: an epoch shows 36 faces, not one step of 64" in capsys.readouterr().err


def test_export_of_a_liveness_network_for_an_oblong_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is shown squares."""
    path = str(work / "straight" / "last.pt")

    assert export.main([path, "--out", str(work / "oblong"), "--input", "64x32"]) == 78
    assert "a liveness network is shown squares" in capsys.readouterr().err


def test_shipped_configuration_is_valid() -> None:
    """It says what kind of attack it knows, and that nobody may redistribute what it makes."""
    shipped = load_settings(Path(__file__).parents[3] / "configs" / "train" / "liveness.yaml")

    assert shipped.kinds == {"spoof": "replay"}
    assert {source.licence_mark for source in shipped.data} == {"R"}
