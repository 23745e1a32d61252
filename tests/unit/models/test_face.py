"""What the tensors of a face encoder mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_encoder_manifest, save_mean_colour_engine

from edged.backends.onnx import open_onnx_backend
from edged.errors import InferenceError, ModelError
from edged.models.face import FaceEncoder
from edged.models.manifest import EncoderManifest

WEIGHTS = np.array([[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0]], np.float32)


def open_encoder(directory: Path, manifest: EncoderManifest | None = None, *, weights: np.ndarray = WEIGHTS) -> FaceEncoder:
    """The encoder of a network that answers the mean colour and twice the red."""
    written = save_mean_colour_engine(directory, manifest or make_encoder_manifest(), weights=weights)
    return FaceEncoder(written, open_onnx_backend(directory / written.onnx.file))


def crop_of(*colour: int) -> np.ndarray:
    return np.full((112, 112, 3), colour, np.uint8)


def test_encode_gives_one_embedding_of_unit_length_for_each_face(tmp_path: Path) -> None:
    """Direction is the network's, length always 1; bright and dark of one colour are the same."""
    with open_encoder(tmp_path) as encoder:
        embeddings = encoder.encode([crop_of(255, 0, 0), crop_of(51, 0, 0), crop_of(0, 200, 0)])

    assert embeddings.dtype == np.float32
    assert embeddings == pytest.approx(np.array([[1, 0, 0, 2], [1, 0, 0, 2], [0, np.sqrt(5), 0, 0]]) / np.sqrt(5), abs=1e-5)


def test_encode_of_no_face_is_empty(tmp_path: Path) -> None:
    """No batch goes to the network, and the dimension is right."""
    with open_encoder(tmp_path) as encoder:
        assert encoder.encode([]).shape == (0, 4)


def test_encode_of_many_equals_encode_of_each(tmp_path: Path) -> None:
    """A face's embedding does not depend on its neighbours in the batch."""
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(3)]

    with open_encoder(tmp_path) as encoder:
        together, alone = encoder.encode(crops), [encoder.encode([crop])[0] for crop in crops]

    np.testing.assert_allclose(together, alone, rtol=1e-5)


@pytest.mark.parametrize("shape", [(112, 111, 3), (224, 224, 3), (112, 112)], ids=str)
def test_encode_of_a_face_of_another_size_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """A face that was not aligned would be encoded as nobody."""
    with open_encoder(tmp_path) as encoder, pytest.raises(ValueError, match=r"expected aligned faces \(112, 112, 3\)"):
        encoder.encode([np.zeros(shape, np.uint8)])


@pytest.mark.parametrize(
    "weights",
    [np.zeros((3, 4)), np.full((3, 4), np.nan), np.full((3, 4), np.inf)],
    ids=["no length", "no number", "infinite"],
)
def test_encode_without_a_direction_raises_inference_error(tmp_path: Path, weights: np.ndarray) -> None:
    """One such row in a gallery would be everybody, or nobody."""
    with (
        open_encoder(tmp_path, weights=weights) as encoder,
        pytest.raises(InferenceError, match="who: an embedding is of length"),
    ):
        encoder.encode([crop_of(200, 100, 50)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"template": "mine"}, r"who: no alignment template 'mine'; known: mean112.*\[model\.template\]", id="unknown"
        ),
        pytest.param(
            {"input": {"name": "images", "width": 96, "height": 112, "colour": "rgb", "layout": "nchw", "dtype": "uint8"}},
            r"mean112 makes faces of 112 pixels, and the input is 96x112 \[model\.template\]",
            id="of another size",
        ),
        pytest.param(
            {"dimension": 8}, r"output 'embedding' is float32 .*4\), its manifest says float32 \(None, 8\)", id="dimension"
        ),
    ],
)
def test_encoder_that_does_not_fit_its_manifest_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    """Before the first face."""
    with pytest.raises(ModelError, match=words):
        open_encoder(tmp_path, make_encoder_manifest(**changes))


def test_encoder_after_close_refuses_to_encode(tmp_path: Path) -> None:
    """Leaving the context closes the network; until then a grey picture warms it."""
    with open_encoder(tmp_path) as encoder:
        encoder.warm_up()

    assert encoder.label.startswith("who test-1 on onnxruntime")
    with pytest.raises(InferenceError, match="closed"):
        encoder.warm_up()
