"""The loop that trains anything: steps, schedule, averaged weights, checkpoints. It knows no architecture and no kind of data."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edged.errors import EdgedError, InputError

log = logging.getLogger(__name__)


class TrainingError(EdgedError):
    """Training cannot go on."""


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How long and how fast.

    Attributes:
        epochs: in all.
        learning_rate: the highest; reached after the warm-up, falls along a cosine to `final_ratio` of it.
        warmup_steps: of linear rise.
        final_ratio: what is left of the learning rate at the end.
        weight_decay: of AdamW, for weights, not for biases.
        clip_norm: gradients longer than that are shortened to it.
        average_decay: of the moving average of the weights that is measured and exported.
        bfloat16: compute in bfloat16 where torch's autocast does; None: if the processor does it in hardware. One that does
            not takes ten times as long with it as without.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_ratio: float = 0.02
    weight_decay: float = 0.02
    clip_norm: float = 10.0
    average_decay: float = 0.998
    bfloat16: bool | None = None

    @property
    def computes_in_bfloat16(self) -> bool:
        """What `bfloat16` comes to on this machine."""
        return torch.cpu.get_capabilities().get("avx512_bf16", False) if self.bfloat16 is None else self.bfloat16


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step cost: the loss and its parts by name."""

    loss: float
    parts: Mapping[str, float]


StepLoss = Callable[[nn.Module, Any], tuple[Tensor, Mapping[str, float]]]
"""(network, batch) -> the loss to minimise, its parts for people."""


class Trainer:
    """A network on its way through a schedule, with all that a checkpoint must hold to go on exactly where it stood."""

    def __init__(
        self, network: nn.Module, groups: list[dict[str, Any]], schedule: ScheduleSettings, *, steps_per_epoch: int
    ) -> None:
        """groups: torch parameter groups; `rate` in each is its share of the learning rate."""
        self.network, self.schedule = network, schedule
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.99))
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0
        self.step = 0
        self._total_steps = 0

    def train_epoch(self, batches: Iterable[Any], step_loss: StepLoss, *, report_every: int = 50) -> dict[str, float]:
        """One pass; returns the mean loss and its parts.

        Raises:
            TrainingError: the loss is no number any more; the newest checkpoint is from before.
        """
        self.network.train()
        # Counted from here, so that a run resumed with other epochs or pictures still ends at the end of its schedule.
        self._total_steps = self.step + (self.schedule.epochs - self.epoch) * self.steps_per_epoch
        sums: dict[str, float] = {}
        count, started_s = 0, time.monotonic()
        for batch in batches:
            self._set_rate()
            report = self._step(batch, step_loss)
            for name, value in {"loss": report.loss, **report.parts}.items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            if count % report_every == 0:
                facts = " ".join(f"{name}={total / count:.3f}" for name, total in sums.items())
                pace_s = (time.monotonic() - started_s) / count
                log.info("epoch=%d step=%d/%d %s step_s=%.2f", self.epoch + 1, count, self.steps_per_epoch, facts, pace_s)
        self.epoch += 1
        return {name: total / max(count, 1) for name, total in sums.items()}

    def _step(self, batch: Any, step_loss: StepLoss) -> StepReport:
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.schedule.computes_in_bfloat16):
            loss, parts = step_loss(self.network, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} in epoch {self.epoch + 1}, step {self.step}; "
                "resume from the last checkpoint with a lower learning_rate"
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.clip_norm)
        self.optimiser.step()
        self.step += 1
        self._average()
        return StepReport(value, parts)

    def _set_rate(self) -> None:
        share = rate_share(self.step, self.schedule, total_steps=self._total_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.learning_rate * share * group["rate"]

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.schedule.average_decay, (1 + self.step) / (10 + self.step))  # follows closely while all is new
        for mean, new in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
            mean.lerp_(new, 1 - decay) if mean.is_floating_point() else mean.copy_(new)

    def save(self, path: Path, extra: Mapping[str, Any]) -> None:
        """Write a checkpoint in one piece: there is never a half one under that name."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "random": torch.get_rng_state(),
            **extra,
        }
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Stand where the checkpoint was written; rates and decay stay those of this run."""
        ours = [{"rate": group["rate"], "weight_decay": group["weight_decay"]} for group in self.optimiser.param_groups]
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        for group, own in zip(self.optimiser.param_groups, ours, strict=True):
            group.update(own)
        self.epoch, self.step = state["epoch"], state["step"]
        torch.set_rng_state(state["random"])


def rate_share(step: int, schedule: ScheduleSettings, *, total_steps: int) -> float:
    """The share of the highest learning rate at a step: a linear rise, then half a cosine."""
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    done = (step - schedule.warmup_steps) / max(1, total_steps - schedule.warmup_steps)
    return schedule.final_ratio + (1 - schedule.final_ratio) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours; nothing in it is executed.

    Raises:
        InputError: it is missing or no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint") from error
    except Exception as error:  # torch raises pickle, zip, runtime and value errors for a file of another kind
        raise InputError(f"{path}: not a checkpoint of tools.train_detector: {error}") from error
    if not isinstance(state, dict) or not {"network", "averaged", "settings"} <= state.keys():
        raise InputError(f"{path}: not a checkpoint of tools.train_detector: expected network, averaged and settings in it")
    return state
