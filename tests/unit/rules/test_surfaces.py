"""What areas are made of, what blocks and covers them, and what objects stand on."""

from dataclasses import replace

import numpy as np
import pytest

from edged.events.event import EventType
from edged.rules.settings import AreaRuleSettings, AreaSettings, ShareRule
from edged.rules.surfaces import REFRESH_S, AreaRules, AreaShares, Ground, MapMoment
from edged.types import SegmentationMap

CLASSES = ("road", "pavement", "car", "person")
BLOCKED = ShareRule(classes=("car",), above=0.3, for_s=10.0, hysteresis_ratio=0.05)
VAN = ShareRule(classes=("car",), above=0.2, for_s=0.0, name="van")
CROWD = ShareRule(classes=("person", "car"), above=0.5, for_s=0.0, name="crowd")


def make_rules(*, min_change_ratio=0.02, picture=None, **zones):
    settings = AreaRuleSettings(zones, picture or AreaSettings(), min_change_ratio)
    return AreaRules(settings, class_names=CLASSES, model="5" * 64)


def at(second):
    return MapMoment(captured_s=second, frame_seq=round(second * 5) + 1, width=640, height=360)


def row(*, car=0.0, person=0.0, pavement=0.0):
    return np.array([1 - car - person - pavement, pavement, car, person])


def shares(picture=None, **zones):
    return AreaShares(row() if picture is None else picture, zones)


def play(rules, *cars, every_s=5.0, zone="way"):
    """Maps one after the other, each with this share of cars in the zone: what is said at which second."""
    said = []
    for step, car in enumerate(cars):
        events = rules.update(shares(**{zone: row(car=car)}), at(step * every_s))
        said += [(event.captured_s, event.type.value) for event in events]
    return said


def test_blocked_way_is_said_once_it_has_lasted_and_freed_likewise():
    """Both for 10 s, counted from the first map that shows it."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED))

    said = play(rules, 0, 0.5, 0.5, 0.5, 0.5, 0, 0, 0)

    assert said == [(15.0, "zone.blocked"), (35.0, "zone.free")]


@pytest.mark.parametrize(
    ("cars", "expected"),
    [
        pytest.param([0.3, 0.3, 0.3], [(10.0, "zone.blocked")], id="at the bound it is"),
        pytest.param([0.2999, 0.2999, 0.2999], [], id="just below it is not"),
        pytest.param([0.5, 0.1, 0.5, 0.5], [], id="one map that says otherwise begins anew"),
        pytest.param([0.5, 0.5, 0.5, 0.26, 0.26, 0.26, 0.26], [(10.0, "zone.blocked")], id="within the hysteresis it stays"),
        pytest.param([0.5] * 3 + [0.24] * 3, [(10.0, "zone.blocked"), (25.0, "zone.free")], id="beyond it does not"),
    ],
)
def test_blocked_way_keeps_to_its_bound_and_hysteresis(cars, expected):
    """The bound itself counts; what wavers just below it does not chatter."""
    assert play(make_rules(way=AreaSettings(blocked=BLOCKED)), *cars) == expected


def test_way_of_which_too_little_is_seen_is_blocked():
    """`below`: by whatever it is covered, also by what the network has no class for."""
    rule = ShareRule(classes=("road",), below=0.6, for_s=0.0, hysteresis_ratio=0.1)
    rules = make_rules(way=AreaSettings(blocked=rule))

    assert play(rules, 0.3, 0.4, 0.35, 0.3, 0.29) == [(5.0, "zone.blocked"), (20.0, "zone.free")]


def test_event_tells_zone_shares_and_how_long_it_lasted():
    """Enough for a notification, without asking back."""
    rules = make_rules(way=AreaSettings(covered_by=(VAN,)))

    (began,) = rules.update(shares(way=row(car=0.41234)), at(5))
    (ended,) = rules.update(shares(way=row()), at(65))

    assert (began.type, began.zone, began.frame_seq, began.width) == (EventType.ZONE_COVERED_BY, "way", 26, 640)
    assert began.details == {"rule": "van", "share": 0.4123, "classes": {"car": 0.4123}}
    assert ended.type is EventType.ZONE_UNCOVERED
    assert ended.details == {"rule": "van", "share": 0.0, "classes": {"car": 0.0}, "lasted_s": 60.0}


def test_rules_of_a_zone_are_each_their_own():
    """The sum of its classes counts for each; events come in the order of the configuration."""
    rules = make_rules(way=AreaSettings(covered_by=(VAN, CROWD)))

    events = rules.update(shares(way=row(car=0.25, person=0.25)), at(0))

    assert [event.details["rule"] for event in events] == ["van", "crowd"]
    assert rules.areas().zones["way"].covered_by == ("van", "crowd")


def test_areas_tell_what_is_published_and_how_the_rules_stand():
    """A zone's own classes, else all; None where a question was not asked."""
    rules = make_rules(
        picture=AreaSettings(classes=("road",)),
        way=AreaSettings(classes=("car", "road"), blocked=BLOCKED),
        lawn=AreaSettings(covered_by=(VAN,)),
        yard=AreaSettings(classes=()),
    )

    rules.update(shares(way=row(car=0.1), lawn=row(pavement=0.5), yard=row()), at(7))

    areas = rules.areas()
    assert (areas.captured_s, areas.model, areas.picture) == (7, "5" * 64, {"road": 1.0})
    assert areas.zones["way"].shares == {"car": 0.1, "road": 0.9}
    assert (areas.zones["way"].is_blocked, areas.zones["way"].covered_by) == (False, None)
    assert areas.zones["lawn"].shares == {"road": 0.5, "pavement": 0.5, "car": 0.0, "person": 0.0}
    assert (areas.zones["lawn"].is_blocked, areas.zones["lawn"].covered_by) == (None, ())
    assert areas.zones["yard"].shares == {}


