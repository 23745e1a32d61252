"""An INT8 network beside an engine's own, on an engine of four convolutions that tells red from green."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from coco_folder import write_coco_folder
from labelled_folders import write_masks, write_table
from models_onnx import (
    make_encoder_manifest,
    make_liveness_manifest,
    make_manifest,
    make_segmenter_manifest,
    save_colour_engine,
    save_engine,
    save_mean_colour_engine,
    save_pixel_colour_engine,
)
from onnx import numpy_helper

from edged.assembly import open_detector, open_network
from edged.errors import InputError
from edged.models.manifest import EncoderManifest, LivenessManifest, digest_file, load_manifest
from tools import quantise
from tools.conversion import pack_weights
from tools.datasets import load_coco
from tools.engines import INT8_NAME, write_manifest
from tools.quantise import QuantiseSettings, choose_range, make_int8, refuse_old_quantiser


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """In float only."""
    save_colour_engine(tmp_path / "tiny", make_manifest())
    return tmp_path / "tiny"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 66 pictures: six to calibrate on, the others to measure on."""
    folder = write_coco_folder(tmp_path_factory.mktemp("data") / "street", pictures=66, split="val")
    labels = json.loads((folder / "annotations.json").read_text())
    for image in labels["images"][:6]:
        image["split"] = "train"
    (folder / "annotations.json").write_text(json.dumps(labels))
    return folder


def quantised(engine: Path, data: Path, **settings: object) -> onnx.ModelProto:
    """The INT8 network, calibrated on the six pictures."""
    pictures = load_coco(data, split="train").pictures
    return make_int8(engine, (picture.pixels_rgb() for picture in pictures), QuantiseSettings(**settings))


def constants(network: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in network.graph.initializer}


def readers_of_float(network: onnx.ModelProto) -> set[str]:
    """The convolutions whose weights are numbers in float."""
    stored = constants(network)
    return {node.name for node in network.graph.node if node.op_type == "Conv" and node.input[1] in stored}


