"""Totals that only rise and survive a restart."""

import json

import pytest

from edged.errors import StateError
from edged.events.event import Direction
from edged.rules.counters import CounterState


def test_counters_count_by_place_direction_and_class():
    """Each crossing and entry raises its own total by one."""
    state = CounterState()

    for direction, class_name in [(Direction.IN, "person"), (Direction.IN, "person"), (Direction.OUT, "car")]:
        state = state.crossed("gate", direction, class_name)
    state = state.entered("porch", "person")

    assert state.lines["gate"].in_by_class == {"person": 2}
    assert state.lines["gate"].out_by_class == {"car": 1}
    assert state.zones["porch"] == {"person": 1}


def test_counters_written_as_json_come_back_equal():
    """What is kept over a restart is everything."""
    state = CounterState().crossed("gate", Direction.OUT, "car").entered("porch", "person").entered("yard", "dog")

    assert CounterState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_counters_of_nothing_are_empty():
    """An empty document is a fresh start."""
    assert CounterState.from_json({}) == CounterState()


def test_counters_with_zeros_keep_totals_and_add_what_is_missing():
    """A configured rule has an entry from the start, and no total is lowered."""
    state = CounterState().crossed("gate", Direction.IN, "person").entered("old", "car")

    after = state.with_zeros(lines={"gate": ["person", "car"]}, zones={"porch": ["person"]})

    assert after.lines["gate"].in_by_class == {"person": 1, "car": 0}
    assert after.lines["gate"].out_by_class == {"person": 0, "car": 0}
    assert after.zones == {"old": {"car": 1}, "porch": {"person": 0}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param([], "counters must be a mapping, got list", id="no mapping"),
        pytest.param({"lines": 3}, "lines must be a mapping, got int", id="lines no mapping"),
        pytest.param({"lines": {"gate": {"in": {"car": -1}}}}, "lines.gate.in.car", id="negative"),
        pytest.param({"zones": {"porch": {"car": 1.5}}}, "zones.porch.car", id="not whole"),
        pytest.param({"zones": {"porch": {"car": True}}}, "zones.porch.car", id="true is no number"),
        pytest.param({"zones": {"porch": {"car": "1"}}}, "zones.porch.car", id="text is no number"),
    ],
)
def test_counters_from_a_spoilt_document_are_refused(document, message):
    """The place that is wrong is named."""
    with pytest.raises(StateError, match=message):
        CounterState.from_json(document)
