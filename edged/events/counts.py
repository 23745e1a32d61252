"""How much passed one camera's lines and zones: the value behind the retained counters message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Totals = Mapping[str, int]
"""Class name to how many."""


@dataclass(frozen=True, slots=True)
class LineCount:
    """Crossings of one line since counting began; only rises.

    Attributes:
        in_by_class, out_by_class: by the class that the object had when it crossed.
    """

    in_by_class: Totals = field(default_factory=dict)
    out_by_class: Totals = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """Objects of one zone.

    Attributes:
        entered_by_class: entries since counting began; only rises.
        present_by_class: objects in the zone now.
    """

    entered_by_class: Totals = field(default_factory=dict)
    present_by_class: Totals = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """What every configured line and zone of one camera has counted, in configuration order."""

    lines: Mapping[str, LineCount] = field(default_factory=dict)
    zones: Mapping[str, ZoneCount] = field(default_factory=dict)
