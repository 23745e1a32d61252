"""The loop that trains anything: steps, schedule, averaged weights, checkpoints. It knows no architecture and no kind of data."""

from __future__ import annotations

import copy
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edged.errors import EdgedError, InputError
from tools.processes import Processes, choose_precision

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
        precision: of what torch's autocast shortens; `auto`: what the device has in hardware.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_ratio: float = 0.02
    weight_decay: float = 0.02
    clip_norm: float = 10.0
    average_decay: float = 0.998
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a loss: a sum over this process's share of a batch, and what it is to be divided by.

    Numerator and denominator come apart because both are added up over all processes before they are divided: two processes
    with 8 pictures each then do what one does with 16.

    Attributes:
        sum: with the gradient; ().
        over: the share's quality, matches or pictures; (). All shares together count as 1 at least.
        weight: of the quotient in the loss.
    """

    sum: Tensor
    over: Tensor
    weight: float = 1.0


StepLoss = Callable[[nn.Module, Any], Mapping[str, Part]]
"""(network, this process's share of a batch) -> the parts of the loss by name, the same names in every process."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is known after a step.

    Attributes:
        epoch: from 1.
        batch, batches: so many steps of the epoch are done, of so many.
        step: of the whole training, from 1.
        rate: the learning rate of a group whose `rate` is 1.
        figures: this step's loss and its parts.
        means: the same over the epoch so far.
    """

    epoch: int
    batch: int
    batches: int
    step: int
    rate: float
    figures: Mapping[str, float]
    means: Mapping[str, float]


class Trainer:
    """A network on its way through a schedule, with all that a checkpoint must hold to go on exactly where it stood."""

    def __init__(
        self,
        network: nn.Module,
        groups: list[dict[str, Any]],
        schedule: ScheduleSettings,
        *,
        steps_per_epoch: int,
        seed: int = 0,
        processes: Processes = Processes(),  # noqa: B008 - frozen: nobody else is there
    ) -> None:
        """groups: torch parameter groups; `rate` in each is its share of the learning rate. The network is on the device already.

        seed: of everything that the network draws while it trains.
        """
        self.network, self.schedule, self.processes = network, schedule, processes
        self._shared = DistributedDataParallel(network) if processes.count > 1 else network  # takes the first one's weights
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.99))
        self.precision = choose_precision(schedule.precision, processes.device)
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=self.precision == torch.float16)
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0
        self.batch = 0
        self.step = 0
        self._seed = seed
        self._sums: dict[str, float] = {}

    def train_epoch(
        self, batches: Iterable[Any], step_loss: StepLoss, *, on_step: Callable[[StepReport], None] | None = None
    ) -> dict[str, float]:
        """Finish the epoch it stands in; returns the mean loss and its parts.

        Args:
            batches: this process's shares of the epoch's batches from number `batch` on.
            on_step: called after every step; may save.

        Raises:
            TrainingError: the loss is no number any more; the newest checkpoint is from before.
        """
        self.network.train()
        # Counted from here, so that a run resumed with other epochs or pictures still ends at the end of its schedule.
        total_steps = self.step - self.batch + (self.schedule.epochs - self.epoch) * self.steps_per_epoch
        for batch in batches:
            rate = self._set_rate(total_steps)
            figures = self._step(batch, step_loss)
            for name, value in figures.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self.batch += 1
            if on_step:
                means = self._means()
                on_step(StepReport(self.epoch + 1, self.batch, self.steps_per_epoch, self.step, rate, figures, means))
        means = self._means()
        self.epoch, self.batch, self._sums = self.epoch + 1, 0, {}
        return means

    def _means(self) -> dict[str, float]:
        return {name: total / max(self.batch, 1) for name, total in self._sums.items()}

    def _step(self, batch: Any, step_loss: StepLoss) -> dict[str, float]:
        """One step of all processes; returns the loss and its parts, the same numbers in each."""
        torch.manual_seed(self._step_seed())
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.processes.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            parts = step_loss(self._shared, batch)
        figures, overs = self._add_up(parts)
        if not math.isfinite(figures["loss"]):
            raise TrainingError(
                f"the loss became {figures['loss']} in epoch {self.epoch + 1}, step {self.step}; "
                "resume from the last checkpoint with a lower learning_rate"
            )
        loss = sum(part.weight * part.sum / over for part, over in zip(parts.values(), overs, strict=True))
        # DistributedDataParallel averages the gradients; ours are shares of one sum.
        self._scaler.scale(loss * self.processes.count).backward()
        self._scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.clip_norm)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        self.step += 1
        self._average()
        return figures

    def _add_up(self, parts: Mapping[str, Part]) -> tuple[dict[str, float], list[float]]:
        """The figures of the whole batch, and what each part is divided by."""
        shares = [part.sum.detach() for part in parts.values()] + [part.over for part in parts.values()]
        totals = self.processes.add_up(torch.stack([share.double() for share in shares])).tolist()
        overs = [max(over, 1.0) for over in totals[len(parts) :]]
        quotients = {name: total / over for name, total, over in zip(parts, totals, overs, strict=False)}
        return {"loss": sum(part.weight * quotients[name] for name, part in parts.items()), **quotients}, overs

    def _step_seed(self) -> int:
        """What a network draws (dropout) follows from the step and the process, so that no state of chance need be kept."""
        return int(np.random.SeedSequence((self._seed, self.step, self.processes.rank)).generate_state(1, np.uint64)[0])

    def _set_rate(self, total_steps: int) -> float:
        rate = self.schedule.learning_rate * rate_share(self.step, self.schedule, total_steps=total_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["rate"]
        return rate

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.schedule.average_decay, (1 + self.step) / (10 + self.step))  # follows closely while all is new
        for mean, new in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
            mean.lerp_(new, 1 - decay) if mean.is_floating_point() else mean.copy_(new)

    def save(self, path: Path, extra: Mapping[str, Any]) -> None:
        """Write a checkpoint in one piece: there is never a half one under that name. Only the first process writes."""
        if not self.processes.is_first:
            return
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "sums": dict(self._sums),
            **extra,
        }
        save_checkpoint(path, state)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Stand where the checkpoint was written; rates and decay stay those of this run.

        An epoch that has other steps now than when it was interrupted begins anew.
        """
        ours = [{"rate": group["rate"], "weight_decay": group["weight_decay"]} for group in self.optimiser.param_groups]
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        for group, own in zip(self.optimiser.param_groups, ours, strict=True):
            group.update(own)
        self.epoch, self.step = state["epoch"], state["step"]
        self.batch, self._sums = state.get("batch", 0), dict(state.get("sums", {}))
        if self._scaler.is_enabled() and state.get("scaler"):
            self._scaler.load_state_dict(state["scaler"])
        if self.batch and state["steps_per_epoch"] != self.steps_per_epoch:
            log.warning(
                "epoch %d was interrupted at step %d of %d and has %d now: it begins anew",
                *(self.epoch + 1, self.batch, state["steps_per_epoch"], self.steps_per_epoch),
            )
            self.batch, self._sums = 0, {}


def rate_share(step: int, schedule: ScheduleSettings, *, total_steps: int) -> float:
    """The share of the highest learning rate at a step: a linear rise, then half a cosine."""
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    done = (step - schedule.warmup_steps) / max(1, total_steps - schedule.warmup_steps)
    return schedule.final_ratio + (1 - schedule.final_ratio) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint in one piece, and to the disk."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours; nothing in it is executed.

    Raises:
        InputError: it is missing or no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: a directory; expected a file in it, such as last.pt or an engine's model.onnx") from error
    except Exception as error:  # torch raises pickle, zip, runtime and value errors for a file of another kind
        raise InputError(f"{path}: not a checkpoint of our trainings: {error}") from error
    if not isinstance(state, dict) or not {"network", "averaged", "settings"} <= state.keys():
        raise InputError(f"{path}: not a checkpoint of our trainings: expected network, averaged and settings in it")
    return state
