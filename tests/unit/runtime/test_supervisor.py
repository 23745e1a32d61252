"""The supervisor opens stuck captures anew and tells what failed."""

import threading
import time

import pytest
from fakes import FakeClock
from waiting import wait_until

from edged.runtime.loop import OPENING_LIMIT_S, Loop
from edged.runtime.supervisor import MOST_ABANDONED, LoopFailureError, Supervisor


class Rig:
    """Loops whose bodies sit in foreign code until the test lets them go."""

    def __init__(self):
        self.clock = FakeClock()
        self.release = threading.Event()
        self.is_opening = threading.Event()
        self.made = []
        self.supervisor = Supervisor(self.start, now_s=time.monotonic)

    def start(self, loop):
        thread = threading.Thread(target=loop.run, name=loop.name, daemon=True)
        thread.start()
        return thread

    def make_stuck_loop(self):
        loop = Loop("capture door", lambda loop: self.release.wait(), limit_s=5, now_s=self.clock.now_s)
        self.made.append(loop)
        return loop

    def make_opening_loop(self):
        def body(loop):
            with loop.opening("detector"):
                self.is_opening.set()
                self.release.wait()
            loop.wait(3600)

        return Loop("analysis", body, limit_s=5, now_s=self.clock.now_s)


@pytest.fixture(name="rig")
def fixture_rig():
    rig = Rig()
    yield rig
    rig.release.set()


def test_supervisor_with_a_stuck_capture_opens_it_anew(rig):
    """The old one is told to stop and left alone, the new one runs, the abandonment is counted."""
    rig.supervisor.run_replaceable(rig.make_stuck_loop)
    rig.clock.advance(6)

    rig.supervisor.check()

    assert len(rig.made) == 2
    assert rig.made[0].stopping
    assert not rig.made[1].stopping
    assert rig.supervisor.abandonments == 1
    assert rig.supervisor.left_running == ["capture door", "capture door"]


def test_supervisor_of_a_process_that_stood_still_calls_no_loop_stuck(rig):
    """Nobody could beat; who does not beat from then on is stuck."""
    rig.supervisor.run_replaceable(rig.make_stuck_loop)
    rig.clock.advance(6)

    rig.supervisor.excuse(5.5)
    rig.supervisor.check()
    after_stall = len(rig.made)
    rig.clock.advance(5)
    rig.supervisor.check()

    assert after_stall == 1
    assert len(rig.made) == 2


def test_supervisor_with_too_many_stuck_captures_gives_up(rig):
    """Threads that never come back must not pile up without end."""
    rig.supervisor.run_replaceable(rig.make_stuck_loop)
    for _ in range(MOST_ABANDONED):
        rig.clock.advance(6)
        rig.supervisor.check()
    rig.clock.advance(6)

    with pytest.raises(LoopFailureError, match="made no progress for 5 s"):
        rig.supervisor.check()


def test_supervisor_with_another_stuck_loop_fails(rig):
    """Only captures can be opened anew."""
    rig.supervisor.run(rig.make_stuck_loop())
    rig.clock.advance(6)

    with pytest.raises(LoopFailureError, match="capture door made no progress"):
        rig.supervisor.check()


def test_supervisor_with_a_loop_that_opens_its_network_lets_it(rig):
    """A device that is only slow must not be started over and over again; what it does can be told."""
    rig.supervisor.run(rig.make_opening_loop())
    assert rig.is_opening.wait(60)
    rig.clock.advance(OPENING_LIMIT_S)

    rig.supervisor.check()

    assert rig.supervisor.openings == ["analysis opens detector"]
    rig.release.set()
    wait_until(lambda: not rig.supervisor.openings)
    rig.supervisor.check()
    rig.supervisor.stop(["analysis"], within_s=5)


def test_supervisor_with_a_loop_that_opens_its_network_for_ever_fails(rig):
    """A driver that does not answer: who it was and what it opened is all that anybody will know of it."""
    rig.supervisor.run(rig.make_opening_loop())
    assert rig.is_opening.wait(60)
    rig.clock.advance(OPENING_LIMIT_S + 1)

    with pytest.raises(LoopFailureError, match="analysis is still opening detector after 300 s"):
        rig.supervisor.check()


def test_supervisor_with_a_failed_loop_passes_its_error_on(rig):
    """The reason decides over the exit status."""
    failure = RuntimeError("broken")

    def body(loop):
        raise failure

    loop = Loop("analysis", body, limit_s=5, now_s=rig.clock.now_s)
    rig.supervisor.run(loop)
    rig.supervisor.stop(["analysis"], within_s=5)

    with pytest.raises(LoopFailureError) as raised:
        rig.supervisor.check()

    assert raised.value.__cause__ is failure


def test_supervisor_with_a_loop_that_fails_while_it_looks_passes_its_error_on(rig):
    """A loop notes its failure, then ends: whoever sees it ended must see why."""
    loop = Loop("analysis", lambda loop: None, limit_s=5, now_s=rig.clock.now_s)

    class Thread:
        def is_alive(self):
            loop.failure = RuntimeError("broken")
            return False

    supervisor = Supervisor(lambda loop: Thread(), now_s=time.monotonic)
    supervisor.run(loop)

    with pytest.raises(LoopFailureError) as raised:
        supervisor.check()

    assert raised.value.__cause__ is loop.failure


def test_supervisor_with_a_loop_that_ends_unasked_fails(rig):
    """A loop that simply returns would be a daemon that does nothing."""
    rig.supervisor.run(Loop("analysis", lambda loop: None, limit_s=5, now_s=rig.clock.now_s))
    while rig.supervisor.left_running:
        pass

    with pytest.raises(LoopFailureError, match="ended unasked"):
        rig.supervisor.check()


def test_supervisor_stopping_waits_no_longer_than_told(rig):
    """What is stuck is left behind and named."""
    rig.supervisor.run(rig.make_stuck_loop())

    rig.supervisor.stop(["capture door", "never started"], within_s=0.01)

    assert rig.supervisor.left_running == ["capture door"]
