"""What the tensors of a detector mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_manifest, save_engine

from edged.assembly import open_detector
from edged.backends.base import Tensors, TensorSpec
from edged.errors import InferenceError, ModelError
from edged.models.detector import (
    MAX_CANDIDATES,
    Detector,
    DetectorThresholds,
    SizeLimits,
    filter_detections,
    thresholds_of,
)
from edged.models.manifest import DetectorManifest, load_manifest
from edged.types import Detections
from edged.vision.letterbox import GREY, letterbox, make_transform

BOXES = np.array([[0, 0, 32, 32], [40, 8, 56, 24]], np.float32)
SCORES = np.array([[0.8, 0.2], [0.04, 0.6]], np.float32)


class FakeBackend:
    """Answers set tensors and keeps what it was fed."""

    label = "fake"

    def __init__(self, manifest: DetectorManifest, answers: Tensors | None = None, **specs: TensorSpec) -> None:
        side = manifest.input
        self.inputs: Mapping[str, TensorSpec] = {"images": TensorSpec(side.dtype, (None, 3, side.height, side.width))}
        self.outputs: Mapping[str, TensorSpec] = {
            "boxes": TensorSpec("float32", (None, manifest.candidates, 4)),
            "scores": TensorSpec("float32", (None, manifest.candidates, len(manifest.classes))),
        }
        if manifest.points:
            self.outputs = {**self.outputs, "points": TensorSpec("float32", (None, manifest.candidates, len(manifest.points), 2))}
        self.inputs = {name: specs.pop(name, spec) for name, spec in self.inputs.items()}
        self.outputs = {name: specs.pop(name, spec) for name, spec in self.outputs.items()}
        self.answers = answers or {}
        self.fed: Tensors = {}
        self.is_closed = False

    def infer(self, feeds: Tensors) -> Tensors:
        self.fed = feeds
        return self.answers

    def close(self) -> None:
        self.is_closed = True


def make_points_manifest(**changes: object) -> DetectorManifest:
    """One whose things have an eye and a nose."""
    outputs = {"boxes": "boxes", "scores": "scores", "points": "points"}
    return make_manifest(points=["eye", "nose"], outputs=outputs, **changes)


def make_detector(manifest: DetectorManifest | None = None, **answers: np.ndarray) -> Detector:
    manifest = manifest or make_manifest()
    return Detector(manifest, FakeBackend(manifest, answers))


def decode(
    boxes: np.ndarray, scores: np.ndarray, *, thresholds: DetectorThresholds | None = None, size: tuple[int, int] = (64, 32)
) -> Detections:
    """What a detector with as many candidates and classes makes of the outputs for one picture of this size."""
    n, classes = scores.shape
    wanted = {"name": "images", "width": 64, "height": 32, "colour": "rgb", "layout": "nchw", "dtype": "uint8"}
    manifest = make_manifest(
        input=wanted, classes=[f"class{number}" for number in range(classes)], anchors=[[[1.0, 1.0]] * (n // 2)], strides=[32]
    )
    transform = make_transform(*size, width=64, height=32)
    outputs = {"boxes": boxes[None].astype(np.float32), "scores": scores[None].astype(np.float32)}
    chosen = None if thresholds is None else [thresholds]
    return make_detector(manifest).decode(outputs, [transform], thresholds=chosen)[0]


def test_detect_on_a_real_network_finds_its_boxes_in_each_picture(tmp_path: Path) -> None:
    """Pictures of several sizes in one batch each get their own boxes, in their own pixels, by descending score."""
    save_engine(tmp_path, make_manifest(), boxes=BOXES, scores=SCORES)
    white, wide, black = (
        np.full(shape, value, np.uint8) for shape, value in [((32, 64, 3), 255), ((64, 128, 3), 255), ((32, 64, 3), 0)]
    )

    with open_detector(tmp_path) as detector:
        first, second, third = detector.detect([white, wide, black])

    assert first.boxes.tolist() == BOXES.tolist()
    assert second.boxes.tolist() == (2 * BOXES).tolist()
    assert first.scores.tolist() == pytest.approx([0.8, 0.6])
    assert first.class_ids.tolist() == [0, 1]
    assert len(third) == 0


def test_detect_of_a_batch_equals_detect_of_its_pictures(tmp_path: Path) -> None:
    """A picture's detections do not depend on its neighbours in the batch, nor on the batch before."""
    save_engine(tmp_path, make_manifest(), boxes=BOXES, scores=SCORES)
    rng = np.random.default_rng(0)
    pictures = [
        rng.integers(100, 256, (height, width, 3), dtype=np.uint8) for height, width in [(32, 64), (50, 37), (90, 160), (1, 1)]
    ]

    with open_detector(tmp_path) as detector:
        together = detector.detect(pictures)
        alone = [detector.detect([pixels])[0] for pixels in pictures]

    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize(
    ("dtype", "scaling"),
    [
        pytest.param("uint8", {}, id="uint8"),
        pytest.param("float32", {}, id="float32 as it is"),
        pytest.param("float32", {"scale": 1 / 255}, id="to 0..1"),
        pytest.param("float32", {"scale": 1 / 255, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}, id="normalised"),
    ],
)
def test_prepare_writes_what_the_manifest_says(colour: str, dtype: str, scaling: dict) -> None:
    """Channel order and (pixel * scale - mean) / std, channel by channel of the network's order."""
    wanted = {"name": "images", "width": 64, "height": 32, "colour": colour, "layout": "nchw", "dtype": dtype, **scaling}
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)

    prepared = make_detector(make_manifest(input=wanted)).prepare([pixels])

    channels = pixels if colour == "rgb" else pixels[..., ::-1]
    mean, std = scaling.get("mean", [0, 0, 0]), scaling.get("std", [1, 1, 1])
    expected = ((channels * scaling.get("scale", 1.0) - mean) / std).transpose(2, 0, 1)
    assert prepared.tensor.dtype == dtype
    np.testing.assert_allclose(prepared.tensor[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_prepare_of_changing_sizes_equals_letterbox(dtype: str) -> None:
    """Whatever lay in an entry before, it holds the pixels that training and evaluation see."""
    wanted = {"name": "images", "width": 64, "height": 32, "colour": "rgb", "layout": "nchw", "dtype": dtype}
    detector = make_detector(make_manifest(input=wanted))
    rng = np.random.default_rng(0)
    sizes = [(90, 160), (90, 160), (160, 90), (3, 4000), (4000, 3), (1, 1), (33, 65), (32, 64), (90, 160)]

    for size, other in zip(sizes, sizes[1:] + sizes[:1], strict=True):
        pictures = [rng.integers(0, 256, (*each, 3), dtype=np.uint8) for each in (size, other)]
        prepared = detector.prepare(pictures)

        for entry, transform, pixels in zip(prepared.tensor, prepared.transforms, pictures, strict=True):
            canvas, expected_transform = letterbox(pixels, width=64, height=32)
            np.testing.assert_array_equal(entry, canvas.transpose(2, 0, 1))
            assert transform == expected_transform


def test_prepare_of_fewer_pictures_than_before_gives_no_old_ones() -> None:
    """The buffer is used again; what is handed on is as long as the batch."""
    detector = make_detector()
    detector.prepare([np.full((32, 64, 3), 9, np.uint8)] * 3)

    prepared = detector.prepare([np.full((8, 64, 3), 50, np.uint8)])

    assert prepared.tensor.shape == (1, 3, 32, 64)
    assert set(np.unique(prepared.tensor)) == {50, GREY}


def test_decode_of_no_candidate_above_the_floor_is_empty() -> None:
    """Nothing seen is an empty value with the right shapes."""
    found = decode(np.zeros((2, 4)), np.full((2, 3), 0.049))

    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_decode_keeps_scores_from_the_floor_on() -> None:
    """A score at the floor is reported, one just below is not; weak ones stay for the tracker."""
    boxes = np.array([[0, 0, 8, 8], [10, 0, 18, 8], [20, 0, 28, 8], [30, 0, 38, 8]])

    found = decode(boxes, np.array([[0.05], [0.0499], [0.3], [0.9]]))

    assert found.scores.tolist() == pytest.approx([0.9, 0.3, 0.05])


def test_decode_takes_the_best_class_of_a_candidate_only() -> None:
    """One candidate is one object: its second class is not reported beside its first; the lower class wins a tie."""
    found = decode(np.array([[0, 0, 8, 8], [20, 0, 28, 8]]), np.array([[0.7, 0.8, 0.1], [0.6, 0.6, 0.6]]))

    assert found.class_ids.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.8, 0.6])


