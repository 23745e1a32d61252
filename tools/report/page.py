"""An evaluation as one HTML file: no script, nothing from elsewhere, readable on a phone and on a dark screen."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import astuple
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edged.models.manifest import SCORE_FLOOR
from tools.datasets import PictureSet
from tools.drawn import DRAWN
from tools.report.bootstrap import FEWEST_PICTURES
from tools.report.charts import Line, draw_chart, draw_interval
from tools.report.curves import calibrate_scores, score_curve
from tools.report.document import make_document, make_table, write_document
from tools.report.figures import ALL_CLASSES, ClassFigures, EngineFigures, Estimate, Group, missing_classes, unlabelled_classes
from tools.report.gallery import show_mistakes
from tools.report.judged import shorten
from tools.report.markup import Element, element
from tools.report.mistakes import NEAR_IOU, Alarm, AlarmCause, Miss, MissCause, Mistakes, find_mistakes
from tools.report.outcomes import SIZES
from tools.report.points import GOOD, Share
from tools.report.run import FLOOR, STAGES, Run

_NOTES = f"""\
Boxes match at overlap (intersection over union) 0.5, best score first, each object once. A second box on an object is a false \
alarm. Boxes labelled “ignore” count neither way, nor do classes in sets that do not label them.
AP50 is the area under precision over recall, precision made monotonic, read at every hit; detections count from score \
{FLOOR:g} on. COCO's AP50 reads it at the 101 recalls 0, 0.01 … 1 instead, which moves it by 0.01 at most.
Intervals hold 95 % of the figures over resampled pictures, each set drawn on its own, the same draws for both engines. They say \
how the figure would move with other pictures of the same kind; they know nothing of other places. Where fewer than \
{FEWEST_PICTURES} pictures hold an object there is none.
Small is under 32 × 32 pixels of the picture's own, large from 96 × 96 on (COCO's limits, by the box).
Calibration looks at detections from score {SCORE_FLOOR:g} on, which is what a daemon reports. The expected error is the mean \
distance between score and share of hits in ten bins.
A cause is the first that fits; “too far off” means an overlap from {NEAR_IOU:g} to below 0.5 with a box of the class.
"""


def write_page(path: Path, sets: Sequence[PictureSet], runs: Sequence[Run], groups: Sequence[Group], *, n_pictures: int) -> None:
    """Write the page.

    Args:
        groups: of `compare_runs`, the first one being what is looked at closely; so is the drawn street, on its own.
        n_pictures: cut-outs of each kind of mistake and class; 0 for none.

    Raises:
        InputError: the file cannot be written.
    """
    write_document(path, _page(sets, runs, groups, n_pictures))


def _page(sets: Sequence[PictureSet], runs: Sequence[Run], groups: Sequence[Group], n_pictures: int) -> Element:
    chapters = [groups[0], *(group for group in groups[1:] if group.name == DRAWN)]
    body = [*_head(sets, runs, groups)]
    for group in chapters:
        body += _chapter(group, sets, runs, n_pictures)
        if len(group.set_numbers) > 1:
            body += [element("h3", "Each set"), *(_by_set(groups, runs))]
    body += [element("h2", "Speed"), *_speed(sets, runs)]
    body += [element("h2", "How this was counted"), element("ul", *(element("li", note) for note in _NOTES.splitlines()))]
    return make_document(f"Evaluation of {runs[0].manifest.name} {runs[0].manifest.revision}", body)


def _head(sets: Sequence[PictureSet], runs: Sequence[Run], groups: Sequence[Group]) -> list[Element]:
    title = f"{runs[0].manifest.name} {runs[0].manifest.revision}"
    if len(runs) > 1:
        title += f" against {runs[1].manifest.name} {runs[1].manifest.revision}"
    labelled = {name for group in groups for name in group.labelled}
    columns = [name for name in groups[0].classes if name in labelled and any(name in run.thresholds for run in runs)]
    rows = [[one.name, str(len(one.pictures)), *(_objects(one, one.classes.index(name)) for name in columns)] for one in sets]
    parts = [
        element("h1", title),
        element("p", f"Evaluated {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC.", class_="faint"),
        element("ul", *(element("li", _about(run, labelled)) for run in runs)),
        make_table(
            ["set", "pictures", *columns], rows, caption="Objects that count; in brackets ignored ones; – is not labelled."
        ),
    ]
    for name, run in zip(_short_names(runs), runs, strict=True):
        if unmeasured := unlabelled_classes(groups, run):
            parts.append(element("p", f"{name}: labelled in no set, so not measured: {shorten(unmeasured)}."))
    if len(runs) > 1:
        names = _short_names(runs)
        keys = [element("span", class_="key"), names[0], element("span", class_="key other"), names[1]]
        parts.append(element("p", "Everywhere below:", *keys))
    return parts


def _short_names(runs: Sequence[Run]) -> list[str]:
    names = [run.manifest.name for run in runs]
    return names if len(set(names)) == len(names) else [f"{run.manifest.name} {run.manifest.revision[:7]}" for run in runs]


def _about(run: Run, labelled: Container[str]) -> str:
    wanted = run.manifest.input
    scores = ", ".join(f"{name} {score:.2f}" for name, score in run.thresholds.items() if name in labelled)
    return f"{run.label}; input {wanted.width} × {wanted.height}; licence {run.manifest.licence}; believed from: {scores}"


def _objects(one: PictureSet, number: int) -> str:
    if not one.labelled[number]:
        return "–"
    ignored = sum(int((picture.ignored & (picture.class_ids == number)).sum()) for picture in one.pictures)
    n = sum(int((~picture.ignored & (picture.class_ids == number)).sum()) for picture in one.pictures)
    return f"{n} ({ignored})" if ignored else str(n)


def _chapter(group: Group, sets: Sequence[PictureSet], runs: Sequence[Run], n_pictures: int) -> list[Element]:
    """Everything about one group of sets."""
    parts = [element("h2", f"{group.name.capitalize()}: {group.n_pictures} pictures"), _summary(group)]
    for engine, one in zip(_short_names(runs), group.engines, strict=True):
        if missing := missing_classes(group, one):
            parts.append(element("p", f"{engine} does not find: {shorten(missing)}."))
    parts += [element("h3", f"Against {_short_names(runs)[1]}"), _comparison(group)] if len(runs) > 1 else []
    parts += [element("h3", "By size of the object"), _by_size(group)]
    parts += [element("h3", "How far points are off"), _points(group, runs)] if _has_points(group) else []
    parts += [element("h3", "COCO's average precisions"), *_coco(group, runs)] if _has_coco(group) else []
    parts += [element("h3", "Over the score"), *_curves(group)]
    if group.engines[0].outcomes is not None:
        mistakes = _find(group, runs[0])
        parts += [
            element("h3", f"What {_short_names(runs)[0]} gets wrong"),
            *_causes(mistakes, group),
            *_confusion(mistakes, group),
        ]
        if n_pictures:
            parts += show_mistakes(mistakes, group, sets, runs[0], limit=n_pictures)
    return parts


def _summary(group: Group) -> Element:
    """The first engine's figures."""
    head = ["class", "objects", "AP50", "95 %", "", "recall", "precision", "F1", "at score"]
    rows: list[list[Element | str]] = []
    for name, one in group.engines[0].classes.items():
        score = one.score
        f1 = 2 * score.found / (score.found + score.invented + score.n) if score.n else None
        ratios = [_figure(ratio) for ratio in (score.recall, score.precision, f1)]
        rows.append([name, str(score.n), *_estimate(one.ap50), *ratios, f"{one.threshold:.2f}"])
    return make_table(head, rows, total=[ALL_CLASSES, "", *_estimate(group.engines[0].mean), "", "", "", ""])


