"""Train the face encoder: `python -m tools.train_encoder --config configs/train/face_encoder.yaml --data DATA --out DIR`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import nn
from torch.utils.data import DataLoader

from edged.errors import InputError
from edged.models.manifest import DataSource
from edged.types import Pixels
from edged.vision.alignment import TEMPLATES, Template
from tools.augmentation.settings import AugmentationSettings
from tools.crop_data import CropBatch, LabelPlan, TrainingCrops, collate_crops, stack_pictures
from tools.crops import Crops, join_crops
from tools.datasets.opening import load_set
from tools.face_crops import crop_faces
from tools.metric_loss import AngularSettings, TripletSettings, angular_loss, triplet_loss
from tools.nets.discriminants import find_discriminants
from tools.nets.embedding import Answers, Dimension, Embedding, EmbeddingClassifier, EmbeddingSettings, Pooling, Rows
from tools.processes import Processes
from tools.roc import make_roc
from tools.settings_file import read_settings
from tools.training import Part, ScheduleSettings, StepLoss, Trainer
from tools.training_data import remaining_batches
from tools.training_run import freeze, make_parser, open_journal, parameter_groups, prepare, run_command, run_epochs
from tools.verification import all_cosines, all_pairs
from tools.weights import initialise_encoder

log = logging.getLogger("tools.train_encoder")

ROOM_SHARE = 0.125
"""So much of its side is kept around a crop on each side, so that one that is turned or moved shows no grey corners."""


class EncoderSettings(BaseModel):
    """The training configuration. The parts are described where they are used.

    Attributes:
        task: what the checkpoint is of.
        seed: of the order, the changes and the fresh weights.
        template: where the points of a face lie in a crop, by name (`edged/vision/alignment.py`); its side is the input's.
        rows, width, dimension, pooling, dropout, mirrored: of the network.
        sets: folders of pictures labelled by identity; whoever has the same name in two of them is one person.
        held_out: share of the training identities that is kept back to choose settings by; 0 in the training that counts.
        labels_per_batch, crops_per_label, most_groups, least_crops: of `LabelPlan`, the first two also called P and K.
        backbone_rate: the backbone's share of the learning rate.
        directions_rate: the same of the identities' directions, which are pushed at every step and pulled at few.
        frozen_rows: so many rows of MobileNetV2 after the stem keep the weights that they begin with.
        history: earlier stages, told in words; goes into the manifest.
        data: where the pictures come from and what their licences allow; goes into the manifest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["face_encoder"] = "face_encoder"
    seed: int = 1
    template: str = "mean96"
    rows: Rows = 5
    width: float = 1.0
    dimension: Dimension = 128
    pooling: Pooling = "none"
    dropout: float = 0.0
    mirrored: bool = False
    sets: Annotated[tuple[str, ...], Field(min_length=1)]
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    labels_per_batch: Annotated[int, Field(ge=2)] = 16
    crops_per_label: Annotated[int, Field(ge=2)] = 4
    most_groups: Annotated[int, Field(ge=1)] = 8
    least_crops: Annotated[int, Field(ge=1)] = 2
    backbone_rate: float = 0.5
    directions_rate: float = 0.3
    frozen_rows: Annotated[int, Field(ge=0, le=7)] = 0
    schedule: ScheduleSettings = ScheduleSettings()
    augmentation: AugmentationSettings = AugmentationSettings(mosaic=0.0, scale=(0.95, 1.05), stretch=1.05, off_centre=0.0)
    angular: AngularSettings = AngularSettings()
    triplet: TripletSettings = TripletSettings()
    history: tuple[str, ...] = ()
    data: tuple[DataSource, ...] = ()

    @field_validator("template")
    @classmethod
    def _is_known(cls, template: str) -> str:
        if template not in TEMPLATES:
            raise ValueError(f"no such template; known: {', '.join(TEMPLATES)}")
        return template

    @field_validator("augmentation")
    @classmethod
    def _changes_one_face(cls, augmentation: AugmentationSettings) -> AugmentationSettings:
        if augmentation.mosaic or augmentation.plain:
            raise ValueError("mosaic and plain must be 0: a crop shows one face, and is cut out of the room around it by `scale`")
        return augmentation

    def network(self) -> EmbeddingSettings:
        """What the network is built from."""
        return EmbeddingSettings(
            input_px=TEMPLATES[self.template].side_px,
            rows=self.rows,
            width=self.width,
            dimension=self.dimension,
            pooling=self.pooling,
            dropout=self.dropout,
            mirrored=self.mirrored,
        )


def load_settings(path: Path) -> EncoderSettings:
    """Read a training configuration.

    Raises:
        InputError: with every mistake in it.
    """
    return read_settings(EncoderSettings, path)


