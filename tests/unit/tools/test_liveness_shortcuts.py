"""What is told without a look at the face. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from labelled_folders import write_table
from presentations import write_presentations

from tools import liveness_shortcuts
from tools.liveness_shortcuts import FEATURES, learn_logistic


def test_main_tells_sharpness_from_what_it_cannot_tell_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All pictures have one size, so size tells nothing; the attacks' grid makes them sharp."""
    assert liveness_shortcuts.main([str(write_presentations(tmp_path / "set", pictures=6)), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(FEATURES)
    assert found["sharpness"] == {"eer": 0.0, "auc": 1.0, "apcer": 0.0, "bpcer": 0.0}
    assert found["detail"]["auc"] == 1.0
    assert (found["size"]["auc"], found["size"]["eer"]) == (0.5, 0.5)


def test_main_prints_a_row_for_every_kind_of_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people."""
    assert liveness_shortcuts.main([str(write_presentations(tmp_path / "set", pictures=6))]) == 0

    assert "sharpness        0.0%   1.000    0.0%    0.0%" in capsys.readouterr().out.splitlines()


def test_main_without_an_attack_to_learn_from_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line between one kind and nothing is no line."""
    folder = write_table(tmp_path / "set", "file,label,split\na.png,live,train\nb.png,live,val\n", pictures=["a.png", "b.png"])

    assert liveness_shortcuts.main([str(folder)]) == 78
    assert "the train split shows no attack" in capsys.readouterr().err


def test_learn_logistic_finds_the_odds_that_the_data_were_drawn_with() -> None:
    """Live is drawn with known odds; kinds weigh the same, so that the constant is against equal numbers of both."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20_000, 2))
    is_live = rng.random(len(features)) < 1 / (1 + np.exp(-(1.5 * features[:, 0] - 0.5 * features[:, 1])))

    odds = learn_logistic(features, is_live)

    assert odds(np.array([[1.0, 0.0]])) == pytest.approx(1.5, abs=0.08)
    assert odds(np.array([[0.0, 1.0]])) == pytest.approx(-0.5, abs=0.08)
