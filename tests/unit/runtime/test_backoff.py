"""Back-off doubles, is capped and jittered."""

import random

from edged.runtime.backoff import Backoff


def test_backoff_over_many_failures_doubles_to_its_cap_within_the_jitter():
    """Wait n lies in [half, whole] of min(cap, first * 2**n)."""
    backoff = Backoff(first_s=1, most_s=60, rng=random.Random(1))

    waits = [backoff.next_s() for _ in range(40)]

    wholes = [min(60, 2**n) for n in range(40)]
    assert all(whole / 2 <= wait <= whole for wait, whole in zip(waits, wholes, strict=True))
    assert len(set(waits)) == 40


def test_backoff_after_reset_starts_again():
    """A good connection forgives."""
    backoff = Backoff(first_s=1, most_s=60, rng=random.Random(1))
    for _ in range(5):
        backoff.next_s()

    backoff.reset()

    assert backoff.next_s() <= 1


def test_backoff_with_a_least_wait_is_raised_to_it():
    """A refused login waits longer than a timeout."""
    backoff = Backoff(first_s=1, most_s=5, rng=random.Random(1))

    assert backoff.next_s(at_least_s=60) == 60