def _comparison(group: Group) -> Element:
    """Both engines' AP50 and their difference, for every class that both find."""
    ours, other = group.engines
    differences = {name: difference for name in group.labelled if (difference := group.difference(name))}
    mean = group.mean_difference()
    reach = _reach([*differences.values(), mean])
    head = ["class", "AP50", "other AP50", "95 %", "recall", "precision", "difference of AP50", "95 %", ""]
    rows: list[list[Element | str]] = []
    for name, difference in differences.items():
        one, their = ours.classes[name], other.classes[name]
        figures = [_figure(one.ap50.value), _figure(their.ap50.value), _range(their.ap50)]
        ratios = [_figure(their.score.recall), _figure(their.score.precision)]
        rows.append([name, *figures, *ratios, *_estimate(difference, reach=reach)])
    total = [ALL_CLASSES, "", "", "", "", "", *_estimate(mean, reach=reach)]
    caption = "Difference: first engine minus second; recall and precision are the second's, at its own thresholds"
    return make_table(head, rows, total=total, caption=caption)


def _estimate(one: Estimate, *, reach: float | None = None) -> list[Element | str]:
    """Three cells: figure, interval and bar; with `reach` those of a difference, on an axis that far both ways."""
    signed = reach is not None
    low, high = (-reach, reach) if signed else (0.0, 1.0)
    title = f"{_figure(one.value, signed=signed)}, {_range(one, signed=signed)}"
    bar = draw_interval([(one.value, one.interval)], low=low, high=high, title=title) if one.value is not None else ""
    return [_figure(one.value, signed=signed), _range(one, signed=signed), bar]


