"""Waits for something that another thread or process is about to do, and times that do not count a stalled machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_until(is_true: Callable[[], object], *, timeout_s: float = 30.0) -> None:
    """Return as soon as `is_true` is; fail after `timeout_s`."""
    until_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < until_s, f"still not true after {timeout_s:g} s"
        time.sleep(0.005)


class Stopwatch:
    """The time in which this process could run, for upper bounds: a machine that stood still did not make us late.

    with Stopwatch() as watch:
        stream.read()
    assert watch.ran_s < 2

    A thread sleeps 10 ms at a time and adds what really passed, at most 50 ms: never more than the clock on the wall.

    Attributes:
        ran_s: seconds so far; stays as it is after the block.
    """

    def __init__(self) -> None:
        self.ran_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stopwatch", daemon=True)

    def __enter__(self) -> Stopwatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        before_s = time.monotonic()
        while not self._stop.wait(0.01):
            now_s = time.monotonic()
            self.ran_s += min(now_s - before_s, 0.05)
            before_s = now_s
