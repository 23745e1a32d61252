"""Train the liveness network: `python -m tools.train_liveness --config configs/train/liveness.yaml --data DATA --out DIR`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from edged.errors import InputError
from edged.models.manifest import LIVE, DataSource
from edged.vision.crops import cut_square
from tools.augmentation.settings import AugmentationSettings
from tools.crop_data import CropBatch, Crops, TrainingCrops, collate_crops, stack_pictures
from tools.liveness_data import LABELS, Presentation, kinds_of, load_split, split_training
from tools.liveness_figures import KINDS, SPOOF, measure_liveness
from tools.nets.classifier import Classifier, ClassifierSettings
from tools.nets.yolo import Design
from tools.processes import Processes
from tools.settings_file import read_settings
from tools.training import Part, ScheduleSettings, StepLoss, Trainer
from tools.training_data import EpochPlan, remaining_batches
from tools.training_run import freeze, make_parser, open_journal, parameter_groups, prepare, run_command, run_epochs
from tools.weights import initialise_on_backbone

log = logging.getLogger("tools.train_liveness")


class LivenessSettings(BaseModel):
    """The training configuration. The parts are described where they are used.

    Attributes:
        task: what the checkpoint is of.
        seed: of the order, the changes and the fresh weights.
        input_px: side of the square input; a multiple of 32.
        margin: side of the square that is shown, as a multiple of the face box's longer side. Where the pictures are faces cut
            out tightly it must be small enough that the square lies within the face, as the daemon's has more around it.
        batch: faces of a step, of all processes together.
        classes: `live`, and the attacks to be told apart; what is none of them is a `spoof`.
        sets: folders of faces, labelled `live` or with the attack.
        recordings: the column that tells where a picture comes from. Each class is shown as often as any other, and so is each
            recording within a class; empty: there is no such column.
        kinds: what kind of attack a label stands for in these sets, where it does not tell.
        kept_back: share of each recording, its last part, that is not learnt from: `tools.calibrate` chooses the threshold on it.
        left_out: recordings that are not learnt from at all, to see what becomes of people or devices that were never seen.
        design, width, rows, residual, dropout: of the network.
        backbone_rate: the backbone's share of the learning rate.
        frozen_rows: so many rows of the backbone, and its stem, are not trained.
        label_smoothing: share of certainty that is not asked for.
        history: earlier stages, told in words; goes into the manifest.
        data: where the pictures come from and what their licences allow; goes into the manifest. What an engine or checkpoint
            of `--init` names there is added by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["liveness"] = "liveness"
    seed: int = 1
    input_px: Annotated[int, Field(ge=32, multiple_of=32)] = 96
    margin: Annotated[float, Field(ge=0.5, le=4)] = 0.6
    batch: Annotated[int, Field(ge=2)] = 32
    classes: Annotated[tuple[str, ...], Field(min_length=2)] = (LIVE, SPOOF)
    sets: Annotated[tuple[str, ...], Field(min_length=1)]
    recordings: str = ""
    kinds: dict[str, str] = {}
    kept_back: Annotated[float, Field(ge=0, lt=1)] = 0.2
    left_out: tuple[str, ...] = ()
    design: Design = "spp"
    width: float = 0.5
    rows: int | None = None
    residual: bool = False
    dropout: float = 0.2
    backbone_rate: float = 0.5
    frozen_rows: Annotated[int, Field(ge=0, le=7)] = 0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    schedule: ScheduleSettings = ScheduleSettings()
    augmentation: AugmentationSettings = AugmentationSettings(mosaic=0.0, scale=(1.0, 1.3))
    history: tuple[str, ...] = ()
    data: tuple[DataSource, ...] = ()

    @field_validator("classes")
    @classmethod
    def _include_live(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if LIVE not in classes or set(classes) - set(LABELS) or len(set(classes)) < len(classes):
            raise ValueError(f"expected {LIVE} and one or more of {', '.join(LABELS[1:])}, each once")
        return classes

    @field_validator("kinds")
    @classmethod
    def _are_attacks(cls, kinds: dict[str, str]) -> dict[str, str]:
        if set(kinds) - set(LABELS[1:]) or set(kinds.values()) - set(KINDS):
            raise ValueError(f"expected labels of attacks, each with one of {', '.join(KINDS)}")
        return kinds

    @model_validator(mode="after")
    def _can_be_built(self) -> LivenessSettings:
        self.network()
        return self

    def network(self) -> ClassifierSettings:
        """What the network is built from."""
        return ClassifierSettings(
            classes=self.classes,
            design=self.design,
            width=self.width,
            rows=self.rows,
            residual=self.residual,
            dropout=self.dropout,
        )


def load_settings(path: Path) -> LivenessSettings:
    """Read a training configuration.

    Raises:
        InputError: with every mistake in it.
    """
    return read_settings(LivenessSettings, path)


def main(argv: list[str] | None = None) -> int:
    """Train, resume or fine-tune; write `last.pt` all along and a line of `epochs.jsonl` after every epoch.

    Under `torchrun` all processes train one network: `torchrun --nproc-per-node 2 -m tools.train_liveness …`.
    """
    parser = make_parser(
        "python -m tools.train_liveness", main.__doc__, config="configs/train/liveness.yaml", figures="shares of errors"
    )
    parser.add_argument("--init", type=Path, help="a detector's or a liveness engine's model.onnx, a checkpoint, ImageNet's npz")
    return run_command(parser.parse_args(argv), load_settings, train)


def train(arguments: argparse.Namespace, settings: LivenessSettings, processes: Processes) -> None:
    """Everything in order: network, faces, epochs."""
    if settings.batch % processes.count:
        raise InputError(f"batch: {settings.batch} faces cannot be shared equally by {processes.count} processes")
    settings = prepare(arguments, settings, processes)
    network = Classifier(settings.network())
    if arguments.init:
        initialise_on_backbone(network, arguments.init)
    network = network.to(processes.device, memory_format=torch.channels_last)
    freeze(network.backbone, rows=settings.frozen_rows)
    learnt, others = load_training(arguments.data, settings)
    crops = cut_faces(learnt, classes=settings.classes, margin=settings.margin)
    pictures = TrainingCrops(crops, settings=settings.augmentation, seed=settings.seed)
    plan = make_plan(crops, learnt, settings, share=(processes.rank, processes.count))
    trainer = Trainer(
        network,
        parameter_groups(network, backbone_rate=settings.backbone_rate, weight_decay=settings.schedule.weight_decay),
        settings.schedule,
        steps_per_epoch=len(plan),
        seed=settings.seed,
        processes=processes,
    )
    measures = arguments.evaluate_every and processes.is_first
    validation = {}
    if measures:
        unseen = load_split(arguments.data, settings.sets, split="val", recordings=settings.recordings)
        validation = {**others, "val": unseen}
    journal = open_journal(arguments, trainer, settings, lambda: measure(trainer, validation, settings))

    def make_batches() -> DataLoader:
        return remaining_batches(pictures, plan, trainer, workers=arguments.workers, collate=collate_crops)

    run_epochs(trainer, journal, make_batches, _step_loss(processes.device, settings), schedule=settings.schedule)


def load_training(data: Path, settings: LivenessSettings) -> tuple[list[Presentation], dict[str, list[Presentation]]]:
    """The faces to learn from, one recording and label after another; and by name those that are kept back and left out.

    Raises:
        InputError: a set cannot be read, or has no recording of a name that is to be left out.
    """
    found = load_split(data, settings.sets, split="train", recordings=settings.recordings)
    recordings = {one.recording for one in found}
    if strange := [name for name in settings.left_out if name not in recordings]:
        raise InputError(f"left_out: no recording {strange[0]}; there are {', '.join(sorted(recordings - {''})) or 'none'}")
    learnt, kept, left_out = split_training(found, left_out=settings.left_out, kept_back=settings.kept_back)
    return learnt, {"kept_back": kept, "left_out": left_out}


def cut_faces(
    presentations: Sequence[Presentation], *, classes: Sequence[str], margin: float, side_px: int | None = None
) -> Crops:
    """The squares that a network is shown, with their labels.

    Args:
        classes: of the network, `live` among them; every attack that is none of them is a `spoof`.
        margin: see `cut_square`.
        side_px: of the squares; None: as many pixels as the picture has there.

    Raises:
        InputError: a picture cannot be decoded, or is of an attack that the network has no class for.
    """
    squares, labels = [], []
    for one in presentations:
        pixels_rgb, box = one.face()
        longer_px = float(max(box[2] - box[0], box[3] - box[1]))
        squares.append(cut_square(pixels_rgb, box, margin=margin, side_px=side_px or max(1, round(margin * longer_px))))
        labels.append(_class_of(one, classes))
    return Crops(squares, np.array(labels, np.int64), tuple(classes), tuple(one.picture.name for one in presentations))


def _class_of(one: Presentation, classes: Sequence[str]) -> int:
    if one.label in classes:
        return list(classes).index(one.label)
    if one.label != LIVE and SPOOF in classes:
        return list(classes).index(SPOOF)
    raise InputError(f"{one.picture.name}: is {one.label}, and the classes are {', '.join(classes)}: add it, or {SPOOF}")


def make_plan(crops: Crops, learnt: Sequence[Presentation], settings: LivenessSettings, *, share: tuple[int, int]) -> EpochPlan:
    """As many faces as there are in an epoch: each class equally often, and within a class each recording.

    Args:
        learnt: one recording and label after another; `crops` are theirs.

    Raises:
        InputError: a class has no face, or there are fewer faces than a batch.
    """
    labels = crops.labels.tolist()
    if unseen := [name for number, name in enumerate(crops.classes) if number not in labels]:
        raise InputError(
            f"classes: there is no face of {unseen[0]} to learn from in the train split of {', '.join(settings.sets)}"
        )
    if len(crops) < settings.batch:
        raise InputError(f"batch: an epoch shows {len(crops)} faces, not one step of {settings.batch}: lower it, or add sets")
    parts = [list(part) for _, part in groupby(zip(learnt, labels, strict=True), key=lambda each: (each[0].recording, each[1]))]
    label_of = [part[0][1] for part in parts]
    counts = [len(part) for part in parts]
    shown = [len(crops) / len(crops.classes) / label_of.count(label) for label in label_of]
    weights = [wanted / count for wanted, count in zip(shown, counts, strict=True)]
    return EpochPlan(counts, weights, (settings.input_px,), settings.batch, settings.seed, share=share)


def _step_loss(device: torch.device, settings: LivenessSettings) -> StepLoss:
    def step_loss(shared: nn.Module, batch: CropBatch) -> dict[str, Part]:
        batch = batch.to(device)
        logits = shared(batch.images)
        with torch.autocast(device.type, enabled=False):
            loss = F.cross_entropy(logits.float(), batch.labels, reduction="sum", label_smoothing=settings.label_smoothing)
        return {"class": Part(loss, torch.tensor(float(len(batch.labels)), device=device))}

    return step_loss


@torch.inference_mode()
def measure(
    trainer: Trainer, validation: Mapping[str, Sequence[Presentation]], settings: LivenessSettings
) -> dict[str, dict[str, float]]:
    """APCER by kind and BPCER at 0.5, and EER where there are both, by the averaged weights."""
    trainer.averaged.eval()
    found = {}
    for name, presentations in validation.items():
        if presentations:
            crops = cut_faces(presentations, classes=settings.classes, margin=settings.margin, side_px=settings.input_px)
            images = stack_pictures(crops.pixels)
            logits = torch.cat([trainer.averaged(part.to(trainer.processes.device)) for part in images.split(64)])
            scores = torch.softmax(logits, dim=1)[:, settings.classes.index(LIVE)].cpu().numpy()
            figures = measure_liveness(scores, kinds_of(presentations, settings.kinds), threshold=0.5)
            shares = {f"apcer_{kind}": share.value for kind, share in figures.apcer.items()}
            shares |= {"bpcer": figures.bpcer.value} if figures.bpcer else {}
            shares |= {"eer": figures.roc.equal_error, "auc": figures.roc.area} if figures.roc else {}
            found[name] = {kind: round(share, 4) for kind, share in shares.items()}
    return found


if __name__ == "__main__":
    raise SystemExit(main())
