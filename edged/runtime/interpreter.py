"""Python itself, set for a process of several threads that runs for years and must not pause."""

from __future__ import annotations

import gc
import os
import sys
import threading

_YOUNG = 10_000
"""So many more containers made than freed begin a collection of cycles; Python's own 700 are reached by a crowded frame."""

_SWITCH_S = 0.001
"""A thread that wants to run waits so long for one that computes; Python's own 5 ms add up along the way of an event."""


_LOW_PRIORITY = 10
"""Of a thread, as nice(1) has it: it gets a ninth of the processor's time beside one that has the usual 0."""


def yield_processor() -> None:
    """From now on the calling thread runs when no other thread wants to, where the system tells threads apart (Linux).

    Source: setpriority(2), C library/kernel differences: a thread's id stands for that thread alone.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)


def settle_interpreter() -> None:
    """Call it once all is built: what exists by then is left out of all collections to come, which are rarer from now on.

    Modules, models and settings stay until the end, and a full collection would walk through all of them: 30 ms in which no
    thread does anything. Cycles made from now on are found as before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    sys.setswitchinterval(_SWITCH_S)