def test_decode_suppresses_with_the_threshold_of_the_class() -> None:
    """Each class has its own overlap where it is set, the common one elsewhere."""
    pair = [[0, 0, 10, 10], [0, 0, 10, 6]]
    boxes = np.array(pair + pair)
    scores = np.array([[0.9, 0], [0.8, 0], [0, 0.9], [0, 0.8]])
    thresholds = DetectorThresholds(score=0.4, nms_iou=0.5, nms_iou_by_class={1: 0.7})

    found = decode(boxes, scores, thresholds=thresholds)

    assert sorted(found.class_ids.tolist()) == [0, 1, 1]


def test_decode_with_the_thresholds_of_each_camera_uses_them_for_its_picture() -> None:
    """Pictures of one batch are suppressed by the settings of their own cameras."""
    manifest = make_manifest()
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 6]]] * 2, np.float32)
    scores = np.array([[[0.9, 0], [0.8, 0]]] * 2, np.float32)
    transforms = [make_transform(64, 32, width=64, height=32)] * 2
    strict, loose = (DetectorThresholds(score=0.4, nms_iou=iou) for iou in (0.5, 0.7))

    found = make_detector(manifest).decode({"boxes": boxes, "scores": scores}, transforms, thresholds=[strict, loose])

    assert [len(each) for each in found] == [1, 2]


