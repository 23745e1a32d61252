"""Train the detector: `python -m tools.train_detector --config configs/train/detector.yaml --data DATA --out DIR`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from torch.utils.data import DataLoader

from edged.errors import InputError
from edged.models.manifest import DataSource
from edged.types import Detections
from edged.vision.letterbox import letterbox
from edged.vision.nms import nms
from tools.augmentation.settings import AugmentationSettings
from tools.datasets import CLASSES, Picture, PictureSet
from tools.datasets.choosing import choose_classes, choose_points, refuse_unseen, without_picture_labels
from tools.datasets.opening import load_set
from tools.detection_loss import LossSettings, detection_loss
from tools.distillation import Teacher, TeacherSettings
from tools.drawn import DRAWN, draw_set
from tools.metrics import Truth, score_class
from tools.nets.yolo import Design, Yolo, YoloSettings
from tools.processes import Processes
from tools.report.points import point_errors
from tools.settings_file import read_settings
from tools.teacher import GapSettings, fill_sets
from tools.training import Part, ScheduleSettings, StepLoss, Trainer
from tools.training_data import Batch, EpochPlan, TrainingPictures, remaining_batches
from tools.training_run import freeze, make_parser, open_journal, parameter_groups, prepare, run_command, run_epochs
from tools.weights import initialise, load_engine

log = logging.getLogger("tools.train_detector")


class TrainSettings(BaseModel):
    """The training configuration. The parts are described where they are used.

    Attributes:
        seed: of the order, the changes and the fresh weights.
        input_px: side of the square input of the exported network.
        sizes_px: sides that training draws from, batch by batch; multiples of 32.
        closing_epochs: so many last epochs run at `input_px` only.
        batch: pictures of a step, of all processes together.
        classes: what is to be found, by name; pictures in which others are labelled can be used, these are passed over.
        points: the points of an object that are to be told beside its box, by name, such as the eyes of a face; a set that does
            not know them teaches none.
        sets: how often each set's pictures are shown in an epoch, by folder.
        drawn: so many pictures of the drawn street beside them.
        drawn_augmentation: how these are changed: little, they always come from the same kind of camera.
        backbone_rate: the backbone's share of the learning rate.
        frozen_rows: so many rows of the backbone, and its stem, are not trained.
        teacher: a larger network whose answers are wanted as well.
        gaps: another network labels in the train split what its sets do not label.
        history: for people: what the first weights had been through before this run; goes into the manifest.
        data: where the pictures come from and what their licences allow; goes into the manifest. What an engine or checkpoint
            of `--init` names there is added by itself, of other first weights it must be told here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 1
    input_px: int = 320
    sizes_px: tuple[int, ...] = (320,)
    closing_epochs: int = 0
    batch: Annotated[int, Field(ge=1)] = 16
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = CLASSES
    points: tuple[str, ...] = ()
    sets: dict[str, float]
    drawn: Annotated[int, Field(ge=0)] = 0
    design: Design = "pan"
    width: float = 1.0
    neck: int = 96
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    backbone_rate: float = 0.3
    frozen_rows: Annotated[int, Field(ge=0, le=7)] = 0
    schedule: ScheduleSettings = ScheduleSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    drawn_augmentation: AugmentationSettings = AugmentationSettings(mosaic=0.1, light=0.5, scale=(0.9, 1.15), stretch=1.05)
    loss: LossSettings = LossSettings()
    teacher: TeacherSettings | None = None
    gaps: GapSettings | None = None
    history: tuple[str, ...] = ()
    data: tuple[DataSource, ...] = ()

    @model_validator(mode="after")
    def _names_its_teacher(self) -> TrainSettings:
        """What the teacher, or who fills the gaps, learnt from is in this network too, with its licence."""
        for key, part in (("teacher", self.teacher), ("gaps", self.gaps)):
            if part and part.engine.name not in {source.name for source in self.data}:
                name = part.engine.name
                raise ValueError(f"{key}: {name} must also stand under data, with the licence that its own data gave it")
        return self

    @model_validator(mode="after")
    def _has_what_its_gaps_name(self) -> TrainSettings:
        if self.gaps:
            try:
                self.gaps.check(sets=tuple(self.sets), classes=self.classes)
            except ValueError as error:
                raise ValueError(f"gaps: {error}") from error
        return self

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, document: Any) -> Any:
        """Checkpoints and files of before 2026-12 say `bfloat16: true`, false or null where `precision` stands now."""
        schedule = document.get("schedule") if isinstance(document, dict) else None
        if isinstance(schedule, dict) and "bfloat16" in schedule:
            precision = {True: "bfloat16", False: "float32"}.get(schedule["bfloat16"], "auto")
            kept = {name: value for name, value in schedule.items() if name != "bfloat16"}
            return {**document, "schedule": {**kept, "precision": precision}}
        return document

    def network(self) -> YoloSettings:
        """What the network is built from."""
        return YoloSettings(
            classes=self.classes,
            anchors=self.anchors,
            design=self.design,
            width=self.width,
            neck=self.neck,
            objectness=self.loss.objectness,
            points=self.points,
        )


