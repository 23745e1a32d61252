"""Small SVG charts of ratios. Colours come from the page's style (`page.css`), so that they follow a dark screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.report.bootstrap import Interval
from tools.report.markup import Element, element

WIDTH, HEIGHT = 300, 232
_LEFT, _TOP, _SIDE_X, _SIDE_Y = 44, 10, 246, 184
_BAR_WIDTH, _BAR_HEIGHT = 120, 12
_SMALLEST_DOT, _LARGEST_DOT, _MARK = 1.5, 7, 5
"""Radii."""
_STEP = 0.8
"""Of a line: its points are no nearer to each other along it, for a screen would not show it."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Points (x, y), both ratios, of one engine.

    Attributes:
        engine: 0 for the one evaluated, 1 for the one beside it.
        mark: a point to be marked, None for none.
        weights: (N,) how much each point stands for: each gets a dot of that area. None for no dots.
    """

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    engine: int
    mark: tuple[float, float] | None = None
    weights: NDArray[np.integer] | None = None


def draw_chart(lines: Sequence[Line], *, title: str, x_label: str, y_label: str, has_diagonal: bool = False) -> Element:
    """A square from 0 to 1 both ways with its lines; `has_diagonal` draws where x equals y."""
    drawn = [_axes(x_label, y_label)]
    if has_diagonal:
        drawn.append(_path(np.array([0.0, 1.0]), np.array([0.0, 1.0]), class_="guide"))
    for line in reversed(lines):  # the engine evaluated on top
        name = ("ours", "other")[line.engine]
        drawn.append(_path(line.x, line.y, class_=f"line {name}"))
        if line.weights is not None:
            radii = np.maximum(_LARGEST_DOT * np.sqrt(line.weights / max(1, line.weights.max(initial=0))), _SMALLEST_DOT)
            drawn += [_dot(*each, class_=f"dot {name}") for each in zip(line.x, line.y, radii, strict=True)]
        if line.mark is not None:
            drawn.append(_dot(*line.mark, _MARK, class_=f"mark {name}"))
    return element(
        "svg", element("title", title), *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="chart", role="img", aria_label=title
    )


def draw_interval(
    parts: Sequence[tuple[float | None, Interval | None]], *, low: float = 0.0, high: float = 1.0, title: str
) -> Element:
    """A bar for a table's cell: a dot for each engine's figure, a line for its interval, on an axis from low to high.

    Where the axis crosses zero, that is marked.
    """
    height = _BAR_HEIGHT * len(parts)
    drawn = [_straight(_LEFT_END, height / 2, _RIGHT_END, height / 2, "guide")]
    if low < 0 < high:
        zero = _on_bar(0.0, low, high)
        drawn.append(_straight(zero, 0, zero, height, "zero"))
    for number, (value, interval) in enumerate(parts):
        name, y = ("ours", "other")[number], _BAR_HEIGHT * (number + 0.5)
        if interval is not None:
            drawn.append(_straight(_on_bar(interval.low, low, high), y, _on_bar(interval.high, low, high), y, f"whisker {name}"))
        if value is not None:
            drawn.append(element("circle", cx=_on_bar(value, low, high), cy=y, r=3.5, class_=f"dot {name}"))
    return element(
        "svg", element("title", title), *drawn, viewBox=f"0 0 {_BAR_WIDTH} {height}", class_="bar", role="img", aria_label=title
    )


_LEFT_END, _RIGHT_END = 5, _BAR_WIDTH - 5


def _on_bar(value: float, low: float, high: float) -> float:
    return round(_LEFT_END + (_RIGHT_END - _LEFT_END) * (min(max(value, low), high) - low) / (high - low), 1)


def _straight(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _axes(x_label: str, y_label: str) -> Element:
    parts = []
    for ratio in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _LEFT + _SIDE_X * ratio, _TOP + _SIDE_Y * (1 - ratio)
        parts += [_straight(x, _TOP, x, _TOP + _SIDE_Y, "grid"), _straight(_LEFT, y, _LEFT + _SIDE_X, y, "grid")]
        if ratio in (0, 0.5, 1):
            parts.append(element("text", f"{ratio:g}", x=x, y=_TOP + _SIDE_Y + 14, text_anchor="middle"))
            parts.append(element("text", f"{ratio:g}", x=_LEFT - 6, y=y + 4, text_anchor="end"))
    middle = _TOP + _SIDE_Y / 2
    parts.append(element("text", x_label, x=_LEFT + _SIDE_X / 2, y=HEIGHT - 6, text_anchor="middle"))
    parts.append(element("text", y_label, x=12, y=middle, text_anchor="middle", transform=f"rotate(-90 12 {middle})"))
    return element("g", *parts)


def _path(x: NDArray[np.floating], y: NDArray[np.floating], *, class_: str) -> Element:
    known = ~(np.isnan(x) | np.isnan(y))
    points = np.stack([_LEFT + _SIDE_X * x[known], _TOP + _SIDE_Y * (1 - y[known])], axis=1).astype(float).round(1)
    if len(points):
        way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        _, first = np.unique(way // _STEP, return_index=True)
        points = points[np.union1d(first, len(points) - 1)]
    return element("polyline", points=" ".join(f"{px:g},{py:g}" for px, py in points.tolist()), class_=class_)


def _dot(x: float, y: float, radius: float, *, class_: str) -> Element:
    if np.isnan(x) or np.isnan(y):
        return element("g")
    cx, cy = round(_LEFT + _SIDE_X * float(x), 1), round(_TOP + _SIDE_Y * (1 - float(y)), 1)
    return element("circle", cx=cx, cy=cy, r=round(float(radius), 1), class_=class_)
