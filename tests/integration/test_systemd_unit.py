"""The unit as systemd reads it."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "edged.service"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def test_unit_is_understood_by_systemd(tmp_path):
    """No unknown key, no wrong value: with a program that is there in place of ours, nothing is left to complain about."""
    text = UNIT.read_text(encoding="utf-8").replace("/opt/edged/bin/edged", shutil.which("true"))
    (tmp_path / "edged.service").write_text(text, encoding="utf-8")

    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "edged.service")], check=False, capture_output=True, text=True, timeout=60
    )

    assert "/opt/edged" not in text
    assert (done.returncode, done.stderr) == (0, "")
