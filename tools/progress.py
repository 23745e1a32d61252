"""How people follow a training: a bar on a terminal, lines in a log, curves in TensorBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from edged.errors import InputError
from tools.training import StepReport

log = logging.getLogger(__name__)

BAR_CELLS = 24


class Progress:
    """Shows how an epoch goes: on a terminal one line that is written anew each step, elsewhere a log line now and then.

    One line needs no library; the bar is wiped before the loop logs anything.
    """

    def __init__(self, stream: TextIO, *, every: int = 50, now_s: Callable[[], float] = time.monotonic) -> None:
        """every: steps from one log line to the next."""
        self._stream, self._every, self._now_s = stream, every, now_s
        self._is_terminal = stream.isatty()
        self._started_s, self._started_batch = now_s(), 0

    def start(self, *, batch: int) -> None:
        """Time the steps of an epoch from here; `batch` of them are done."""
        self._started_s, self._started_batch = self._now_s(), batch

    def show(self, report: StepReport) -> None:
        """Tell of a step."""
        facts = " ".join(f"{name}={value:.3f}" for name, value in report.means.items())
        step_s = (self._now_s() - self._started_s) / max(report.batch - self._started_batch, 1)
        if self._is_terminal:
            full = BAR_CELLS * report.batch // max(report.batches, 1)
            left_s = round((report.batches - report.batch) * step_s)
            bar = "█" * full + "░" * (BAR_CELLS - full)
            line = f"epoch {report.epoch} {bar} {report.batch}/{report.batches} {facts} {left_s // 60}:{left_s % 60:02d} left"
            self._stream.write(f"\r{line}\x1b[K")
            self._stream.flush()
        elif report.batch % self._every == 0:
            log.info("epoch=%d step=%d/%d %s step_s=%.2f", report.epoch, report.batch, report.batches, facts, step_s)

    def wipe(self) -> None:
        """Take the bar away, so that what is logged next has a line of its own."""
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


class Curves:
    """Figures over steps, as TensorBoard shows them."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        """first_step: curves that an interrupted run drew from there on are dropped.

        Raises:
            InputError: the package is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError("--tensorboard: it is not installed; pip install tensorboard, or leave the option out") from error
        self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def draw(self, figures: Mapping[str, float], *, step: int) -> None:
        """Add one point to each curve."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()
