"""Answers are remembered for a while, and memory has an end."""

import pytest

from edged.runtime.kept_answers import KEEP_S, MOST_ANSWERS, MOST_BYTES, KeptAnswers

KEY = ("answer/me", "7")


def test_answer_is_found_with_its_digest_until_its_time_is_over():
    """At the limit it is still there, after it no more."""
    kept = KeptAnswers()
    kept.begin(KEY, b"digest", 10.0)
    kept.finish(KEY, b"body")

    found = kept.find(KEY, 10.0 + KEEP_S)

    assert found is not None
    assert (found.digest, found.body) == (b"digest", b"body")
    assert kept.find(KEY, 10.1 + KEEP_S) is None


def test_answer_begun_and_not_finished_has_no_body():
    """Whoever asks meanwhile is told so."""
    kept = KeptAnswers()
    kept.begin(KEY, b"digest", 10.0)

    found = kept.find(KEY, 11.0)

    assert found is not None
    assert found.body is None


def test_answer_finished_after_it_was_forgotten_is_not_kept():
    """A command of hours leaves nothing behind."""
    kept = KeptAnswers()
    kept.begin(KEY, b"digest", 10.0)
    assert kept.find(KEY, 10.1 + KEEP_S) is None

    kept.finish(KEY, b"body")

    assert kept.find(KEY, 10.2 + KEEP_S) is None


def test_answers_are_told_apart_by_topic_and_mark():
    """A text is not the bytes of the same letters."""
    kept = KeptAnswers()
    for key in (KEY, ("answer/you", "7"), ("answer/me", b"7")):
        kept.begin(key, b"", 0.0)
        kept.finish(key, repr(key).encode())

    assert kept.find(("answer/me", b"7"), 0.0).body == b"('answer/me', b'7')"
    assert kept.find(KEY, 0.0).body == b"('answer/me', '7')"


@pytest.mark.parametrize(
    ("n", "size"),
    [pytest.param(MOST_ANSWERS + 3, 10, id="number"), pytest.param(MOST_BYTES // 100_000 + 3, 100_000, id="bytes")],
)
def test_answers_above_a_limit_forget_the_oldest(n, size):
    """Neither many commands nor long answers fill the memory."""
    kept = KeptAnswers()
    for number in range(n):
        kept.begin(("answer/me", str(number)), b"", 0.0)
        kept.finish(("answer/me", str(number)), b"x" * size)

    found = [number for number in range(n) if kept.find(("answer/me", str(number)), 0.0)]

    assert found == list(range(n - len(found), n))
    assert len(found) <= MOST_ANSWERS
    assert len(found) * size <= MOST_BYTES
    assert n - len(found) <= 4


def test_answers_forgotten_on_demand_leave_what_is_begun():
    """What was erased must not be told again; what is being done is still done once."""
    kept = KeptAnswers()
    kept.begin(("answer/me", "1"), b"", 0.0)
    kept.finish(("answer/me", "1"), b"x" * 100)
    kept.begin(("answer/me", "2"), b"", 0.0)

    kept.forget_finished()

    assert kept.find(("answer/me", "1"), 0.0) is None
    assert kept.find(("answer/me", "2"), 0.0) is not None
