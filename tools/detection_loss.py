"""What the detector is taught: boxes by their overlap, scores that say how well the box fits, silence where nothing is labelled.

Without an objectness each class has its own sigmoid whose target is the quality of the box at a matched place and 0 elsewhere.
That makes missing labels simple: a set that does not label a class has that class's column masked out, so that neither matched
nor empty places push it anywhere, and an ignored box masks its class at the places inside it.

With an objectness p(class) = p(object) * p(class | object), and missing labels need a rule:

- a place is told "nothing here" as far as the classes that it believes in are known to be absent: fully where all are, not at
  all once those that may be there, because the set does not label them or an ignored box covers the place, hold half of its
  class probabilities; the place of an object is always raised towards its quality;
- as far as it is not told so, the classes that are known to be absent are lowered instead, by p(object), without a gradient:
  "whatever you see there, it is no person".

Points are taught at matched places only, and of those only the ones that are known.

Sources: quality focal loss, Li et al., Generalized Focal Loss, NeurIPS 2020, equation 2 with beta 2, the distance held fixed in
the gradient; focal loss, Lin et al., RetinaNet, ICCV 2017, equation 5; balanced log-loss, Xie & Tu, Holistically-Nested Edge
Detection, ICCV 2015, equation 2; objectness and log-loss, squared error on tx, ty, tw, th, Redmon & Farhadi, YOLOv3, 2018;
wing loss, Feng et al., Wing Loss for Robust Facial Landmark Localisation, CVPR 2018, equation 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.assignment import AssignmentSettings, Match, Targets, assign
from tools.nets.yolo import Places, Predictions, encode_boxes
from tools.overlaps import complete_iou, distance_iou, generalised_iou, iou
from tools.training import Part


@dataclass(frozen=True, slots=True)
class LossSettings(AssignmentSettings):
    """What is wanted of the network, and how the parts are weighed.

    Attributes:
        objectness: the network has one.
        box: 1 less an overlap, or `squared`: the squared error of tx, ty, tw, th.
        score: of class scores and objectness. `quality_focal`: log-loss by the squared distance from the target; `focal`: by
            the distance to the power `focal_gamma`, objects by `focal_alpha` and empty places by 1 less that; `log`: as it is;
            `balanced`: as it is, all objects together count as much as all empty places together.
        box_weight, score_weight, objectness_weight: of the parts; `score_weight` is the classes'.
        points: of each coordinate's distance, in sides of a square as large as the object's box. `l1`: as it is; `wing`: as it is
            far away, a logarithm within `wing_width` that is steeper the smaller `wing_curvature` is: small errors count too.
        points_weight: of that part; of no meaning in a network without points.
    """

    objectness: bool = False
    box: Literal["iou", "giou", "diou", "ciou", "squared"] = "giou"
    score: Literal["quality_focal", "focal", "log", "balanced"] = "quality_focal"
    box_weight: float = 2.0
    score_weight: float = 1.0
    objectness_weight: float = 1.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    points: Literal["wing", "l1"] = "wing"
    points_weight: float = 1.0
    wing_width: float = 0.1
    wing_curvature: float = 0.02


def detection_loss(predictions: Predictions, places: Places, targets: list[Targets], settings: LossSettings) -> dict[str, Part]:
    """How wrong the predictions of N pictures are, over the total quality of their matches."""
    match = assign(predictions, targets, places=places, settings=settings)
    parts = {"box": _box_part(predictions, match, places=places, settings=settings)}
    if predictions.points is not None and match.points is not None:
        parts["points"] = _points_part(predictions.points, match, settings)
    if predictions.objectness is None:
        wanted = _at_matches(match, match.quality)
        answers = _Answers(predictions.logits, wanted, match.known | (wanted > 0))
        return parts | _score_parts("score", answers, over=match.quality.sum(), settings=settings)
    return parts | _object_parts(predictions.objectness, predictions.logits, match=match, settings=settings)


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """Logits, the scores that they should have, and how much each counts: 0 where nothing is taught. All of one shape."""

    logits: Tensor
    wanted: Tensor
    weight: Tensor


def _box_part(predictions: Predictions, match: Match, *, places: Places, settings: LossSettings) -> Part:
    found = predictions.boxes[match.pictures, match.rows]
    if settings.box == "squared":
        offsets = predictions.offsets[match.pictures, match.rows]
        wrong = (offsets - encode_boxes(match.boxes, places.at(match.rows))).square().sum(dim=-1)
    else:
        overlap = {"iou": iou, "giou": generalised_iou, "diou": distance_iou, "ciou": complete_iou}[settings.box]
        wrong = 1.0 - overlap(found, match.boxes)
    return Part((match.quality * wrong).sum(), match.quality.sum(), settings.box_weight)


def _points_part(points: Tensor, match: Match, settings: LossSettings) -> Part:
    """Over the known points of all matches, each by its match's quality."""
    known = torch.isfinite(match.points).all(dim=-1)  # (P, K)
    sides = (match.boxes[:, 2:] - match.boxes[:, :2]).prod(dim=-1).clamp_min(1.0).sqrt()
    wanted = torch.where(known[..., None], match.points, 0.0)
    distance = (points[match.pictures, match.rows] - wanted).abs() / sides[:, None, None]
    weight = match.quality[:, None] * known
    return Part((weight * point_loss(distance, settings).sum(dim=-1)).sum(), weight.sum(), settings.points_weight)


