"""Pictures of the worst mistakes of a group."""

from __future__ import annotations

from collections.abc import Sequence

from edged.types import Detections
from tools.datasets import CLASSES, Picture, PictureSet
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
    for name in group.engines[0].classes:
        misses = worst_misses(mistakes.misses, CLASSES.index(name), limit=limit)
        alarms = worst_alarms(mistakes.alarms, CLASSES.index(name), limit=limit)
        missed = [_show_miss(pictures[one.picture], truths[one.picture], detections[one.picture], one) for one in misses]
        invented = [_show_alarm(pictures[one.picture], truths[one.picture], detections[one.picture], one) for one in alarms]
        parts += _gallery(f"{name}: largest misses", missed) + _gallery(f"{name}: surest false alarms", invented)
    return parts


def _gallery(title: str, figures: Sequence[Element]) -> list[Element]:
    if not figures:
        return []
    return [element("details", element("summary", title), element("div", *figures, class_="crops"), open="open")]


def _show_miss(picture: Picture, truth: Truth, found: Detections, miss: Miss) -> Element:
    box = truth.boxes[miss.row]
    boxes = [MarkedBox(box, is_truth=True)]
    words = [f"{CLASSES[miss.class_id]} of {_size(box)}, {miss.share:.1%} of the picture: {miss.cause.value}"]
    if miss.nearest is not None:
        boxes.append(MarkedBox(found.boxes[miss.nearest], is_truth=False))
        words.append(
            f"said: {_name(int(found.class_ids[miss.nearest]))} {found.scores[miss.nearest]:.2f}, overlap {miss.overlap:.2f}"
        )
    return _figure(picture, box, boxes, words)


def _show_alarm(picture: Picture, truth: Truth, found: Detections, alarm: Alarm) -> Element:
    box = found.boxes[alarm.row]
    boxes = [MarkedBox(box, is_truth=False)]
    words = [f"{CLASSES[alarm.class_id]} {alarm.score:.2f} of {_size(box)}: {alarm.cause.value}"]
    if alarm.nearest is not None:
        boxes.insert(0, MarkedBox(truth.boxes[alarm.nearest], is_truth=True))
        words.append(f"labelled: {CLASSES[truth.class_ids[alarm.nearest]]}, overlap {alarm.overlap:.2f}")
    return _figure(picture, box, boxes, words)


def _figure(picture: Picture, around: object, boxes: Sequence[MarkedBox], words: Sequence[str]) -> Element:
    crop = draw_crop(picture.pixels_rgb(), around, boxes, title=f"{picture.name}: {words[0]}")
    lines = [part for word in (*words, picture.name) for part in (word, element("br"))][:-1]
    return element("figure", crop, element("figcaption", *lines))


def _size(box: object) -> str:
    return f"{box[2] - box[0]:.0f} × {box[3] - box[1]:.0f} px"


def _name(class_id: int) -> str:
    return CLASSES[class_id] if class_id >= 0 else "another class"
