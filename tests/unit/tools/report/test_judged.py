"""Names of networks and of sets brought together."""

from __future__ import annotations

import numpy as np
import pytest
from models_onnx import make_manifest

from edged.errors import InputError
from tools.datasets import Picture, PictureSet
from tools.report.judged import in_terms_of, judged_classes, labelled_names, match_classes, shorten


def make_set(name: str, classes: tuple[str, ...], *, labelled: tuple[bool, ...] | None = None) -> PictureSet:
    """One picture with an object of every class."""
    n = len(classes)
    picture = Picture(name, b"", np.zeros((n, 4), np.float32), np.arange(n), np.zeros(n, np.bool_))
    return PictureSet(name, np.array(labelled or (True,) * n, np.bool_), (picture,), classes)


def test_judged_classes_of_one_engine_are_its_own() -> None:
    """In its order."""
    assert judged_classes([make_manifest(classes=["forklift", "person"])]) == ("forklift", "person")


def test_judged_classes_of_two_engines_stand_once_as_the_first_calls_them() -> None:
    """A second spelling is no second class."""
    manifests = [make_manifest(classes=["person", "Fork-Lift"]), make_manifest(classes=["fork_lift", "car", "person"])]

    assert judged_classes(manifests) == ("person", "Fork-Lift", "car")


def test_judged_classes_of_an_engine_with_two_names_of_one_class_are_refused() -> None:
    """A label of it could mean either."""
    with pytest.raises(InputError, match=r"engine twins: its classes 'fork lift' and 'Fork_Lift' are one name"):
        judged_classes([make_manifest(name="twins", classes=["fork lift", "person", "Fork_Lift"])])


def test_in_terms_of_gives_all_sets_the_same_classes() -> None:
    """The engines' first, then what a set labels beyond; objects keep their class, whatever its number was."""
    sets = [make_set("a", ("dog", "PERSON")), make_set("b", ("person", "cat", "Dog"), labelled=(True, False, True))]

    first, second = in_terms_of(("person", "car"), sets)

    assert first.classes == second.classes == ("person", "car", "dog")
    assert (labelled_names(first), labelled_names(second)) == (["person", "dog"], ["person", "dog"])
    assert first.pictures[0].class_ids.tolist() == [2, 0]
    assert second.pictures[0].class_ids.tolist() == [0, 2]


def test_in_terms_of_classes_that_no_set_has_leaves_them_unlabelled() -> None:
    """Neither found nor missed: nothing is known of them."""
    (only,) = in_terms_of(("forklift",), [make_set("a", ("person",))])

    assert (only.classes, only.labelled.tolist()) == (("forklift", "person"), [False, True])


def test_match_classes_gives_places_and_minus_one() -> None:
    """Pascal VOC's names stand for COCO's."""
    assert match_classes(["motorbike", "dog", "Person"], ["person", "motorcycle"]).tolist() == [1, -1, 0]
    assert match_classes([], ["person"]).shape == (0,)


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, ""), (1, "1"), (7, "1, 2, 3, 4, 5, 6, 7"), (8, "1, 2, 3, 4, 5, 6 and 2 more")],
)
def test_shorten_names_the_first_and_counts_the_rest(n: int, text: str) -> None:
    """A rest of one is named as well."""
    assert shorten([str(number) for number in range(1, n + 1)]) == text
