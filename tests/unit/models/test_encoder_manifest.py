"""An encoder's pair classifiers and how it verifies: they belong to each other."""

from __future__ import annotations

import pytest
from models_onnx import make_encoder_manifest
from pydantic import ValidationError

UNIT = {"form": "absolute", "weights": [-1.0, -2.0, -3.0, -4.0], "bias": 2.0}
HOW = {"metric": "logistic", "form": "absolute", "match": 0.9, "false_match_rate": 0.001}


def test_encoder_that_verifies_by_its_unit_is_read() -> None:
    """Unit, metric and threshold come back."""
    manifest = make_encoder_manifest(pair_classifiers=[UNIT], verification=HOW)

    assert manifest.pair_classifiers[0].weights == (-1, -2, -3, -4)
    assert manifest.verification.match == 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"pair_classifiers": [UNIT, UNIT]}, "'absolute' stands more than once", id="twice"),
        pytest.param({"pair_classifiers": [{**UNIT, "weights": [1.0]}]}, "expected 4 weights, got 1", id="another dimension"),
        pytest.param({"verification": HOW}, "there is no unit 'absolute'", id="no unit"),
        pytest.param({"verification": {**HOW, "metric": "cosine"}}, "for no other", id="a form without a unit"),
        pytest.param({"verification": {**HOW, "form": None}}, "give it for the metric logistic", id="a unit without its form"),
    ],
)
def test_encoder_whose_unit_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    """What is wrong is told with the key."""
    with pytest.raises(ValidationError, match=message):
        make_encoder_manifest(**changes)
