"""A capture keeps its camera connected, stamps frames, and says why there are none."""

import random

import pytest
from fakes import FakeClock, FakeSource, make_source_frame

from edged.errors import SourceCause, SourceError
from edged.runtime.backoff import Backoff
from edged.runtime.camera_status import CameraState, CameraStatus
from edged.runtime.capture import AUTH_WAIT_S, Capture
from edged.runtime.loop import Loop


class Rig:
    """A capture with fake clock and source; waits advance the clock instead of sleeping."""

    def __init__(self, connections, *, fps=None, on_frame=None, frame_s=0.1):
        self.clock = FakeClock()
        self.status = CameraStatus(CameraState.CONNECTING, now_s=self.clock.now_s())
        self.frames = []
        self.waits = []
        self.states = []
        self.source = FakeSource(connections, on_exhausted=self.stop, before_read=lambda: self.clock.advance(frame_s))
        self.capture = Capture(
            camera="door",
            source=self.source,
            clock=self.clock,
            fps=fps,
            schedule=(),
            backoff=Backoff(first_s=1, most_s=8, rng=random.Random(1)),
            status=self.status,
            on_frame=on_frame or self.take,
        )
        self.loop = Loop("capture door", self.capture.run, limit_s=10, now_s=self.clock.now_s)
        self.loop.wait = self.wait

    def take(self, frame):
        self.frames.append(frame)
        return True

    def wait(self, timeout_s):
        snapshot = self.status.snapshot()
        self.states.append((snapshot.state, snapshot.cause))
        self.waits.append(timeout_s)
        self.clock.advance(timeout_s)
        return self.loop.stopping

    def stop(self):
        self.loop.stop()

    def run(self):
        self.loop.run()
        assert self.loop.failure is None
        return self


def test_capture_of_two_connections_numbers_frames_on_and_stamps_both_times():
    """Sequence numbers rise over a reconnection; captured_at is captured_s on the wall clock."""
    rig = Rig([[make_source_frame()] * 2, [make_source_frame()]]).run()

    assert [frame.seq for frame in rig.frames] == [1, 2, 3]
    assert all(frame.captured_at == rig.clock.at(frame.captured_s) for frame in rig.frames)
    assert rig.status.snapshot().reconnects == 1


@pytest.mark.parametrize("cause", list(SourceCause), ids=lambda cause: cause.value)
def test_capture_of_a_failing_camera_is_offline_with_its_cause(cause):
    """Every cause is kept apart and tried again."""
    rig = Rig([SourceError(cause, "no"), [make_source_frame()]]).run()

    assert rig.states[0] == (CameraState.OFFLINE, cause)
    assert len(rig.frames) == 1


def test_capture_after_a_refused_login_waits_a_minute():
    """Cameras lock accounts that are tried too often."""
    rig = Rig([SourceError(SourceCause.AUTH, "401"), [make_source_frame()]]).run()

    assert rig.waits[0] >= AUTH_WAIT_S


def test_capture_of_an_absent_camera_waits_longer_each_time_up_to_the_cap():
    """The waits lie within the jitter of 1, 2, 4, 8, 8 s."""
    rig = Rig([SourceError(SourceCause.TIMEOUT, "no")] * 5).run()

    assert all(whole / 2 <= wait <= whole for wait, whole in zip(rig.waits, [1, 2, 4, 8, 8], strict=True))


def test_capture_after_a_long_good_connection_starts_its_waits_again():
    """A camera that worked for a while is tried again soon."""
    rig = Rig([SourceError(SourceCause.TIMEOUT, "no")] * 4 + [[make_source_frame()] * 200]).run()

    assert rig.waits[4] <= 1


def test_capture_of_a_camera_that_is_slow_to_fail_waits_longer_each_time_too():
    """A long time limit is no good connection."""
    rig = Rig([SourceError(SourceCause.TIMEOUT, "no")] * 4)
    open_source = rig.source.open

    def open_slowly():
        rig.clock.advance(30.0)
        return open_source()

    rig.source.open = open_slowly

    rig.run()

    assert all(whole / 2 <= wait <= whole for wait, whole in zip(rig.waits, [1, 2, 4, 8], strict=True))


def test_capture_at_a_lower_rate_counts_what_it_skips_and_drops():
    """captured = skipped + dropped + delivered."""
    delivered = []
    rig = Rig([[make_source_frame()] * 30], fps=5, on_frame=lambda frame: delivered.append(frame) or len(delivered) % 2 == 1)

    rig.run()

    counts = rig.status.snapshot().frames
    assert counts.captured == 30
    assert counts.skipped == 30 - len(delivered)
    assert counts.dropped == len(delivered) // 2
    assert 14 <= len(delivered) <= 16


@pytest.mark.parametrize(
    ("is_live", "expected"),
    [pytest.param(False, [0.5, 1.5, 2.5], id="recording"), pytest.param(True, [0.1, 0.2, 0.3], id="camera")],
)
def test_capture_of_a_recording_plays_it_at_its_own_speed(is_live, expected):
    """Frames come when their time stamps say, counted from the opening; a camera is not waited for."""
    rig = Rig([[make_source_frame(stream_s=stream_s) for stream_s in (0.5, 1.5, 2.5)]])
    rig.source.is_live = is_live
    opened_s = rig.clock.now_s()

    rig.run()

    assert [frame.captured_s - opened_s for frame in rig.frames] == pytest.approx(expected)


def test_capture_told_to_stop_while_reading_delivers_nothing_more():
    """A capture given up as stuck must not put an old frame on the board when it wakes."""
    rig = Rig([[make_source_frame()] * 5])
    rig.source.before_read = rig.stop

    rig.run()

    assert rig.frames == []
    assert rig.source.closed == 1


def test_capture_of_a_camera_that_changes_its_size_reports_the_new_one():
    """The status has the size of the newest frame."""
    rig = Rig([[make_source_frame(width=64, height=36), make_source_frame(width=32, height=18)]]).run()

    snapshot = rig.status.snapshot()
    assert (snapshot.width, snapshot.height) == (32, 18)
    assert [(frame.width, frame.height) for frame in rig.frames] == [(64, 36), (32, 18)]
