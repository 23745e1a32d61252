"""Crossings of directed lines."""

import numpy as np
import pytest

from edged.events.event import Direction
from edged.rules.lines import Line
from edged.rules.objects import KnownObject
from edged.rules.settings import ClassLimits, LineSettings

WIDTH, HEIGHT = 640, 360
BAND_PX = 0.06 * np.sqrt(40 * 100)  # of a box of 40 x 100: 3.79
IN, OUT = Direction.IN, Direction.OUT


@pytest.fixture
def person(make_track):
    thing = KnownObject(1)
    thing.follow(make_track(1, 0, 100), "person", now_s=0.0, width=WIDTH, height=HEIGHT)
    return thing


def make_line(start=(0.25, 0.5), end=(0.75, 0.5), **changed):
    """By default from left to right over the middle half of the picture, at y = 180."""
    return Line(LineSettings("gate", start, end, **changed), width=WIDTH, height=HEIGHT)


def walk(line, thing, points):
    return [line.look(thing, x, y) for x, y in points]


def down(ys):
    """A walk straight down (or up) the middle of the picture."""
    return [(320.0, float(y)) for y in ys]


@pytest.mark.parametrize(
    ("ends", "before", "after", "direction"),
    [
        pytest.param(((0, 0.5), (1, 0.5)), (320, 100), (320, 260), IN, id="line to the right, walk down"),
        pytest.param(((0, 0.5), (1, 0.5)), (320, 260), (320, 100), OUT, id="line to the right, walk up"),
        pytest.param(((1, 0.5), (0, 0.5)), (320, 100), (320, 260), OUT, id="line to the left, walk down"),
        pytest.param(((0.5, 1), (0.5, 0)), (100, 180), (500, 180), IN, id="line up, walk to the right"),
        pytest.param(((0.5, 0), (0.5, 1)), (100, 180), (500, 180), OUT, id="line down, walk to the right"),
        pytest.param(((0, 0), (1, 1)), (100, 300), (500, 60), OUT, id="slanting line, walk up and right"),
    ],
)
def test_line_crossed_from_left_to_right_is_in(person, ends, before, after, direction):
    """Looking from start to end, left to right is in, right to left is out."""
    line = make_line(*ends)

    assert walk(line, person, [before, after]) == [None, direction]


@pytest.mark.parametrize(
    ("y", "direction"),
    [
        pytest.param(180 + BAND_PX - 0.01, None, id="just within the band"),
        pytest.param(180 + BAND_PX + 0.01, IN, id="just beyond the band"),
    ],
)
def test_line_crossing_is_believed_beyond_the_band(person, y, direction):
    """The anchor must be clear on the other side."""
    line = make_line()

    assert walk(line, person, down([150, y])) == [None, direction]


def test_line_slow_crossing_counts_once(person):
    """A pixel a frame through the band is one crossing, when the band ends."""
    line = make_line()

    moves = walk(line, person, down(range(170, 195)))

    assert moves[14] is IN  # y = 184
    assert moves.count(None) == len(moves) - 1


def test_line_fast_object_that_jumps_over_the_band_counts_on_that_frame(person):
    """Nothing needs to be seen within the band."""
    line = make_line()

    assert walk(line, person, down([10, 350, 10])) == [None, IN, OUT]


@pytest.mark.parametrize("seed", range(5))
def test_line_object_that_stands_on_it_counts_at_most_once(person, seed):
    """Ten minutes of jitter (0.7 % of the box height) on the line flap nothing."""
    line = make_line()
    ys = 180 + np.random.default_rng(seed).normal(0, 0.7, 9000)

    moves = walk(line, person, down([150, *ys]))

    assert sum(move is not None for move in moves) <= 1
    assert OUT not in moves


def test_line_object_that_turns_back_within_the_band_counts_nothing(person):
    """Stepping onto the line and back is no crossing."""
    line = make_line()

    assert walk(line, person, down([160, 178, 182, 178, 160])) == [None] * 5


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([(500, 100), (500, 260)], id="past the end"),
        pytest.param([(140, 260), (140, 100)], id="before the start"),
        pytest.param([(320, 100), (560, 170), (560, 190), (320, 260)], id="round the end"),
        pytest.param([(320, 170), (400, 179), (500, 179), (500, 181), (470, 181), (470, 190)], id="out along the band"),
    ],
)
def test_line_passed_beyond_its_ends_counts_nothing(person, points):
    """Only what goes through the segment crosses it."""
    line = make_line()

    assert walk(line, person, points) == [None] * len(points)


@pytest.mark.parametrize("x", [pytest.param(160, id="start"), pytest.param(480, id="end")])
def test_line_crossed_exactly_at_an_end_counts(person, x):
    """The ends belong to the line."""
    line = make_line()

    assert walk(line, person, [(x, 100), (x, 260)]) == [None, IN]


def test_line_after_going_round_the_end_counts_the_way_back(person):
    """The side is known even where the change of sides was no crossing."""
    line = make_line()

    moves = walk(line, person, [(320, 100), (560, 100), (560, 260), (320, 260), (320, 100)])

    assert moves == [None, None, None, None, OUT]


def test_line_object_seen_first_within_the_band_takes_a_side_without_a_crossing(person):
    """Whoever appears on the line has not crossed it; going back over it then counts."""
    line = make_line()

    assert walk(line, person, down([179, 200, 160])) == [None, None, OUT]


def test_line_object_exactly_on_it_is_on_no_side(person):
    """A point on the line is within even a band of no width."""
    line = make_line(hysteresis_ratio=0)

    assert walk(line, person, down([170, 180, 180, 181])) == [None, None, None, IN]


def test_line_band_grows_with_the_object(make_track):
    """A large box jitters more in pixels: 13 pixels beyond the line are within its band."""
    line = make_line()
    thing = KnownObject(1)
    thing.follow(make_track(1, 320, 350, size=(160, 340)), "person", now_s=0.0, width=WIDTH, height=HEIGHT)

    assert walk(line, thing, down([150, 193, 195])) == [None, None, IN]


def test_line_other_class_counts_nothing_but_keeps_its_side(person):
    """A car is not counted on a line for people; corrected to a person, its next crossing is."""
    line = make_line(classes={"person": ClassLimits()})
    person.class_name = "car"
    as_car = walk(line, person, down([100, 260]))
    person.class_name = "person"

    assert as_car == [None, None]
    assert walk(line, person, down([100])) == [OUT]


def test_line_forgets_an_object_that_ended(person):
    """A new object with a new path starts without a side."""
    line = make_line()
    walk(line, person, down([100]))
    line.end(person)

    assert walk(line, person, down([260])) == [None]


def test_line_resized_picture_forgets_sides(person):
    """Points before a change of resolution are not compared with points after it."""
    line = make_line()
    walk(line, person, down([200]))
    line.resize(width=1280, height=720)

    assert walk(line, person, down([200, 400])) == [None, IN]
