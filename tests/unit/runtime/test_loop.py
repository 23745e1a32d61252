"""A loop knows whether it is stuck, waiting or failed."""

import pytest
from fakes import FakeClock

from edged.runtime.loop import OPENING_LIMIT_S, Loop


def make_loop(body, clock, limit_s=5.0):
    return Loop("test", body, limit_s=limit_s, now_s=clock.now_s)


def test_loop_without_a_beat_beyond_its_limit_is_stuck():
    """At the limit it is still fine, beyond it is not."""
    clock = FakeClock()
    loop = make_loop(lambda loop: None, clock)

    clock.advance(5.0)
    at_limit = loop.is_stuck()
    clock.advance(0.1)

    assert not at_limit
    assert loop.is_stuck()


def test_loop_that_is_excused_beat_at_the_latest_now():
    """Whoever beat in the middle of a stall has no credit for the time to come."""
    clock = FakeClock()
    loop = make_loop(lambda loop: None, clock)

    clock.advance(3.0)
    loop.excuse(10.0)
    clock.advance(5.1)

    assert loop.is_stuck()


def test_loop_that_waits_is_not_stuck():
    """A capture in its back-off is healthy."""
    clock = FakeClock()
    seen = []

    class Waiting:
        def wait(self, timeout_s):
            clock.advance(timeout_s)
            seen.append(loop.is_stuck())
            return True

        def is_set(self):
            return True

        def set(self):
            pass

    loop = make_loop(lambda loop: loop.wait(60), clock)
    loop._stop = Waiting()

    loop.run()

    assert seen == [False]
    assert not loop.is_stuck()


def test_loop_that_opens_a_network_is_stuck_only_beyond_the_limit_of_that():
    """What a device needs once says nothing of what it may need for a batch."""
    clock = FakeClock()
    loop = make_loop(lambda loop: None, clock)
    clock.advance(4.0)

    with loop.opening("detector"):
        clock.advance(OPENING_LIMIT_S)
        at_limit = loop.is_stuck()
        clock.advance(0.1)
        beyond, opens, stall = loop.is_stuck(), loop.opens, loop.stall

    assert (at_limit, beyond) == (False, True)
    assert opens == "detector"
    assert stall == "is still opening detector after 300 s"


def test_loop_that_opens_several_networks_has_the_limit_for_each():
    """Three of them may take longer than one."""
    clock = FakeClock()
    loop = make_loop(lambda loop: None, clock)
    seen = []

    for network in ("face-detector", "face-encoder", "face-liveness"):
        with loop.opening(network):
            clock.advance(OPENING_LIMIT_S)
            seen.append((loop.opens, loop.is_stuck()))

    assert seen == [("face-detector", False), ("face-encoder", False), ("face-liveness", False)]


@pytest.mark.parametrize("error", [pytest.param(None, id="opened"), pytest.param(RuntimeError("lost"), id="failed")])
def test_loop_that_has_opened_its_network_has_its_own_limit_again(error):
    """From the end of the opening on, however it ended."""
    clock = FakeClock()

    def body(loop):
        with loop.opening("detector"):
            clock.advance(60)
            if error is not None:
                raise error

    loop = make_loop(body, clock)
    loop.run()
    clock.advance(5.0)
    at_limit = loop.is_stuck()
    clock.advance(0.1)

    assert loop.failure is error
    assert (at_limit, loop.is_stuck()) == (False, True)
    assert loop.opens is None
    assert loop.stall == "made no progress for 5 s"


def test_loop_that_is_excused_while_it_opens_has_that_time_more():
    """Foreign code may hold the interpreter while it loads an engine: nobody could see it then."""
    clock = FakeClock()
    loop = make_loop(lambda loop: None, clock)

    with loop.opening("detector"):
        clock.advance(OPENING_LIMIT_S + 90)
        loop.excuse(90)
        at_limit = loop.is_stuck()
        clock.advance(0.1)
        beyond = loop.is_stuck()

    assert (at_limit, beyond) == (False, True)


def test_loop_whose_body_raises_keeps_the_failure():
    """The supervisor can tell a failure from an end."""
    failure = RuntimeError("broken")

    def body(loop):
        raise failure

    loop = make_loop(body, FakeClock())

    loop.run()

    assert loop.failure is failure


def test_loop_when_stopped_tells_its_body():
    """Stop is seen both as a flag and as the end of a wait."""
    loop = make_loop(lambda loop: None, FakeClock())

    loop.stop()

    assert loop.stopping
    assert loop.wait(30)
