"""Tracks in, events out."""

from itertools import pairwise

import numpy as np
import pytest

from edged.events.event import Direction, EventType
from edged.rules.counters import CounterState
from edged.rules.engine import Rules
from edged.rules.settings import ClassLimits, CrowdSettings, LineSettings, ObjectSettings, RuleSettings, ZoneSettings
from edged.types import FaceDecision, FaceDecisionKind, Tracks, TrackState
from edged.vision.boxes import Anchor

WIDTH, HEIGHT = 640, 360
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
TOP_HALF = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 0.5))
ACROSS = {"start_norm": (0.0, 0.5), "end_norm": (1.0, 0.5)}  # at y = 180, down is in


def make_rules(*, counters=None, **settings):
    settings = {name: tuple(rules) if isinstance(rules, list) else rules for name, rules in settings.items()}
    return Rules(RuleSettings(**settings), class_names=("person", "car"), counters=counters)


def show(rules, step, live=(), ended=()):
    """One frame at 10 frames a second."""
    tracks = Tracks(tuple(live), tuple(ended))
    return rules.update(tracks, now_s=step / 10, frame_seq=step + 1, width=WIDTH, height=HEIGHT)


def kinds(events):
    return [event.type.value for event in events]


def test_rules_without_tracks_say_nothing():
    """An empty street has no events."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)], lines=[LineSettings("gate", **ACROSS)])

    assert show(rules, 0) == []
    assert rules.finish(now_s=1.0) == []


def test_rules_tentative_track_says_nothing(make_track):
    """An object counts once it is confirmed."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)])

    assert show(rules, 0, [make_track(0, 100, 200, state=TrackState.TENTATIVE)]) == []


def test_rules_events_of_one_frame_come_in_fixed_order(make_track):
    """New, zone, crowd, line, update, end; by number, then by configuration."""
    rules = make_rules(
        zones=[
            ZoneSettings("left", LEFT_HALF, crowd=CrowdSettings(at=2, for_s=0)),
            ZoneSettings("all", ((0, 0), (1, 0), (1, 1))),
        ],
        lines=[LineSettings("gate", **ACROSS)],
    )
    show(rules, 0, [make_track(1, 500, 100), make_track(2, 600, 300)])

    events = show(
        rules,
        20,
        [make_track(1, 100, 300, class_id=1), make_track(3, 100, 40)],
        [make_track(2, 600, 300, state=TrackState.LOST)],
    )

    assert [(event.type.value, event.object and event.object.number, event.zone or event.line) for event in events] == [
        ("object.new", 3, None),
        ("zone.enter", 1, "left"),
        ("zone.leave", 1, "all"),
        ("zone.enter", 3, "left"),
        ("zone.enter", 3, "all"),
        ("zone.leave", 2, "all"),
        ("zone.crowded", None, "left"),
        ("line.crossed", 1, "gate"),
        ("object.update", 1, None),
        ("object.end", 2, None),
    ]


def test_rules_new_object_already_knows_its_zones(make_track):
    """Whoever appears in two overlapping zones is announced in both and enters both."""
    rules = make_rules(zones=[ZoneSettings("top", TOP_HALF), ZoneSettings("left", LEFT_HALF)])

    events = show(rules, 0, [make_track(1, 100, 150)])

    assert kinds(events) == ["object.new", "zone.enter", "zone.enter"]
    assert [event.object.zones for event in events] == [("top", "left"), ("top",), ("top", "left")]


def test_rules_event_carries_frame_and_object(make_track):
    """Time, number and size of the deciding frame, and the facts of the object."""
    rules = make_rules()

    (event,) = show(rules, 4, [make_track(9, 320, 200, score=0.7, first_s=0.1)])

    assert (event.type, event.captured_s, event.frame_seq, event.width, event.height) == (EventType.OBJECT_NEW, 0.4, 5, 640, 360)
    assert (event.object.number, event.object.class_name, event.object.score) == (9, "person", 0.7)
    assert event.object.best.captured_s == 0.4


