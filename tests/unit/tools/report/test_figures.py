"""Groups of sets, two engines beside each other, and the difference between them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from models_onnx import make_manifest

from edged.types import Detections
from tools.datasets import CLASSES, Picture, PictureSet
from tools.drawn import DRAWN
from tools.metrics import Truth
from tools.report.figures import ALL_CLASSES, PHOTOGRAPHS, Group, Settings, as_json, compare_runs, missing_classes
from tools.report.run import Found, Run

BOX = np.array([[0, 0, 50, 50]], np.float32)
SETTINGS = Settings(resamples=200)
PERSONS, CARS = ("person",), ("car",)


def make_set(name: str, labelled: tuple[str, ...], *, n: int = 20) -> PictureSet:
    """Pictures with one object of the first labelled class each."""
    ids = np.array([CLASSES.index(labelled[0])])
    pictures = tuple(Picture(f"{name}/{number}", b"", BOX, ids, np.zeros(1, np.bool_)) for number in range(n))
    return PictureSet(name, np.array([kind in labelled for kind in CLASSES]), pictures)


def make_run(sets: list[PictureSet], *, found_ratio: float, classes: tuple[str, ...] = CLASSES, label: str = "tiny") -> Run:
    """An engine that finds the objects of the first pictures of each set, and nothing in the others."""
    founds = []
    for one in sets:
        truths = tuple(Truth(p.boxes, p.class_ids, p.ignored, one.labelled) for p in one.pictures)
        hit = [Detections(t.boxes, np.array([0.9], np.float32), t.class_ids) for t in truths[: round(found_ratio * len(truths))]]
        detections = (*hit, *[Detections.empty()] * (len(truths) - len(hit)))
        sizes, stages_ms = np.full((len(truths), 2), 100), np.ones((len(truths), 3))
        shared = {kind for kind, known in zip(CLASSES, one.labelled, strict=True) if known} & set(classes)
        founds.append(Found(truths, detections, sizes, stages_ms) if shared else None)
    return Run(label, make_manifest(name=label, classes=list(classes)), dict.fromkeys(classes, 0.4), tuple(founds))


def _groups(sets: list[PictureSet], *runs: Run) -> dict[str, Group]:
    return {group.name: group for group in compare_runs(sets, runs, SETTINGS)}


def test_compare_runs_pools_the_photographs_alone() -> None:
    """The drawn street is no photograph, and one set of them needs no pool."""
    sets = [make_set("a", PERSONS, n=12), make_set("b", CARS), make_set(DRAWN, PERSONS)]

    groups = _groups(sets, make_run(sets, found_ratio=1))

    assert list(groups) == [PHOTOGRAPHS, "a", "b", DRAWN]
    assert groups[PHOTOGRAPHS].n_pictures == 32
    assert groups[PHOTOGRAPHS].labelled == ("person", "car")
    assert list(_groups(sets[1:], make_run(sets[1:], found_ratio=1))) == ["b", DRAWN]


def test_compare_runs_pool_counts_a_class_where_it_is_labelled() -> None:
    """Persons of the pool are those of the set that labels persons."""
    sets = [make_set("a", PERSONS, n=12), make_set("b", CARS)]

    figures = _groups(sets, make_run(sets, found_ratio=0.5))[PHOTOGRAPHS].engines[0].classes

    assert (figures["person"].score.n, figures["car"].score.n) == (12, 20)
    assert figures["person"].score.recall == 0.5


def test_compare_runs_gives_an_interval_around_the_figure() -> None:
    """Half found in 20 pictures: between a quarter and three quarters, about 2 x 0.11 on each side."""
    sets = [make_set("a", PERSONS)]

    ap50 = _groups(sets, make_run(sets, found_ratio=0.5))["a"].engines[0].classes["person"].ap50

    assert ap50.value == pytest.approx(0.5)
    assert ap50.interval.low == pytest.approx(0.28, abs=0.07)
    assert ap50.interval.high == pytest.approx(0.72, abs=0.07)


def test_compare_runs_by_size_puts_each_object_where_it_belongs() -> None:
    """50 x 50 pixels is medium; the other sizes have no figure."""
    sets = [make_set("a", PERSONS)]

    by_size = _groups(sets, make_run(sets, found_ratio=1))["a"].engines[0].classes["person"].by_size

    assert {size: (n, part.value) for size, (n, part) in by_size.items()} == {
        "small": (0, None),
        "medium": (20, 1.0),
        "large": (0, None),
    }


def test_difference_of_an_engine_and_itself_is_nothing_for_sure() -> None:
    """Both are judged by the same draws, so that nothing is left, although each figure alone is unsure."""
    sets = [make_set("a", PERSONS)]
    run = make_run(sets, found_ratio=0.5)

    difference = _groups(sets, run, run)["a"].difference("person")

    assert (difference.value, difference.interval.low, difference.interval.high) == (0, 0, 0)


def test_difference_of_a_better_engine_is_above_zero_and_surer_than_the_figures() -> None:
    """It finds the same ones and more."""
    sets = [make_set("a", PERSONS, n=100)]

    group = _groups(sets, make_run(sets, found_ratio=0.6), make_run(sets, found_ratio=0.5))["a"]

    difference, figure = group.difference("person"), group.engines[0].classes["person"].ap50
    assert difference.value == pytest.approx(0.1)
    assert 0 < difference.interval.low < 0.1 < difference.interval.high
    assert difference.interval.high - difference.interval.low < figure.interval.high - figure.interval.low


def test_difference_of_a_class_that_one_lacks_is_none_and_said() -> None:
    """Classes are matched by name, whatever their order; a mean compares what both find."""
    sets = [make_set("a", ("person", "car"))]
    ours, other = make_run(sets, found_ratio=1), make_run(sets, found_ratio=0.5, classes=("dog", "person"), label="other")

    group = _groups(sets, ours, other)["a"]

    assert missing_classes(group, group.engines[0]) == []
    assert missing_classes(group, group.engines[1]) == ["car"]
    assert group.difference("car") is None
    assert group.difference("person").value == pytest.approx(0.5)
    assert group.mean_difference().value == pytest.approx(0.5)


def test_compare_runs_of_a_set_that_the_second_engine_cannot_judge() -> None:
    """A set of cars says nothing of an engine for persons; the pool then compares persons alone."""
    sets = [make_set("a", PERSONS), make_set("b", CARS)]

    groups = _groups(sets, make_run(sets, found_ratio=1), make_run(sets, found_ratio=0.5, classes=PERSONS, label="other"))

    assert groups["b"].engines[1].classes == {}
    assert groups["b"].mean_difference().value is None
    assert groups[PHOTOGRAPHS].mean_difference().value == pytest.approx(0.5)
    json.dumps([as_json(group) for group in groups.values()])


def test_as_json_names_difference_and_what_is_missing() -> None:
    """Figures of today under their names, the second engine's beside them."""
    sets = [make_set("a", ("person", "car"))]

    report = as_json(
        _groups(sets, make_run(sets, found_ratio=1), make_run(sets, found_ratio=0.5, classes=PERSONS, label="other"))["a"]
    )

    person = report["classes"]["person"]
    assert (person["n"], person["ap50"], person["recall"], person["threshold"]) == (20, 1.0, 1.0, 0.4)
    assert person["against"]["ap50"] == pytest.approx(0.5)
    assert person["difference"]["ap50"] == pytest.approx(0.5)
    assert report["classes"]["car"]["against"] is None
    assert (report["lacking"], report["lacking_against"]) == ([], ["car"])
    assert report[ALL_CLASSES]["ap50"] == 1.0


def test_compare_runs_without_resamples_has_no_intervals() -> None:
    """The figures stay."""
    sets = [make_set("a", PERSONS)]

    (group,) = compare_runs(sets, [make_run(sets, found_ratio=0.5)], Settings(resamples=0))

    ap50 = group.engines[0].classes["person"].ap50
    assert (ap50.value, ap50.interval) == (pytest.approx(0.5), None)
