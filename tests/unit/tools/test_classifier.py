"""The classifier: shapes, rows, first weights of a detector's backbone, the ONNX file that it becomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")

import onnxruntime  # noqa: E402

from edged.errors import InputError  # noqa: E402
from tools.export import make_onnx  # noqa: E402
from tools.narrowing import ANSWERS, PICTURE, channel_groups  # noqa: E402
from tools.nets.classifier import Classifier, ClassifierSettings, ExportedClassifier, take_residual  # noqa: E402
from tools.nets.convolution import convolutions  # noqa: E402
from tools.nets.yolo import Yolo, YoloSettings  # noqa: E402
from tools.training import save_checkpoint  # noqa: E402
from tools.weights import initialise_on_backbone  # noqa: E402

pytestmark = pytest.mark.torch

ANCHORS = (((12.0, 12.0),), ((24.0, 24.0),), ((48.0, 48.0),))
CLASSES = ("live", "spoof")
IMAGES = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def make_classifier(*, seed: int = 1, **changes: object) -> Classifier:
    """A narrow one with random biases."""
    torch.manual_seed(seed)
    network = Classifier(ClassifierSettings(**{"classes": CLASSES, "design": "spp", "width": 0.25, **changes})).eval()
    with torch.no_grad():
        for conv in convolutions(network).values():
            conv.bias.normal_(0, 0.3)
    return network


def write_detector(folder: Path, *, design: str = "spp", width: float = 0.25) -> tuple[Yolo, Path]:
    """A detector's checkpoint."""
    torch.manual_seed(5)
    network = Yolo(YoloSettings(("person",), ANCHORS, design=design, width=width, neck=24)).eval()
    weights = network.state_dict()
    save_checkpoint(folder / "last.pt", {"network": weights, "averaged": weights, "settings": {}, "epoch": 1})
    return network, folder / "last.pt"


@pytest.mark.parametrize(("design", "rows"), [("spp", None), ("spp", 3), ("pan", None), ("pan", 1)])
def test_classifier_answers_a_logit_for_each_class_at_any_size(design: str, rows: int | None) -> None:
    """Places are averaged, whatever their number."""
    network = make_classifier(design=design, rows=rows)

    assert network(IMAGES).shape == network(IMAGES[..., :32]).shape == (3, 2)
    assert len(network.backbone.rows) == rows or rows is None


@pytest.mark.parametrize("changes", [{"rows": 0}, {"rows": 7}, {"rows": 8, "design": "pan"}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_classifier_settings_that_cannot_be_built_are_refused(changes: dict[str, object]) -> None:
    """spp has six rows of MobileNetV2, pan all seven."""
    with pytest.raises(ValueError, match="expected"):
        ClassifierSettings(**{"classes": CLASSES, "design": "spp", **changes})


def test_classifier_with_the_weights_of_a_detector_sees_what_that_sees(tmp_path: Path) -> None:
    """The backbone is taken whole; the head, which no detector has, is told as lacking."""
    detector, path = write_detector(tmp_path)
    network = make_classifier()

    missing = initialise_on_backbone(network, path)

    assert missing == ["head"]
    pictures = IMAGES.float() / 127.5 - 1
    seen = network.backbone.stem(pictures)
    for row in network.backbone.rows:
        seen = row(seen)
    torch.testing.assert_close(seen, detector.backbone(pictures)[-1])


def test_classifier_of_fewer_rows_begins_with_the_first_rows_of_a_detector(tmp_path: Path) -> None:
    """What the file has beyond is left."""
    detector, path = write_detector(tmp_path)
    network = make_classifier(rows=2)

    assert initialise_on_backbone(network, path) == ["head"]
    for name, conv in convolutions(network.backbone).items():
        torch.testing.assert_close(conv.plain_weight(), convolutions(detector.backbone)[name].plain_weight())


def test_classifier_narrower_than_a_detector_takes_its_strongest_channels(tmp_path: Path) -> None:
    """Also a width that no file has can begin with something."""
    _, path = write_detector(tmp_path, width=0.5)

    assert initialise_on_backbone(make_classifier(width=0.25), path) == ["head"]


def test_classifier_takes_all_of_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    """Its answers are the same afterwards."""
    first, second = make_classifier(seed=1, rows=3), make_classifier(seed=2, rows=3)
    weights = first.state_dict()
    save_checkpoint(tmp_path / "last.pt", {"network": weights, "averaged": weights, "settings": {}, "epoch": 1})

    assert initialise_on_backbone(second, tmp_path / "last.pt") == []
    torch.testing.assert_close(second(IMAGES), first(IMAGES))


@pytest.mark.parametrize(("ours", "theirs"), [("spp", "pan"), ("pan", "spp")])
def test_classifier_of_another_design_than_the_first_weights_is_refused(tmp_path: Path, ours: str, theirs: str) -> None:
    """Both pad and bound otherwise: every feature would shift."""
    _, path = write_detector(tmp_path, design=theirs)

    with pytest.raises(InputError, match="another design"):
        initialise_on_backbone(make_classifier(design=ours), path)


@pytest.mark.parametrize("rows", [None, 2])
def test_channel_groups_of_a_classifier_name_every_convolution(rows: int | None) -> None:
    """The head reads the last row and answers."""
    network = make_classifier(rows=rows)

    groups = channel_groups(network)

    assert groups.keys() == convolutions(network).keys()
    assert groups["backbone.stem"][0] == (PICTURE,)
    assert groups["head"] == ((f"row {len(network.backbone.rows) - 1}",), ANSWERS)


def test_take_residual_leaves_neither_brightness_nor_contrast_nor_slopes() -> None:
    """Twice the contrast at another brightness is the same picture; a slope, but for its ends, and a flat one are nothing."""
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    slope = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)

    torch.testing.assert_close(take_residual(0.5 * pictures + 0.4), take_residual(pictures), atol=0.1, rtol=0)
    assert float(take_residual(pictures).square().mean()) == pytest.approx(1, abs=0.15)
    assert float(take_residual(slope)[..., 2:-2].abs().max()) < 1e-4
    assert float(take_residual(torch.full((1, 3, 8, 8), 0.3)).abs().max()) < 1e-4


@pytest.mark.parametrize("rows", [None, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_make_onnx_of_a_classifier_computes_what_torch_does(rows: int | None, residual: bool) -> None:
    """Probabilities, for any number of pictures."""
    network = make_classifier(rows=rows, residual=residual)
    exported = ExportedClassifier(network.settings, width=64, height=64).eval()
    exported.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected = torch.softmax(network(IMAGES), dim=1).numpy()

    session = onnxruntime.InferenceSession(make_onnx(exported), providers=["CPUExecutionProvider"])

    (output,) = session.get_outputs()
    assert (output.name, output.shape[1:]) == ("scores", [2])
    (scores,) = session.run(["scores"], {"images": IMAGES.numpy()})
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
