"""Who is in a zone, and since when."""

import cv2
import numpy as np
import pytest

from edged.rules.objects import KnownObject
from edged.rules.settings import ClassLimits, CrowdSettings, ZoneSettings
from edged.rules.zones import HIDDEN_S, HIDDEN_SCORE_RATIO, CrowdChange, Dwelt, Entered, LeaveReason, Left, Polygon, Zone

WIDTH, HEIGHT = 640, 360
FRAME_S = 1 / 15
MARGIN_PX = 0.06 * np.sqrt(40 * 100)  # of a box of 40 x 100: 3.79
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))  # its border is at x = 320


@pytest.fixture
def person(make_track):
    thing = KnownObject(1)
    thing.follow(make_track(1, 0, 100), "person", now_s=0.0, width=WIDTH, height=HEIGHT)
    return thing


def make_zone(**changed):
    return Zone(ZoneSettings(**({"name": "left", "polygon_norm": LEFT_HALF} | changed)), width=WIDTH, height=HEIGHT)


def walk(zone, thing, xs, *, start_s=0.0):
    """The zone's answers to a walk along y = 180, one step a frame."""
    return [zone.look(thing, x, 180.0, now_s=start_s + step * FRAME_S) for step, x in enumerate(xs)]


@pytest.mark.parametrize(
    ("x", "y", "is_inside"),
    [
        pytest.param(50, 50, True, id="inside"),
        pytest.param(150, 50, False, id="right of it"),
        pytest.param(0, 50, True, id="on the left edge"),
        pytest.param(100, 50, True, id="on the right edge"),
        pytest.param(50, 100, True, id="on the bottom edge"),
        pytest.param(0, 0, True, id="on a corner"),
        pytest.param(50, 100.01, False, id="just below"),
        pytest.param(50, 20, False, id="in the notch"),
        pytest.param(20, 20, True, id="left of the notch"),
        pytest.param(80, 20, True, id="right of the notch"),
        pytest.param(50, 40, True, id="on the tip of the notch"),
    ],
)
def test_polygon_with_a_notch_contains_what_lies_inside_or_on_the_edge(x, y, is_inside):
    """The edge belongs to the polygon; a notch does not."""
    polygon = Polygon(((0, 0), (0.3, 0), (0.5, 0.4), (0.7, 0), (1, 0), (1, 1), (0, 1)), width=100, height=100)

    assert polygon.contains(x, y) is is_inside


def test_polygon_agrees_with_opencv_on_random_points():
    """A known library says the same of 2000 points in 20 random polygons."""
    rng = np.random.default_rng(7)

    for _ in range(20):
        corners = rng.random((rng.integers(3, 9), 2))
        polygon = Polygon(tuple(map(tuple, corners.tolist())), width=1, height=1)
        for x, y in rng.random((100, 2)).tolist():
            distance = cv2.pointPolygonTest(corners.astype(np.float32)[:, None], (x, y), True)
            if abs(distance) > 1e-4:
                assert polygon.contains(x, y) == (distance > 0)
                assert polygon.border_distance(x, y) == pytest.approx(abs(distance), abs=1e-4)


def test_zone_object_seen_first_inside_enters_at_once(person):
    """Somebody who appears inside is in on that very frame, even within the band."""
    zone = make_zone()

    assert walk(zone, person, [319]) == [Entered()]
    assert zone.count == 1


def test_zone_object_that_walks_in_enters_once_deeper_than_the_band(person):
    """A walk at 4 pixels a frame is believed on the first frame that is deeper than 3.79 pixels."""
    zone = make_zone()

    assert walk(zone, person, [326, 322, 318, 314, 310]) == [None, None, None, Entered(), None]


def test_zone_object_that_jumps_in_enters_on_that_frame(person):
    """Depth needs no waiting."""
    zone = make_zone()

    assert walk(zone, person, [400, 200]) == [None, Entered()]


def test_zone_object_within_the_band_enters_when_it_has_stayed_for_settle_s(person):
    """Shallow inside counts once it lasted 0.2 s: three frames after the first, at 15 frames a second."""
    zone = make_zone()

    assert walk(zone, person, [330, 319, 319, 319, 319]) == [None, None, None, None, Entered()]


def test_zone_object_that_steps_out_meanwhile_has_to_settle_anew(person):
    """Being outside for one frame starts the wait again."""
    zone = make_zone()

    assert walk(zone, person, [330, 319, 319, 319, 321, 319, 319, 319]) == [None] * 8


@pytest.mark.parametrize(
    ("x", "has_left"),
    [
        pytest.param(320 + MARGIN_PX - 0.01, False, id="just within the band"),
        pytest.param(320 + MARGIN_PX + 0.01, True, id="just beyond the band"),
    ],
)
def test_zone_object_leaves_beyond_the_band(person, x, has_left):
    """Outside, but within the band, is still in; and the leave says for how long it stayed."""
    zone = make_zone()

    moves = walk(zone, person, [300, x])

    assert moves[1] == (Left(FRAME_S, LeaveReason.LEFT) if has_left else None)


