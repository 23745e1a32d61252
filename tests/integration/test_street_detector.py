"""What truly happens on the drawn street comes out of the shipped detector, tracker and rules, as `make demo` runs them."""

from tools.evaluate_street import evaluate

SEEDS = (3, 5)
"""Streets that neither training nor thresholds have seen."""
SECONDS = 60.0


def test_shipped_detector_reports_what_happens_on_the_street():
    """Of two minutes, nine tenths of the clear events are reported within three frames, and a twentieth at most is invented."""
    verdicts = [evaluate(seed, seconds=SECONDS) for seed in SEEDS]

    n_clear, n_reported = sum(verdict.n_clear for verdict in verdicts), sum(verdict.n_reported for verdict in verdicts)
    missing = sum(len(verdict.missing) for verdict in verdicts)
    invented = sum(len(verdict.invented) for verdict in verdicts)
    assert n_clear >= 150
    assert missing <= 0.1 * n_clear
    assert invented <= 0.05 * n_reported
