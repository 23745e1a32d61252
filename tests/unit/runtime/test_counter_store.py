"""Counters survive restarts, and what is wrong with one camera costs no other its counters."""

import json

import pytest

from edged.errors import StateError
from edged.rules.counters import CounterState
from edged.runtime.counter_store import COUNTERS, CounterStore
from edged.state import StateDirectory


@pytest.fixture
def state(tmp_path):
    """A state directory held by us."""
    with StateDirectory(tmp_path) as held:
        yield held


def entered(zone, times):
    """The totals of a camera whose zone was entered so often."""
    return CounterState(zones={zone: {"person": times}})


def test_counter_store_of_a_first_start_is_empty_and_writes_nothing(state, tmp_path):
    """Nothing was counted yet, which is no error."""
    store = CounterStore(state)

    assert store.load() == {}
    store.save({})

    assert not (tmp_path / COUNTERS).exists()


def test_counter_store_keeps_cameras_that_count_no_more(state):
    """A camera that is disabled today keeps its totals for tomorrow."""
    CounterStore(state).save({"door": entered("porch", 3), "yard": entered("lawn", 1)})

    store = CounterStore(state)
    store.load()
    store.save({"door": entered("porch", 4)})

    assert CounterStore(state).load() == {"door": entered("porch", 4), "yard": entered("lawn", 1)}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        pytest.param({"zones": {"lawn": {"person": -1}}}, "zones.lawn.person must be a whole number from 0", id="negative"),
        pytest.param({"lines": []}, "lines must be a mapping", id="list"),
        pytest.param(None, "counters must be a mapping", id="nothing"),
    ],
)
def test_counter_store_with_one_wrong_entry_begins_only_that_camera_anew(state, tmp_path, caplog, entry, words):
    """The camera is named, the others go on, and the file as it was is kept."""
    before = json.dumps({"door": entered("porch", 3).to_json(), "yard": entry})
    (tmp_path / COUNTERS).write_text(before)

    loaded = CounterStore(state).load()

    assert loaded == {"door": entered("porch", 3)}
    assert "camera=yard" in caplog.text
    assert words in caplog.text
    assert "camera=door" not in caplog.text
    assert (tmp_path / "counters.json.corrupt").read_text() == before


def test_counter_store_with_a_wrong_entry_has_the_right_ones_on_disk_at_once(state):
    """A start that fails afterwards costs nobody his counters, and the next one has nothing to complain about."""
    state.write_json(COUNTERS, {"door": entered("porch", 3).to_json(), "yard": 7})

    CounterStore(state).load()

    assert state.read_json(COUNTERS) == {"door": entered("porch", 3).to_json()}


@pytest.mark.parametrize("content", [pytest.param('{"door": ', id="torn"), pytest.param("[]", id="no mapping")])
def test_counter_store_with_a_file_that_is_none_of_ours_keeps_it_aside(state, tmp_path, caplog, content):
    """Counting begins anew, and nothing is thrown away."""
    (tmp_path / COUNTERS).write_text(content)

    loaded = CounterStore(state).load()

    assert loaded == {}
    assert "camera=(all)" in caplog.text
    assert (tmp_path / "counters.json.corrupt").read_text() == content


def test_counter_store_that_can_keep_nothing_aside_refuses_to_start(state, tmp_path, monkeypatch):
    """To go on would overwrite what is there."""

    def refuse(name):
        raise StateError(f"{name} cannot be renamed")

    (tmp_path / COUNTERS).write_text("[]")
    monkeypatch.setattr(state, "set_aside", refuse)

    with pytest.raises(StateError, match="cannot be renamed"):
        CounterStore(state).load()

    assert (tmp_path / COUNTERS).read_text() == "[]"


def test_counter_store_that_cannot_be_written_tries_again_with_the_next_change(state, tmp_path, caplog):
    """A full disk is logged once a change and ends nothing."""
    store = CounterStore(state)
    (tmp_path / f"{COUNTERS}.part").mkdir()
    store.save({"door": entered("porch", 1)})
    store.save({"door": entered("porch", 1)})
    (tmp_path / f"{COUNTERS}.part").rmdir()

    store.save({"door": entered("porch", 2)})

    assert caplog.text.count("counters are not kept") == 1
    assert state.read_json(COUNTERS) == {"door": entered("porch", 2).to_json()}
