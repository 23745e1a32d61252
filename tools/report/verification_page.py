"""The evaluation of a face encoder as one HTML file: figures, curves, and the pairs that it judges worst."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from edged.models.manifest import EncoderManifest
from edged.types import Pixels
from tools.report.bootstrap import Interval
from tools.report.charts import Line, draw_chart
from tools.report.crops import draw_picture
from tools.report.document import make_document, make_table, write_document
from tools.report.markup import Element, element
from tools.verification import FaceSet, Verdict

_SIDE_PX = 160
_NOTES = """\
Accuracy is by ten folds: the threshold of each is the one that was best on the other nine. A share that is accepted is that of \
the pairs of one person at or above the threshold at which no more than so many pairs of two people are.
Intervals hold 95 % of the figures over people drawn anew with replacement, thresholds found anew each time. They say how a \
figure would move with other people in pictures of the same kind.
A share of pairs of two people is shown only where there are enough of them for one pair in it.\
"""


def write_page(path: Path, label: str, manifest: EncoderManifest, found: Sequence[FaceSet], *, n_pictures: int) -> None:
    """Write the page.

    Args:
        n_pictures: of each kind of mistake; 0 for none.

    Raises:
        InputError: the file cannot be written.
    """
    about = f"{label}; {manifest.dimension} numbers; template {manifest.template}; licence {manifest.licence}"
    body = [
        element("h1", f"{manifest.name} {manifest.revision}"),
        element("p", f"Evaluated {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC.", class_="faint"),
        element("p", about),
    ]
    for one in found:
        body += _chapter(one, n_pictures)
    body += [element("h2", "How this was counted"), element("ul", *(element("li", note) for note in _NOTES.splitlines()))]
    write_document(path, make_document(f"Evaluation of {manifest.name} {manifest.revision}", body))


def _chapter(one: FaceSet, n_pictures: int) -> list[Element]:
    n, people = len(one.crops), len(one.crops.classes)
    parts = [
        element("h2", f"{one.name}: {n} pictures of {people} people"),
        element("p", f"Without a found face, cut from about the middle: {one.central}. {one.ms_per_face:.1f} ms a face."),
    ]
    if one.everybody:
        parts += [element("h3", "All pairs of pictures"), *_figures({"cosine": one.everybody})]
    if one.pairs is not None and one.cosines is not None:
        parts += [element("h3", "Listed pairs"), *_figures(one.verdicts)]
        if n_pictures:
            parts += _worst(one, n_pictures)
    return parts


def _figures(verdicts: Mapping[str, Verdict]) -> list[Element]:
    first = next(iter(verdicts.values()))
    shown = [one.share for one in first.acceptances if one.is_shown]
    head = [
        "",
        "accuracy",
        "95 %",
        "equal error",
        "area",
        *(cell for share in shown for cell in (f"accepted at {share:g}", "95 %")),
    ]
    rows = []
    for name, verdict in verdicts.items():
        accuracy = f"{verdict.folds.accuracy:.4f}" if verdict.folds else "–"
        row = [name, accuracy, _span(verdict.accuracy_interval), f"{verdict.roc.equal_error:.4f}", f"{verdict.roc.area:.4f}"]
        for one in verdict.acceptances:
            row += [f"{one.accepted:.4f}", _span(one.interval)] if one.is_shown else []
        rows.append(row)
    caption = f"{first.n_same} pairs of one person, {first.n_different} of two"
    curve = Line(first.roc.false_accepts, 1 - first.roc.false_rejects, 0)
    title = f"Accepted of one person's pairs over accepted of two people's, {next(iter(verdicts))}"
    chart = draw_chart([curve], title=title, x_label="pairs of two accepted", y_label="pairs of one accepted", has_diagonal=True)
    return [make_table(head, rows, caption=caption), element("div", chart, class_="charts")]


def _span(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:.3f}…{interval.high:.3f}"


def _worst(one: FaceSet, limit: int) -> Iterator[Element]:
    """The least alike pairs of one person and the most alike ones of two."""
    same = one.pairs.same
    missed = np.flatnonzero(same)[np.argsort(one.cosines[same], kind="stable")[:limit]]
    confused = np.flatnonzero(~same)[np.argsort(-one.cosines[~same], kind="stable")[:limit]]
    for title, rows in (("One person, least alike", missed), ("Two people, most alike", confused)):
        figures = [_show_pair(one, int(row)) for row in rows]
        yield element("details", element("summary", title), element("div", *figures, class_="crops"), open="open")


def _show_pair(one: FaceSet, row: int) -> Element:
    places = int(one.pairs.first[row]), int(one.pairs.second[row])
    names = [one.crops.names[place] for place in places]
    pixels = np.hstack([_enlarge(one.crops.pixels[place]) for place in places])
    lines = [f"cosine {one.cosines[row]:.2f}", element("br"), names[0], element("br"), names[1]]
    return element("figure", draw_picture(pixels, title=" and ".join(names)), element("figcaption", *lines))


def _enlarge(pixels_rgb: Pixels) -> Pixels:
    return cv2.resize(pixels_rgb, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC)
