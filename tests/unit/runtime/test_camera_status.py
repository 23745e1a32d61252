"""The status of a camera counts changes and keeps the time of the last one."""

from edged.errors import SourceCause
from edged.rules.scene import SceneState
from edged.runtime.camera_status import CameraState, CameraStatus


def test_status_entering_the_same_state_again_keeps_since_and_changes():
    """A camera that fails again for the same cause is no news."""
    status = CameraStatus(CameraState.CONNECTING, now_s=1.0)
    status.enter(CameraState.OFFLINE, now_s=2.0, cause=SourceCause.TIMEOUT, message="first")
    changes = status.changes

    status.enter(CameraState.OFFLINE, now_s=9.0, cause=SourceCause.TIMEOUT, message="second", next_try_s=12.0)

    snapshot = status.snapshot()
    assert status.changes == changes
    assert (snapshot.since_s, snapshot.message, snapshot.next_try_s) == (2.0, "second", 12.0)


def test_status_with_another_cause_is_a_change():
    """From timeout to a refused login something else must be mended."""
    status = CameraStatus(CameraState.CONNECTING, now_s=1.0)
    status.enter(CameraState.OFFLINE, now_s=2.0, cause=SourceCause.TIMEOUT)

    status.enter(CameraState.OFFLINE, now_s=3.0, cause=SourceCause.AUTH)

    assert status.changes == 2
    assert status.snapshot().since_s == 3.0


def test_status_counts_connections_after_the_first_as_reconnects():
    """The first connection is none."""
    status = CameraStatus(CameraState.CONNECTING, now_s=1.0)
    for now_s in (2.0, 4.0, 6.0):
        status.enter(CameraState.ONLINE, now_s=now_s)
        status.enter(CameraState.OFFLINE, now_s=now_s + 1, cause=SourceCause.EOF)

    assert status.snapshot().reconnects == 2


def test_status_online_again_has_no_cause():
    """The cause belongs to being offline."""
    status = CameraStatus(CameraState.CONNECTING, now_s=1.0)
    status.enter(CameraState.OFFLINE, now_s=2.0, cause=SourceCause.EOF, message="gone", next_try_s=5.0)

    status.enter(CameraState.ONLINE, now_s=3.0)

    snapshot = status.snapshot()
    assert (snapshot.cause, snapshot.message, snapshot.next_try_s) == (None, "", None)


def test_status_counts_add_up():
    """What became of frames is counted by kind."""
    status = CameraStatus(CameraState.ONLINE, now_s=1.0)

    status.count(captured=3, skipped=1)
    status.count(captured=1, gated=1, detected=2)

    frames = status.snapshot().frames
    assert (frames.captured, frames.skipped, frames.analysed) == (4, 1, 3)


def test_status_that_sees_another_view_is_a_change():
    """It is published at once, and only when it changes."""
    status = CameraStatus(CameraState.ONLINE, now_s=0)
    changes = []
    for scene in (None, SceneState.LEARNING, SceneState.SAME, SceneState.SAME, SceneState.CHANGED):
        status.saw_scene(scene)
        changes.append(status.changes)

    assert changes == [0, 1, 2, 2, 3]
    assert status.snapshot().scene is SceneState.CHANGED
