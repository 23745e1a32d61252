"""A larger network teaches a smaller one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the networks need the training environment: pip install torch")

from edged.errors import InputError  # noqa: E402
from tools.distillation import Teacher, TeacherSettings  # noqa: E402
from tools.nets.yolo import Predictions, Yolo, YoloSettings  # noqa: E402

pytestmark = pytest.mark.torch

ANCHORS = (((12.0, 12.0),), ((24.0, 24.0),), ((48.0, 48.0),))
SETTINGS = TeacherSettings(Path("engines/large"), weight=0.5, box_weight=3.0)


def _network(*classes: str, anchors: tuple = ANCHORS) -> Yolo:
    return Yolo(YoloSettings(classes, anchors, width=0.25, neck=16))


def _say(box: list[float], *scores: float, objectness: float | None = None) -> Predictions:
    """One place of one picture."""
    logits = torch.tensor([[scores]]).logit()
    believed = None if objectness is None else torch.tensor([[objectness]]).logit()
    return Predictions(torch.tensor([[box]]), torch.zeros(1, 1, 4), logits, believed)


@pytest.mark.parametrize("objectness", [None, 0.5])
def test_teacher_wants_its_scores_and_boxes(objectness: float | None) -> None:
    """Teacher 0.8, pupil 0.4: 0.4^2 (-0.8 ln 0.4 - 0.2 ln 0.6) over 0.8; boxes 1 - 1/3, by 0.8, over 0.8. Classes by name."""
    teacher = Teacher(_network("car", "person"), _network("person", "dog"), SETTINGS)
    answers = _say([0.0, 0.0, 2.0, 2.0], 0.9, 0.8)
    found = _say([1.0, 0.0, 3.0, 2.0], 0.4, 0.7) if objectness is None else _say([1.0, 0.0, 3.0, 2.0], 0.8, 0.7, objectness=0.5)

    parts = teacher.parts(answers, found)

    score, box = parts["teacher_score"], parts["teacher_box"]
    assert float(score.sum) == pytest.approx(0.16 * (-0.8 * math.log(0.4) - 0.2 * math.log(0.6)), rel=1e-4)
    assert float(score.over) == pytest.approx(0.8)
    assert float(box.sum) == pytest.approx(0.8 * 2 / 3, rel=1e-4)
    assert float(box.over) == pytest.approx(0.8)
    assert (score.weight, box.weight) == (0.5, 1.5)


def test_teacher_that_sees_nothing_says_nothing_of_boxes() -> None:
    """Below 0.05 its box means nothing; at 0.05 exactly as well."""
    teacher = Teacher(_network("person"), _network("person"), SETTINGS)

    parts = teacher.parts(_say([0.0, 0.0, 2.0, 2.0], 0.05), _say([1.0, 0.0, 3.0, 2.0], 0.4))

    assert float(parts["teacher_box"].sum) == 0.0
    assert float(parts["teacher_box"].over) == 0.0
    assert float(parts["teacher_score"].sum) > 0.0


def test_teacher_teaches_a_pupil_that_looks_at_its_own_answers() -> None:
    """Descent on these parts alone brings the pupil's answers to the teacher's; the teacher stays as it is."""
    torch.manual_seed(0)
    large, pupil = _network("person"), _network("person")
    with torch.no_grad():
        large.heads[0].bias[4] = 1.0
    teacher = Teacher(large, pupil, SETTINGS)
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    optimiser = torch.optim.Adam(pupil.heads.parameters(), lr=0.2)
    losses = []

    for _ in range(15):
        optimiser.zero_grad()
        parts = teacher.parts(teacher.ask(images), pupil(images))
        loss = sum(part.weight * part.sum / part.over.clamp_min(1.0) for part in parts.values())
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))

    assert losses[-1] < 0.5 * losses[0]
    assert all(weights.grad is None for weights in large.parameters())


@pytest.mark.parametrize(
    ("classes", "anchors", "message"),
    [
        pytest.param(("dog",), ANCHORS, "none of", id="no class in common"),
        pytest.param(("person",), ANCHORS[::-1], "anchors", id="other anchors"),
    ],
)
def test_teacher_that_does_not_fit_is_refused(classes: tuple[str, ...], anchors: tuple, message: str) -> None:
    """Nothing could be compared."""
    with pytest.raises(InputError, match=message):
        Teacher(_network(*classes, anchors=anchors), _network("person"), SETTINGS)