@pytest.mark.parametrize(
    ("cars", "told_at"),
    [
        pytest.param([0.1, 0.1, 0.1], [0], id="nothing changes"),
        pytest.param([0.1, 0.119, 0.101, 0.119], [0], id="less than the least change"),
        pytest.param([0.1, 0.12, 0.12], [0, 10], id="the least change, seen twice"),
        pytest.param([0.1, 0.5, 0.1, 0.5, 0.1], [0], id="a bus in every second map"),
        pytest.param([0.1, 0.11, 0.12, 0.13, 0.14], [0, 15], id="a slow drift, from what was told"),
    ],
)
def test_areas_are_told_when_two_maps_find_a_change(cars, told_at):
    """So that neither noise nor what passes makes a message."""
    rules, told = make_rules(way=AreaSettings()), []
    for step, car in enumerate(cars):
        before = rules.changes
        rules.update(shares(way=row(car=car)), at(5 * step))
        told += [5 * step] * (rules.changes - before)

    assert told == told_at


def test_areas_that_do_not_change_are_told_again_after_a_while():
    """So that a reader knows that they are still looked at."""
    rules = make_rules(way=AreaSettings())
    for step in range(4):
        rules.update(shares(way=row()), at(step * REFRESH_S / 2))

    assert rules.changes == 2
    assert rules.areas().captured_s == REFRESH_S


def test_areas_are_told_with_every_event():
    """Who reads the retained message knows what the events said."""
    rules = make_rules(min_change_ratio=1.0, way=AreaSettings(blocked=BLOCKED))
    play(rules, 0, 0.5, 0.5, 0.5)

    assert rules.areas().zones["way"].is_blocked
    assert rules.changes == 2


