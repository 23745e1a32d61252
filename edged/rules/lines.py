"""Directed lines whose crossings are counted.

         in                     Stand at the start and look towards the end, on the picture as you see it.
start ───┬───────▶ end          From your left to your right is `in`, from right to left is `out`: a line drawn from
         ▼                      left to right counts as `in` what comes down the picture, towards the viewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edged.events.event import Direction
from edged.rules.objects import KnownObject, admits
from edged.rules.settings import LineSettings


class Line:
    """On which side of one line each object is.

    An object has a side once its anchor is clear of the line: further away than a band, a share of its own size. A crossing
    is counted when it is clear on the other side, if the step on which it last changed sides went through the segment. So
    standing on the line or jitter across it counts nothing, a fast object that jumps over the band counts at once, and
    going round an end of the line counts nothing. An object seen first within the band has no side yet: it takes its first
    clear one without a crossing.
    """

    def __init__(self, settings: LineSettings, *, width: int, height: int) -> None:
        self.settings = settings
        self.name = settings.name
        self._paths: dict[int, _Path] = {}
        self.resize(width=width, height=height)

    def change(self, settings: LineSettings, *, width: int, height: int) -> None:
        """The line is another one from now on; where objects were is forgotten if it lies elsewhere."""
        former, self.settings = self.settings, settings
        if _place(settings) != _place(former):
            self.resize(width=width, height=height)

    def resize(self, *, width: int, height: int) -> None:
        """The picture has another size from now on; where objects were before is forgotten."""
        (x1, y1), (x2, y2) = self.settings.start_norm, self.settings.end_norm
        self._x, self._y = x1 * width, y1 * height
        self._dx, self._dy = (x2 - x1) * width, (y2 - y1) * height
        self._length = math.hypot(self._dx, self._dy)
        self._paths.clear()

    def look(self, thing: KnownObject, x: float, y: float) -> Direction | None:
        """Which way the object has crossed, now that its anchor is at this point; None where it has not.

        Args:
            thing: an object that is seen in this frame; one that is lost is looked at again when it is found.
            x, y: its anchor, frame pixels.
        """
        right_px = (self._dx * (y - self._y) - self._dy * (x - self._x)) / self._length
        along_px = (self._dx * (x - self._x) + self._dy * (y - self._y)) / self._length
        path = self._paths.get(thing.number)
        if path is None:
            path = self._paths[thing.number] = _Path(right_px, along_px)
        elif (right_px > 0) != (path.right_px > 0):
            share = path.right_px / (path.right_px - right_px)
            crossed_at_px = path.along_px + share * (along_px - path.along_px)
            path.was_within = 0 <= crossed_at_px <= self._length
        path.right_px, path.along_px = right_px, along_px
        if abs(right_px) <= self.settings.hysteresis_ratio * thing.size_px:
            return None
        was_right, path.is_clear_right = path.is_clear_right, right_px > 0
        if was_right is None or was_right == path.is_clear_right or not path.was_within:
            return None
        if not admits(self.settings.classes, thing):
            return None
        return Direction.IN if path.is_clear_right else Direction.OUT

    def end(self, thing: KnownObject) -> None:
        """Forget an object that is gone."""
        self._paths.pop(thing.number, None)


def _place(settings: LineSettings) -> tuple[object, ...]:
    return settings.start_norm, settings.end_norm, settings.anchor


@dataclass(slots=True)
class _Path:
    """Where one object was last: right of the line, along it from its start, and the last side it was clear on."""

    right_px: float
    along_px: float
    is_clear_right: bool | None = None
    was_within: bool = False
