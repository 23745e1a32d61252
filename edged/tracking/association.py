"""Which detection belongs to which track: overlap with a margin, and an exact assignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edged.tracking.kalman import Box

_ROUNDING_PX = 1e-6
"""Two boxes that overlap exactly enough must not be lost to rounding."""

_TINY_AREA_PX = 1e-9
"""Stands for the union of two empty boxes, so that their overlap is 0."""


class Edge(NamedTuple):
    """A pair that may be matched; a tuple, since every frame makes dozens.

    Attributes:
        row, column: index of the track and of the detection.
        gain: how well they fit, over 0.
    """

    row: int
    column: int
    gain: float


def meeting_pairs(
    boxes: Sequence[Box], margins: Sequence[tuple[float, float]], others: Sequence[Box], least_iou: float
) -> list[tuple[int, int, float]]:
    """The pairs of a row of `boxes` and one of `others` that overlap at least this much, in order, and how much.

    Both are widened by the margin on every side before they are compared: so boxes meet that moved further than their own
    size between two frames.
    Source: Yang et al., Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier by
    Buffering the Matching Space, WACV 2023; there the margin is a fixed share of the box, here the caller's.

    Args:
        boxes, others: xyxy.
        margins: pixels in x and y, for each of `boxes`.
        least_iou: over 0.
    """
    pairs = []
    for row, ((ax1, ay1, ax2, ay2), (margin_x, margin_y)) in enumerate(zip(boxes, margins, strict=True)):
        wider, higher = 2.0 * margin_x, 2.0 * margin_y
        area = (ax2 - ax1 + wider) * (ay2 - ay1 + higher)
        for other, (bx1, by1, bx2, by2) in enumerate(others):
            width = (ax2 if ax2 < bx2 else bx2) - (ax1 if ax1 > bx1 else bx1) + wider
            if width <= 0:
                continue
            height = (ay2 if ay2 < by2 else by2) - (ay1 if ay1 > by1 else by1) + higher
            if height <= 0:
                continue
            shared = width * height
            shared /= max(area + (bx2 - bx1 + wider) * (by2 - by1 + higher) - shared, _TINY_AREA_PX)
            if shared >= least_iou:
                pairs.append((row, other, shared))
    return pairs


def overlap(a: Box, b: Box) -> float:
    """IoU of two boxes xyxy; 0 where both are empty."""
    ax1, ay1, ax2, ay2 = a
    bx1, by1, bx2, by2 = b
    width = (ax2 if ax2 < bx2 else bx2) - (ax1 if ax1 > bx1 else bx1)
    height = (ay2 if ay2 < by2 else by2) - (ay1 if ay1 > by1 else by1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / max((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared, _TINY_AREA_PX)


def share_inside(a: Box, b: Box) -> float:
    """The share of box `a` (xyxy) that box `b` covers; 0 where `a` is empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]))


def similar_pairs(boxes: Sequence[Box], least_iou: float) -> list[tuple[int, int, float]]:
    """The pairs of rows, lower first, whose boxes xyxy overlap at least this much, and how much; `least_iou` is over 0.

    One sweep from left to right: what begins so far to the right that too little of the box is left ends the search for it.
    """
    order = sorted(range(len(boxes)), key=lambda row: boxes[row][0])
    pairs = []
    for place, row in enumerate(order):
        x1, _, x2, _ = boxes[row]
        furthest_x1 = x2 - least_iou * (x2 - x1) + _ROUNDING_PX
        for later in range(place + 1, len(order)):
            other = order[later]
            if boxes[other][0] > furthest_x1:
                break
            shared = overlap(boxes[row], boxes[other])
            if shared >= least_iou:
                pairs.append((min(row, other), max(row, other), shared))
    return pairs


