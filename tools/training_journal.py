"""What a training leaves behind while it runs: checkpoints, a line of figures an epoch, a bar, curves."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.progress import Curves, Progress
from tools.training import StepReport, Trainer, load_checkpoint

log = logging.getLogger(__name__)

LAST = "last.pt"
FIGURES = "epochs.jsonl"
CURVE_STEPS = 10
"""From one point of a curve to the next."""


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """When to write and when to measure.

    Attributes:
        save_minutes, save_steps: between checkpoints inside an epoch, whichever comes first; 0: never for that reason.
        measure_every: epochs; 0: never.
        tensorboard: folder for curves.
    """

    save_minutes: float = 10.0
    save_steps: int = 0
    measure_every: int = 2
    tensorboard: Path | None = None


class Journal:
    """Writes it all, in the first process only; knows neither network nor data."""

    def __init__(
        self,
        out: Path,
        trainer: Trainer,
        *,
        recipe: Mapping[str, Any],
        measure: Callable[[], Mapping[str, Mapping[str, float]]],
        settings: JournalSettings,
    ) -> None:
        """recipe: what the network and its training are described by; goes into every checkpoint as `settings`.

        measure: gives figures by set and class.
        """
        self._out, self._trainer, self._recipe, self._measure, self._settings = out, trainer, recipe, measure, settings
        self._writes = trainer.processes.is_first
        self._progress = Progress(sys.stdout)
        self._curves: Curves | None = None
        self._saved_s = self._started_s = time.monotonic()

    def __enter__(self) -> Journal:
        if self._settings.tensorboard and self._writes:
            self._curves = Curves(self._settings.tensorboard, first_step=self._trainer.step + 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.wipe()
        if self._curves:
            self._curves.close()

    def resume(self) -> None:
        """Stand where last.pt was written; an epoch that was saved but not reported, because the end came between, is now.

        Raises:
            InputError: there is no such checkpoint.
        """
        path = self._out / LAST
        state = self._trainer.processes.hand_out(load_checkpoint(path) if self._writes else None)
        self._trainer.resume(state)
        log.info("resumed from %s: epoch=%d step=%d", path, self._trainer.epoch + 1, self._trainer.batch)
        figures = state.get("figures")
        if self._writes and figures and figures["epoch"] > _last_epoch(self._out / FIGURES):
            self._report(figures)

    def start_epoch(self) -> None:
        """Time it from here."""
        self._started_s = time.monotonic()
        self._progress.start(batch=self._trainer.batch)

    def note_step(self, report: StepReport) -> None:
        """Show the step, and write a checkpoint when it is time."""
        if not self._writes:
            return
        self._progress.show(report)
        if self._curves and report.step % CURVE_STEPS == 0:
            figures = {f"train/{name}": value for name, value in report.figures.items()}
            self._curves.draw({**figures, "rate": report.rate}, step=report.step)
        steps, seconds = self._settings.save_steps, 60 * self._settings.save_minutes
        if (steps and report.step % steps == 0) or (seconds and time.monotonic() - self._saved_s >= seconds):
            self._save({})

    def end_epoch(self, means: Mapping[str, float]) -> None:
        """Save, measure, report, in that order: whatever happens while it is measured, the epoch is done."""
        if not self._writes:
            return
        self._progress.wipe()
        figures = {**means, "epoch": self._trainer.epoch, "seconds": round(time.monotonic() - self._started_s)}
        self._save({"figures": figures})
        self._report(figures)

    def _save(self, extra: Mapping[str, Any]) -> None:
        self._trainer.save(self._out / LAST, {"settings": self._recipe, **extra})
        self._saved_s = time.monotonic()

    def _report(self, figures: Mapping[str, Any]) -> None:
        if self._settings.measure_every and figures["epoch"] % self._settings.measure_every == 0:
            found = self._measure()
            figures = {**figures, "val": found}
            if self._curves:
                points = {f"val/{name}/{kind}": value for name, one in found.items() for kind, value in one.items()}
                self._curves.draw(points, step=self._trainer.step)
        with (self._out / FIGURES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
        log.info("epoch done: %s", json.dumps(figures))


def _last_epoch(path: Path) -> int:
    """The last epoch that has its line of figures, 0 where none has; a line cut short by the end of power counts as none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return 0
    for line in reversed(lines):
        try:
            return json.loads(line)["epoch"]
        except ValueError:
            continue
    return 0
