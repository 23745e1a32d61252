"""A tiny training of a segmenter by the command that people use: it learns, resumes, and says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from edged.assembly import open_segmenter  # noqa: E402
from edged.errors import InputError  # noqa: E402
from tools import export, train_segmenter  # noqa: E402
from tools.nets.convolution import convolutions, standardise  # noqa: E402
from tools.nets.unet import UNet, UNetSettings  # noqa: E402
from tools.train_segmenter import SegmenterSettings, load_settings  # noqa: E402
from tools.training import ScheduleSettings, load_checkpoint  # noqa: E402
from tools.training_run import run_epochs  # noqa: E402
from tools.weights import initialise_on_backbone  # noqa: E402

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]
CONFIG = """
seed: 3
input_px: [64, 64]
widths_px: [32, 64]
closing_epochs: 2
batch: 4
classes: [ground, disc]
sets: {discs: 1.0}
width: 0.25
decoder: [16, 16, 8, 8]
backbone_rate: 1.0
schedule: {epochs: 8, warmup_steps: 2, learning_rate: 0.02, average_decay: 0.8, precision: float32}
augmentation: {mosaic: 0, scale: [0.9, 1.2], light: 0}
loss: {dice: 0.5}
data:
  - {name: discs, licence_mark: P, licence: ours, source: drawn by a test, use: training}
"""


def write_discs(folder: Path, *, train: int, val: int) -> None:
    """Bright discs on dark ground, and their masks; a ring around each is void."""
    rng = np.random.default_rng(4)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = ["image,mask,split"]
    for number in range(train + val):
        centre, radius = tuple(rng.integers(16, 48, 2).tolist()), int(rng.integers(8, 16))
        mask = cv2.circle(np.zeros((64, 64), np.uint8), centre, radius, 1, -1)
        pixels = np.where(mask[..., None] == 1, 220, 40) + rng.integers(-20, 20, (64, 64, 3))
        cv2.circle(mask, centre, radius, 2, 1)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), pixels.astype(np.uint8))
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask)
        rows.append(f"images/{number}.png,masks/{number}.png,{'train' if number < train else 'val'}")
    (folder / "split.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "classes.txt").write_text("0 ground\n1 disc\n2 void\n", encoding="utf-8")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a configuration and a finished training (`straight`)."""
    folder = tmp_path_factory.mktemp("segmenter")
    write_discs(folder / "data" / "discs", train=16, val=4)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    assert run(folder, "straight", "--evaluate-every", "8") == 0
    return folder


def run(work: Path, out: str, *options: str, config: str = "config.yaml") -> int:
    """The command."""
    required = ["--config", str(work / config), "--data", str(work / "data"), "--out", str(work / out)]
    return train_segmenter.main([*required, "--threads", "1", "--workers", "0", *options])


def test_training_learns_what_is_easy_and_measures_it_on_pictures_never_seen(work: Path) -> None:
    """IoU of each class, their mean, and the share of pixels."""
    lines = [json.loads(line) for line in (work / "straight" / "epochs.jsonl").read_text().splitlines()]

    assert [line["epoch"] for line in lines] == list(range(1, 9))
    val = lines[-1]["val"]["discs"]
    assert set(val) == {"miou", "pixels", "ground", "disc"}
    assert val["disc"] > 0.8
    assert val["miou"] == pytest.approx((val["ground"] + val["disc"]) / 2, abs=1e-4)


