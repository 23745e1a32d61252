"""Pictures of the worst mistakes of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edged.types import Detections
from tools.datasets import Picture, PictureSet
from tools.metrics import Truth
from tools.report.crops import MarkedBox, draw_crop
from tools.report.figures import Group
from tools.report.markup import Element, element
from tools.report.mistakes import Alarm, Miss, Mistakes, worst_alarms, worst_misses
from tools.report.run import Run


def show_mistakes(mistakes: Mistakes, group: Group, sets: Sequence[PictureSet], run: Run, *, limit: int) -> list[Element]:
    """For every class of the group the largest missed objects and the surest false alarms, `limit` of each, one a picture."""
    numbers = [number for number in group.set_numbers if run.found[number] is not None]
    pictures = [picture for number in numbers for picture in sets[number].pictures]
    truths = [truth for number in numbers for truth in run.found[number].truths]
    detections = [each for number in numbers for each in run.found[number].detections]
    note = (
        "The labelled box is drawn solid, the detection dashed. At most one of a picture; the largest and the surest come first."
    )
    parts = [element("p", note, class_="faint")]
    scenes = [_Scene(*each, group.classes) for each in zip(pictures, truths, detections, strict=True)]
    for name in group.engines[0].classes:
        misses = worst_misses(mistakes.misses, group.classes.index(name), limit=limit)
        alarms = worst_alarms(mistakes.alarms, group.classes.index(name), limit=limit)
        missed = [_show_miss(scenes[one.picture], one) for one in misses]
        invented = [_show_alarm(scenes[one.picture], one) for one in alarms]
        parts += _gallery(f"{name}: largest misses", missed) + _gallery(f"{name}: surest false alarms", invented)
    return parts


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """A picture, what is in it and what was found there; `classes` are names by class id."""

    picture: Picture
    truth: Truth
    found: Detections
    classes: tuple[str, ...]


def _gallery(title: str, figures: Sequence[Element]) -> list[Element]:
    if not figures:
        return []
    return [element("details", element("summary", title), element("div", *figures, class_="crops"), open="open")]


def _show_miss(scene: _Scene, miss: Miss) -> Element:
    box, found = scene.truth.boxes[miss.row], scene.found
    boxes = [MarkedBox(box, is_truth=True)]
    words = [f"{scene.classes[miss.class_id]} of {_size(box)}, {miss.share:.1%} of the picture: {miss.cause.value}"]
    if miss.nearest is not None:
        boxes.append(MarkedBox(found.boxes[miss.nearest], is_truth=False))
        said = int(found.class_ids[miss.nearest])
        name = scene.classes[said] if said >= 0 else "another class"
        words.append(f"said: {name} {found.scores[miss.nearest]:.2f}, overlap {miss.overlap:.2f}")
    return _figure(scene.picture, box, boxes, words)


def _show_alarm(scene: _Scene, alarm: Alarm) -> Element:
    box, truth = scene.found.boxes[alarm.row], scene.truth
    boxes = [MarkedBox(box, is_truth=False)]
    words = [f"{scene.classes[alarm.class_id]} {alarm.score:.2f} of {_size(box)}: {alarm.cause.value}"]
    if alarm.nearest is not None:
        boxes.insert(0, MarkedBox(truth.boxes[alarm.nearest], is_truth=True))
        words.append(f"labelled: {scene.classes[truth.class_ids[alarm.nearest]]}, overlap {alarm.overlap:.2f}")
    return _figure(scene.picture, box, boxes, words)


def _figure(picture: Picture, around: object, boxes: Sequence[MarkedBox], words: Sequence[str]) -> Element:
    crop = draw_crop(picture.pixels_rgb(), around, boxes, title=f"{picture.name}: {words[0]}")
    lines = [part for word in (*words, picture.name) for part in (word, element("br"))][:-1]
    return element("figure", crop, element("figcaption", *lines))


def _size(box: object) -> str:
    return f"{box[2] - box[0]:.0f} × {box[3] - box[1]:.0f} px"