@pytest.mark.parametrize("seed", range(5))
def test_zone_object_that_stands_on_the_border_never_flaps(person, seed):
    """Ten minutes of jitter, 0.7 % of the box height after tracking (a detector's 2 %), give one enter and no leave."""
    zone = make_zone()
    jitter = np.random.default_rng(seed).normal(0, 0.7, 9000)

    moves = [move for move in walk(zone, person, (320 + jitter).tolist()) if move is not None]

    assert moves == [Entered()]


def look_with_scores(zone, make_track, xs, scores):
    """The zone's answers to a walk along y = 180, one step a frame, on which the object is seen with these scores."""
    thing, moves = KnownObject(1), []
    for step, (x, score) in enumerate(zip(xs, scores, strict=True)):
        now_s = step * FRAME_S
        thing.follow(make_track(1, x, 180, score=score), "person", now_s=now_s, width=WIDTH, height=HEIGHT)
        moves.append(zone.look(thing, x, 180.0, now_s=now_s))
    return moves


def test_zone_object_that_seems_half_hidden_outside_stays_until_it_is_seen_well_again(make_track):
    """What passes in front of it spoils its box; no leave, no second enter."""
    moves = look_with_scores(make_zone(), make_track, [100] * 10 + [400] * 10 + [100] * 5, [0.8] * 10 + [0.2] * 10 + [0.8] * 5)

    assert [move for move in moves if move] == [Entered()]


def test_zone_object_that_seems_half_hidden_outside_for_long_leaves(make_track):
    """After HIDDEN_S it is believed, each time anew."""
    n_hidden = round(HIDDEN_S / FRAME_S)
    xs, scores = (
        [100] * 100 + [400] * 5 + [100] + [400] * (n_hidden + 1),
        [0.8] * 100 + [0.2] * 5 + [0.2] + [0.2] * (n_hidden + 1),
    )

    moves = look_with_scores(make_zone(), make_track, xs, scores)

    assert [(step, type(move)) for step, move in enumerate(moves) if move] == [(0, Entered), (106 + n_hidden, Left)]


@pytest.mark.parametrize(
    "score", [pytest.param(0.8, id="as ever"), pytest.param(0.8 * HIDDEN_SCORE_RATIO, id="just well enough")]
)
def test_zone_object_seen_well_outside_leaves_on_that_frame(make_track, score):
    """Its box can be trusted; the mean is that of all its scores, this one included."""
    moves = look_with_scores(make_zone(), make_track, [100] * 100 + [400], [0.8] * 100 + [score])

    assert isinstance(moves[-1], Left)


def test_zone_narrower_than_the_band_can_be_entered(person):
    """The band takes only a part of a narrow zone, so that somebody who walks through 8 pixels is seen."""
    zone = make_zone(polygon_norm=((0.5, 0.0), (0.5125, 0.0), (0.5125, 1.0), (0.5, 1.0)), hysteresis_ratio=0.2)

    moves = walk(zone, person, [310, 324, 340])

    assert moves == [None, Entered(), Left(FRAME_S, LeaveReason.LEFT)]


def test_zone_resized_picture_moves_the_polygon(person):
    """After a change of resolution the same share of the picture counts."""
    zone = make_zone()
    zone.resize(width=1280, height=720)

    assert walk(zone, person, [600]) == [Entered()]


def test_zone_track_that_ends_inside_leaves_after_the_time_it_was_seen(person):
    """The stay ends when the object was last seen, not when the tracker gave it up."""
    zone = make_zone()
    walk(zone, person, [100], start_s=1.0)
    person.seen_s = 4.0

    assert zone.end(person) == Left(3.0, LeaveReason.ENDED)
    assert zone.count == 0


def test_zone_track_that_ends_outside_says_nothing(person):
    """Nobody leaves where nobody was."""
    zone = make_zone()
    walk(zone, person, [500])

    assert zone.end(person) is None


@pytest.mark.parametrize(
    ("limits", "score", "enters"),
    [
        pytest.param({"person": ClassLimits(min_score=0.8)}, 0.8, True, id="score at the least"),
        pytest.param({"person": ClassLimits(min_score=0.81)}, 0.8, False, id="score below the least"),
        pytest.param({"car": ClassLimits()}, 0.8, False, id="other class"),
        pytest.param({}, 0.8, False, id="no class"),
        pytest.param({"person": ClassLimits(min_height_ratio=100 / 360)}, 0.8, True, id="height at the least"),
        pytest.param({"person": ClassLimits(min_height_ratio=0.28)}, 0.8, False, id="too small"),
        pytest.param({"person": ClassLimits(max_width_ratio=40 / 640)}, 0.8, True, id="width at the most"),
        pytest.param({"person": ClassLimits(max_width_ratio=0.06)}, 0.8, False, id="too large"),
    ],
)
def test_zone_limits_decide_who_enters(make_track, limits, score, enters):
    """A class that is not named, a score never reached or a size out of bounds keeps an object out."""
    zone = make_zone(classes=limits)
    thing = KnownObject(1)
    thing.follow(make_track(1, 100, 200, score=score), "person", now_s=0.0, width=WIDTH, height=HEIGHT)

    assert walk(zone, thing, [100]) == [Entered() if enters else None]


