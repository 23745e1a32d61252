"""Train the segmenter: `python -m tools.train_segmenter --config configs/train/scene_segmenter.yaml --data DATA --out DIR`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from torch.utils.data import DataLoader

from edged.errors import InputError
from edged.models.manifest import DataSource
from edged.types import Pixels
from edged.vision.confusion import confusion
from edged.vision.label_maps import resized
from edged.vision.letterbox import letterbox
from tools.augmentation.settings import AugmentationSettings
from tools.datasets.choosing import choose_classes
from tools.datasets.opening import load_set
from tools.datasets.pictures import Part as Labelled
from tools.datasets.pictures import PictureSet
from tools.drawn import DRAWN, draw_masks
from tools.mask_data import MaskBatch, TrainingMasks, collate_masks
from tools.nets.convolution import convolutions, standardise
from tools.nets.unet import UNet, UNetSettings
from tools.nets.yolo import Design
from tools.processes import Processes
from tools.segmentation_figures import measure_confusion
from tools.segmentation_loss import SegmentationLossSettings, class_weights, segmentation_loss
from tools.settings_file import read_settings
from tools.training import Part, ScheduleSettings, StepLoss, Trainer
from tools.training_data import EpochPlan, Key, remaining_batches
from tools.training_run import freeze, make_parser, open_journal, parameter_groups, prepare, run_command, run_epochs
from tools.weights import initialise_on_backbone

log = logging.getLogger("tools.train_segmenter")

_FIRST_PICTURES = 8
"""So many pictures tell how large features are before the first step."""

Side = Annotated[int, Field(ge=32, multiple_of=32)]


class SegmenterSettings(BaseModel):
    """The training configuration. The parts are described where they are used.

    Attributes:
        task: what the checkpoint is of.
        seed: of the order, the changes and the fresh weights.
        input_px: width and height of the exported network's input; multiples of 32.
        widths_px: widths of pictures that training draws from, batch by batch; heights follow in the input's ratio.
        closing_epochs: so many last epochs run at `input_px` only.
        batch: pictures of a step, of all processes together.
        classes: what is told apart, by name; pixels of other classes count neither way.
        sets: how often each set's pictures are shown in an epoch, by folder.
        drawn: so many pictures of the drawn street beside them; it knows the classes of `edged/street/surfaces.py`.
        drawn_augmentation: how these are changed: little, they always come from the same kind of camera.
        design, width, decoder, dropout: of the network.
        backbone_rate: the backbone's share of the learning rate.
        frozen_rows: so many rows of the backbone, and its stem, are not trained.
        history: earlier stages, told in words; goes into the manifest.
        data: where the pictures come from and what their licences allow; goes into the manifest. What an engine or checkpoint
            of `--init` names there is added by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["segmenter"] = "segmenter"
    seed: int = 1
    input_px: tuple[Side, Side] = (320, 192)
    widths_px: Annotated[tuple[Side, ...], Field(min_length=1)] = (320,)
    closing_epochs: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1)] = 8
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=255)]
    sets: dict[str, float]
    drawn: Annotated[int, Field(ge=0)] = 0
    design: Design = "pan"
    width: float = 1.0
    decoder: tuple[int, int, int, int] = (96, 64, 48, 32)
    dropout: float = 0.0
    backbone_rate: float = 0.3
    frozen_rows: Annotated[int, Field(ge=0, le=7)] = 0
    schedule: ScheduleSettings = ScheduleSettings()
    augmentation: AugmentationSettings = AugmentationSettings(mosaic=0.0, scale=(0.75, 2.0))
    drawn_augmentation: AugmentationSettings = AugmentationSettings(mosaic=0.0, light=0.5, scale=(0.9, 1.5), stretch=1.05)
    loss: SegmentationLossSettings = SegmentationLossSettings()
    history: tuple[str, ...] = ()
    data: tuple[DataSource, ...] = ()

    @model_validator(mode="after")
    def _can_be_built(self) -> SegmenterSettings:
        self.network()
        return self

    def network(self) -> UNetSettings:
        """What the network is built from."""
        return UNetSettings(
            classes=self.classes, design=self.design, width=self.width, decoder=self.decoder, dropout=self.dropout
        )


def load_settings(path: Path) -> SegmenterSettings:
    """Read a training configuration.

    Raises:
        InputError: with every mistake in it.
    """
    return read_settings(SegmenterSettings, path)


def main(argv: list[str] | None = None) -> int:
    """Train, resume or fine-tune; write `last.pt` all along and a line of `epochs.jsonl` after every epoch.

    Under `torchrun` all processes train one network: `torchrun --nproc-per-node 2 -m tools.train_segmenter …`.
    """
    parser = make_parser(
        "python -m tools.train_segmenter", main.__doc__, config="configs/train/scene_segmenter.yaml", figures="IoU"
    )
    parser.add_argument("--init", type=Path, help="a detector's or a segmenter's model.onnx, a checkpoint, or ImageNet's npz")
    return run_command(parser.parse_args(argv), load_settings, train)


