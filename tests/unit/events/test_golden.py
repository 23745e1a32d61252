"""Comparing a run with the one that was once approved."""

import json

import pytest

from edged.errors import InputError
from edged.events.golden import compare
from edged.events.wire import encode_event


@pytest.fixture
def line(full_event, full_stamp):
    """One event as a line; fields are changed by path, e.g. `line(frame__seq=3)`."""

    def make(**changed):
        message = json.loads(encode_event(full_event, full_stamp))
        for path, value in changed.items():
            *parents, last = path.split("__")
            place = message
            for parent in parents:
                place = place[parent]
            place[last] = value
        return json.dumps(message)

    return make


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"frame__seq": 124}, id="one frame late"),
        pytest.param({"frame__seq": 122}, id="one frame early"),
        pytest.param({"object__score": 0.8965}, id="score at the tolerance"),
        pytest.param({"object__box_norm": [0.1, 0.1, 0.19, 0.5]}, id="box IoU 0.9"),
        pytest.param({"id": "other/replay/door/1", "seq": 1, "captured_at": "1970-01-01T00:00:00.000Z"}, id="other stamp"),
        pytest.param({"object__id": "door-replay-77"}, id="other number"),
        pytest.param({"identity__score": 0.70, "identity__votes": 4}, id="other evidence of the same identity"),
    ],
)
def test_golden_event_within_the_tolerances_is_equal(line, changed):
    """Another machine may be off by a little, and by any id."""
    report = compare([line()], [line(**changed)])

    assert report.is_equal
    assert report.matched == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"frame__seq": 125}, ["differs", "frame 125 (+2)"], id="two frames late"),
        pytest.param({"object__score": 0.8966}, ["differs", "score off by 0.020"], id="score beyond the tolerance"),
        pytest.param({"object__box_norm": [0.1, 0.1, 0.189, 0.5]}, ["differs", "IoU 0.89"], id="box IoU 0.89"),
        pytest.param({"type": "zone.enter"}, ["missing: zone.dwell", "unexpected: zone.enter"], id="type"),
        pytest.param({"camera": "yard"}, ["missing", "unexpected"], id="camera"),
        pytest.param({"object__class": "car"}, ["missing", "unexpected", "car"], id="class"),
        pytest.param({"zone": "yard"}, ["missing", "unexpected", "yard"], id="zone"),
        pytest.param({"line": "yard"}, ["missing", "unexpected", "yard"], id="line"),
        pytest.param({"direction": "out"}, ["missing", "unexpected", "out"], id="direction"),
        pytest.param({"identity__subject": "bert"}, ["missing", "match p4k2", "unexpected", "match bert"], id="subject"),
        pytest.param({"identity__kind": "spoof"}, ["missing", "match", "unexpected", "spoof"], id="kind of identity"),
        pytest.param({"frame__seq": 154}, ["missing", "unexpected", "frame 154"], id="far away"),
    ],
)
def test_golden_event_beyond_the_tolerances_is_reported(line, changed, words):
    """What a person needs to see is said."""
    report = compare([line()], [line(**changed)])

    assert not report.is_equal
    assert report.matched == 0
    assert all(word in str(report) for word in words)


@pytest.mark.parametrize(
    ("expected", "actual", "matched", "differences"),
    [
        pytest.param([], [], 0, 0, id="two empty runs"),
        pytest.param([10], [], 0, 1, id="missing"),
        pytest.param([], [10], 0, 1, id="unexpected"),
        pytest.param([10], [10, 10], 1, 1, id="said twice"),
        pytest.param([10, 11], [9, 10], 2, 0, id="both a frame early"),
        pytest.param([10, 11], [11, 12], 2, 0, id="both a frame late"),
        pytest.param([10, 20, 30], [10, 30], 2, 1, id="one missing in the middle"),
        pytest.param([20, 10], [10, 20], 2, 0, id="in another order"),
    ],
)
def test_golden_events_are_paired_one_to_one(line, expected, actual, matched, differences):
    """Every event stands for one other at most, and one mistake does not drag others along."""
    report = compare([line(frame__seq=seq) for seq in expected], [line(frame__seq=seq) for seq in actual])

    assert (report.matched, len(report.differences)) == (matched, differences)


def test_golden_event_without_an_object_is_compared_by_time(line):
    """A crowd has no box."""
    crowd = {"type": "zone.crowded", "object": None}

    assert compare([line(**crowd)], [line(frame__seq=124, **crowd)]).is_equal


def test_golden_differences_come_by_frame(line):
    """The report reads like the film."""
    report = compare([line(frame__seq=300), line(frame__seq=5, zone="a")], [line(frame__seq=100, zone="b")])

    assert [difference.frame_seq for difference in report.differences] == [5, 100, 300]


def test_golden_empty_lines_are_passed_over(line):
    """A file may end with a newline."""
    assert compare([line(), "", "\n"], [line()]).is_equal


def test_golden_file_with_a_wrong_line_is_refused_with_its_number(line):
    """The line to mend is named."""
    with pytest.raises(InputError, match=r"site\.jsonl line 3: .*Invalid JSON"):
        compare([line(), "", "{broken"], [], expected_name="site.jsonl")
