"""The matrix product finds who is there, exactly, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from edged.identity import matching
from edged.identity.matching import Candidate, Matcher


def unit_rows(n: int, dimension: int = 16, *, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_matcher(templates: np.ndarray, person_ids: list[str], **changes: object) -> Matcher:
    return Matcher(templates, person_ids, **{"version": 1, "model_digest": "a" * 64, **changes})


def search_plainly(templates: np.ndarray, person_ids: list[str], embedding: np.ndarray) -> list[tuple[str, float]]:
    """The reference: every score, the best of each person, sorted."""
    best: dict[str, float] = {}
    for template, person_id in zip(templates, person_ids, strict=True):
        best[person_id] = max(best.get(person_id, -2.0), float(template @ embedding))
    return sorted(best.items(), key=lambda each: -each[1])[:2]


@pytest.mark.parametrize("block_rows", [1, 3, 7, 1000])
@pytest.mark.parametrize("n_persons", [1, 2, 5, 40])
def test_search_in_any_blocks_equals_sorting_every_score(monkeypatch, block_rows, n_persons):
    """Blocks, persons with several templates in any order and batches change nothing in the answer."""
    monkeypatch.setattr(matching, "_BLOCK_ROWS", block_rows)
    templates, embeddings = unit_rows(40), unit_rows(9, seed=1)
    person_ids = [f"p{number % n_persons}" for number in np.random.default_rng(2).permutation(40)]

    found = make_matcher(templates, person_ids).search(embeddings)

    for candidates, embedding in zip(found, embeddings, strict=True):
        expected = search_plainly(templates, person_ids, embedding)
        assert [each.person_id for each in candidates] == [person_id for person_id, _ in expected]
        assert [each.score for each in candidates] == pytest.approx([score for _, score in expected], abs=1e-6)


def test_search_never_names_one_person_twice():
    """The runner-up is another person, though the best has the two best templates."""
    templates = np.array([[1, 0], [1, 0], [0, 1]], np.float32)

    ((first, second),) = make_matcher(templates, ["anna", "anna", "bert"]).search(np.array([[1, 0]], np.float32))

    assert first == Candidate("anna", 1.0)
    assert second == Candidate("bert", 0.0)


def test_search_of_equal_scores_names_the_earlier_first():
    """Ties are settled by the order in the gallery, within a block and across blocks."""
    templates = np.repeat(np.array([[1, 0]], np.float32), 3, axis=0)

    ((first, second),) = make_matcher(templates, ["b", "a", "c"]).search(np.array([[1, 0]], np.float32))

    assert (first.person_id, second.person_id) == ("b", "a")


@pytest.mark.parametrize(
    ("n", "expected"), [pytest.param(0, 0, id="nobody"), pytest.param(1, 1, id="one"), pytest.param(2, 2, id="two")]
)
def test_search_of_few_persons_answers_with_as_many(n, expected):
    """Nobody is invented where nobody is known."""
    matcher = make_matcher(unit_rows(n), [f"p{number}" for number in range(n)])

    assert [len(each) for each in matcher.search(unit_rows(3, seed=1))] == [expected] * 3


def test_search_of_no_embeddings_is_empty():
    """A frame without faces asks for nothing."""
    assert make_matcher(unit_rows(4), list("abcd")).search(np.zeros((0, 16), np.float32)) == []


def test_matcher_that_averages_scores_the_mean_direction():
    """Two templates of a person become one of unit length, between them."""
    templates = np.array([[1, 0], [0, 1]], np.float32)
    matcher = make_matcher(templates, ["anna", "anna"], combination="average")

    ((only,),) = matcher.search(np.array([[1, 0]], np.float32))

    assert matcher.n_templates == 1
    assert only.score == pytest.approx(np.sqrt(0.5), abs=1e-6)


def test_matcher_that_averages_opposite_templates_resembles_nobody():
    """Templates that cancel each other leave no direction, and no NaN."""
    templates = np.array([[1, 0], [-1, 0]], np.float32)
    matcher = make_matcher(templates, ["anna", "anna"], combination="average")

    assert matcher.search(np.array([[1, 0]], np.float32)) == [(Candidate("anna", 0.0),)]


def test_score_of_one_person_is_the_best_of_their_templates():
    """Verification asks for one person only."""
    templates = np.array([[1, 0], [0, 1], [0, -1]], np.float32)
    matcher = make_matcher(templates, ["anna", "bert", "anna"])

    assert matcher.score(np.array([[0, -1], [0, 1]], np.float32), "anna").tolist() == [1.0, 0.0]
    assert matcher.score(np.array([[0, 1]], np.float32), "bert").tolist() == [1.0]
    with pytest.raises(KeyError):
        matcher.score(np.array([[0, 1]], np.float32), "carl")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 0.5])
def test_matcher_refuses_a_row_that_is_no_direction(value):
    """One row of NaN would make everybody unknown, one that is too long everybody the same person."""
    templates = unit_rows(3)
    templates[1] = value

    with pytest.raises(ValueError, match="templates: row 1: expected finite numbers of unit length"):
        make_matcher(templates, list("abc"))


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        pytest.param(np.full((1, 16), np.nan, np.float32), "row 0", id="NaN"),
        pytest.param(unit_rows(1, 8), "expected 16 numbers", id="other dimension"),
        pytest.param(unit_rows(1).astype(np.float64), "float32", id="float64"),
        pytest.param(unit_rows(1)[0], r"\(N, D\)", id="one dimension"),
    ],
)
def test_search_refuses_what_is_no_embedding(embeddings, message):
    """What another network gives is never compared."""
    with pytest.raises(ValueError, match=message):
        make_matcher(unit_rows(3), list("abc")).search(embeddings)


@pytest.mark.parametrize(
    ("person_ids", "changes"),
    [pytest.param(["a"], {}, id="too few persons"), pytest.param(["a", "b"], {"combination": "worst"}, id="unknown combination")],
)
def test_matcher_refuses_arguments_that_do_not_fit(person_ids, changes):
    """A template without a person is nobody's."""
    with pytest.raises(ValueError, match="expected"):
        make_matcher(unit_rows(2), person_ids, **changes)


def test_search_changes_nothing_in_the_snapshot():
    """The same question has the same answer twice."""
    matcher = make_matcher(unit_rows(10), [f"p{number}" for number in range(10)])
    embeddings = unit_rows(2, seed=5)

    assert matcher.search(embeddings) == matcher.search(embeddings)


@pytest.mark.parametrize("block_rows", [2, 1000])
def test_rows_are_the_templates_person_by_person(monkeypatch, block_rows):
    """What calibration compares is what the search compares."""
    monkeypatch.setattr(matching, "_BLOCK_ROWS", block_rows)
    templates = unit_rows(5)

    rows, owners = make_matcher(templates, ["a", "b", "a", "c", "b"]).rows()

    assert owners == ["a", "a", "b", "b", "c"]
    assert np.array_equal(rows, templates[[0, 2, 1, 4, 3]])
