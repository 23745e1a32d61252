"""Faces of a picture, from three networks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from models_onnx import make_encoder_manifest, make_liveness_manifest, make_manifest, save_mean_colour_engine

from edged.backends.base import Tensors, TensorSpec
from edged.backends.onnx import open_onnx_backend
from edged.errors import InferenceError, ModelError
from edged.face_reading import FaceReader
from edged.models.detector import Detector
from edged.models.face import FaceEncoder
from edged.models.liveness import Liveness
from edged.models.manifest import DetectorManifest
from edged.vision.alignment import POINT_NAMES, TEMPLATES

RED, GREEN = (255, 0, 0), (0, 255, 0)
POINTS = TEMPLATES["mean112"].as_array() / 112
"""Where the points of a face lie in its box, so that it is aligned to itself."""


class BrightSquares:
    """Takes every bright square in what it is fed for a face; notes how many pictures each batch had."""

    label = "bright squares"

    def __init__(self, manifest: DetectorManifest, *, score: float = 0.9, points: np.ndarray = POINTS) -> None:
        side, n = manifest.input, manifest.candidates
        self.inputs = {"images": TensorSpec("uint8", (None, 3, side.height, side.width))}
        self.outputs = {
            "boxes": TensorSpec("float32", (None, n, 4)),
            "scores": TensorSpec("float32", (None, n, 1)),
            "points": TensorSpec("float32", (None, n, len(manifest.points), 2)),
        }
        self.batches: list[int] = []
        self.is_closed = False
        self._score = score
        self._points = points

    def infer(self, feeds: Tensors) -> Tensors:
        pictures = feeds["images"]
        self.batches.append(len(pictures))
        answers = {name: np.zeros((len(pictures), *spec.shape[1:]), np.float32) for name, spec in self.outputs.items()}
        for entry, picture in enumerate(pictures):
            _, _, stats, _ = cv2.connectedComponentsWithStats((picture.max(axis=0) > 150).astype(np.uint8))
            for place, (x, y, w, h, _) in enumerate(stats[1:]):
                answers["boxes"][entry, place] = x, y, x + w, y + h
                answers["scores"][entry, place] = self._score
                answers["points"][entry, place] = self._points * (w, h) + (x, y)
        return answers

    def close(self) -> None:
        self.is_closed = True


def make_face_manifest(**changes: object) -> DetectorManifest:
    """A detector of faces with an input of 64x64, of at most 8."""
    wanted = {"name": "images", "width": 64, "height": 64, "colour": "rgb", "layout": "nchw", "dtype": "uint8"}
    fields = {
        "name": "faces",
        "input": wanted,
        "classes": ["face"],
        "points": POINT_NAMES,
        "outputs": {"boxes": "boxes", "scores": "scores", "points": "points"},
        "anchors": [[[16.0, 16.0], [32.0, 32.0]]],
    }
    return make_manifest(**{**fields, **changes})


class Reader(FaceReader):
    """One whose encoder answers the colour of a face and whose liveness network takes green for alive."""

    def __init__(self, directory: Path, *, has_liveness: bool = True, batch: int = 8, **squares: object) -> None:
        manifest = make_face_manifest()
        self.squares = BrightSquares(manifest, **squares)
        encoder = save_mean_colour_engine(directory / "who", make_encoder_manifest(dimension=3), weights=np.eye(3))
        alive = make_liveness_manifest(margin=1.0)
        weights, bias = np.array([[0, 0], [8, 0], [0, 0]]), np.array([-4, 0])
        liveness = save_mean_colour_engine(directory / "alive", alive, weights=weights, bias=bias)
        super().__init__(
            Detector(manifest, self.squares),
            FaceEncoder(encoder, open_onnx_backend(directory / "who" / "model.onnx")),
            Liveness(liveness, open_onnx_backend(directory / "alive" / "model.onnx")) if has_liveness else None,
            batch=batch,
        )


def draw(width: int, height: int, **faces: tuple[int, int, int, int]) -> np.ndarray:
    """A dark picture with faces, named by their colour."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for colour, (x1, y1, x2, y2) in faces.items():
        pixels[y1:y2, x1:x2] = {"red": RED, "green": GREEN}[colour]
    return pixels


def test_find_in_a_whole_picture_gives_boxes_and_points_in_its_pixels(tmp_path: Path) -> None:
    """Whatever the letterbox did; the quality is measured, nothing is read yet."""
    with Reader(tmp_path) as reader:
        (face,) = reader.find(draw(128, 96, red=(32, 16, 96, 80)))

    assert face.box.tolist() == [32, 16, 96, 80]
    assert face.points == pytest.approx(POINTS * 64 + (32, 16), abs=1e-3)
    assert face.score == pytest.approx(0.9)
    assert 0 <= face.quality <= 1
    assert face.embedding is None
    assert face.live is None


def test_find_in_a_region_sees_nothing_else(tmp_path: Path) -> None:
    """What it finds is in the whole picture's pixels; a little around the region is looked at, too."""
    picture = draw(400, 300, red=(20, 20, 60, 60), green=(220, 150, 260, 190))

    with Reader(tmp_path) as reader:
        (face,) = reader.find(picture, np.array([222.0, 152.0, 300.0, 299.0]))
        everywhere = reader.find(picture)

    assert face.box == pytest.approx(np.array([220, 150, 260, 190]), abs=2)
    assert len(everywhere) == 2


@pytest.mark.parametrize(
    "region", [(500, 10, 600, 90), (-90, -90, -50, -50), (50, 50, 50, 50)], ids=["beside", "before", "of nothing"]
)
def test_find_in_a_region_outside_of_the_picture_is_empty(tmp_path: Path, region: tuple[float, ...]) -> None:
    """A track may have left; the network is not asked."""
    with Reader(tmp_path) as reader:
        assert reader.find(draw(100, 100, red=(0, 0, 100, 100)), np.array(region, np.float32)) == []

    assert reader.squares.batches == []


