"""Waits for something that another thread or process is about to do."""

import time
from collections.abc import Callable


def wait_until(is_true: Callable[[], object], *, timeout_s: float = 30.0) -> None:
    """Return as soon as `is_true` is; fail after `timeout_s`."""
    until_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < until_s, f"still not true after {timeout_s:g} s"
        time.sleep(0.005)
