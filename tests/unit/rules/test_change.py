"""Zones and lines that change while objects are in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.events.event import Event
from edged.rules.engine import Rules
from edged.rules.settings import ClassLimits, CrowdSettings, LineSettings, RuleSettings, ZoneSettings
from edged.types import Track, Tracks, TrackState

WIDTH, HEIGHT = 640, 360
LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
ALL = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
GATE = LineSettings("gate", (0.0, 0.5), (1.0, 0.5))  # at y = 180, down is in


def make_rules(*zones: ZoneSettings, lines: tuple[LineSettings, ...] = ()) -> Rules:
    return Rules(RuleSettings(zones, lines), class_names=("person", "car"))


def show(rules: Rules, step: int, *live: Track) -> list[Event]:
    """One frame at 10 frames a second."""
    return rules.update(Tracks(live, ()), now_s=step / 10, frame_seq=step + 1, width=WIDTH, height=HEIGHT)


def change(rules: Rules, *, zones: tuple = (), lines: tuple = ()) -> list[Event]:
    return rules.change(RuleSettings(zones, lines))


def kinds(events: list[Event]) -> list[str]:
    return [event.type.value for event in events if event.type.value != "object.update"]


def test_change_that_takes_a_zone_out_has_everybody_leave_it(make_track) -> None:
    """Who knew them inside is told, also that the crowd is over; what was counted is kept."""
    rules = make_rules(ZoneSettings("left", LEFT, crowd=CrowdSettings(at=2, for_s=0)))
    for step in (0, 20):
        show(rules, step, make_track(2, 200, 200), make_track(1, 100, 100), make_track(3, 500, 200))

    events = change(rules, zones=(ZoneSettings("right", RIGHT),))

    assert kinds(events) == ["zone.leave", "zone.leave", "zone.cleared"]
    assert [event.object.number for event in events[:2]] == [1, 2]
    assert [event.details["reason"] for event in events[:2]] == ["removed", "removed"]
    assert (events[0].captured_s, events[0].dwell_s) == (2.0, 2.0)
    assert all(event.zone == "left" for event in events)
    assert rules.counters().zones["left"] == {"person": 2}
    assert "left" not in rules.counts().zones
    assert rules.objects() == {}


def test_change_that_brings_a_zone_has_those_inside_enter_with_the_next_frame(make_track) -> None:
    """As if they had been seen for the first time."""
    rules = make_rules()
    show(rules, 0, make_track(1, 100, 100))
    before = rules.count_changes

    assert change(rules, zones=(ZoneSettings("left", LEFT),)) == []
    assert rules.count_changes > before
    assert set(rules.counts().zones) == {"left"}

    assert kinds(show(rules, 1, make_track(1, 100, 100))) == ["zone.enter"]


def test_change_of_a_zone_keeps_who_is_still_inside_and_their_time(make_track) -> None:
    """A corner that was moved is no reason to enter anew."""
    rules = make_rules(ZoneSettings("yard", LEFT, dwell_s=3.0))
    show(rules, 0, make_track(1, 100, 100), make_track(2, 300, 100))

    assert change(rules, zones=(ZoneSettings("yard", ((0.0, 0.0), (0.3, 0.0), (0.3, 1.0)), dwell_s=3.0),)) == []
    left = show(rules, 11, make_track(1, 100, 20), make_track(2, 300, 100))
    dwelt = show(rules, 30, make_track(1, 100, 20), make_track(2, 300, 100))

    assert kinds(left) == ["zone.leave"]
    assert (left[0].object.number, left[0].details["reason"]) == (2, "left")
    assert kinds(dwelt) == ["zone.dwell"]
    assert (dwelt[0].object.number, dwelt[0].dwell_s) == (1, 3.0)


def test_change_that_moves_a_zone_over_somebody_has_them_enter_with_the_next_frame(make_track) -> None:
    """They did not walk in: nobody waits until they have settled, also where they stand on its border."""
    rules = make_rules(ZoneSettings("vault", RIGHT, settle_s=2.0))
    show(rules, 0, make_track(1, 100, 100))

    change(rules, zones=(ZoneSettings("vault", ((0.0, 0.0), (101 / 640, 0.0), (101 / 640, 1.0), (0.0, 1.0)), settle_s=2.0),))

    assert kinds(show(rules, 1, make_track(1, 100, 100))) == ["zone.enter"]


def test_change_leaves_nothing_known_of_objects_until_the_new_zones_have_looked_at_them(make_track) -> None:
    """One that is lost just now may be in any of them: whoever hides by zones must hide it."""
    rules = make_rules(ZoneSettings("left", LEFT))
    show(rules, 0, make_track(1, 100, 100), make_track(2, 200, 200))

    change(rules, zones=(ZoneSettings("yard", LEFT),))
    show(rules, 1, make_track(1, 100, 100), make_track(2, 200, 200, state=TrackState.LOST))
    while_lost = rules.objects()
    show(rules, 2, make_track(1, 100, 100), make_track(2, 200, 200))

    assert {number: thing.zones for number, thing in while_lost.items()} == {1: ("yard",)}
    assert {number: thing.zones for number, thing in rules.objects().items()} == {1: ("yard",), 2: ("yard",)}


def test_change_of_the_dwell_time_counts_for_who_is_inside(make_track) -> None:
    """From their entry, not from the change."""
    rules = make_rules(ZoneSettings("left", LEFT))
    show(rules, 0, make_track(1, 100, 100))

    change(rules, zones=(ZoneSettings("left", LEFT, dwell_s=2.0),))

    assert "zone.dwell" not in kinds(show(rules, 19, make_track(1, 100, 100)))
    assert "zone.dwell" in kinds(show(rules, 20, make_track(1, 100, 100)))


def test_change_of_how_often_a_stay_is_reported_counts_from_the_last_report(make_track) -> None:
    """What was said once is not said again because somebody edited the file."""
    rules = make_rules(ZoneSettings("left", LEFT, dwell_s=1.0))
    track = make_track(1, 100, 100)
    show(rules, 0, track)
    assert kinds(show(rules, 15, track)) == ["zone.dwell"]

    change(rules, zones=(ZoneSettings("left", LEFT, dwell_s=0.5, dwell_repeat_s=2.0),))

    assert kinds(show(rules, 34, track)) == []
    assert kinds(show(rules, 35, track)) == ["zone.dwell"]


def test_change_that_asks_for_no_crowd_any_more_ends_it(make_track) -> None:
    """Nobody would ever say so later."""
    rules = make_rules(ZoneSettings("left", LEFT, crowd=CrowdSettings(at=1, for_s=0)))
    show(rules, 0, make_track(1, 100, 100))

    assert kinds(change(rules, zones=(ZoneSettings("left", LEFT),))) == ["zone.cleared"]


def test_change_leaves_a_line_that_stays_as_it_was(make_track) -> None:
    """Who was above before the change and is below after it has crossed."""
    rules = make_rules(lines=(GATE,))
    show(rules, 0, make_track(1, 300, 100))

    change(rules, lines=(replace(GATE, classes={"person": ClassLimits()}), LineSettings("other", (0.0, 0.9), (1.0, 0.9))))

    assert "line.crossed" in kinds(show(rules, 1, make_track(1, 300, 250)))


def test_change_of_a_line_counts_nobody_whom_it_passed(make_track) -> None:
    """The line moved, not they."""
    rules = make_rules(lines=(GATE,))
    show(rules, 0, make_track(1, 300, 100))

    change(rules, lines=(LineSettings("gate", (0.0, 0.1), (1.0, 0.1)),))

    assert "line.crossed" not in kinds(show(rules, 1, make_track(1, 300, 110)))


ZONES = st.lists(
    st.builds(
        ZoneSettings,
        st.sampled_from("abc"),
        st.sampled_from([LEFT, RIGHT, ALL]),
        settle_s=st.just(0.0),
        crowd=st.sampled_from([None, CrowdSettings(at=1, for_s=0)]),
    ),
    max_size=3,
    unique_by=lambda zone: zone.name,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # it makes values alone
@given(plan=st.lists(st.tuples(ZONES, st.lists(st.sampled_from([100, 540]), min_size=2, max_size=2)), min_size=1, max_size=6))
def test_changes_whatever_they_are_every_entry_has_its_end(make_track, plan: list) -> None:
    """Each object enters a zone before it leaves it, and has left all when everything ends; so has every crowd."""
    rules = make_rules()
    events: list[Event] = []
    for step, (zones, places) in enumerate(plan):
        events += change(rules, zones=tuple(zones))
        events += show(rules, 10 * step, *(make_track(number, x, 200) for number, x in enumerate(places, start=1)))
        assert len(rules.objects()) == 2
        assert {name for thing in rules.objects().values() for name in thing.zones} <= {zone.name for zone in zones}
    events += rules.finish(now_s=100.0)

    balance: Counter = Counter()
    for event in events:
        key = (event.zone, event.object and event.object.number)
        balance[key] += {"zone.enter": 1, "zone.crowded": 1, "zone.leave": -1, "zone.cleared": -1}.get(event.type.value, 0)
        assert balance[key] in (0, 1)
    assert not any(balance.values())