def match(edges: Sequence[Edge]) -> list[Edge]:
    """The edges that together gain most, no row and no column twice; exact, and the same for the same input.

    Only tracks and detections that compete are solved together: most frames split into pairs that nobody disputes.
    """
    if len({edge.row for edge in edges}) == len(edges) == len({edge.column for edge in edges}):
        return list(edges)
    matched: list[Edge] = []
    for group in _groups(edges):
        if len(group) == 1:
            matched.append(group[0])
        else:
            matched.extend(_solve(group))
    return matched


def assign(gains: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """The pairs (row, column) of the greatest total gain, no row and no column twice, every row or every column used.

    Source: Jonker and Volgenant, A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment Problems,
    Computing 38 (1987); one row after the other is added along the cheapest alternating path.

    Args:
        gains: rows of equal length, any finite numbers.
    """
    if not gains or not gains[0]:
        return []
    if len(gains) > len(gains[0]):
        return sorted((row, column) for column, row in assign(list(zip(*gains, strict=True))))
    costs = [[-gain for gain in row] for row in gains]
    n_columns = len(costs[0])
    row_price, column_price = [0.0] * len(costs), [0.0] * n_columns
    row_of = [-1] * n_columns
    for row in range(len(costs)):
        _add_row(row, costs, row_price, column_price, row_of)
    return sorted((row, column) for column, row in enumerate(row_of) if row >= 0)


def _add_row(row: int, costs: list[list[float]], row_price: list[float], column_price: list[float], row_of: list[int]) -> None:
    """Matches one more row, moving earlier rows where that is cheaper; keeps prices below costs."""
    n_columns = len(column_price)
    distance = [float("inf")] * n_columns
    came_from = [-1] * n_columns
    open_columns = list(range(n_columns))
    settled: list[int] = []
    reached, current, column = 0.0, row, -1
    while current >= 0:
        base, cost_row = reached - row_price[current], costs[current]
        nearest = float("inf")
        for candidate in open_columns:
            length = base + cost_row[candidate] - column_price[candidate]
            if length < distance[candidate]:
                distance[candidate] = length
                came_from[candidate] = column
            if distance[candidate] < nearest:
                nearest, closest = distance[candidate], candidate
        reached, column = nearest, closest
        open_columns.remove(column)
        settled.append(column)
        current = row_of[column]
    row_price[row] += reached
    for done in settled:
        column_price[done] -= reached - distance[done]
        if row_of[done] >= 0:
            row_price[row_of[done]] += reached - distance[done]
    while column >= 0:
        previous = came_from[column]
        row_of[column] = row if previous < 0 else row_of[previous]
        column = previous


def _groups(edges: Sequence[Edge]) -> list[list[Edge]]:
    """The edges by connected rows and columns, in order of their first edge."""
    groups: list[list[Edge]] = []
    group_of_row: dict[int, list[Edge]] = {}
    group_of_column: dict[int, list[Edge]] = {}
    for edge in edges:
        by_row, by_column = group_of_row.get(edge.row), group_of_column.get(edge.column)
        group = by_row if by_row is not None else by_column
        if group is None:
            group = []
            groups.append(group)
        elif by_row is not None and by_column is not None and by_row is not by_column:
            group = by_row
            for moved in by_column:
                group_of_row[moved.row] = group_of_column[moved.column] = group
            group.extend(by_column)
            by_column.clear()
        group.append(edge)
        group_of_row[edge.row] = group_of_column[edge.column] = group
    return [group for group in groups if group]


def _solve(group: list[Edge]) -> list[Edge]:
    """The best edges of one group; a pair without an edge gains nothing and is left out."""
    rows = sorted({edge.row for edge in group})
    columns = sorted({edge.column for edge in group})
    edge_at = {(edge.row, edge.column): edge for edge in group}
    gains = [[edge_at[r, c].gain if (r, c) in edge_at else 0.0 for c in columns] for r in rows]
    chosen = (edge_at.get((rows[row], columns[column])) for row, column in assign(gains))
    return [edge for edge in chosen if edge is not None]
