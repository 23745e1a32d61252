"""Watches over the loops: starts them, opens stuck cameras and commands anew, tells when something failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edged.runtime.loop import Loop

logger = logging.getLogger(__name__)

MOST_ABANDONED = 8
"""More loops than these stuck in foreign code at one time: the process is beyond help."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A loop and the thread that runs it."""

    loop: Loop
    thread: threading.Thread

    @property
    def is_alive(self) -> bool:
        """Whether the loop's body still runs."""
        return self.thread.is_alive()


class LoopFailureError(Exception):
    """A loop ended that must not; the process stops. `__cause__` is why, where it is known."""


class Supervisor:
    """Every loop of the process but the main one.

    Args:
        start: makes and starts the thread of a loop.
        now_s: monotonic seconds.
    """

    def __init__(self, start: Callable[[Loop], threading.Thread], *, now_s: Callable[[], float]) -> None:
        self._start = start
        self._now_s = now_s
        self._workers: dict[str, Worker] = {}
        self._reopen: dict[str, Callable[[], Loop]] = {}
        self._abandoned: list[Worker] = []
        self._abandonments = 0

    @property
    def abandonments(self) -> int:
        """Loops given up as stuck since the start."""
        return self._abandonments

    @property
    def left_running(self) -> list[str]:
        """Names of the threads that still run."""
        return [worker.loop.name for worker in (*self._workers.values(), *self._abandoned) if worker.is_alive]

    @property
    def openings(self) -> list[str]:
        """Which loop is opening which network, for people."""
        return [f"{name} opens {network}" for name, worker in self._workers.items() if (network := worker.loop.opens)]

    def run(self, loop: Loop) -> None:
        """Start a loop; when it is stuck or fails, `check` raises."""
        self._workers[loop.name] = Worker(loop, self._start(loop))

    def run_replaceable(self, make_loop: Callable[[], Loop]) -> None:
        """Start a loop that, when it is stuck, is given up and made anew."""
        loop = make_loop()
        self._reopen[loop.name] = make_loop
        self.run(loop)

    def check(self) -> None:
        """Look after every loop.

        Raises:
            LoopFailureError: one failed, ended unasked, or is stuck and cannot be replaced.
        """
        self._abandoned = [worker for worker in self._abandoned if worker.is_alive]
        for name, worker in list(self._workers.items()):
            is_alive = worker.is_alive  # asked first: a loop notes its failure before it ends
            if worker.loop.failure is not None:
                raise LoopFailureError(f"{name} failed") from worker.loop.failure
            if not is_alive and not worker.loop.stopping:
                raise LoopFailureError(f"{name} ended unasked")
            if worker.loop.is_stuck():
                self._replace(name, worker)

    def excuse(self, stalled_s: float) -> None:
        """The whole process stood still for so long; no loop is stuck for that."""
        for worker in self._workers.values():
            worker.loop.excuse(stalled_s)

    def stop(self, names: Iterable[str], *, within_s: float) -> None:
        """Ask loops to return, and wait for all of them together no longer than told."""
        workers = [self._workers[name] for name in names if name in self._workers]
        for worker in workers:
            worker.loop.stop()
        end_s = self._now_s() + within_s
        for worker in workers:
            worker.thread.join(max(0.0, end_s - self._now_s()))
            if worker.is_alive:
                logger.warning("loop did not stop in time: name=%s", worker.loop.name)

    def _replace(self, name: str, worker: Worker) -> None:
        if name not in self._reopen or len(self._abandoned) >= MOST_ABANDONED:
            raise LoopFailureError(f"{name} {worker.loop.stall}")
        worker.loop.stop()
        self._abandoned.append(worker)
        self._abandonments += 1
        logger.warning("loop is stuck and opened anew: %s %s", name, worker.loop.stall)
        self.run(self._reopen[name]())