def test_rules_lost_track_keeps_its_zone_until_it_ends(make_track):
    """While it is lost, its predicted box moves nothing; the end makes it leave, for the time that it was seen."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)])
    show(rules, 0, [make_track(1, 100, 200)])
    show(rules, 10, [make_track(1, 100, 200, seen_s=1.0)])

    lost = show(rules, 20, [make_track(1, 600, 200, state=TrackState.LOST, is_detected=False, seen_s=1.0)])
    events = show(rules, 30, ended=[make_track(1, 600, 200, state=TrackState.LOST, is_detected=False, seen_s=1.0)])

    assert lost == []
    assert kinds(events) == ["zone.leave", "object.end"]
    assert (events[0].dwell_s, events[0].count, events[0].details) == (1.0, 0, {"reason": "ended"})
    assert events[1].details == {"duration_s": 1.0}
    assert events[1].object.box.tolist() == [80, 100, 120, 200]


def test_rules_still_frames_let_dwell_go_on(make_track):
    """A held track is present: its dwell is reported though nothing was detected anew."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF, dwell_s=1.0)])
    show(rules, 0, [make_track(1, 100, 200)])

    events = [show(rules, step, [make_track(1, 100, 200, is_detected=False, seen_s=step / 10)]) for step in range(1, 15)]

    assert [kinds(frame) for frame in events] == [[]] * 9 + [["zone.dwell"]] + [[]] * 4
    assert events[9][0].dwell_s == pytest.approx(1.0)


def test_rules_lost_object_does_not_dwell_before_it_is_found(make_track):
    """Nobody knows whether it is there; found again, it has been there all the time."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF, dwell_s=1.0)])
    show(rules, 0, [make_track(1, 100, 200)])

    while_lost = show(rules, 12, [make_track(1, 100, 200, state=TrackState.LOST, is_detected=False)])
    found = show(rules, 15, [make_track(1, 100, 200)])

    assert while_lost == []
    assert [(event.type, event.dwell_s) for event in found] == [(EventType.ZONE_DWELL, 1.5)]


def test_rules_line_crossed_while_lost_counts_when_found(make_track):
    """The way between the last and the next sight crosses the line."""
    rules = make_rules(lines=[LineSettings("gate", **ACROSS)])
    show(rules, 0, [make_track(1, 320, 120)])
    show(rules, 1, [make_track(1, 320, 170, state=TrackState.LOST, is_detected=False)])

    (event,) = show(rules, 2, [make_track(1, 320, 250)])

    assert (event.type, event.line, event.direction) == (EventType.LINE_CROSSED, "gate", Direction.IN)


@pytest.mark.parametrize(
    ("anchor", "is_inside"),
    [
        pytest.param(Anchor.BOTTOM_CENTRE, False, id="bottom centre is below"),
        pytest.param(Anchor.CENTRE, True, id="centre is inside"),
        pytest.param(Anchor.TOP_CENTRE, True, id="top centre is inside"),
    ],
)
def test_rules_anchor_decides_which_point_counts(make_track, anchor, is_inside):
    """A box from y = 100 to 200 stands on the far side of y = 180 only with its foot."""
    rules = make_rules(zones=[ZoneSettings("top", TOP_HALF, anchor=anchor)])

    events = show(rules, 0, [make_track(1, 320, 200)])

    assert (EventType.ZONE_ENTER in [event.type for event in events]) is is_inside


def test_rules_box_beyond_the_picture_is_still_in_a_zone_at_its_edge(make_track):
    """Feet below the picture are in a zone that reaches its lower edge."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)])

    assert "zone.enter" in kinds(show(rules, 0, [make_track(1, 100, 375)]))


def test_rules_box_larger_than_the_picture_is_within_the_largest_size(make_track):
    """What the filter foresees beyond the picture does not make an object too large."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF, {"person": ClassLimits()})])

    assert "zone.enter" in kinds(show(rules, 0, [make_track(1, 300, 370, size=(700, 380))]))


def test_rules_follow_a_change_of_resolution(make_track):
    """The same pixel is elsewhere in a picture of twice the size."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)])
    before = show(rules, 0, [make_track(1, 600, 200)])

    tracks = Tracks((make_track(1, 600, 200),), ())
    after = rules.update(tracks, now_s=0.1, frame_seq=2, width=2 * WIDTH, height=2 * HEIGHT)

    assert kinds(before) == ["object.new"]
    assert kinds(after) == ["zone.enter"]


@pytest.mark.parametrize(
    ("classes", "announced"),
    [
        pytest.param(None, True, id="every class"),
        pytest.param({"person": ClassLimits(min_score=0.8)}, True, id="at the least score"),
        pytest.param({"person": ClassLimits(min_score=0.9)}, False, id="below the least score"),
        pytest.param({"car": ClassLimits()}, False, id="other class"),
    ],
)
def test_rules_objects_settings_decide_who_is_announced(make_track, classes, announced):
    """Who is not announced has no update and no end either, but enters zones."""
    rules = make_rules(objects=ObjectSettings(classes=classes), zones=[ZoneSettings("left", LEFT_HALF)])

    events = show(rules, 0, [make_track(1, 100, 200)]) + show(rules, 300, [make_track(1, 100, 200)])
    events += show(rules, 301, ended=[make_track(1, 100, 200)])

    told = ["object.new", "zone.enter", "object.update", "zone.leave", "object.end"]
    assert kinds(events) == (told if announced else ["zone.enter", "zone.leave"])


