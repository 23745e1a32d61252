"""What the detector is taught: boxes by their overlap, scores that say how well the box fits, silence where nothing is labelled.

There is no objectness. Each class has its own sigmoid whose target at a matched place is the quality of its box and 0 elsewhere.
That makes missing labels simple: a set that does not label a class has that class's column masked out, so that neither matched
nor empty places push it anywhere, and an ignored box masks its class at the places inside it.

Sources: matching by score and overlap, Feng et al., TOOD, 2021; the quality focal loss, Li et al., Generalized Focal Loss, 2020;
Rezatofighi et al., Generalized IoU, 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.nets.yolo import Places, Predictions
from tools.training import Part


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What is known of one picture.

    Attributes:
        boxes: (M, 4) float32 xyxy, input pixels.
        class_ids: (M,) int64.
        ignored: (M,) bool: something of that class may be there, nobody knows; neither right nor wrong.
        labelled: (classes,) bool: the classes that were looked for in this picture.
    """

    boxes: Tensor
    class_ids: Tensor
    ignored: Tensor
    labelled: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        return Targets(*(getattr(self, name).to(device) for name in ("boxes", "class_ids", "ignored", "labelled")))


@dataclass(frozen=True, slots=True)
class LossSettings:
    """How the parts are weighed.

    Attributes:
        box_weight: of the boxes against the scores.
        matches: the most places that one object teaches.
        largest_ratio: an anchor is tried for an object while neither side differs by more than this factor.
        score_power, iou_power: a place's fitness is score^a * overlap^b.
    """

    box_weight: float = 2.0
    matches: int = 10
    largest_ratio: float = 4.0
    score_power: float = 0.5
    iou_power: float = 4.0


def detection_loss(predictions: Predictions, places: Places, targets: list[Targets], settings: LossSettings) -> dict[str, Part]:
    """How wrong the predictions of N pictures are, over the total quality of their matches."""
    box_sum = predictions.boxes.new_zeros(())
    wanted = torch.zeros_like(predictions.logits)
    known = torch.zeros_like(predictions.logits)
    quality_sum = predictions.boxes.new_zeros(())
    for n, target in enumerate(targets):
        boxes, logits = predictions.boxes[n], predictions.logits[n]
        known[n] = _known(places, target)
        match = _match(boxes.detach(), logits.detach(), places, target, settings)
        class_ids = target.class_ids[match.objects]
        wanted[n, match.rows, class_ids] = match.quality
        known[n, match.rows, class_ids] = 1.0
        box_sum = box_sum + (match.quality * (1.0 - generalised_iou(boxes[match.rows], target.boxes[match.objects]))).sum()
        quality_sum = quality_sum + match.quality.sum()
    score_sum = (_quality_focal(predictions.logits, wanted) * known).sum()
    return {"box": Part(box_sum, quality_sum, settings.box_weight), "score": Part(score_sum, quality_sum)}


def _quality_focal(logits: Tensor, wanted: Tensor) -> Tensor:
    distance = (wanted - torch.sigmoid(logits)).detach().square()
    return distance * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def _known(places: Places, target: Targets) -> Tensor:
    """(R, classes) 1 where an empty place may be taught as empty."""
    known = target.labelled.float().expand(len(places.centres), -1).clone()
    for box, class_id in zip(target.boxes[target.ignored], target.class_ids[target.ignored], strict=True):
        inside = (places.centres >= box[:2]).all(dim=1) & (places.centres <= box[2:]).all(dim=1)
        known[inside, class_id] = 0.0
    return known


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    rows: Tensor  # (P,) places
    objects: Tensor  # (P,) the object that each teaches
    quality: Tensor  # (P,) the score that it should have


def _match(boxes: Tensor, logits: Tensor, places: Places, target: Targets, settings: LossSettings) -> _Match:
    """Give every object the places that already answer it best, among the near cells whose anchor has about its shape."""
    objects = torch.nonzero(~target.ignored & target.labelled[target.class_ids]).squeeze(1)
    truth = target.boxes[objects]
    index, rows = torch.nonzero(_candidates(truth, places, settings), as_tuple=True)  # pairs, far fewer than M x R
    if len(rows) == 0:
        return _Match(rows, index, torch.zeros(0))
    score = torch.sigmoid(logits[rows, target.class_ids[objects][index]])
    fitness = score**settings.score_power * iou(boxes[rows], truth[index]) ** settings.iou_power
    table = torch.zeros(len(objects), len(boxes)).index_put((index, rows), fitness + 1e-9)
    table = _keep_largest(table, settings.matches)
    fitness, owner = table.max(dim=0)  # a place teaches one object: the one that it fits best
    rows = torch.nonzero(fitness).squeeze(1)
    fitness, owner = fitness[rows], owner[rows]
    overlap = iou(boxes[rows], truth[owner])
    best_overlap = torch.zeros(len(objects)).scatter_reduce(0, owner, overlap, "amax")
    return _Match(rows, objects[owner], fitness / table.amax(dim=1)[owner] * best_overlap[owner])


def _candidates(truth: Tensor, places: Places, settings: LossSettings) -> Tensor:
    """(M, R) bool: cells whose centre an object's centre can be told from, with an anchor of about its shape."""
    centres, sizes = (truth[:, None, :2] + truth[:, None, 2:]) / 2, truth[:, None, 2:] - truth[:, None, :2]
    near = ((places.centres - centres).abs() < 0.95 * places.strides).all(dim=-1)
    ratio = places.anchors / sizes.clamp_min(1.0)
    return near & (torch.maximum(ratio, 1 / ratio).amax(dim=-1) < settings.largest_ratio)


def _keep_largest(table: Tensor, k: int) -> Tensor:
    values, columns = table.topk(min(k, table.shape[1]), dim=1)
    return torch.zeros_like(table).scatter(1, columns, values)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """(P,) overlap of (P, 4) xyxy boxes, pair by pair."""
    intersection, union, _ = _areas(a, b)
    return intersection / union


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """(P,) overlap of (P, 4) xyxy boxes less the empty share of their hull; in (-1, 1]."""
    intersection, union, hull = _areas(a, b)
    return intersection / union - (hull - union) / hull


def _areas(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    inner = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp_min(0)
    outer = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    intersection = inner.prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - intersection
    return intersection, union.clamp_min(1e-6), outer.prod(dim=1).clamp_min(1e-6)
