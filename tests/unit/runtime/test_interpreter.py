"""Garbage collection and thread switching of a process that must not pause. In a process of its own: it is for good."""

import signal
import subprocess
import sys
import threading

import pytest

from edged.runtime.interpreter import setter

SETTLED = """
import gc, sys, weakref
from edged.runtime.interpreter import settle_interpreter

class Node:
    pass

def make_cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

gc.disable()
old = make_cycle()
settle_interpreter()
young = make_cycle()
is_nearly_all_left_out = gc.get_freeze_count() > 10 * len(gc.get_objects())
gc.collect()
print(old() is None, young() is None, is_nearly_all_left_out, gc.get_threshold()[0] > 700, sys.getswitchinterval())
"""


YIELDED = """
import os, threading
from edged.runtime.interpreter import yield_processor

def run():
    yield_processor()
    found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

before, found = os.getpriority(os.PRIO_PROCESS, 0), []
thread = threading.Thread(target=run)
thread.start()
thread.join()
print(found[0] - before, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before)
"""


TOLD = """
import os, signal, threading, time
from edged.runtime.interpreter import tell_where_it_hangs

tell_where_it_hangs()

def hurry():
    for _ in range(2000):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.0002)

thread = threading.Thread(target=hurry)
thread.start()
while thread.is_alive():
    time.sleep(0.001)
os.write(1, b"alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells threads apart")
def test_yield_processor_concerns_the_calling_thread_alone():
    """The slow loop steps back, the fast one does not."""
    done = subprocess.run([sys.executable, "-c", YIELDED], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == ["5", "True"]


def test_settle_interpreter_leaves_what_exists_out_and_still_finds_new_cycles():
    """Garbage from before goes, what is used is never looked through again, a cycle made later is collected."""
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == ["True", "True", "True", "True", "0.001"]


def test_stacks_that_nobody_reads_and_that_are_asked_for_all_the_time_end_nothing():
    """A journal that broke is when somebody asks; and whoever asks twice is answered once."""
    process = subprocess.Popen([sys.executable, "-c", TOLD], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stderr.close()

    said, _ = process.communicate(timeout=60)

    assert (said, process.returncode) == (b"alive", 0)


def test_setter_of_an_event_whose_lock_is_held_does_not_wait_for_it():
    """A signal comes at any moment, also in the middle of `Event.wait` and `Event.clear`."""
    event = threading.Event()

    with event._cond:
        setter(event)(signal.SIGTERM, None)
        assert not event.is_set()

    assert event.wait(10)


def test_setter_sets_also_where_no_thread_is_to_be_had(monkeypatch):
    """A limit on tasks must not keep a daemon from stopping."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("edged.runtime.interpreter._thread.start_new_thread", refuse)
    event = threading.Event()

    setter(event)(signal.SIGTERM, None)

    assert event.is_set()


def test_process_without_a_terminal_has_none():
    """As a service has none, nor a child in a session of its own."""
    script = "from edged.runtime.interpreter import has_terminal; print(has_terminal())"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, start_new_session=True)

    assert done.stdout == "False\n"


def test_process_of_a_terminal_has_one():
    """Though nothing of what it reads and writes is that terminal."""
    script = """
import os, pty, sys
from edged.runtime.interpreter import has_terminal
child, terminal = pty.fork()
if child == 0:
    os._exit(42 if has_terminal() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)

    assert done.stdout == "42\n"