def test_rules_object_is_announced_when_it_has_scored_well_enough(make_track):
    """A doubtful object is announced later, once."""
    rules = make_rules(objects=ObjectSettings(classes={"person": ClassLimits(min_score=0.9)}))

    frames = [show(rules, step, [make_track(1, 100, 200, score=score)]) for step, score in enumerate([0.5, 0.9, 0.6])]

    assert [kinds(events) for events in frames] == [[], ["object.new"], []]


def make_decision(kind, subject=None, *, score=0.7):
    return FaceDecision(kind, subject, score, None, 0.5, 1e-4, 2, 0.9, 1, "a" * 64)


MATCH, UNKNOWN = make_decision(FaceDecisionKind.MATCH, "anna"), make_decision(FaceDecisionKind.UNKNOWN)


def identify(rules, number, decision):
    """An answer that frame 5 gave."""
    return rules.identify(number, decision, now_s=0.4, frame_seq=5, width=WIDTH, height=HEIGHT)


def test_rules_identity_is_said_once_on_the_objects_own_id(make_track):
    """The first answer is an event of the frame that decided; the same answer again, surer or not, is none."""
    rules = make_rules()
    show(rules, 0, [make_track(3, 100, 300)])

    (event,) = identify(rules, 3, MATCH)
    again = identify(rules, 3, make_decision(FaceDecisionKind.MATCH, "anna", score=0.9))

    assert (event.type, event.object.number, event.identity, event.former) == (EventType.OBJECT_IDENTITY, 3, MATCH, None)
    assert (event.captured_s, event.frame_seq, event.width, event.height) == (0.4, 5, WIDTH, HEIGHT)
    assert again == []


def test_rules_correction_of_an_identity_names_the_former_one(make_track):
    """Another answer is an event, too."""
    rules = make_rules()
    show(rules, 0, [make_track(3, 100, 300)])
    identify(rules, 3, UNKNOWN)

    (event,) = identify(rules, 3, MATCH)

    assert (event.identity, event.former) == (MATCH, UNKNOWN)


def test_rules_events_carry_the_identity_once_it_is_known(make_track):
    """Entering before the answer is entering as nobody yet; leaving and ending say who it was."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)])
    entered = show(rules, 0, [make_track(3, 100, 300)])
    identify(rules, 3, MATCH)

    left = show(rules, 5, [make_track(3, 500, 300)])
    ended = show(rules, 9, [], [make_track(3, 500, 300)])

    assert [event.object.identity for event in entered] == [None, None]
    assert kinds(left) == ["zone.leave"]
    assert [event.object.identity for event in (*left, *ended)] == [MATCH, MATCH]


def test_rules_identity_of_an_object_that_is_not_announced_waits_for_it(make_track):
    """It follows object.new; zones do not wait."""
    classes = {"person": ClassLimits(min_score=0.85)}
    rules = make_rules(objects=ObjectSettings(classes=classes))
    show(rules, 0, [make_track(3, 100, 300)])

    before = identify(rules, 3, MATCH)
    announced = show(rules, 5, [make_track(3, 100, 300, score=0.9)])

    assert before == []
    assert kinds(announced) == ["object.new", "object.identity"]
    assert announced[1].identity == MATCH


def test_rules_identity_of_an_object_that_ended_or_never_was_is_dropped(make_track):
    """An answer that comes too late concerns nobody."""
    rules = make_rules()
    show(rules, 0, [make_track(3, 100, 300)])
    show(rules, 1, [], [make_track(3, 100, 300)])

    assert identify(rules, 3, MATCH) == []
    assert identify(rules, 4, MATCH) == []


def test_rules_objects_tell_zones_and_identity_by_number(make_track):
    """What pictures need to know of who is in them."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)])
    show(rules, 0, [make_track(3, 100, 300), make_track(4, 500, 300)])
    identify(rules, 4, MATCH)

    objects = rules.objects()

    assert {number: (facts.zones, facts.identity) for number, facts in objects.items()} == {3: (("left",), None), 4: ((), MATCH)}


