"""Garbage collection and thread switching of a process that must not pause. In a process of its own: it is for good."""

import subprocess
import sys

import pytest

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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells threads apart")
def test_yield_processor_concerns_the_calling_thread_alone():
    """The slow loop steps back, the fast one does not."""
    done = subprocess.run([sys.executable, "-c", YIELDED], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == ["5", "True"]


def test_settle_interpreter_leaves_what_exists_out_and_still_finds_new_cycles():
    """Garbage from before goes, what is used is never looked through again, a cycle made later is collected."""
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == ["True", "True", "True", "True", "0.001"]