def _by_size(group: Group) -> Element:
    head = ["class", *(title for size in SIZES for title in (size, "AP50", "95 %", ""))]
    rows = []
    for name, one in group.engines[0].classes.items():
        row: list[Element | str] = [name]
        for size, (n, part) in one.by_size.items():
            others = [other.classes[name].by_size[size][1] for other in group.engines[1:] if name in other.classes]
            row += [str(n), _figure(part.value), _range(part), _bar([part, *others])]
        rows.append(row)
    return make_table(head, rows)


def _has_points(group: Group) -> bool:
    return any(one.points for engine in group.engines for one in engine.classes.values())


def _points(group: Group, runs: Sequence[Run]) -> Element:
    """A row for each engine, class and size, errors over the eyes' distance and over the box's side."""
    head = ["engine", "class", "size", "objects", "found"]
    head += [title for length in ("eyes", "box") for title in (f"mean, of the {length}", "95 %", "median", f"below {GOOD:g}")]
    rows: list[list[Element | str]] = []
    for engine, figures in zip(_short_names(runs), group.engines, strict=True):
        for name, one in figures.classes.items():
            for size, part in one.points.items():
                row = [engine, name, size, str(part.n), str(part.found)]
                for each in (part.by_eyes, part.by_box):
                    row += [_figure(each.mean.value), _range(each.mean), _figure(each.median), _figure(each.good.value)]
                rows.append(row)
    return make_table(head, rows, caption="Of objects that are found at the shipped threshold")


def _by_set(groups: Sequence[Group], runs: Sequence[Run]) -> list[Element]:
    head = ["set, class", "objects", "AP50", "95 %", "", "recall", "precision"]
    head += ["other AP50", "difference", "95 %"] if len(runs) > 1 else []
    rows = []
    for group in groups:
        for name, one in group.engines[0].classes.items():
            if len(group.set_numbers) == 1 and one.score.n:
                others = [other.classes[name].ap50 for other in group.engines[1:] if name in other.classes]
                row = [
                    f"{group.name}, {name}",
                    str(one.score.n),
                    _figure(one.ap50.value),
                    _range(one.ap50),
                    _bar([one.ap50, *others]),
                ]
                row += [_figure(one.score.recall), _figure(one.score.precision)]
                if len(runs) > 1:
                    difference = group.difference(name)
                    row += [_figure(others[0].value) if others else "–"]
                    row += [_figure(difference.value, signed=True), _range(difference, signed=True)] if difference else ["–", ""]
                rows.append(row)
    return [make_table(head, rows)]