def main(argv: list[str] | None = None) -> int:
    """Train, resume or fine-tune; write `last.pt` all along and a line of `epochs.jsonl` after every epoch.

    Under `torchrun` all processes train one network: `torchrun --nproc-per-node 2 -m tools.train_encoder …`.
    """
    parser = make_parser(
        "python -m tools.train_encoder", main.__doc__, config="configs/train/face_encoder.yaml", figures="shares of errors"
    )
    parser.add_argument("--init", type=Path, help="ImageNet npz, a checkpoint, or an engine's model.onnx")
    return run_command(parser.parse_args(argv), load_settings, train)


def train(arguments: argparse.Namespace, settings: EncoderSettings, processes: Processes) -> None:
    """Everything in order: faces, network, epochs."""
    if settings.labels_per_batch % processes.count:
        raise InputError(f"labels_per_batch: {settings.labels_per_batch} cannot be shared equally by {processes.count} processes")
    settings = prepare(arguments, settings, processes)
    template = TEMPLATES[settings.template]
    room_px = round(ROOM_SHARE * template.side_px)
    crops, kept_back = hold_out(load_faces(arguments.data, settings, template.with_room(room_px), split="train"), settings)
    network = EmbeddingClassifier(settings.network(), labels=len(crops.classes))
    if arguments.init:
        initialise_encoder(network.encoder, arguments.init)
    network = network.to(processes.device, memory_format=torch.channels_last)
    if not arguments.resume:
        knows_faces = bool(arguments.init) and arguments.init.suffix != ".npz"
        _begin(network, crops, room_px, knows_faces=knows_faces)
    freeze(network.encoder.backbone, rows=settings.frozen_rows)
    pictures = TrainingCrops(crops, settings=_with_room(settings.augmentation, template, room_px), seed=settings.seed)
    plan = LabelPlan(
        crops.labels,
        labels_per_batch=settings.labels_per_batch,
        crops_per_label=settings.crops_per_label,
        size=template.side_px,
        seed=settings.seed,
        most_groups=settings.most_groups,
        least_crops=settings.least_crops,
        share=(processes.rank, processes.count),
    )
    if not len(plan):
        raise InputError(
            f"labels_per_batch: fewer than {settings.labels_per_batch} identities have {settings.least_crops} pictures, not one "
            "step: lower it, or add sets"
        )
    trainer = Trainer(
        network,
        _groups(network, settings),
        settings.schedule,
        steps_per_epoch=len(plan),
        seed=settings.seed,
        processes=processes,
    )
    measures = arguments.evaluate_every and processes.is_first
    validation = _validation(arguments.data, settings, kept_back, room_px) if measures else None
    journal = open_journal(arguments, trainer, settings, lambda: measure(trainer, validation))

    def make_batches() -> DataLoader:
        return remaining_batches(pictures, plan, trainer, workers=arguments.workers, collate=collate_crops)

    run_epochs(trainer, journal, make_batches, _step_loss(trainer, settings), schedule=settings.schedule)


def load_faces(data: Path, settings: EncoderSettings, template: Template, *, split: str) -> Crops:
    """The aligned faces of all sets.

    Raises:
        InputError: a set cannot be read, or its pictures have no labels.
    """
    parts = []
    for name in settings.sets:
        pictures = load_set(data / name, split=split, allows_empty=split == "val")
        if unlabelled := [picture.name for picture in pictures.pictures if not picture.label]:
            raise InputError(f"{data / name}: {unlabelled[0]} has no identity; expected a column identity in labels.csv")
        found = crop_faces(pictures, template)
        log.info(
            "%s, %s: %d faces of %d identities, %d of them from about the middle of their pictures",
            *(name, split, len(found.crops), len(found.crops.classes), found.central.sum()),
        )
        parts.append(found.crops)
    return join_crops(parts)


def hold_out(crops: Crops, settings: EncoderSettings) -> tuple[Crops, Crops]:
    """The crops to learn from, and those of the identities that are kept back, which are the same for the same seed."""
    order = np.random.default_rng(settings.seed).permutation(len(crops.classes))
    is_kept_back = np.isin(crops.labels, order[: round(settings.held_out * len(order))])
    return _renumber(crops.take(np.flatnonzero(~is_kept_back))), _renumber(crops.take(np.flatnonzero(is_kept_back)))


def _renumber(crops: Crops) -> Crops:
    """The same crops with the classes that they show only."""
    shown, labels = np.unique(crops.labels, return_inverse=True)
    return Crops(crops.pixels, labels.astype(np.int64), tuple(crops.classes[label] for label in shown), crops.names)


