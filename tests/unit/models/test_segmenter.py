"""What the tensors of a segmenter mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_segmenter_manifest, save_pixel_colour_engine

from edged.assembly import open_segmenter
from edged.backends.base import Tensors, TensorSpec
from edged.errors import InferenceError, ModelError
from edged.models.manifest import SegmenterManifest
from edged.models.segmenter import Segmenter

COLOURS = 8 * np.eye(3, dtype=np.float32)
"""What is red is road, what is green a car, what is blue a person."""
RED, GREEN, BLUE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
INPUT = (32, 64)


class FakeBackend:
    """Answers set tensors; declares what a test says, else what the manifest wants."""

    label = "fake"

    def __init__(self, answers: Tensors | None = None, **specs: TensorSpec) -> None:
        self.inputs = {"images": TensorSpec("uint8", (None, 3, *INPUT))}
        declared = {name: TensorSpec("uint8", (None, *INPUT)) for name in ("labels", "confidence")} | specs
        self.outputs = {name: spec for name, spec in declared.items() if spec is not None}
        self.answers = answers or {}

    def infer(self, feeds: Tensors) -> Tensors:
        return self.answers

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A network of three colours at 64x32."""
    save_pixel_colour_engine(tmp_path / "scene", make_segmenter_manifest(), weights=COLOURS)
    return tmp_path / "scene"


def make_halves(left: tuple[int, int, int], right: tuple[int, int, int], *, width: int, height: int) -> np.ndarray:
    """(height, width, 3): two colours side by side."""
    pixels = np.full((height, width, 3), left, np.uint8)
    pixels[:, width // 2 :] = right
    return pixels


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        pytest.param(64, 32, (32, 64), id="the input's"),
        pytest.param(100, 80, (32, 40), id="grey beside it"),
        pytest.param(640, 160, (16, 64), id="grey above and below"),
        pytest.param(16, 4, (16, 64), id="smaller"),
    ],
)
def test_segment_gives_the_map_of_the_picture_alone(engine: Path, width: int, height: int, size: tuple[int, int]) -> None:
    """Its left half is the left half of the map, whatever surrounds the picture in the network's input."""
    with open_segmenter(engine) as segmenter:
        found = segmenter.segment(make_halves(RED, BLUE, width=width, height=height))

    assert found.labels.shape == found.confidence.shape == size
    middle = size[1] // 2
    assert np.unique(found.labels[:, : middle - 1]).tolist() == [0]
    assert np.unique(found.labels[:, middle + 1 :]).tolist() == [2]
    assert (found.frame_width, found.frame_height) == (width, height)
    assert found.classes == ("road", "car", "person")


def test_segment_tells_how_sure_it_is(engine: Path) -> None:
    """255 is certain; where two classes are as likely, half of that."""
    with open_segmenter(engine) as segmenter:
        found = segmenter.segment(make_halves(GREEN, (200, 200, 0), width=64, height=32))

    assert found.confidence[:, :32].min() >= 254
    assert np.unique(found.confidence[:, 32:]).tolist() == [127]


def test_segment_all_keeps_pictures_of_several_sizes_apart(engine: Path) -> None:
    """One batch; each map has its picture's own shape and colours, and lives on after the next batch."""
    with open_segmenter(engine) as segmenter:
        pictures = [make_halves(GREEN, GREEN, width=64, height=32), make_halves(BLUE, RED, width=100, height=80)]
        first, second = segmenter.segment_all(pictures)
        segmenter.segment_all(pictures[::-1])
        none = segmenter.segment_all([])

    assert np.unique(first.labels).tolist() == [1]
    assert second.labels.shape == (32, 40)
    assert second.labels[0, [0, 39]].tolist() == [2, 0]
    assert none == []


def test_segment_without_confidence_has_none(tmp_path: Path) -> None:
    """A network need not say how sure it is."""
    manifest = make_segmenter_manifest(outputs={"labels": "labels"})
    save_pixel_colour_engine(tmp_path, manifest, weights=COLOURS)

    with open_segmenter(tmp_path) as segmenter:
        found = segmenter.segment(make_halves(RED, RED, width=64, height=32))

    assert found.confidence is None
    assert not found.labels.any()


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        pytest.param({"labels": None}, r"no output 'labels', it has 'confidence' \[model\.shape\]", id="no labels"),
        pytest.param({"confidence": None}, "no output 'confidence'", id="no confidence"),
        pytest.param({"labels": TensorSpec("int64", (None, *INPUT))}, r"'labels' is int64 \(None, 32, 64\)", id="another type"),
        pytest.param({"labels": TensorSpec("uint8", (None, 16, 32))}, r"\(None, 16, 32\), its manifest says uint8", id="coarser"),
        pytest.param({"labels": TensorSpec("uint8", (None, 1, *INPUT))}, r"\(None, 1, 32, 64\)", id="an axis too many"),
    ],
)
def test_segmenter_that_does_not_fit_its_manifest_is_refused(specs: dict[str, TensorSpec | None], words: str) -> None:
    """Before the first picture."""
    with pytest.raises(ModelError, match=words):
        Segmenter(make_segmenter_manifest(), FakeBackend(**specs))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        pytest.param(np.full((1, *INPUT), 3, np.uint8), "a label is 3, and its manifest names 3 classes", id="no class"),
        pytest.param(
            np.zeros((2, *INPUT), np.uint8), r"expected outputs labels \(1, 32, 64\).* got labels \(2,", id="another batch"
        ),
    ],
)
def test_segment_of_wrong_outputs_raises_inference_error(labels: np.ndarray, words: str) -> None:
    """A network that is not the one of its manifest says nothing."""
    segmenter = Segmenter(
        make_segmenter_manifest(), FakeBackend({"labels": labels, "confidence": np.zeros((1, *INPUT), np.uint8)})
    )

    with pytest.raises(InferenceError, match=words):
        segmenter.segment(np.zeros((32, 64, 3), np.uint8))


def test_open_segmenter_of_a_network_of_more_classes_than_it_names_is_refused(tmp_path: Path) -> None:
    """The classes stand in no tensor's shape: the grey picture shows it, if not the first label."""
    manifest: SegmenterManifest = make_segmenter_manifest(classes=["road", "car"])
    save_pixel_colour_engine(tmp_path, manifest, weights=np.array([[0, 0, 8]] * 3))

    with pytest.raises(ModelError, match=r"fails on a grey picture: scene: a label is 2, and its manifest names 2 classes"):
        open_segmenter(tmp_path)