def test_find_in_a_small_region_sees_it_enlarged(tmp_path: Path) -> None:
    """A face of 6 pixels that the whole picture, made smaller, does not show."""
    picture = draw(1280, 720, red=(600, 300, 606, 306))

    with Reader(tmp_path) as reader:
        (face,) = reader.find(picture, np.array([590, 290, 620, 320]))

        assert reader.find(picture) == []
    assert face.box == pytest.approx(np.array([600, 300, 606, 306]), abs=0.6)


def test_find_looks_at_small_faces_again_from_near(tmp_path: Path) -> None:
    """In one more batch for all of them; places are then known better than the first look could tell."""
    boxes = {"red": (103, 101, 145, 143), "green": (307, 205, 349, 247)}
    picture = draw(640, 480, **boxes)

    with Reader(tmp_path) as reader:
        found = reader.find(picture)

    assert reader.squares.batches == [1, 2]
    found.sort(key=lambda face: face.box[0])
    assert found[0].box == pytest.approx(np.array(boxes["red"]), abs=2)  # in the first look a pixel was 10 of the picture
    assert found[1].points == pytest.approx(POINTS * 42 + (307, 205), abs=2)


def test_find_merges_what_several_looks_see(tmp_path: Path) -> None:
    """Neighbours are in each other's second look, and are two faces all the same."""
    picture = draw(640, 480, red=(100, 100, 140, 140), green=(160, 100, 200, 140))

    with Reader(tmp_path) as reader:
        found = reader.find(picture)

    assert reader.squares.batches == [1, 2]
    assert sorted(round(float(face.box[0]), -1) for face in found) == [100, 160]


def test_find_of_many_small_faces_shows_so_many_at_once(tmp_path: Path) -> None:
    """No batch is larger than the networks were opened for."""
    pixels = np.zeros((640, 640, 3), np.uint8)
    for x in (40, 240, 440):
        pixels[40:100, x : x + 60] = pixels[300:360, x : x + 60] = RED

    with Reader(tmp_path, batch=4) as reader:
        found = reader.find(pixels)

    assert len(found) == 6
    assert reader.squares.batches == [1, 4, 2]


@pytest.mark.parametrize(("score", "n"), [(0.4, 1), (0.39, 0)], ids=["at the threshold", "below"])
def test_find_gives_the_faces_that_the_detector_believes(tmp_path: Path, score: float, n: int) -> None:
    """Weaker ones are for trackers."""
    with Reader(tmp_path, score=score) as reader:
        assert len(reader.find(draw(64, 64, red=(10, 10, 50, 50)))) == n


def test_read_gives_each_face_its_embedding_and_whether_it_lives(tmp_path: Path) -> None:
    """In the order of the faces, in batches; the rest of a face stays."""
    picture = draw(128, 64, red=(4, 4, 60, 60), green=(68, 4, 124, 60))

    with Reader(tmp_path, batch=1) as reader:
        faces = sorted(reader.find(picture), key=lambda face: face.box[0])
        red, green = reader.read(picture, faces)

        assert reader.read(picture, []) == []
    assert red.embedding == pytest.approx([1, 0, 0], abs=0.02)
    assert green.embedding == pytest.approx([0, 1, 0], abs=0.02)
    assert (red.live, green.live) == (pytest.approx(0.018, abs=0.01), pytest.approx(0.982, abs=0.01))
    assert (red.box.tolist(), red.quality) == (faces[0].box.tolist(), faces[0].quality)


def test_read_without_a_liveness_network_leaves_it_open(tmp_path: Path) -> None:
    """Not judged is not alive."""
    picture = draw(64, 64, red=(4, 4, 60, 60))

    with Reader(tmp_path, has_liveness=False) as reader:
        (face,) = reader.read(picture, reader.find(picture))

    assert face.live is None
    assert face.embedding is not None


def test_read_of_points_in_one_place_raises_inference_error(tmp_path: Path) -> None:
    """A broken detector is an error; nobody's face is like that."""
    picture = draw(64, 64, red=(4, 4, 60, 60))

    with (
        Reader(tmp_path, points=np.full((5, 2), 0.5)) as reader,
        pytest.raises(InferenceError, match="points of one face"),
    ):
        reader.read(picture, reader.find(picture))


def test_model_digest_is_that_of_the_encoder(tmp_path: Path) -> None:
    """Templates are bound to it."""
    with Reader(tmp_path) as reader:
        assert reader.model_digest == reader.encoder.manifest.onnx.sha256


def test_close_closes_every_network(tmp_path: Path) -> None:
    """Leaving the context does."""
    with Reader(tmp_path) as reader:
        pass

    assert reader.squares.is_closed
    with pytest.raises(InferenceError, match="closed"):
        reader.encoder.warm_up()
    with pytest.raises(InferenceError, match="closed"):
        reader.liveness.warm_up()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param({"classes": ["face", "hand"]}, "face, hand with left_eye", id="of hands, too"),
        pytest.param({"points": POINT_NAMES[::-1]}, "face with mouth_right", id="in another order"),
    ],
)
def test_face_reader_with_a_detector_of_something_else_is_refused(changes: dict[str, object], found: str) -> None:
    """Eyes taken for corners of the mouth would turn every face upside down."""
    manifest = make_face_manifest(**changes)
    backend = BrightSquares(manifest)
    backend.outputs["scores"] = TensorSpec("float32", (None, manifest.candidates, len(manifest.classes)))

    with pytest.raises(ModelError, match=rf"faces: expected .* left_eye.*, got one of {found}.*\[model\.points\]"):
        FaceReader(Detector(manifest, backend), None, None)
