"""The network between two: every weight is the mean, what only one has is kept, and it can be exported."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="checkpoints need the training environment: pip install torch")

from tools import average, export  # noqa: E402
from tools.nets.convolution import Conv  # noqa: E402
from tools.nets.yolo import Yolo  # noqa: E402
from tools.train_detector import TrainSettings  # noqa: E402
from tools.training import load_checkpoint, save_checkpoint  # noqa: E402

pytestmark = pytest.mark.torch

SETTINGS = {"sets": {"a": 1.0}, "anchors": [[[12, 12]], [[24, 24]], [[48, 48]]], "width": 0.25, "neck": 16, "input_px": 64}


def _write(path: Path, *, seed: int, classes: tuple[str, ...] = ("cat",)) -> Path:
    torch.manual_seed(seed)
    settings = TrainSettings.model_validate({**SETTINGS, "classes": classes})
    weights = Yolo(settings.network()).state_dict()
    recipe = settings.model_dump(mode="json")
    save_checkpoint(path, {"network": weights, "averaged": weights, "settings": recipe, "epoch": 3})
    return path


def _plain(path: Path) -> dict[str, torch.Tensor]:
    """Convolution weights as they compute, and biases."""
    state = load_checkpoint(path)
    network = Yolo(TrainSettings.model_validate(state["settings"]).network())
    network.load_state_dict(state["averaged"])
    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, Conv)}
    weights = {f"{name}.weight": (module.weight * module.scale).detach() for name, module in convolutions.items()}
    return weights | {f"{name}.bias": module.bias.detach() for name, module in convolutions.items()}


def test_average_is_between_both_by_the_share(tmp_path: Path) -> None:
    """0.75 of the one and 0.25 of the other, in every weight; the recipe tells it."""
    trained, first = _write(tmp_path / "last.pt", seed=1), _write(tmp_path / "first.pt", seed=2)

    assert average.main([str(trained), str(first), "--share", "0.75", "--out", str(tmp_path / "mean.pt")]) == 0

    after, before, mean = _plain(trained), _plain(first), _plain(tmp_path / "mean.pt")
    for name, weight in mean.items():
        torch.testing.assert_close(weight, 0.75 * after[name] + 0.25 * before[name])
    history = load_checkpoint(tmp_path / "mean.pt")["settings"]["history"]
    assert history == ["tools.average: 0.75 of what was trained, 0.25 of first.pt"]


def test_average_keeps_what_the_first_weights_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Heads of other classes have another shape; the engine made of it opens as any other."""
    trained, first = _write(tmp_path / "last.pt", seed=1, classes=("cat", "dog")), _write(tmp_path / "first.pt", seed=2)

    assert average.main([str(trained), str(first), "--share", "0.5", "--out", str(tmp_path / "mean.pt")]) == 0

    after, before, mean = _plain(trained), _plain(first), _plain(tmp_path / "mean.pt")
    torch.testing.assert_close(mean["heads.1.weight"], after["heads.1.weight"])
    torch.testing.assert_close(mean["backbone.stem.bias"], (after["backbone.stem.bias"] + before["backbone.stem.bias"]) / 2)
    assert "all of heads.0, heads.1, heads.2" in capsys.readouterr().out
    assert export.main([str(tmp_path / "mean.pt"), "--out", str(tmp_path / "engine")]) == 0


def test_average_with_what_is_no_network_exits_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file."""
    (tmp_path / "no.pt").write_text("nothing", encoding="utf-8")

    arguments = [str(tmp_path / "no.pt"), "--share", "0.5", "--out", str(tmp_path / "mean.pt")]
    assert average.main([str(_write(tmp_path / "last.pt", seed=1)), *arguments]) == 78

    assert "no.pt: not a checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan", "half"])
def test_average_by_no_share_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    """argparse names the argument and what was expected."""
    with pytest.raises(SystemExit):
        average.main(["a.pt", "b.pt", f"--share={share}", "--out", "c.pt"])

    assert "expected a share between 0 and 1" in capsys.readouterr().err