def test_zone_object_inside_stays_when_its_score_falls(make_track):
    """Limits guard the entrance; who is in does not flap with its score."""
    zone = make_zone(classes={"person": ClassLimits(min_score=0.5)})
    thing = KnownObject(1)
    for step, score in enumerate([0.9, 0.1]):
        thing.follow(make_track(1, 100, 200, score=score), "person", now_s=step, width=WIDTH, height=HEIGHT)
        zone.look(thing, 100, 200, now_s=step)

    assert zone.count == 1


def test_zone_object_whose_class_is_corrected_leaves(person):
    """What turns out to be a car is no person in the zone."""
    zone = make_zone(classes={"person": ClassLimits()})
    walk(zone, person, [100])
    person.class_name = "car"

    assert zone.look(person, 100, 180, now_s=2.0) == Left(2.0, LeaveReason.CLASS)


def test_zone_dwell_is_reported_once_when_the_threshold_is_reached(person):
    """Equality counts, and a stay is reported once."""
    zone = make_zone(dwell_s=0.2)

    moves = walk(zone, person, [100] * 8)

    assert moves[0] == Entered()
    assert moves[3] == Dwelt(pytest.approx(0.2))
    assert moves[4:] == [None] * 4


def test_zone_dwell_with_repeat_is_reported_again(person):
    """Each further period gives one more report."""
    zone = make_zone(dwell_s=0.2, dwell_repeat_s=0.2)

    moves = walk(zone, person, [100] * 10)

    assert [step for step, move in enumerate(moves) if isinstance(move, Dwelt)] == [3, 6, 9]


def test_zone_dwell_begins_anew_after_a_leave(person):
    """Two short stays are not one long one."""
    zone = make_zone(dwell_s=0.2)

    moves = walk(zone, person, [100, 100, 500, 100, 100, 100])

    assert not any(isinstance(move, Dwelt) for move in moves)


def crowd_changes(zone, counts, make_track):
    """What the zone says while this many objects are in it, one entry a frame."""
    things = [KnownObject(number) for number in range(1, max(counts) + 1)]
    said = []
    for step, count in enumerate(counts):
        now_s = step * FRAME_S
        for thing in things:
            is_in = thing.number <= count
            thing.follow(make_track(thing.number, 0, 100), "person", now_s=now_s, width=WIDTH, height=HEIGHT)
            zone.look(thing, 100 if is_in else 500, 180, now_s=now_s)
        said.append(zone.look_crowd(now_s=now_s))
    return said


def test_zone_crowd_is_said_after_for_s_and_cleared_after_for_s(make_track):
    """Two people for 0.2 s are a crowd here; fewer for 0.2 s are none."""
    zone = make_zone(crowd=CrowdSettings(at=2, for_s=0.2))

    said = crowd_changes(zone, [1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1], make_track)

    assert said == [None] * 4 + [CrowdChange.CROWDED] + [None] * 4 + [CrowdChange.CLEARED, None]


def test_zone_crowd_that_breaks_up_meanwhile_is_not_said(make_track):
    """The time must be without a break."""
    zone = make_zone(crowd=CrowdSettings(at=2, for_s=0.2))

    assert crowd_changes(zone, [2, 2, 1, 2, 2, 2, 1], make_track) == [None] * 7


def test_zone_crowd_without_delay_is_said_on_that_frame(make_track):
    """for_s 0 waits for nothing."""
    zone = make_zone(crowd=CrowdSettings(at=1, for_s=0))

    assert crowd_changes(zone, [0, 1, 0], make_track) == [None, CrowdChange.CROWDED, CrowdChange.CLEARED]


def test_zone_crowd_still_open_at_the_end_is_closed_once(make_track):
    """What was opened is closed, and only then."""
    zone = make_zone(crowd=CrowdSettings(at=1, for_s=0))
    crowd_changes(zone, [1], make_track)

    assert [zone.end_crowd(), zone.end_crowd()] == [CrowdChange.CLEARED, None]


def test_zone_crowd_that_was_forming_at_the_end_begins_anew(make_track):
    """A camera that comes back after a minute has not watched a crowd for that minute."""
    zone = make_zone(crowd=CrowdSettings(at=1, for_s=0.2))
    crowd_changes(zone, [0, 1], make_track)
    zone.end_crowd()

    said = [zone.look_crowd(now_s=now_s) for now_s in (60.0, 60.2)]

    assert said == [None, CrowdChange.CROWDED]
