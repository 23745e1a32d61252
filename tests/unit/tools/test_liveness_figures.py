"""The figures of liveness, on presentations few enough to count by hand."""

from __future__ import annotations

import math

import pytest

from tools.liveness_figures import KINDS, as_json, as_lines, choose_threshold, count_errors, measure_liveness
from tools.roc import make_roc

SCORES = [0.9, 0.5, 0.2, 0.4, 0.5, 0.1, 0.6]
SHOWN = ["live", "live", "live", "replay", "replay", "print", "print"]


def test_measure_liveness_counts_each_kind_apart() -> None:
    """A score at the threshold is live: one of three live is refused, one of two attacks passes in either kind."""
    figures = measure_liveness(SCORES, SHOWN, threshold=0.5)

    assert {kind: (share.errors, share.trials) for kind, share in figures.apcer.items()} == {"replay": (1, 2), "print": (1, 2)}
    assert figures.bpcer is not None
    assert (figures.bpcer.errors, figures.bpcer.trials) == (1, 3)


@pytest.mark.parametrize(("threshold", "worst", "acer"), [(0.3, "replay", (1 + 1 / 3) / 2), (0.55, "print", (0.5 + 2 / 3) / 2)])
def test_liveness_figures_acer_counts_the_worst_kind_only(threshold: float, worst: str, acer: float) -> None:
    """Kinds are not pooled: many harmless attacks hide no dangerous one."""
    figures = measure_liveness(SCORES, SHOWN, threshold=threshold)

    assert figures.worst == worst
    assert figures.acer == pytest.approx(acer)


def test_liveness_figures_roc_is_of_live_against_all_attacks() -> None:
    """Of 12 pairs 7 are in order and one is a tie."""
    roc = measure_liveness(SCORES, SHOWN, threshold=0.5).roc

    assert roc is not None
    assert roc.area == pytest.approx(7.5 / 12)


def test_count_errors_has_the_exact_bounds() -> None:
    """No error in 91 leaves up to 4 %."""
    share = count_errors([False] * 91)

    assert (share.value, share.low, share.high) == (0.0, 0.0, pytest.approx(0.0397, abs=5e-5))


def test_as_json_says_of_every_kind_what_was_measured_or_that_it_was_not() -> None:
    """Whoever reads the figures sees what they do not cover."""
    report = as_json(measure_liveness([0.9, 0.1], ["live", "replay"], threshold=0.5))

    assert set(report["apcer"]) == set(KINDS)
    assert report["apcer"]["replay"] == {"value": 0.0, "errors": 0, "n": 1, "interval": [0.0, 0.975]}
    assert {report["apcer"][kind] for kind in KINDS if kind != "replay"} == {"not measured"}
    assert (report["acer"], report["eer"], report["auc"], report["level"]) == (0.0, 0.0, 1.0, 0.95)


def test_as_json_of_an_attack_of_no_told_kind_leaves_every_kind_unmeasured() -> None:
    """`spoof` may be anything, so that no kind can be called measured."""
    report = as_json(measure_liveness([0.9, 0.1], ["live", "spoof"], threshold=0.5))

    assert report["apcer"]["spoof"]["n"] == 1
    assert {report["apcer"][kind] for kind in KINDS} == {"not measured"}


def test_as_lines_says_what_no_error_proves() -> None:
    """0 of 91 is no proof of 0 %."""
    lines = as_lines(measure_liveness([0.9] * 3 + [0.1] * 91, ["live"] * 3 + ["replay"] * 91, threshold=0.5))

    assert "APCER replay       0.0%   0.0% to 4.0%      0 of 91 attacks passed" in lines
    assert "APCER replay: 91 without an error prove that it is below 4.0%, no more, and only if independent" in lines
    assert lines[-1] == "not measured: print, cut_out, mask, mask_3d, make_up"


def test_measure_liveness_of_live_faces_alone_has_no_apcer() -> None:
    """Photographs without attacks tell BPCER and nothing else."""
    figures = measure_liveness([0.9, 0.4], ["live", "live"], threshold=0.5)

    assert (figures.worst, figures.acer, figures.roc, figures.not_measured) == (None, None, None, tuple(KINDS))
    assert as_json(figures)["bpcer"] == {"value": 0.5, "errors": 1, "n": 2, "interval": [0.0126, 0.9874]}


def test_measure_liveness_of_attacks_alone_has_no_bpcer() -> None:
    """And it is said."""
    figures = measure_liveness([0.9], ["replay"], threshold=0.5)

    assert as_json(figures)["bpcer"] == "not measured"
    assert "BPCER            not measured: no live face" in as_lines(figures)


@pytest.mark.parametrize(
    ("scores", "kinds"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([0.1], ["live", "live"], id="not one kind each"),
        pytest.param([math.nan], ["live"], id="no number"),
    ],
)
def test_measure_liveness_of_what_is_no_presentation_is_refused(scores: list[float], kinds: list[str]) -> None:
    """NaN is on neither side of a threshold."""
    with pytest.raises(ValueError, match="presentation"):
        measure_liveness(scores, kinds, threshold=0.5)


@pytest.mark.parametrize(
    ("live", "attacks", "threshold"),
    [
        pytest.param([0.9, 0.99], [0.01, 0.1], 0.5, id="middle of the gap"),
        pytest.param([0.99, 0.999], [0.5, 0.1], 0.909, id="told in log-odds: 1:1 and 99:1, the middle is about 10:1"),
        pytest.param([0.6, 0.8], [0.3, 0.7], 0.445, id="one error either way: the wider gap"),
        pytest.param([0.0, 0.1], [0.9, 1.0], 0.999, id="the wrong way round: nobody passes"),
    ],
)
def test_choose_threshold_lies_in_the_widest_gap_of_fewest_errors(
    live: list[float], attacks: list[float], threshold: float
) -> None:
    """Between the scores, so that both kinds have room on their side."""
    assert choose_threshold(make_roc(live, attacks)) == pytest.approx(threshold, abs=0.002)
