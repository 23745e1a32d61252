"""What people see of a training while it runs."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from tools.progress import Curves, Progress
from tools.training import StepReport

pytestmark = pytest.mark.torch


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _report(batch: int) -> StepReport:
    return StepReport(2, batch, 100, 100 + batch, 0.01, {"loss": 1.0}, {"loss": 1.25})


def _make(stream: io.StringIO) -> Progress:
    """A step takes two seconds; ten of the epoch were done before."""
    clock = iter(range(0, 1000, 2))
    progress = Progress(stream, every=2, now_s=lambda: float(next(clock)))
    progress.start(batch=10)
    return progress


def test_progress_on_a_terminal_is_one_line_written_anew() -> None:
    """A bar with the figures and the time that is left, and nothing of it once it is wiped."""
    stream = _Terminal()
    progress = _make(stream)

    progress.show(_report(11))
    progress.show(_report(50))
    before_wipe = stream.getvalue()
    progress.wipe()

    first, last = before_wipe.split("\r")[1:]
    assert first == "epoch 2 ██░░░░░░░░░░░░░░░░░░░░░░ 11/100 loss=1.250 2:58 left\x1b[K"
    assert last.startswith("epoch 2 ████████████░░░░░░░░░░░░ 50/100 ")
    assert "\n" not in before_wipe
    assert stream.getvalue() == before_wipe + "\r\x1b[K"


def test_progress_in_a_file_is_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """No bar in a log: every second step here leaves a line."""
    stream = io.StringIO()
    progress = _make(stream)

    with caplog.at_level(logging.INFO):
        progress.show(_report(11))
        progress.show(_report(12))
        progress.wipe()

    assert caplog.messages == ["epoch=2 step=12/100 loss=1.250 step_s=2.00"]
    assert stream.getvalue() == ""


def test_curves_are_what_tensorboard_reads_back(tmp_path: Path) -> None:
    """Each figure is a curve of its name."""
    pytest.importorskip("tensorboard", reason="curves need tensorboard: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = Curves(tmp_path, first_step=1)
    curves.draw({"train/loss": 0.5}, step=3)
    curves.close()

    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/loss")] == [(3, 0.5)]
