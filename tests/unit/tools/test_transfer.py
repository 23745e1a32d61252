"""First weights from darknet's Nano: a second implementation of darknet runs the same layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from darknet_reference import Drawn, run_cfg

from edged.errors import InputError

torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")

from tools.nets.yolo import Yolo, YoloSettings  # noqa: E402
from tools.weights import initialise  # noqa: E402

pytestmark = pytest.mark.torch

NAMES = ("person", "bicycle", "motorbike")
ANCHORS = (((5.0, 8.0), (10.0, 24.0)), ((12.0, 18.0), (37.0, 49.0)), ((115.0, 74.0), (119.0, 199.0)))
SETTINGS = YoloSettings(classes=("motorcycle", "person"), anchors=ANCHORS, design="spp", width=0.5, neck=96, objectness=True)
SIDE, GAIN = 32, 2.2
BLOCKS = [(8, 1, 1), *[(12, 6, s) for s in (2, 1)], *[(16, 6, s) for s in (2, 1, 1)], *[(32, 6, s) for s in (2, 1, 1, 1)]]
BLOCKS += [*[(48, 6, 1)] * 3, *[(80, 6, s) for s in (2, 1, 1)]]
"""Channels, widening and stride of the 16 blocks."""


def _conv(filters: int, size: int = 1, *, stride: int = 1, groups: int = 1, activation: str = "relu") -> str:
    return (
        f"[convolutional]\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\ngroups={groups}\nbatch_normalize=1\n"
        f"activation={activation}\n"
    )


def _head(mask: str) -> str:
    answers = 2 * (5 + len(NAMES))
    return (
        f"[convolutional]\nfilters={answers}\nactivation=linear\n"
        f"[yolo]\nmask={mask}\nanchors=12,18,37,49,120,80,119,199\nnum=4\nclasses={len(NAMES)}\nscale_x_y=1.1\n"
    )


def _nano() -> str:
    """The layers of MobileNetV2-YOLOv3-Nano, with two anchors a stride."""
    parts, channels = [f"[net]\nwidth={SIDE}\nheight={SIDE}\nchannels=3\n", _conv(16, 3, stride=2)], 16
    for outputs, t, stride in BLOCKS:
        inner = channels * t
        parts += [_conv(inner)] if t > 1 else []
        parts += [_conv(inner, 3, stride=stride, groups=inner), _conv(outputs, activation="linear")]
        parts += ["[shortcut]\nfrom=-4\nactivation=linear\n"] if stride == 1 and channels == outputs else []
        channels = outputs
    for size, back in ((3, 2), (5, 4), (9, 0)):
        parts.append(f"[maxpool]\nstride=1\nsize={size}\n")
        parts += [f"[route]\nlayers=-{back}\n"] if back else []
    parts += ["[route]\nlayers=-1,-3,-5,-6\n", _conv(288), _conv(288, 3, groups=288), _conv(96), _conv(384), _head("2,3")]
    parts += ["[route]\nlayers=64\n", "[upsample]\nstride=2\n", "[route]\nlayers=-1,47\n", _conv(80), _conv(288)]
    parts += [_conv(288, 3, groups=288), _conv(192), _conv(288), _head("0,1")]
    return "".join(parts)


class _Lively(Drawn):
    """Weights so large that the picture still matters at the far end."""

    def take(self, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        gain = GAIN if len(shape) == 4 else 1.0
        return super().take(*shape, low=gain * low, high=gain * high)


def _write(folder: Path, cfg: str, weights: Drawn) -> Path:
    (folder / "net.cfg").write_text(cfg, encoding="utf-8")
    (folder / "net.weights").write_bytes(weights.to_file())
    (folder / "net.names").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return folder / "net.cfg"


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Weights of the whole network."""
    weights = _Lively(np.random.default_rng(7))
    run_cfg(_nano(), np.zeros((3, SIDE, SIDE)), weights)
    return weights


def test_network_from_darknet_answers_as_darknet_does(tmp_path: Path) -> None:
    """Scores and sizes are equal; darknet is shown a frame of the grey that our padding means, its own would be black."""
    picture = np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    framed = np.pad(picture.astype(float), ((0, 0), (1, 1), (1, 1)), constant_values=127.5)
    cfg, weights = _nano(), _Lively(np.random.default_rng(7))
    boxes, scores = run_cfg(cfg.replace("pad=1", "pad=0", 1), framed, weights)
    network = Yolo(SETTINGS)

    missing = initialise(network, _write(tmp_path, cfg, weights))

    assert all(name.startswith(("neck.fine", "heads.0")) for name in missing)
    with torch.no_grad():
        found, other = (network(torch.from_numpy(x)[None]) for x in (picture, 255 - picture))
    coarse, middle = 2 * (SIDE // 32) ** 2, 2 * (SIDE // 16) ** 2
    ours, theirs = slice(-coarse - middle, None), np.r_[coarse : coarse + middle, 0:coarse]
    np.testing.assert_allclose(found.scores()[0, ours].numpy(), scores[theirs][:, [2, 0]], atol=1e-5)
    np.testing.assert_allclose(_sizes(found.boxes[0, ours].numpy()), _sizes(boxes[theirs]), rtol=1e-4)
    assert (found.scores() - other.scores()).abs().max() > 0.005, "the picture hardly matters: this would prove nothing"


def _sizes(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2:] - boxes[:, :2]


def test_network_without_objectness_begins_with_the_sum_of_both_logits(tmp_path: Path, drawn: Drawn) -> None:
    """So a place that sees nothing scores low in every class; a class that darknet does not know begins as any object."""
    cfg = _write(tmp_path, _nano(), drawn)
    apart = Yolo(replace(SETTINGS, classes=("person", "crane")))
    joint = Yolo(replace(SETTINGS, classes=("person", "crane"), objectness=False))
    for network in (apart, joint):
        initialise(network, cfg)

    with torch.no_grad():
        both, one = (network(torch.zeros(1, 3, SIDE, SIDE)) for network in (apart, joint))

    coarse_and_middle = slice(2 * (SIDE // 8) ** 2, None)
    logits = (both.logits + both.objectness[..., None])[:, coarse_and_middle]
    torch.testing.assert_close(one.logits[:, coarse_and_middle], logits)
    torch.testing.assert_close(logits[..., 1], both.objectness[:, coarse_and_middle])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"width": 1.0}, "its weights for backbone.stem are .*design: spp.*width: 0.5", id="wider"),
        pytest.param({"design": "pan"}, "has 59 convolutions, this network .*design: spp", id="other design"),
    ],
)
def test_initialise_of_another_network_names_the_one_that_fits(tmp_path: Path, drawn: Drawn, changes: dict, message: str) -> None:
    """The mend is in the message."""
    cfg = _write(tmp_path, _nano(), drawn)

    with pytest.raises(InputError, match=message):
        initialise(Yolo(replace(SETTINGS, **changes)), cfg)


def test_initialise_without_names_says_where_they_belong(tmp_path: Path, drawn: Drawn) -> None:
    """Without names nobody knows which row is whose."""
    cfg = _write(tmp_path, _nano(), drawn)
    (tmp_path / "net.names").unlink()

    with pytest.raises(InputError, match=r"expected one file of class names, \*.names, beside it, found 0"):
        initialise(Yolo(SETTINGS), cfg)