def point_loss(distance: Tensor, settings: LossSettings) -> Tensor:
    """What each distance costs; not negative, 0 at 0."""
    if settings.points == "l1":
        return distance
    width, curvature = settings.wing_width, settings.wing_curvature
    inner = width * torch.log1p(distance / curvature)
    return torch.where(distance < width, inner, distance + (width * math.log1p(width / curvature) - width))


def _object_parts(objectness: Tensor, logits: Tensor, *, match: Match, settings: LossSettings) -> dict[str, Part]:
    """Whether something is there, and, where something is, what."""
    quality = torch.zeros_like(objectness)
    quality[match.pictures, match.rows] = match.quality
    belief = torch.sigmoid(objectness).detach()
    absence = _known_absence(logits.detach(), match.known)
    objects = _Answers(objectness, quality, torch.where(quality > belief, 1.0, absence))
    wanted = _at_matches(match, (match.quality > 0).float())
    weight = torch.where(quality > 0, quality, belief * (1.0 - absence))
    classes = _Answers(logits, wanted, weight[..., None] * (match.known | (wanted > 0)))
    over = match.quality.sum()
    parts = _score_parts("objectness", objects, over=over, settings=settings)
    return parts | _score_parts("class", classes, over=over, settings=settings)


def _known_absence(logits: Tensor, known: Tensor) -> Tensor:
    """(N, R) 1 where all that the network believes in is known to be absent, falling to 0 where half of it may be there."""
    belief = torch.sigmoid(logits)
    share = (belief * known).sum(dim=-1) / belief.sum(dim=-1).clamp_min(1e-9)
    return torch.where(known.all(dim=-1), 1.0, (2.0 * share - 1.0).clamp_min(0.0))


def _at_matches(match: Match, values: Tensor) -> Tensor:
    """(N, R, classes): the values (P,) at the matched places and classes, 0 elsewhere."""
    wanted = torch.zeros_like(match.known, dtype=torch.float32)
    wanted[match.pictures, match.rows, match.class_ids] = values
    return wanted


def _score_parts(name: str, answers: _Answers, *, over: Tensor, settings: LossSettings) -> dict[str, Part]:
    factor = settings.objectness_weight if name == "objectness" else settings.score_weight
    wrong = answers.weight * score_loss(answers.logits, answers.wanted, settings)
    if settings.score != "balanced":
        return {name: Part(wrong.sum(), over, factor)}
    full = answers.wanted > 0
    empty = Part((wrong * ~full).sum(), (answers.weight * ~full).sum(), factor)
    return {name: Part((wrong * full).sum(), over, factor), f"{name}_empty": empty}


def score_loss(logits: Tensor, wanted: Tensor, settings: LossSettings) -> Tensor:
    """What each logit costs where `wanted`, in [0, 1], is the score that it should have."""
    log_loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    match settings.score:
        case "quality_focal":
            return (wanted - torch.sigmoid(logits)).detach().square() * log_loss
        case "focal":
            alpha = settings.focal_alpha * wanted + (1 - settings.focal_alpha) * (1 - wanted)
            return alpha * (wanted - torch.sigmoid(logits)).abs() ** settings.focal_gamma * log_loss
        case _:
            return log_loss