def test_rules_update_says_what_changed(make_track):
    """The reasons are in the details."""
    rules = make_rules()
    show(rules, 0, [make_track(1, 100, 200)])

    (event,) = show(rules, 10, [make_track(1, 100, 200, class_id=1, is_stationary=True)])

    assert (event.type, event.details) == (EventType.OBJECT_UPDATE, {"changes": ["class", "stationary"]})


def test_rules_finish_ends_everything_once(make_track):
    """Zones are left, crowds cleared and objects ended, at a moment that no frame decided."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF, crowd=CrowdSettings(at=1, for_s=0))])
    show(rules, 0, [make_track(1, 100, 200), make_track(2, 150, 200)])

    events = rules.finish(now_s=3.0)

    assert kinds(events) == ["zone.leave", "zone.leave", "zone.cleared", "object.end", "object.end"]
    assert {(event.frame_seq, event.captured_s, event.width) for event in events} == {(0, 3.0, WIDTH)}
    assert rules.finish(now_s=4.0) == []


def test_rules_counts_tell_totals_and_who_is_present(make_track):
    """Entries only rise; presence follows; a rule that counts everything still has its entry."""
    rules = make_rules(
        zones=[ZoneSettings("left", LEFT_HALF, {"person": ClassLimits()})],
        lines=[LineSettings("gate", **ACROSS), LineSettings("cars", **ACROSS, classes={"car": ClassLimits()})],
    )
    for step, (x, y) in enumerate([(100, 100), (500, 100), (100, 300)]):
        show(rules, step, [make_track(1, x, y)])

    counts = rules.counts()

    assert counts.zones["left"].entered_by_class == {"person": 2}
    assert counts.zones["left"].present_by_class == {"person": 1}
    assert (counts.lines["gate"].in_by_class, counts.lines["gate"].out_by_class) == ({"person": 1}, {})
    assert (counts.lines["cars"].in_by_class, counts.lines["cars"].out_by_class) == ({"car": 0}, {"car": 0})


def test_rules_presence_falls_to_zero(make_track):
    """An empty zone says 0, not nothing."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)])
    show(rules, 0, [make_track(1, 100, 200)])
    show(rules, 1, ended=[make_track(1, 100, 200)])

    assert rules.counts().zones["left"].present_by_class == {"person": 0}


def test_rules_count_changes_rises_exactly_when_counts_change(make_track):
    """Entering, crossing, a corrected class in a zone and leaving are changes; standing is none."""
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)], lines=[LineSettings("gate", **ACROSS)])
    steps = [(500, 100, 0), (100, 100, 0), (100, 100, 0), (100, 300, 0), (100, 300, 1), (500, 300, 1)]
    counts, changes = [rules.counts()], [rules.count_changes]

    for step, (x, y, class_id) in enumerate(steps):
        show(rules, step, [make_track(1, x, y, class_id=class_id)])
        counts.append(rules.counts())
        changes.append(rules.count_changes)

    has_changed = [before != after for before, after in pairwise(counts)]
    assert [before != after for before, after in pairwise(changes)] == has_changed
    assert has_changed == [False, True, False, True, True, True]


def test_rules_go_on_from_restored_counters(make_track):
    """Totals continue, and those of a rule that is gone are kept but not told."""
    before = CounterState().entered("left", "person").entered("renamed", "car").crossed("gate", Direction.IN, "car")
    rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF)], lines=[LineSettings("gate", **ACROSS)], counters=before)

    show(rules, 0, [make_track(1, 100, 200)])

    assert rules.counters().zones == {"left": {"person": 2}, "renamed": {"car": 1}}
    assert rules.counters().lines["gate"].in_by_class == {"car": 1}
    assert list(rules.counts().zones) == ["left"]


def test_rules_same_tracks_give_the_same_events(make_track):
    """Two runs over a random walk of eight people are equal in every event."""

    def run():
        rng = np.random.default_rng(3)
        rules = make_rules(zones=[ZoneSettings("left", LEFT_HALF, dwell_s=1)], lines=[LineSettings("gate", **ACROSS)])
        places = rng.uniform((0, 100), (640, 360), (8, 2))
        said = []
        for step in range(300):
            places = np.clip(places + rng.normal(0, 12, (8, 2)), (0, 100), (640, 360))
            tracks = [make_track(number + 1, *place) for number, place in enumerate(places.tolist())]
            said += [(e.type, e.frame_seq, e.object.number, e.zone, e.line, e.dwell_s) for e in show(rules, step, tracks)]
        return said

    first = run()

    assert len(first) > 50
    assert run() == first