def test_decode_cuts_boxes_at_the_picture_and_drops_those_outside() -> None:
    """Boxes end at the picture's edge; what lies in the grey around it is no detection."""
    boxes = np.array([[-10, -10, 20, 20], [0, 0, 10, 5]])

    found = decode(boxes, np.array([[0.9], [0.8]]), size=(64, 16))  # lies in rows 8 to 24 of the input

    assert found.boxes.tolist() == [[0, 0, 20, 12]]


def test_detect_on_a_real_network_with_points_gives_them_in_the_pixels_of_the_picture(tmp_path: Path) -> None:
    """Each detection has its own points, where the letterbox put them; nothing is cut at the edge."""
    points = np.array([[[4, 4], [-8, 40]], [[44, 12], [52, 20]]], np.float32)
    save_engine(tmp_path, make_points_manifest(), boxes=BOXES, scores=SCORES, points=points)
    picture = np.full((64, 64, 3), 255, np.uint8)  # half as large in the input, between columns 16 and 48

    with open_detector(tmp_path) as detector:
        (found,) = detector.detect([picture])
        (nothing,) = detector.detect([np.zeros((32, 64, 3), np.uint8)])

    assert found.points.dtype == np.float32
    assert found.points.tolist() == ((points - [16, 0]) * 2).tolist()
    assert found.boxes[0].tolist() == [0, 0, 32, 64]
    assert nothing.points.shape == (0, 2, 2)


def test_decode_with_points_keeps_them_with_their_boxes_through_suppression() -> None:
    """The best score comes first and with its own points; those of a suppressed box, and of one in the grey, are gone."""
    manifest = make_points_manifest(anchors=[[[16.0, 24.0]] * 2])
    boxes = np.array([[[10, 0, 20, 10], [10, 0, 20, 9], [40, 8, 56, 24], [0, 0, 9, 9]]], np.float32)
    scores = np.array([[[0.7, 0], [0.6, 0], [0, 0.9], [0, 0.8]]], np.float32)
    points = np.arange(4, dtype=np.float32).repeat(4).reshape(1, 4, 2, 2)
    outputs = {"boxes": boxes, "scores": scores, "points": points}
    transform = make_transform(44, 32, width=64, height=32)  # columns 10 to 54

    (found,) = make_detector(manifest).decode(outputs, [transform])

    assert found.points[:, 0, 0].tolist() == [2 - 10, 0 - 10]
    assert found[::-1].points[:, 1, 1].tolist() == [0, 2]


@pytest.mark.parametrize(("kept", "fails"), [(0.9, True), (0.01, False)], ids=["of a detection", "of no detection"])
def test_decode_of_points_that_are_no_numbers_raises_inference_error(kept: float, fails: bool) -> None:
    """What is not reported is not looked at."""
    points = np.zeros((1, 2, 2, 2), np.float32)
    points[0, 1, 0, 0] = np.nan
    scores = np.array([[[0.9, 0], [0, kept]]], np.float32)
    outputs = {"boxes": BOXES[None], "scores": scores, "points": points}
    detector, transforms = make_detector(make_points_manifest()), [make_transform(64, 32, width=64, height=32)]

    if fails:
        with pytest.raises(InferenceError, match="points are not finite"):
            detector.decode(outputs, transforms)
    else:
        assert len(detector.decode(outputs, transforms)[0]) == 1


