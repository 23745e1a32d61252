"""What the picture and the zones of one camera are made of: the value behind the retained areas message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Shares = Mapping[str, float]
"""Class name to its share of an area, 0 to 1."""


@dataclass(frozen=True, slots=True)
class ZoneAreas:
    """One zone.

    Attributes:
        shares: of the classes that are published, in the order of the network's classes.
        is_blocked: whether it counts as blocked; None where that is not asked.
        covered_by: names of the rules by which it is covered, in configuration order; None where it has no such rule.
    """

    shares: Shares
    is_blocked: bool | None = None
    covered_by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Areas:
    """One camera, at the moment of its newest map.

    Attributes:
        captured_s: when the picture was captured, on the events' clock.
        model: SHA-256 of the network.
        picture: shares of the whole picture.
        zones: every zone, in configuration order.
    """

    captured_s: float
    model: str
    picture: Shares
    zones: Mapping[str, ZoneAreas] = field(default_factory=dict)
