"""Bounds of a share of errors, against published tables, rules of thumb and SciPy."""

from __future__ import annotations

import pytest
from scipy import stats

from edged.proportions import chance_of_at_least, exact_interval


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [
        pytest.param(0, 10, 0.0, 0.3085, id="no error: 1 - 0.025^(1/10)"),
        pytest.param(10, 10, 0.6915, 1.0, id="errors only: the same mirrored"),
        pytest.param(4, 20, 0.0573, 0.4366, id="4 of 20, as textbooks print it"),
        pytest.param(0, 91, 0.0, 0.0397, id="no error in 91 leaves 4 %"),
        pytest.param(0, 1, 0.0, 0.975, id="one trial proves next to nothing"),
    ],
)
def test_exact_interval_has_the_known_values(errors: int, trials: int, low: float, high: float) -> None:
    """Four digits of tables that others computed."""
    assert exact_interval(errors, trials) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(("errors", "trials"), [(0, 3), (1, 3), (3, 3), (7, 219), (128, 219), (12, 10**6), (10**6 - 9, 10**6)])
def test_exact_interval_equals_the_quantiles_of_beta(errors: int, trials: int, level: float) -> None:
    """The bounds are quantiles of two beta distributions; SciPy computes them in another way."""
    beyond = (1 - level) / 2

    low, high = exact_interval(errors, trials, level=level)

    assert low == pytest.approx(stats.beta.ppf(beyond, errors, trials - errors + 1) if errors else 0.0, rel=1e-8)
    assert high == pytest.approx(stats.beta.ppf(1 - beyond, errors + 1, trials - errors) if errors < trials else 1.0, rel=1e-8)


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.03, 0.5, 0.97, 1.0])
def test_chance_of_at_least_equals_the_binomial_tail(share: float) -> None:
    """Also where nothing or everything fails."""
    for errors in (1, 5, 40):
        assert chance_of_at_least(errors, 40, share=share) == pytest.approx(stats.binom.sf(errors - 1, 40, share), abs=1e-12)


@pytest.mark.parametrize(("errors", "trials", "level"), [(0, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_exact_interval_of_what_cannot_be_is_refused(errors: int, trials: int, level: float) -> None:
    """A share of no trials is no number."""
    with pytest.raises(ValueError, match="expected"):
        exact_interval(errors, trials, level=level)
