"""How far a share of errors can be trusted that was counted in few trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

LEVEL = 0.95
"""Of an interval, where nothing else is asked for."""


def exact_interval(errors: int, trials: int, *, level: float = LEVEL) -> tuple[float, float]:
    """The lowest and the highest share of errors for which this count in so many independent trials is not too unlikely.

    At least `level` of such intervals hold the true share, whatever it is. No error at all still leaves a highest share: 4.0 %
    after 91 trials. Trials that resemble one another, such as frames of one recording, count for fewer than there are.

    Args:
        level: of the interval; beyond either of its ends lies at most half of the rest.

    Raises:
        ValueError: there is no trial, there are more errors than trials, or the level is not between 0 and 1.

    Source: Clopper and Pearson, The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial, 1934.
    """
    if trials < 1 or not 0 <= errors <= trials:
        raise ValueError(f"expected one trial at least and no more errors than trials, got {errors} in {trials}")
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    beyond = (1 - level) / 2
    low = _rising_through(beyond, lambda share: chance_of_at_least(errors, trials, share=share)) if errors else 0.0
    if errors == trials:
        return low, 1.0
    return low, _rising_through(1 - beyond, lambda share: chance_of_at_least(errors + 1, trials, share=share))


def chance_of_at_least(errors: int, trials: int, *, share: float) -> float:
    """The chance of so many errors or more in independent trials, each of which fails with the chance `share`.

    Args:
        errors: 1 to `trials`.

    Source: NIST Digital Library of Mathematical Functions, 8.17.5: it is the incomplete beta function I_share(a, b).
    """
    if share <= 0 or share >= 1:
        return float(share >= 1)
    a, b = float(errors), float(trials - errors + 1)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(share) + b * math.log1p(-share)
    if share < (a + 1) / (a + b + 2):
        return math.exp(logarithm) * _continued_fraction(a, b, share) / a
    return 1 - math.exp(logarithm) * _continued_fraction(b, a, 1 - share) / b


def _continued_fraction(a: float, b: float, x: float) -> float:
    """1 / (1 + d1 / (1 + d2 / …)), which converges fast below x = (a + 1) / (a + b + 2).

    Source: NIST Digital Library of Mathematical Functions, 8.17.22, by Lentz's method.
    """
    value, above, below = 1.0, math.inf, 1.0
    for term in _terms(a, b, x):
        above, below = 1 + term / above, 1 / (1 + term * below)
        value *= above * below
        if abs(above * below - 1) < 1e-15:
            break
    return value


def _terms(a: float, b: float, x: float) -> Iterator[float]:
    """d1, d2, …"""
    for m in itertools.count():
        if m:
            yield m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        yield -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))


def _rising_through(wanted: float, function: Callable[[float], float]) -> float:
    """Where a function that rises from 0 at 0 to 1 at 1 has a value."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if function(middle) < wanted else (low, middle)
    return high