def _groups(network: EmbeddingClassifier, settings: EncoderSettings) -> list[dict[str, Any]]:
    decay = settings.schedule.weight_decay
    groups = parameter_groups(network.encoder, backbone_rate=settings.backbone_rate, weight_decay=decay)
    return [*groups, {"params": [network.directions], "rate": settings.directions_rate, "weight_decay": 0.0}]


def _with_room(augmentation: AugmentationSettings, template: Template, room_px: int) -> AugmentationSettings:
    """Sizes are told against the crop; what is changed is the crop with its room."""
    factor = (template.side_px + 2 * room_px) / template.side_px
    return replace(augmentation, scale=(augmentation.scale[0] * factor, augmentation.scale[1] * factor))


def _without_room(pixels: Sequence[Pixels], room_px: int) -> list[Pixels]:
    """Crops as the daemon cuts them, (side, side, 3) each."""
    return [one[room_px : len(one) - room_px, room_px : len(one) - room_px] for one in pixels]


def _discriminate(encoder: Embedding, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Begin with what tells the faces apart and their mirror images, as far as there are enough of them."""
    if 2 * len(images) <= encoder.settings.dimension:
        log.warning("only %d crops: the last layer begins at random", len(images))
        return
    device = encoder.project.bias.device
    parts = [one for part in images.split(64) for one in (part, part.flip(3))]
    features = torch.cat([encoder.features(part.to(device)).flatten(1).cpu() for part in parts])
    doubled = torch.cat([one for part in labels.split(64) for one in (part, part)])
    encoder.discriminate(find_discriminants(features, doubled, dimension=encoder.settings.dimension))


@torch.no_grad()
def _begin(network: EmbeddingClassifier, crops: Crops, room_px: int, *, knows_faces: bool) -> None:
    """Set what no first weights tell: the last layer, unless they are an encoder's, and the direction of each identity."""
    device, images = network.directions.device, stack_pictures(_without_room(crops.pixels, room_px))
    network.eval()
    if not knows_faces:
        _discriminate(network.encoder, images, torch.from_numpy(crops.labels))
    embeddings = torch.cat([network.encoder(part.to(device)) for part in images.split(64)])
    network.point(embeddings, torch.from_numpy(crops.labels).to(device))


def _step_loss(trainer: Trainer, settings: EncoderSettings) -> StepLoss:
    def step_loss(shared: nn.Module, batch: CropBatch) -> dict[str, Part]:
        batch = batch.to(trainer.processes.device)
        answers: Answers = shared(batch.images)
        epochs = trainer.epoch + trainer.batch / trainer.steps_per_epoch
        rise = min(1.0, epochs / settings.angular.rise_epochs) if settings.angular.rise_epochs else 1.0
        parts = {}
        with torch.autocast(batch.images.device.type, enabled=False):
            if settings.angular.weight:
                parts["angular"] = angular_loss(answers.cosines.float(), batch.labels, settings.angular, margin_share=rise)
            if settings.triplet.weight and trainer.epoch + 1 >= settings.triplet.start_epoch:
                parts["triplet"] = triplet_loss(answers.embeddings, batch.labels, settings.triplet)
        return parts

    return step_loss


def _validation(data: Path, settings: EncoderSettings, kept_back: Crops, room_px: int) -> tuple[str, Crops]:
    """What is measured while it trains: the identities that were kept back, else those of the val split."""
    if len(kept_back):
        return "held_out", replace(kept_back, pixels=_without_room(kept_back.pixels, room_px))
    return "val", load_faces(data, settings, TEMPLATES[settings.template], split="val")


@torch.inference_mode()
def measure(trainer: Trainer, validation: tuple[str, Crops]) -> dict[str, dict[str, float]]:
    """Errors over all pairs of pictures by the averaged weights: what share of one person's are accepted while few others are."""
    name, crops = validation
    trainer.averaged.eval()
    images = stack_pictures(crops.pixels)
    embeddings = torch.cat([trainer.averaged.encoder(part.to(trainer.processes.device)) for part in images.split(64)])
    pairs = all_pairs(crops.labels)
    embeddings = embeddings.cpu().numpy()
    scores = all_cosines(embeddings, pairs)
    roc = make_roc(scores[pairs.same], scores[~pairs.same])
    figures = {"equal_error": roc.equal_error}
    figures |= {f"tar_at_{share:g}": roc.accepted_at(most_false_accepts=share) for share in (1e-2, 1e-3)}
    return {name: {kind: round(float(value), 4) for kind, value in figures.items()}}


if __name__ == "__main__":
    raise SystemExit(main())