def test_training_resumed_ends_with_the_weights_of_one_that_never_stopped(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after half of its epochs it goes on with the same order, sizes, changes and averages."""

    def run_half(*arguments: object, schedule: ScheduleSettings) -> None:
        run_epochs(*arguments, schedule=replace(schedule, epochs=4))

    with monkeypatch.context() as stopped:
        stopped.setattr(train_segmenter, "run_epochs", run_half)
        assert run(work, "resumed", "--evaluate-every", "0") == 0
    assert run(work, "resumed", "--evaluate-every", "0", "--resume") == 0

    straight, resumed = (load_checkpoint(work / name / "last.pt")["averaged"] for name in ("straight", "resumed"))
    assert all(torch.equal(weights, resumed[name]) for name, weights in straight.items())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[ground, disc]", "[ground, square]", "classes: no set labels square"),
        ("[ground, disc]", "[ground]", "classes"),
        ("[64, 64]", "[64, 60]", "input_px"),
        ("batch: 4", "batch: 17", "batch: an epoch shows fewer than 17 pictures"),
        ("{discs: 1.0}", "{rings: 1.0}", "no folder rings"),
        ("dropout", "dropuot", ""),
        ("decoder: [16, 16, 8, 8]", "decoder: [16, 16, 8]", "decoder"),
        ("dice: 0.5", "dice: -1", "loss.dice"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(
    work: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, expected: str
) -> None:
    """78, as for every wrong input."""
    changed = CONFIG.replace(old, new) if old in CONFIG else CONFIG + f"{new}: 0.1\n"
    (work / "wrong.yaml").write_text(changed, encoding="utf-8")

    assert run(work, "never", config="wrong.yaml") == 78

    assert expected in capsys.readouterr().err
    assert not (work / "never" / "last.pt").exists()


def test_a_set_without_masks_is_refused(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Boxes are no outlines."""
    (tmp_path / "data" / "boxes" / "images").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "data" / "boxes" / "images" / "a.png"), np.zeros((8, 8, 3), np.uint8))
    document = {
        "images": [{"id": 1, "file_name": "images/a.png", "split": "train"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]}],
        "categories": [{"id": 1, "name": "ground"}],
    }
    (tmp_path / "data" / "boxes" / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG.replace("{discs: 1.0}", "{boxes: 1.0}"), encoding="utf-8")

    assert run(tmp_path, "never") == 78
    assert "boxes: has no masks: expected split.csv" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["scene_segmenter", "person_segmenter"])
def test_the_shipped_configurations_can_be_built(name: str) -> None:
    """Every class is named once, and the licence of every set."""
    settings = load_settings(ROOT / "configs" / "train" / f"{name}.yaml")

    assert isinstance(settings, SegmenterSettings)
    assert set(settings.sets) <= {source.name for source in settings.data}


def test_a_missing_configuration_is_told() -> None:
    """By its path."""
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_settings(Path("nowhere.yaml"))


def test_standardised_convolutions_answer_with_mean_0_and_variance_1() -> None:
    """Each sees what those before it have become; the others stay as they were."""
    torch.manual_seed(1)
    network = UNet(UNetSettings(("a", "b", "c"), width=0.25, decoder=(16, 16, 8, 8)))
    for conv in convolutions(network).values():
        conv.bias.data.uniform_(1, 3)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    before = {name: conv.plain_weight().clone() for name, conv in convolutions(network).items()}
    fresh = [name for name in before if not name.startswith("backbone.")]

    standardise(network, images, fresh)

    answers = {}
    for name in fresh:
        conv = convolutions(network)[name]
        conv.register_forward_pre_hook(lambda conv, inputs, name=name: answers.__setitem__(name, conv.convolve(inputs[0])))
    with torch.no_grad():
        network.eval()(images)
    for name in fresh:
        torch.testing.assert_close(answers[name].mean(dim=(0, 2, 3)), torch.zeros(answers[name].shape[1]), atol=1e-3, rtol=0)
        torch.testing.assert_close(answers[name].std(dim=(0, 2, 3)), torch.ones(answers[name].shape[1]), atol=1e-2, rtol=0)
    assert all(torch.equal(conv.plain_weight(), before[n]) for n, conv in convolutions(network).items() if n not in fresh)


def test_a_packed_export_is_half_as_large_and_gives_nearly_the_same_maps(work: Path) -> None:
    """What it stores in FP16 is computed in float, and can be trained on."""
    checkpoint = str(work / "straight" / "last.pt")
    assert export.main([checkpoint, "--out", str(work / "plain")]) == 0
    assert export.main([checkpoint, "--out", str(work / "packed"), "--pack"]) == 0
    sizes = [(work / name / "model.onnx").stat().st_size for name in ("plain", "packed")]
    pictures = [cv2.imread(str(path)) for path in sorted((work / "data" / "discs" / "images").glob("*.png"))]

    with open_segmenter(work / "plain") as plain, open_segmenter(work / "packed") as packed:
        agreement = [np.mean(plain.segment(one).labels == packed.segment(one).labels) for one in pictures]

    assert sizes[1] < 0.7 * sizes[0]
    assert np.mean(agreement) > 0.99
    network = UNet(load_settings(work / "config.yaml").network())
    assert initialise_on_backbone(network, work / "packed" / "model.onnx") == []
