"""A loop knows whether it is stuck, waiting or failed."""

from fakes import FakeClock

from edged.runtime.loop import Loop


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
