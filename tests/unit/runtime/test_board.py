"""The board holds the newest frame of every camera."""

import time

from edged.runtime.board import FrameBoard, LatestFrame
from edged.types import Frame


def make_frame(camera: str, seq: int) -> Frame:
    return Frame(camera, seq, float(seq), float(seq), 4, 2, lambda: None)


def test_put_over_a_waiting_frame_replaces_it_and_says_so():
    """The newest frame wins; the caller learns that one was lost."""
    board = FrameBoard()
    board.put(make_frame("door", 1))

    was_free = board.put(make_frame("door", 2))

    assert not was_free
    assert [frame.seq for frame in board.take(9, timeout_s=0)] == [2]


def test_take_with_several_cameras_ready_serves_the_longest_waiting_first():
    """A camera that is replaced all the time keeps its place in the queue, so a fast one starves nobody."""
    board = FrameBoard()
    board.put(make_frame("fast", 1))
    board.put(make_frame("slow", 1))
    board.put(make_frame("fast", 2))

    first = board.take(1, timeout_s=0)
    board.put(make_frame("fast", 3))
    second = board.take(1, timeout_s=0)

    assert [(frame.camera, frame.seq) for frame in first + second] == [("fast", 2), ("slow", 1)]


def test_take_from_an_empty_board_returns_nothing_after_its_timeout():
    """No frame is no error."""
    board = FrameBoard()

    frames = board.take(9, timeout_s=0.01)

    assert frames == []


def test_latest_frame_far_from_the_asked_moment_is_not_given():
    """A main stream that stalled shows another moment."""
    latest = LatestFrame()
    latest.put(make_frame("door", 10))

    assert latest.near(10.5, tolerance_s=0.5).seq == 10
    assert latest.near(10.6, tolerance_s=0.5) is None
    assert LatestFrame().near(0.0, tolerance_s=9.0) is None


def test_board_that_is_woken_gives_nothing_at_once():
    """Who waits for frames looks up, and waits again the next time."""
    board = FrameBoard()
    board.wake()

    began_s = time.monotonic()
    frames = board.take(4, timeout_s=30.0)
    waited_s = time.monotonic() - began_s

    assert frames == []
    assert waited_s < 10.0
    assert board.take(4, timeout_s=0.0) == []