def test_rules_are_undecided_while_a_map_could_decide():
    """Then the next map is worth having sooner."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED))
    undecided = []
    for step, car in enumerate([0, 0.5, 0.5, 0.5, 0.5]):
        rules.update(shares(way=row(car=car)), at(5 * step))
        undecided.append(rules.is_undecided)

    assert undecided == [False, True, True, False, False]


def test_rule_that_takes_long_waits_at_the_usual_pace():
    """An hour of maps in a hurry would cost more than it tells."""
    rules = make_rules(way=AreaSettings(blocked=ShareRule(classes=("car",), above=0.3, for_s=3600)))
    play(rules, 0.5, 0.5)

    assert not rules.is_undecided


def test_camera_that_is_gone_has_no_areas_and_frees_no_way():
    """Nothing is told of it; what was blocked is freed only by maps that show it free."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED))
    play(rules, 0.5, 0.5, 0.5)
    changes = rules.changes

    rules.forget()
    gone, gone_changes = rules.areas(), rules.changes
    events = [event for second in (100, 105, 110) for event in rules.update(shares(way=row()), at(second))]

    assert (gone, gone_changes) == (None, changes + 1)
    assert [(event.type.value, event.captured_s, event.details["lasted_s"]) for event in events] == [("zone.free", 110, 110.0)]


def test_camera_that_is_gone_begins_its_waiting_anew():
    """What was half believed before says nothing about what comes."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED))
    rules.update(shares(way=row(car=0.5)), at(0))
    rules.forget()

    assert rules.update(shares(way=row(car=0.5)), at(60)) == []


def test_change_of_a_rule_goes_on_from_what_was_said():
    """A bound that was moved blocks no way anew; it is freed by the new bound, and has lasted from its beginning."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED))
    play(rules, 0.5, 0.5, 0.5)

    assert rules.change(AreaRuleSettings({"way": AreaSettings(blocked=replace(BLOCKED, above=0.6, for_s=0.0))}), at(11)) == []
    assert rules.areas() is None  # until the next map
    (freed,) = rules.update(shares(way=row(car=0.5)), at(15))

    assert (freed.type, freed.details["lasted_s"]) == (EventType.ZONE_FREE, 15.0)


def test_change_that_changes_nothing_of_a_rule_lets_it_wait_on():
    """Whoever edits another key delays no event; what is known of the areas stays known where nothing of them changed."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED))
    play(rules, 0.5, 0.5)

    assert rules.change(AreaRuleSettings({"way": AreaSettings(blocked=BLOCKED)}), at(6)) == []
    assert rules.areas() is not None
    assert rules.change(AreaRuleSettings({"way": AreaSettings(blocked=BLOCKED), "yard": AreaSettings()}), at(7)) == []
    assert rules.areas() is None

    (blocked,) = rules.update(shares(way=row(car=0.5), yard=row()), at(10))
    assert blocked.type is EventType.ZONE_BLOCKED


def test_zones_that_lie_elsewhere_wait_anew_and_no_others():
    """Of a zone that stayed where it is, what was seen counts on."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED), yard=AreaSettings(blocked=BLOCKED))
    full = shares(way=row(car=0.5), yard=row(car=0.5))
    rules.update(full, at(0))

    rules.forget_zones({"yard"})

    assert rules.areas() is None
    assert [event.zone for event in rules.update(full, at(10))] == ["way"]
    assert [event.zone for event in rules.update(full, at(20))] == ["yard"]