def load_settings(path: Path) -> TrainSettings:
    """Read a training configuration.

    Raises:
        InputError: with every mistake in it.
    """
    return read_settings(TrainSettings, path)


def main(argv: list[str] | None = None) -> int:
    """Train, resume or fine-tune; write `last.pt` all along and a line of `epochs.jsonl` after every epoch.

    Under `torchrun` all processes train one network: `torchrun --nproc-per-node 2 -m tools.train_detector …`.
    """
    parser = make_parser("python -m tools.train_detector", main.__doc__, config="configs/train/detector.yaml", figures="AP")
    parser.add_argument("--init", type=Path, help="ImageNet npz, a checkpoint, an engine's model.onnx, or darknet's NET.cfg")
    return run_command(parser.parse_args(argv), load_settings, train)


def train(arguments: argparse.Namespace, settings: TrainSettings, processes: Processes) -> None:
    """Everything in order: network, pictures, epochs."""
    if settings.batch % processes.count:
        raise InputError(f"batch: {settings.batch} pictures cannot be shared equally by {processes.count} processes")
    settings = prepare(arguments, settings, processes)
    network = Yolo(settings.network())
    if arguments.init:
        initialise(network, arguments.init)
    network = network.to(processes.device, memory_format=torch.channels_last)
    freeze(network.backbone, rows=settings.frozen_rows)
    training_sets = _load_sets(arguments.data, settings, split="train")
    changes = [settings.drawn_augmentation if one.name == DRAWN else settings.augmentation for one in training_sets]
    pictures = TrainingPictures(training_sets, settings=changes, seed=settings.seed)
    plan = _plan(training_sets, settings, processes)
    if not len(plan):
        raise InputError(f"batch: an epoch shows fewer than {settings.batch} pictures, not one step: lower it, or raise sets")
    trainer = Trainer(
        network,
        parameter_groups(network, backbone_rate=settings.backbone_rate, weight_decay=settings.schedule.weight_decay),
        settings.schedule,
        steps_per_epoch=len(plan),
        seed=settings.seed,
        processes=processes,
    )
    measures = arguments.evaluate_every and processes.is_first
    validation = _load_sets(arguments.data, settings, split="val") if measures else []
    journal = open_journal(arguments, trainer, settings, lambda: measure(trainer, validation, settings))
    loss = _step_loss(network, settings, _load_teacher(network, settings, processes))

    def make_batches() -> DataLoader:
        plan.sizes = _sizes(trainer.epoch, settings)
        return remaining_batches(pictures, plan, trainer, workers=arguments.workers)

    run_epochs(trainer, journal, make_batches, loss, schedule=settings.schedule)


def _sizes(epoch: int, settings: TrainSettings) -> tuple[int, ...]:
    """The sides that an epoch draws from: in the last ones only the exported network's."""
    is_closing = epoch >= settings.schedule.epochs - settings.closing_epochs
    return (settings.input_px,) if is_closing else settings.sizes_px


