"""A trained segmenter as an engine: exported, it computes what torch computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="export needs the training's environment: pip install torch")

from edged.assembly import open_segmenter  # noqa: E402
from edged.models.manifest import SegmenterManifest, load_manifest  # noqa: E402
from tools import export  # noqa: E402
from tools.nets.unet import UNet  # noqa: E402
from tools.train_segmenter import SegmenterSettings  # noqa: E402

pytestmark = pytest.mark.torch

SETTINGS = SegmenterSettings.model_validate(
    {
        "input_px": [96, 64],
        "widths_px": [96],
        "classes": ["ground", "road", "car"],
        "sets": {"yard": 1.0, "lawn": 1.0},
        "width": 0.25,
        "decoder": [16, 16, 8, 8],
        "data": [
            {"name": "yard", "licence_mark": "P", "licence": "ours", "source": "drawn by a test", "use": "training"},
            {"name": "lawn", "licence_mark": "R", "licence": "none stated", "source": "found", "use": "training"},
        ],
    }
)


@pytest.fixture(scope="module")
def network() -> UNet:
    """With random weights, which tell places apart by little."""
    torch.manual_seed(5)
    return UNet(SETTINGS.network()).eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, network: UNet) -> Path:
    """As a training of seven epochs leaves it."""
    path = tmp_path_factory.mktemp("run") / "last.pt"
    state = network.state_dict()
    torch.save({"network": state, "averaged": state, "settings": SETTINGS.model_dump(mode="json"), "epoch": 7}, path)
    return path


def test_export_of_a_segmenter_writes_the_manifest_of_its_training(tmp_path: Path, checkpoint: Path) -> None:
    """The input's size, both outputs, the classes, and the licence of the worst mark among its data."""
    assert export.main([str(checkpoint), "--out", str(tmp_path / "scene")]) == 0

    manifest = load_manifest(tmp_path / "scene", kind=SegmenterManifest)
    assert (manifest.name, manifest.licence, manifest.classes) == ("scene", "research-only", ("ground", "road", "car"))
    assert (manifest.input.width, manifest.input.height, manifest.input.dtype) == (96, 64, "uint8")
    assert (manifest.outputs.labels, manifest.outputs.confidence) == ("labels", "confidence")
    assert manifest.trained["epochs"] == 7
    assert [source.name for source in manifest.data] == ["yard", "lawn"]


def test_exported_segmenter_answers_as_torch_does(tmp_path: Path, checkpoint: Path, network: UNet) -> None:
    """Through the daemon's segmenter: the same label where torch is sure, the same confidence but for rounding."""
    export.export_engine(checkpoint, tmp_path / "scene")
    pixels = np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    with torch.no_grad():
        shares = torch.softmax(network(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]), dim=1)[0].numpy()

    with open_segmenter(tmp_path / "scene") as segmenter:
        found = segmenter.segment(pixels)

    best = np.sort(shares, axis=0)
    is_sure = best[-1] - best[-2] > 1e-4
    assert is_sure.mean() > 0.9
    np.testing.assert_array_equal(found.labels[is_sure], shares.argmax(axis=0)[is_sure])
    np.testing.assert_allclose(found.confidence, 255 * shares.max(axis=0), atol=0.51)


def test_exported_segmenter_of_another_size_has_it(tmp_path: Path, checkpoint: Path) -> None:
    """The same weights for a wider input; the graph ends as TensorRT wants bytes: made of floats."""
    assert export.main([str(checkpoint), "--out", str(tmp_path / "scene"), "--input", "128x64"]) == 0

    with open_segmenter(tmp_path / "scene") as segmenter:
        assert segmenter.segment(np.zeros((64, 128, 3), np.uint8)).labels.shape == (64, 128)
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "scene" / "model.onnx")).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    ends = [node for node in graph.node if node.output[0] in ("labels", "confidence")]
    assert [(node.op_type, types[node.input[0]]) for node in ends] == [("Cast", onnx.TensorProto.FLOAT)] * 2


@pytest.mark.parametrize(("size", "words"), [("100", "multiples of 32"), ("0x64", "multiples of 32")])
def test_export_of_a_segmenter_of_a_size_that_none_has_is_refused(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], size: str, words: str
) -> None:
    """Five times its size is halved."""
    assert export.main([str(checkpoint), "--out", str(tmp_path / "scene"), "--input", size]) == 78

    assert words in capsys.readouterr().err
