"""How well two boxes agree, by the intersection over union and by what came after it.

Boxes are (..., 4) xyxy in pixels; a and b are compared pair by pair, so that (M, 1, 4) against (R, 4) gives (M, R).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST = 1e-6
"""Stands for an area, a side or a square of a diagonal that is nothing."""


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union; in [0, 1]. Boxes that are apart all score 0, with no gradient that would bring them together."""
    intersection, union = _areas(a, b)
    return intersection / union


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the share of the hull that neither box fills; in (-1, 1].

    Source: Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, algorithm 1.
    """
    intersection, union = _areas(a, b)
    hull = _hull_sides(a, b).prod(dim=-1).clamp_min(LEAST)
    return intersection / union - (hull - union) / hull


def distance_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the distance of the centres over the hull's diagonal, both squared; in (-1, 1].

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020, equation 7.
    """
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).square().sum(dim=-1) / 4
    diagonal = _hull_sides(a, b).square().sum(dim=-1).clamp_min(LEAST)
    return iou(a, b) - apart / diagonal


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """Distance IoU less a term for the ratio of the sides; in (-2, 1].

    Source: Zheng et al., Distance-IoU Loss, AAAI 2020, equations 8 to 11; their weight alpha is a number, without a gradient.
    """
    ratio = torch.atan(_ratio(a)) - torch.atan(_ratio(b))
    v = 4 / math.pi**2 * ratio.square()
    alpha = (v / (1 - iou(a, b) + v).clamp_min(LEAST)).detach()
    return distance_iou(a, b) - alpha * v


def shape_iou(sizes: Tensor, others: Tensor) -> Tensor:
    """IoU of boxes of these (..., 2) widths and heights laid on one centre."""
    inner = torch.minimum(sizes, others).prod(dim=-1)
    return inner / (sizes.prod(dim=-1) + others.prod(dim=-1) - inner).clamp_min(LEAST)


def _areas(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0)
    intersection = sides.prod(dim=-1)
    union = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1) - intersection
    return intersection, union.clamp_min(LEAST)


def _hull_sides(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])


def _ratio(boxes: Tensor) -> Tensor:
    """Width over height."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(LEAST)
    return sides[..., 0] / sides[..., 1]
