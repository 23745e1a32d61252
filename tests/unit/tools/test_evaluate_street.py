"""The referee of the drawn street gives every true event at most one report."""

import json

from edged.street.truth import StreetEvent
from tools.evaluate_street import Seen, judge, read_events


def true(frame, *, kind="zone.enter", is_clear=True):
    return StreetEvent(frame, kind, "shop", 1, "person", None, is_clear)


def seen(frame, *, kind="zone.enter", class_name="person"):
    return Seen(frame, kind, "shop", class_name, None)


def test_judge_of_a_report_at_the_edge_of_its_time_accepts_it():
    """Three frames late is in time, four is both missing and invented."""
    in_time = judge([seen(13)], [true(10)], clear_frames=3, unclear_frames=30)
    late = judge([seen(14)], [true(10)], clear_frames=3, unclear_frames=30)

    assert (in_time.recall, in_time.invented_ratio) == (1.0, 0.0)
    assert (late.recall, late.invented_ratio) == (0.0, 1.0)


def test_judge_of_two_reports_for_one_event_calls_one_invented():
    """Saying it twice is not saying it right."""
    verdict = judge([seen(10), seen(11)], [true(10)], clear_frames=3, unclear_frames=30)

    assert verdict.invented == (seen(11),)


def test_judge_of_another_class_or_kind_calls_it_invented():
    """A car that enters is no person that enters."""
    verdict = judge([seen(10, class_name="car"), seen(10, kind="zone.leave")], [true(10)], clear_frames=3, unclear_frames=30)

    assert len(verdict.invented) == 2
    assert len(verdict.missing) == 1


def test_judge_of_an_unclear_event_neither_demands_nor_blames():
    """Nobody has to see it; who sees it late is not wrong."""
    unseen = judge([], [true(10, is_clear=False)], clear_frames=3, unclear_frames=30)
    late = judge([seen(40)], [true(10, is_clear=False)], clear_frames=3, unclear_frames=30)

    assert unseen.missing == ()
    assert late.invented == ()


def test_read_events_that_no_frame_decided_are_left_out():
    """Objects end with the recording; on the street they are still there."""
    leave = {"type": "zone.leave", "zone": "shop", "object": {"class": "person"}}
    bodies = [json.dumps({**leave, "frame": {"seq": seq}}).encode() for seq in (10, 0)]

    assert read_events(bodies) == [seen(9, kind="zone.leave")]
