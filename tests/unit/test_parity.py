"""Two backends are compared by what they see: the same is 1, and what differs shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from models_onnx import make_manifest, save_engine

from edged.assembly import open_detector
from edged.errors import InputError
from edged.models.detector import DetectorThresholds
from edged.models.manifest import PRECISIONS, DetectorParity
from edged.parity import LIMITS, Parity, check_parity, draw_pictures, limits_of
from edged.types import Detections, Pixels

PICTURE = np.zeros((100, 100, 3), np.uint8)
PERSON, CAR = 0, 1


class ScriptedDetector:
    """A stand-in for a detector: it sees in each picture what it was told, and remembers how many it was shown at once."""

    thresholds = DetectorThresholds(score=0.5, nms_iou=0.5, score_by_class={CAR: 0.3})

    def __init__(self, *seen: Detections) -> None:
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
    return check_parity(ScriptedDetector(reference), ScriptedDetector(candidate), [PICTURE], batch=1)


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

    assert parity.ap50 == pytest.approx(ap50)
    assert parity.mean_iou == pytest.approx(mean_iou)
    assert parity.found == found


def test_parity_of_pictures_that_show_nothing_is_refused() -> None:
    """Nothing compared is nothing verified."""
    weak = seen((0, 0.4, PERSON))

    with pytest.raises(InputError, match="1 pictures: they show nothing to compare"):
        compare(weak, weak)


def test_candidate_is_shown_whole_batches_and_the_rest() -> None:
    """An engine computes each size of batch in its own way; the reference is shown one at a time."""
    reference, candidate = ScriptedDetector(*[TWO] * 5), ScriptedDetector(*[TWO] * 5)

    parity = check_parity(reference, candidate, [PICTURE] * 5, batch=3)

    assert (reference.batches, candidate.batches) == ([1] * 5, [3, 2])
    assert (parity.pictures, parity.objects, parity.found) == (5, 10, 10)


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
    parity = Parity(ap50, mean_iou, pictures=1, objects=1, found=1)

    assert parity.reaches(DetectorParity(ap50=0.99, mean_iou=0.9)) is reaches


def test_limits_of_a_manifest_go_before_ours() -> None:
    """A network may be known to lose more in one precision; the others keep our limits."""
    manifest = make_manifest(parity={"int8": {"ap50": 0.8, "mean_iou": 0.7}})

    assert limits_of(manifest, "int8") == DetectorParity(ap50=0.8, mean_iou=0.7)
    assert limits_of(manifest, "fp16") == LIMITS["fp16"]
    assert set(LIMITS) == set(PRECISIONS)


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
        parity = check_parity(reference, candidate, [white, white], batch=2)

    assert parity == Parity(ap50=1.0, mean_iou=1.0, pictures=2, objects=4, found=4)
