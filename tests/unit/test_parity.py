"""Two backends are compared by what they see: the same is 1, and what differs shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from models_onnx import (
    make_encoder_manifest,
    make_liveness_manifest,
    make_manifest,
    make_segmenter_manifest,
    save_engine,
    save_mean_colour_engine,
    save_pixel_colour_engine,
)

from edged.assembly import open_detector, open_network, open_segmenter
from edged.errors import InputError
from edged.models.detector import DetectorThresholds
from edged.models.manifest import PRECISIONS, DetectorLimits, Manifest, load_manifest
from edged.models.segmenter import Segmenter
from edged.parity import LIMITS, Parity, check_parity, draw_pictures, limits_of
from edged.types import Detections, Pixels, SegmentationMap

ENGINES = Path(__file__).parents[2] / "engines"
PICTURE = np.zeros((100, 100, 3), np.uint8)
PERSON, CAR = 0, 1


class ScriptedDetector:
    """A stand-in for a detector: it sees in each picture what it was told, and remembers how many it was shown at once."""

    thresholds = DetectorThresholds(score=0.5, nms_iou=0.5, score_by_class={CAR: 0.3})

    def __init__(self, *seen: Detections) -> None:
        n_points = 0 if seen[0].points is None else seen[0].points.shape[1]
        self.manifest = SimpleNamespace(points=("point",) * n_points)
        self._seen = list(seen)
        self.batches: list[int] = []

    def detect(self, pictures: Sequence[Pixels]) -> list[Detections]:
        self.batches.append(len(pictures))
        return [self._seen.pop(0) for _ in pictures]


def seen(*rows: tuple[float, float, int]) -> Detections:
    """Detections of 10x10 pixels, each of (x, score, class), best first."""
    return Detections(
        np.array([(x, 0, x + 10, 10) for x, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([class_id for _, _, class_id in rows], np.int64),
    )


def compare(reference: Detections, candidate: Detections) -> Parity:
    """On one picture."""
    return check_parity(ScriptedDetector(reference), ScriptedDetector(candidate), [PICTURE], batches=[1])


TWO = seen((0, 0.9, PERSON), (50, 0.6, PERSON))


@pytest.mark.parametrize(
    ("reference", "candidate", "ap50", "mean_iou", "found"),
    [
        pytest.param(TWO, TWO, 1.0, 1.0, 2, id="the same"),
        pytest.param(TWO, seen((0, 0.9, PERSON)), 0.5, 1.0, 1, id="one missed"),
        pytest.param(TWO, seen(), 0.0, 0.0, 0, id="all missed"),
        pytest.param(TWO, seen((0, 0.9, PERSON), (80, 0.7, PERSON), (50, 0.6, PERSON)), 5 / 6, 1.0, 2, id="one invented"),
        pytest.param(TWO, seen((0, 0.9, PERSON), (50, 0.6, PERSON), (80, 0.1, PERSON)), 1.0, 1.0, 2, id="invented last"),
        pytest.param(TWO, seen((0, 0.9, CAR), (50, 0.6, PERSON)), 0.25, 1.0, 1, id="another class"),
        pytest.param(TWO, seen((0, 0.9, PERSON), (50, 0.4, PERSON)), 1.0, 1.0, 2, id="found less surely"),
        pytest.param(TWO, seen((2, 0.9, PERSON), (50, 0.6, PERSON)), 1.0, (80 / 120 + 1) / 2, 2, id="moved"),
        pytest.param(TWO, seen((6, 0.9, PERSON), (50, 0.6, PERSON)), 0.25, 1.0, 1, id="moved too far"),
        pytest.param(TWO, seen((0, 0.9, PERSON), (1, 0.8, PERSON), (50, 0.6, PERSON)), 5 / 6, 1.0, 2, id="found twice"),
        pytest.param(
            seen((0, 0.9, PERSON), (50, 0.4, PERSON)),
            seen((50, 0.95, PERSON), (0, 0.9, PERSON)),
            1.0,
            1.0,
            1,
            id="the weak one of the reference does not count",
        ),
        pytest.param(
            seen((0, 0.4, PERSON), (50, 0.3, CAR)), seen((50, 0.3, CAR)), 1.0, 1.0, 1, id="each class has its own threshold"
        ),
    ],
)
def test_parity_of_one_picture(reference: Detections, candidate: Detections, ap50: float, mean_iou: float, found: int) -> None:
    """What the reference believes is the truth; what it half believes counts neither way."""
    parity = compare(reference, candidate)

    assert parity.figures == pytest.approx({"ap50": ap50, "mean_iou": mean_iou})
    assert parity.compared.startswith(f"{found} of ")


def test_parity_of_pictures_that_show_nothing_is_refused() -> None:
    """Nothing compared is nothing verified."""
    with pytest.raises(InputError, match="1 pictures: they show nothing to compare"):
        compare(seen(), TWO)


def test_parity_where_nothing_is_believed_is_that_of_the_best_of_each_picture() -> None:
    """A detector of faces is compared on a street, too; what else it half sees counts neither way."""
    weak = seen((0, 0.4, PERSON), (50, 0.2, PERSON))

    same, moved = compare(weak, weak), compare(weak, seen((80, 0.4, PERSON), (50, 0.2, PERSON)))

    assert (same.figures, same.compared) == (
        {"ap50": 1.0, "mean_iou": 1.0},
        "1 of 1 objects, none of them believed, on 1 pictures",
    )
    assert moved.figures == {"ap50": 0.0, "mean_iou": 0.0}


@pytest.mark.parametrize(
    ("moved_by", "points"),
    [
        pytest.param((0, 0), 1.0, id="the same"),
        pytest.param((0.3, 0.4), 0.95, id="half a pixel of ten"),
        pytest.param((30, 40), 0.0, id="elsewhere"),
    ],
)
def test_parity_of_points_is_how_near_they_are_beside_the_box(moved_by: tuple[float, float], points: float) -> None:
    """An engine whose boxes are right and whose points are not would turn every face."""
    places = TWO.boxes[:, None, :2] + np.array([[3, 4], [7, 4]], np.float32)  # (2, 2, 2)
    exact, moved = (replace(TWO, points=places + np.array(by, np.float32)) for by in ((0, 0), moved_by))

    parity = compare(exact, moved)

    assert parity.figures == pytest.approx({"ap50": 1.0, "mean_iou": 1.0, "points": points})
    assert parity.reaches(LIMITS["detector"]["fp32"]) is (points == 1)
    assert parity.reaches(DetectorLimits(ap50=0.9, mean_iou=0.9))


def test_candidate_is_shown_whole_batches_and_the_rest() -> None:
    """An engine computes each size of batch in its own way; the reference is shown one at a time."""
    reference, candidate = ScriptedDetector(*[TWO] * 5), ScriptedDetector(*[TWO] * 5)

    parity = check_parity(reference, candidate, [PICTURE] * 5, batches=[3])

    assert (reference.batches, candidate.batches) == ([1] * 5, [3, 2])
    assert (parity.compared, parity.pictures) == ("10 of 10 objects on 5 pictures", 5)


def test_candidate_is_judged_by_the_size_of_batch_that_it_is_worst_in() -> None:
    """Single pictures that are missed are not made up for by batches in which all is found, nor the other way round."""
    reference = ScriptedDetector(*[TWO] * 2)
    worse, moved = seen((0, 0.9, PERSON)), seen((2, 0.9, PERSON), (50, 0.6, PERSON))
    candidate = ScriptedDetector(TWO, worse, moved, moved)

    parity = check_parity(reference, candidate, [PICTURE] * 2, batches=[2, 1])

    assert (reference.batches, candidate.batches) == ([1, 1], [2, 1, 1])
    assert parity.figures == pytest.approx({"ap50": 0.75, "mean_iou": (80 / 120 + 1) / 2})


class SpoiltSegmenter:
    """A segmenter that is wrong in one way.

    Attributes:
        batches: how many pictures it was shown at once.
    """

    def __init__(self, segmenter: Segmenter, fault: str) -> None:
        self._segmenter = segmenter
        self._fault = fault
        self.batches: list[int] = []

    def segment_all(self, pictures: Sequence[Pixels]) -> list[SegmentationMap]:
        self.batches.append(len(pictures))
        if self._fault == "colours are swapped":
            pictures = [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]
        maps = self._segmenter.segment_all(pictures)
        if self._fault == "the last of a whole batch is empty" and len(maps) > 1:
            maps[-1].labels[:] = 0
        if self._fault == "single pictures are empty" and len(maps) == 1:
            maps[0].labels[:] = 0
        return maps


@pytest.mark.parametrize("fault", ["colours are swapped", "the last of a whole batch is empty", "single pictures are empty"])
def test_shipped_segmenter_that_is_wrong_is_refused_in_int8(fault: str) -> None:
    """People cover little of the street: most of a wrong map is right all the same."""
    with open_segmenter(ENGINES / "person-segmenter") as exact:
        parity = check_parity(exact, SpoiltSegmenter(exact, fault), list(draw_pictures()), batches=(8, 1))

    assert not parity.reaches(limits_of(exact.manifest, "int8")), parity


@pytest.mark.parametrize("engine", ["scene-segmenter", "person-segmenter"])
def test_shipped_segmenters_have_limits_between_their_int8_and_wrong_ones(engine: str) -> None:
    """Measured in ONNX Runtime on the drawn street, in INT8 and with swapped colours in float."""
    right, swapped = {
        "scene-segmenter": ((0.9467, 0.9978), (0.6688, 0.9485)),
        "person-segmenter": ((0.9531, 0.9989), (0.8060, 0.9955)),
    }[engine]
    limits = limits_of(load_manifest(ENGINES / engine), "int8")

    assert Parity({"miou": right[0], "pixel_agreement": right[1]}, "", 24).reaches(limits)
    assert not Parity({"miou": swapped[0], "pixel_agreement": swapped[1]}, "", 24).reaches(limits)


@pytest.mark.parametrize(
    ("ap50", "mean_iou", "reaches"),
    [
        pytest.param(0.99, 0.9, True, id="both at the limit"),
        pytest.param(0.989, 0.95, False, id="ap50 below"),
        pytest.param(1.0, 0.899, False, id="iou below"),
    ],
)
def test_parity_reaches_its_limits(ap50: float, mean_iou: float, reaches: bool) -> None:
    """Both figures count, and a limit is reached at its value."""
    parity = Parity({"ap50": ap50, "mean_iou": mean_iou}, "1 of 1 objects on 1 pictures", pictures=1)
    limits = DetectorLimits(ap50=0.99, mean_iou=0.9)

    assert parity.reaches(limits) is reaches
    assert parity.describe(limits).startswith(f"ap50 {ap50:.4f} (at least 0.99), mean_iou {mean_iou:.4f} (at least 0.9), 1 of 1")


def test_limits_of_a_manifest_go_before_ours() -> None:
    """A network may be known to lose more in one precision; the others keep our limits."""
    manifest = make_manifest(parity={"int8": {"ap50": 0.8, "mean_iou": 0.7}})

    assert limits_of(manifest, "int8") == DetectorLimits(ap50=0.8, mean_iou=0.7)
    assert limits_of(manifest, "fp16") == LIMITS["detector"]["fp16"]


def test_drawn_pictures_are_the_same_every_time() -> None:
    """What was verified can be verified again."""
    once, again = list(draw_pictures()), list(draw_pictures())

    assert len(once) == 24
    assert all(np.array_equal(*pair) for pair in zip(once, again, strict=True))
    assert len({picture.tobytes() for picture in once}) == 24


def test_parity_of_a_real_network_with_itself_is_one(tmp_path: Path) -> None:
    """Through the real detector, its letterbox and its suppression."""
    save_engine(tmp_path, make_manifest(), boxes=[[2, 2, 30, 30], [34, 2, 60, 30]], scores=[[0.9, 0], [0, 0.8]])
    white = np.full((32, 64, 3), 255, np.uint8)

    with open_detector(tmp_path) as reference, open_detector(tmp_path) as candidate:
        parity = check_parity(reference, candidate, [white, white], batches=[2])

    assert parity == Parity({"ap50": 1.0, "mean_iou": 1.0}, "4 of 4 objects on 2 pictures", 2)


def crops_of(*greens: int) -> list[Pixels]:
    """Wide pictures of red and some green in their middle, with blue at both ends that a square around the middle leaves out."""
    pictures = [np.full((64, 96, 3), (200, green, 0), np.uint8) for green in greens]
    for pixels in pictures:
        pixels[:, :16] = pixels[:, -16:] = (0, 0, 255)
    return pictures


def test_parity_of_encoders_is_the_mean_cosine_of_their_embeddings(tmp_path: Path) -> None:
    """Of the middle square of each picture, in batches and what is left over; the candidate here swaps red and green."""
    save_mean_colour_engine(tmp_path / "exact", make_encoder_manifest(dimension=3), weights=np.eye(3))
    save_mean_colour_engine(tmp_path / "swapped", make_encoder_manifest(dimension=3), weights=np.eye(3)[[1, 0, 2]])
    pictures = crops_of(0, 200, 150)

    with open_network(tmp_path / "exact") as exact, open_network(tmp_path / "swapped") as swapped:
        same = check_parity(exact, exact, pictures, batches=[2])
        other = check_parity(exact, swapped, pictures, batches=[2])

    assert same.figures == pytest.approx({"mean_cosine": 1.0})
    assert (same.compared, same.pictures) == ("embeddings of 3 pictures", 3)
    assert other.figures == pytest.approx({"mean_cosine": (0 + 1 + 2 * 200 * 150 / (200**2 + 150**2)) / 3}, abs=1e-4)
    assert same.reaches(limits_of(exact.manifest, "fp32"))
    assert not other.reaches(limits_of(exact.manifest, "int8"))


def test_parity_of_liveness_networks_is_how_near_their_scores_are(tmp_path: Path) -> None:
    """1 less the mean difference of the scores of the same picture."""
    weights = np.array([[0, 0], [8, 0], [0, 0]])
    for name, bias in (("exact", 0), ("lower", -4)):
        save_mean_colour_engine(tmp_path / name, make_liveness_manifest(), weights=weights, bias=np.array([bias, 0]))
    pictures = crops_of(0, 255)

    with open_network(tmp_path / "exact") as exact, open_network(tmp_path / "lower") as lower:
        same = check_parity(exact, exact, pictures, batches=[2])
        other = check_parity(exact, lower, pictures, batches=[1])

    sure = [1 / (1 + np.exp(-raw)) for raw in (0, 8, -4, 4)]
    assert same.figures == {"mean_agreement": 1.0}
    assert same.compared == "scores of 2 pictures"
    assert other.figures == pytest.approx({"mean_agreement": 1 - (sure[0] - sure[2] + sure[1] - sure[3]) / 2}, abs=1e-4)


def test_parity_of_segmenters_is_that_of_their_maps(tmp_path: Path) -> None:
    """Pixel by pixel over all pictures; the candidate here takes green for red, and neither sees anything blue."""
    colours = 8 * np.eye(3)
    save_pixel_colour_engine(tmp_path / "exact", make_segmenter_manifest(), weights=colours)
    save_pixel_colour_engine(tmp_path / "blind", make_segmenter_manifest(), weights=colours[[0, 0, 2]])
    red, green = (np.full((32, 64, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0)))
    green[:, :16] = red[:, :16]

    with open_network(tmp_path / "exact") as exact, open_network(tmp_path / "blind") as blind:
        same = check_parity(exact, exact, [red, green, green], batches=[2])
        other = check_parity(exact, blind, [red, green, green], batches=[2])

    assert same == Parity({"miou": 1.0, "pixel_agreement": 1.0}, "2 of 3 classes on 3 pictures", 3)
    assert other.figures == pytest.approx({"miou": (0.5 + 0) / 2, "pixel_agreement": 0.5})
    assert same.reaches(limits_of(exact.manifest, "fp32"))
    assert not other.reaches(limits_of(exact.manifest, "int8"))


@pytest.mark.parametrize(
    "manifest",
    [make_manifest(), make_encoder_manifest(), make_liveness_manifest(), make_segmenter_manifest()],
    ids=lambda one: one.task,
)
def test_limits_of_every_task_fall_with_the_precision(manifest: Manifest) -> None:
    """Every task has limits for all precisions; fewer bits may differ more."""
    limits = [dict(limits_of(manifest, precision)) for precision in PRECISIONS]

    for name in limits[0]:
        assert 1 > limits[0][name] >= limits[1][name] >= limits[2][name] > 0.5


def test_parity_on_no_picture_is_refused(tmp_path: Path) -> None:
    """Nothing compared is nothing verified."""
    save_mean_colour_engine(tmp_path, make_encoder_manifest(dimension=3), weights=np.eye(3))

    with open_network(tmp_path) as encoder, pytest.raises(InputError, match="nothing to compare on"):
        check_parity(encoder, encoder, [], batches=[1])