def _has_coco(group: Group) -> bool:
    return any(one.coco for engine in group.engines for one in engine.classes.values())


def _coco(group: Group, runs: Sequence[Run]) -> list[Element]:
    """A table for each engine."""
    tables = []
    for engine, figures in zip(_short_names(runs), group.engines, strict=True):
        scores = {name: one.coco for name, one in figures.classes.items() if one.coco}
        rows = [[name, *(_figure(value) for value in astuple(score))] for name, score in scores.items()]
        tables.append(make_table(["class", "AP", "AP50", "AP75", *SIZES], rows, caption=engine if len(runs) > 1 else ""))
    return tables


def _curves(group: Group) -> list[Element]:
    """Three charts for every class with objects."""
    names = [name for name, one in group.engines[0].classes.items() if one.score.n]
    charts = [chart for name in names for chart in (_precision_recall(group, name), _f1(group, name), _calibration(group, name))]
    note = "A ring marks the shipped threshold. In the third chart a calibrated score lies on the diagonal; the area of a dot "
    note += "is the number of detections in its bin."
    return [element("p", note, class_="faint"), element("div", *charts, class_="charts")]


def _each_engine(group: Group, name: str) -> Iterable[tuple[int, EngineFigures, ClassFigures]]:
    return ((number, one, one.classes[name]) for number, one in enumerate(group.engines) if name in one.classes)


def _precision_recall(group: Group, name: str) -> Element:
    lines = []
    for number, engine, one in _each_engine(group, name):
        curve = score_curve(engine.outcomes.of_class(group.classes.index(name)).matches)
        mark = None if one.score.precision is None else (one.score.recall, one.score.precision)
        lines.append(Line(curve.recall, curve.precision, number, mark))
    return _chart(lines, f"{name}: precision over recall", "recall", "precision")


def _f1(group: Group, name: str) -> Element:
    lines = []
    for number, engine, one in _each_engine(group, name):
        curve = score_curve(engine.outcomes.of_class(group.classes.index(name)).matches)
        shown = one.score.found + one.score.invented
        mark = (one.threshold, 2 * one.score.found / (shown + one.score.n))
        lines.append(Line(curve.scores, curve.f1, number, mark))
    return _chart(lines, f"{name}: F1 over the threshold", "score", "F1")


def _calibration(group: Group, name: str) -> Element:
    lines, errors = [], []
    for number, engine, _ in _each_engine(group, name):
        found = calibrate_scores(engine.outcomes.of_class(group.classes.index(name)).matches, floor=SCORE_FLOOR)
        known = found.counts > 0
        lines.append(Line(found.scores[known], found.precision[known], number, weights=found.counts[known]))
        errors.append("–" if found.expected_error is None else f"{found.expected_error:.3f}")
    return _chart(lines, f"{name}: calibration, error {' and '.join(errors)}", "score", "share of hits", has_diagonal=True)


def _chart(lines: Sequence[Line], title: str, x_label: str, y_label: str, *, has_diagonal: bool = False) -> Element:
    chart = draw_chart(lines, title=title, x_label=x_label, y_label=y_label, has_diagonal=has_diagonal)
    return element("figure", element("figcaption", title), chart)


def _find(group: Group, run: Run) -> Mistakes:
    founds = [run.found[number] for number in group.set_numbers if run.found[number] is not None]
    return find_mistakes(
        [truth for found in founds for truth in found.truths],
        [each for found in founds for each in found.detections],
        np.concatenate([found.sizes for found in founds]),
        thresholds={group.classes.index(name): score for name, score in run.thresholds.items()},
        n_classes=len(group.classes),
    )