def train(arguments: argparse.Namespace, settings: SegmenterSettings, processes: Processes) -> None:
    """Everything in order: network, pictures, epochs."""
    if settings.batch % processes.count:
        raise InputError(f"batch: {settings.batch} pictures cannot be shared equally by {processes.count} processes")
    settings = prepare(arguments, settings, processes)
    sets = load_sets(arguments.data, settings, split="train")
    width, height = settings.input_px
    changes = [settings.drawn_augmentation if one.name == DRAWN else settings.augmentation for one in sets]
    pictures = TrainingMasks(sets, settings=changes, ratio=height / width, seed=settings.seed)
    network = _begin(settings, pictures, init=arguments.init)
    network = network.to(processes.device, memory_format=torch.channels_last)
    freeze(network.backbone, rows=settings.frozen_rows)
    plan = _plan(sets, settings, processes)
    trainer = Trainer(
        network,
        parameter_groups(network, backbone_rate=settings.backbone_rate, weight_decay=settings.schedule.weight_decay),
        settings.schedule,
        steps_per_epoch=len(plan),
        seed=settings.seed,
        processes=processes,
    )
    measures = arguments.evaluate_every and processes.is_first
    validation = load_sets(arguments.data, settings, split="val") if measures else []
    journal = open_journal(arguments, trainer, settings, lambda: measure(trainer, validation, settings))
    weights = class_weights(pictures.masks, n_classes=len(settings.classes), balance=settings.loss.balance)
    told = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(settings.classes, weights, strict=True))
    log.info("a pixel of each class counts: %s", told)
    loss = _step_loss(processes.device, torch.from_numpy(weights), settings)

    def make_batches() -> DataLoader:
        is_closing = trainer.epoch >= settings.schedule.epochs - settings.closing_epochs
        plan.sizes = (width,) if is_closing else settings.widths_px
        return remaining_batches(pictures, plan, trainer, workers=arguments.workers, collate=collate_masks)

    run_epochs(trainer, journal, make_batches, loss, schedule=settings.schedule)


def _begin(settings: SegmenterSettings, pictures: TrainingMasks, *, init: Path | None) -> UNet:
    """The network before its first step; what `init` does not know is fitted to a few pictures as the training shows them."""
    network = UNet(settings.network())
    fresh = initialise_on_backbone(network, init) if init else list(convolutions(network))
    keys = [Key(0, place, place * len(pictures) // _FIRST_PICTURES, settings.input_px[0]) for place in range(_FIRST_PICTURES)]
    standardise(network, collate_masks([pictures[key] for key in keys]).images, fresh)
    return network


def load_sets(data: Path, settings: SegmenterSettings, *, split: Literal["train", "val"]) -> list[PictureSet]:
    """The sets with the classes that are wanted; without those that have nothing in `val`.

    Raises:
        InputError: a set cannot be read, has no masks, or none of them has a class that is wanted.
    """
    is_measured = split == "val"
    sets = []
    for name in settings.sets:
        found = load_set(data / name, split=split, allows_empty=is_measured)
        if found.part is not Labelled.MASK:
            raise InputError(f"{data / name}: has no masks: expected split.csv with image, mask and split, and classes.txt")
        sets.append(choose_classes(found, settings.classes))
    if settings.drawn:
        drawn = draw_masks(settings.drawn if split == "train" else settings.drawn // 8, split=split)
        sets.append(choose_classes(drawn, settings.classes))
    known = np.any([one.labelled for one in sets], axis=0)
    if unknown := [name for name, is_known in zip(settings.classes, known, strict=True) if not is_known]:
        raise InputError(f"classes: no set labels {unknown[0]}: correct the name, or take it out")
    return [one for one in sets if one.pictures] if is_measured else sets


def _plan(sets: Sequence[PictureSet], settings: SegmenterSettings, processes: Processes) -> EpochPlan:
    plan = EpochPlan(
        counts=[len(one.pictures) for one in sets],
        weights=[*settings.sets.values(), 1.0][: len(sets)],
        sizes=settings.widths_px,
        batch=settings.batch,
        seed=settings.seed,
        share=(processes.rank, processes.count),
    )
    if not len(plan):
        raise InputError(f"batch: an epoch shows fewer than {settings.batch} pictures, not one step: lower it, or raise sets")
    return plan


def _step_loss(device: torch.device, weights: torch.Tensor, settings: SegmenterSettings) -> StepLoss:
    weights = weights.to(device)

    def step_loss(shared: nn.Module, batch: MaskBatch) -> dict[str, Part]:
        batch = batch.to(device)
        logits = shared(batch.images)
        with torch.autocast(device.type, enabled=False):
            return segmentation_loss(logits.float(), batch.masks, weights=weights, settings=settings.loss)

    return step_loss


@torch.inference_mode()
def measure(trainer: Trainer, sets: Sequence[PictureSet], settings: SegmenterSettings) -> dict[str, dict[str, float]]:
    """Mean IoU, IoU of each class and pixel accuracy of every set, by the averaged weights, at the pictures' own sizes."""
    trainer.averaged.eval()
    n_classes = len(settings.classes)
    found = {}
    for one in sets:
        counted = np.zeros((n_classes, n_classes), np.int64)
        for picture in one.pictures:
            labels = _label(trainer, picture.pixels_rgb(), settings)
            counted += confusion(labels, picture.mask.indexes(), n_classes)
        figures = measure_confusion(counted, settings.classes)
        ious = {name: round(iou, 4) for name, iou in figures.iou.items() if iou is not None}
        found[one.name] = {"miou": round(figures.mean_iou, 4), "pixels": round(figures.pixel_accuracy, 4), **ious}
    return found


def _label(trainer: Trainer, pixels_rgb: Pixels, settings: SegmenterSettings) -> NDArray[np.uint8]:
    """(H, W) class ids at the picture's own size, as the daemon's segmenter gives them."""
    input_width, input_height = settings.input_px
    fitted, transform = letterbox(pixels_rgb, width=input_width, height=input_height)
    device, precision = trainer.processes.device, trainer.precision
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        logits = trainer.averaged(torch.from_numpy(fitted.transpose(2, 0, 1).copy())[None].to(device))
    labels = logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()[transform.rows, transform.columns]
    height, width = pixels_rgb.shape[:2]
    return resized(labels, width=width, height=height)


if __name__ == "__main__":
    raise SystemExit(main())
