"""The loop that trains anything: it learns, resumes where it stood, and stops on a loss that is no number."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs its own environment: pip install torch")

from edged.errors import InputError  # noqa: E402
from tools.processes import Processes, choose_device, choose_precision  # noqa: E402
from tools.training import (  # noqa: E402
    Part,
    ScheduleSettings,
    StepReport,
    Trainer,
    TrainingError,
    load_checkpoint,
    rate_share,
)

pytestmark = pytest.mark.torch

ONE = torch.ones(())


def _make(*, rate: float = 1.0, seed: int = 0, steps: int = 100, dropout: float = 0.0, **schedule: object) -> Trainer:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout(dropout))
    groups = [{"params": list(network.parameters()), "rate": rate, "weight_decay": 0.0}]
    settings = {"epochs": 3, "learning_rate": 0.1, "warmup_steps": 10, "average_decay": 0.9, "precision": "float32"}
    return Trainer(network, groups, ScheduleSettings(**{**settings, **schedule}), steps_per_epoch=steps, seed=seed)


def _line_loss(network: torch.nn.Module, x: torch.Tensor) -> Mapping[str, Part]:
    """How far from 2 x + 1."""
    return {"square": Part((network(x) - 2 * x - 1).square().sum(), torch.tensor(float(len(x))))}


X = torch.linspace(-1, 1, 16)[:, None]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_trainer_learns_what_can_be_learnt(precision: str) -> None:
    """A line through given points is found, by the network and by its averaged twin; the loop knows nothing of lines."""
    trainer = _make(precision=precision)

    losses = [trainer.train_epoch([X] * 100, _line_loss)["loss"] for _ in range(3)]

    assert losses[0] > losses[1] > losses[2] or losses[2] < 1e-4
    for weights in (trainer.network[0], trainer.averaged[0]):
        assert weights.weight.item() == pytest.approx(2, abs=0.02)
        assert weights.bias.item() == pytest.approx(1, abs=0.02)


def test_trainer_divides_each_part_by_its_own_total() -> None:
    """3 / 6 and, weighed twice, 1 over less than one: 0.5 + 2 * 1; parts are reported without their weight."""
    trainer = _make()

    def loss(network: torch.nn.Module, _: object) -> Mapping[str, Part]:
        zero = 0.0 * network(torch.zeros(1, 1)).sum()
        return {"a": Part(zero + 3, 6 * ONE), "b": Part(zero + 1, 0.25 * ONE, 2.0)}

    means = trainer.train_epoch([None], loss)

    assert means == {"loss": 2.5, "a": 0.5, "b": 1.0}


def test_trainer_reports_every_step() -> None:
    """Whoever follows gets the number of the step, this step's figures and the epoch's means."""
    trainer = _make(steps=2)
    reports: list[StepReport] = []

    trainer.train_epoch([X, X], _line_loss, on_step=reports.append)

    assert [(one.epoch, one.batch, one.batches, one.step) for one in reports] == [(1, 1, 2, 1), (1, 2, 2, 2)]
    assert reports[1].rate == pytest.approx(0.02)
    first, second = (one.figures["loss"] for one in reports)
    assert reports[1].means["loss"] == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_trainer_stopped_in_mid_epoch_goes_on_to_equal_weights(tmp_path: Path, precision: str) -> None:
    """Optimiser, average, schedule, sums, loss scale and what dropout draws stand where they stood: all equal, bit by bit."""
    batches = [X * scale for scale in (1.0, 0.5, 2.0, 1.5)]
    straight = _make(steps=4, dropout=0.5, precision=precision)
    means = straight.train_epoch(batches, _line_loss)
    stopped = _make(steps=4, dropout=0.5, precision=precision)
    path = tmp_path / "last.pt"

    def save(report: StepReport) -> None:
        if report.batch == 3:
            stopped.save(path, {"settings": {}})

    stopped.train_epoch(batches, _line_loss, on_step=save)

    resumed = _make(steps=4, dropout=0.5, precision=precision)
    resumed.resume(load_checkpoint(path))
    assert (resumed.epoch, resumed.batch, resumed.step) == (0, 3, 3)
    assert resumed.train_epoch(batches[3:], _line_loss) == means

    for name in ("network", "averaged"):
        expected, found = (getattr(one, name).state_dict() for one in (straight, resumed))
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_trainer_whose_interrupted_epoch_has_other_steps_now_begins_it_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Batch 3 of other pictures is not the batch that it was."""
    before = _make(steps=4)
    before.train_epoch([X], _line_loss, on_step=lambda _: before.save(tmp_path / "last.pt", {"settings": {}}))
    after = _make(steps=5)

    with caplog.at_level(logging.WARNING):
        after.resume(load_checkpoint(tmp_path / "last.pt"))

    assert (after.epoch, after.batch, after.step) == (0, 0, 1)
    assert "interrupted at step 1 of 4" in caplog.text


