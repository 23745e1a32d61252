"""What stands around the loop of every training: command line, folders, whence the first weights come, epoch after epoch."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from torch import nn

from edged.errors import EXIT_CONFIG, EdgedError, InputError, ModelError
from edged.models.manifest import DataSource
from tools.nets.mobilenet_v2 import MobileNetV2, WidenedMobileNetV2
from tools.processes import Processes, join_processes
from tools.training import ScheduleSettings, StepLoss, Trainer
from tools.training_journal import LAST, Journal, JournalSettings
from tools.weights import read_sources

log = logging.getLogger(__name__)

Settings = TypeVar("Settings", bound=BaseModel)


def make_parser(prog: str, description: str | None, *, config: str, figures: str) -> argparse.ArgumentParser:
    """The options that every training has.

    Args:
        config: an example of a configuration, for the help.
        figures: what is measured and drawn, for the help.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--config", type=Path, required=True, help=config)
    parser.add_argument("--data", type=Path, required=True, help="folder of sets, of any layout that tools.dataset reads")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and figures")
    parser.add_argument("--resume", action="store_true", help="go on from last.pt in --out, also in the middle of an epoch")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA where there is one")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches")
    parser.add_argument("--evaluate-every", type=int, default=2, help="epochs between measurements on the val split; 0: never")
    parser.add_argument("--save-minutes", type=float, default=10.0, help="between checkpoints inside an epoch; 0: none")
    parser.add_argument("--save-steps", type=int, default=0, metavar="N", help="also a checkpoint after every N steps; 0: none")
    help_on_curves = f"draw losses, rate and {figures} there; needs tensorboard"
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help=help_on_curves)
    return parser


def run_command(
    arguments: argparse.Namespace,
    load_settings: Callable[[Path], Settings],
    train: Callable[[argparse.Namespace, Settings, Processes], None],
) -> int:
    """Train as the command line says; returns the exit status, an error told on standard error."""
    try:
        settings = load_settings(arguments.config)
        with join_processes(arguments.device) as processes:
            level = logging.INFO if processes.is_first else logging.WARNING
            logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
            train(arguments, settings, processes)
    except EdgedError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG if isinstance(error, InputError | ModelError) else 1
    return 0


def prepare(arguments: argparse.Namespace, settings: Settings, processes: Processes) -> Settings:
    """What comes before every network: folders, threads, seed. Returns the settings, the data of first weights among theirs.

    Args:
        settings: with `sets`, `seed` and `data`.

    Raises:
        InputError: a set is not in `--data`, or `--out` holds another run.
    """
    _check_folders(arguments, settings.sets)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(settings.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    return settings.model_copy(update={"data": _add_sources(settings.data, _origins(arguments, processes))})


def freeze(backbone: MobileNetV2 | WidenedMobileNetV2, *, rows: int) -> None:
    """Keep the weights of the stem and so many rows: edges and colours are the same everywhere, and cost most to train."""
    if rows:
        for part in (backbone.stem, *backbone.rows[:rows]):
            part.requires_grad_(False)


def parameter_groups(network: nn.Module, *, backbone_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for the `Trainer`: the pretrained `backbone` learns slower, wherever in the network it is; biases do not decay."""
    named = [(name.split("."), parameter) for name, parameter in network.named_parameters()]
    groups = []
    for is_pretrained, rate in ((True, backbone_rate), (False, 1.0)):
        mine = [(steps[-1] == "bias", parameter) for steps, parameter in named if ("backbone" in steps) == is_pretrained]
        weights, biases = ([parameter for is_bias, parameter in mine if is_bias == wanted] for wanted in (False, True))
        groups.append({"params": weights, "rate": rate, "weight_decay": weight_decay})
        groups.append({"params": biases, "rate": rate, "weight_decay": 0.0})
    return groups


def open_journal(
    arguments: argparse.Namespace, trainer: Trainer, settings: BaseModel, measure: Callable[[], Mapping[str, Mapping[str, float]]]
) -> Journal:
    """The journal of a run; with `--resume` the trainer stands where the run there was.

    Args:
        measure: called where something is to be measured, in the first process.
    """
    journal = Journal(
        arguments.out,
        trainer,
        recipe=settings.model_dump(mode="json"),
        measure=measure,
        settings=JournalSettings(arguments.save_minutes, arguments.save_steps, arguments.evaluate_every, arguments.tensorboard),
    )
    if arguments.resume:
        journal.resume()
    return journal


def run_epochs(
    trainer: Trainer,
    journal: Journal,
    make_batches: Callable[[], Iterable[Any]],
    loss: StepLoss,
    *,
    schedule: ScheduleSettings,
) -> None:
    """Train what is left of the schedule.

    Args:
        make_batches: called before each epoch; gives what is left of the one that the trainer stands in.
    """
    with journal:
        while trainer.epoch < schedule.epochs:
            journal.start_epoch()
            journal.end_epoch(trainer.train_epoch(make_batches(), loss, on_step=journal.note_step))


def _check_folders(arguments: argparse.Namespace, sets: Iterable[str]) -> None:
    """Every set must be in `--data`, and `--out` must be free unless the run there is to go on.

    Raises:
        InputError: naming the folders that are not there, or the run that would be lost.
    """
    data, out = arguments.data, arguments.out
    if (out / LAST).exists() and not arguments.resume:
        raise InputError(f"--out {out}: holds an earlier run: go on with --resume, or name another folder")
    if missing := [name for name in sets if not (data / name).is_dir()]:
        there = sorted(path.name for path in data.glob("*") if path.is_dir())
        raise InputError(
            f"--data {data}: has no folder {', '.join(missing)}, which the configuration names under sets; --data is the folder "
            f"around the sets, this one has {', '.join(there[:10]) or 'none'}"
        )


def _origins(arguments: argparse.Namespace, processes: Processes) -> list[Path]:
    """The files that a run begins from: its first weights, its last checkpoint."""
    found = [arguments.init] if arguments.init else []
    return found + ([arguments.out / LAST] if arguments.resume and processes.is_first else [])


def _add_sources(data: Sequence[DataSource], files: Sequence[Path]) -> tuple[DataSource, ...]:
    """What first weights learnt from is in this network too, with its licence: it goes on under `data`, once each name."""
    sources = {source.name: source for path in files for source in read_sources(path)}
    named = {source.name for source in data}
    added = tuple(source for name, source in sources.items() if name not in named)
    if added:
        log.info("data of the first weights goes on: %s", ", ".join(source.name for source in added))
    return (*data, *added)
