"""How often lines were crossed and zones entered: totals that only rise and survive a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from edged.errors import StateError
from edged.events.counts import LineCount, Totals
from edged.events.event import Direction


@dataclass(frozen=True, slots=True)
class CounterState:
    """The totals of one camera; a value: counting makes a new one.

    Attributes:
        lines: crossings of each line.
        zones: how often each zone was entered, by class.
    """

    lines: Mapping[str, LineCount] = field(default_factory=dict)
    zones: Mapping[str, Totals] = field(default_factory=dict)

    def crossed(self, line: str, direction: Direction, class_name: str) -> CounterState:
        """The state after one more crossing."""
        before = self.lines.get(line, LineCount())
        if direction is Direction.IN:
            after = replace(before, in_by_class=_one_more(before.in_by_class, class_name))
        else:
            after = replace(before, out_by_class=_one_more(before.out_by_class, class_name))
        return replace(self, lines={**self.lines, line: after})

    def entered(self, zone: str, class_name: str) -> CounterState:
        """The state after one more entry into a zone."""
        return replace(self, zones={**self.zones, zone: _one_more(self.zones.get(zone, {}), class_name)})

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values that `from_json` reads."""
        return {
            "lines": {
                name: {"in": dict(count.in_by_class), "out": dict(count.out_by_class)} for name, count in self.lines.items()
            },
            "zones": {name: dict(totals) for name, totals in self.zones.items()},
        }

    def with_zeros(self, *, lines: Mapping[str, Iterable[str]], zones: Mapping[str, Iterable[str]]) -> CounterState:
        """The state in which each of these lines and zones, and each of their classes, has an entry."""
        all_lines, all_zones = dict(self.lines), dict(self.zones)
        for name, class_names in lines.items():
            zeros, count = dict.fromkeys(class_names, 0), all_lines.get(name, LineCount())
            all_lines[name] = LineCount({**zeros, **count.in_by_class}, {**zeros, **count.out_by_class})
        for name, class_names in zones.items():
            all_zones[name] = {**dict.fromkeys(class_names, 0), **all_zones.get(name, {})}
        return CounterState(all_lines, all_zones)

    @classmethod
    def from_json(cls, document: object) -> CounterState:
        """The state that `to_json` wrote; names that no rule has any more are kept, in case they come back.

        Raises:
            StateError: the document is not one of ours; names the first wrong place.
        """
        top = _mapping(document, "counters")
        lines = _mapping(top.get("lines", {}), "lines")
        zones = _mapping(top.get("zones", {}), "zones")
        return cls(
            lines={name: _line_count(count, f"lines.{name}") for name, count in lines.items()},
            zones={name: _totals(totals, f"zones.{name}") for name, totals in zones.items()},
        )


def _one_more(totals: Totals, class_name: str) -> Totals:
    return {**totals, class_name: totals.get(class_name, 0) + 1}


def _line_count(value: object, where: str) -> LineCount:
    both = _mapping(value, where)
    return LineCount(_totals(both.get("in", {}), f"{where}.in"), _totals(both.get("out", {}), f"{where}.out"))


def _totals(value: object, where: str) -> Totals:
    totals = _mapping(value, where)
    for class_name, total in totals.items():
        if type(total) is not int or total < 0:
            raise StateError(f"counters: {where}.{class_name} must be a whole number from 0, got {total!r}")
    return totals  # type: ignore[return-value]


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise StateError(f"counters: {where} must be a mapping, got {type(value).__name__}")
    return value