def test_detector_of_a_network_with_other_points_than_its_manifest_is_refused() -> None:
    """Two points are named, and the network answers three."""
    manifest = make_points_manifest()
    backend = FakeBackend(manifest, points=TensorSpec("float32", (None, 2, 3, 2)))

    with pytest.raises(ModelError, match=r"output 'points' is float32 \(None, 2, 3, 2\), its manifest says .*\[model\.shape\]"):
        Detector(manifest, backend)


def test_decode_of_more_candidates_than_the_cap_keeps_the_best() -> None:
    """A network gone wild costs a bounded time: the highest scores go on."""
    n = MAX_CANDIDATES + 200
    boxes = np.column_stack([np.zeros(n), np.zeros(n), np.linspace(1, 60, n), np.linspace(1, 30, n)])
    scores = np.linspace(0.1, 0.9, n)[:, None]

    found = decode(boxes, scores, thresholds=DetectorThresholds(score=0.4, nms_iou=0.999))

    assert found.scores.min() >= scores[200, 0] - 1e-6
    assert found.scores.max() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [
        pytest.param([[0, 0, np.nan, 1], [0, 0, 1, 1]], [[0.9], [0.1]], id="box is not a number"),
        pytest.param([[0, 0, np.inf, 1], [0, 0, 1, 1]], [[0.9], [0.1]], id="box is infinite"),
        pytest.param([[0, 0, 1, 1], [0, 0, 1, 1]], [[0.9], [np.nan]], id="score is not a number"),
        pytest.param([[0, 0, 1, 1], [0, 0, 1, 1]], [[0.9], [np.inf]], id="score is infinite"),
        pytest.param([[0, 0, 1, 1], [0, 0, 1, 1]], [[0.9], [1.5]], id="score above 1"),
    ],
)
def test_decode_of_numbers_that_are_none_raises_inference_error(boxes: list, scores: list) -> None:
    """A broken network is an error, never a silent nothing."""
    with pytest.raises(InferenceError, match="finite numbers"):
        decode(np.array(boxes), np.array(scores))


def test_decode_of_other_shapes_raises_inference_error() -> None:
    """Outputs of another length than the manifest's grid are refused."""
    outputs = {"boxes": np.zeros((1, 3, 4), np.float32), "scores": np.zeros((1, 3, 2), np.float32)}

    with pytest.raises(InferenceError, match=r"\(1, 2, 4\)"):
        make_detector().decode(outputs, [make_transform(64, 32, width=64, height=32)])


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        pytest.param({"images": TensorSpec("float32", (None, 3, 32, 64))}, "input 'images' is float32", id="type"),
        pytest.param({"images": TensorSpec("uint8", (None, 3, 64, 64))}, "[model.shape]", id="size"),
        pytest.param({"images": TensorSpec("uint8", (1, 3, 32, 64))}, "[model.shape]", id="batch is not free"),
        pytest.param({"boxes": TensorSpec("float32", (None, 9, 4))}, "output 'boxes'", id="candidates"),
        pytest.param({"scores": TensorSpec("float32", (None, 2, 80))}, "[model.classes]", id="80 outputs for 2 names"),
        pytest.param(
            {"boxes": TensorSpec("float32", (None, 2, 2)), "scores": TensorSpec("float32", (None, 2, 4))},
            "[model.classes]",
            id="outputs swapped",
        ),
    ],
)
def test_detector_of_a_network_that_is_not_its_manifests_is_refused(specs: dict[str, TensorSpec], words: str) -> None:
    """A mismatch is a ModelError before the first picture."""
    manifest = make_manifest()

    with pytest.raises(ModelError) as caught:
        Detector(manifest, FakeBackend(manifest, None, **specs))

    assert words in str(caught.value)


def test_detector_of_a_network_with_other_names_lists_them() -> None:
    """A missing output is named beside those that are there."""
    manifest = make_manifest(outputs={"boxes": "boxes", "scores": "probabilities"})

    with pytest.raises(ModelError, match="no output 'probabilities', it has 'boxes', 'scores'"):
        Detector(manifest, FakeBackend(manifest))