def test_change_that_takes_a_rule_out_says_that_it_is_over():
    """Whoever was told that the way is blocked would wait for ever."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED, covered_by=(VAN, CROWD)), yard=AreaSettings(covered_by=(VAN,)))
    for second in (0, 5, 10):
        rules.update(shares(way=row(car=0.5), yard=row(car=0.5)), at(second))

    events = rules.change(AreaRuleSettings({"way": AreaSettings(covered_by=(CROWD,))}), at(12))

    assert [(event.type.value, event.zone, event.details.get("rule")) for event in events] == [
        ("zone.free", "way", None),
        ("zone.uncovered", "way", "van"),
        ("zone.uncovered", "yard", "van"),
    ]
    assert events[0].details == {"share": 0.5, "classes": {"car": 0.5}, "lasted_s": 12.0, "reason": "removed"}
    assert rules.change(AreaRuleSettings(), at(13))[0].details["rule"] == "crowd"


def test_change_to_a_class_that_the_network_lacks_changes_nothing():
    """What is watched goes on being watched."""
    rules = make_rules(way=AreaSettings(blocked=BLOCKED))

    with pytest.raises(ValueError, match="no class water"):
        rules.change(AreaRuleSettings({"way": AreaSettings(classes=("water",))}), at(1))

    assert play(rules, 0.5, 0.5, 0.5) == [(10.0, "zone.blocked")]


def test_rules_without_zones_tell_the_picture():
    """A camera needs no zone."""
    rules = make_rules()

    assert rules.update(shares(row(car=0.25)), at(0)) == []
    assert rules.areas().picture == {"road": 0.75, "pavement": 0.0, "car": 0.25, "person": 0.0}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(AreaSettings(classes=("water",)), id="published"),
        pytest.param(AreaSettings(blocked=ShareRule(classes=("water",), above=0.5)), id="blocked"),
        pytest.param(AreaSettings(covered_by=(ShareRule(classes=("water",), above=0.5, name="flood"),)), id="covered"),
    ],
)
def test_rules_refuse_a_class_that_the_network_lacks(settings):
    """It could never be seen."""
    with pytest.raises(ValueError, match="no class water; it knows road, pavement, car, person"):
        make_rules(way=settings)
    with pytest.raises(ValueError, match="no class water"):
        make_rules(picture=AreaSettings(classes=("water",)))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"classes": ()}, id="no class"),
        pytest.param({"above": None}, id="no bound"),
        pytest.param({"below": 0.1}, id="two bounds"),
        pytest.param({"for_s": -1.0}, id="negative time"),
        pytest.param({"hysteresis_ratio": 0.3}, id="never over"),
        pytest.param({"above": None, "below": 0.95}, id="never over, below"),
    ],
)
def test_rule_that_cannot_be_is_refused(changed):
    """Where it is made, not where it fails."""
    with pytest.raises(ValueError, match=r"must|needs"):
        ShareRule(**({"classes": ("car",), "above": 0.3} | changed))


def test_rules_of_one_zone_with_one_name_are_refused():
    """Their events could not be told apart."""
    with pytest.raises(ValueError, match="different names"):
        AreaSettings(covered_by=(VAN, VAN))


SCENE = np.array(
    [
        [0, 0, 0, 0, 1, 1, 1, 1],
        [0, 0, 3, 0, 1, 1, 2, 2],
        [0, 0, 3, 0, 1, 1, 2, 2],
        [0, 0, 0, 0, 1, 1, 2, 2],
    ],
    np.uint8,
)  # each pixel covers 80 x 90 of the frame; a person stands on the road, a car fills the right


def make_ground(labels=SCENE, surfaces=("road", "pavement")):
    return Ground(SegmentationMap(labels, CLASSES, 640, 360), surfaces)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((170, 90, 230, 270), "road", id="whose own pixels the map shows where it stands"),
        pytest.param((330, 100, 390, 250), "pavement", id="on the pavement"),
        pytest.param((10, 100, 70, 360), "road", id="feet at the lower edge of the picture"),
        pytest.param((10, 200, 70, 500), "road", id="feet below the picture"),
        pytest.param((485, 90, 635, 350), "pavement", id="nothing but a car below: what is beside it"),
        pytest.param((570, 100, 630, 300), None, id="nothing but a car around"),
        pytest.param((-60, 10, -10, 80), "road", id="left of the picture"),
    ],
)
def test_ground_is_what_lies_below_the_feet(box, expected):
    """The map shows the object itself where it is: what counts is the ground below, else beside it."""
    assert make_ground().under(box) == expected


def test_ground_of_which_the_map_knows_no_surface_is_none():
    """Of a network that tells people from the rest."""
    assert make_ground(surfaces=("floor",)).under((170, 90, 230, 270)) is None


def test_ground_of_one_pixel_is_that():
    """The smallest map there is."""
    assert make_ground(np.zeros((1, 1), np.uint8)).under((0, 0, 640, 360)) == "road"