def _load_sets(data: Path, settings: TrainSettings, *, split: str) -> list[PictureSet]:
    is_measured = split == "val"  # a set for training may have no val: then nothing of it is
    sets = [_load_set(data / name, settings, split=split, allows_empty=is_measured) for name in settings.sets]
    if is_measured:
        sets = [one for one in sets if one.pictures and one.labelled.any()]
    elif settings.gaps:
        sets = fill_sets(dict(zip(settings.sets, sets, strict=True)), settings.gaps, threads=torch.get_num_threads())
    if settings.drawn:
        drawn = draw_set(settings.drawn if split == "train" else settings.drawn // 8, split=split)
        sets.append(choose_classes(drawn, settings.classes))
    sets = [choose_points(one, settings.points) for one in sets]
    if split == "train" and "classes" in settings.model_fields_set:  # asked for by name: one that is not there is a mistake
        refuse_unseen(sets)
    return sets


def _load_set(folder: Path, settings: TrainSettings, *, split: str, allows_empty: bool) -> PictureSet:
    found = load_set(folder, split=split, allows_empty=allows_empty)
    return choose_classes(without_picture_labels(found), settings.classes)


def _plan(sets: list[PictureSet], settings: TrainSettings, processes: Processes) -> EpochPlan:
    return EpochPlan(
        counts=[len(one.pictures) for one in sets],
        weights=[*settings.sets.values(), 1.0][: len(sets)],
        sizes=settings.sizes_px,
        batch=settings.batch,
        seed=settings.seed,
        share=(processes.rank, processes.count),
    )


def _load_teacher(pupil: Yolo, settings: TrainSettings, processes: Processes) -> Teacher | None:
    if settings.teacher is None:
        return None
    network = load_engine(settings.teacher.engine).to(processes.device, memory_format=torch.channels_last)
    return Teacher(network, pupil, settings.teacher)


def _step_loss(network: Yolo, settings: TrainSettings, teacher: Teacher | None) -> StepLoss:
    places = {}

    def step_loss(shared: nn.Module, batch: Batch) -> dict[str, Part]:
        size = batch.images.shape[-1]
        if size not in places:
            places[size] = network.places(size, size)
        batch = batch.to(places[size].centres.device)
        predictions = shared(batch.images)
        answers = teacher.ask(batch.images) if teacher else None
        with torch.autocast(batch.images.device.type, enabled=False):
            parts = detection_loss(predictions, places[size], batch.targets, settings.loss)
            return parts | teacher.parts(answers, predictions) if teacher else parts

    return step_loss


@torch.inference_mode()
def measure(trainer: Trainer, sets: list[PictureSet], settings: TrainSettings) -> dict[str, dict[str, float]]:
    """AP50 of every labelled class of every set by the averaged weights, with the daemon's letterbox and suppression.

    Of points the mean error over the box's side, under the class's name and `points`.
    """
    trainer.averaged.eval()
    figures = {}
    for one in sets:
        truths = [Truth(p.boxes, p.class_ids, p.ignored, one.labelled, p.points) for p in one.pictures]
        found = [_detect(trainer, picture, settings) for picture in one.pictures]
        scores = {name: score_class(truths, found, k, threshold=0.3) for k, name in enumerate(settings.classes)}
        figures[one.name] = {name: round(score.ap50, 3) for name, score in scores.items() if score.ap50 is not None}
        for class_id, name in enumerate(settings.classes if settings.points else ()):
            errors = point_errors(truths, found, class_id, threshold=0.3, names=settings.points)
            if len(errors.by_box):
                figures[one.name][f"{name} points"] = round(float(errors.by_box.mean()), 4)
    return figures


def _detect(trainer: Trainer, picture: Picture, settings: TrainSettings) -> Detections:
    pixels, transform = letterbox(picture.pixels_rgb(), width=settings.input_px, height=settings.input_px)
    device, precision = trainer.processes.device, trainer.precision
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        predictions = trainer.averaged(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].to(device))
    scores = predictions.scores()[0].cpu().numpy()
    rows, class_ids = np.nonzero(scores > 0.02)
    boxes = transform.to_source(predictions.boxes[0].cpu().numpy()[rows])
    points = predictions.points
    if points is not None:
        points = transform.points_to_source(points[0].cpu().numpy()[rows])
    found = Detections(boxes, scores[rows, class_ids], class_ids, points)
    return found[nms(found.boxes, found.scores, found.class_ids, iou_threshold=0.6)]


if __name__ == "__main__":
    raise SystemExit(main())