def test_open_detector_of_a_broken_network_raises_model_error(tmp_path: Path) -> None:
    """A network that answers no numbers is found out when it is opened, not at the first frame."""
    save_engine(tmp_path, make_manifest(), boxes=BOXES, scores=np.full((2, 2), np.nan))

    with pytest.raises(ModelError, match=r"grey picture.*\[model\.invalid\]"):
        open_detector(tmp_path)


def test_detector_after_close_refuses_to_compute(tmp_path: Path) -> None:
    """Leaving the context closes the network."""
    save_engine(tmp_path, make_manifest(), boxes=BOXES, scores=SCORES)
    with open_detector(tmp_path) as detector:
        label = detector.label

    assert label.startswith("tiny test-1 on onnxruntime")
    with pytest.raises(InferenceError, match="closed"):
        detector.detect([np.zeros((32, 64, 3), np.uint8)])


def test_thresholds_of_a_manifest_are_by_class_id(tmp_path: Path) -> None:
    """Names become ids; what a class does not set is left to the common value."""
    shipped = {"score": 0.4, "nms_iou": 0.5, "per_class": {"car": {"score": 0.3}, "person": {"nms_iou": 0.6}}}
    save_engine(tmp_path, make_manifest(thresholds=shipped), boxes=BOXES, scores=SCORES)

    thresholds = thresholds_of(load_manifest(tmp_path))

    assert thresholds == DetectorThresholds(score=0.4, nms_iou=0.5, score_by_class={1: 0.3}, nms_iou_by_class={0: 0.6})


@pytest.mark.parametrize("scores", [{"score": 0.01}, {"score": 1.0}, {"score": 0.5, "score_by_class": {0: 0.04}}], ids=str)
def test_thresholds_out_of_bounds_are_refused(scores: dict) -> None:
    """A threshold below the floor would promise detections that never come."""
    with pytest.raises(ValueError, match="score threshold"):
        DetectorThresholds(nms_iou=0.5, **scores)


def make_detections(*boxes: tuple[float, float, float, float], class_ids: list[int] | None = None) -> Detections:
    n = len(boxes)
    return Detections(np.array(boxes, np.float32), np.full(n, 0.9, np.float32), np.array(class_ids or [0] * n))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param(SizeLimits(), [10, 20, 40], id="any size"),
        pytest.param(SizeLimits(min_width_ratio=0.2), [20, 40], id="at the least width passes"),
        pytest.param(SizeLimits(max_width_ratio=0.2), [10, 20], id="at the most width passes"),
        pytest.param(SizeLimits(min_height_ratio=0.5), [40], id="least height"),
        pytest.param(SizeLimits(max_height_ratio=0.1), [10], id="most height"),
    ],
)
def test_filter_detections_by_size_keeps_what_fits(limits: SizeLimits, expected: list[int]) -> None:
    """Limits are shares of the picture; equality passes."""
    detections = make_detections((0, 0, 10, 5), (0, 0, 20, 10), (0, 0, 40, 40))

    kept = filter_detections(detections, width=100, height=50, sizes={0: limits})

    assert (kept.boxes[:, 2] - kept.boxes[:, 0]).tolist() == expected


def test_filter_detections_by_size_touches_its_class_only() -> None:
    """A class without limits passes at any size."""
    detections = make_detections((0, 0, 10, 10), (0, 0, 10, 10), class_ids=[0, 1])

    kept = filter_detections(detections, width=100, height=100, sizes={0: SizeLimits(min_width_ratio=0.5)})

    assert kept.class_ids.tolist() == [1]


def test_filter_detections_in_an_ignored_area_drops_what_stands_there() -> None:
    """The bottom centre decides; the area's edge, at the picture's rim too, belongs to the area."""
    lower_half = [(0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)]
    detections = make_detections((0, 0, 10, 20), (0, 0, 10, 49), (0, 0, 10, 50), (0, 10, 10, 80), (90, 0, 100, 100))

    kept = filter_detections(detections, width=100, height=100, sizes={}, ignore=[lower_half])

    assert kept.boxes[:, 3].tolist() == [20, 49]


def test_filter_detections_of_none_gives_none() -> None:
    """No detections pass every filter."""
    assert (
        len(filter_detections(Detections.empty(), width=9, height=9, sizes={0: SizeLimits()}, ignore=[[(0, 0), (1, 0), (1, 1)]]))
        == 0
    )
