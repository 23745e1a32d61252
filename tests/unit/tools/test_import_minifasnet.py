"""A published network as an engine of ours. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edged.assembly import open_liveness
from edged.errors import InputError
from tools import import_minifasnet
from tools.import_minifasnet import CLASSES


def write_network(path: Path, *, answers: int = 3) -> Path:
    """A network of MiniFASNet's form: it answers the softmax of the mean of blue, green and red."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["face_bgr"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gather", ["flat", "order"], ["logits"], axis=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    order = helper.make_tensor("order", TensorProto.INT64, [answers], list(range(answers)))
    pictures = helper.make_tensor_value_info("face_bgr", TensorProto.FLOAT, ["n", 3, 80, 80])
    found = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", answers])
    graph = helper.make_graph(nodes, "tiny", [pictures], [found], [order])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    return path


def test_main_makes_an_engine_that_the_daemon_reads(tmp_path: Path) -> None:
    """It is shown blue first, unscaled, and 2.7 times the face: class 1, here the mean of green, is live."""
    assert import_minifasnet.main([str(write_network(tmp_path / "net.onnx")), "--out", str(tmp_path / "mini")]) == 0

    picture = np.zeros((100, 100, 3), np.uint8)
    picture[..., 0], picture[..., 1] = 3, 4  # of red and green
    with open_liveness(tmp_path / "mini") as network:
        (score,) = network.score(picture, np.array([[40, 40, 60, 60]], np.float32))
        assert (network.manifest.margin, network.manifest.classes) == (2.7, CLASSES)
    assert score == pytest.approx(np.exp(4) / np.exp([0, 4, 3]).sum(), abs=1e-5)


def test_import_of_another_network_is_refused(tmp_path: Path) -> None:
    """With what is expected."""
    with pytest.raises(InputError, match=r"expected one input \(N, 3, side, side\) and one output \(N, 3\)"):
        import_minifasnet.import_minifasnet(write_network(tmp_path / "net.onnx", answers=2), tmp_path / "mini")


def test_import_of_no_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written."""
    (tmp_path / "net.onnx").write_text("not a network")

    assert import_minifasnet.main([str(tmp_path / "net.onnx"), "--out", str(tmp_path / "mini")]) == 78
    assert "cannot be read as ONNX" in capsys.readouterr().err
    assert not (tmp_path / "mini").exists()
