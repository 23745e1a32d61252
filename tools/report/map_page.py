"""The evaluation of a segmenter as one HTML file: figures, who is taken for whom, and the best and worst pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.models.manifest import SegmenterManifest
from edged.types import Pixels
from edged.vision.draw_map import BACKGROUND
from edged.vision.palette import class_colours
from tools.label_boundaries import Tolerance
from tools.report.bootstrap import FEWEST_PICTURES
from tools.report.charts import draw_interval
from tools.report.crops import draw_picture
from tools.report.document import make_document, make_table, write_document
from tools.report.figures import ALL_CLASSES, Estimate
from tools.report.judged import shorten
from tools.report.map_figures import SetFigures, picture_ious
from tools.report.map_run import STAGES, Judge, Judged, MapRun
from tools.report.markup import Element, element

PANEL_PX = 320
"""Longer side of one of the three drawings of a picture."""
_TINT = 0.55
_GREY = 0.5
_WRONG = (213, 94, 0)
_VOID, _STRIPES = (90, 170), 80
"""Two greys, and so many stripes along the longer side."""
_NOTES = """\
Maps are judged at the pictures' own size, by all pixels of a set together: IoU is the pixels that both map and mask give to a \
class over those that one of them does. Void counts neither way, nor do classes that the segmenter does not know.
A border pixel has a neighbour of another class beside, above or below it. The boundary F1 of a class is the harmonic mean of \
the shares of its border pixels in map and mask that lie within {tolerance} of one in the other, by picture; the figure is the \
mean over the pictures in which the class has borders (Csurka et al., BMVC 2013).
Intervals hold 95 % of the figures over resampled pictures. They say how the figure would move with other pictures of the same \
kind; they know nothing of other places. Where fewer than {fewest} pictures hold a class there is none.
The best and worst pictures are those of the highest and lowest mean IoU by themselves, over the classes that a picture has or \
is said to have.\
"""


@dataclass(frozen=True, slots=True)
class Extremes:
    """The best and the worst pictures of a set, drawn."""

    best: tuple[Element, ...]
    worst: tuple[Element, ...]


def draw_extremes(judge: Judge, found: SetFigures, *, limit: int) -> Extremes:
    """Look again at so many pictures of either kind, fewer where there are not so many, and draw them.

    Raises:
        InputError, InferenceError: see `Judge.look`.
    """
    ious = picture_ious(found.run)
    known = np.flatnonzero(~np.isnan(ious))
    order = known[np.argsort(ious[known], kind="stable")]
    worst = order[:limit]
    best = order[len(worst) :][::-1][:limit]
    return Extremes(*(tuple(_draw(judge, found.run, int(place), ious[place]) for place in places) for places in (best, worst)))


def write_page(
    path: Path,
    label: str,
    manifest: SegmenterManifest,
    found: Sequence[SetFigures],
    extremes: Sequence[Extremes],
    *,
    tolerance: Tolerance,
) -> None:
    """Write the page.

    Args:
        found, extremes: one a set.

    Raises:
        InputError: the file cannot be written.
    """
    wanted = manifest.input
    body = [
        element("h1", f"{manifest.name} {manifest.revision}"),
        element("p", f"Evaluated {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC.", class_="faint"),
        element("p", f"{label}; input {wanted.width} × {wanted.height}; licence {manifest.licence}"),
    ]
    for one, drawn in zip(found, extremes, strict=True):
        body += _chapter(one, drawn)
    notes = _NOTES.format(tolerance=tolerance, fewest=FEWEST_PICTURES).splitlines()
    body += [element("h2", "How this was counted"), element("ul", *(element("li", note) for note in notes))]
    write_document(path, make_document(f"Evaluation of {manifest.name} {manifest.revision}", body))


def _chapter(one: SetFigures, extremes: Extremes) -> Iterator[Element]:
    run = one.run
    yield element("h2", f"{run.pictures.name}: {len(run.counted)} pictures")
    yield element("p", f"Pixel accuracy {_figure(one.pixel_accuracy)} ({_range(one.pixel_accuracy)}).")
    yield _classes(one)
    if run.left_out:
        yield element("p", f"Labelled, and the segmenter knows no such class: {shorten(list(run.left_out))}. Left out.")
    if one.unmeasured:
        yield element("p", f"Not labelled, so not measured, and wrong where it is said: {shorten(one.unmeasured)}.")
    yield element("h3", "Who is taken for whom")
    yield _confusion(run)
    yield element("h3", "Speed")
    yield _speed(run)
    if extremes.best or extremes.worst:
        yield element("h3", "Pictures")
        yield element(
            "p", "Left what is said, in the middle what is, right the pixels that are wrong; void is striped.", class_="faint"
        )
        yield _key(run.classes)
    for title, figures in (("Best", extremes.best), ("Worst", extremes.worst)):
        if figures:
            yield element("details", element("summary", title), element("div", *figures), open="open")


def _classes(one: SetFigures) -> Element:
    n_pixels = sum(part.pixels for part in one.classes.values())
    head = ["class", "pixels", "IoU", "95 %", "", "border F1", "95 %"]
    rows = []
    for name, part in one.classes.items():
        share = f"{part.pixels / max(n_pixels, 1):.1%}"
        rows.append([name, share, *_iou_cells(part.iou), _figure(part.boundary_f1), _range(part.boundary_f1)])
    total = [ALL_CLASSES, "", *_iou_cells(one.mean_iou), _figure(one.boundary_f1), _range(one.boundary_f1)]
    return make_table(head, rows, total=total)


def _iou_cells(iou: Estimate) -> list[Element | str]:
    bar: Element | str = ""
    if iou.value is not None:
        bar = draw_interval([(iou.value, iou.interval)], title=f"IoU {_figure(iou)}, {_range(iou)}")
    return [_figure(iou), _range(iou), bar]


def _confusion(run: MapRun) -> Element:
    counted = run.counted.sum(axis=0)
    rows = []
    for class_id in np.flatnonzero(run.labelled):
        whole = int(counted[class_id].sum())
        rows.append([f"is {run.classes[class_id]}", *(_share_cell(int(n), whole) for n in counted[class_id])])
    caption = "Of the pixels of each class, the share that is said to be of each."
    return make_table(["", *(f"said {name}" for name in run.classes)], rows, caption=caption)


def _share_cell(count: int, whole: int) -> Element:
    if not count:
        return element("td", "·", class_="faint")
    return element("td", f"{count / whole:.1%}", class_="share", style=f"--share: {count / whole:.3f}")


def _speed(run: MapRun) -> Element:
    total_ms = run.stages_ms.sum(axis=1)
    figures = [*np.median(run.stages_ms, axis=0), np.median(total_ms), np.percentile(total_ms, 95)]
    head = [*(f"{stage}, ms" for stage in STAGES), "all, ms", "95th percentile"]
    return make_table(head, [[f"{figure:.2f}" for figure in figures]], caption="Medians a picture, without decoding its file.")


def _draw(judge: Judge, run: MapRun, place: int, iou: float) -> Element:
    picture = run.pictures.pictures[place]
    one = judge.look(picture)
    panels = np.hstack([_shrink(panel) for panel in draw_judged(one, run.classes)])
    words = f"{picture.name}: mean IoU {iou:.3f}"
    drawing = draw_picture(panels, title=words)
    return element("figure", drawing, element("figcaption", words), style="max-width: 60rem; margin-bottom: 1rem")


def draw_judged(one: Judged, classes: Sequence[str]) -> list[Pixels]:
    """Three drawings of a picture, (H, W, 3) uint8 each: what is said, what is, and what of it is wrong; void is striped."""
    is_void = one.truth >= len(classes)
    colours = np.array(class_colours(classes), np.uint8)
    drawings = []
    for labels in (one.labels, np.where(is_void, 0, one.truth)):
        is_plain = np.isin(labels, [class_id for class_id, name in enumerate(classes) if name == BACKGROUND])
        tinted = cv2.addWeighted(colours[labels], _TINT, one.pixels_rgb, 1 - _TINT, 0)
        drawings.append(np.where(is_plain[..., None], one.pixels_rgb, tinted))
    grey = cv2.cvtColor(cv2.cvtColor(one.pixels_rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    wrong = cv2.addWeighted(grey, _GREY, grey, 0, 0)
    wrong[(one.labels != one.truth) & ~is_void] = _WRONG
    drawings.append(wrong)
    height, width = is_void.shape
    diagonals = np.add.outer(np.arange(height), np.arange(width)) // max(1, max(height, width) // _STRIPES)
    for drawing in drawings[1:]:
        drawing[is_void] = np.where(diagonals % 2, *_VOID)[is_void, None]
    return drawings


def _shrink(drawing: NDArray[np.uint8]) -> Pixels:
    scale = PANEL_PX / max(drawing.shape[:2])
    size = max(1, round(drawing.shape[1] * scale)), max(1, round(drawing.shape[0] * scale))
    return cv2.resize(drawing, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)


def _key(classes: Sequence[str]) -> Element:
    parts: list[Element | str] = []
    for name, (red, green, blue) in zip(classes, class_colours(classes), strict=True):
        colour = "transparent" if name == BACKGROUND else f"rgb({red}, {green}, {blue})"
        parts += [element("span", class_="key", style=f"border-top: 0.8rem solid {colour}"), name]
    return element("p", *parts)


def _figure(one: Estimate) -> str:
    return "–" if one.value is None else f"{one.value:.3f}"


def _range(one: Estimate) -> str:
    return "–" if one.interval is None else f"{one.interval.low:.3f} … {one.interval.high:.3f}"
