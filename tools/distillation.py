"""A larger network teaches a smaller one: its scores and boxes are wanted of the small one as well, on the same pictures.

The teacher runs in torch, so that it answers at every size that training draws, on the same device. It speaks of every class that
both have, also where the pictures' set does not label it.

Sources: soft scores instead of labels, Hinton et al., Distilling the Knowledge in a Neural Network, 2015; boxes and scores of a
detector, Chen et al., Learning Efficient Object Detection Models with Knowledge Distillation, NIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edged.errors import InputError
from tools.engines import EngineFolder
from tools.nets.yolo import Predictions, Yolo
from tools.overlaps import generalised_iou
from tools.training import Part

SEEN = 0.05
"""From this score on the teacher sees something; the boxes of other places mean nothing."""
NEAREST = 1e-6
"""A score nearer to 0 or 1 counts as this near: the logarithm has no end."""


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """Who teaches, and how much it counts.

    Attributes:
        engine: directory of an engine made by `tools.export`, with the same anchors.
        weight: of its scores against what is labelled; its boxes count `box_weight` times that.
        box_weight: of the boxes against the scores.
    """

    engine: EngineFolder
    weight: float = 1.0
    box_weight: float = 2.0


class Teacher:
    """A trained network and which of its classes are the pupil's."""

    def __init__(self, network: Yolo, pupil: Yolo, settings: TeacherSettings) -> None:
        """Both on one device.

        Raises:
            InputError: they have no class in common, or answer at other places.
        """
        theirs, ours = network.settings, pupil.settings
        if theirs.anchors != ours.anchors:
            raise InputError(f"teacher {settings.engine}: its anchors are not this training's, its places are others")
        common = [name for name in theirs.classes if name in ours.classes]
        if not common:
            raise InputError(f"teacher {settings.engine}: finds {theirs.classes}, none of {ours.classes}")
        self._network = network.eval().requires_grad_(False)
        self._settings = settings
        self._theirs = [theirs.classes.index(name) for name in common]
        self._ours = [ours.classes.index(name) for name in common]

    @torch.no_grad()
    def ask(self, images: Tensor) -> Predictions:
        """What it sees in the pictures, (N, 3, H, W) uint8."""
        return self._network(images)

    def parts(self, answers: Predictions, found: Predictions) -> dict[str, Part]:
        """How far the pupil's predictions are from the teacher's answers; both float32.

        Scores by their log-loss times their squared distance, boxes by 1 - generalised IoU times the score, each over the sum of
        the scores of what the teacher sees.
        """
        wanted, scores = answers.scores()[..., self._theirs], found.scores()[..., self._ours]
        log_loss = F.binary_cross_entropy(scores.clamp(NEAREST, 1 - NEAREST), wanted, reduction="none")
        score_sum = ((wanted - scores).detach().square() * log_loss).sum()
        seen = torch.where(wanted > SEEN, wanted, 0.0)
        best = seen.amax(dim=-1)  # (N, R)
        at = best > 0
        box_sum = (best[at] * (1.0 - generalised_iou(found.boxes[at], answers.boxes[at]))).sum()
        weight = self._settings.weight
        return {
            "teacher_score": Part(score_sum, seen.sum(), weight),
            "teacher_box": Part(box_sum, best.sum(), weight * self._settings.box_weight),
        }
