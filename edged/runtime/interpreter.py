"""Python itself, set for a process of several threads that runs for years and must not pause."""

from __future__ import annotations

import gc
import sys

_YOUNG = 10_000
"""So many more containers made than freed begin a collection of cycles; Python's own 700 are reached by a crowded frame."""

_SWITCH_S = 0.001
"""A thread that wants to run waits so long for one that computes; Python's own 5 ms add up along the way of an event."""


def settle_interpreter() -> None:
    """Call it once all is built: what exists by then is left out of all collections to come, which are rarer from now on.

    Modules, models and settings stay until the end, and a full collection would walk through all of them: 30 ms in which no
    thread does anything. Cycles made from now on are found as before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    sys.setswitchinterval(_SWITCH_S)