def _causes(mistakes: Mistakes, group: Group) -> list[Element]:
    numbers = {name: group.classes.index(name) for name in group.engines[0].classes}
    missed = _cause_table("Objects missed, by cause", numbers, MissCause, mistakes.misses)
    invented = _cause_table("False alarms, by cause", numbers, AlarmCause, mistakes.alarms)
    return [missed, invented]


def _cause_table(caption: str, numbers: Mapping[str, int], causes: type, mistakes: Sequence[Miss] | Sequence[Alarm]) -> Element:
    rows = []
    for name, number in numbers.items():
        mine = [each for each in mistakes if each.class_id == number]
        counts = [sum(each.cause is cause for each in mine) for cause in causes]
        rows.append([name, str(len(mine)), *(_share_cell(count, len(mine)) for count in counts)])
    return make_table(["class", "all", *(cause.value for cause in causes)], rows, caption=caption)


def _confusion(mistakes: Mistakes, group: Group) -> list[Element]:
    shown = [group.classes.index(name) for name in group.engines[0].classes] + [len(group.classes)]
    names = [*group.classes, "nothing"]
    matrix = mistakes.confusion[shown]
    others = matrix.sum(axis=1) - matrix[:, shown].sum(axis=1)  # said classes that no set of the group labels
    matrix = np.column_stack([matrix[:, shown], others] if others.any() else [matrix[:, shown]])
    rows = [
        [f"is {names[number]}", *(_share_cell(int(count), int(row.sum())) for count in row)]
        for number, row in zip(shown, matrix, strict=True)
    ]
    caption = "Who is taken for whom, at the shipped thresholds. An object counts once, as itself if it is found as itself; a "
    caption += "further detection on it counts as nothing there."
    head = ["", *(f"said {names[number]}" for number in shown), *(["said another class"] if others.any() else [])]
    return [make_table(head, rows, caption=caption)]


def _speed(sets: Sequence[PictureSet], runs: Sequence[Run]) -> list[Element]:
    rows = []
    for run in runs:
        stages_ms = np.concatenate([found.stages_ms for found in run.found if found is not None])
        total = stages_ms.sum(axis=1)
        figures = [*np.median(stages_ms, axis=0), np.median(total), np.percentile(total, 95)]
        rows.append([run.label, *(f"{figure:.2f}" for figure in figures)])
    head = ["engine", *(f"{stage}, ms" for stage in STAGES), "all, ms", "95th percentile"]
    note = f"Medians a picture, over {sum(len(one.pictures) for one in sets)} pictures; decoding the file is left out, and so is "
    note += f"nothing else that ran on this machine. Suppression here starts at score {FLOOR:g}: a daemon's is faster."
    return [make_table(head, rows), element("p", note, class_="faint")]


def _share_cell(count: int, whole: int) -> Element:
    if not count:
        return element("td", "·", class_="faint")
    return element("td", str(count), class_="share", style=f"--share: {count / whole:.3f}")


def _bar(parts: Sequence[Estimate]) -> Element | str:
    if all(part.value is None for part in parts):
        return ""
    pairs = [(part.value, part.interval) for part in parts]
    return draw_interval(pairs, title="; ".join(f"AP50 {_figure(part.value)}, {_range(part)}" for part in parts))


def _reach(differences: Sequence[Estimate]) -> float:
    """The same axis for all differences of a table, in tenths."""
    ends = [abs(end) for one in differences if one.interval for end in (one.interval.low, one.interval.high)]
    ends += [abs(one.value) for one in differences if one.value is not None]
    return max(0.1, np.ceil(10 * max(ends, default=0.1)) / 10)


def _figure(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.3f}".replace("-", "−") if signed else f"{value:.3f}"


def _range(one: Estimate | Share, *, signed: bool = False) -> str:
    if one.interval is None:
        return "–"
    return f"{_figure(one.interval.low, signed=signed)} … {_figure(one.interval.high, signed=signed)}"