def test_main_writes_a_network_that_answers_alike_and_names_it(
    engine: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command: network, digest, how it was calibrated, and AP50 of both."""
    assert quantise.main([str(engine), "--data", str(data)]) == 0

    int8 = load_manifest(engine).int8
    person = int8.measured["ap50"]["person"]
    assert (int8.file, int8.calibration, int8.symmetric) == (INT8_NAME, "6 pictures of the train split", True)
    assert int8.measured["on"] == "val split of street, at overlap 0.5"
    assert person["n"] == 30
    assert person["fp32"] > 0.05
    assert person["int8"] == pytest.approx(person["fp32"], abs=0.1)  # 30 objects, one is worth 0.03
    assert re.search(r"person +30 +0\.\d{3} +0\.\d{3} +-?0\.\d{3}\n", capsys.readouterr().out)
    pixels = load_coco(data, split="val").pictures[0].pixels_rgb()
    with open_detector(engine) as exact, open_detector(engine, precision="int8") as close:
        outputs = [detector.infer(detector.prepare([pixels])) for detector in (exact, close)]
        np.testing.assert_allclose(outputs[1]["scores"], outputs[0]["scores"], atol=0.03)
        np.testing.assert_array_equal(outputs[1]["boxes"], outputs[0]["boxes"])


def write_faces(folder: Path, *, label: str) -> Path:
    """A set of twelve pictures labelled as a whole, half of them of the train split."""
    names = [f"{number}.png" for number in range(12)]
    rows = [f"{name},{label},{'val' if number % 2 else 'train'}" for number, name in enumerate(names)]
    return write_table(folder, "file,label,split\n" + "\n".join(rows) + "\n", pictures=names)


@pytest.mark.parametrize(
    ("manifest", "label", "figure"),
    [
        pytest.param(make_encoder_manifest(), "anna", "mean_cosine", id="face encoder"),
        pytest.param(make_liveness_manifest(), "live", "mean_agreement", id="liveness"),
    ],
)
def test_main_of_a_network_for_faces_measures_how_like_both_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], manifest: EncoderManifest | LivenessManifest, label: str, figure: str
) -> None:
    """The same command: calibrated on faces of train as the daemon cuts them, compared on those of val."""
    engine = tmp_path / "engine"
    n_answers = 4 if manifest.task == "face_encoder" else 2
    weights = np.random.default_rng(0).normal(size=(3, n_answers))
    save_mean_colour_engine(engine, manifest, weights=weights)
    data = write_faces(tmp_path / "faces", label=label)

    assert quantise.main([str(engine), "--data", str(data)]) == 0

    int8 = load_manifest(engine, precision="int8").int8
    assert (int8.calibration, int8.symmetric) == ("6 pictures of the train split", True)
    assert (int8.measured["on"], int8.measured["pictures"]) == ("val split of faces", 6)
    assert 0.98 < int8.measured[figure] <= 1
    assert readers_of_float(onnx.load(engine / INT8_NAME)) == {"head"}
    assert f"beside float: {figure} {int8.measured[figure]:.4f}" in capsys.readouterr().out
    with open_network(engine, precision="int8") as network:
        network.warm_up()


def test_main_of_a_segmenter_measures_iou_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command: calibrated on pictures of train, judged by masks of val; the transposed head stays in float."""
    save_pixel_colour_engine(tmp_path / "scene", make_segmenter_manifest(), weights=8 * np.eye(3))
    masks = {str(number): np.random.default_rng(number).integers(0, 3, (64, 80), np.uint8) for number in range(4)}
    data = write_masks(tmp_path / "yard", masks, classes="0 road\n1 car\n2 water\n")

    assert quantise.main([str(tmp_path / "scene"), "--data", str(data)]) == 0

    int8 = load_manifest(tmp_path / "scene", precision="int8").int8
    yard = int8.measured["yard"]
    assert (int8.calibration, int8.symmetric, yard["pictures"]) == ("1 pictures of the train split", True, 3)
    assert set(yard["iou"]) == {"road", "car"}
    for figures in (yard["miou"], *yard["iou"].values()):
        assert figures["int8"] == pytest.approx(figures["fp32"], abs=0.05)
        assert figures["fp32"] > 0
    network = onnx.load(tmp_path / "scene" / INT8_NAME)
    assert "head_weight" in constants(network)
    assert readers_of_float(network) == set()
    assert re.search(r"IoU on 3 pictures of yard\n +float +INT8 +lost\nroad +0\.\d{3} ", capsys.readouterr().out)


def test_main_of_a_network_for_faces_without_labelled_pictures_gives_78(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Boxes of people are no faces."""
    save_mean_colour_engine(tmp_path / "who", make_encoder_manifest(), weights=np.eye(3, 4))

    assert quantise.main([str(tmp_path / "who"), "--data", str(data)]) == 78
    assert "no set there has a label for each picture in split 'val'" in capsys.readouterr().err


def test_main_of_a_network_with_weights_in_half_the_size_gives_the_same(engine: Path, data: Path) -> None:
    """How weights are stored is not what is computed."""
    before = make_int8(engine, [np.full((32, 64, 3), 200, np.uint8)], QuantiseSettings())
    packed = pack_weights(onnx.load(engine / "model.onnx"))
    write_network(engine, packed)

    after = make_int8(engine, [np.full((32, 64, 3), 200, np.uint8)], QuantiseSettings())

    assert "pool_weight_float" in {name for node in packed.graph.node for name in node.output}
    assert after == before


def write_network(engine: Path, network: onnx.ModelProto) -> None:
    """Put another network into the place of an engine's own."""
    (engine / "model.onnx").write_bytes(network.SerializeToString())
    manifest = load_manifest(engine, precision="int8")
    digest = digest_file(engine / "model.onnx")
    write_manifest(engine, manifest.model_copy(update={"onnx": manifest.onnx.model_copy(update={"sha256": digest})}))


def test_main_again_replaces_the_former_network(engine: Path, data: Path) -> None:
    """The manifest names the new one; the same command gives the same bytes."""
    assert quantise.main([str(engine), "--data", str(data)]) == 0
    first = (engine / INT8_NAME).read_bytes()
    assert quantise.main([str(engine), "--data", str(data), "--keep-float", "stem"]) == 0
    assert (engine / INT8_NAME).read_bytes() != first
    assert quantise.main([str(engine), "--data", str(data)]) == 0

    assert (engine / INT8_NAME).read_bytes() == first
    assert load_manifest(engine).int8.sha256 == digest_file(engine / INT8_NAME)


def test_main_unsigned_says_so_in_the_manifest(engine: Path, data: Path) -> None:
    """Who builds for TensorRT is told by the manifest, before any parser refuses the file."""
    assert quantise.main([str(engine), "--data", str(data), "--unsigned"]) == 0

    assert not load_manifest(engine).int8.symmetric
    zero_points = [array for name, array in constants(onnx.load(engine / INT8_NAME)).items() if name.endswith("_zero_point")]
    assert np.dtype(np.uint8) in {array.dtype for array in zero_points}


def test_make_int8_keeps_head_and_biases_in_float_and_each_channel_its_scale(engine: Path, data: Path) -> None:
    """Weights of `inner` are 0.6, 0.03 and 1 at most by channel: each gets 127 steps of its own."""
    network = quantised(engine, data)

    stored = constants(network)
    assert readers_of_float(network) == {"head"}
    np.testing.assert_allclose(stored["inner_weight_scale"] * 127, [0.5, 0.03, 1], rtol=1e-3)
    assert stored["inner_weight_quantized"].dtype == np.int8
    assert stored["stem_bias"].dtype == np.float32
    assert [(opset.domain, opset.version) for opset in network.opset_import] == [("", 17)]


def test_make_int8_unsigned_gives_what_a_relu_lets_through_the_whole_range(engine: Path, data: Path) -> None:
    """Unsigned from 0 on, and the ReLU itself is gone."""
    network = quantised(engine, data, symmetric=False)

    zero_point = constants(network)["stem_zero_point"]
    assert (zero_point.dtype, int(zero_point)) == (np.uint8, 0)
    assert "Relu" not in [node.op_type for node in network.graph.node]


def test_make_int8_has_no_zero_point_but_0(engine: Path, data: Path) -> None:
    """What TensorRT asks for; the ReLU stays, with no rounding before it."""
    network = quantised(engine, data)

    stored = constants(network)
    zero_points = [array for name, array in stored.items() if name.endswith("_zero_point")]
    assert {array.dtype for array in zero_points} == {np.dtype(np.int8)}
    assert not any(array.any() for array in zero_points)
    relu = next(node for node in network.graph.node if node.op_type == "Relu")
    assert list(relu.input) == ["stem_conv"]


def test_make_int8_keeps_named_layers_in_float(engine: Path, data: Path) -> None:
    """Only those, not what follows."""
    assert readers_of_float(quantised(engine, data, keep_float=("in",))) == {"head", "inner"}


def test_make_int8_leaves_what_scales_the_picture_in_float(engine: Path, data: Path) -> None:
    """An addition before the first convolution may be the divisor of a contrast: in 255 steps it would be 0 at times."""
    network = onnx.load(engine / "model.onnx")
    place = next(place for place, node in enumerate(network.graph.node) if node.name == "stem")
    network.graph.node[place].input[0] = "shifted"
    network.graph.node.insert(place, onnx.helper.make_node("Add", ["picture", "least"], ["shifted"], "before"))
    network.graph.initializer.append(numpy_helper.from_array(np.array(1e-3, np.float32), "least"))
    write_network(engine, network)

    reads = {node.name: list(node.input) for node in quantised(engine, data).graph.node}

    assert reads["before"] == ["picture", "least"]
    assert reads["stem"][0] == "shifted_DequantizeLinear_Output"


def test_make_int8_of_layers_that_share_weights_gives_each_its_own(engine: Path, data: Path) -> None:
    """As a picture and its mirror image do: ONNX Runtime cannot open it else, where it sums exactly."""
    network = onnx.load(engine / "model.onnx")
    place = next(place for place, node in enumerate(network.graph.node) if node.name == "inner")
    network.graph.node.insert(place + 1, onnx.helper.make_node("Conv", ["inner", "inner_weight"], ["again"], "again"))
    next(node for node in network.graph.node if node.op_type == "Add").input[1] = "again"
    write_network(engine, network)

    assert quantise.main([str(engine), "--data", str(data)]) == 0

    stored = constants(onnx.load(engine / INT8_NAME))
    np.testing.assert_array_equal(stored["inner_weight_quantized"], stored["inner_weight of again_quantized"])
    with open_detector(engine, precision="int8") as close:
        assert close.detect([load_coco(data, split="val").pictures[0].pixels_rgb()])


def test_choose_range_cuts_a_rare_large_value_off() -> None:
    """A million values up to 1 and one of 10: (10 - h)² + 10⁶ (h / 255)² / 12 is least at h = 10 / (1 + 10⁶ / (12 * 255²))."""
    counts, edges = np.zeros(1000, np.int64), np.linspace(0, 10, 1001)
    counts[:100], counts[-1] = 10_000, 1

    low, high = choose_range(counts, edges, symmetric=False)

    assert low == 0
    assert high == pytest.approx(4.38, rel=0.06)  # the candidates lie 6 % apart


def test_choose_range_keeps_both_ends_of_even_values() -> None:
    """Nothing is rare here; symmetric, the range reaches as far below 0 as above."""
    counts, edges = np.ones(400, np.int64), np.linspace(-1, 3, 401)

    assert choose_range(counts, edges, symmetric=False) == pytest.approx((-1, 3))
    assert choose_range(counts, edges, symmetric=True) == pytest.approx((-3, 3))


def test_choose_range_of_zeros_is_a_range() -> None:
    """A tensor that never was anything else; ONNX Runtime bins it as -0.5 to 0.5."""
    counts, edges = np.array([0, 25, 0]), np.array([-0.5, -0.1, 0.1, 0.5])

    low, high = choose_range(counts, edges, symmetric=False)

    assert low <= 0 <= high


@pytest.mark.parametrize(
    ("prefixes", "words"),
    [
        pytest.param(("steam",), r"model\.onnx: --keep-float steam: .* such as stem, inner, pool", id="no such layer"),
        pytest.param(("stem", "inner", "pool"), "nothing to convert: of its 4 convolutions all stay in float", id="all"),
    ],
)
def test_make_int8_with_wrong_layers_to_keep_raises(engine: Path, data: Path, prefixes: tuple[str, ...], words: str) -> None:
    """It names the file and what the layers are called."""
    with pytest.raises(InputError, match=words):
        quantised(engine, data, keep_float=prefixes)


def test_make_int8_of_a_network_without_convolutions_raises(tmp_path: Path, data: Path) -> None:
    """There is nothing that INT8 would make faster."""
    save_engine(tmp_path / "flat", make_manifest(), boxes=np.zeros((2, 4)), scores=np.zeros((2, 2)))

    with pytest.raises(InputError, match="nothing to convert: of its 0 convolutions"):
        quantised(tmp_path / "flat", data)


def test_make_int8_of_an_int8_network_raises(engine: Path, data: Path) -> None:
    """Rounding twice loses twice."""
    assert quantise.main([str(engine), "--data", str(data)]) == 0
    text = (engine / "model.yaml").read_text().replace("file: model.onnx", f"file: {INT8_NAME}")
    manifest = load_manifest(engine)
    (engine / "model.yaml").write_text(text.replace(manifest.onnx.sha256, manifest.int8.sha256))

    with pytest.raises(InputError, match="holds layers in FP16 or INT8 already"):
        quantised(engine, data)


def test_main_with_pictures_of_one_split_only_gives_78(engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some calibrate, others measure; without both nothing is written."""
    data = write_coco_folder(tmp_path / "half", pictures=2)

    assert quantise.main([str(engine), "--data", str(data)]) == 78

    assert "half: no picture in split 'val' of half" in capsys.readouterr().err
    assert not (engine / INT8_NAME).exists()


def test_main_with_a_runtime_too_old_for_the_installed_onnx_gives_78(
    engine: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both versions and the way out are told, before anything is measured or written."""
    monkeypatch.setattr(onnxruntime, "__version__", "1.18.1")
    monkeypatch.delattr(onnx, "mapping", raising=False)

    assert quantise.main([str(engine), "--data", str(data)]) == 78

    told = f"onnxruntime 1.18.1 does not work with onnx {onnx.__version__}: pip install 'onnxruntime>=1.19', or 'onnx<1.19'"
    assert told in capsys.readouterr().err
    assert not (engine / INT8_NAME).exists()


@pytest.mark.parametrize(("runtime", "has_mapping"), [("1.18.1", True), ("1.19.0", False), ("2.0.0", False)])
def test_refuse_old_quantiser_accepts_what_fits(monkeypatch: pytest.MonkeyPatch, runtime: str, *, has_mapping: bool) -> None:
    """An old runtime with an old onnx, and every newer runtime."""
    monkeypatch.setattr(onnxruntime, "__version__", runtime)
    monkeypatch.delattr(onnx, "mapping", raising=False)
    if has_mapping:
        monkeypatch.setattr(onnx, "mapping", object(), raising=False)

    refuse_old_quantiser()
