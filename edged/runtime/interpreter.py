"""Python itself, set for a process of several threads that runs for years and must not pause."""

from __future__ import annotations

import _thread
import contextlib
import faulthandler
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType

_YOUNG = 10_000
"""So many more containers made than freed begin a collection of cycles; Python's own 700 are reached by a crowded frame."""

_SWITCH_S = 0.001
"""A thread that wants to run waits so long for one that computes; Python's own 5 ms add up along the way of an event."""


_STEPS_DOWN = 5
"""As nice(1) counts: such a thread gets a third of the time of one that has not stepped back, where both want one processor."""


def yield_processor() -> None:
    """From now on the calling thread gives way to the others of this process, where the system tells threads apart (Linux).

    Source: setpriority(2), C library/kernel differences: a thread's id stands for that thread alone.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _STEPS_DOWN)


def settle_interpreter() -> None:
    """Call it once all is built: what exists by then is left out of all collections to come, which are rarer from now on.

    Modules, models and settings stay until the end, and a full collection would walk through all of them: 30 ms in which no
    thread does anything. Cycles made from now on are found as before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    sys.setswitchinterval(_SWITCH_S)


def setter(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    """A signal handler that sets an event.

    A thread of its own does: the main thread, which runs the handler, may just then hold the event's lock, and would wait for
    itself for ever.
    """

    def handle(*_: object) -> None:
        try:
            _thread.start_new_thread(event.set, ())
        except RuntimeError:  # no thread is to be had; then that, which is unlikely, must be risked
            event.set()

    return handle


def has_terminal() -> bool:
    """Whether this process belongs to a terminal, which sends SIGHUP to it when it is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def tell_where_it_hangs() -> None:
    """From now on SIGUSR1 has every thread's name and stack written to standard error, and a crash or SIGABRT the stacks alone.

    systemd's watchdog sends SIGABRT. The main thread answers SIGUSR1, as soon as it runs Python: `faulthandler.register` would
    not wait for that, but walks through stacks while they change, which ends the process once in some hundred times.
    Source: cpython issue 116008.
    """
    faulthandler.enable()
    writing = threading.Lock()

    def answer(*_: object) -> None:
        if writing.acquire(blocking=False):  # another signal while one is answered adds nothing
            try:
                _write_stacks()
            finally:
                writing.release()

    signal.signal(signal.SIGUSR1, answer)


def _write_stacks() -> None:
    stacks = sys._current_frames()
    told = [
        f"thread {thread.name} (most recent call last):\n" + "".join(traceback.format_stack(stacks[thread.ident]))
        for thread in threading.enumerate()
        if thread.ident in stacks
    ]
    with contextlib.suppress(OSError):  # nobody reads, or not fast enough
        os.write(2, "\n".join(told).encode(errors="backslashreplace"))  # past sys.stderr, which may be in use just now
