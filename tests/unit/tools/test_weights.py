"""First weights of a network: classes by their names, designs that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edged.errors import InputError

torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")

from tools.export import export_engine  # noqa: E402
from tools.nets.convolution import convolutions  # noqa: E402
from tools.nets.yolo import Predictions, Yolo  # noqa: E402
from tools.train_detector import TrainSettings  # noqa: E402
from tools.training import save_checkpoint  # noqa: E402
from tools.weights import initialise  # noqa: E402

pytestmark = pytest.mark.torch

ANCHORS = [[[6, 8], [12, 12]], [[24, 24], [24, 48]], [[48, 48], [90, 60]]]


def _settings(classes: tuple[str, ...], **changes: Any) -> TrainSettings:
    recipe = {"sets": {}, "input_px": 64, "width": 0.25, "neck": 12, "anchors": ANCHORS, "classes": classes}
    return TrainSettings.model_validate(recipe | changes)


def _make(settings: TrainSettings, *, seed: int) -> Yolo:
    torch.manual_seed(seed)
    network = Yolo(settings.network()).eval()
    with torch.no_grad():
        for conv in convolutions(network).values():
            conv.bias.normal_(0, 0.3)
    return network


def _write(folder: Path, settings: TrainSettings, *, kind: str) -> tuple[Yolo, Path]:
    """A network and the file that holds it: `last.pt`, or the `model.onnx` of an engine."""
    network, path = _make(settings, seed=1), folder / "last.pt"
    weights = network.state_dict()
    recipe = settings.model_dump(mode="json")
    save_checkpoint(path, {"network": weights, "averaged": weights, "settings": recipe, "epoch": 1})
    if kind == "engine":
        export_engine(path, folder / "engine")
        path = folder / "engine" / "model.onnx"
    return network, path


def _answer(network: Yolo) -> Predictions:
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return network(images)


@pytest.mark.parametrize("kind", ["checkpoint", "engine"])
@pytest.mark.parametrize("objectness", [False, True])
def test_initialise_takes_over_classes_of_the_same_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, objectness: bool
) -> None:
    """Boxes, objectness and what is known stay; a new class is the network's own, and its heads are told as lacking."""
    loss = {"objectness": objectness}
    first, path = _write(tmp_path, _settings(("person", "traffic light", "car"), loss=loss), kind=kind)
    network = _make(_settings(("Car", "forklift", "traffic_light"), loss=loss), seed=2)
    fresh = {name: _class_rows(head, 1, objectness=objectness) for name, head in _heads(network).items()}

    missing = initialise(network, path)

    before, after = _answer(first), _answer(network)
    assert missing == ["heads.0", "heads.1", "heads.2"]
    assert "knows no forklift: their rows in the heads start at random" in caplog.text
    torch.testing.assert_close(after.boxes, before.boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(after.logits[..., [0, 2]], before.logits[..., [2, 1]], rtol=1e-4, atol=1e-4)
    if objectness:
        torch.testing.assert_close(after.objectness, before.objectness, rtol=1e-4, atol=1e-4)
    for name, head in _heads(network).items():
        torch.testing.assert_close(_class_rows(head, 1, objectness=objectness), fresh[name])


def _heads(network: Yolo) -> dict[str, torch.nn.Module]:
    return {f"heads.{number}": head for number, head in enumerate(network.heads)}


def _class_rows(head: torch.nn.Module, place: int, *, objectness: bool) -> torch.Tensor:
    """(anchors, inputs + 1): the weights and the bias of one of three classes."""
    rows = torch.cat([head.plain_weight().flatten(1), head.bias[:, None]], dim=1).detach()
    return rows.unflatten(0, (2, -1))[:, 4 + objectness + place].clone()


@pytest.mark.parametrize("kind", ["checkpoint", "engine"])
def test_initialise_with_the_classes_in_another_order_answers_the_same(tmp_path: Path, kind: str) -> None:
    """As many rows are not yet the same rows."""
    first, path = _write(tmp_path, _settings(("person", "car", "bus")), kind=kind)
    network = _make(_settings(("bus", "person", "car")), seed=2)

    missing = initialise(network, path)

    assert missing == []
    torch.testing.assert_close(_answer(network).logits, _answer(first).logits[..., [2, 0, 1]], rtol=1e-4, atol=1e-4)


def test_initialise_of_narrower_network_with_own_classes_takes_both(tmp_path: Path) -> None:
    """Which channels a head reads and which classes it has are two questions."""
    _, path = _write(tmp_path, _settings(("person", "car"), design="spp", neck=24), kind="engine")
    same, own = (_make(_settings(classes, design="spp"), seed=2) for classes in (("person", "car"), ("car", "crane", "person")))

    for network in (same, own):
        initialise(network, path)

    torch.testing.assert_close(_answer(own).boxes, _answer(same).boxes)
    torch.testing.assert_close(_answer(own).logits[..., [2, 0]], _answer(same).logits)


def test_initialise_from_a_file_without_manifest_leaves_other_heads_alone(tmp_path: Path) -> None:
    """Nobody says which class a row is of."""
    _, path = _write(tmp_path, _settings(("person", "car")), kind="engine")
    lone = path.rename(tmp_path / "model.onnx")

    assert initialise(_make(_settings(("person",)), seed=2), lone) == ["heads.0", "heads.1", "heads.2"]
    assert initialise(_make(_settings(("person", "car")), seed=2), lone) == []


def test_initialise_with_an_objectness_that_the_file_lacks_leaves_the_heads_alone(tmp_path: Path) -> None:
    """Rows of one class more are not rows of an objectness, even if they are as many."""
    _, path = _write(tmp_path, _settings(("person", "car", "bus")), kind="checkpoint")
    network = _make(_settings(("person", "car"), loss={"objectness": True}), seed=2)

    assert initialise(network, path) == ["heads.0", "heads.1", "heads.2"]


@pytest.mark.parametrize(("design", "other", "only"), [("pan", "spp", "has"), ("spp", "pan", "lacks")])
def test_initialise_from_the_other_design_is_refused(tmp_path: Path, design: str, other: str, only: str) -> None:
    """Its layers have the same names and other paddings."""
    _, path = _write(tmp_path, _settings(("person",), design=design), kind="checkpoint")

    with pytest.raises(InputError, match=rf"{only} backbone\.rows\.6\.0\.depthwise\.weight: it is of another design .* {other}"):
        initialise(_make(_settings(("person",), design=other), seed=2), path)
