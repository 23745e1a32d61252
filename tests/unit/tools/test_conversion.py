"""Weights in half the size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from models_onnx import make_manifest, save_colour_engine, save_engine
from onnx import TensorProto, numpy_helper

from edged.assembly import open_detector
from edged.errors import InputError
from edged.models.manifest import digest_file
from tools.conversion import pack_weights, read_float, unpack_weights
from tools.engines import write_manifest
from tools.halve import make_fp16

WHITE = np.full((32, 64, 3), 255, np.uint8)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Its `pool_weight` has 3072 numbers, all others have fewer than a hundred."""
    save_colour_engine(tmp_path / "tiny", make_manifest())
    return tmp_path / "tiny"


def initializers(network: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in network.graph.initializer}


def test_pack_weights_stores_large_ones_in_half_and_answers_as_before(engine: Path) -> None:
    """1/1024 is a number of FP16, so that nothing is lost here; the file is a network of standard operators."""
    network = onnx.load(engine / "model.onnx")
    before = len(network.SerializeToString())

    packed = pack_weights(network)

    onnx.checker.check_model(packed, full_check=True)
    stored = initializers(packed)
    assert {name for name, tensor in stored.items() if tensor.data_type == TensorProto.FLOAT16} == {"pool_weight"}
    assert before - len(packed.SerializeToString()) > 3072 * 2 - 200
    with open_detector(engine) as detector:
        expected = detector.detect([WHITE])[0].scores
        manifest = detector.manifest
    (engine / "model.onnx").write_bytes(packed.SerializeToString())
    digest = digest_file(engine / "model.onnx")
    write_manifest(engine, manifest.model_copy(update={"onnx": manifest.onnx.model_copy(update={"sha256": digest})}))
    with open_detector(engine) as detector:
        np.testing.assert_allclose(detector.detect([WHITE])[0].scores, expected, rtol=1e-6)


def test_unpack_weights_undoes_it(engine: Path) -> None:
    """The same bytes where no weight was rounded."""
    network = onnx.load(engine / "model.onnx")
    expected = network.SerializeToString(deterministic=True)

    assert unpack_weights(pack_weights(network)).SerializeToString(deterministic=True) == expected


def test_unpack_weights_of_another_network_changes_nothing(engine: Path) -> None:
    """What computes in FP16 is left so."""
    network = make_fp16(onnx.load(engine / "model.onnx"))
    expected = network.SerializeToString(deterministic=True)

    assert unpack_weights(network).SerializeToString(deterministic=True) == expected


def test_read_float_of_a_packed_network_can_be_halved(engine: Path) -> None:
    """As it can be in float: the same file comes out."""
    expected = make_fp16(read_float(engine / "model.onnx"))
    packed = pack_weights(onnx.load(engine / "model.onnx"))
    (engine / "model.onnx").write_bytes(packed.SerializeToString())

    assert make_fp16(read_float(engine / "model.onnx")) == expected


def test_pack_weights_of_a_network_with_small_weights_changes_nothing(tmp_path: Path) -> None:
    """A Cast for a few numbers would be larger than what it saves."""
    save_engine(tmp_path, make_manifest(), boxes=np.zeros((2, 4)), scores=np.zeros((2, 2)))
    network = onnx.load(tmp_path / "model.onnx")
    expected = network.SerializeToString(deterministic=True)

    assert pack_weights(network).SerializeToString(deterministic=True) == expected


def test_pack_weights_of_one_too_large_for_half_raises(engine: Path) -> None:
    """Infinity would be no weight."""
    network = onnx.load(engine / "model.onnx")
    initializers(network)["pool_weight"].CopyFrom(
        numpy_helper.from_array(np.full((3, 1, 32, 32), 1e5, np.float32), "pool_weight")
    )

    with pytest.raises(InputError, match="'pool_weight' reaches beyond FP16's 65504"):
        pack_weights(network)
