"""The life of one object."""

import pytest

from edged.rules.objects import Change, KnownObject, shot_quality
from edged.rules.settings import ObjectSettings

WIDTH, HEIGHT = 640, 360


@pytest.fixture
def follow(make_track):
    """Shows an object one more track of 40 x 100 pixels with its bottom at y = 200, where nothing else is said."""

    def follow_one(thing, *, x=320.0, y=200.0, class_name="person", now_s=0.0, **changed):
        thing.follow(make_track(thing.number, x, y, **changed), class_name, now_s=now_s, width=WIDTH, height=HEIGHT)

    return follow_one


@pytest.mark.parametrize(
    ("box", "score", "quality"),
    [
        pytest.param((200, 100, 360, 244), 0.9, 0.9, id="a tenth of the picture, wholly inside"),
        pytest.param((200, 100, 280, 172), 0.9, 0.45, id="half the side"),
        pytest.param((100, 50, 500, 300), 0.9, 0.9, id="larger than needed"),
        pytest.param((200, 100, 360, 244), 0.0, 0.0, id="score 0"),
        pytest.param((0.5, 100, 160.5, 244), 0.9, 0.45, id="cut by the left edge"),
        pytest.param((480, 100, 640, 244), 0.9, 0.45, id="cut by the right edge"),
        pytest.param((1, 100, 161, 244), 0.9, 0.9, id="one pixel from the edge"),
        pytest.param((200, 100, 200, 100), 0.9, 0.0, id="no area"),
        pytest.param((-80, 100, 80, 244), 0.9, 0.9 * 0.5**0.5 * 0.5, id="half outside"),
    ],
)
def test_shot_quality_is_score_times_size_halved_at_the_edge(box, score, quality):
    """The larger, the surer and the more complete, the better."""
    assert shot_quality(box, score, width=WIDTH, height=HEIGHT) == pytest.approx(quality)


def test_object_best_shot_keeps_the_best_of_its_detections(follow):
    """A better detection replaces the shot, a worse one does not."""
    thing = KnownObject(1)

    for now_s, score in [(1.0, 0.5), (2.0, 0.9), (3.0, 0.7)]:
        follow(thing, score=score, now_s=now_s)

    assert (thing.best.captured_s, thing.best.score, thing.top_score) == (2.0, 0.9, 0.9)


def test_object_best_shot_comes_from_detections_only(follow):
    """A held or predicted box is no shot."""
    thing = KnownObject(1)

    follow(thing, is_detected=False)

    assert thing.best is None


def test_object_facts_tell_everything(follow):
    """What was followed is what an event tells."""
    thing = KnownObject(7)
    follow(thing, score=0.75, first_s=1.5, is_stationary=True, now_s=2.0)
    thing.zones = ("porch",)

    facts = thing.facts()

    assert (facts.number, facts.class_name, facts.score, facts.top_score) == (7, "person", 0.75, 0.75)
    assert (facts.is_stationary, facts.first_s, facts.zones) == (True, 1.5, ("porch",))
    assert facts.box.tolist() == [300, 100, 340, 200]
    assert facts.best.captured_s == 2.0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, (), id="nothing"),
        pytest.param({"class_name": "car"}, (Change.CLASS,), id="class"),
        pytest.param({"score": 0.5 * 1.26}, (Change.BEST,), id="clearly better shot"),
        pytest.param({"score": 0.5 * 1.2}, (), id="slightly better shot"),
        pytest.param({"is_stationary": True}, (Change.STATIONARY,), id="stands still"),
        pytest.param({"now_s": 10.0}, (Change.PERIODIC,), id="long silent"),
        pytest.param({"now_s": 9.9}, (), id="not yet long silent"),
        pytest.param({"now_s": 10.0, "class_name": "car", "is_stationary": True}, (Change.CLASS, Change.STATIONARY), id="two"),
    ],
)
def test_object_changes_are_reported_when_they_matter(follow, change, expected):
    """Each kind of change is due by itself, and time alone only where nothing else is."""
    thing = KnownObject(1)
    follow(thing, score=0.5)
    thing.tell(now_s=0.0)

    facts = {"score": 0.5, "now_s": 2.0} | change
    follow(thing, **facts)

    assert thing.changes(ObjectSettings(), now_s=facts["now_s"]) == expected


def test_object_zone_change_is_reported(follow):
    """Being in another zone is news."""
    thing = KnownObject(1)
    follow(thing)
    thing.tell(now_s=0.0)
    thing.zones = ("porch",)

    assert thing.changes(ObjectSettings(), now_s=2.0) == (Change.ZONES,)


def test_object_that_stands_still_is_not_reported_for_time_alone(follow):
    """A parked car stays silent."""
    thing = KnownObject(1)
    follow(thing, is_stationary=True)
    thing.tell(now_s=0.0)

    assert thing.changes(ObjectSettings(), now_s=3600.0) == ()


@pytest.mark.parametrize(
    ("now_s", "is_due"), [pytest.param(0.99, False, id="too soon"), pytest.param(1.0, True, id="after update_min_s")]
)
def test_object_change_waits_until_update_min_s_has_passed(follow, now_s, is_due):
    """News is kept, not lost, until it may be sent."""
    thing = KnownObject(1)
    follow(thing)
    thing.tell(now_s=0.0)
    follow(thing, class_name="car", now_s=0.1)

    assert bool(thing.changes(ObjectSettings(update_min_s=1.0), now_s=now_s)) is is_due


def test_object_told_of_has_no_changes_left(follow):
    """What was sent is not sent again."""
    thing = KnownObject(1)
    follow(thing)
    thing.tell(now_s=0.0)
    follow(thing, class_name="car", now_s=2.0)
    thing.tell(now_s=2.0)

    assert thing.changes(ObjectSettings(), now_s=4.0) == ()


def test_object_never_announced_has_no_changes(follow):
    """Updates follow an announcement."""
    thing = KnownObject(1)
    follow(thing)

    assert thing.changes(ObjectSettings(), now_s=100.0) == ()
