"""Which processor this process trains on, and what it shares with the others that train the same network (`torchrun`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from edged.errors import InputError

LONGEST_WAIT = timedelta(hours=2)
"""The others wait so long for the first one, which measures and writes alone."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together; alone unless `torchrun` started it.

    Attributes:
        rank: from 0; the first one writes, logs and measures.
        count: of processes on all machines.
        device: what this one computes on.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this one speaks for all."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> Tensor:
        """The sums of everybody's values; every process must ask."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def hand_out(self, value: Any) -> Any:
        """What the first process holds, which need be the only one that could read it; every process must ask."""
        if self.count > 1:
            box = [value]
            distributed.broadcast_object_list(box, src=0)
            (value,) = box
        return value


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Meet the others that `torchrun` started, over gloo on CPUs and nccl on CUDA; without it there is nobody to meet.

    Raises:
        InputError: the device is not there.
    """
    if not distributed.is_torchelastic_launched():
        yield Processes(device=choose_device(device))
        return
    here = choose_device(device, number=distributed.get_node_local_rank())
    if here.type == "cuda":
        torch.cuda.set_device(here)
    distributed.init_process_group("nccl" if here.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), here)
    finally:
        distributed.destroy_process_group()


def choose_device(name: str, *, number: int = 0) -> torch.device:
    """`cpu`, `cuda`, or for `auto` CUDA where there is one; `number`: of the process on this machine, each has its own GPU.

    Raises:
        InputError: there is no such device.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and found == 0):
        return torch.device("cpu")
    if found == 0:
        raise InputError("--device cuda: torch sees none here; use --device cpu, or install a torch built for CUDA")
    if number >= found:
        raise InputError(f"process {number} of this machine wants a GPU of its own, torch sees {found}; start {found} at most")
    return torch.device("cuda", number)


def choose_precision(asked: str, device: torch.device) -> torch.dtype:
    """What to compute in; `auto` takes the shorter numbers only where the device has them in hardware.

    A CPU without them takes ten times as long with bfloat16 as without. A GPU without bfloat16 has float16.
    """
    if asked != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[asked]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16", False) else torch.float32