def test_trainer_resumed_with_another_rate_takes_the_new_one(tmp_path: Path) -> None:
    """A checkpoint brings back where training stood, not what was asked of it then."""
    before, after = _make(rate=0.1, steps=1), _make(rate=0.4, steps=1)
    before.train_epoch([X], _line_loss)
    before.save(tmp_path / "last.pt", {"settings": {}})

    after.resume(load_checkpoint(tmp_path / "last.pt"))

    assert after.optimiser.param_groups[0]["rate"] == 0.4
    assert after.optimiser.state_dict()["state"] == before.optimiser.state_dict()["state"]
    assert (after.epoch, after.batch, after.step) == (1, 0, 1)


def test_trainer_resumes_a_checkpoint_of_before_there_were_batches_in_it() -> None:
    """Checkpoints that were written at ends of epochs only still go on."""
    before, after = _make(steps=1), _make(steps=1)
    before.train_epoch([X], _line_loss)
    state = {"network": before.network.state_dict(), "averaged": before.averaged.state_dict(), "epoch": 1, "step": 1}

    after.resume({**state, "optimiser": before.optimiser.state_dict(), "random": torch.get_rng_state()})

    assert (after.epoch, after.batch, after.step) == (1, 0, 1)


def test_trainer_that_is_not_the_first_process_writes_nothing(tmp_path: Path) -> None:
    """One checkpoint for all."""
    trainer = _make()
    trainer.processes = Processes(rank=1)

    trainer.save(tmp_path / "last.pt", {})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_trainer_whose_loss_is_no_number_stops_before_the_weights_change(value: float) -> None:
    """A diverged network ends the run with a reason; what stood before it stays."""
    trainer = _make(steps=1)
    start = {name: weights.clone() for name, weights in trainer.network.state_dict().items()}

    with pytest.raises(TrainingError, match="lower learning_rate"):
        trainer.train_epoch([None], lambda net, _: {"a": Part(net(torch.ones(1, 1)).sum() * value, ONE)})

    assert all(torch.equal(weights, start[name]) for name, weights in trainer.network.state_dict().items())


@pytest.mark.parametrize(
    ("asked", "has_it", "expected"),
    [
        pytest.param("auto", True, torch.bfloat16, id="in hardware"),
        pytest.param("auto", False, torch.float32, id="not in hardware"),
        pytest.param("bfloat16", False, torch.bfloat16, id="told to"),
        pytest.param("float32", True, torch.float32, id="told not to"),
        pytest.param("float16", False, torch.float16, id="half"),
    ],
)
def test_choose_precision_on_a_cpu_is_what_it_has_in_hardware(
    monkeypatch: pytest.MonkeyPatch, asked: str, has_it: bool, expected: torch.dtype
) -> None:
    """Unless told, short numbers are used where they are fast and nowhere else."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_it})

    assert choose_precision(asked, torch.device("cpu")) == expected


@pytest.mark.parametrize(("has_it", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_choose_precision_on_cuda_is_the_better_half(
    monkeypatch: pytest.MonkeyPatch, has_it: bool, expected: torch.dtype
) -> None:
    """Older GPUs have float16 only."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)

    assert choose_precision("auto", torch.device("cuda", 0)) == expected


@pytest.mark.parametrize(
    ("name", "gpus", "number", "expected"),
    [
        pytest.param("auto", 0, 0, "cpu", id="auto without"),
        pytest.param("auto", 2, 1, "cuda:1", id="auto, second process"),
        pytest.param("cpu", 2, 0, "cpu", id="told cpu"),
        pytest.param("cuda", 1, 0, "cuda:0", id="told cuda"),
    ],
)
def test_choose_device_takes_what_is_there(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, number: int, expected: str
) -> None:
    """CUDA where there is one, for each process its own."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    assert str(choose_device(name, number=number)) == expected


@pytest.mark.parametrize(("gpus", "number", "message"), [(0, 0, "--device cuda"), (1, 1, "start 1 at most")])
def test_choose_device_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch, gpus: int, number: int, message: str) -> None:
    """No silent fall back from what was asked for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    with pytest.raises(InputError, match=message):
        choose_device("cuda", number=number)


@pytest.mark.parametrize(
    ("step", "share"),
    [
        pytest.param(0, 0.1, id="first warm-up step"),
        pytest.param(9, 1.0, id="warmed up"),
        pytest.param(10, 1.0, id="top of the cosine"),
        pytest.param(60, 0.55, id="half way down"),
        pytest.param(110, 0.1, id="end"),
        pytest.param(200, 0.1, id="past the end"),
    ],
)
def test_rate_share_rises_then_falls_along_a_cosine(step: int, share: float) -> None:
    """Ten steps up, a hundred down to a tenth."""
    schedule = ScheduleSettings(warmup_steps=10, final_ratio=0.1)

    assert rate_share(step, schedule, total_steps=110) == pytest.approx(share)


def test_load_checkpoint_of_another_file_says_what_it_wants(tmp_path: Path) -> None:
    """A picture or a missing file is no checkpoint."""
    (tmp_path / "picture.pt").write_bytes(b"\x89PNG")

    for name in ("picture.pt", "missing.pt"):
        with pytest.raises(InputError, match=name):
            load_checkpoint(tmp_path / name)
