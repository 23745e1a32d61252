"""What the tensors of a liveness network mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_liveness_manifest, save_mean_colour_engine

from edged.backends.onnx import open_onnx_backend
from edged.errors import InferenceError, ModelError
from edged.models.liveness import Liveness
from edged.models.manifest import LivenessManifest

GREEN_IS_ALIVE = np.array([[0, 0], [8, 0], [0, 0]], np.float32)
BIAS = np.array([-4, 0], np.float32)
ALIVE, NOT_ALIVE = 1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4))


def open_liveness(directory: Path, manifest: LivenessManifest | None = None, *, weights: np.ndarray = GREEN_IS_ALIVE) -> Liveness:
    """A network that takes what is green for alive."""
    written = save_mean_colour_engine(directory, manifest or make_liveness_manifest(), weights=weights, bias=BIAS)
    return Liveness(written, open_onnx_backend(directory / written.onnx.file))


def picture_with_a_green_square() -> np.ndarray:
    """(100, 100, 3), green in its middle from 40 to 60."""
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[40:60, 40:60, 1] = 255
    return pixels


def test_score_of_faces_is_that_of_the_square_around_each(tmp_path: Path) -> None:
    """In the order of the boxes; the margin of the manifest says how much around a face is shown."""
    boxes = np.array([[45, 45, 55, 55], [10, 10, 20, 20], [40, 40, 60, 60]], np.float32)

    with open_liveness(tmp_path) as liveness:
        scores = liveness.score(picture_with_a_green_square(), boxes)

    assert scores.dtype == np.float32
    assert scores[:2] == pytest.approx([ALIVE, NOT_ALIVE], rel=1e-3)
    assert scores[2] == pytest.approx(1 / (1 + np.exp(2)), rel=0.1)  # a quarter of what is shown is green


def test_score_takes_the_class_that_is_live_whatever_its_place(tmp_path: Path) -> None:
    """The manifest names the classes in the network's order."""
    manifest = make_liveness_manifest(classes=["spoof", "live"], margin=1.0)

    with open_liveness(tmp_path, manifest) as liveness:
        scores = liveness.score(picture_with_a_green_square(), np.array([[40, 40, 60, 60]], np.float32))

    assert scores == pytest.approx([NOT_ALIVE], rel=1e-3)


def test_score_of_a_face_at_the_edge_sees_no_border(tmp_path: Path) -> None:
    """What lies beyond the picture looks like its edge."""
    green = np.zeros((50, 50, 3), np.uint8)
    green[..., 1] = 255

    with open_liveness(tmp_path) as liveness:
        scores = liveness.score(green, np.array([[0, 0, 50, 50]], np.float32))

    assert scores == pytest.approx([ALIVE], rel=1e-3)


def test_score_of_no_face_is_empty(tmp_path: Path) -> None:
    """No batch goes to the network."""
    with open_liveness(tmp_path) as liveness:
        assert liveness.score(picture_with_a_green_square(), np.zeros((0, 4), np.float32)).shape == (0,)


def test_score_that_is_no_probability_raises_inference_error(tmp_path: Path) -> None:
    """A broken network says neither yes nor no."""
    with (
        open_liveness(tmp_path, weights=np.full((3, 2), np.nan)) as liveness,
        pytest.raises(InferenceError, match=r"alive: .*nan"),
    ):
        liveness.warm_up()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"classes": ["live", "print", "replay"]},
            r"its manifest says float32 \(None, 3\) \[model\.classes\]",
            id="other classes",
        ),
        pytest.param(
            {"input": {"name": "images", "width": 64, "height": 32, "colour": "rgb", "layout": "nchw", "dtype": "uint8"}},
            r"is shown squares, and its input is 64x32 \[model\.shape\]",
            id="no square",
        ),
    ],
)
def test_liveness_that_does_not_fit_its_manifest_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    """Before the first face."""
    with pytest.raises(ModelError, match=words):
        open_liveness(tmp_path, make_liveness_manifest(**changes))
