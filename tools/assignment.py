"""Which places are to answer for which object, and where nothing may be taught because nobody knows.

Sources: the cell that holds the midpoint and the anchor of the best shape, Redmon & Farhadi, YOLOv3, 2018, section 2.1 (cells:
Redmon et al., YOLO, 2016); matching by score and overlap, Feng et al., TOOD, ICCV 2021, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tools.nets.yolo import Places, Predictions
from tools.overlaps import iou, shape_iou


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What is known of one picture.

    Attributes:
        boxes: (M, 4) float32 xyxy, input pixels.
        class_ids: (M,) int64.
        ignored: (M,) bool: something of that class may be there, nobody knows; neither right nor wrong.
        labelled: (classes,) bool: the classes that were looked for in this picture.
        points: (M, K, 2) float32 x, y of each object, input pixels, NaN where unknown; None where the network tells none.
    """

    boxes: Tensor
    class_ids: Tensor
    ignored: Tensor
    labelled: Tensor
    points: Tensor | None = None

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        parts = [getattr(self, name).to(device) for name in ("boxes", "class_ids", "ignored", "labelled")]
        return Targets(*parts, None if self.points is None else self.points.to(device))


@dataclass(frozen=True, slots=True)
class AssignmentSettings:
    """Who answers for an object.

    Attributes:
        assignment: `task_aligned`: the places that already answer it best, at most `matches` of them, each wanted to score as
            well as its box fits. `textbook`: one place, the cell that holds the midpoint with the anchor of the best shape,
            wanted to score 1; others whose box overlaps an object by more than `spared_iou` are taught nothing.
        matches: the most places that one object teaches.
        largest_ratio: an anchor is tried for an object while neither side differs by more than this factor.
        score_power, iou_power: a place's fitness is score^a * overlap^b.
        spared_iou: of the textbook.
    """

    assignment: Literal["task_aligned", "textbook"] = "task_aligned"
    matches: int = 10
    largest_ratio: float = 4.0
    score_power: float = 0.5
    iou_power: float = 4.0
    spared_iou: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Places and what they are to answer; P over all pictures.

    Attributes:
        pictures, rows: (P,) the places, by picture and row; each at most once.
        boxes: (P, 4) xyxy, input pixels.
        class_ids: (P,).
        quality: (P,) the score that the place should have.
        known: (N, R, classes) bool: whether the class, if not matched there, is known to be absent.
        points: (P, K, 2) x, y, input pixels, NaN where unknown; None where no target has points.
    """

    pictures: Tensor
    rows: Tensor
    boxes: Tensor
    class_ids: Tensor
    quality: Tensor
    known: Tensor
    points: Tensor | None = None


def assign(predictions: Predictions, targets: Sequence[Targets], *, places: Places, settings: AssignmentSettings) -> Match:
    """Give the objects of N pictures their places."""
    scores, boxes = predictions.scores().detach(), predictions.boxes.detach()
    known = torch.stack([known_classes(places, target) for target in targets])
    found, points = [], []
    for n, target in enumerate(targets):
        real = torch.nonzero(~target.ignored & target.labelled[target.class_ids]).squeeze(1)
        truth, class_ids = target.boxes[real], target.class_ids[real]
        if settings.assignment == "textbook":
            rows, objects, quality = match_midpoints(truth, places)
            spared = (iou(truth[:, None], boxes[n]) > settings.spared_iou).any(dim=0)
            spared[rows] = False
            known[n, spared] = False
        else:
            rows, objects, quality = match_aligned(
                boxes[n], scores[n], truth=truth, class_ids=class_ids, places=places, settings=settings
            )
        found.append((torch.full_like(rows, n), rows, truth[objects], class_ids[objects], quality))
        if target.points is not None:
            points.append(target.points[real][objects])
    return Match(*(torch.cat(column) for column in zip(*found, strict=True)), known, torch.cat(points) if points else None)


def known_classes(places: Places, target: Targets) -> Tensor:
    """(R, classes) bool: the classes that a place which no object is given can be told to be empty of.

    Not those that the set does not label, and not the class of an ignored box inside it.
    """
    known = target.labelled.expand(len(places.centres), -1).clone()
    for box, class_id in zip(target.boxes[target.ignored], target.class_ids[target.ignored], strict=True):
        inside = (places.centres >= box[:2]).all(dim=1) & (places.centres <= box[2:]).all(dim=1)
        known[inside, class_id] = False
    return known


def match_midpoints(truth: Tensor, places: Places) -> tuple[Tensor, Tensor, Tensor]:
    """The textbook's places (P,), the object that each answers for (P,), and the score that it should have (P,), which is 1.

    Of two objects that want one place the one of the better shape has it; the other is not taught.
    """
    centres, sizes = _centres_and_sizes(truth)
    offset = (centres[:, None] - places.centres) / places.strides  # (M, R, 2) in cells
    holds = ((offset >= -0.5) & (offset < 0.5)).all(dim=-1)
    fitness = shape_iou(sizes[:, None], places.anchors) * holds
    best, rows = fitness.max(dim=1)
    table = torch.zeros_like(fitness).scatter(1, rows[:, None], best[:, None])
    rows, objects, fitness = _owners(table)
    return rows, objects, torch.ones_like(fitness)


def match_aligned(
    boxes: Tensor, scores: Tensor, *, truth: Tensor, class_ids: Tensor, places: Places, settings: AssignmentSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """As `match_midpoints`, but the places that already answer best, among near cells whose anchor has about the shape.

    boxes: (R, 4), scores: (R, classes) as predicted. The best place of an object is wanted to score what its box overlaps,
    others less in the ratio of their fitness.
    """
    index, rows = torch.nonzero(_candidates(truth, places, settings), as_tuple=True)  # pairs, far fewer than M x R
    if len(rows) == 0:
        return rows, index, boxes.new_zeros(0)
    score = scores[rows, class_ids[index]]
    fitness = score**settings.score_power * iou(boxes[rows], truth[index]) ** settings.iou_power
    table = boxes.new_zeros(len(truth), len(boxes)).index_put((index, rows), fitness + 1e-9)
    table = _keep_largest(table, settings.matches)
    rows, owner, fitness = _owners(table)
    overlap = iou(boxes[rows], truth[owner])
    best_overlap = boxes.new_zeros(len(truth)).scatter_reduce(0, owner, overlap, "amax")
    return rows, owner, fitness / table.amax(dim=1)[owner] * best_overlap[owner]


def _candidates(truth: Tensor, places: Places, settings: AssignmentSettings) -> Tensor:
    """(M, R) bool: cells whose centre an object's centre can be told from, with an anchor of about its shape."""
    centres, sizes = _centres_and_sizes(truth)
    near = ((places.centres - centres[:, None]).abs() < 0.95 * places.strides).all(dim=-1)
    ratio = places.anchors / sizes[:, None].clamp_min(1.0)
    return near & (torch.maximum(ratio, 1 / ratio).amax(dim=-1) < settings.largest_ratio)


def _centres_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def _keep_largest(table: Tensor, k: int) -> Tensor:
    values, columns = table.topk(min(k, table.shape[1]), dim=1)
    return torch.zeros_like(table).scatter(1, columns, values)


def _owners(table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A place answers for one object, the one that it fits best: places, objects and fitness, (P,) each, of an (M, R) table."""
    if len(table) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=table.device)
        return nothing, nothing, table.new_zeros(0)
    fitness, owner = table.max(dim=0)
    rows = torch.nonzero(fitness).squeeze(1)
    return rows, owner[rows], fitness[rows]
